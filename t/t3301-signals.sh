#!/bin/sh
# Signals to git mirror-fetch, with a terminal and without: it ends as git does,
# and leaves nothing behind.
if test -z "${GMF_SIGNALS:-}" && env --default-signal=HUP true 2>/dev/null; then
	# Under nohup(1) hanging up would be ignored, by git as well.
	GMF_SIGNALS=default exec env --default-signal=HUP,INT,QUIT,TERM sh "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$T/lib-terminal.sh"

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

for command in 'git mirror-fetch' git-mirror-fetch; do
	test_case "$command: SIGTERM" signalled TERM 143 0 $command
	test_case "$command: SIGHUP" signalled HUP 129 0 $command
	test_case "$command: the terminal is closed" hung_up $command
	test_case "$command, no terminal: SIGINT to all" without_a_terminal INT 130 group $command
	test_case "$command, no terminal: SIGTERM to all" without_a_terminal TERM 143 group $command
	for signal in 'INT 130' 'TERM 143' 'HUP 129'; do
		test_case "$command, no terminal: $signal" without_a_terminal $signal process $command
	done
done
for signal in 'INT 130' 'TERM 143' 'HUP 129'; do
	test_case "SIG$signal to the child of git's wrapper" signalled $signal 1 git mirror-fetch
done
test_case 'nohup' under_nohup
test_case 'in a pipeline' in_a_pipeline
test_done
