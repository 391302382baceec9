#!/bin/sh
# Stock git against git mirror http-backend behind nginx and fcgiwrap.
. "$(dirname "$0")/lib.sh"
part=nginx
. "$T/lib-server-side.sh"
