#!/bin/sh
# Clone and fetch past every kind of mirror over ssh, served by a real sshd.
. "$(dirname "$0")/lib.sh"
transport=ssh
. "$T/lib-protocol.sh"
