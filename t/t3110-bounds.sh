#!/bin/sh
# What bad mirrors can cost: five that each use up all that they may, over each
# transport, cost no more than mirror.patience; and none costs more than 300 MB of
# memory, in all processes of the client.
. "$(dirname "$0")/lib.sh"
. "$T/lib-wire.sh"
transport=path
. "$T/lib-scenario.sh"

srv=$TRASH/srv
patience=3 # seconds
slack=15   # for a busy machine, and for what comes after
most=307200 # KiB

bad () { # <name> lie|wire <what>: a mirror with a fault
	cp -a "$srv/fresh.git" "$srv/$1.git"
	echo "$3" >"$srv/$1.git/$2"
}

# --- time ---

# in_time <seconds> <url>...: with these mirrors, none of which is of use.
in_time () {
	local before seconds="$1"
	shift
	a_client "$@"
	before=$(date +%s)
	fetch got
	assert_at_most $((seconds + slack)) $(($(date +%s) - before)) 'seconds'
	assert_fetched
}

five_that_use_up_all () { # <transport>
	local silent=$(url_for "$1" mute.git)
	test "$1" = path || silent=$(silent_url "$1")
	git config --global mirror.patience $patience
	# Each would get this; together they do not.
	git config --global mirror.responseTimeout 100
	git config --global mirror.idleTimeout 100
	git config --global mirror.lowSpeedTime 100
	in_time $patience "$silent" "$(url_for "$1" stalled.git)" "$(url_for "$1" dripping.git)" \
		"$(url_for "$1" talking.git)" "$(url_for "$1" slow-refs.git)"
	assert_contains "the $patience s without use" got.err
	assert_eq 1 "$(grep -c 'without use' got.err)" 'lines about it'
}

alone () { # <transport> <name>
	in_time $patience "$(url_for "$1" "$2.git")"
	assert_contains 'warning: mirror .* left: ' got.err
}

# The first ones had it all: the last one, which is good, is not asked, nor blamed.
nobody_is_blamed_for_others () {
	in_time $patience "$(url_for git stalled.git)" "$(url_for git fresh.git)"
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from who was not to be asked'
	# It is on the same host: what failed there is one.
	assert_eq 1 "$(grep -c 'left:' got.err)" 'mirrors that were left'
}

a_good_one_is_not_left () {
	git config --global mirror.patience 1
	rm -rf got
	clone got $(as_arguments "$(url_for git fresh.git)")
	git config --global mirror.patience $patience
	cat got.err
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
}

mirror_only_in_time () {
	a_client "$(url_for git stalled.git)" "$(url_for git dripping.git)"
	local before="$(date +%s)"
	assert_fails git -C got mirror-fetch --mirror-only
	assert_at_most $((patience + slack)) $(($(date +%s) - before)) 'seconds'
	assert_no_leftovers got
}

# --- memory ---

in_memory () { # <url>
	local before="$(date +%s)"
	a_client "$1"
	forget_traffic
	"$HELPER/peak-memory" "$TRASH/peak" git -C got fetch >got.out 2>got.err
	echo "$(($(cat peak) / 1024)) MB, $(($(date +%s) - before)) s"
	assert_contains 'warning: mirror .* left: ' got.err
	assert_fetched
	assert_at_most $most "$(cat peak)" 'KiB'
}

flood () { # <transport> <answer> <fault> [<n>]
	bad "flood-$1-$2-$3-${4:-}" wire "$2 $3 ${4:-}"
	in_memory "$(url_for "$1" "flood-$1-$2-$3-${4:-}.git")"
}

http_flood () { # <what>
	in_memory "http://127.0.0.1:$flood_port/$1/a.git"
}

bad mute wire 'advertisement stall'
bad stalled lie 'stall 10000'
bad dripping lie 'slow 1030'
bad talking lie 'chatter 300'
bad slow-refs wire 'refs rate 100'
bad progress wire 'fetch progress'
test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'path: five that use up all' five_that_use_up_all path
start_server git "$srv"
start_server http "$srv"
start_server ssh "$srv"
for over in git http ssh; do
	test_case "$over: five that use up all" five_that_use_up_all $over
done
for name in dripping slow-refs progress talking; do
	test_case "git: $name alone" alone git $name
done
test_case 'nobody is blamed for others' nobody_is_blamed_for_others
test_case 'a good one is not left' a_good_one_is_not_left
test_case '--mirror-only' mirror_only_in_time
git config --global mirror.patience 24
for over in path git http; do
	test_case "$over: tiny refs without end" flood $over refs tiny
done
test_case 'an advertisement without end' flood git advertisement tiny
test_case 'known refs without end' flood git refs known
test_case 'acknowledgments without end' flood git fetch section acknowledgments
test_case 'shallow commits without end' flood git fetch section shallow-info
test_case 'wanted refs without end' flood git fetch section wanted-refs
serve http-flood "$HELPER/http-flood" "$TRASH/flood-port"
for attempt in $(seq 50); do
	test ! -s "$TRASH/flood-port" || break
	sleep 0.1
done
flood_port=$(cat "$TRASH/flood-port")
test_case 'http: gzip that unpacks to 4 GiB' http_flood bomb
test_case 'http: an error with 1 GiB of text' http_flood error
test_case 'http: an advertisement without end' http_flood chatty
test_done
