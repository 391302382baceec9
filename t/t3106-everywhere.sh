#!/bin/sh
# Switched on for all repositories of a user, and in submodules: what works, and
# that repositories without the remote see nothing of it.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

site=$TRASH/site

a_site () {
	mkdir "$site"
	for name in project sub; do
		new_repo "$site/$name.git"
		grow "$site/$name.git" main 60 $((${#name}))
	done
	git clone -q "$site/project.git" work
	git -C work submodule --quiet add "$site/sub.git" part
	git -C work commit -q -m 'add a part'
	git -C work push -q origin main
	cp -a "$site/project.git" near-project.git
	cp -a "$site/sub.git" near-sub.git
	git config --global "mirror.$TRASH/near-.mirrorOf" "$site/"
}

assert_served_from_near () { # <name>
	cat "$LOG/packs"
	assert_at_least 1 "$(packed_by "near-$1.git")" "bytes from near-$1.git"
	assert_eq 0 "$(packed_by "$1.git")" "bytes of packs from $1.git"
}

by_include_if () {
	git mirror enable --global "file://$site/" "$site/"
	forget_traffic
	git clone -q --no-local "$site/project.git" by-include
	assert_served_from_near project
	assert_fsck_clean by-include
	assert_no_leftovers by-include
	grow "$site/project.git" later 5 77 "$(git -C "$site/project.git" rev-parse main)"
	git -C by-include fetch --verbose 2>err
	cat err
	assert_contains '^mirror: asking' err
	assert_eq "$(git -C "$site/project.git" rev-parse later)" "$(git -C by-include rev-parse origin/later)" 'origin/later'
}

others_see_nothing () {
	git init -q unrelated
	assert_eq '' "$(git -C unrelated remote)" 'remotes'
	assert_fails git -C unrelated pull
	git -C unrelated remote add origin "$TRASH/elsewhere.git"
	git init -q --bare elsewhere.git
	git -C unrelated fetch 2>err
	assert_lacks . err
	assert_fails git -C unrelated config remote.origin.vcs
}

disabled_again () {
	cp "$HOME/.gitconfig" before
	git mirror disable --global
	assert_fails git -C by-include config remote.origin.vcs
	assert_lacks 'mirror.config' "$HOME/.gitconfig"
	git mirror disable --global || :
	git mirror enable --global
	assert_eq mirror "$(git -C by-include config remote.origin.vcs)" 'vcs'
	git mirror disable --global
	assert_fails git -C by-include config remote.origin.vcs
}

by_instead_of () {
	git config --global "url.mirror::$site/.insteadOf" "$site/"
	git -C near-project.git fetch -q ../site/project.git '+refs/heads/*:refs/heads/*'
	forget_traffic
	git clone -q --no-local "$site/project.git" by-instead
	assert_served_from_near project
	assert_fsck_clean by-instead
	assert_no_leftovers by-instead
	git -C by-instead fetch -q
	git -C by-instead pull -q
}

submodules () {
	# Not for URLs that are not the user's, unless the user says so.
	assert_fails git clone -q --no-local --recurse-submodules "$site/project.git" refused
	git config --global protocol.mirror.allow always
	forget_traffic
	git clone -q --no-local --recurse-submodules "$site/project.git" with-part
	assert_served_from_near project
	assert_served_from_near sub
	assert_eq "$(git -C "$site/sub.git" rev-parse main)" "$(git -C with-part/part rev-parse HEAD)" 'HEAD of the part'
	assert_fsck_clean with-part
	assert_fsck_clean with-part/part
	assert_no_leftovers with-part/part
	grow "$site/sub.git" main 5 88
	git -C with-part submodule --quiet update --remote
	assert_eq "$(git -C "$site/sub.git" rev-parse main)" "$(git -C with-part/part rev-parse HEAD)" 'HEAD of the part'
}

other_helpers_stay_shut () {
	assert_fails git clone -q "mirror::ext::sh -c 'touch $TRASH/owned' x" x
	assert_fails git -c protocol.mirror.allow=always clone -q "mirror::ext::sh -c 'touch $TRASH/owned' x" x
	test ! -e owned || fail 'ext:: ran'
	assert_fails git clone -q mirror::mirror::"$site/project.git" x
}

prefix_for_a_clone () {
	git config --global --unset "url.mirror::$site/.insteadOf"
	forget_traffic
	git clone -q --no-local "mirror::$site/project.git" prefixed
	assert_eq "$site/project.git" "$(git -C prefixed config remote.origin.url)" 'URL'
	assert_eq mirror "$(git -C prefixed config remote.origin.vcs)" 'vcs'
	git -C prefixed fetch
	git clone -q --no-local --origin up "mirror::$site/project.git" prefixed-up
	assert_eq "$site/project.git" "$(git -C prefixed-up config remote.up.url)" 'URL'
	git clone -q --bare "mirror::$site/project.git" prefixed-bare
	git clone -q --mirror "mirror::$site/project.git" prefixed-mirror
	assert_eq "$site/project.git" "$(git -C prefixed-mirror config remote.origin.url)" 'URL'
	git -C prefixed-mirror fetch
	git ls-remote "mirror::$site/project.git" >list
	git ls-remote "$site/project.git" >expected
	assert_same_file expected list
}

test_case 'two repositories, one inside the other' a_site
test_case 'git mirror enable --global' by_include_if
test_case 'other repositories see nothing' others_see_nothing
test_case 'git mirror disable --global' disabled_again
test_case 'url.mirror::<base>.insteadOf' by_instead_of
test_case 'submodules' submodules
test_case "other helpers' URLs stay shut" other_helpers_stay_shut
test_case 'mirror::<url>' prefix_for_a_clone
test_done
