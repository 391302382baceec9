#!/bin/sh
# A client learns mirrors from canonical over git://.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-learning-cases.sh"
