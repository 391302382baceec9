#!/bin/sh
# A mirror with each of many faults, over HTTP.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-faults.sh"
