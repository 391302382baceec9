#!/bin/sh
# lib-protocol.sh - clone and fetch past every kind of mirror, over one transport.
#
# A thin script sets $transport and sources this. Canonical and mirrors are on
# the same server. Whatever a mirror does, the result is that of plain git; what
# differs is how many bytes canonical had to send.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-scenario.sh"

# --- one mirror, clone and fetch ---

clone_past () { # <limit of bytes> <except-refs or ''> <url>...
	local limit_of_bytes="$1" but="$2"
	shift 2
	rm -rf got got.out got.err
	clone got $(as_arguments "$@") || { cat got.err; fail 'git clone'; }
	cat got.err
	assert_no_helper_left
	assert_result_is_plain plain-clone got "$but"
	assert_objects_equal plain-clone got
	assert_at_most "$limit_of_bytes" "$(canonical_sent)" 'bytes from canonical'
}

fetch_past () { # <limit of bytes> <except-refs or ''> <url>...
	local limit_of_bytes="$1" but="$2"
	shift 2
	rm -rf got got.out got.err
	cp -a client got
	use_mirrors got "$@"
	fetch got || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_no_helper_left
	assert_result_is_plain plain-fetch got "$but"
	assert_same_file plain-fetch/.git/FETCH_HEAD got/.git/FETCH_HEAD
	assert_at_most "$limit_of_bytes" "$(canonical_sent)" 'bytes from canonical'
}

# The name of a mirror -> what canonical may send to a clone, to a fetch.
clone_limit () {
	case $1 in
	fresh | ahead | extra | late) echo "$allowance" ;;
	stale) echo $(($(cat plain-from-stale.sent) + allowance)) ;;
	diverged) echo $(($(cat plain-fetch.sent) + allowance)) ;;
	*) echo $(($(cat plain-clone.sent) + allowance)) ;;
	esac
}

fetch_limit () {
	case $1 in
	diverged | empty | hole | cut | flipped | unreachable) echo $(($(cat plain-fetch.sent) + allowance)) ;;
	*) clone_limit "$1" ;;
	esac
}

# What canonical does not (yet) reach stays under refs/mirror/, and nothing else.
but_refs () {
	case $1 in ahead | diverged) echo except-refs ;; esac
}

good_mirror () { # clone_past|fetch_past <name>
	local what="${1%_past}"
	"$1" "$("${what}_limit" "$2")" "$(but_refs "$2")" "$(url_for "$transport" "$2.git")"
	assert_at_least 1 "$(packed_by "$2.git")" "bytes from $2.git"
}

empty_mirror () { # clone_past|fetch_past
	"$1" "$("${1%_past}_limit" empty)" '' "$(url_for "$transport" empty.git)"
}

lying_mirror () { # clone_past|fetch_past <name>
	"$1" "$("${1%_past}_limit" "$2")" '' "$(url_for "$transport" "$2.git")"
	assert_at_least 1 "$(packed_by "$2.git")" "bytes from $2.git"
	assert_contains mirror got.err
}

unreachable_mirror () { # clone_past|fetch_past <url>
	local before="$(date +%s)"
	"$1" "$("${1%_past}_limit" unreachable)" '' "$2"
	assert_contains 'mirror' got.err
	assert_at_most 30 $(($(date +%s) - before)) 'seconds lost on it'
}

# --- a mirror that lacks one new branch of ten ---

ten_branches () {
	test ! -d srv/ten.git || return 0
	new_repo srv/ten.git
	{
		for n in 1 2 3 4 5 6 7 8 9 10; do
			printf 'commit refs/heads/b%d\nmark :%d\ncommitter C <c> %d +0000\ndata 2\nx\n' "$n" "$n" $((1600000000 + n))
			test "$n" = 1 || echo "from :$((n - 1))"
			printf 'M 100644 inline f%d\ndata 100000\n' "$n"
			perl -e 'srand $ARGV[0]; print pack "C*", map { int rand 256 } 1 .. 100000' "$n"
			echo
		done
	} | git -C srv/ten.git fast-import --quiet
	git -C srv/ten.git symbolic-ref HEAD refs/heads/b10
	cp -a srv/ten.git srv/nine.git
	new_repo half.git
	git -C half.git fetch -q "$TRASH/srv/ten.git" refs/heads/b5:refs/heads/b5
	git -C half.git symbolic-ref HEAD refs/heads/b5
	grow srv/ten.git feature 1 7 "$(git -C srv/ten.git rev-parse b10)"
}

