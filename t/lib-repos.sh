#!/bin/sh
# lib-repos.sh - the repositories that tests serve: a canonical one and mirrors
# of it, each with a fault of its own.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

# new_repo <dir> [<git init argument>...]: bare, and open to all that servers do.
new_repo () {
	local repo="$1"
	shift
	git init -q --bare "$@" "$repo"
	touch "$repo/git-daemon-export-ok"
	git -C "$repo" config http.receivepack true
	git -C "$repo" config uploadpack.allowFilter true
	git -C "$repo" config uploadpack.allowAnySHA1InWant true
	git -C "$repo" config receive.advertisePushOptions true
	git -C "$repo" config daemon.uploadarch true
}

# grow <repo> <branch> <commits> <seed> [<from>]: the same ids for the same arguments.
grow () {
	local from="${5:-$(git -C "$1" rev-parse -q --verify "refs/heads/$2" || :)}"
	"$HELPER/make-history" "$2" "$3" "$from" "$4" |
		git -C "$1" fast-import --quiet --date-format=raw
}

tag () { # <repo> <name> <commit>: annotated
	git -C "$1" tag -a -m "tag $2" "$2" "$3"
}

# make_canonical_and_mirrors <dir>
#
#   old.git        canonical as it was when the client last fetched
#   canonical.git  now: 40 commits, a branch, two tags further on
#   fresh.git      the same
#   stale.git      half way
#   ahead.git      5 commits and a branch that canonical does not have (yet)
#   diverged.git   half way, then 5 commits of its own
#   empty.git      nothing
#   extra.git      fresh, and refs that canonical lacks, one of them a tag
#   hole.git       fresh; its packs lack a tree of the middle of the history
#   cut.git        fresh; its packs end early
#   flipped.git    fresh; its packs have a wrong bit
#   late.git       fresh, after a second of silence
#   refusing.git   no repository at all
#
# Wanted but missing everywhere: dead (see lib-servers.sh).
make_canonical_and_mirrors () {
	local name
	mkdir -p "$1"
	new_repo "$1/canonical.git"
	grow "$1/canonical.git" main 200 1
	grow "$1/canonical.git" topic 10 2 "$(git -C "$1/canonical.git" rev-parse main~20)"
	tag "$1/canonical.git" v1 main~10
	git -C "$1/canonical.git" tag light main~30
	cp -a "$1/canonical.git" "$1/old.git"

	grow "$1/canonical.git" main 20 3
	tag "$1/canonical.git" v2 main~5
	cp -a "$1/canonical.git" "$1/stale.git"

	cp -a "$1/canonical.git" "$1/diverged.git"
	grow "$1/diverged.git" main 5 100
	git -C "$1/diverged.git" tag diverged main

	grow "$1/canonical.git" main 20 4
	grow "$1/canonical.git" topic 3 5
	grow "$1/canonical.git" new 4 6 "$(git -C "$1/canonical.git" rev-parse main~8)"
	tag "$1/canonical.git" v3 main~2
	git -C "$1/canonical.git" tag light2 topic

	for name in fresh ahead extra hole cut flipped late; do
		cp -a "$1/canonical.git" "$1/$name.git"
	done
	grow "$1/ahead.git" main 5 101
	grow "$1/ahead.git" unpublished 5 102 "$(git -C "$1/ahead.git" rev-parse main)"
	grow "$1/extra.git" evil 5 103
	tag "$1/extra.git" evil-tag evil
	git -C "$1/extra.git" update-ref refs/tags/v9 evil~1
	echo "drop $(git -C "$1/hole.git" rev-parse 'main~10^{tree}')" >"$1/hole.git/lie"
	echo 'truncate 5000' >"$1/cut.git/lie"
	echo 'flip 6000' >"$1/flipped.git/lie"
	echo 'late 1' >"$1/late.git/lie"
	new_repo "$1/empty.git"
	mkdir "$1/refusing.git"
}
