#!/bin/sh
# git repack -ad, git gc --prune=now and git prune --expire=now beside a clone and
# a fetch: at every start of a git, at every hook, and at random moments. What is
# left is sound, and nothing fails that plain git does not fail at.
#
#   GMF_MOMENTS=<n>  random moments, half of them clones (20)
#   GMF_SEED=<n>     for the same moments again (random)
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

moments=${GMF_MOMENTS:-20}
seed=${GMF_SEED:-$(perl -e 'print int rand 1e6')}
echo "# GMF_SEED=$seed"

# --- the moments that can be reached ---

# Runs $GMF_GC in $GMF_REPO, where this is the moment for it: the n-th of a run,
# each since something of a mirror is in the store, or each hook.
cat >"$TRASH/bin/at-a-moment" <<'END'
#!/bin/sh
test -z "${GMF_IN_GC:-}" && test -d "${GMF_REPO:-/nowhere}" || exit 0
echo "$*" >>"$GMF_REPO.moments"
n=$(wc -l <"$GMF_REPO.moments")
case $GMF_AT in
hooks) case $1 in hook*) ;; *) exit 0 ;; esac ;;
since) test -e "$GMF_REPO.kept" || grep -q -s git-mirror-fetch "$GMF_REPO"/.git/objects/pack/*.keep || exit 0 ;;
$n) ;;
*) exit 0 ;;
esac
touch "$GMF_REPO.kept"
GMF_IN_GC=1
export GMF_IN_GC
unset $(git rev-parse --local-env-vars)
cd "$GMF_REPO" && eval "$GMF_GC" >>"$GMF_REPO.gc" 2>&1
exit 0
END

# A git of its own, which git and the helper find first.
real=$(git --exec-path)
mkdir "$TRASH/exec" "$TRASH/hooks"
for program in "$real"/*; do
	ln -s "$program" "$TRASH/exec/"
done
rm "$TRASH/exec/git"
cat >"$TRASH/exec/git" <<END
#!/bin/sh
'$TRASH/bin/at-a-moment' "git \$*"
exec '$real/git' "\$@"
END
for hook in reference-transaction pre-auto-gc post-checkout; do
	cat >"$TRASH/hooks/$hook" <<END
#!/bin/sh
'$TRASH/bin/at-a-moment' "hook $hook \$1"
END
done
chmod +x "$TRASH/bin/at-a-moment" "$TRASH/exec/git" "$TRASH"/hooks/*

# beside <moment> <gc> <command>...: in "got"
beside () {
	forget_hosts
	GMF_AT=$1 GMF_GC=$2 GMF_REPO=$TRASH/got
	shift 2
	rm -f got.moments got.gc got.kept
	: >got.moments
	GIT_EXEC_PATH=$TRASH/exec GMF_AT=$GMF_AT GMF_GC=$GMF_GC GMF_REPO=$GMF_REPO \
		GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.hooksPath GIT_CONFIG_VALUE_0=$TRASH/hooks \
		timeout -k 5 "$limit" "$@" >got.out 2>got.err
}

with_mirrors () { # <plain, fresh or stale>
	case $1 in
	plain) ;;
	*) as_arguments "$(url_for git "$1.git")" ;;
	esac
}

a_clone () { # <mirror> <moment> <gc>
	rm -rf got
	beside "$2" "$3" git clone -q --no-local $(with_mirrors "$1") "$canonical" got
}

a_fetch () { # <mirror> <moment> <gc> [<git fetch argument>...]
	local mirror="$1" moment="$2" gc="$3"
	shift 3
	case $mirror in
	plain) rm -rf got && cp -a client got ;;
	*) a_client "$(url_for git "$mirror.git")" ;;
	esac
	beside "$moment" "$gc" git -C got fetch -q "$@"
}

sound () { # <as what>
	assert_no_helper_left
	git -C got fsck --connectivity-only >fsck 2>&1 || { cat got.err fsck; fail 'fsck --connectivity-only'; }
	assert_fsck_clean got
	git -C "$1" for-each-ref --format='%(objectname) %(refname)' refs/remotes | sed '/origin\/HEAD/d' >expected-refs
	git -C got for-each-ref --format='%(objectname) %(refname)' refs/remotes | sed '/origin\/HEAD/d' >actual-refs
	assert_same_file expected-refs actual-refs
	assert_no_leftovers got
}

gc_is_heard () {
	plain_git_as_the_measure
	assert_at_least 20 "$(git -C plain-fetch rev-list --count main..origin/main)" 'commits of a fetch'
	a_fetch fresh none :
	cat got.moments
	assert_contains 'hook reference-transaction prepared' got.moments
	assert_contains 'git update-ref' got.moments
	a_clone fresh none :
	assert_contains 'hook post-checkout' got.moments
}

# Each of these deletes what no ref reaches and nothing keeps.
repack='git repack -adq'
gc='git gc -q --prune=now'
prune='git repack -adq; git prune --expire=now'

since_there_is_a_seed () { # <clone or fetch> <mirror> <gc> [<git fetch argument>...]
	local what="$1" mirror="$2" gc="$3"
	shift 3
	"a_$what" "$mirror" since "$gc" "$@" || { cat got.err; fail "git $what"; }
	test -e got.kept || fail 'nothing of a mirror came'
	sound "plain-$what"
}

unpacked_and_kept () {
	a_client "$(url_for git stale.git)"
	beside hooks "$prune" git -C got -c fetch.unpackLimit=10000 fetch -q --no-tags || { cat got.err; fail 'git fetch'; }
	assert_contains 'git unpack-objects' got.moments
	sound plain-fetch
}

at_each_moment () { # <clone or fetch> <mirror> <gc> [<git fetch argument>...]
	local what="$1" mirror="$2" gc="$3" n
	shift 3
	"a_$what" "$mirror" none : "$@"
	local last="$(wc -l <got.moments)"
	cp got.moments all-moments
	n=0
	while test $n -lt "$last"; do
		n=$((n + 1))
		"a_$what" "$mirror" $n "$gc" "$@" || {
			sed -n "${n}p" all-moments
			cat got.err
			fail "git $what, moment $n"
		}
		(sound "plain-$what") || {
			sed -n "${n}p" all-moments
			fail "moment $n"
		}
	done
	echo "$last moments"
}

test_case 'the moments are reached' gc_is_heard
for way in repack gc prune; do
	eval "command=\$$way"
	test_case "clone, fresh: $command since there is a seed" since_there_is_a_seed clone fresh "$command"
	test_case "clone, stale: $command since there is a seed" since_there_is_a_seed clone stale "$command"
	test_case "fetch, fresh: $command since there is a seed" since_there_is_a_seed fetch fresh "$command"
	# Tags that git follows by itself, from canonical, are lost to plain git, too.
	test_case "fetch, stale: $command since there is a seed" since_there_is_a_seed fetch stale "$command" --no-tags
done
# Between the two, while git unpacks, it is as with plain git.
test_case 'fetch, stale: what canonical gave is kept though git unpacks it' unpacked_and_kept
test_case 'clone, fresh: each moment' at_each_moment clone fresh "$prune"
test_case 'clone, stale: each moment' at_each_moment clone stale "$prune"
test_case 'fetch, fresh: each moment' at_each_moment fetch fresh "$prune"
test_case 'fetch, stale: each moment' at_each_moment fetch stale "$prune" --no-tags

# --- random moments ---

# during <milliseconds> <gc> <command>...
during () {
	local ms="$1" gc="$2"
	shift 2
	timeout -k 5 "$limit" "$@" >got.out 2>got.err &
	perl -MTime::HiRes=sleep -e 'sleep $ARGV[0] / 1000' "$ms"
	(cd got 2>/dev/null && eval "$gc") >got.gc 2>&1 || :
	wait $!
}

moment () { # <n> <longest>
	perl -e 'srand($ARGV[0] * 1000 + $ARGV[1]); print int rand(1.1 * $ARGV[2])' "$seed" "$1" "$2"
}

duration_of () {
	perl -MTime::HiRes=time -e '
		my $begin = time;
		system(@ARGV) == 0 or exit 1;
		printf "%d\n", (time - $begin) * 1000' "$@" 2>/dev/null
}

how_long_it_takes () {
	rm -rf got
	duration_of git clone -q --no-local $(with_mirrors fresh) "$canonical" got >clone.ms
	a_client "$(url_for git fresh.git)"
	duration_of git -C got fetch -q >fetch.ms
	cat clone.ms fetch.ms
}

# git prune takes the temporary files of a git that runs, plain or not: it says so,
# and the next fetch completes.
at_random () { # <n> <clone or fetch> <mirror> <gc>
	local ms="$(moment "$1" "$(cat "$2.ms")")" rc=0
	echo "after $ms ms: $4"
	if test "$2" = clone; then
		rm -rf got
		during "$ms" "$4" git clone -q --no-local $(with_mirrors "$3") "$canonical" got || rc=$?
	else
		a_client "$(url_for git "$3.git")"
		# As above: tags that git follows by itself.
		during "$ms" "$4" git -C got fetch -q $(test "$3" = fresh || echo --no-tags) || rc=$?
	fi
	cat got.err
	if test $rc != 0; then
		assert_contains 'tmp_|unable to (create|write|rename|open)|cannot (store|open|lock)' got.err
		git -C got rev-parse --git-dir >/dev/null 2>&1 || return 0
		git -C got fsck --connectivity-only
		git -C got fetch -q
	fi
	sound "plain-$2"
}

test_case 'left alone' how_long_it_takes
n=0
while test $n -lt "$moments"; do
	n=$((n + 1))
	what=$(test $((n % 2)) = 1 && echo clone || echo fetch)
	mirror=$(test $((n / 2 % 2)) = 1 && echo stale || echo fresh)
	case $((n / 4 % 3)) in
	0) command=$repack ;;
	1) command=$gc ;;
	2) command=$prune ;;
	esac
	test_case "$what, $mirror, $command at random, $n" at_random $n $what $mirror "$command"
done
test_done
