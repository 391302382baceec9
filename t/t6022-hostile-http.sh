#!/bin/sh
# Canonical lists mirrors that mean harm, over HTTP.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-hostile-cases.sh"
