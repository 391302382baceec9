#!/bin/sh
# Depth, filter and lazy fetches as plain git, with mirrors in every state: over git://.
. "$(dirname "$0")/lib.sh"
transport=git
test -n "${GMF_LONG:-}" || : "${mirror_states:=stale lacking}"
. "$T/lib-scoped-cases.sh"
test_done
