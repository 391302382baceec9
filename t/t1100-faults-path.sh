#!/bin/sh
# A mirror with each of many faults, over a path of this machine.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-faults.sh"
