#!/bin/sh
# git is killed once a part of a history has been moved in, and before it has taken note of where that ends.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

make_servers () {
	make_canonical_and_mirrors "$srv"
	cp -a "$srv/canonical.git" "$srv/stalling.git"
	echo 'stall 0' >"$srv/stalling.git/lie"
}

a_shallow_client () {
	rm -rf got
	git clone -q --depth=2 "file://$srv/old.git" got
	git -C got remote set-url origin "$srv/stalling.git"
	git -C got config remote.origin.vcs mirror
	git -C got config remote.origin.mirrorUrl "$srv/fresh.git"
}

packs () { ls got/.git/objects/pack/*.pack 2>/dev/null | wc -l; }

killed () { # <git fetch argument>...
	local before tenth
	a_shallow_client
	refs_of got >before.refs
	cp got/.git/shallow before.shallow
	before=$(packs)
	git -C got cat-file --batch-all-objects --batch-check | grep commit | cut -d ' ' -f 1 | sort >known
	setsid git -C got fetch -q "$@" >/dev/null 2>&1 &
	leader=$!
	for tenth in $(seq 100); do test "$(packs)" = "$before" || break; sleep 0.1; done
	assert_eq $((before + 1)) "$(packs)" 'packs, once the part is moved in'
	# The timeout of lib.sh leads the group that git and its helper are in.
	kill -9 -- "-$leader" 2>/dev/null || kill -9 "$leader"
	pkill -9 -P "$leader" 2>/dev/null || :
	sleep 0.2
	for pid in $(helpers_running); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q guard || kill -9 "$pid"
	done
	wait $leader 2>/dev/null || :
	rm -f got/.git/shallow.lock # git's own, which it cannot take away any more
	assert_no_leftovers got
	# What is needed otherwise may be in a pack of its own; no commit without parents is left.
	assert_eq '' "$(git -C got cat-file --batch-all-objects --batch-check | grep commit | cut -d ' ' -f 1 | sort |
		comm -23 - known)" 'commits that are left'
	refs_of got >after.refs
	assert_same_file before.refs after.refs
	assert_same_file before.shallow got/.git/shallow
	assert_fsck_clean got
	# And then all goes well.
	git -C got remote set-url origin "$srv/canonical.git"
	git -C got fetch -q "$@"
	assert_eq "$(git -C "$srv/canonical.git" rev-parse main)" "$(git -C got rev-parse origin/main)" 'main'
	assert_fsck_clean got
	assert_no_leftovers got
}

# All of git and the helper, at some moment; the guard stays, as it is on its own.
at_random () { # <git fetch argument>...
	local n ms
	for n in $(seq ${GMF_KILLS:-12}); do
		a_shallow_client
		git -C got remote set-url origin "$srv/canonical.git"
		ms=$(perl -e 'print int rand 180')
		setsid git -C got fetch -q "$@" >/dev/null 2>&1 &
		leader=$!
		perl -e "select undef, undef, undef, $ms / 1000"
		kill -9 -- "-$leader" 2>/dev/null || :
		pkill -9 -P "$leader" 2>/dev/null || :
		for pid in $(helpers_running); do
			tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q guard || kill -9 "$pid" 2>/dev/null || :
		done
		wait $leader 2>/dev/null || :
		sleep 0.4
		echo "killed after $ms ms: fetch $*"
		find got/.git -name '*.lock' -delete # git's own
		assert_fsck_clean got
		if test -e got/.git/shallow; then git -C got fetch -q "$@"; else git -C got fetch -q; fi
		assert_eq "$(git -C "$srv/canonical.git" rev-parse main)" "$(git -C got rev-parse origin/main)" 'main'
		assert_fsck_clean got
		find got/.git/objects \( -name 'tmp_*' -o -name 'quarantine*' \) -exec rm -rf {} + # plain git leaves such, too
		# Killed while a pack was on its way: it has no index, and is taken away after ten minutes.
		for keep in got/.git/objects/pack/*.keep; do
			test ! -e "$keep" || test -e "${keep%.keep}.idx" || rm -f "${keep%.keep}".*
		done
		assert_no_leftovers got
	done
}

mkdir -p "$srv"
test_case 'servers' make_servers
test_case 'fetch --depth' killed --depth=5
test_case 'fetch --deepen' killed --deepen=3
test_case 'fetch --shallow-exclude' killed --shallow-exclude=v1
test_case 'fetch --depth, at random moments' at_random --depth=5
test_case 'fetch --unshallow, at random moments' at_random --unshallow
test_done
