#!/bin/sh
# push with its flags, as plain git: over a path.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-flags-push.sh"
test_done
