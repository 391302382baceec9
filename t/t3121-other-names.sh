#!/bin/sh
# What a mirror has under another name, and tags of its own that name what canonical has too, or what is no commit:
# canonical sends what the mirror lacks, git makes the tags that it makes without a mirror, and what is the mirror's
# own stays apart.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

make_repos () {
	rm -rf canonical.git mirror.git
	new_repo canonical.git
	grow canonical.git main 12 1
	tag canonical.git v1 main~3
	cp -a canonical.git mirror.git
}

cloned () { # [<git clone argument>...]
	rm -rf plain got
	git clone -q --no-local "$@" "$TRASH/canonical.git" plain
	: >"$LOG/packs"
	git clone -q --no-local "$@" -c remote.origin.vcs=mirror -c "remote.origin.mirrorUrl=$TRASH/mirror.git" \
		"$TRASH/canonical.git" got
	refs_of plain >expected
	refs_of got | sed '/ refs\/mirror\//d' >actual
	assert_same_file expected actual
	assert_fsck_clean got
	assert_no_leftovers got except-refs
}

# Whatever is here, a ref leads to.
nothing_lies_about () {
	git -C got fsck --unreachable --no-reflogs --no-progress >about 2>&1
	assert_lacks unreachable about
}

a_renamed_branch () {
	make_repos
	git -C mirror.git branch -m main master
	git -C mirror.git symbolic-ref HEAD refs/heads/master
	git -C mirror.git tag -d v1
	cloned
	assert_at_most 1024 "$(packed_by canonical.git)" 'bytes from canonical'
}

# What is "later" in canonical is still "aside" in the mirror.
swapped_branches () {
	make_repos
	git clone -q --no-local canonical.git client
	grow mirror.git aside 12 3 "$(git -C mirror.git rev-parse main~2)"
	git -C canonical.git fetch -q ../mirror.git aside:later
	git -C canonical.git branch aside main
	cp -a client got
	git -C client fetch -q
	git -C got config remote.origin.vcs mirror
	git -C got config remote.origin.mirrorUrl "$TRASH/mirror.git"
	: >"$LOG/packs"
	git -C got fetch -q
	refs_of client >expected
	refs_of got >actual
	assert_same_file expected actual
	assert_at_most 1024 "$(packed_by canonical.git)" 'bytes from canonical'
}

# The mirror's own tag leads to a commit whose folders a tag of canonical names: git would follow that one.
a_tagged_folder () {
	make_repos
	grow canonical.git side 3 2 "$(git -C canonical.git rev-parse main~2)"
	git -C canonical.git tag folder 'side^{tree}'
	tag canonical.git tagged 'side^{tree}'
	git -C mirror.git fetch -q ../canonical.git side:main --force
	cloned --single-branch --branch main
}

test_case 'a branch that has another name there' a_renamed_branch
test_case 'a fetch of branches with other names there' swapped_branches
test_case 'a tag of a folder that only the mirror reaches' a_tagged_folder
test_done
