#!/bin/sh
# clone, fetch and push as plain git: over git://.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-flags-core.sh"
test_done
