#!/bin/sh
# What is stored of canonical's list, and what the user has set stays.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-learning.sh"

list_head='policy = "fixed"'

# So many commits more, at canonical and at the mirrors.
grow_all () {
	local name round="$(cat "$TRASH/round" 2>/dev/null || echo 100)"
	echo $((round + 1)) >"$TRASH/round"
	grow "$srv/canonical.git" main 3 "$round"
	for name in near mid far; do
		git -C "$srv/$name.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	done
}

# Fetches what is new; says who sent it.
served_by () {
	grow_all
	fetched got >&2
	assert_complete got >&2
	packed
}

in_order () {
	offers always near mid far
	learner got
	assert_learned got near mid far
	assert_eq true "$(value got preferMirror)" preferMirror
	assert_eq '' "$(value got moreMirrors)" moreMirrors
	assert_eq '' "$(value got mirrorUrl)" mirrorUrl
	offers always far near
	fetched got
	assert_learned got far near
	assert_eq far.git "$(served_by)" 'served by'
}

more_is_counted () {
	list_head='policy = "fixed"
first = 1'
	offers always near mid far
	learner got
	assert_learned got near
	assert_eq 2 "$(value got moreMirrors)" moreMirrors
	list_head='policy = "fixed"'
	offers always near mid
	fetched got
	assert_learned got near mid
	assert_eq '' "$(value got moreMirrors)" moreMirrors
}

the_user_wants_none () {
	offers always near mid
	learner got -c remote.origin.preferMirror=false
	assert_eq false "$(value got preferMirror)" preferMirror
	assert_learned got near mid
	assert_eq canonical.git "$(packed)" 'packs from'
	offers always near
	assert_eq canonical.git "$(served_by)" 'served by'
	assert_eq false "$(value got preferMirror)" preferMirror
	assert_learned got near
}

the_user_wants_one () {
	offers no near mid
	learner got -c remote.origin.preferMirror="$(mirror_url mid)"
	assert_eq mid.git "$(packed)" 'packs from'
	for prefer in always once no; do
		offers $prefer near mid far
		assert_eq mid.git "$(served_by)" "served by, $prefer"
		assert_eq "$(mirror_url mid)" "$(value got preferMirror)" preferMirror
	done
	offers_nothing
	fetched got
	assert_eq "$(mirror_url mid)" "$(value got preferMirror)" preferMirror
	assert_eq '' "$(value got listedMirror)" listedMirror
}

the_user_has_a_mirror () {
	offers always near mid
	learner got -c remote.origin.mirrorUrl="$srv/far.git"
	assert_eq far.git "$(packed)" 'packs from'
	assert_learned got near mid
	offers_nothing
	assert_eq far.git "$(served_by)" 'served by'
	assert_eq "$srv/far.git" "$(value got mirrorUrl)" mirrorUrl
	assert_eq '' "$(value got listedMirror)$(value got preferMirror)" 'learned keys'
}

# What is in the configuration already stays as it is, to the letter.
comments_and_order () {
	offers always near mid
	learner got
	{
		echo '# first of all'
		sed -e '/listedMirror/d; /preferMirror/d; /moreMirrors/d' \
			-e 's/^\[remote "origin"\]/[remote "origin"] ; ours\n# a comment/' got/.git/config
		printf '[alias]\n\tst = status # short\n\n[remote "origin"]\n\ttagOpt = --tags\n\tmirrorUrl = %s\n' "$srv/near.git"
	} >mine
	cp mine got/.git/config
	rm got/.git/mirror-fetch/state.toml
	fetched got
	assert_learned got near mid
	grep -v -E '(listedMirror|preferMirror) = ' got/.git/config >rest
	assert_same_file mine rest
	offers no far
	fetched got
	offers_nothing
	fetched got
	assert_same_file mine got/.git/config
}

mirrors_are_dropped () {
	offers always near mid far
	learner got
	offers always mid
	fetched got
	assert_learned got mid
	# A list without mirrors.
	offers always
	fetched got
	assert_eq '' "$(value got listedMirror)$(value got preferMirror)" 'learned keys'
	assert_eq canonical.git "$(served_by)" 'served by'
}

not_preferred () {
	offers no near mid
	learner got
	assert_learned got near mid
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_eq canonical.git "$(packed)" 'packs from'
	assert_eq canonical.git "$(served_by)" 'served by'
	git -C got config remote.origin.preferMirror true
	assert_eq near.git "$(served_by)" 'served by'
	# That was the user; so it stays.
	offers always mid
	assert_eq mid.git "$(served_by)" 'served by'
	offers no mid
	assert_eq mid.git "$(served_by)" 'served by'
	offers_nothing
	fetched got
	assert_eq true "$(value got preferMirror)" preferMirror
}

