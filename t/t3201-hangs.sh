#!/bin/sh
# A mirror that hangs, at whatever moment and over whatever transport: left
# within the limit, with its processes and connections; the next one serves.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-scenario.sh"

srv=$TRASH/srv
patience=2     # seconds of silence, and
drip_patience=3 # of too little
slack=20       # for a busy machine, and for what comes after

# Client programs of a channel that still run.
channels_running () {
	grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		comm=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
		case $comm in
		ssh | git-remote-http*) ;;
		git | pack-objects-ho) test "$1" = path || continue ;;
		*) continue ;;
		esac
		group=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f3)
		grep -q -x "$group" "$LOG/pids" || echo "$pid $comm"
	done
}

# The bad mirror is left in time, and nothing of it stays; the one behind it serves.
left_in_time () { # <transport> <url> <seconds>
	local before="$(date +%s)"
	rm -f "$LOG/times"
	a_client "$2" "$srv/fresh.git"
	fetch got
	assert_at_most $(($3 + slack)) $(($(date +%s) - before)) 'seconds'
	channels_running "$1" >running
	cat running
	assert_eq '' "$(cat running)" 'still running'
	assert_fetched "$allowance"
	assert_contains 'mirror' got.err
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the next'
}

# How long the bad one had a connection, which the link has seen.
hung_up_in_time () { # <seconds>
	local attempt
	for attempt in $(seq 50); do
		test ! -s "$LOG/times" || break
		sleep 0.1
	done
	assert_at_least 1 "$(grep -c . "$LOG/times")" 'connections that have ended'
	assert_at_most $(($1 * 1000 + 8000)) "$(sort -n "$LOG/times" | tail -n 1)" 'milliseconds of a connection'
}

# link <transport> <name> <fault>...: sets $url, of fresh.git behind a link.
link () {
	local over="$1" name="$1-$2"
	shift 2
	case $over in
	git) to=$git_port ;;
	http) to=$http_port ;;
	https) to=$https_port ;;
	ssh) to=$ssh_port ;;
	esac
	chaos "$name" --to "$to" --times "$LOG/times" "$@"
	case $over in
	git | http) url=$over://127.0.0.1:$(chaos_port "$name")/fresh.git ;;
	https) url=https://localhost:$(chaos_port "$name")/fresh.git ;;
	ssh)
		printf 'Host link-%s\n\tHostName 127.0.0.1\n\tPort %s\n\tUser %s\n\tIdentityFile %s\n' \
			"$name" "$(chaos_port "$name")" "$(id -un)" "$ssh_dir/key" >>"$ssh_dir/config"
		url=ssh://link-$name$srv/fresh.git
		;;
	esac
}

# Not a word: over https and ssh, the handshake never ends.
never_answers () { # <transport>
	left_in_time "$1" "$(silent_url "$1")" $patience
}

# In the handshake, or in the advertisement; later; in the pack.
goes_silent () { # <transport> <byte>
	link "$1" "stall$2" --stall "$2"
	left_in_time "$1" "$url" $patience
	hung_up_in_time $((2 * patience + 1))
}

drips () { # <transport>
	link "$1" drip --rate 100
	left_in_time "$1" "$url" $((patience + drip_patience))
	hung_up_in_time $((patience + drip_patience))
}

# The mirror's own doing, with half a pack sent.
half_a_pack () { # <transport>
	left_in_time "$1" "$(url_for "$1" stalled.git)" $((2 * patience))
	assert_at_least 1 "$(packed_by stalled.git)" 'bytes from the bad one'
}

pack_drips () { # <transport>
	left_in_time "$1" "$(url_for "$1" dripping.git)" $((patience + drip_patience))
}

# Messages without end, at a good speed, and no object.
only_talks () { # <transport>
	left_in_time "$1" "$(url_for "$1" talking.git)" $((patience + drip_patience))
	assert_contains "less than 1000 B/s for $drip_patience s" got.err
}

# All is here but the last word of the answer.
end_withheld () {
	link git end --endless 9000
	a_client "$url"
	fetch got
	assert_fetched
	assert_contains "silent for $patience s" got.err
	hung_up_in_time $((2 * patience))
}

# All mirrors hang, one after the other: canonical serves, as it would have.
all_hang () {
	link git both1 --stall 9000
	first=$url
	link http both2 --stall 9000
	local before="$(date +%s)"
	a_client "$first" "$url" "$srv/stalled.git"
	fetch got
	assert_at_most $((3 * 2 * patience + slack)) $(($(date +%s) - before)) 'seconds'
	assert_fetched
	assert_eq '' "$(channels_running path)" 'still running'
}

mirror_only () {
	link git only --stall 9000
	bad=$url
	a_client "$bad" "$srv/fresh.git"
	git -C got mirror-fetch --mirror-only 2>got.err || { cat got.err; fail mirror-fetch; }
	hung_up_in_time $((2 * patience))
	assert_contains "silent for $patience s" got.err
	assert_fsck_clean got
	assert_no_leftovers got except-refs
	a_client "$bad"
	assert_fails git -C got mirror-fetch --mirror-only
	assert_no_leftovers got
}

# Canonical has all the time that plain git gives it.
canonical_may_be_late () {
	chaos late --to "$git_port" --rate 3000 --times "$LOG/times"
	rm -f "$LOG/times"
	a_client "$srv/stalled.git"
	git -C got config remote.origin.url "git://127.0.0.1:$(chaos_port late)/canonical.git"
	git -C got config mirror.lowSpeedLimit 100k
	fetch got
	git -C got config remote.origin.url "$canonical"
	assert_objects_equal plain-fetch got
	sleep 0.5
	assert_at_least $((1000 * (drip_patience + 1))) "$(sort -n "$LOG/times" | tail -n 1)" 'milliseconds of canonical'
}

git config --global mirror.connectTimeout $patience
git config --global mirror.responseTimeout $patience
git config --global mirror.idleTimeout $patience
git config --global mirror.lowSpeedTime $drip_patience
for name in stalled dripping talking; do
	cp -a "$srv/fresh.git" "$srv/$name.git"
done
echo 'stall 10000' >"$srv/stalled.git/lie"
echo 'slow 100' >"$srv/dripping.git/lie"
echo 'chatter 300' >"$srv/talking.git/lie"
test_case 'plain git, the measure' plain_git_as_the_measure
# Before there are servers, whose processes look the same.
test_case 'path: silent in the pack' half_a_pack path
test_case 'path: a pack drips' pack_drips path
test_case 'path: only talks' only_talks path
start_server git "$srv"
start_server http "$srv"
start_server https "$srv"
start_server ssh "$srv"
for over in git http https ssh; do
	test_case "$over: never answers" never_answers $over
	for byte in 100 9000; do
		test_case "$over: silent after $byte bytes" goes_silent $over $byte
	done
	test_case "$over: drips" drips $over
	test_case "$over: silent in the pack" half_a_pack $over
	test_case "$over: only talks" only_talks $over
done
test_case 'the end of the answer is withheld' end_withheld
test_case 'all mirrors hang' all_hang
test_case '--mirror-only' mirror_only
test_case 'canonical may be late' canonical_may_be_late
test_done
