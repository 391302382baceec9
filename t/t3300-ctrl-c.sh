#!/bin/sh
# Ctrl-C on a real terminal, and other signals: git mirror-fetch leaves the mirror,
# or ends, and leaves nothing behind.
#
#   GMF_KILLS=<n>   how often Ctrl-C comes at a random moment (8)
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-scenario.sh"
test -c /dev/ptmx || { echo '1..0 # SKIP no /dev/ptmx'; exit 0; }

srv=$TRASH/srv

# wait_until <seconds> <condition>...
wait_until () {
	local tenths="${1}0"
	shift
	while ! "$@"; do
		tenths=$((tenths - 1))
		test "$tenths" -gt 0 || { cat tty.screen || :; fail "waited in vain until $*"; }
		sleep 0.1
	done
}

# A client without the helper, with these mirrors, on a clean slate.
a_plain_client () { # <mirror>...
	# What a failed case has left.
	test -s tty.end || test ! -s pty.pid || kill -s USR1 "$(cat pty.pid)" 2>/dev/null || :
	rm -rf got tty.* tmp
	mkdir tmp
	cp -a client got
	git -C got config uploadpack.packObjectsHook "$TRASH/bin/pack-objects-hook"
	for mirror in "$@"; do
		git -C got config --add remote.origin.mirrorUrl "$srv/$mirror.git"
		git -C got config --add remote.origin.preferMirror "$srv/$mirror.git"
	done
	refs_of got >before
	forget_traffic
}

# terminal <command>...: in the client, on a terminal of its own, in the background.
terminal () {
	(
		cd got
		TMPDIR=$TRASH/tmp
		export TMPDIR
		exec "$HELPER/own-group" "$HELPER/pty" "$TRASH/tty" "$@"
	) &
	pty=$!
	echo "$pty" | tee pty.pid >>"$LOG/pids"
	wait_until 20 test -s tty.pid
}

# Nobody may be there any more to read it.
type_in () { printf "$1" 1<>tty.keys; }
ctrl_c () { type_in '\003'; }

asked () { test "$(packed_by "$1.git")" != 0; }
shown () { grep -q -e "$1" tty.screen; }
is_child () { child=$(cut -d ' ' -f 1 "/proc/$1/task/$1/children" 2>/dev/null) && test -n "$child"; }

# Which processes of this script's git run.
gits_running () {
	local pid
	grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ | cut -d / -f 3 | while read -r pid; do
		case $(cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' ' ') in
		*helper/pty*) ;;
		*git*) echo "$pid" ;;
		esac
	done
}

nobody_runs () { test -z "$(gits_running | grep -v "^$$\$")"; }

# ends_with <exit code>
ends_with () {
	wait_until 20 test -s tty.end
	cat tty.screen
	assert_eq "$1" "$(cat tty.end)" 'exit code'
}

leaves_nothing () { # [except-refs]
	wait_until 10 nobody_runs
	assert_fsck_clean got
	assert_no_leftovers got "${1:-}"
	assert_eq '' "$(ls -A tmp)" 'temporary files'
}

is_fetched () {
	refs_of plain-fetch >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
	leaves_nothing
}

is_as_before () {
	refs_of got >after
	assert_same_file before after
	leaves_nothing
}

# --- one Ctrl-C ---

to_the_next () { # <command>...
	a_plain_client stalled fresh
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the next mirror'
	assert_at_most "$allowance" "$(packed_by canonical.git)" 'bytes from canonical'
	assert_contains 'mirror localhost left: interrupted' tty.screen
}

to_canonical () { # <command>...
	a_plain_client stalled
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
}

# More than two seconds after the first.
each_leaves_one () { # <command>...
	a_plain_client stalled stalled2 fresh
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 asked stalled2
	sleep 2.2
	ctrl_c
	ends_with 0
	is_fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the third mirror'
}

# Of several remotes, each mirror that is being asked.
leaves_all_that_are_asked () {
	a_plain_client stalled
	git -C got remote add second "$canonical"
	git -C got config remote.second.mirrorUrl "$srv/stalled2.git"
	terminal git mirror-fetch --multiple -j 2 origin second
	wait_until 20 asked stalled
	wait_until 20 asked stalled2
	ctrl_c
	ends_with 0
	leaves_nothing
	assert_eq "$(git -C srv/canonical.git rev-parse main)" "$(git -C got rev-parse second/main)" 'second/main'
}

