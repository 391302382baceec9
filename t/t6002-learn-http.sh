#!/bin/sh
# A client learns mirrors from canonical over HTTP, from git mirror serve.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-learning-cases.sh"