preferred_once () {
	offers once near mid
	learner got
	assert_learned got near mid
	assert_eq near.git "$(packed)" 'packs from'
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_eq canonical.git "$(served_by)" 'served by'
	# Another list is no first fetch.
	offers once mid near
	assert_eq canonical.git "$(served_by)" 'served by'
	assert_eq '' "$(value got preferMirror)" preferMirror
}

always_then_no () {
	offers always near
	learner got
	assert_eq true "$(value got preferMirror)" preferMirror
	offers no near
	fetched got
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_learned got near
	assert_eq canonical.git "$(served_by)" 'served by'
	offers always near
	fetched got
	git -C got config remote.origin.preferMirror false
	offers no near
	fetched got
	assert_eq false "$(value got preferMirror)" preferMirror
}

# A second canonical, "other".
make_other () {
	cp -a "$srv/canonical.git" "$srv/other.git"
	sed 's,near,mid,' "$srv/canonical.git/mirrors.toml" >"$srv/other.git/mirrors.toml"
}

other_remote () { # <git config key> <value>...
	git -C got config "remote.other.$1" "$2"
}

two_remotes () {
	offers always near
	learner got
	rm -rf "$srv/other.git"
	make_other
	git -C got remote add other "$srv/other.git"
	other_remote vcs mirror
	other_remote uploadpack 'git mirror upload-pack'
	cp got/.git/config config
	fetched got other
	assert_eq "$(mirror_url mid)" "$(remote=other; value got listedMirror)" 'listedMirror of other'
	assert_learned got near
	offers no far
	fetched got
	fetched got other
	assert_learned got far
	assert_eq '' "$(value got preferMirror)" preferMirror
	assert_eq "$(mirror_url mid)" "$(remote=other; value got listedMirror)" 'listedMirror of other'
	assert_eq true "$(remote=other; value got preferMirror)" 'preferMirror of other'
}

# Both write to the same files at once.
two_remotes_at_once () {
	for round in 1 2 3 4 5; do
		rm -rf got
		cp -a at-once got
		git -C got fetch -q --multiple --jobs=2 origin other
		assert_learned got near
		assert_eq "$(mirror_url mid)" "$(remote=other; value got listedMirror)" 'listedMirror of other'
		assert_eq 'true true' "$(value got preferMirror) $(remote=other; value got preferMirror)" preferMirror
	done
	rm "$srv/canonical.git/mirrors.toml" "$srv/other.git/mirrors.toml"
	git -C got fetch -q origin
	git -C got fetch -q other
	assert_eq '' "$(value got preferMirror)$(remote=other; value got preferMirror)" preferMirror
}

before_two_remotes_at_once () {
	offers_nothing
	learner at-once
	git -C at-once remote add other "$srv/other.git"
	git -C at-once config remote.other.vcs mirror
	git -C at-once config remote.other.uploadpack 'git mirror upload-pack'
	offers always near
	cp "$srv/canonical.git/mirrors.toml" "$srv/other.git/mirrors.toml"
	sed 's,near,mid,' "$srv/canonical.git/mirrors.toml" >"$srv/other.git/mirrors.toml"
	two_remotes_at_once
}

renamed () {
	offers always near
	learner got
	git -C got remote rename origin up
	forget_requests
	fetched got up
	assert_eq 1 "$(asked)" 'requests for the list'
	remote=up
	assert_learned got near
	fetched got up
	assert_eq 0 "$(asked)" 'requests for the list'
	offers always mid
	fetched got up
	assert_learned got mid
	assert_eq true "$(value got preferMirror)" preferMirror
}

another_url () {
	rm -rf "$srv/other.git"
	offers always near
	make_other
	learner got
	git -C got remote set-url origin "$srv/other.git"
	fetched got
	assert_learned got mid
	assert_eq true "$(value got preferMirror)" preferMirror
	# Back, and to a list that says no.
	offers no far
	git -C got remote set-url origin "$canonical"
	fetched got
	assert_learned got far
	assert_eq '' "$(value got preferMirror)" preferMirror
}

