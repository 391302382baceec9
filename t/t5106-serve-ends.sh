#!/bin/sh
# git mirror serve: how transfers end, and how the server does.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"
. "$T/lib-serve.sh"

wait_for_children () { # <pid> <count of pack-objects>
	local attempt
	for attempt in $(seq 150); do
		test "$(group_of "$1" | xargs ps -o args= -p | grep -c pack-objects-hook)" -lt "$2" || return 0
		sleep 0.1
	done
	fail 'no transfer began'
}

# A client that goes leaves no process behind.
clients_that_go () {
	for version in 2 0; do
		for url in "$serve_http" "$serve_git"; do
			rm -rf gone
			"$HELPER/own-group" git -c protocol.version=$version clone -q "${url}slow.git" gone 2>err &
			client=$!
			wait_for_children "$serve_pid" 1
			sleep 0.3 # so that some of it is on the way
			kill -s KILL -- "-$client"
			wait $client || :
			ends_within 15 others_of "$serve_pid" || fail "a process is left for $url, v$version"
		done
	done
	# Also where nothing has been sent so far.
	rm -rf gone
	"$HELPER/own-group" git clone -q "${serve_http}later.git" gone 2>err &
	client=$!
	wait_for_children "$serve_pid" 1
	kill -s KILL -- "-$client"
	wait $client || :
	ends_within 15 others_of "$serve_pid" || fail 'a process is left that had not sent anything'
	assert_eq 0 "$(metric serve transfers_running)" 'transfers that run'
}

# Told to stop, it ends what it began, and nothing else.
ends_gracefully () { # <signal>
	rm -rf stop-*
	start stopping --grace 30
	git clone -q "${stopping_http}late.git" stop-http &
	one=$!
	git clone -q "${stopping_git}late.git" stop-git &
	two=$!
	git -c protocol.version=0 clone -q "${stopping_git}late.git" stop-v0 &
	three=$!
	wait_for_children "$stopping_pid" 3
	kill "-$1" "$stopping_pid"
	sleep 0.5
	git ls-remote "${stopping_http}open.git" 2>err && fail 'it still takes connections over HTTP'
	git ls-remote "${stopping_git}open.git" 2>err && fail 'it still takes connections over git://'
	wait $one || fail 'the clone over HTTP'
	wait $two || fail 'the clone over git://'
	wait $three || fail 'the clone over git://, v0'
	code=0
	wait "$stopping_pid" || code=$?
	assert_eq 0 $code 'exit code of the server'
	for clone in stop-http stop-git stop-v0; do
		assert_objects_equal srv/late.git $clone
	done
	assert_eq '' "$(group_of "$stopping_pid")" 'processes left'
}

# With nothing to end, it ends at once, open connections or not.
ends_at_once () {
	start idle
	crowd 3 "$idle_http" '' 20 >gone &
	sleep 0.5
	before=$(date +%s)
	kill -TERM "$idle_pid"
	code=0
	wait "$idle_pid" || code=$?
	assert_eq 0 $code 'exit code of the server'
	assert_at_most 5 $(($(date +%s) - before)) 'seconds until it ended'
	wait
}

ends_after_grace () {
	rm -rf stop-*
	start impatient --grace 1
	git clone -q "${impatient_http}later.git" stop-http 2>err-http &
	one=$!
	git clone -q "${impatient_git}later.git" stop-git 2>err-git &
	two=$!
	git -c protocol.version=0 clone -q "${impatient_git}later.git" stop-v0 2>err-v0 &
	three=$!
	wait_for_children "$impatient_pid" 3
	before=$(date +%s)
	kill -TERM "$impatient_pid"
	code=0
	wait "$impatient_pid" || code=$?
	assert_eq 0 $code 'exit code of the server'
	assert_at_most 10 $(($(date +%s) - before)) 'seconds until it ended'
	for client in $one $two $three; do
		wait $client && fail 'a clone that cannot be complete succeeded'
	done
	ends_within 5 group_of "$impatient_pid" || fail 'processes are left'
}

# Killed, it cannot end its children: they end with their transfers.
killed () {
	rm -rf stop-*
	start dying
	git clone -q "${dying_http}late.git" stop-http 2>err-http &
	one=$!
	git clone -q "${dying_git}late.git" stop-git 2>err-git &
	two=$!
	wait_for_children "$dying_pid" 2
	kill -KILL "$dying_pid"
	wait $one || :
	wait $two || :
	ends_within 15 group_of "$dying_pid" || fail 'processes are left'
}

# More transfers than are allowed wait in turn.
waits_in_turn () {
	local clients=
	rm -rf turn-*
	start turns --max-transfers 2
	for i in 1 2 3; do
		git clone -q "${turns_http}open.git" turn-http-$i &
		clients="$clients $!"
		git clone -q "${turns_git}open.git" turn-git-$i &
		clients="$clients $!"
	done
	for client in $clients; do
		wait $client || fail 'a clone'
	done
	for i in 1 2 3; do
		assert_refs_equal turn-http-1 turn-http-$i
		assert_refs_equal turn-http-1 turn-git-$i
	done
	kill "$turns_pid"
	wait "$turns_pid"
}

test_case 'repositories' make_repos
start serve
test_case 'clients that go' clients_that_go
test_case 'transfers wait in turn' waits_in_turn
test_case 'SIGTERM: transfers are ended first' ends_gracefully TERM
test_case 'SIGINT: likewise' ends_gracefully INT
test_case 'SIGTERM: nothing to end' ends_at_once
test_case 'SIGTERM: not for longer than --grace' ends_after_grace
test_case 'SIGKILL: no lasting process' killed
test_done
