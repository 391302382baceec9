#!/bin/sh
# The link of t/helper/link: its distance and rate are kept to, as lower bounds, and each of its faults happens.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"

link=${GMF_LINK:-$BIN/examples/link}
if ! test -x "$link"; then
	if test -n "${GMF_REQUIRE:-}"; then
		echo "Bail out! $link is missing: run 'cargo build --examples'"
		exit 1
	fi
	echo "1..0 # SKIP $link is missing: run 'cargo build --examples'"
	exit 0
fi

# started <file>: until something has written it.
started () {
	local attempt
	for attempt in $(seq 200); do
		test ! -s "$1" || return 0
		sleep 0.05
	done
	fail "$1 stays empty"
}

# a_link <option>...: its port is then $port.
a_link () {
	rm -f link-port
	"$HELPER/own-group" sh -c 'exec "$0" "$@" >link-port' "$link" --to "$(cat server-port)" "$@" 2>>"$LOG/link" </dev/null &
	echo $! >>"$LOG/pids"
	started link-port
	port=$(cat link-port)
}

# ask <bytes>: sets $ms, $came and $wrong.
ask () {
	"$HELPER/talk" ask "$port" "$1" >answer
	cat answer
	read -r ms came wrong <answer
}

a_link_without_options () {
	a_link
	ask 3000000
	assert_eq '3000000 0' "$came $wrong"
}

a_round_trip_for_the_connection_and_one_for_the_answer () {
	a_link --rtt 100
	ask 1
	assert_eq 1 "$came"
	assert_at_least 200 "$ms" milliseconds
}

any_number_of_bytes_are_under_way () {
	a_link --rtt 400
	ask 10000000
	assert_eq 10000000 "$came"
	# 153 chunks, each of which waiting for the one before would be 30 s.
	assert_at_most 15000 "$ms" milliseconds
}

the_rate_holds () {
	a_link --rate 4m
	ask 500000
	assert_eq '500000 0' "$came $wrong"
	assert_at_least 970 "$ms" milliseconds
}

connections_share_the_rate () {
	a_link --rate 4m
	"$HELPER/talk" ask "$port" 250000 >other &
	ask 250000
	wait $!
	read -r other _ <other
	test "$other" -lt "$ms" || ms=$other
	assert_at_least 970 "$ms" 'milliseconds of the slower one'
}

jitter_costs_no_byte () {
	a_link --rtt 2 --jitter 20 --rate 100m
	ask 1000000
	assert_eq '1000000 0' "$came $wrong"
}

refused () {
	a_link --fault refuse
	assert_eq refused "$("$HELPER/talk" ask "$port" 1)"
}

silent_from_the_beginning () {
	a_link --fault hang
	TALK_LIMIT=1 ask 10
	assert_eq 0 "$came"
}

silent_after () {
	a_link --fault hang:70000
	TALK_LIMIT=1 ask 100000
	assert_eq 70000 "$came"
	assert_at_least 1000 "$ms" milliseconds
}

cut () {
	a_link --fault cut:70000
	TALK_LIMIT=60 ask 100000
	assert_eq '70000 0' "$came $wrong"
	assert_at_most 50000 "$ms" 'milliseconds: it was closed'
}

a_flipped_bit () {
	a_link --fault flip:70000
	ask 100000
	assert_eq '100000 1' "$came $wrong"
}

nobody_behind_it () {
	a_link --to "$("$HELPER/free-port")"
	TALK_LIMIT=60 ask 10
	assert_eq 0 "$came"
	assert_at_most 50000 "$ms" 'milliseconds: it was closed'
}

a_drip () {
	a_link --fault drip:70000:1000
	ask 71000
	assert_eq '71000 0' "$came $wrong"
	assert_at_least 970 "$ms" milliseconds
}

the_first_one_only () {
	a_link --first 1 --fault cut:10
	ask 100
	assert_eq 10 "$came"
	ask 100
	assert_eq 100 "$came"
}

on_cue () {
	rm -f cue
	a_link --cue cue
	ask 100
	assert_eq 100 "$came"
	echo '--fault cut:10' >cue
	ask 100
	assert_eq 10 "$came"
	echo '--fault refuse' >cue
	sleep 0.5
	assert_eq refused "$("$HELPER/talk" ask "$port" 1)"
	rm cue
	sleep 0.5
	ask 100
	assert_eq 100 "$came"
}

bytes_are_counted () {
	a_link --count counted
	ask 12345
	started counted
	assert_eq '6 12345' "$(cat counted)"
}

git_clones_over_it () {
	git init -q --bare far.git
	"$HELPER/make-history" main 50 '' 1 | git -C far.git fast-import --quiet
	start_git_daemon "$TRASH"
	touch far.git/git-daemon-export-ok
	echo "$git_port" >server-port
	a_link --rtt 20 --rate 100m
	git clone -q "git://127.0.0.1:$port/far.git" cloned
	assert_fsck_clean cloned
}

serve talk "$HELPER/talk" serve "$TRASH/server-port"
started "$TRASH/server-port"

test_case 'a link without options' a_link_without_options
test_case 'a round trip for the connection, and one for the answer' a_round_trip_for_the_connection_and_one_for_the_answer
test_case 'any number of bytes are under way' any_number_of_bytes_are_under_way
test_case 'the rate holds' the_rate_holds
test_case 'connections share the rate' connections_share_the_rate
test_case 'jitter costs no byte' jitter_costs_no_byte
test_case 'refuse' refused
test_case 'hang' silent_from_the_beginning
test_case 'hang after some bytes' silent_after
test_case 'cut' cut
test_case 'flip' a_flipped_bit
test_case 'drip' a_drip
test_case 'nobody behind it' nobody_behind_it
test_case 'a fault of the first connection only' the_first_one_only
test_case 'faults on cue' on_cue
test_case 'bytes are counted' bytes_are_counted
test_case 'git clones over it' git_clones_over_it
test_done
