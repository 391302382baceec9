#!/bin/sh
# A client learns mirrors from canonical over HTTP, from nginx and git mirror http-backend.
. "$(dirname "$0")/lib.sh"
transport=nginx
. "$T/lib-learning-cases.sh"
