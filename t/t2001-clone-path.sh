#!/bin/sh
# clone with its flags, as plain git: over a path.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-flags-clone.sh"
test_done
