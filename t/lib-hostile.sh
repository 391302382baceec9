#!/bin/sh
# lib-hostile.sh - canonical's list means harm. A script sets $transport to path,
# git, http or ssh, and sources this. See helper/lying-server for the lies.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

make_hostile_repos () {
	mkdir "$srv"
	new_repo "$srv/canonical.git"
	grow "$srv/canonical.git" main 40 1
	tag "$srv/canonical.git" v1 main~3
	cp -a "$srv/canonical.git" "$srv/good.git"
	git clone -q --no-local "$srv/canonical.git" plain
	git clone -q --no-local "$srv/canonical.git" client
	grow "$srv/canonical.git" main 10 2
	cp -a client plain-fetched
	git -C plain-fetched fetch -q
}

start_hostile () {
	cd "$TRASH"
	make_hostile_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
	upload_pack=
	case $transport in
	path)
		upload_pack="$HELPER/lying-server upload-pack $LOG/lied"
		canonical=$srv/canonical.git
		;;
	ssh)
		# No server is needed for what is said within: the command that ssh would run, run here.
		printf '#!/bin/sh\nfor command; do :; done\nset -- $command\neval "exec %s upload-pack %s $2"\n' \
			"$HELPER/lying-server" "$LOG/lied" >"$TRASH/bin/ssh"
		chmod +x "$TRASH/bin/ssh"
		GIT_SSH=$TRASH/bin/ssh GIT_SSH_VARIANT=ssh
		export GIT_SSH GIT_SSH_VARIANT
		canonical=ssh://localhost$srv/canonical.git
		;;
	git | http)
		serve lying "$HELPER/lying-server" listen "$transport" "$LOG/port-lying" "$LOG/lied" "$srv"
		for attempt in $(seq 200); do
			test ! -s "$LOG/port-lying" || break
			sleep 0.05
		done
		canonical=$transport://127.0.0.1:$(cat "$LOG/port-lying")/canonical.git
		;;
	esac
	git -C client config remote.origin.url "$canonical"
	git -C client config remote.origin.vcs mirror
	test -z "$upload_pack" || git -C client config remote.origin.uploadpack "$upload_pack"
}

# lies <manner> <packet>...: from now on.
lies () {
	printf '%s\n' "$@" >"$srv/canonical.git/lies"
}

# Fetches into "got", and claims that all is as plain git's but for warnings.
fetched_in_spite () { # [<pattern of a warning>]
	cat got.err
	assert_same_objects_and_refs
	assert_fsck_clean got
	assert_no_leftovers got
	assert_no_helper_left
	assert_nothing_runs
	test -z "${1:-}" || assert_contains "^warning: .*$1" got.err
	# git's own remote-http quotes a length that is none, and shares our stderr.
	assert_printable got.err "$(test "$transport" != http || echo lax)"
}

assert_same_objects_and_refs () {
	refs_of plain-fetched >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
	assert_objects_equal plain-fetched got
}

# What is said holds nothing that a terminal obeys.
assert_printable () { # <file> [<anything>: bytes that are no UTF-8 are not looked at]
	perl -CS -MEncode -e '
		local $/;
		open my $file, "<:raw", $ARGV[0] or die;
		my $text = Encode::decode("UTF-8", <$file>, $ARGV[1] ? Encode::FB_DEFAULT : Encode::FB_CROAK);
		exit($text =~ /[\x00-\x08\x0b-\x1f\x7f-\x9f\x{202a}-\x{202e}\x{2066}-\x{2069}]/)' "$1" "${2:-}" ||
		{ od -c "$1"; fail "control characters in $1"; }
}

# No server of this test, but for the one that listens.
assert_nothing_runs () {
	local attempt
	for attempt in $(seq 30); do
		test "$(lying_now)" -gt 0 || return 0
		sleep 0.1
	done
	grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ
	fail 'a server still runs'
}

lying_now () {
	grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		{ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -E 'lying-server|upload-pack|remote-http' |
			grep -v 'lying-server listen'
	done | wc -l
}

in_spite_of () { # <pattern of a warning> <manner> <packet>...
	local warning="$1"
	shift
	lies "$@"
	rm -rf got
	cp -a client got
	: >"$LOG/lied"
	git -C got fetch >got.out 2>got.err || { cat got.err; fail 'git fetch'; }
	fetched_in_spite "$warning"
	assert_at_least 1 "$(grep -c asked "$LOG/lied")" 'questions'
}

# Nothing of it is in the configuration.
nothing_is_learned () {
	in_spite_of "$@"
	git -C got config --get-regexp 'remote\.origin\.(listedmirror|prefermirror|moremirrors)' >learned || :
	assert_lacks . learned
	assert_same_file client/.git/config got/.git/config
}

# One bad mirror in front of a good one.
one_is_refused () { # <pattern of the reason> <url as it is on the wire>
	in_spite_of "$1" packets "mirror $2" "mirror $good" 'prefer-mirror always'
	git -C got config --get-all remote.origin.listedMirror >learned || :
	echo "$good" | diff -u - learned
	assert_lacks 'secret' got.err
}
