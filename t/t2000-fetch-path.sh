#!/bin/sh
# fetch, pull, remote and ls-remote with their flags, as plain git: over a path.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-flags-fetch.sh"
test_done
