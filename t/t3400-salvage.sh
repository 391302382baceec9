#!/bin/sh
# Transfers that break off: what came is used, the rest is asked for by id, and
# the result is that of plain git.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

# A mirror behind a link that counts what passes, as "mirror".
link () { # <name> <repository> <fault>...
	local name="$1" repo="$2"
	shift 2
	chaos "$name" --to "$git_port" --contacts "$LOG/contacts" --count "$LOG/answers" mirror "$@"
	echo "git://127.0.0.1:$(chaos_port "$name")/$repo"
}

# Bytes that came through the links, refs and all.
mirrors_sent () {
	touch "$LOG/answers"
	awk '$1 == "mirror" { sum += $3 } END { print sum + 0 }' "$LOG/answers"
}

part () { # <percent> <file with a number>
	echo $(($(cat "$2") * $1 / 100))
}

# A pack arrives in packets of 64 KiB, so these repositories are larger than others here.
measures () {
	cp -a srv/canonical.git srv/big-old.git
	grow srv/big-old.git main 2000 20
	tag srv/big-old.git v10 main~10
	cp -a srv/big-old.git srv/big.git
	grow srv/big.git main 2000 21
	grow srv/big.git topic 300 22
	tag srv/big.git v11 main~300
	cp -a srv/big.git srv/big-canonical.git
	mv srv/canonical.git srv/small.git
	mv srv/big-canonical.git srv/canonical.git
	clone plain-clone
	canonical_sent >plain-clone.sent
	client_of big-old.git client
	cp -a client plain-fetch
	fetch plain-fetch
	canonical_sent >plain-fetch.sent
	cat plain-clone.sent plain-fetch.sent
}

# The connection breaks once: the same mirror gives the rest.
clone_cut_once () { # <percent>
	link "clone$1" big.git --cut "$(part "$1" plain-clone.sent)" --once >url
	rm -rf got got.out got.err
	GIT_MIRROR_TRACE=/tmp/wt-salv/trace; export GIT_MIRROR_TRACE; clone got -v $(as_arguments "$(cat url)")
	sed -i '/^Cloning/!d' plain-clone.err
	cat got.err
	assert_no_helper_left
	assert_objects_equal plain-clone got
	assert_refs_equal plain-clone got
	assert_fsck_clean got
	assert_no_leftovers got
	assert_eq 2 "$(grep -c . "$LOG/contacts")" contacts
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
	cat "$LOG/answers"
	echo "the mirror sent $(mirrors_sent) of $(cat plain-clone.sent)"
}

fetch_cut_once () { # <percent>
	link "fetch$1" big.git --cut "$(part "$1" plain-fetch.sent)" --once >url
	a_client "$(cat url)"
	fetch got -v
	cat got.err
	assert_no_helper_left
	assert_fsck_clean got
	assert_no_leftovers got
	assert_eq 2 "$(grep -c . "$LOG/contacts")" contacts
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
	cat "$LOG/answers"
	echo "the mirror sent $(mirrors_sent) of $(cat plain-fetch.sent)"
}

test_case 'plain git, the measure' measures
for percent in ${PERCENTS:-25 50 75 90}; do
	test_case "clone, cut once at $percent %" clone_cut_once $percent
	test_case "fetch, cut once at $percent %" fetch_cut_once $percent
done
test_done
