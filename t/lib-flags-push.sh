#!/bin/sh
# lib-flags-push.sh - the table of push: a line a case. Sourced by a script for
# each transport; with short=1, it is the first part. No mirror has a part in it.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

servers_too=1 mirror_states=fresh
. "$T/lib-differential.sh"

# hook <name>: canonical's hook, its body on stdin.
hook () {
	mkdir -p "$TRASH/srv/canonical.git/hooks"
	{ echo '#!/bin/sh' && cat; } >"$TRASH/srv/canonical.git/hooks/$1"
	chmod +x "$TRASH/srv/canonical.git/hooks/$1"
}

# What a person sees of a push is all on stderr; the same goes for it, but for
# progress, the connection, and what a receive-pack says that was left alone: that
# comes at any time.
push () {
	git push "$@" 2>"$TRASH/push.err"
	status=$?
	sed 's/.*\r//' "$TRASH/push.err" | grep -v -E '^((Looking up|Connecting to|Delta|Total|Enumerating|Counting|Compressing|Writing) |fatal: the remote end hung up)'
	return $status
}

same spares 'push' author 'push origin main'
same spares 'push several' author 'push origin main side mine'
same spares 'push, not fast-forward' author 'push origin topic'
same spares 'push --atomic' author 'push --atomic origin main side'
same spares 'push --atomic, one refused' author 'push --atomic origin main topic'
same spares 'push --force-with-lease' author 'push --force-with-lease origin topic'
same spares 'push --force-with-lease, stale' author \
	'git update-ref refs/remotes/origin/topic main; push --force-with-lease origin topic'
same spares 'push --delete' author 'push --delete origin new'
same spares 'push --dry-run' author 'push --dry-run origin main :moved'
same spares 'push --porcelain' author 'push --porcelain origin main topic'
same spares 'push --follow-tags' author 'push --follow-tags origin main'
same spares 'push --mirror' author 'push --mirror origin'
same spares 'push --push-option' author \
	'echo "env | grep ^GIT_PUSH_OPTION | sort" | hook pre-receive; push -o one -o "two words" origin main'
same spares 'push, a hook that says no' author 'echo "echo no, never; exit 1" | hook pre-receive; push origin main side'
same spares 'push, a hook that refuses one ref' author \
	'echo "test \$1 != refs/heads/side" | hook update; push origin main side'
same spares 'push, then fetch' author 'push origin main && git fetch'

test -z "${short:-}" || return 0

same spares 'push, nothing to do' author 'push origin main && push origin main'
same spares 'push, the default' author 'git config push.default current; push'
same spares 'push a new branch' author 'push origin HEAD:refs/heads/novel'
same spares 'push, one of two not fast-forward' author 'push origin main topic'
same spares 'push --force' author 'push --force origin topic'
same spares 'push +refspec' author 'push origin +topic'
same spares 'push --force-with-lease=<ref>:<oid>' author 'push --force-with-lease=topic:main origin topic'
same spares 'push --force-if-includes' author 'push --force-with-lease --force-if-includes origin topic'
same spares 'push --delete <nowhere>' author 'push --delete origin nowhere'
same spares 'push :branch' author 'push origin :moved'
same spares 'push --porcelain --dry-run' author 'push --porcelain --dry-run origin main'
same spares 'push --tags' author 'push --tags origin'
same spares 'push --all' author 'push --all origin'
same spares 'push --prune' author 'push --prune origin "refs/heads/*:refs/heads/*"'
same spares 'push --set-upstream' author 'push --set-upstream origin side'
same spares 'push --quiet' author 'push --quiet origin main'
same spares 'push --verbose' author 'push --verbose origin main'
same spares 'push --progress' author 'push --progress origin main'
same spares 'push --no-thin' author 'push --no-thin origin main'
same spares 'push --no-verify' author 'push --no-verify origin main'
same spares 'push --signed=if-asked' author 'push --signed=if-asked origin main'
same spares 'push --push-option, not supported' author \
	'git -C ../canonical.git config receive.advertisePushOptions false; git push -o one origin main'
same spares 'push --atomic, a hook that refuses one ref' author \
	'echo "test \$1 != refs/heads/side" | hook update; push --atomic origin main side'
same spares 'push, a hook that talks' author 'echo "echo thank you; echo for this >&2" | hook post-receive; push origin main'
same spares 'push to denied deletes' author 'git -C ../canonical.git config receive.denyDeletes true; push origin :moved'
same spares 'push what is nowhere' author 'push origin nowhere'
same spares 'push with a separate URL' author 'git config remote.origin.pushurl "$canonical"; push origin main'
