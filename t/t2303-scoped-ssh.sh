#!/bin/sh
# Depth, filter and lazy fetches as plain git, with mirrors in every state: over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh
test -n "${GMF_LONG:-}" || : "${mirror_states:=stale}"
. "$T/lib-scoped-cases.sh"
test_done
