#!/bin/sh
# Stock git against git mirror upload-pack over ssh, as a forced command.
. "$(dirname "$0")/lib.sh"
part=ssh-forced
versions="2 0"
. "$T/lib-server-side.sh"
