#!/bin/sh
# clone, fetch and push as plain git: over ssh, a server that knows protocol v0 only.
. "$(dirname "$0")/lib.sh"
transport=ssh-v0
. "$T/lib-flags-core.sh"
test_done
