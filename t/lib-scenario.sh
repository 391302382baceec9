#!/bin/sh
# lib-scenario.sh - canonical, its mirrors and a client, over one transport, and
# what plain git makes of them. A script sets $transport and sources this.
#
# Afterwards $TRASH holds srv (see lib-repos.sh), served; and, once the case
# plain_git_as_the_measure has run, "client", which last fetched some time ago,
# with plain-clone and plain-fetch, what plain git makes of it.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

allowance=2048 # bytes that canonical may send after its ref list, pack header and all

# clone <dir> [<git clone argument>...]: canonical, its traffic counted.
clone () {
	local dir="$1"
	shift
	forget_traffic
	git clone --no-local $counting "$@" "$canonical" "$dir" >"$dir.out" 2>"$dir.err"
}

# fetch <dir> [<git fetch argument>...]
fetch () {
	local dir="$1"
	shift
	forget_traffic
	git -C "$dir" fetch "$@" >"$dir.out" 2>"$dir.err"
}

# client_of <repo served> <dir>: a clone of it that believes to be one of canonical.
client_of () {
	git clone -q --no-local "$TRASH/srv/$1" "$2"
	git -C "$2" config remote.origin.url "$canonical"
	test -z "$counting" || git -C "$2" config remote.origin.uploadpack "$upload_pack"
}

plain_git_as_the_measure () {
	clone plain-clone
	canonical_sent >plain-clone.sent
	client_of old.git client
	cp -a client plain-fetch
	fetch plain-fetch
	canonical_sent >plain-fetch.sent
	client_of stale.git plain-from-stale
	fetch plain-from-stale
	canonical_sent >plain-from-stale.sent
	# Else the limits below would show nothing.
	assert_at_least $((8 * allowance)) "$(cat plain-fetch.sent)" 'incremental fetch, plain'
	assert_at_least $((4 * allowance)) "$(cat plain-from-stale.sent)" 'fetch from stale, plain'
	assert_at_least $((4 * $(cat plain-fetch.sent))) "$(cat plain-clone.sent)" 'clone, plain'
}

# Arguments of git clone, or settings of a repository, for these mirrors, in this
# order whatever they are expected to cost.
as_arguments () {
	printf ' -c remote.origin.vcs=mirror'
	printf ' -c remote.origin.mirrorUrl=%s' "$@"
	test $# -lt 2 || printf ' -c remote.origin.preferMirror=%s' "$@"
}

use_mirrors () { # <dir> <url>...
	local dir="$1"
	shift
	git -C "$dir" config remote.origin.vcs mirror
	for url in "$@"; do
		git -C "$dir" config --add remote.origin.mirrorUrl "$url"
		test $# -lt 2 || git -C "$dir" config --add remote.origin.preferMirror "$url"
	done
}

assert_result_is_plain () { # <expected> <actual> [except-refs]
	refs_of "$1" >expected-refs
	refs_of "$2" | sed '/ refs\/mirror\//d' >actual-refs
	assert_same_file expected-refs actual-refs
	assert_same_file "$1/.git/HEAD" "$2/.git/HEAD"
	assert_same_file "$1.out" "$2.out"
	assert_config_equal "$1" "$2"
	ref_table "$1.err" >expected-table
	ref_table "$2.err" >actual-table
	assert_same_file expected-table actual-table
	diff -r "$1/.git/logs" "$2/.git/logs" >reflogs || { cat reflogs; fail reflogs; }
	git -C "$2" status --porcelain --branch >status
	git -C "$1" status --porcelain --branch >expected-status
	assert_same_file expected-status status
	assert_fsck_clean "$2"
	assert_no_leftovers "$2" "${3:-}"
}

# a_client [<url of a mirror>...]: a new copy of the client, "got".
a_client () {
	rm -rf got got.out got.err
	cp -a client got
	use_mirrors got "$@"
}

# "got" has been fetched into, as plain git would have.
assert_fetched () { # [<limit of bytes from canonical>]
	cat got.err
	assert_no_helper_left
	assert_result_is_plain plain-fetch got
	test -z "${1:-}" || assert_at_most "$1" "$(canonical_sent)" 'bytes from canonical'
}

mkdir "$TRASH/srv"
make_canonical_and_mirrors "$TRASH/srv" >"$LOG/make" 2>&1
start_server "$transport" "$TRASH/srv"
canonical=$(counted_url_for "$transport" canonical.git)
counting=
if test "$transport" = path; then
	counting="-u $upload_pack"
fi
