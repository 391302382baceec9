#!/bin/sh
# git mirror-fetch: git fetch in all that can be seen, from mirrors first, with
# nothing switched on.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-scenario.sh"

srv=$TRASH/srv

# A new client without the helper, with these mirrors.
unhelped () {
	a_client "$@"
	git -C got config --unset remote.origin.vcs
}

mirror_fetch () {
	forget_traffic
	git -C got mirror-fetch "$@" >got.out 2>got.err
}

as_plain () { # [<limit>]
	assert_fetched "$@"
	assert_eq '' "$(git -C got config --local remote.origin.vcs)" 'remote.origin.vcs'
}

from_the_configured_mirror () {
	unhelped "$srv/fresh.git"
	mirror_fetch
	as_plain "$allowance"
}

from_a_mirror_of_the_command_line () {
	for way in "--mirror-url $srv/fresh.git" "--mirror-url=$srv/fresh.git"; do
		unhelped
		mirror_fetch $way
		as_plain "$allowance"
		unhelped
		mirror_fetch origin $way
		assert_refs_equal plain-fetch got
		assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
	done
	unhelped "$srv/stale.git"
	mirror_fetch --mirror-url "$srv/fresh.git" --mirror-url "$srv/ahead.git"
	assert_eq fresh.git "$(awk '{ print $1; exit }' "$LOG/packs")" 'first'
	as_plain "$allowance"
}