# Whatever is going on, nothing stays.
at_random_moments () { # <how often>
	local n=0 ms
	while test $n -lt "$1"; do
		n=$((n + 1))
		a_plain_client slow fresh
		terminal git mirror-fetch
		ms=$(perl -e 'print int rand 900')
		echo "after $ms ms"
		perl -e 'select undef, undef, undef, $ARGV[0] / 1000' "$ms"
		ctrl_c
		wait_until 20 test -s tty.end
		cat tty.screen
		case $(cat tty.end) in
		0) is_fetched ;;
		130) leaves_nothing except-refs ;;
		*) fail "exit code $(cat tty.end)" ;;
		esac
	done
}

# --- the end of everything ---

twice () { # <command>...
	a_plain_client stalled stalled2 fresh
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	sleep 0.4
	ctrl_c
	ends_with 130
	is_as_before
}

while_canonical_serves () { # <command>...
	a_plain_client
	git -C got config remote.origin.url "$srv/stalled.git"
	terminal "$@"
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	is_as_before
}

canonical_after_the_mirror () { # <command>...
	a_plain_client stalled2
	git -C got config remote.origin.url "$srv/stalled.git"
	terminal "$@"
	wait_until 20 asked stalled2
	ctrl_c
	wait_until 20 asked stalled
	sleep 2.2
	ctrl_c
	ends_with 130
	is_as_before
}

signalled () { # <signal> <exit code> <depth> <command>...: 0 is the first process, 1 its child
	local signal="$1" code="$2" depth="$3" victim
	shift 3
	a_plain_client stalled fresh
	terminal "$@"
	wait_until 20 asked stalled
	victim=$(cat tty.pid)
	while test "$depth" -gt 0; do
		is_child "$victim"
		victim=$child depth=$((depth - 1))
	done
	kill -s "$signal" "$victim"
	ends_with "$code"
	is_as_before
}

hung_up () { # <command>...
	a_plain_client stalled fresh
	terminal "$@"
	wait_until 20 asked stalled
	kill -s USR1 "$pty"
	wait_until 20 test -s tty.end
	is_as_before
}

# With nohup, a terminal that is closed is no reason to end.
under_nohup () {
	a_plain_client pausing
	terminal nohup git mirror-fetch
	wait_until 20 asked pausing
	kill -s USR1 "$pty"
	wait_until 20 test -s tty.end
	cat got/nohup.out
	rm got/nohup.out
	is_fetched
}

# --- no terminal of its own ---

without_a_terminal () { # <signal> <exit code> <group or process> <command>...
	local signal="$1" code="$2" whom="$3" got_code=0
	shift 3
	a_plain_client stalled fresh
	(
		cd got
		TMPDIR=$TRASH/tmp
		export TMPDIR
		exec perl -MPOSIX -e '$SIG{INT} = "DEFAULT"; setsid; exec @ARGV' "$@" >../got.out 2>../got.err
	) &
	fetching=$!
	wait_until 20 asked stalled
	case $whom in
	group) kill -s "$signal" -- "-$fetching" ;;
	process) kill -s "$signal" "$fetching" ;;
	esac
	wait "$fetching" || got_code=$?
	cat got.err
	assert_eq "$code" "$got_code" 'exit code'
	is_as_before
}

in_a_pipeline () {
	a_plain_client stalled fresh
	terminal sh -c 'trap : INT; git mirror-fetch 2>&1 | (trap "" INT; cat >../got.err)'
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 test -s tty.end
	is_as_before
}

plain_git_fetch () {
	a_plain_client stalled fresh
	git -C got config remote.origin.vcs mirror
	terminal git fetch
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	is_as_before
}

# --- filling refs/mirror/ ---

mirror_only () {
	a_plain_client stalled fresh
	terminal git mirror-fetch --mirror-only
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	leaves_nothing except-refs
	assert_eq "$(git -C srv/fresh.git rev-parse main)" \
		"$(git -C got rev-parse "$(mirror_refs_of got | grep heads/main)")" 'main of the next mirror'
}

mirror_only_and_none_left () {
	a_plain_client stalled
	terminal git mirror-fetch --mirror-only
	wait_until 20 asked stalled
	ctrl_c
	ends_with 128
	is_as_before
	assert_contains "fatal: no other mirror of 'origin'" tty.screen
}

mirror_only_twice () {
	a_plain_client stalled stalled2
	terminal git mirror-fetch --mirror-only
	wait_until 20 asked stalled
	ctrl_c
	sleep 0.4
	ctrl_c
	ends_with 130
	is_as_before
}

seed () {
	a_plain_client stalled
	terminal git mirror-fetch --seed
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_fetched
}

