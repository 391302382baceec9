#!/bin/sh
# Clone and fetch past every kind of mirror over a path of this machine.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-protocol.sh"
