#!/bin/sh
# Which mirror is used: every way in which git's configuration can say it.
. "$(dirname "$0")/lib.sh"
transport=path
. "$T/lib-scenario.sh"

# Fetches into "got", with the result of plain git.
fetched () {
	fetch got || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_no_helper_left
	assert_refs_equal plain-fetch got
	assert_fsck_clean got
	assert_no_leftovers got
}

# Does so, and says who sent a pack, canonical aside.
served_by () {
	fetched >&2
	touch "$LOG/packs"
	awk '$2 && $1 != "canonical.git" { print $1 }' "$LOG/packs" | uniq | tr '\n' ' ' | sed 's/ $//'
}

# assert_serves <name> [<git config argument>...]: the setting, then the fetch.
assert_serves () {
	local expected="$1"
	shift
	a_client
	test $# = 0 || git -C got config "$@"
	assert_eq "$expected" "$(served_by)" 'served by'
}

srv=$TRASH/srv

nothing () { assert_serves ''; }

mirror_url () { assert_serves fresh.git remote.origin.mirrorUrl "$srv/fresh.git"; }

mirror_url_of_another_remote () { assert_serves '' remote.other.mirrorUrl "$srv/fresh.git"; }

file_url () { assert_serves fresh.git remote.origin.mirrorUrl "file://$srv/fresh.git"; }

the_first_is_asked_first () {
	a_client "$srv/fresh.git" "$srv/ahead.git"
	assert_eq fresh.git "$(served_by)" 'served by'
	a_client "$srv/ahead.git" "$srv/fresh.git"
	fetch got
	assert_eq ahead.git "$(awk 'NR == 1 { print $1 }' "$LOG/packs")" 'first served by'
}

in_the_global_configuration () {
	git config --global remote.origin.mirrorUrl "$srv/fresh.git"
	assert_serves fresh.git || wrong=1
	git config --global --unset remote.origin.mirrorUrl
	test -z "${wrong:-}"
}