# --- within shells ---

in_a_script () {
	a_plain_client stalled fresh
	printf 'git mirror-fetch; echo "code $?"; read -r word; echo "read $word"\n' >script
	terminal sh ../script
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 shown 'code 0'
	type_in 'hello\n'
	ends_with 0
	assert_contains 'read hello' tty.screen
	is_fetched
}

ends_a_script_too () {
	a_plain_client
	git -C got config remote.origin.url "$srv/stalled.git"
	printf 'git mirror-fetch; echo went on\n' >script
	terminal sh ../script
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	assert_lacks 'went on' tty.screen
	is_as_before
}

# A shell with job control; its words are not in what it echoes.
a_shell () {
	terminal env PS1='$ ' ENV= sh -i
	wait_until 20 shown '^. '
}

in_a_shell () { # <command>
	a_plain_client stalled stalled2 fresh
	a_shell
	type_in "$1; echo co''de=\$?\n"
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 asked stalled2
	sleep 2.2
	ctrl_c
	wait_until 20 shown 'code='
	assert_contains 'code=0' tty.screen
	is_fetched_in_a_shell
	type_in 'exit\n'
	wait_until 20 test -s tty.end
}

is_fetched_in_a_shell () {
	refs_of plain-fetch >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
}

stopped_and_continued () { # <command>
	a_plain_client stalled fresh
	a_shell
	type_in "$1\n"
	wait_until 20 asked stalled
	type_in '\032'
	wait_until 20 shown 'Stopped'
	type_in "echo st''op=\$?\n"
	wait_until 20 shown 'stop='
	type_in "fg; echo co''de=\$?\n"
	wait_until 20 shown "^$1"
	sleep 0.3
	ctrl_c
	wait_until 20 shown 'code='
	assert_contains 'code=0' tty.screen
	is_fetched_in_a_shell
	type_in 'exit\n'
	wait_until 20 test -s tty.end
	leaves_nothing
}

for name in stalled stalled2; do
	cp -a "$srv/fresh.git" "$srv/$name.git"
	echo 'stall 3000' >"$srv/$name.git/lie"
done
cp -a "$srv/fresh.git" "$srv/slow.git"
cp -a "$srv/fresh.git" "$srv/pausing.git"
echo 'stall 3000 3' >"$srv/pausing.git/lie"
echo 'slow 60000' >"$srv/slow.git/lie"
# Patience beyond that of this script: only signals end what hangs.
git config --global mirror.responseTimeout 300
git config --global mirror.idleTimeout 300
git config --global mirror.lowSpeedTime 300

test_case 'plain git, the measure' plain_git_as_the_measure
for command in 'git mirror-fetch' git-mirror-fetch; do
	test_case "$command: to the next mirror" to_the_next $command
	test_case "$command: to canonical" to_canonical $command
	test_case "$command: each leaves one" each_leaves_one $command
	test_case "$command: twice" twice $command
	test_case "$command: while canonical serves" while_canonical_serves $command
	test_case "$command: canonical after the mirror" canonical_after_the_mirror $command
	test_case "$command: SIGTERM" signalled TERM 143 0 $command
	test_case "$command: SIGHUP" signalled HUP 129 0 $command
	test_case "$command: the terminal is closed" hung_up $command
	test_case "$command, no terminal: SIGINT to all" without_a_terminal INT 130 group $command
	test_case "$command, no terminal: SIGTERM to all" without_a_terminal TERM 143 group $command
	for signal in 'INT 130' 'TERM 143' 'HUP 129'; do
		test_case "$command, no terminal: $signal" without_a_terminal $signal process $command
	done
	test_case "$command in a shell" in_a_shell "$command"
	test_case "$command in a shell: Ctrl-Z, fg" stopped_and_continued "$command"
done
for signal in 'INT 130' 'TERM 143' 'HUP 129'; do
	test_case "SIG$signal to the child of git's wrapper" signalled $signal 1 git mirror-fetch
done
test_case 'several remotes' leaves_all_that_are_asked
test_case 'at random moments' at_random_moments "${GMF_KILLS:-8}"
test_case 'nohup' under_nohup
test_case 'in a pipeline' in_a_pipeline
test_case 'plain git fetch' plain_git_fetch
test_case '--mirror-only' mirror_only
test_case '--mirror-only, none left' mirror_only_and_none_left
test_case '--mirror-only, twice' mirror_only_twice
test_case '--seed' seed
test_case 'in a script' in_a_script
test_case 'ends a script, too' ends_a_script_too
test_done
