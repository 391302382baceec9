#!/bin/sh
# Stock git against git mirror upload-pack that it starts itself, as remote.<name>.uploadpack.
. "$(dirname "$0")/lib.sh"
part=path
. "$T/lib-server-side.sh"
