#!/bin/sh
# push with its flags, as plain git: over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh short=1
. "$T/lib-flags-push.sh"
test_done
