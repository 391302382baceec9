#!/bin/sh
# Canonical lists mirrors that mean harm, over a path.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-hostile-cases.sh"
