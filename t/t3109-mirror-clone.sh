#!/bin/sh
# git mirror clone: git clone in all that can be seen, from mirrors first, with a
# remote that is switched on afterwards. And the refs that are left over git's
# check within a run.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-scenario.sh"

srv=$TRASH/srv
counting="-u $upload_pack"

mirror_clone () { # <dir> [<argument>...]
	local dir="$1"
	shift
	rm -rf "$dir"
	forget_traffic
	git mirror clone --no-local $counting "$@" "$canonical" "$dir" >"$dir.out" 2>"$dir.err"
}

is_plain () { # [<limit of bytes from canonical>] [except-refs]
	cat got.err
	assert_no_helper_left
	assert_result_is_plain plain-clone got "${2:-}"
	test -z "${1:-}" || assert_at_most "$1" "$(canonical_sent)" 'bytes from canonical'
}

# What is configured of the remotes, mirrors and all.
remotes_of () { git -C "$1" config --local --get-regexp '^remote\.' | sed "s,$TRASH,,"; }

from_a_mirror () {
	mirror_clone got --mirror-url "$srv/fresh.git"
	is_plain "$allowance"
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	# It stays, and plain git fetch uses it.
	grow srv/canonical.git main 3 200
	git -C srv/fresh.git fetch -q ../canonical.git main:main
	forget_traffic
	git -C got fetch 2>fetch.err
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror, later'
	git -C srv/canonical.git branch -f main main~3
	git -C srv/fresh.git branch -f main main~3
}

from_several () {
	mirror_clone got --mirror-url "$(dead_url path)" --mirror-url="$srv/stale.git" --prefer-mirror="$srv/stale.git"
	is_plain
	assert_at_least 1 "$(packed_by stale.git)" 'bytes from the stale mirror'
	mirror_clone got --mirror-url "$srv/diverged.git"
	is_plain '' except-refs
}

switched_on () { # <expected> [<argument>...]
	local expected="$1"
	shift
	mirror_clone got --mirror-url "$srv/fresh.git" "$@"
	cat got.err
	assert_eq "$expected" "$(git -C got config --local --get-regexp '^remote\..*\.(vcs|mirrorurl)$' |
		sed "s,$srv/,,")" 'the settings'
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	assert_no_leftovers got
}

of_every_name () {
	of () { printf 'remote.%s.vcs mirror\nremote.%s.mirrorurl fresh.git' "$1" "$1"; }
	switched_on "$(of origin)"
	switched_on "$(of up)" -o up
	switched_on "$(of up)" -qoup
	switched_on "$(of up)" --ori=up --config clone.defaultRemoteName=other
	switched_on "$(of other)" -c clone.defaultRemoteName=other
	cp -a "$TRASH/template" named
	git config --file named/config clone.defaultRemoteName templated
	switched_on "$(of templated)" --template "$PWD/named"
	git config --global clone.defaultRemoteName everywhere
	switched_on "$(of everywhere)"
	git config --global --unset clone.defaultRemoteName
	switched_on "$(of origin)" --bare
	switched_on "$(of origin)" --mirror
}

# Of the repository that one stands in, nothing counts.
inside_another () {
	rm -rf got
	git init -q another
	git -C another config clone.defaultRemoteName wrong
	git -C another config remote.origin.vcs hg
	(cd another && git mirror clone -q --no-local $counting --mirror-url ../srv/fresh.git "$canonical" ../got)
	assert_eq "$srv/fresh.git" "$(git -C got config remote.origin.mirrorUrl | sed 's,/another/\.\.,,')" 'the mirror'
	assert_eq mirror "$(git -C got config remote.origin.vcs)" vcs
}

without_a_mirror () {
	sed 's,plain-clone,got,' plain-clone.err >plain-clone.err.named
	mirror_clone got --no-use-mirror --mirror-url "$srv/fresh.git"
	is_plain
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from the mirror'
	assert_same_file plain-clone/.git/config got/.git/config
	assert_same_file plain-clone.err.named got.err
	# Also where the helper is switched on for everything.
	git config --global remote.origin.vcs mirror
	mirror_clone got --no-use-mirror -c "remote.origin.mirrorUrl=$srv/fresh.git"
	git config --global --unset remote.origin.vcs
	is_plain
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from the mirror'
	mirror_clone got
	is_plain
	assert_same_file plain-clone.err.named got.err
	assert_eq mirror "$(git -C got config remote.origin.vcs)" vcs
}

