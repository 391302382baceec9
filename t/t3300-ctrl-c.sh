#!/bin/sh
# Ctrl-C on a real terminal: git mirror-fetch leaves the mirror, or ends, and
# leaves nothing behind.
#
#   GMF_KILLS=<n>   how often Ctrl-C comes at a random moment (8)
. "$(dirname "$0")/lib.sh"
. "$T/lib-terminal.sh"

# --- one Ctrl-C ---

to_the_next () { # <command>...
	a_plain_client stalled fresh
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the next mirror'
	assert_at_most "$allowance" "$(packed_by canonical.git)" 'bytes from canonical'
	assert_contains 'mirror localhost left: interrupted' tty.screen
}

to_canonical () { # <command>...
	a_plain_client stalled
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
}

# More than two seconds after the first.
each_leaves_one () { # <command>...
	a_plain_client stalled stalled2 fresh
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 asked stalled2
	sleep 2.2
	ctrl_c
	ends_with 0
	is_fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the third mirror'
}

# Of several remotes, each mirror that is being asked.
leaves_all_that_are_asked () {
	a_plain_client stalled
	git -C got remote add second "$canonical"
	git -C got config remote.second.mirrorUrl "$srv/stalled2.git"
	terminal git mirror-fetch --multiple -j 2 origin second
	wait_until 20 asked stalled
	wait_until 20 asked stalled2
	ctrl_c
	ends_with 0
	leaves_nothing
	assert_eq "$(git -C srv/canonical.git rev-parse main)" "$(git -C got rev-parse second/main)" 'second/main'
}

# Whatever is going on, nothing stays.
at_random_moments () { # <how often>
	local n=0 ms
	while test $n -lt "$1"; do
		n=$((n + 1))
		a_plain_client slow fresh
		terminal git mirror-fetch
		ms=$(perl -e 'print int rand 900')
		echo "after $ms ms"
		perl -e 'select undef, undef, undef, $ARGV[0] / 1000' "$ms"
		ctrl_c
		wait_until 20 test -s tty.end
		cat tty.screen
		case $(cat tty.end) in
		0) is_fetched ;;
		130) leaves_nothing except-refs ;;
		*) fail "exit code $(cat tty.end)" ;;
		esac
	done
}

# --- the end of everything ---

ends_at_the_second () {
	wait_until 20 asked stalled
	ctrl_c
	sleep 0.4
	ctrl_c
	ends_with 130
	is_as_before
}

twice () { # <command>...
	a_plain_client stalled stalled2 fresh
	terminal "$@"
	ends_at_the_second
}

while_canonical_serves () { # <command>...
	a_plain_client
	git -C got config remote.origin.url "$srv/stalled.git"
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	is_as_before
}

canonical_after_the_mirror () { # <command>...
	a_plain_client stalled2
	git -C got config remote.origin.url "$srv/stalled.git"
	terminal "$@"
	wait_until 20 asked stalled2
	ctrl_c
	wait_until 20 asked stalled
	sleep 2.2
	ctrl_c
	ends_with 130
	is_as_before
}

plain_git_fetch () {
	a_plain_client stalled fresh
	git -C got config remote.origin.vcs mirror
	terminal git fetch
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	is_as_before
}

# --- filling refs/mirror/ ---

mirror_only () {
	a_plain_client stalled fresh
	terminal git mirror-fetch --mirror-only
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	leaves_nothing except-refs
	assert_eq "$(git -C srv/fresh.git rev-parse main)" \
		"$(git -C got rev-parse "$(mirror_refs_of got | grep heads/main)")" 'main of the next mirror'
}

mirror_only_and_none_left () {
	a_plain_client stalled
	terminal git mirror-fetch --mirror-only
	wait_until 20 asked stalled
	ctrl_c
	ends_with 128
	is_as_before
	assert_contains "fatal: no other mirror of 'origin'" tty.screen
}

mirror_only_twice () {
	a_plain_client stalled stalled2
	terminal git mirror-fetch --mirror-only
	ends_at_the_second
}

seed () {
	a_plain_client stalled
	terminal git mirror-fetch --seed
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
}

for command in 'git mirror-fetch' git-mirror-fetch; do
	test_case "$command: to the next mirror" to_the_next $command
	test_case "$command: to canonical" to_canonical $command
	test_case "$command: each leaves one" each_leaves_one $command
	test_case "$command: twice" twice $command
	test_case "$command: while canonical serves" while_canonical_serves $command
	test_case "$command: canonical after the mirror" canonical_after_the_mirror $command
done
test_case 'several remotes' leaves_all_that_are_asked
test_case 'at random moments' at_random_moments "${GMF_KILLS:-8}"
test_case 'plain git fetch' plain_git_fetch
test_case '--mirror-only' mirror_only
test_case '--mirror-only, none left' mirror_only_and_none_left
test_case '--mirror-only, twice' mirror_only_twice
test_case '--seed' seed
test_done
