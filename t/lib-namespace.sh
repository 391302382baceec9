#!/bin/sh
# lib-namespace.sh - addresses and a resolver of a script's own, in namespaces
# that need no root. Ports are free there, so any will do.
#
#   in_namespace <unshare options> <what is tested>
#
# runs the script once more, in namespaces, with $GMF_NAMESPACE and the same $srv.
# "serve" of lib-servers.sh works there as everywhere.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

need ip iproute2
need unshare util-linux
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"
srv=${GMF_SRV:-$TRASH/srv}
PATH=$PATH:/usr/sbin:/sbin

in_namespace () {
	if unshare "$1" true 2>"$LOG/unshare"; then
		GMF_NAMESPACE=1 GMF_SRV=$srv GMF_BIN_DIR=$BIN TMPDIR=$TRASH unshare "$1" sh "$T/${0##*/}"
	else
		skip_case "$2" 'no namespaces here'
		test_done
	fi
}

# namespace_is_up <command>...: skips the script where the command fails.
namespace_is_up () {
	"$@" >"$LOG/up" 2>&1 || { echo "1..0 # SKIP not possible in a namespace: $(cat "$LOG/up")"; exit; }
}

await () { # <command>...
	local attempt
	for attempt in $(seq 100); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	fail "never: $*"
}
