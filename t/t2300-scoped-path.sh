#!/bin/sh
# Depth, filter and lazy fetches as plain git, with mirrors in every state: over a path.
. "$(dirname "$0")/lib.sh"
transport=path
test -n "${GMF_LONG:-}" || : "${mirror_states:=mixed shallowed hole}"
. "$T/lib-scoped-cases.sh"
test_done
