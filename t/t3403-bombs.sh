#!/bin/sh
# Packs that are small and take much to unpack: the mirror is left within a bound of time and of memory, and the
# fetch is plain git's. See helper/bomb-pack, and "Limits" in docs/architecture.md.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

cd "$TRASH"
mkdir srv
new_repo srv/canonical.git
grow srv/canonical.git main 12 1
cp -a srv/canonical.git srv/mirror.git
start_server git "$TRASH/srv"
git clone -q --no-local "$(url_for git canonical.git)" plain

bomb () { # <seconds> <arguments of bomb-pack>...
	local began seconds="$1"
	shift
	"$HELPER/bomb-pack" "$@" >pack
	echo "sends $TRASH/pack" >srv/mirror.git/lie
	rm -rf got
	began=$(date +%s)
	"$HELPER/peak-anonymous" memory git clone -c remote.origin.vcs=mirror \
		-c "remote.origin.mirrorUrl=$(url_for git mirror.git)" "$(url_for git canonical.git)" got 2>err
	echo "$* ($(wc -c <pack) bytes): $(($(date +%s) - began)) s, $(cat memory) kB" | tee -a "$LOG/bombs"
	cat err
	assert_contains 'left: ' err
	assert_refs_equal plain got
	assert_fsck_clean got
	assert_no_leftovers got
	assert_at_most "$seconds" $(($(date +%s) - began)) 'seconds'
	assert_at_most 300000 "$(cut -d ' ' -f 1 memory)" 'kB of memory'
}

test_case 'deltas of 1 GiB each' bomb 90 wide 4 1024
test_case 'a chain, each link of which has to be kept' bomb 90 deep 6 60
# Those that take seconds, but many of them in a debug build.
if test -n "${GMF_LONG:-}"; then
	test_case 'a long chain' bomb 60 deep 200 60
	test_case 'a long chain of a folder' bomb 60 trees 200 30
	test_case 'a thousand deltas' bomb 20 wide 1000 1024
	test_case 'a hundred thousand' bomb 60 wide 100000 1024
	test_case 'deltas that are each within the limit of one object' bomb 60 wide 1000 60
	test_case 'a longer chain of smaller ones' bomb 60 deep 2000 20
	test_case 'one large file of zeros' bomb 60 zeros 1 1000
	test_case 'many of them' bomb 60 zeros 10 1000
fi
sed 's/^/# /' "$LOG/bombs"
test_done
