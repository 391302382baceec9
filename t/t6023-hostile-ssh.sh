#!/bin/sh
# Canonical lists mirrors that mean harm, over ssh.
. "$(dirname "$0")/lib.sh"
transport=ssh
. "$T/lib-hostile-cases.sh"
