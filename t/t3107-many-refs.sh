#!/bin/sh
# Many refs: a fetch of one new ref costs what one ref costs.
#
#   GMF_REFS=<n>   how many (5000; the figure that counts is 100000)
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

refs=${GMF_REFS:-5000}

many_refs () {
	new_repo canonical.git
	grow canonical.git main 20 1
	oid=$(git -C canonical.git rev-parse main)
	awk -v n="$refs" -v oid="$oid" 'BEGIN {
		for (i = 1; i <= n; i++) printf "create refs/heads/many/%d/%d %s\n", i % 100, i, oid
	}' | git -C canonical.git update-ref --stdin
	git -C canonical.git pack-refs --all
	git clone -q --no-local "$TRASH/canonical.git" plain
	cp -a plain client
	grow canonical.git novel 5 2 "$oid"
	cp -a canonical.git mirror.git
}

one_new_ref () {
	git -C plain fetch -q
	git -C client config remote.origin.vcs mirror
	git -C client config remote.origin.mirrorUrl "$TRASH/mirror.git"
	forget_traffic
	git -C client fetch -q
	assert_at_least 1 "$(packed_by mirror.git)" 'bytes from the mirror'
	assert_eq 0 "$(packed_by canonical.git)" 'bytes of packs from canonical'
	assert_refs_equal plain client
	assert_no_leftovers client
	find client/.git/refs -type f | grep -v /HEAD >loose
	cat loose
	assert_at_most 2 "$(wc -l <loose)" 'loose refs'
}

# All of them are new: at most a thousand get a name of their own meanwhile.
all_new () {
	git -C mirror.git update-ref refs/heads/main "$(git -C canonical.git rev-parse main)"
	forget_traffic
	rm -rf all
	GIT_TRACE2_EVENT= git clone -q --no-local -c remote.origin.vcs=mirror \
		-c remote.origin.mirrorUrl="$TRASH/mirror.git" "$TRASH/canonical.git" all
	assert_at_least 1 "$(packed_by mirror.git)" 'bytes from the mirror'
	git clone -q --no-local "$TRASH/canonical.git" expected
	assert_refs_equal expected all
	assert_no_leftovers all
}

# A mirror that is a little behind: what it gave, tag objects and all, canonical need not send again.
a_little_behind () {
	rm -rf canonical.git mirror.git behind plain
	new_repo canonical.git
	grow canonical.git main 900 1
	git -C canonical.git rev-list main >commits
	awk '{ printf "tag v%d\nfrom %s\ntagger x <x@x> 1300000000 +0000\ndata 3\ntag\n", NR, $1 }' commits |
		git -C canonical.git fast-import --quiet
	awk 'NR % 2 { printf "create refs/heads/at/%d %s\n", NR, $1 }' commits | git -C canonical.git update-ref --stdin
	git -C canonical.git pack-refs --all
	cp -a canonical.git mirror.git
	git clone -q --no-local "$TRASH/mirror.git" plain
	grow canonical.git main 9 2
	tag canonical.git latest main

	git -C plain remote set-url origin "$TRASH/canonical.git"
	forget_traffic
	git -C plain fetch -q
	git -C plain merge -q --ff-only origin/main
	enough=$(packed_by canonical.git)
	assert_at_least 1000 "$enough" 'bytes that plain git gets from canonical'
	forget_traffic
	git clone -q --no-local -c remote.origin.vcs=mirror -c remote.origin.mirrorUrl="$TRASH/mirror.git" \
		"$TRASH/canonical.git" behind
	assert_at_least 1000 "$(packed_by mirror.git)" 'bytes from the mirror'
	assert_at_most $((enough + 2048)) "$(packed_by canonical.git)" 'bytes from canonical'
	assert_refs_equal plain behind
	assert_no_leftovers behind
	assert_fsck_clean behind
}

test_case "$refs refs" many_refs
test_case 'one new ref' one_new_ref
test_case 'all of them new' all_new
test_case 'a mirror a little behind' a_little_behind
test_done
