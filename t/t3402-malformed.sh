#!/bin/sh
# Objects that git's own checks call errors, from a mirror: beside what was asked for, reached from an id of the
# mirror's own, and behind a tag that nobody asked for. After a clone and a fetch refs are plain git's, and git
# fsck has nothing to say. See helper/malformed.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

make_repositories () {
	new_repo canonical.git
	grow canonical.git main 12 1
	tag canonical.git v1 main~3
	git clone -q --no-local "$TRASH/canonical.git" client
	grow canonical.git main 2 4
	cp -a canonical.git stale.git
	grow canonical.git main 4 2
	tag canonical.git v2 main~1
	grow canonical.git side 3 3 "$(git -C canonical.git rev-parse main~2)"
	tag canonical.git v9 side
	cp -a canonical.git fresh.git
	git -C fresh.git update-ref -d refs/tags/v9
	"$HELPER/malformed" fresh.git >cases
	"$HELPER/malformed" stale.git >/dev/null
	git clone -q --no-local --single-branch "$TRASH/canonical.git" plain-clone
	cp -a client plain-fetch
	git -C plain-fetch fetch -q origin main
	for name in clone fetch; do refs_of plain-$name >refs-$name; done
	git config --global remote.origin.vcs mirror
}

in_form_of () { # <type> <text>: an object whose parts need not be there
	printf "$2" | git -C "$mirror" hash-object --literally -w --stdin -t "$1"
}

# A commit, tree or tag that leads to the object; as git's own commands would refuse to write it.
commit_with () { # <type> <id> <parent>
	local tree="$2" parent="$3"
	if test "$1" = commit; then tree=$(git -C "$mirror" rev-parse main^{tree}) parent=$2; fi
	in_form_of commit "tree $tree\\nparent $parent\\nauthor A <a@x.y> 1700000001 +0000\\ncommitter A <a@x.y> 1700000001 +0000\\n\\nx\\n"
}

tag_of () { # <type> <id>
	in_form_of tag "object $2\\ntype $1\\ntag v2\\ntagger A <a@x.y> 1700000000 +0000\\n\\nx\\n"
}

a_mirror () { # <copy of>
	mirror=mirror.git
	rm -rf $mirror
	cp -a "$1" $mirror
}

# Plain git's refs, and a repository that git has nothing against.
past () { # <clone|fetch>
	rm -rf got
	case $1 in
	clone)
		git clone -q --no-local --single-branch -c "remote.origin.mirrorUrl=$TRASH/$mirror" "$TRASH/canonical.git" got ;;
	fetch)
		cp -a client got
		git -C got config remote.origin.mirrorUrl "$TRASH/$mirror"
		git -C got fetch -q origin main ;;
	esac
	refs_of got | sed '/ refs\/mirror\//d' >refs
	assert_same_file "refs-$1" refs
	git -C got fsck --no-dangling --no-progress >fsck 2>&1 || { cat fsck; fail "git fsck after $1"; }
	assert_lacks 'missing|broken|error|corrupt' fsck
	assert_no_leftovers got except-refs
}

# Both, or with every other object one of the two (GMF_LONG=1: always both).
past_one () {
	if test -n "${GMF_LONG:-}" || test $((test_count % 2)) = 0; then past clone; fi
	if test -n "${GMF_LONG:-}" || test $((test_count % 2)) = 1; then past fetch; fi
}

beside () { # <type> <id>
	a_mirror fresh.git
	echo "beside $2" >$mirror/lie
	past_one
	git -C got cat-file --batch-all-objects --batch-check='%(objectname)' >all-objects
	assert_lacks "$2" all-objects
}

own_id () { # <type> <id>
	local tip
	a_mirror stale.git
	tip=$(commit_with "$1" "$2" "$(git -C $mirror rev-parse main)")
	echo "$tip" >$mirror/refs/heads/main
	past clone
	past fetch
	a_mirror fresh.git
	tip=$(commit_with "$1" "$2" "$(git -C $mirror rev-parse main)")
	echo "$tip" >$mirror/refs/heads/main
	past_one
}

behind_a_tag () { # <type> <id>
	a_mirror fresh.git
	echo "beside $(tag_of "$1" "$2") $2" >$mirror/lie
	past_one
}

# It may be well-formed, too: a tag that canonical has, and nobody asked for.
tag_of_canonical () { # [<what the mirror leaves out of it>]
	a_mirror fresh.git
	git -C $mirror tag -d v1 >/dev/null
	git -C canonical.git rev-parse v9 "$@" >ids
	cp -a canonical.git/objects/. $mirror/objects/
	echo beside $(cat ids) >$mirror/lie
	past clone
	past fetch
}

# What canonical itself has, malformed or not, is taken as git would take it; and what is well-formed stands apart.
from_canonical () {
	a_mirror fresh.git
	forget_traffic
	past clone
	past fetch
	test -z "$(mirror_refs_of got)"
	assert_eq 0 "$(packed_by canonical.git)" 'bytes from canonical'
}

cd "$TRASH"
# What a killed git unpack-objects leaves: a tip without what it reaches. The mirror is not to blame.
beside_an_incomplete_tip () { # <repository>
	local tip
	tip=$(git -C canonical.git rev-parse main)
	a_mirror "$1"
	cp -a client got-incomplete
	git -C canonical.git cat-file commit main | git -C got-incomplete hash-object --literally -w --stdin -t commit
	git -C got-incomplete config remote.origin.mirrorUrl "$TRASH/$mirror"
	git -C got-incomplete fetch origin main 2>err
	cat err
	refs_of got-incomplete | sed '/ refs\/mirror\//d' >refs
	assert_same_file refs-fetch refs
	assert_fsck_clean got-incomplete
	assert_lacks 'left: ' err
	rm -rf got-incomplete
}

make_repositories >"$LOG/make" 2>&1
test_case 'there are at least 81 cases' test "$(wc -l <cases)" -ge 81
test_case 'an honest mirror gives everything' from_canonical
test_case 'a tag of canonical that nobody asked for' tag_of_canonical v9^{commit}
test_case 'such a tag without its commit' tag_of_canonical
for name in stale fresh; do
	test_case "a tip that is here without what it reaches, and a $name mirror" beside_an_incomplete_tip $name.git
done
while read -r name type id; do
	for place in beside own_id behind_a_tag; do
		test_case "$place: $type, $name" $place "$type" "$id"
	done
done <cases
test_done