# What another server listed does not stay.
another_url_without_a_list () {
	offers always near
	rm -rf "$srv/other.git"
	make_other
	rm "$srv/other.git/mirrors.toml"
	learner got
	git -C got remote set-url origin "$srv/other.git"
	fetched got
	assert_eq '' "$(value got listedMirror)$(value got preferMirror)" 'learned keys'
	git -C got remote set-url origin "$canonical"
	fetched got
	assert_learned got near
	git -C got config remote.origin.preferMirror false
	git -C got remote set-url origin "$srv/other.git"
	fetched got
	assert_eq '' "$(value got listedMirror)" listedMirror
	assert_eq false "$(value got preferMirror)" preferMirror
}

after_a_week () {
	offers always near
	learner got
	fetched got
	assert_eq 0 "$(asked)" 'requests for the list'
	age_state got $((8 * 24 * 3600))
	fetched got
	assert_eq 1 "$(asked)" 'requests for the list, after a week'
	fetched got
	assert_eq 0 "$(asked)" 'requests for the list, then'
	age_state got $((6 * 24 * 3600))
	fetched got
	assert_eq 0 "$(asked)" 'requests for the list, after six days'
}

age_state () { # <dir> <seconds>
	perl -i -pe 's/^time = (\d+)/"time = " . ($1 - '"$2"')/e' "$1/.git/mirror-fetch/state.toml"
}

damaged_state () {
	offers always near
	learner got
	echo 'damaged = [' >got/.git/mirror-fetch/state.toml
	cp got/.git/config config
	fetched got
	assert_eq 1 "$(asked)" 'requests for the list'
	assert_same_file config got/.git/config
	fetched got
	assert_eq 0 "$(asked)" 'requests for the list, then'
}

# Somebody else holds the configuration: the fetch goes on, and the list is learned by the next.
configuration_is_locked () {
	offers_nothing
	learner got
	offers always near
	grow_all
	: >got/.git/config.lock
	fetched got
	assert_eq "$(git -C "$srv/canonical.git" rev-parse main)" "$(git -C got rev-parse origin/main)" origin/main
	assert_eq '' "$(value got listedMirror)" listedMirror
	rm got/.git/config.lock
	fetched got
	assert_learned got near
	assert_eq true "$(value got preferMirror)" preferMirror
}

in_a_worktree () {
	offers always near
	learner got
	git -C got worktree add -q ../tree
	offers always mid
	fetched tree
	assert_learned got mid
	assert_eq 1 "$(asked)" 'requests for the list'
	fetched got
	assert_eq 0 "$(asked)" 'requests for the list'
}

bare () {
	offers always near
	rm -rf got
	learner got --mirror
	assert_learned got near
	assert_eq near.git "$(packed)" 'packs from'
}

# A URL that belongs to no remote has no place for a list.
no_remote () {
	offers always near
	rm -rf got
	git init -q got
	cp got/.git/config config
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.mirror.allow GIT_CONFIG_VALUE_0=always
	export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0
	forget_requests
	git -C got fetch -q --upload-pack="$upload_pack" "mirror::$canonical" main
	assert_same_file config got/.git/config
	assert_eq 0 "$(asked)" 'requests for the list'
	test ! -e got/.git/mirror-fetch/state.toml || assert_lacks 'list' got/.git/mirror-fetch/state.toml
}

not_our_helper () {
	offers always near
	rm -rf got
	git clone -q --no-local -u "$upload_pack" "$canonical" got
	assert_eq '' "$(value got listedMirror)" listedMirror
	test ! -e got/.git/mirror-fetch || fail 'state of plain git'
}

test_case 'in the order of the list' in_order
test_case 'moreMirrors' more_is_counted
test_case 'preferMirror=false stays' the_user_wants_none
test_case 'preferMirror=<url> stays' the_user_wants_one
test_case 'mirrorUrl stays, and goes first' the_user_has_a_mirror
test_case 'comments and order stay' comments_and_order
test_case 'mirrors that are not listed any more' mirrors_are_dropped
test_case 'prefer_mirror = "no"' not_preferred
test_case 'prefer_mirror = "once"' preferred_once
test_case 'from "always" to "no"' always_then_no
test_case 'two remotes' two_remotes
test_case 'two remotes at once' before_two_remotes_at_once
test_case 'the remote gets another name' renamed
test_case 'the remote gets another URL' another_url
test_case 'the remote gets the URL of a server without a list' another_url_without_a_list
test_case 'asked again after a week' after_a_week
test_case 'a damaged state file' damaged_state
test_case 'the configuration is locked' configuration_is_locked
test_case 'in a worktree' in_a_worktree
test_case 'in a bare repository' bare
test_case 'a URL without a remote' no_remote
test_case 'plain git' not_our_helper
test_done
