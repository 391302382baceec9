#!/bin/sh
# Stock git against git mirror http-backend under Apache, mod_cgi.
. "$(dirname "$0")/lib.sh"
part=apache-cgi
versions=2
. "$T/lib-server-side.sh"
