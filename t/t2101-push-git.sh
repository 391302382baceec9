#!/bin/sh
# push with its flags, as plain git: over git://.
. "$(dirname "$0")/lib.sh"
transport=git short=1
. "$T/lib-flags-push.sh"
test_done
