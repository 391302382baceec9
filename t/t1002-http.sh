#!/bin/sh
# Clone and fetch past every kind of mirror over smart HTTP, served by nginx and git http-backend.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-protocol.sh"
