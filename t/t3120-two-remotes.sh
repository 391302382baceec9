#!/bin/sh
# Two remotes whose mirrors are on one host: what comes of the one says nothing of
# the other, and each has refs of its own.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

# canon/one.git, canon/two.git; of the second alone there is a mirror at first.
make_repos () {
	mkdir -p "$srv/canon"
	new_repo "$srv/canon/one.git"
	grow "$srv/canon/one.git" main 60 11
	new_repo "$srv/canon/two.git"
	grow "$srv/canon/two.git" main 60 22
	cp -a "$srv/canon/two.git" "$srv/near-two.git"
}

mirrors_of_a_whole_server () {
	git config --global "mirror.git://127.0.0.1:$git_port/near-.mirrorOf" "$srv/canon/"
	git init -q got
	for name in one two; do
		git -C got remote add $name "$srv/canon/$name.git"
		git -C got config remote.$name.vcs mirror
	done
}

# What one remote's mirror lacks shuns no other's.
not_found () {
	forget_traffic
	git -C got fetch one 2>got.err
	cat got.err
	assert_contains 'left: no such repository' got.err
	git -C got fetch two 2>got.err
	cat got.err
	assert_lacks warning: got.err
	assert_at_least 1 "$(packed_by near-two.git)" 'bytes from the mirror'
}

# What canonical does not have stays, of each remote's mirror.
refs_of_each () {
	git -C got mirror forgive
	cp -a "$srv/canon/one.git" "$srv/near-one.git"
	for name in one two; do
		grow "$srv/canon/$name.git" main 3 7
		grow "$srv/near-$name.git" main 5 8
	done
	git -C got fetch --multiple one two 2>got.err || { cat got.err; fail fetch; }
	cat got.err
	git -C got for-each-ref --format='%(refname) %(objectname)' refs/mirror >refs
	cat refs
	for name in one two; do
		assert_contains "heads/main $(git -C "$srv/near-$name.git" rev-parse main)" refs
	done
	assert_contains "^refs/mirror/127.0.0.1_$git_port/heads/main $(git -C "$srv/near-one.git" rev-parse main)" refs
	assert_contains "^refs/mirror/127.0.0.1_$git_port-[0-9a-f]{8}/heads/main" refs
	for name in one two; do
		git -C got rev-list --objects "$(git -C "$srv/near-$name.git" rev-parse main)" >/dev/null
	done
}

# A repository with the one remote, as ever.
one_remote () {
	git init -q alone
	git -C alone remote add two "$srv/canon/two.git"
	git -C alone config remote.two.vcs mirror
	git -C alone fetch -q two
	git -C alone for-each-ref refs/mirror >refs
	assert_contains "refs/mirror/127.0.0.1_$git_port/heads/main" refs
}

# What is fetched by URL has a place of its own, and leaves no URL behind.
by_url () {
	git init -q unnamed
	git -C unnamed remote add one "$srv/canon/one.git"
	git -C unnamed config remote.one.vcs mirror
	git -C unnamed fetch -q one
	forget_traffic
	git -C unnamed fetch "mirror::$srv/canon/two.git" main 2>got.err || { cat got.err; fail fetch; }
	cat got.err
	assert_at_least 1 "$(packed_by near-two.git)" 'bytes from the mirror'
	git -C unnamed for-each-ref --format='%(refname) %(objectname)' refs/mirror >refs
	cat refs
	for name in one two; do
		assert_contains "heads/main $(git -C "$srv/near-$name.git" rev-parse main)" refs
	done
	assert_lacks ://127 unnamed/.git/mirror-fetch/state.toml
}

make_repos >"$LOG/make" 2>&1
start_git_daemon "$srv"
test_case 'mirrors of a whole server' mirrors_of_a_whole_server
test_case 'a repository that one mirror does not have' not_found
test_case 'refs of each' refs_of_each
test_case 'with one remote, the plain name' one_remote
test_case 'what is fetched by URL' by_url
test_done
