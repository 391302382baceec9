#!/bin/sh
# Stock git against git mirror serve over HTTP.
. "$(dirname "$0")/lib.sh"
part=serve-http
. "$T/lib-server-side.sh"
