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

# A repository that wants none of it, while all others do.
disabled_here () {
	git mirror enable --global "$site/" >out
	cp by-include/.git/config before
	grow "$site/project.git" here 5 78 "$(git -C "$site/project.git" rev-parse main)"
	git -C near-project.git fetch -q ../site/project.git '+refs/heads/*:refs/heads/*'
	git -C by-include mirror disable >out 2>err
	assert_contains "^plain git uses no mirrors for 'origin'$" out
	assert_contains '^hint: it is switched on elsewhere' err
	git -C by-include mirror list >out
	assert_contains '^origin: off' out
	git -C by-include mirror disable
	forget_traffic
	git -C by-include fetch --verbose 2>err
	assert_lacks '^mirror: asking' err
	assert_eq 0 "$(packed_by near-project.git)" 'bytes from the mirror'
	assert_eq "$(git -C "$site/project.git" rev-parse here)" "$(git -C by-include rev-parse origin/here)" 'origin/here'
	# And back, as it was.
	git -C by-include mirror enable >out
	assert_contains "^mirrors are switched on for 'origin' \\(for all your repositories\\)" out
	assert_same_file before by-include/.git/config
	# Switched on in both places, it is off after one disable; preferences stay.
	git -C by-include config remote.origin.vcs mirror
	git -C by-include mirror prefer origin localhost >out || git -C by-include config remote.origin.preferMirror localhost
	git -C by-include mirror disable
	git -C by-include mirror list >out
	assert_contains '^origin: off' out
	git -C by-include mirror enable
	assert_eq localhost "$(git -C by-include config --get-all remote.origin.preferMirror)" 'preferMirror'
	git -C by-include mirror prefer --unset origin
	git mirror disable --global
	assert_same_file before by-include/.git/config
}

# What is a beginning of a URL, and which URLs have it.
prefixes () {
	cp "$HOME/.gitconfig" before
	for prefix in github.com github.com/ origin site/ ./site/ foo://h/ https:///x mirror::https://h/ ''; do
		code=0
		git mirror enable --global "$prefix" 2>err || code=$?
		assert_eq 129 "$code" "exit code for '$prefix'"
		assert_contains '^fatal: .* is no beginning of a URL: ' err
	done
	assert_same_file before "$HOME/.gitconfig"
	is_on () { # <URL>
		rm -rf urls
		git init -q urls
		git -C urls remote add origin "$1"
		test "$(git -C urls config remote.origin.vcs)" = mirror
	}
	git mirror enable --global https://git.example.com git@git.example.com: ssh://git.example.com/team >out
	for url in https://git.example.com/a.git https://user@git.example.com/a/b.git https://user:pass@git.example.com/a \
		https://:token@git.example.com/a/b/c git@git.example.com:a.git git@git.example.com:a/b.git \
		ssh://git@git.example.com/team/a.git ssh://git.example.com/team-b/a.git; do
		is_on "$url" || fail "off for $url"
	done
	for url in https://git.example.com.evil.example/a.git http://git.example.com/a https://other.example.com/git.example.com/a \
		https://git.example.com:8443/a ssh://git@git.example.com/other/a.git other@git.example.com:a.git; do
		is_on "$url" && fail "on for $url"
	done
	# What is special in a pattern is not in a prefix.
	git mirror enable --global 'https://git.example.com/[ab]*/' >out
	is_on 'https://git.example.com/[ab]*/x' || fail 'off for what is named'
	is_on https://git.example.com/a/x && fail 'on for what a pattern would mean'
	git mirror disable --global
	assert_lacks hasconfig "$HOME/.gitconfig"
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
test_case 'git mirror disable in one repository' disabled_here
test_case 'prefixes' prefixes
test_case 'url.mirror::<base>.insteadOf' by_instead_of
test_case 'submodules' submodules
test_case "other helpers' URLs stay shut" other_helpers_stay_shut
test_case 'mirror::<url>' prefix_for_a_clone
test_done