# What plain git is sent where the mirror's state is here already, and 2 KB.
lacks_a_branch () { # clone|fetch
	ten_branches
	local url="$(url_for "$transport" ten.git)" mirror="$(url_for "$transport" nine.git)"
	rm -rf got plain
	git clone -q --no-local "$mirror" plain
	git -C plain remote set-url origin "$url"
	forget_traffic
	git -C plain fetch -q
	measure=$(packed_by ten.git)
	if test "$1" = fetch; then
		git clone -q --no-local half.git got
		git -C got remote set-url origin "$url"
		use_mirrors got "$mirror"
		forget_traffic
		git -C got fetch -q
	else
		forget_traffic
		git clone -q --no-local $(as_arguments "$mirror") "$url" got
	fi
	assert_at_least 100000 "$(packed_by nine.git)" 'bytes from the mirror'
	assert_at_most $((measure + allowance)) "$(packed_by ten.git)" 'bytes from canonical'
	git -C plain for-each-ref --format='%(objectname) %(refname)' refs/remotes >expected
	git -C got for-each-ref --format='%(objectname) %(refname)' refs/remotes >actual
	grep -v /HEAD expected >expected-refs
	grep -v /HEAD actual >actual-refs
	assert_same_file expected-refs actual-refs
	assert_fsck_clean got
	assert_no_leftovers got
}

# --- several mirrors ---

the_next_mirror_serves () { # clone_past|fetch_past <name of the first>
	case $2 in
	dead) first=$(dead_url "$transport") ;;
	*) first=$(url_for "$transport" "$2.git") ;;
	esac
	"$1" "$allowance" '' "$first" "$(url_for "$transport" fresh.git)"
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

# --- the other way to name the helper ---

clone_with_prefix () {
	rm -rf got got.out got.err
	forget_traffic
	git -c remote.origin.mirrorUrl="$(url_for "$transport" fresh.git)" \
		clone --no-local $counting "mirror::$canonical" got >got.out 2>got.err ||
		{ cat got.err; fail 'git clone'; }
	cat got.err
	assert_refs_equal plain-clone got
	assert_objects_equal plain-clone got
	assert_fsck_clean got
	assert_no_leftovers got
	assert_eq "$canonical" "$(git -C got config remote.origin.url)" 'remote.origin.url'
	assert_eq mirror "$(git -C got config remote.origin.vcs)" 'remote.origin.vcs'
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
	git -C got fetch
}

# --- nothing to do ---

nothing_new_contacts_no_mirror () {
	case $transport in
	path) mirror=$(dead_url path) ;; # any contact would end in a warning
	*) mirror=$(silent_url "$transport") ;;
	esac
	rm -rf got
	cp -a plain-fetch got
	use_mirrors got "$mirror"
	fetch got
	test ! -s "$LOG/contacts" || fail 'the mirror was contacted'
	assert_lacks . got.err
	assert_eq 0 "$(canonical_sent)" 'bytes from canonical'
	assert_no_leftovers got
}

ls_remote_contacts_no_mirror () {
	rm -rf got
	cp -a client got
	use_mirrors got "$(dead_url "$transport")"
	git -C client ls-remote --symref origin >expected
	git -C got ls-remote --symref origin >actual 2>err
	assert_same_file expected actual
	assert_lacks . err
}

# --- canonical is the only one whose word counts ---

canonical_down_moves_no_ref () {
	rm -rf got
	cp -a client got
	use_mirrors got "$(url_for "$transport" fresh.git)"
	git -C got config remote.origin.url "$(dead_url "$transport")"
	refs_of client >expected-refs
	assert_fails fetch got
	refs_of got | sed '/ refs\/mirror\//d' >actual-refs
	assert_same_file expected-refs actual-refs
	assert_fsck_clean got
	assert_no_leftovers got except-refs
}

# --- the run ---

test_case "$transport: plain git, the measure" plain_git_as_the_measure
for what in clone fetch; do
	for mirror in fresh stale ahead diverged extra late; do
		test_case "$transport: $what, mirror $mirror" good_mirror ${what}_past $mirror
	done
	test_case "$transport: $what, mirror empty" empty_mirror ${what}_past
	for mirror in hole cut flipped; do
		test_case "$transport: $what, mirror $mirror" lying_mirror ${what}_past $mirror
	done
	test_case "$transport: $what, mirror refusing" \
		unreachable_mirror ${what}_past "$(url_for "$transport" refusing.git)"
	test_case "$transport: $what, mirror dead" \
		unreachable_mirror ${what}_past "$(dead_url "$transport")"
	for mirror in dead refusing empty cut flipped hole; do
		test_case "$transport: $what, mirror $mirror, then a good one" \
			the_next_mirror_serves ${what}_past $mirror
	done
done
for what in clone fetch; do
	test_case "$transport: $what, mirror lacks one branch of ten" lacks_a_branch $what
done
if test "$transport" != path; then
	test_case "$transport: fetch, mirror silent" \
		unreachable_mirror fetch_past "$(silent_url "$transport")"
fi
test_case "$transport: clone of mirror::<url>" clone_with_prefix
test_case "$transport: fetch with nothing new" nothing_new_contacts_no_mirror
test_case "$transport: ls-remote" ls_remote_contacts_no_mirror
test_case "$transport: canonical down" canonical_down_moves_no_ref
test_done