# What git says of what it cannot do, and its exit codes.
as_git_clone_fails () { # <argument>...
	local plain=0 code=0
	rm -rf new
	git clone "$@" >expected.out 2>expected.err || plain=$?
	rm -rf new
	git mirror clone "$@" >actual.out 2>actual.err || code=$?
	cat actual.err
	assert_eq "$plain" "$code" 'exit code'
	assert_same_file expected.out actual.out
	# Of usage, git prints options as well; of a helper, its own address.
	grep -E '^(fatal|error|usage)' expected.err | sed "s,mirror::,," >expected
	grep -E '^(fatal|error|usage)' actual.err >actual
	assert_same_file expected actual
	test ! -e new || fail 'something is left'
}

of_a_bundle () {
	git -C srv/canonical.git bundle create -q "$TRASH/it.bundle" --all
	for name in it.bundle it; do
		rm -rf expected got
		git clone -q $name expected
		git mirror clone -q $name got
		assert_refs_equal expected got
		assert_same_file expected/.git/config got/.git/config
	done
}

with_submodules () {
	rm -rf expected got
	git init -q work
	git -C work submodule --quiet add "$canonical" sub
	git -C work commit -q -m 'add sub'
	git clone -q --bare work super.git
	git clone -q --recurse-submodules --no-local super.git expected
	git mirror clone -q --recurse-submodules --no-local --mirror-url "$PWD/work" super.git got
	assert_refs_equal expected got
	assert_refs_equal expected/sub got/sub
	assert_same_answer expected got submodule status
	assert_no_leftovers got
	assert_no_leftovers got/sub
}

# --- refs over git's check ---

# Has git note which refs of mirrors are there when it writes its own, which is after its check.
a_hook_that_looks () { # [<what it does then>]
	mkdir -p "$TRASH/hooked/hooks"
	echo "#!/bin/sh
grep -q refs/remotes/ || exit 0
git for-each-ref --format='%(refname)' refs/mirror >>'$TRASH/over'
test \$1 = prepared || exit 0
${1:-}" >"$TRASH/hooked/hooks/reference-transaction"
	chmod +x "$TRASH/hooked/hooks/reference-transaction"
	rm -f over
}

clone_leaves_refs_until_the_end () {
	a_hook_that_looks
	mirror_clone got --template "$TRASH/hooked" --mirror-url "$srv/fresh.git"
	is_plain "$allowance"
	assert_contains 'refs/mirror/localhost/heads/main' over
	# git's check has nothing to walk then.
	mirror_clone got --mirror-url "$srv/fresh.git" --mirror
	assert_no_leftovers got
}

# Both give a part: what canonical sends is walked, from what the mirror gave.
with_a_stale_mirror () {
	a_hook_that_looks
	mirror_clone got --template "$TRASH/hooked" --mirror-url "$srv/stale.git"
	is_plain
	assert_contains 'refs/mirror/localhost/heads/main' over
	assert_at_least 1 "$(packed_by canonical.git)" 'bytes from canonical'
}

a_mirror_with_a_hole () {
	a_hook_that_looks
	mirror_clone got --template "$TRASH/hooked" --mirror-url "$srv/hole.git"
	is_plain
	assert_contains 'mirror .* left' got.err
	assert_eq '' "$(cat over)" 'refs over the check'
}

