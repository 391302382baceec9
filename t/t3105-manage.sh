#!/bin/sh
# git mirror list, add, remove, prefer, enable, disable: they write with git's
# own rules, and change nothing else.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

a_repository () {
	rm -rf repo
	git init -q repo
	cd repo
	git remote add origin https://git.example.com/project.git
	git remote add other https://other.example.com/project.git
	{
		echo '# a comment at the end'
		echo '[core] ; another'
		echo '	abbrev = 12 # and one more'
	} >>.git/config
	cp .git/config before
}

mirror_urls () { # <remote>
	git config --get-all "remote.$1.mirrorUrl" | tr '\n' ' ' | sed 's/ $//'
}

add () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://two.example.com/p.git
	git mirror add origin ssh://three.example.com/p.git
	assert_eq 'https://one.example.com/p.git https://two.example.com/p.git ssh://three.example.com/p.git' \
		"$(mirror_urls origin)" 'mirrorUrl'
	assert_eq '' "$(mirror_urls other)" 'mirrorUrl of the other'
	# All lines that were there are there, in order.
	grep -v mirrorUrl .git/config >after
	assert_same_file before after
}

add_twice () {
	a_repository
	git mirror add origin https://one.example.com/p.git
	git mirror add origin https://one.example.com/p.git || :
	assert_eq 1 "$(mirror_urls origin | wc -w)" 'mirrors'
}

add_what_cannot_be () {
	a_repository
	assert_fails git mirror add nowhere https://one.example.com/p.git
	assert_fails git mirror add origin
	assert_fails git mirror add origin 'ext::sh -c true'
	assert_fails git mirror add origin -- --upload-pack=x
	assert_same_file before .git/config
}

remove () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://one.example.com/q.git https://two.example.com/p.git
	git mirror remove origin https://one.example.com/q.git
	assert_eq 'https://one.example.com/p.git https://two.example.com/p.git' "$(mirror_urls origin)" 'mirrorUrl'
	git mirror remove origin one.example.com
	assert_eq 'https://two.example.com/p.git' "$(mirror_urls origin)" 'mirrorUrl'
	git mirror remove origin two.example.com
	assert_fails git mirror remove origin two.example.com
	assert_same_file before .git/config
}

prefer () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://two.example.com/p.git
	git mirror prefer origin two.example.com
	assert_eq two.example.com "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin one.example.com two.example.com
	assert_eq 'one.example.com two.example.com' \
		"$(git config --get-all remote.origin.preferMirror | tr '\n' ' ' | sed 's/ $//')" 'preferMirror'
	git mirror prefer origin --never
	assert_eq false "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin --always
	assert_eq true "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin --unset
	assert_fails git config remote.origin.preferMirror
}

list_shows_all () {
	a_repository
	git mirror list >out
	test ! -s out || { cat out; fail 'mirrors out of nothing'; }
	git mirror add origin https://one.example.com/p.git https://one.example.com:8443/p.git
	git config mirror.https://near.example.com/.mirrorOf https://git.example.com/
	git config remote.origin.listedMirror https://listed.example.com/p.git
	git config url.https://real.example.com/.insteadOf short:
	git config --add remote.other.mirrorUrl short:p.git
	git mirror list | tr A-Z a-z >out
	cat out
	assert_contains '^origin.*https://one\.example\.com/p\.git.*mirrorurl.*refs/mirror/one\.example\.com' out
	assert_contains '^origin.*https://one\.example\.com:8443/p\.git.*refs/mirror/one\.example\.com_8443' out
	assert_contains '^origin.*https://near\.example\.com/project\.git.*mirrorof' out
	assert_contains '^origin.*https://listed\.example\.com/p\.git.*listedmirror' out
	assert_contains '^other.*https://real\.example\.com/p\.git' out
	git mirror list other | tr A-Z a-z >out
	assert_lacks '^origin' out
	assert_contains '^other' out
}

list_shows_the_last_result () {
	cd "$TRASH"
	new_repo canonical.git
	grow canonical.git main 30 1
	git clone -q --no-local -c remote.origin.vcs=mirror -c remote.origin.mirrorUrl="$TRASH/nowhere.git" \
		-c remote.origin.mirrorUrl="$TRASH/canonical.git" "$TRASH/canonical.git" listed
	git -C listed mirror list >out
	cat out
	assert_eq 2 "$(grep -c '^origin' out)" 'lines'
	grep nowhere.git out >bad
	grep -v nowhere.git out >good
	assert_fails cmp -s bad good
	rm -r listed/.git/mirror-fetch
	git -C listed mirror list >out
	assert_eq 2 "$(grep -c '^origin' out)" 'lines without memory'
}

damaged_memory_does_no_harm () {
	cd "$TRASH"
	mkdir -p listed/.git/mirror-fetch
	for garbage in '' '[[[' 'a = 1'; do
		echo "$garbage" >listed/.git/mirror-fetch/state.toml
		git -C listed mirror list >out
		assert_eq 2 "$(grep -c '^origin' out)" 'lines'
		git -C listed fetch -q
	done
	printf '\000\377\001' >listed/.git/mirror-fetch/state.toml
	git -C listed fetch -q
}

enable_and_disable () {
	a_repository
	git mirror enable
	assert_eq mirror "$(git config remote.origin.vcs)" 'vcs'
	assert_fails git config remote.other.vcs
	git mirror enable other
	assert_eq mirror "$(git config remote.other.vcs)" 'vcs'
	git mirror disable other origin
	assert_same_file before .git/config
	assert_fails git mirror enable nowhere
}

outside_a_repository () {
	cd "$TRASH"
	mkdir -p outside
	cd outside
	assert_fails git mirror add origin https://one.example.com/p.git
}

help_and_version () {
	for program in git-mirror git-mirror-fetch git-remote-mirror; do
		"$program" --version >out
		assert_contains '[0-9]+\.[0-9]+\.[0-9]+' out
		"$program" -h >out
		test -s out || fail "$program -h says nothing"
	done
	for shell in bash zsh fish; do
		git-mirror completions "$shell" >out
		assert_contains 'git-mirror' out
	done
	git-mirror completions bash | bash -n
	assert_fails git-mirror no-such-command
}

demo () {
	mkdir -p "$TRASH/demo"
	TMPDIR=$TRASH/demo git-mirror demo >out 2>&1 </dev/null || { cat out; fail 'git mirror demo'; }
	cat out
	assert_at_least 10 "$(grep -c . out)" 'lines'
	rmdir "$TRASH/demo" || fail 'the demo left something'
	assert_no_helper_left
}

test_case 'add' add
test_case 'add the same twice' add_twice
test_case 'add what cannot be' add_what_cannot_be
test_case 'remove' remove
test_case 'prefer' prefer
test_case 'list' list_shows_all
test_case 'list, what came of it' list_shows_the_last_result
test_case 'a damaged memory does no harm' damaged_memory_does_no_harm
test_case 'enable and disable' enable_and_disable
test_case 'outside a repository' outside_a_repository
test_case 'help, version, completions' help_and_version
test_case 'demo' demo
test_done
