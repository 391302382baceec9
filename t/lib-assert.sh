#!/bin/sh
# lib-assert.sh - what a test case may claim of a repository, a command, a log.
# Read by lib.sh. Every function says what it found, and ends the test case.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

assert_eq () { # <expected> <actual> [<what>]
	test "$1" = "$2" || fail "${3:-value}: expected '$1', got '$2'"
}

assert_at_most () { # <limit> <actual> <what>
	test "$2" -le "$1" || fail "$3: at most $1 expected, got $2"
}

assert_at_least () { # <limit> <actual> <what>
	test "$2" -ge "$1" || fail "$3: at least $1 expected, got $2"
}

assert_contains () { # <pattern of grep -E> <file>
	grep -E -q -e "$1" "$2" || { cat "$2"; fail "no '$1' in $2"; }
}

assert_lacks () { # <pattern of grep -E> <file>
	! grep -E -e "$1" "$2" || fail "'$1' in $2"
}

assert_same_file () { # <expected> <actual>
	diff -u "$1" "$2" || fail "$2 differs from $1"
}

assert_fails () { # <command>...
	if "$@"; then fail "succeeded: $*"; fi
}

# A command in two repositories says the same.
assert_same_answer () { # <repository> <repository> <git arguments>...
	local one="$1" two="$2"
	shift 2
	git -C "$one" "$@" >"$LOG/one" || fail "git $* in $one"
	git -C "$two" "$@" >"$LOG/two" || fail "git $* in $two"
	diff -u "$LOG/one" "$LOG/two" || fail "git $*: $two differs from $one"
}

refs_of () { # <repository>
	command git -C "$1" for-each-ref --format='%(objectname) %(objecttype) %(refname) %(symref)'
}

assert_refs_equal () { # <expected repository> <actual repository>
	refs_of "$1" >"$LOG/one"
	refs_of "$2" >"$LOG/two"
	diff -u "$LOG/one" "$LOG/two" || fail "refs of $2 differ from $1"
	assert_eq "$(cat "$(git_dir "$1")/HEAD")" "$(cat "$(git_dir "$2")/HEAD")" "HEAD of $2"
}

# Configuration, but for the keys that switch the helper on; sections may come
# in another order, the values of one key may not.
config_of () { # <repository>
	command git -C "$1" config --local --list |
		grep -v -i -E '^remote\.[^=]*\.(vcs|mirrorurl|prefermirror|uploadpack)=' |
		sort -s -t = -k 1,1
}

assert_config_equal () { # <expected repository> <actual repository>
	config_of "$1" >"$LOG/one"
	config_of "$2" >"$LOG/two"
	diff -u "$LOG/one" "$LOG/two" || fail "configuration of $2 differs from $1"
}

# Objects reachable from all refs but refs/mirror/ are the same, and all there.
assert_objects_equal () { # <expected repository> <actual repository>
	command git -C "$1" rev-list --objects --no-object-names --exclude='refs/mirror/*' --all >"$LOG/one.raw"
	command git -C "$2" rev-list --objects --no-object-names --exclude='refs/mirror/*' --all >"$LOG/two.raw" ||
		fail "$2 lacks objects"
	sort "$LOG/one.raw" >"$LOG/one"
	sort "$LOG/two.raw" >"$LOG/two"
	cmp "$LOG/one" "$LOG/two" || fail "objects of $2 differ from $1"
}

# No error, nothing missing; dangling objects do no harm.
assert_fsck_clean () { # <repository>
	command git -C "$1" fsck --strict --no-dangling --no-progress >"$LOG/fsck" 2>&1 || {
		cat "$LOG/fsck"
		fail "git fsck of $1"
	}
	assert_lacks 'missing|broken|error|corrupt' "$LOG/fsck"
}

git_dir () { # <repository>: absolute
	(cd "$1" && cd "$(command git rev-parse --git-common-dir)" && pwd)
}

# Nothing of a seed, good or bad, stays: no half pack, lock, quarantine or ref.
# "except-refs" allows refs/mirror/, for what canonical does not reach.
# What the guard takes away it takes away soon after git has ended.
assert_no_leftovers () { # <repository> [except-refs]
	local attempt
	for attempt in 1 2 3 4 5 6 7 8 9 10; do
		leftovers_of "$@"
		test -s "$LOG/left" || return 0
		sleep 0.2
	done
	cat "$LOG/left"
	fail "left behind in $1"
}

leftovers_of () { # <repository> [except-refs]
	local dir="$(git_dir "$1")"
	find "$dir" \( -name 'tmp_*' -o -name '*.lock' -o -name '*.keep' -o -name '*.new' \
		-o -name '.tmp*' -o -name '*quarantine*' \) >"$LOG/left"
	find "$dir/objects" -mindepth 1 -maxdepth 1 \
		! -name '[0-9a-f][0-9a-f]' ! -name pack ! -name info >>"$LOG/left"
	find "$dir/objects/pack" -mindepth 1 ! -name 'pack-*.pack' ! -name 'pack-*.idx' \
		! -name 'pack-*.rev' ! -name 'pack-*.bitmap' ! -name 'pack-*.promisor' \
		! -name 'multi-pack-index' >>"$LOG/left"
	find "$dir" -mindepth 1 -maxdepth 1 ! -name objects ! -name refs ! -name logs \
		! -name hooks ! -name info ! -name branches ! -name HEAD ! -name ORIG_HEAD \
		! -name FETCH_HEAD ! -name config ! -name config.worktree ! -name description \
		! -name index ! -name packed-refs ! -name shallow ! -name modules \
		! -name worktrees ! -name reftable ! -name mirror-fetch ! -name COMMIT_EDITMSG \
		! -name AUTO_MERGE ! -name MERGE_\* \
		! -name git-daemon-export-ok ! -name lie >>"$LOG/left"
	test "${2:-}" = except-refs || mirror_refs_of "$1" >>"$LOG/left"
}

mirror_refs_of () { # <repository>
	command git -C "$1" for-each-ref --format='%(refname)' refs/mirror
}

# Ids of the helpers of this script that run; of nobody else's.
helpers_running () {
	grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		grep -l -s git-remote-mirr "/proc/$pid/comm" >/dev/null && echo "$pid"
	done
	:
}

# A helper ends with the git that started it, or soon after.
assert_no_helper_left () {
	local attempt
	for attempt in 1 2 3 4 5 6 7 8 9 10; do
		test -n "$(helpers_running)" || return 0
		sleep 0.3
	done
	for pid in $(helpers_running); do
		tr '\0' ' ' <"/proc/$pid/cmdline"
		echo
		kill "$pid"
	done
	fail 'a helper still runs'
}

# The lines of git's table of updated refs, as a person sees them.
ref_table () { # <file of stderr>
	grep -E -e '^ [ +*!=t-] .* -> ' "$1" | sort
}

# --- who sent what: see helper/Answers.pm and helper/pack-objects-hook ---

forget_traffic () {
	forget_hosts
	rm -f "$LOG/answers" "$LOG/packs" "$LOG/contacts"
}

# Bytes that canonical sent after its ref list.
canonical_sent () {
	touch "$LOG/answers"
	awk '$1 == "canonical.git" && $2 != "advertisement" && $2 != "refs" { sum += $3 }
		END { print sum + 0 }' "$LOG/answers"
}

# How often canonical sent a list of refs.
canonical_ref_lists () {
	touch "$LOG/answers"
	grep -c -E '^canonical.git refs ' "$LOG/answers" || :
}

# Bytes of all packs that this repository's server made.
packed_by () { # <repository name>
	touch "$LOG/packs"
	awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }' "$LOG/packs"
}
