#!/bin/sh
# Ctrl-C on a real terminal: git mirror clone leaves the mirror, or ends, and
# leaves nothing behind.
. "$(dirname "$0")/lib.sh"
. "$T/lib-terminal.sh"

# a_place [<mirror>...]: an empty folder to clone into, and the options for these mirrors, in this order.
a_place () {
	a_plain_client
	rm -rf got
	mkdir got
	mirrors=
	for mirror in "$@"; do
		mirrors="$mirrors --mirror-url $srv/$mirror.git --prefer-mirror=$srv/$mirror.git"
	done
}

on_a_terminal () { # [<argument>...]
	terminal git mirror clone --no-local $mirrors "$@" "$canonical" new
}

is_cloned () {
	refs_of plain-clone >expected-refs
	refs_of got/new >actual-refs
	assert_same_file expected-refs actual-refs
	wait_until 10 nobody_runs
	assert_fsck_clean got/new
	assert_no_leftovers got/new
	assert_eq '' "$(git -C got/new status --porcelain)" 'the work tree'
	assert_eq mirror "$(git -C got/new config remote.origin.vcs)" 'vcs'
	assert_eq '' "$(ls -A tmp)" 'temporary files'
}

nothing_is_left () {
	wait_until 10 nobody_runs
	assert_eq '' "$(ls -A got)" 'what was made'
	assert_eq '' "$(ls -A tmp)" 'temporary files'
}

to_the_next () {
	a_place stalled fresh
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_cloned
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the next mirror'
	assert_at_most "$allowance" "$(packed_by canonical.git)" 'bytes from canonical'
	assert_contains 'mirror localhost left: interrupted' tty.screen
}

to_canonical () {
	a_place stalled
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_cloned
}

# The folder was there before, and stays, empty, in between.
into_an_empty_folder () {
	a_place stalled fresh
	mkdir got/new
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	ends_with 0
	is_cloned
}

each_leaves_one () {
	a_place stalled stalled2 fresh
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 asked stalled2
	sleep 2.2
	ctrl_c
	ends_with 0
	is_cloned
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the third mirror'
}

twice () {
	a_place stalled stalled2
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	sleep 0.4
	ctrl_c
	ends_with 130
	nothing_is_left
}

while_canonical_serves () {
	a_place
	canonical=$srv/stalled.git
	on_a_terminal
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	nothing_is_left
}

# The repository is there, and git clone would not make it again.
while_a_submodule_is_asked_for () {
	rm -rf work super.git
	git init -q work
	git -C work submodule --quiet add "file://$canonical" sub
	git -C work commit -q -m 'add sub'
	git clone -q --bare work super.git
	a_place
	git config --global remote.origin.vcs mirror
	git config --global protocol.mirror.allow always
	git config --global "mirror.$srv/stalled.git.mirrorOf" "file://$srv/canonical.git"
	terminal git mirror clone --no-local --recurse-submodules "$TRASH/super.git" new
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	wait_until 10 nobody_runs
	assert_eq "$(git -C super.git rev-parse main)" "$(git -C got/new rev-parse HEAD)" 'HEAD'
	assert_lacks 'already exists' tty.screen
	git config --global --unset "mirror.$srv/stalled.git.mirrorOf"
	git config --global --unset remote.origin.vcs
}

# Without a terminal, the first one ends it.
in_a_pipeline () {
	a_place stalled
	(
		cd got
		exec "$HELPER/own-group" git mirror clone -q --no-local $mirrors "$canonical" new
	) >piped 2>&1 &
	pid=$!
	echo "$pid" >>"$LOG/pids"
	wait_until 20 asked stalled
	kill -TERM "$pid"
	code=0
	wait "$pid" || code=$?
	assert_eq 143 "$code" 'exit code'
	nothing_is_left
}

test_case 'to the next mirror' to_the_next
test_case 'to canonical' to_canonical
test_case 'into an empty folder' into_an_empty_folder
test_case 'each leaves one' each_leaves_one
test_case 'twice' twice
test_case 'while canonical serves' while_canonical_serves
test_case 'while a submodule is asked for' while_a_submodule_is_asked_for
test_case 'without a terminal' in_a_pipeline
test_done
