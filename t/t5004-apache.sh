#!/bin/sh
# Stock git against git mirror http-backend under Apache, mod_cgid.
. "$(dirname "$0")/lib.sh"
part=apache
. "$T/lib-server-side.sh"
