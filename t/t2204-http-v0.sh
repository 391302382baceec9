#!/bin/sh
# clone, fetch and push as plain git: over smart HTTP, a server that knows protocol v0 only.
. "$(dirname "$0")/lib.sh"
transport=http-v0
. "$T/lib-flags-core.sh"
test_done
