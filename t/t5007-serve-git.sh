#!/bin/sh
# Stock git against git mirror serve over git://.
. "$(dirname "$0")/lib.sh"
part=serve-git
. "$T/lib-server-side.sh"
