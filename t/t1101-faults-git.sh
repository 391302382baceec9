#!/bin/sh
# A mirror with each of many faults, over git://.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-faults.sh"
