#!/bin/sh
# lib.sh - what every test script here begins with: a sealed-off environment, a
# temporary directory, and TAP.
#
#     . "$(dirname "$0")/lib.sh"
#     test_case 'what is true' function [argument...]
#     test_done
#
# A test case runs in a subshell under "set -e": the first command that fails
# ends it, and its output becomes the diagnosis. What it assigns is gone
# afterwards; what it leaves in $TRASH stays.
#
#   GMF_BIN_DIR   where the three programs are (default: target/debug)
#   GMF_KEEP=1    leave the temporary directory in place
#   GMF_LIMIT=<s> seconds after which a single git command is killed (100)
#   GMF_LONG=1    more of the same (see lib-differential.sh)
#   TMPDIR        where temporary directories go (/dev/shm, if that is large; /tmp)

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

set -u
T=$(cd "$(dirname "$0")" && pwd)
HELPER=$T/helper
BIN=${GMF_BIN_DIR:-$T/../target/debug}
limit=${GMF_LIMIT:-100}
keep=${GMF_KEEP:-}

# --- the environment: nothing of the user's ---

for name in $(env | sed -n 's/^\(GIT_[A-Za-z0-9_]*\)=.*/\1/p'); do
	unset "$name"
done
unset XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME SSH_AUTH_SOCK SSH_ASKPASS SSH_CONNECTION REMOTE_ADDR CDPATH \
	http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY \
	EDITOR VISUAL PAGER LANGUAGE 2>/dev/null
LC_ALL=C TZ=UTC
GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_EDITOR=: GIT_PAGER=cat
GIT_AUTHOR_NAME='A U Thor' GIT_AUTHOR_EMAIL=author@example.com
GIT_COMMITTER_NAME='C O Mitter' GIT_COMMITTER_EMAIL=committer@example.com
GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
export LC_ALL TZ GIT_CONFIG_NOSYSTEM GIT_TERMINAL_PROMPT GIT_EDITOR GIT_PAGER \
	GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL \
	GIT_AUTHOR_DATE GIT_COMMITTER_DATE

# Memory rather than a disk, where there is enough: that halves the time.
scratch () {
	local probe
	probe=$(mktemp /dev/shm/gmf-test.XXXXXX 2>/dev/null) || { echo /tmp; return; }
	printf '#!/bin/sh\n' >"$probe"
	chmod +x "$probe"
	if "$probe" 2>/dev/null && df -Pk /dev/shm | awk 'NR == 2 { exit !($4 > 1000000) }'; then
		echo /dev/shm
	else
		echo /tmp
	fi
	rm -f "$probe"
}

TRASH=$(mktemp -d "${TMPDIR:-$(scratch)}/gmf-test.XXXXXX") || exit 1
TRASH=$(cd "$TRASH" && pwd -P)
HOME=$TRASH/home
LOG=$TRASH/log
export HOME
mkdir "$HOME" "$LOG" "$TRASH/bin"
: >"$LOG/pids"

for name in git-remote-mirror git-mirror-fetch git-mirror; do
	if ! test -x "$BIN/$name"; then
		echo "Bail out! $BIN/$name is missing: run 'cargo build', or set GMF_BIN_DIR"
		rm -rf "$TRASH"
		exit 1
	fi
done
BIN=$(cd "$BIN" && pwd)
PATH=$BIN:$PATH
export PATH

mkdir "$TRASH/template"
git config --global init.templateDir "$TRASH/template"
git config --global init.defaultBranch main
git config --global gc.auto 0
git config --global maintenance.auto false
git config --global advice.detachedHead false
git config --global protocol.file.allow always
# On loopback no mirror is worth it.
git config --global mirror.mustPay false
# Every pack that any server here sends is logged, and may be made a lie.
echo "#!/bin/sh
exec '$HELPER/pack-objects-hook' '$LOG/packs' -- \"\$@\"" >"$TRASH/bin/pack-objects-hook"
chmod +x "$TRASH/bin/pack-objects-hook"
git config --global uploadpack.packObjectsHook "$TRASH/bin/pack-objects-hook"

# A git that hangs is a failed test, not a hung suite.
git () {
	timeout -k 5 "$limit" git "$@"
}

# --- the end ---

clean_up () {
	while read -r pid; do
		kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null
	done <"$LOG/pids"
	if test -n "$keep"; then
		echo "# kept: $TRASH"
	else
		rm -rf "$TRASH" 2>/dev/null || { sleep 1; rm -rf "$TRASH"; }
	fi
}
trap 'rc=$?; clean_up; exit $rc' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- TAP ---

test_count=0
test_failed=0

# What was measured of hosts, and that they failed: no case shall know it of another one's.
forget_hosts () {
	rm -rf "$HOME/.cache/git-mirror-fetch"
}

# test_case <description> <function> [<argument>...]
test_case () {
	test_description=$1
	shift
	test_count=$((test_count + 1))
	(
		set -e
		cd "$TRASH"
		forget_hosts
		"$@"
	) >"$LOG/case" 2>&1 </dev/null
	if test $? = 0; then
		echo "ok $test_count - $test_description"
	else
		test_failed=$((test_failed + 1))
		echo "not ok $test_count - $test_description"
		tail -n 60 "$LOG/case" | tr -d '\000' | sed 's/^/# /'
	fi
}

# skip_case <description> <reason>: only for what this git cannot do.
skip_case () {
	test_count=$((test_count + 1))
	echo "ok $test_count - $1 # SKIP $2"
}

test_done () {
	echo "1..$test_count"
	test "$test_failed" = 0
	exit
}

fail () {
	echo "FAILED: $*" >&2
	exit 1
}

# need <program> <Debian package>: without it the rest is left out, or with GMF_REQUIRE, as in CI, the script fails.
need () {
	PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return
	if test -n "${GMF_REQUIRE:-}"; then
		echo "Bail out! $1 is missing: install the Debian package $2"
		exit 1
	fi
	echo "1..0 # SKIP $1 is missing: install the Debian package $2"
	exit 0
}

# git_is_at_least <major> <minor>
git_is_at_least () {
	git version | awk -v major="$1" -v minor="$2" '{
		split($3, have, ".")
		exit !(have[1] > major || have[1] == major && have[2] >= minor) }'
}

. "$T/lib-assert.sh"
