#!/bin/sh
# lib-scoped.sh - a part of a history (depth, filter, what a partial clone lacks),
# from mirrors in every state. Sourced by a script for each transport.
#
# Beyond those of lib-worlds.sh, mirrors are
#
#   lacking.git    fresh, but without the branches "new" and "topic"
#   shallowed.git  fresh, and shallow itself
#   nofilter.git   fresh; it takes no filter
#   diverged.git   stale, and then commits of its own on each branch
#   hole.git       fresh; its packs lack a tree of the last commit
#   cut.git        fresh; its packs end early

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

mirror_states=${mirror_states:-mixed stale fresh lacking shallowed nofilter diverged hole cut}
. "$T/lib-differential.sh"

more_mirrors () {
	local branch
	cp -a fresh.git lacking.git
	git -C lacking.git branch -D -q new topic
	git -C lacking.git repack -a -d -q
	git -C lacking.git prune --expire=now
	git clone -q --bare --no-local --depth=4 --no-single-branch "file://$PWD/fresh.git" shallowed.git
	git -C shallowed.git config uploadpack.allowFilter true
	touch shallowed.git/git-daemon-export-ok
	cp -a fresh.git nofilter.git
	git -C nofilter.git config uploadpack.allowFilter false
	cp -a stale.git diverged.git
	for branch in main topic moved; do
		grow diverged.git $branch 3 "7$(echo $branch | wc -c)"
	done
	cp -a fresh.git hole.git
	echo "drop $(git -C hole.git rev-parse 'main^{tree}:dir1')" >hole.git/lie
	cp -a fresh.git cut.git
	echo cut >cut.git/lie
}

# A world of lib-worlds.sh, with more mirrors.
with_more () { # <world>
	eval "world_more_$1 () { world_$1 && more_mirrors; }"
}
for world in servers client shallow_client partial_client bare_mirror_client worktree_client submodule_client; do
	with_more $world
done

# A client that is shallow and partial at once; one of a shallow canonical.
world_more_both_client () {
	while_canonical_is_old () { cloned client --depth=3 --no-single-branch --filter=blob:none; }
	canonical_history
	more_mirrors
}
world_more_shallow_canonical () {
	canonical_history
	more_mirrors
	mv canonical.git whole.git
	git clone -q --bare --no-local --depth=6 --no-single-branch "file://$PWD/whole.git" canonical.git
	git -C canonical.git config uploadpack.allowFilter true
	git -C canonical.git config uploadpack.allowAnySHA1InWant true
	touch canonical.git/git-daemon-export-ok
	rm -rf whole.git
}

# "git clone --no-local" of canonical into "new"; more arguments may follow.
clone () {
	git clone --no-local $mirrored "$@" "$canonical" new
}

# An empty repository with canonical as its remote, as runners make one.
runner () {
	git init -q new
	git -C new remote add origin "$canonical"
	if test -n "$mirrored"; then
		git -C new config remote.origin.vcs mirror
		git -C new config remote.origin.mirrorUrl "$mirror"
	fi
}

tip () { git -C "$TRASH/srv/canonical.git" rev-parse "$1"; }
