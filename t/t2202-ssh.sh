#!/bin/sh
# clone, fetch and push as plain git: over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh
. "$T/lib-flags-core.sh"
test_done
