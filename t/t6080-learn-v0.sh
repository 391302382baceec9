#!/bin/sh
# Servers of protocol v0 and v1 send their list unasked; it is stored all the same.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-learning.sh"

list_head='policy = "fixed"
first = 2'

# A server that hears of no v2, and keeps its advertisement apart from that of v2.
chaos v0 --to "$server_port" --strip-version
v2=$canonical
v0=git://127.0.0.1:$(chaos_port v0)/canonical.git

old_learner () { # <git clone argument>...
	canonical=$v0
	learner got "$@"
	canonical=$v2
}

learns () {
	offers once near mid far
	old_learner
	assert_learned got near mid
	assert_eq 1 "$(value got moreMirrors)" moreMirrors
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_complete got
}

in_v1 () {
	offers always near
	git config --global protocol.version 1
	learner got
	git config --global --unset protocol.version
	assert_learned got near
	assert_eq true "$(value got preferMirror)" preferMirror
	assert_complete got
}

another_list () {
	offers no near mid
	old_learner
	assert_learned got near mid
	ls -i got/.git/config >inode
	cp got/.git/mirror-fetch/state.toml state
	fetched got
	ls -i got/.git/config | diff -u inode -
	assert_same_file state got/.git/mirror-fetch/state.toml
	# The same mirrors, but preferred.
	offers always near mid
	fetched got
	assert_eq true "$(value got preferMirror)" preferMirror
	assert_learned got near mid
	offers no near mid far
	fetched got
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_learned got near mid
	assert_eq 1 "$(value got moreMirrors)" moreMirrors
	offers no far
	fetched got
	assert_learned got far
	assert_eq '' "$(value got moreMirrors)" moreMirrors
	offers_nothing
	fetched got
	assert_eq '' "$(value got listedMirror)" listedMirror
	assert_complete got
}

the_users_own () {
	offers always near
	old_learner -c remote.origin.preferMirror=false -c remote.origin.mirrorUrl="$(mirror_url far)"
	assert_eq false "$(value got preferMirror)" preferMirror
	assert_eq "$(mirror_url far)" "$(value got mirrorUrl)" mirrorUrl
	assert_learned got near
}

# It is asked once it speaks v2.
then_v2 () {
	offers always near mid far
	old_learner
	assert_eq 1 "$(value got moreMirrors)" moreMirrors
	git -C got remote set-url origin "$v2"
	grow "$srv/canonical.git" main 3 50
	git -C "$srv/near.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	fetched got
	assert_eq near.git "$(packed)" 'packs from'
	assert_complete got
}

test_case 'v0: a list is learned' learns
test_case 'v1: a list is learned' in_v1
test_case 'v0: another list' another_list
test_case "v0: the user's own stays" the_users_own
test_case 'v0, then v2' then_v2
test_done
