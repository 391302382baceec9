#!/bin/sh
# A mirror with each of many faults, over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh
. "$T/lib-faults.sh"
