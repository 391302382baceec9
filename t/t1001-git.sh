#!/bin/sh
# Clone and fetch past every kind of mirror over git://, served by git daemon.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-protocol.sh"
