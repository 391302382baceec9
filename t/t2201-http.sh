#!/bin/sh
# clone, fetch and push as plain git: over smart HTTP.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-flags-core.sh"
test_done