by_dash_c () {
	a_client
	git -C got -c remote.origin.mirrorUrl="$srv/fresh.git" fetch >got.out 2>got.err
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

by_config_count () {
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.mirrorUrl GIT_CONFIG_VALUE_0=$srv/fresh.git
	export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0
	assert_serves fresh.git
}

by_include () {
	printf '[remote "origin"]\n\tmirrorUrl = %s\n' "$srv/fresh.git" >included
	a_client
	git -C got config include.path "$TRASH/included"
	fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

by_worktree_configuration () {
	a_client
	git -C got config extensions.worktreeConfig true
	git -C got config --worktree remote.origin.mirrorUrl "$srv/fresh.git"
	fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

instead_of () {
	a_client "near:fresh.git"
	git -C got config "url.$srv/.insteadOf" near:
	fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

# mirror.<base>.mirrorOf <prefix>: the rest of the URL is kept.
mirror_of () {
	rm -rf near
	mkdir near
	ln -s "$srv/fresh.git" near/canonical.git
	assert_serves fresh.git "mirror.$TRASH/near/.mirrorOf" "$srv/"
}

mirror_of_another_prefix () {
	assert_serves '' "mirror.$TRASH/near/.mirrorOf" "$srv/other/"
}

mirror_of_after_instead_of () {
	a_client
	git -C got config "url.$srv/.insteadOf" canon:
	git -C got config remote.origin.url canon:canonical.git
	git -C got config "mirror.$TRASH/near/.mirrorOf" "$srv/"
	fetched
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from fresh.git'
}

mirror_url_before_mirror_of () {
	a_client "$srv/ahead.git"
	git -C got config "mirror.$TRASH/near/.mirrorOf" "$srv/"
	fetch got
	assert_at_least 1 "$(packed_by ahead.git)" 'bytes from ahead.git'
	assert_eq ahead.git "$(awk 'NR == 1 { print $1 }' "$LOG/packs")" 'first'
}

prefer_no_mirror () {
	a_client "$srv/fresh.git"
	git -C got config --replace-all remote.origin.preferMirror false
	assert_eq '' "$(served_by)" 'served by'
}

prefer_one () {
	a_client "$srv/stale.git" "$srv/fresh.git"
	git -C got config --replace-all remote.origin.preferMirror "$srv/fresh.git"
	assert_eq fresh.git "$(served_by)" 'served by'
}

# What a server listed counts only if the user says so, and never as a path.
listed () {
	a_client
	git -C got config remote.origin.listedMirror "$(url_for git fresh.git)"
	fetched
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from a listed mirror'
	a_client
	git -C got config remote.origin.listedMirror "$(url_for git fresh.git)"
	git -C got config --replace-all remote.origin.preferMirror true
	fetched
	cat got.err
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from a listed mirror, preferred'
	a_client
	git -C got config remote.origin.listedMirror "$srv/fresh.git"
	git -C got config --replace-all remote.origin.preferMirror true
	fetched
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from a listed path'
}

not_allowed_by_mirror () {
	a_client "$srv/fresh.git"
	git -C got config mirror.allowProtocol 'https ssh'
	assert_eq '' "$(served_by)" 'served by'
}

not_allowed_by_git () {
	a_client "$(url_for git fresh.git)"
	git -C got config protocol.git.allow never
	fetched
	assert_eq 0 "$(packed_by fresh.git)" 'bytes from git://'
}

never_ext () {
	a_client "ext::sh -c 'touch $TRASH/owned' %S"
	git -C got config protocol.ext.allow always
	fetched
	test ! -e owned || fail 'ext:: ran'
}

never_an_option () {
	a_client "--upload-pack=touch $TRASH/owned" "-oProxyCommand=touch $TRASH/owned"
	fetched
	test ! -e owned || fail 'an option ran'
	a_client "ssh://-oProxyCommand=touch%20$TRASH/owned/repo"
	fetched
	test ! -e owned || fail 'an option ran'
}

# What git says of remote.<name>.mirror must stay true.
gits_own_mirror_key () {
	a_client "$srv/fresh.git"
	git -C got config remote.origin.mirror true
	fetched
	assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
}

quiet () {
	a_client "$srv/fresh.git"
	git -C got config mirror.quiet true
	fetched
	assert_lacks '^mirror:' got.err
}

start_server git "$TRASH/srv"

# What cannot be read is said once, with its key, and the default holds.
unreadable () {
	for setting in 'connectTimeout soon' 'responseTimeout -1' 'idleTimeout 99999999999999999999' 'lowSpeedTime 3s' \
		'lowSpeedLimit' 'mustPay perhaps' 'prompt 2x' 'quiet maybe'; do
		a_client "$srv/fresh.git"
		git -C got config "mirror.${setting% *}" "${setting#* }"
		assert_eq fresh.git "$(served_by)" 'served by'
		assert_eq 1 "$(grep -c "^warning: mirror.${setting% *}: .*; the default is used" got.err)" "warnings of $setting"
		git -C got mirror list 2>err >/dev/null
		assert_contains "^warning: mirror.${setting% *}: " err
	done
}

no_limits () {
	a_client "$srv/fresh.git"
	for key in connectTimeout responseTimeout idleTimeout lowSpeedTime lowSpeedLimit; do
		git -C got config mirror.$key 0
	done
	echo 'late 1' >"$srv/fresh.git/lie"
	assert_eq fresh.git "$(served_by)" 'served by'
	rm "$srv/fresh.git/lie"
	assert_lacks warning: got.err
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'nothing' nothing
test_case 'remote.<name>.mirrorUrl' mirror_url
test_case 'remote.<other>.mirrorUrl' mirror_url_of_another_remote
test_case 'file://' file_url
test_case 'the first is asked first' the_first_is_asked_first
test_case 'in the global configuration' in_the_global_configuration
test_case 'by -c' by_dash_c
test_case 'by GIT_CONFIG_COUNT' by_config_count
test_case 'by an include' by_include
test_case 'by the configuration of a worktree' by_worktree_configuration
test_case 'through insteadOf' instead_of
test_case 'mirror.<base>.mirrorOf' mirror_of
test_case 'mirrorOf another prefix' mirror_of_another_prefix
test_case 'mirrorOf, after insteadOf' mirror_of_after_instead_of
test_case 'mirrorUrl goes before mirrorOf' mirror_url_before_mirror_of
test_case 'preferMirror=false' prefer_no_mirror
test_case 'preferMirror=<url>' prefer_one
test_case 'listedMirror' listed
test_case 'mirror.allowProtocol' not_allowed_by_mirror
test_case 'protocol.<name>.allow' not_allowed_by_git
test_case 'no ext::' never_ext
test_case 'no option in a URL' never_an_option
test_case "git's own remote.<name>.mirror" gits_own_mirror_key
test_case 'mirror.quiet' quiet
test_case 'what cannot be read' unreadable
test_case 'no limits' no_limits
test_done
