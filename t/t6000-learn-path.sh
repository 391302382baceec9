#!/bin/sh
# A client learns mirrors from canonical over a path.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-learning-cases.sh"
