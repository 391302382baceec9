#!/bin/sh
# Stock git against git mirror upload-pack over ssh, found in PATH as git-upload-pack.
. "$(dirname "$0")/lib.sh"
part=ssh-entry
. "$T/lib-server-side.sh"
