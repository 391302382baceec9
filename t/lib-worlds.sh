#!/bin/sh
# lib-worlds.sh - the small worlds of the differential tests, each made in the
# current directory: canonical.git, its mirrors, and a client that last fetched
# some time ago. Of the mirrors, fresh.git is the same as canonical.git, stale.git
# lacks its later commits, and mixed.git is fresh for some refs, stale for others,
# and has no notion of the rest.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

# canonical_history [<git init argument>...]: canonical and its mirrors, and the
# command that makes a client while canonical is still old.
canonical_history () {
	new_repo canonical.git "$@"
	grow canonical.git main 30 1
	grow canonical.git topic 4 2 "$(git -C canonical.git rev-parse main~5)"
	grow canonical.git moved 3 3 "$(git -C canonical.git rev-parse main~7)"
	git -C canonical.git branch gone main~3
	tag canonical.git v1 main~2
	tag canonical.git moving main~2
	git -C canonical.git tag light main~3
	git -C canonical.git tag a-tree 'main^{tree}'
	while_canonical_is_old

	grow canonical.git main 6 4
	tag canonical.git v1.5 main~1
	cp -a canonical.git stale.git

	grow canonical.git main 5 5
	grow canonical.git topic 2 6
	grow canonical.git new 2 7 "$(git -C canonical.git rev-parse main~2)"
	git -C canonical.git update-ref -d refs/heads/moved
	grow canonical.git moved 4 8 "$(git -C canonical.git rev-parse main~20)"
	git -C canonical.git branch -D -q gone
	tag canonical.git v2 main~1
	git -C canonical.git tag -f -a -m 'tag moved' moving main~4
	tag canonical.git a-tag-of-a-tag v2
	tag canonical.git a-tagged-tree 'main^{tree}'
	tag canonical.git a-tagged-blob 'main:dir1/file1'
	git -C canonical.git tag light2 topic
	grow canonical.git aside 3 9 "$(git -C canonical.git rev-parse main~9)"
	tag canonical.git aside-tag aside
	git -C canonical.git branch -D -q aside # only the tag leads there
	cp -a canonical.git fresh.git

	cp -a stale.git mixed.git
	git -C mixed.git fetch -q --no-tags ../canonical.git \
		topic:topic +moved:moved "$(git -C canonical.git rev-parse v2~2):main" tag a-tagged-tree tag light2
}

while_canonical_is_old () { :; }

# cloned <dir> [<git clone argument>...]: a client of canonical.
cloned () {
	local dir="$1"
	shift
	git clone -q "$@" "$(url_for file canonical.git)" "$dir"
	git -C "$dir" config remote.origin.url "$(url_for "$transport" canonical.git)"
}

# no client: for clone
world_servers () {
	canonical_history
}

world_client () {
	new_repo other.git
	grow other.git main 5 50
	while_canonical_is_old () {
		cloned client
		git -C client remote add other "$(url_for "$transport" other.git)"
	}
	canonical_history
}

world_bare_mirror_client () {
	while_canonical_is_old () { cloned client --mirror; }
	canonical_history
}

world_shallow_client () {
	while_canonical_is_old () { cloned client --depth=3 --no-single-branch; }
	canonical_history
}

world_partial_client () {
	while_canonical_is_old () { cloned client --filter=blob:none; }
	canonical_history
}

world_single_branch_client () {
	while_canonical_is_old () { cloned client --single-branch --branch topic; }
	canonical_history
}

world_sha256_client () {
	while_canonical_is_old () { cloned client; }
	canonical_history --object-format=sha256
}

world_reftable_client () {
	while_canonical_is_old () { cloned client --ref-format=reftable; }
	canonical_history --ref-format=reftable
}

# The client's objects are those of a neighbour.
world_borrowing_client () {
	while_canonical_is_old () {
		cloned neighbour
		cloned client --reference neighbour
	}
	canonical_history
}

world_worktree_client () {
	while_canonical_is_old () {
		cloned main-tree
		git -C main-tree worktree add -q -b elsewhere ../client origin/topic
	}
	canonical_history
}

world_empty_canonical () {
	new_repo canonical.git
	cp -a canonical.git stale.git
	cp -a canonical.git fresh.git
	cp -a canonical.git mixed.git
}

world_detached_canonical () {
	canonical_history
	git -C canonical.git update-ref --no-deref HEAD refs/heads/main~2
}

# super.git has canonical.git as a submodule, and client is a clone of super.
world_submodule_client () {
	while_canonical_is_old () {
		git init -q work
		git -C work submodule --quiet add "$(url_for "$transport" canonical.git)" sub
		git -C work commit -q -m 'add sub'
		git clone -q --bare work super.git
		touch super.git/git-daemon-export-ok
		git clone -q --recurse-submodules --no-local "$(url_for "$transport" super.git)" client
	}
	canonical_history
	git -C work/sub pull -q
	git -C work commit -q -a -m 'sub moves'
	git -C work push -q ../super.git main
	rm -rf work
}

# The client has something to push: two commits, a tag, a branch.
world_author () {
	while_canonical_is_old () { :; }
	canonical_history
	cloned client
	git -C client commit -q --allow-empty -m 'first to push'
	tag client mine HEAD
	git -C client commit -q --allow-empty -m 'second to push'
	git -C client branch side HEAD~1
	git -C client branch topic origin/topic~1
}
