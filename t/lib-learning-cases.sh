#!/bin/sh
# lib-learning-cases.sh - what holds over every transport when a client learns
# mirrors from canonical; see lib-learning.sh.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-learning.sh"

plain_git_as_the_measure () {
	forget_requests
	git clone -q --no-local ${upload_pack:+-u "$upload_pack" -c remote.origin.uploadpack="$upload_pack"} "$canonical" plain
	requests >plain.clone
	forget_requests
	git -C plain fetch -q
	requests >plain.nothing
	assert_eq 2 "$(cat plain.clone)" 'requests of a clone'
	assert_eq 1 "$(cat plain.nothing)" 'requests of a fetch without news'
}

# The server's policy: over a path it does not know where the client is.
three_mirrors () { # <name of the first>
	if test "$transport" = path; then
		list_head='policy = "fixed"'
		offers always "$1" mid far
	else
		list_head='policy = "geoip"
geoip_database = "geo.mmdb"'
		printf '%s\n' '127.0.0.0/8 DE EU 50.11 8.68' |
			"$HELPER/make-mmdb" "$srv/canonical.git/geo.mmdb"
		offers always far mid "$1"
	fi
}

# Nothing is configured but the helper.
first_clone () {
	three_mirrors near
	learner got
	assert_learned got near mid far
	assert_eq true "$(value got preferMirror)" preferMirror
	assert_eq '' "$(value got moreMirrors)" moreMirrors
	assert_eq near.git "$(packed)" 'packs from'
	# One for the list is more, one for objects is less: near has them all.
	assert_eq "$(cat plain.clone)" "$(requests)" requests
	test "$transport" = http || assert_eq 1 "$(asked)" 'requests for the list'
	assert_eq 1 "$(connections)" connections
	assert_complete got
	assert_refs_equal plain got
}

nothing_new () {
	cp got/.git/config config
	fetched got
	assert_eq "$(cat plain.nothing)" "$(requests)" requests
	assert_eq 0 "$(asked)" 'requests for the list'
	assert_eq 1 "$(connections)" connections
	assert_same_file config got/.git/config
}

# Canonical completes what the first mirror lacks.
clone_from_a_late_mirror () {
	list_head='policy = "fixed"'
	offers always late
	learner late
	assert_learned late late
	assert_eq 'late.git canonical.git' "$(packed)" 'packs from'
	assert_eq $(($(cat plain.clone) + 1)) "$(requests)" requests
	assert_eq 1 "$(connections)" connections
	assert_complete late
}

new_commits () {
	cp -a plain plain-new
	cp -a late late-new
	grow "$srv/canonical.git" main 5 20
	forget_requests
	git -C plain-new fetch -q
	requests >plain.new
	cp late-new/.git/config config
	fetched late-new
	assert_eq "$(cat plain.new)" "$(requests)" requests
	assert_eq 0 "$(asked)" 'requests for the list'
	assert_eq 1 "$(connections)" connections
	assert_same_file config late-new/.git/config
	assert_complete late-new
}

# The three are as they were at the clone.
new_commits_at_the_mirrors () {
	git -C "$srv/near.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	three_mirrors near
	fetched got # learns that the first is not "late" any more
	grow "$srv/canonical.git" main 5 21
	git -C "$srv/near.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	fetched got
	assert_eq near.git "$(packed)" 'packs from'
	assert_eq 1 "$(requests)" requests
	assert_complete got
}

another_list () {
	list_head='policy = "fixed"'
	offers always near far
	fetched got
	assert_learned got near far
	assert_eq true "$(value got preferMirror)" preferMirror
	assert_eq 1 "$(connections)" connections
	offers no far mid
	fetched got
	assert_learned got far mid
	assert_eq '' "$(value got preferMirror)" preferMirror
}

no_list_any_more () {
	three_mirrors near
	fetched got
	assert_eq true "$(value got preferMirror)" preferMirror
	offers_nothing
	fetched got
	assert_eq '' "$(value got listedMirror)" listedMirror
	assert_eq '' "$(value got preferMirror)" preferMirror
	cp got/.git/config config
	fetched got
	assert_same_file config got/.git/config
	assert_complete got
}

# Of five, two are told at once; those are down.
more_mirrors () {
	list_head='policy = "fixed"
first = 2'
	offers always dead1 dead2 dead3 near far
	learner more
	assert_eq near.git "$(packed)" 'packs from'
	assert_learned more dead1 dead2 dead3 near
	assert_eq 1 "$(value more moreMirrors)" moreMirrors
	assert_complete more
	test "$transport" = http || assert_eq 2 "$(asked)" 'requests for the list'
}

the_fifth_only () {
	list_head='policy = "fixed"
first = 2'
	offers always dead1 dead2 dead3 dead4 near
	learner more
	assert_eq near.git "$(packed)" 'packs from'
	assert_learned more dead1 dead2 dead3 dead4 near
	assert_eq '' "$(value more moreMirrors)" moreMirrors
	assert_complete more
}

all_are_down () {
	list_head='first = 2'
	offers always dead1 dead2 dead3 dead4 dead5
	learner more
	assert_eq canonical.git "$(packed)" 'packs from'
	assert_contains 'warning: mirror .* left' more.err
	assert_complete more
}

test_case "$transport: plain git, the measure" plain_git_as_the_measure
test_case "$transport: the first clone learns three mirrors and uses the nearest" first_clone
test_case "$transport: nothing more is asked while nothing is new" nothing_new
test_case "$transport: one request more where canonical completes the clone" clone_from_a_late_mirror
test_case "$transport: nothing more is asked for new commits" new_commits
test_case "$transport: new commits come from the mirror" new_commits_at_the_mirrors
test_case "$transport: another list replaces it" another_list
test_case "$transport: no list any more" no_list_any_more
test_case "$transport: where the first mirrors are down, more are asked for" more_mirrors
test_case "$transport: page after page" the_fifth_only
test_case "$transport: all are down" all_are_down
test_done
