#!/bin/sh
# clone, fetch and push as plain git: over HTTP, a server of plain files.
. "$(dirname "$0")/lib.sh"
transport=http-dumb
. "$T/lib-flags-core.sh"
test_done
