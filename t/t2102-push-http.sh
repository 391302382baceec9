#!/bin/sh
# push with its flags, as plain git: over smart HTTP.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-flags-push.sh"
test_done
