#!/bin/sh
# Canonical lists mirrors that mean harm, over git://.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-hostile-cases.sh"
