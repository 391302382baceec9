#!/bin/sh
# Faults of the line rather than of the repository: cut, silent, slow, with a
# wrong bit, at many places. Every one costs the mirror, never the fetch.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

# A mirror behind a chaos-link.
link () { # <name> <fault>...
	local name="$1"
	shift
	chaos "$name" --to "$git_port" --contacts "$LOG/contacts" "$@"
	echo "git://127.0.0.1:$(chaos_port "$name")/fresh.git"
}

# The bad one is left, and the good one behind it serves.
the_next_serves () { # <seconds it may take> <url>
	local before="$(date +%s)"
	a_client "$2" "$(url_for git fresh.git)"
	fetch got
	assert_fetched "$allowance"
	assert_contains 'mirror' got.err
	assert_at_least 1 "$(grep -c . "$LOG/contacts")" 'contacts with the bad mirror'
	assert_at_most "$1" $(($(date +%s) - before)) 'seconds'
}

cut_at () { # <bytes>
	link "cut$1" --cut "$1" >url
	the_next_serves 10 "$(cat url)"
}

flipped_at () { # <byte>
	link "flip$1" --flip "$1" >url
	the_next_serves 10 "$(cat url)"
}

silent_from () { # <byte>
	link "stall$1" --stall "$1" >url
	the_next_serves 12 "$(cat url)"
}

never_answering () {
	the_next_serves 12 "$(silent_url git)"
}

too_slow () {
	link slow --rate 500 >url
	the_next_serves 12 "$(cat url)"
}

slow_but_not_too_slow () {
	link steady --rate 20000 >url
	a_client "$(cat url)"
	fetch got
	assert_fetched "$allowance"
}

dies_once () {
	link once --cut 9000 --once >url
	a_client "$(cat url)"
	fetch got
	assert_fetched
	a_client "$(cat url)"
	fetch got
	assert_fetched "$allowance"
}

# Cut after a good part: nothing of it stays, and canonical serves all.
alone_and_cut () {
	link alone --cut 20000 >url
	rm -rf got
	clone got $(as_arguments "$(cat url)")
	cat got.err
	assert_result_is_plain plain-clone got
	assert_no_helper_left
}

# As when somebody pulls the plug, while the mirror sends.
killed_in_the_middle () {
	link plug --rate 20000 >url
	a_client "$(cat url)" "$(url_for git fresh.git)"
	(sleep 0.7 && kill -- "-$(tail -n 1 "$LOG/pids")") &
	fetch got
	assert_fetched "$allowance"
}

# A connection that breaks is no bad data: the mirror is asked again in a minute, not in a week.
cut_is_no_lie () { # <bytes> <fsckObjects>
	link "nolie$1$2" --cut "$1" >url
	a_client "$(cat url)"
	git -C got config transfer.fsckObjects "$2"
	fetch got
	assert_contains 'warning: mirror .* left: ' got.err
	until=$(sed -n 's/^until = //p' "$HOME/.cache/git-mirror-fetch/hosts.toml" | sort -n | tail -n 1)
	assert_at_most 100 $((until - $(date +%s))) 'seconds of back-off'
	assert_at_least 1 $((until - $(date +%s))) 'seconds of back-off'
}

# Less patience than by default, so that this ends soon.
git config --global mirror.responseTimeout 2
git config --global mirror.idleTimeout 2
git config --global mirror.lowSpeedTime 3

test_case 'plain git, the measure' plain_git_as_the_measure
# In the advertisement, the ref list, the acknowledgments, the pack.
for bytes in 0 3 50 200 600 900 1200 2000 9000 20000; do
	test_case "cut after $bytes bytes" cut_at $bytes
done
for byte in 0 2 20 150 400 700 1000 1200 1500 3000 9000 20000; do
	test_case "byte $byte has a wrong bit" flipped_at $byte
done
test_case 'never answers' never_answering
test_case 'silent in the advertisement' silent_from 40
test_case 'silent in the pack' silent_from 9000
test_case 'too slow' too_slow
test_case 'slow, but not too slow' slow_but_not_too_slow
test_case 'dies once' dies_once
test_case 'killed in the middle' killed_in_the_middle
for bytes in 1000 1500 3000 9000; do
	test_case "cut after $bytes bytes is no lie" cut_is_no_lie $bytes false
	test_case "cut after $bytes bytes is no lie, fsckObjects" cut_is_no_lie $bytes true
done
test_case 'cut, and there is no other' alone_and_cut
test_done
