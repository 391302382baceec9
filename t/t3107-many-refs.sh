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

milliseconds () { perl -MTime::HiRes=time -e 'printf "%d\n", time * 1000'; }

# timed <file> <command>...
timed () {
	local file="$1" before="$(milliseconds)"
	shift
	"$@"
	echo $(($(milliseconds) - before)) >"$file"
}

one_new_ref () {
	timed plain.ms git -C plain fetch -q
	git -C client config remote.origin.vcs mirror
	git -C client config remote.origin.mirrorUrl "$TRASH/mirror.git"
	forget_traffic
	timed client.ms git -C client fetch -q
	echo "plain git $(cat plain.ms) ms, through the helper $(cat client.ms) ms"
	assert_at_least 1 "$(packed_by mirror.git)" 'bytes from the mirror'
	assert_eq 0 "$(packed_by canonical.git)" 'bytes of packs from canonical'
	assert_refs_equal plain client
	assert_no_leftovers client
	find client/.git/refs -type f | grep -v /HEAD >loose
	cat loose
	assert_at_most 2 "$(wc -l <loose)" 'loose refs'
	# The rest of it may take long on a busy machine.
	assert_at_most $(($(cat plain.ms) * 12 / 10 + 1500)) "$(cat client.ms)" 'milliseconds'
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

test_case "$refs refs" many_refs
test_case 'one new ref' one_new_ref
test_case 'all of them new' all_new
test_done
