#!/bin/sh
# Stock git against git mirror http-backend under lighttpd.
. "$(dirname "$0")/lib.sh"
part=lighttpd
. "$T/lib-server-side.sh"