# The hole is in what canonical alone gives.
canonical_with_a_hole () {
	local code=0
	canonical=$srv/hole.git
	for mirror in '' "--mirror-url $srv/stale.git"; do
		mirror_clone got $mirror || code=$?
		cat got.err
		assert_eq 128 "$code" 'exit code'
		assert_contains 'did not (send all necessary objects|receive expected object)' got.err
		test ! -e got || fail 'something is left'
	done
	assert_at_least 1 "$(packed_by stale.git)" 'bytes from the stale mirror'
	# Here nobody looks but git's last check.
	for mirror in '' "$srv/stale.git"; do
		a_client $mirror
		git -C got config --unset remote.origin.vcs
		git -C got config remote.origin.url "$canonical"
		rm -rf expected
		cp -a got expected
		plain=0 code=0
		git -C expected fetch 2>expected.err || plain=$?
		git -C got mirror-fetch 2>got.err || code=$?
		cat got.err
		assert_eq "$plain" "$code" 'exit code'
		assert_contains 'did not send all necessary objects' got.err
		assert_refs_equal expected got
	done
	assert_at_least 1 "$(packed_by stale.git)" 'bytes from the stale mirror'
}

# hooked_client <what the hook does>: a client of canonical, and how many commits it lacks.
hooked_client () {
	a_client "$srv/fresh.git"
	git -C got config --unset remote.origin.vcs
	a_hook_that_looks "$1"
	mkdir -p got/.git/hooks
	cp "$TRASH/hooked/hooks/reference-transaction" got/.git/hooks/
	refs_of got >before
}

fetch_leaves_refs_until_the_end () {
	hooked_client ''
	git -C got mirror-fetch >got.out 2>got.err
	rm -r got/.git/hooks
	assert_fetched
	assert_contains 'refs/mirror/localhost/heads/main' over
}

fetch_fails () {
	hooked_client 'exit 1'
	assert_fails git -C got mirror-fetch
	assert_contains 'refs/mirror/localhost/heads/main' over
	refs_of got | sed '/refs.remotes/d' >after
	sed '/refs.remotes/d' before >expected-refs
	assert_same_file expected-refs after
	assert_no_leftovers got
}

git_is_killed () {
	hooked_client 'kill -9 $PPID'
	code=0
	git -C got mirror-fetch || code=$?
	assert_eq 137 "$code" 'exit code'
	assert_contains 'refs/mirror/localhost/heads/main' over
	assert_no_helper_left
	assert_eq '' "$(mirror_refs_of got)" 'refs of mirrors'
}

# All of them at once: the next run tidies.
all_are_killed () {
	hooked_client 'kill -9 $(cut -d " " -f 4 /proc/$PPID/stat) $PPID'
	(cd got && git-mirror-fetch) || :
	assert_contains 'refs/mirror/localhost/heads/main' over
	mirror_refs_of got | grep -q . || fail 'nothing was left: this shows nothing'
	rm -r got/.git/hooks
	find got -name '*.lock' -delete
	git -C got mirror-fetch
	assert_no_leftovers got
}

# Two helpers find the same refs.
of_two_remotes () {
	hooked_client ''
	git -C got remote add second "$canonical"
	git -C got config remote.second.mirrorUrl "$srv/fresh.git"
	git -C got mirror-fetch --multiple -j 2 origin second 2>got.err
	cat got.err
	assert_no_leftovers got
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'from a mirror' from_a_mirror
test_case 'from several' from_several
test_case 'switched on by every name' of_every_name
test_case 'inside another repository' inside_another
test_case 'without a mirror' without_a_mirror
for arguments in '' '-x' '--depth' '--no-such-option u' "$TRASH/nowhere new" "$srv/refusing.git new" \
	"--branch nowhere $srv/canonical.git new" "a b c" "-o bad..name $srv/canonical.git new"; do
	test_case "as git clone $arguments" as_git_clone_fails $arguments
done
test_case 'of a bundle' of_a_bundle
test_case 'with submodules' with_submodules
test_case 'clone leaves refs until the end' clone_leaves_refs_until_the_end
test_case 'a stale mirror' with_a_stale_mirror
test_case 'a mirror with a hole' a_mirror_with_a_hole
test_case 'canonical with a hole' canonical_with_a_hole
test_case 'fetch leaves refs until the end' fetch_leaves_refs_until_the_end
test_case 'fetch fails' fetch_fails
test_case 'git is killed' git_is_killed
test_case 'all are killed' all_are_killed
test_case 'of two remotes' of_two_remotes
test_done
