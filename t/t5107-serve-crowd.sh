#!/bin/sh
# git mirror serve in a crowd of clients that keep it waiting: 300 that do not read,
# 100 whose requests are slow, 100 that say nothing, and that all come again when
# they are hung up on. Others are served meanwhile, and memory stays bounded.
#
#   GMF_SECONDS=<n>   how long the crowd stays (15)
#   GMF_WITHIN=<ms>   how long a clone may take meanwhile (2000; more on a machine that
#                     is so busy that a clone takes more than 100 ms without the crowd)
#   CROWD_FROM=<n>    from how many addresses the crowd comes (1, that of the good client)
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"
. "$T/lib-serve.sh"

seconds=${GMF_SECONDS:-15}
within=${GMF_WITHIN:-}
most_memory=262144 # kB: 256 MB

make_crowded_repos () {
	# The log of who sent what costs a shell for each pack.
	git config --global --unset uploadpack.packObjectsHook
	make_repos
	cd "$TRASH"
	git -C srv/large.git repack -q -a -d
	cp -a srv/open.git srv/many.git
	oid=$(git -C srv/many.git rev-parse main)
	{
		cat srv/many.git/packed-refs 2>/dev/null || echo '# pack-refs with: peeled fully-peeled sorted'
		seq -f "$oid refs/heads/some/branch/of/many/%06g" 100000
	} >refs
	mv refs srv/many.git/packed-refs
	assert_at_least 100000 "$(git -C srv/many.git for-each-ref | wc -l)" 'refs'
	git -C srv/large.git rev-parse main >large-tip
}

# watch_memory <pid> <file>: writes the most that the processes of a group had together, in
# kB, as long as there is a file <file>.on
watch_memory () {
	perl -MTime::HiRes=sleep -e '
		my ($group, $file) = @ARGV;
		my $most = 0;
		my $page = 4;
		while (-e "$file.on") {
			my $sum = 0;
			opendir my $proc, "/proc" or die;
			for my $pid (grep { /^\d+$/ } readdir $proc) {
				open my $stat, "<", "/proc/$pid/stat" or next;
				my $line = <$stat> // next;
				$line =~ s/^.*\) //;
				my @fields = split " ", $line;
				$sum += $fields[21] * $page if $fields[2] == $group;
			}
			$most = $sum if $sum > $most;
			sleep 0.1;
		}
		open my $out, ">", $file or die;
		print $out "$most\n"' "$@"
}

port_of () { echo "$1" | sed 's,.*:\([0-9]*\)/$,\1,'; }

crowded () {
	local http=$(port_of "$crowd_http") git=$(port_of "$crowd_git") tip=$(cat large-tip) began took slowest=0 count=0 url
	began=$(date +%s%N)
	git clone -q --bare "${crowd_http}open.git" alone
	took=$((($(date +%s%N) - began) / 1000000))
	echo "alone: $took ms"
	echo "$took" >alone-ms
	echo $((took > 100 ? took * 20 : 2000)) >within
	touch memory.on
	watch_memory "$crowd_pid" memory &
	watcher=$!
	"$HELPER/crowd" "$seconds" \
		"http-pack:50:$http:/large.git:$tip" "git-pack:50:$git:/large.git:$tip" \
		"http-refs:50:$http:/many.git" "git-refs:50:$git:/many.git" \
		"http-v0:50:$http:/many.git" "git-v0:50:$git:/many.git" \
		"body:40:$http:/open.git" "gzip:30:$http:/open.git" "chunked:30:$http:/open.git" \
		"mute:30:$git:/open.git" "silent:35:$git:/open.git" "silent-v0:35:$git:/open.git" >came 2>&1 &
	crowd=$!
	sleep 0.5
	ended=$(($(date +%s) + seconds - 2))
	while test "$(date +%s)" -lt $ended; do
		for url in "$crowd_http" "$crowd_git"; do
			rm -rf good
			began=$(date +%s%N)
			git clone -q --bare "${url}open.git" good || fail "a clone from $url"
			took=$((($(date +%s%N) - began) / 1000000))
			count=$((count + 1))
			test $took -le $slowest || slowest=$took
			echo "$took ms from $url" | tee -a clones
			assert_objects_equal srv/open.git good
		done
	done
	"$HELPER/ask" --get "$crowd_http-/metrics" | grep -E '^git_mirror_(room|connections|transfers)'
	wait $crowd
	rm memory.on
	wait $watcher
	cat came
	echo "$count clones, the slowest $slowest ms (alone: $(cat alone-ms)); $(cat memory) kB at most" >figures
	cat figures
	echo "$slowest" >slowest
	assert_at_least 300 "$(awk '{ all += $2 } END { print all + 0 }' came)" 'connections of the crowd'
	assert_at_least 4 $count 'clones'
}

in_time () { assert_at_most "${within:-$(cat within)}" "$(cat slowest)" 'ms for a clone'; }
in_bounds () { assert_at_most $most_memory "$(cat memory)" 'kB of memory'; }

# Those that wait for their turn still get it, and are found to have gone.
is_over () {
	local tenth
	for tenth in $(seq 300); do
		test "$(metric crowd transfers_running)" != 0 || test -n "$(others_of "$crowd_pid")" || break
		sleep 0.1
	done
	assert_eq '' "$(others_of "$crowd_pid")" 'processes that are left'
	assert_eq 0 "$(metric crowd transfers_running)" 'transfers that run'
	for kind in transfers workers request_bytes answer_bytes; do
		assert_eq 0 "$(metric crowd "room_used{kind=\"$kind\"}")" "room that is still held ($kind)"
	done
	assert_lacks 'panicked' "$LOG/crowd.log"
}

test_case 'repositories' make_crowded_repos
start crowd
test_case '500 clients that keep it waiting: others are served' crowded
test_case "each clone within ${within:-2000} ms" in_time
test_case "at most $most_memory kB of memory, with all processes" in_bounds
test_case 'nothing is left of the crowd' is_over
test ! -e figures || sed 's/^/# /' figures
test_done
