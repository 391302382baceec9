#!/bin/sh
# lib-faults.sh - one transport, and a mirror with each fault in turn. The fetch, or
# the clone, is plain git's in all that can be seen, and nothing is left behind.
#
# A thin script sets $transport and sources this. A fault is in the mirror's
# repository, in its packs (see helper/pack-objects-hook), in what its upload-pack
# says (see helper/wire-fault), or in the way there.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-wire.sh"
. "$T/lib-scenario.sh"

srv=$TRASH/srv

# --- mirrors ---

# with <file> <line>: a fresh mirror that has this file.
with () {
	rm -rf srv/faulty.git
	cp -a srv/fresh.git srv/faulty.git
	echo "$2" >"srv/faulty.git/$1"
	url=$(url_for "$transport" faulty.git)
}

lie () { with lie "$*"; }
wire () { with wire "$*"; }
repository () { url=$(url_for "$transport" "$1.git"); }

# Faulty repositories that lib-repos.sh does not have.
make_more_repositories () {
	local name object
	cd "$srv"
	new_repo unrelated.git
	grow unrelated.git main 10 500
	grow unrelated.git topic 10 501
	new_repo sha256.git --object-format=sha256
	grow sha256.git main 10 1
	git clone -q --bare --depth=30 "file://$srv/fresh.git" shallow.git
	git clone -q --bare --filter=blob:none "file://$srv/fresh.git" partial.git
	git -C partial.git config remote.origin.url /nowhere
	for name in pruned rotten absent hidden misconfigured headless; do
		cp -a fresh.git $name.git
	done
	# An object of its own file, gone; or one with a wrong bit.
	for name in pruned rotten; do
		for object in $name.git/objects/pack/*.pack; do
			mv "$object" pack
			git -C $name.git unpack-objects -q <pack
			rm -f "${object%.pack}".* pack
		done
		object=$(git -C $name.git rev-parse main:dir1 | sed 's|..|&/|')
		chmod u+w "$name.git/objects/$object"
		case $name in
		pruned) rm "$name.git/objects/$object" ;;
		rotten) echo rot >"$name.git/objects/$object" ;;
		esac
	done
	git -C canonical.git rev-parse main | tr 0-9a-e 1-9a-f >absent.git/refs/heads/main
	git -C hidden.git config transfer.hideRefs refs
	echo '[core' >misconfigured.git/config
	rm headless.git/HEAD
	for name in shallow partial; do touch $name.git/git-daemon-export-ok; done
	cd "$TRASH"
}

# --- the claims ---

# Nobody whom this case has started runs any more.
assert_nobody_left () {
	local attempt left
	for attempt in $(seq 100); do
		left=$(env -u GMF_CASE grep -l -s -a -F "GMF_CASE=$GMF_CASE." /proc/[0-9]*/environ || :)
		test -n "$left" || return 0
		sleep 0.1
	done
	for left in $left; do tr '\0' ' ' <"${left%environ}cmdline" && echo; done
	fail 'a process still runs'
}

# past <clone|fetch> <except-refs or ''> <fault>...: with $url as the only mirror.
past () {
	local what="$1" but="$2" code=0
	shift 2
	# What other cases have learned of a host must not count here.
	XDG_CACHE_HOME=$TRASH/cache/$transport-$what-$(echo "$*" | tr -c 'a-z0-9\n' -)
	GMF_CASE=$$-$test_count.
	GIT_MIRROR_TRACE=$TRASH/trace
	export XDG_CACHE_HOME GMF_CASE GIT_MIRROR_TRACE
	rm -f trace
	"$@"
	case $what in
	fetch)
		a_client "$url"
		fetch got || code=$?
		;;
	clone)
		rm -rf got got.out got.err
		clone got $(as_arguments "$url") || code=$?
		;;
	esac
	cat got.err
	assert_eq 0 "$code" 'exit code'
	assert_nobody_left
	assert_result_is_plain "plain-$what" got "$but"
	assert_contains 'role=Mirror' trace
	case $* in
	'lie trailing 100') ;; # what follows a whole pack is not read
	elsewhere* | wire* | lie*) assert_contains '^warning: mirror .* left: ' got.err ;;
	esac
}

elsewhere () { url=$1; }

# --- the run ---

# Less patience than by default, so that this ends soon.
git config --global mirror.connectTimeout 2
git config --global mirror.responseTimeout 1
git config --global mirror.idleTimeout 1
git config --global mirror.lowSpeedTime 1

make_more_repositories >"$LOG/more" 2>&1
test_case "$transport: plain git, the measure" plain_git_as_the_measure

# Each fault on a fetch; every fourth on a clone as well.
n=0
fault () { # [-r] <fault>...: -r where refs may stay under refs/mirror/
	local but=''
	if test "$1" = -r; then but=except-refs; shift; fi
	n=$((n + 1))
	test_case "$transport: fetch, $*" past fetch "$but" "$@"
	if test $((n % 4)) = 1; then
		test_case "$transport: clone, $*" past clone "$but" "$@"
	fi
}

fault elsewhere "$(dead_url "$transport")"
test "$transport" = path || fault elsewhere "$(silent_url "$transport")"
case $transport in
http)
	fault elsewhere "$(url_for http-forbidden fresh.git)"
	fault elsewhere "$(url_for http-locked fresh.git)"
	fault elsewhere "$(url_for http-dumb fresh.git)"
	fault elsewhere "$(url_for http-broken fresh.git)"
	fault elsewhere "$(url_for http-loop fresh.git)"
	;;
ssh)
	fault elsewhere "$(url_for ssh-denied fresh.git)"
	;;
esac

for name in nowhere refusing empty sha256 shallow partial pruned rotten absent hidden misconfigured headless \
	stale extra; do
	fault repository $name
done
for name in ahead diverged unrelated; do
	fault -r repository $name
done

fault wire version 0
for what in 'cut 0' 'cut 25' 'stall 0' 'stall 25' garbage html error huge endless; do
	fault wire advertisement $what
done
for what in 'cut 0' 'cut 25' 'stall 0' garbage error endless; do
	fault wire refs $what
done
for what in 'cut 0' 'cut 25' 'stall 0' garbage error huge drip; do
	fault wire fetch $what
done
fault wire advertisement flip 5
fault wire refs flip 10
fault wire fetch flip 12000
fault wire fetch kill 3000

for what in 'truncate 0' 'truncate 8' 'truncate 9000' 'truncate -1' 'flip 0' 'flip 7' 'flip 9000' 'flip -1' \
	'stall 9000 4' 'slow 500' 'die 0' 'die 9000' 'count 1' 'count -1' 'count 4000000000' empty 'trailing 100' chatter \
	"drop $(git -C srv/fresh.git rev-parse main:dir1 2>/dev/null)"; do
	fault lie $what
done
test_done