without_a_mirror () {
	unhelped
	mirror_fetch
	assert_same_file plain-fetch.err got.err
	as_plain
	unhelped "$srv/fresh.git"
	mirror_fetch --no-use-mirror
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from fresh.git'
	as_plain
	unhelped "$srv/fresh.git"
	mirror_fetch --prefer-mirror --no-use-mirror
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

preferring_one () {
	unhelped "$srv/stale.git" "$srv/fresh.git"
	mirror_fetch --prefer-mirror="$srv/fresh.git"
	assert_eq fresh.git "$(awk '{ print $1; exit }' "$LOG/packs")" 'first'
	as_plain "$allowance"
	unhelped "$srv/fresh.git"
	git -C got config --replace-all remote.origin.preferMirror false
	mirror_fetch
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from fresh.git'
	unhelped "$srv/fresh.git"
	git -C got config --replace-all remote.origin.preferMirror false
	mirror_fetch --prefer-mirror
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

# Every flag of fetch, and the exit codes, are git's.
as_git_fetch () { # <argument>...
	local plain=0 code=0
	rm -rf expected
	cp -a client expected
	git -C expected fetch "$@" >expected.out 2>expected.err || plain=$?
	unhelped "$srv/stale.git"
	mirror_fetch "$@" || code=$?
	cat got.err
	assert_eq "$plain" "$code" 'exit code'
	assert_same_file expected.out got.out
	assert_no_helper_left
	assert_refs_equal expected got
	if test -f expected/.git/FETCH_HEAD; then
		assert_same_file expected/.git/FETCH_HEAD got/.git/FETCH_HEAD
	fi
	assert_fsck_clean got
	assert_no_leftovers got
}

mirror_only () {
	unhelped "$srv/fresh.git"
	refs_of got >before
	mirror_fetch --mirror-only
	cat got.err
	assert_eq 0 "$(canonical_sent)" 'bytes from canonical'
	assert_eq 0 "$(canonical_ref_lists)" 'ref lists of canonical'
	refs_of got | sed '/ refs\/mirror\//d' >after
	assert_same_file before after
	test ! -e got/.git/FETCH_HEAD || fail 'FETCH_HEAD was written'
	assert_eq "$(git -C srv/fresh.git rev-parse main)" \
		"$(git -C got rev-parse refs/mirror/localhost/heads/main)" 'main of the mirror'
	assert_fsck_clean got
	assert_contains 'refs/mirror/localhost' got.err
	# The next fetch moves the refs, and has the objects.
	mirror_fetch
	assert_fetched "$allowance"
	assert_at_most "$allowance" "$(packed_by fresh.git)" 'bytes from the mirror, again'
}

mirror_only_without_a_mirror () {
	unhelped
	code=0
	mirror_fetch --mirror-only || code=$?
	assert_eq 128 "$code" 'exit code'
	unhelped "$(dead_url path)"
	code=0
	mirror_fetch --mirror-only || code=$?
	assert_eq 128 "$code" 'exit code'
	assert_refs_equal client got
	assert_no_leftovers got
}

mirror_only_from_a_liar () {
	for mirror in hole cut flipped; do
		unhelped "$srv/$mirror.git"
		code=0
		mirror_fetch --mirror-only || code=$?
		assert_eq 128 "$code" "exit code, $mirror"
		assert_no_leftovers got
		assert_fsck_clean got
	done
	unhelped "$srv/hole.git" "$srv/fresh.git"
	mirror_fetch --mirror-only
	mirror_refs_of got | grep -q . || fail 'nothing from the second'
}

seed () {
	unhelped "$srv/fresh.git"
	mirror_fetch --seed
	as_plain "$allowance"
	unhelped "$(dead_url path)"
	mirror_fetch --seed
	as_plain
}

canonical_is_down () {
	unhelped "$srv/fresh.git"
	git -C got config remote.origin.url "$(dead_url path)"
	rm -rf expected
	cp -a got expected
	plain=0 code=0
	git -C expected fetch 2>expected.err || plain=$?
	mirror_fetch || code=$?
	cat got.err
	assert_eq "$plain" "$code" 'exit code'
	refs_of expected >expected-refs
	refs_of got | sed '/ refs\/mirror\//d' >actual-refs
	assert_same_file expected-refs actual-refs
	assert_eq "$(git -C srv/fresh.git rev-parse main)" \
		"$(git -C got rev-parse refs/mirror/localhost/heads/main)" 'main of the mirror'
	assert_contains 'refs/mirror/localhost' got.err
	# Once it is back, all is as it should be.
	git -C got config remote.origin.url "$canonical"
	mirror_fetch
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
	assert_no_leftovers got
}

# What a later fetch reaches is tidied; what it does not reach stays.
tidies_afterwards () {
	unhelped "$srv/diverged.git"
	mirror_fetch
	mirror_refs_of got >kept
	assert_contains 'refs/mirror/localhost/heads/main' kept
	git -C got update-ref refs/heads/keep "$(git -C srv/diverged.git rev-parse main)"
	mirror_fetch
	assert_no_leftovers got
}

wrong_command_lines () {
	unhelped
	for line in '--mirror-url' '--mirror-only --seed' '--prefer-mirror --no-such-option'; do
		code=0
		mirror_fetch $line || code=$?
		assert_eq 129 "$code" "exit code of $line"
	done
	code=0
	(cd "$TRASH" && git mirror-fetch) || code=$?
	assert_eq 128 "$code" 'exit code outside a repository'
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'from the configured mirror' from_the_configured_mirror
test_case 'from a mirror of the command line' from_a_mirror_of_the_command_line
test_case 'without a mirror' without_a_mirror
test_case '--prefer-mirror' preferring_one
for arguments in '' 'origin' '--prune' '--tags --force' 'origin main' 'origin main:mine' '--dry-run' \
	'--all' '--multiple origin origin' 'origin nowhere' 'nowhere' '--depth=3' '--no-tags -v' '-q' '--atomic' \
	'--refetch' '-- origin topic' '--set-upstream origin topic'; do
	test_case "as git fetch $arguments" as_git_fetch $arguments
done
if git_is_at_least 2 41; then
	test_case 'as git fetch --porcelain' as_git_fetch --porcelain
else
	skip_case 'as git fetch --porcelain' 'git 2.41 is needed'
fi
test_case '--mirror-only' mirror_only
test_case '--mirror-only, no mirror' mirror_only_without_a_mirror
test_case '--mirror-only, a lying mirror' mirror_only_from_a_liar
test_case '--seed' seed
test_case 'canonical is down' canonical_is_down
test_case 'tidies afterwards' tidies_afterwards
test_case 'wrong command lines' wrong_command_lines
test_done
