#!/bin/sh
# Clone and fetch past every kind of mirror over HTTPS with an authority of our own.
. "$(dirname "$0")/lib.sh"
transport=https
. "$T/lib-protocol.sh"
