#!/bin/sh
# clone, fetch and push as plain git: over git://, a server that knows protocol v0 only.
. "$(dirname "$0")/lib.sh"
transport=git-v0
. "$T/lib-flags-core.sh"
test_done
