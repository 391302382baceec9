#!/bin/sh
# lib-terminal.sh - a client on a terminal of its own, and mirrors that hang, so
# that a signal comes at a known moment:
#
#   stalled, stalled2   nothing more after a part of the pack
#   pausing, slow       the rest after three seconds; at 60 kB a second
#
# Conditions of the end: what was fetched or not, no process, no file.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

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

has_fetched () {
	refs_of plain-fetch >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
}

is_fetched () {
	has_fetched
	leaves_nothing
}

is_as_before () {
	refs_of got >after
	assert_same_file before after
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
