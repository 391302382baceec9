#!/bin/sh
# Depth, filter and lazy fetches as plain git, with mirrors in every state: over smart HTTP.
. "$(dirname "$0")/lib.sh"
transport=http
test -n "${GMF_LONG:-}" || : "${mirror_states:=fresh diverged}"
. "$T/lib-scoped-cases.sh"
test_done
