#!/bin/sh
# A client learns mirrors from canonical over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh
. "$T/lib-learning-cases.sh"
