#!/bin/sh
# git mirror serve under load: many clones at once, memory, lists that change.
#
#   GMF_CLONES=<n>   how many clones at once (200)
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"
. "$T/lib-serve.sh"

clones=${GMF_CLONES:-200}
most_memory=200000 # kB

make_small_repos () {
	# The log of who sent what is not needed here, and costs a process for each clone.
	git config --global --unset uploadpack.packObjectsHook
	mkdir srv
	new_repo srv/small.git
	grow srv/small.git main 20 1
	write_list srv/small.git
	cp -a srv/small.git srv/changing.git
}

memory_of () { # <pid>: the most that it ever had, in kB
	awk '$1 == "VmHWM:" { print $2 }' "/proc/$1/status"
}

# Clients that cost little: what they get is looked at once they are done.
many_clones () { # <url>
	local i
	rm -rf many
	mkdir many
	for i in $(seq "$clones"); do
		git clone -q --bare "$1" many/$i 2>many/$i.err &
		echo $! >many/$i.pid
	done
	for i in $(seq "$clones"); do
		wait "$(cat many/$i.pid)" || { cat many/$i.err; fail "clone $i of $clones"; }
	done
	for i in $(seq "$clones"); do
		echo "$(git_tip many/$i)" "$(ls many/$i/objects/pack/*.pack | wc -l)"
	done | sort | uniq -c >tips
	assert_eq "$clones $(git -C srv/small.git rev-parse main) 1" "$(sed 's/^ *//' tips)" 'the clones'
	assert_fsck_clean many/1
	assert_fsck_clean many/"$clones"
}

git_tip () { # <repository>: without a process for each
	awk '$2 == "refs/heads/main" { print $1 }' "$1/packed-refs"
}

over_http () { many_clones "${load_http}small.git"; }
over_git () { many_clones "${load_git}small.git"; }

bounded_memory () {
	used=$(memory_of "$load_pid")
	echo "$used kB"
	assert_at_most $most_memory "$used" 'kB of memory'
	ends_within 10 others_of "$load_pid" || fail 'processes are left'
	assert_eq 0 "$("$HELPER/ask" --get "${load_http}-/metrics" | awk '$1 == "git_mirror_transfers_running" { print $2 }')" \
		'transfers that run'
}

advertised () { # <url>
	"$HELPER/ask" "$1" | sed -n 's/^mirror=id://p'
}

# The list is replaced while clones run: it shows soon, and nobody notices.
list_changes () {
	local i failed=0 url="${load_http}changing.git"
	rm -rf during
	mkdir during
	(
		i=0
		while test ! -e during/stop; do
			i=$((i + 1))
			git clone -q --bare "$url" during/a$i || echo "$i over HTTP" >>during/failed
			git clone -q --bare "${load_git}changing.git" during/b$i || echo "$i over git://" >>during/failed
			rm -rf during/a$i during/b$i
			echo $i >during/count
		done
	) 2>during/err &
	before=$(advertised "$url")
	for change in 1 2 3; do
		sed "s/eu.example.net/eu$change.example.net/" srv/small.git/mirrors.toml >srv/changing.git/new
		test $change != 3 || printf 'first = many\n' >>srv/changing.git/new
		mv srv/changing.git/new srv/changing.git/mirrors.toml
		changed=$(date +%s%N)
		for i in $(seq 100); do
			after=$(advertised "$url")
			test "$after" = "$before" || break
			sleep 0.05
		done
		took=$((($(date +%s%N) - changed) / 1000000))
		echo "change $change: $before -> $after in $took ms"
		test "$after" != "$before" || fail 'the id is still the same'
		assert_at_most 4000 $took 'ms until the new list is advertised' # 1 s, on a busy machine
		if test $change = 3; then
			assert_eq '' "$after" 'the id of a damaged list'
		else
			"$HELPER/ask" "$url" command=mirror 0001 0000 >answer
			assert_contains "^mirror https://eu$change.example.net/" answer
		fi
		before=$after
	done
	touch during/stop
	wait
	cat during/err
	test ! -e during/failed || { cat during/failed; fail 'clones failed'; }
	assert_at_least 3 "$(cat during/count)" 'pairs of clones meanwhile'
	assert_contains 'warning: no mirrors are advertised: .*changing.git/mirrors.toml:[0-9]+: ' "$LOG/load.log"
	# It is said once, not with every request.
	assert_at_most 3 "$(grep -c 'no mirrors are advertised' "$LOG/load.log")" 'warnings'
}

# A list that is written in place is never half read for longer than that takes.
goes_on () {
	write_list srv/changing.git
	for i in $(seq 60); do
		test -z "$(advertised "${load_git}changing.git")" || break
		sleep 0.05
	done
	"$HELPER/ask" "${load_git}changing.git" command=mirror 0001 0000 >answer
	assert_contains '^mirror https://eu.example.net/' answer
	kill -TERM "$load_pid"
	ends_within 10 group_of "$load_pid" || fail 'processes are left'
}

test_case 'repositories' make_small_repos
start_mirror_server load "$TRASH/srv" --listen http://127.0.0.1:0 --listen git://127.0.0.1:0
test_case "$clones clones at once over HTTP" over_http
test_case "$clones clones at once over git://" over_git
test_case "at most $most_memory kB of memory, no process left" bounded_memory
test_case 'a list that changes while clones run' list_changes
test_case 'a list that is mended; the end' goes_on
test_done
