#!/bin/sh
# kill -9 of everything, of git, of the helper, of the guard, or of all these, at
# random moments of a clone and of a fetch: what is left is sound, the next fetch
# completes, leaves nothing, and does not fetch again what was proved.
#
#   GMF_KILLS=<n>   how often, half of them clones (20)
#   GMF_SEED=<n>    for the same moments again (random)
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

kills=${GMF_KILLS:-20}
seed=${GMF_SEED:-$(perl -e 'print int rand 1e6')}
echo "# GMF_SEED=$seed"

# Milliseconds that the command takes, left alone.
duration_of () {
	perl -MTime::HiRes=time -e '
		my $begin = time;
		system(@ARGV) == 0 or exit 1;
		printf "%d\n", (time - $begin) * 1000' "$@" 2>/dev/null
}

# killed_after <whom> <milliseconds> <command>...: "group" is git with all that it
# started; "all" the guard as well, which is in a session of its own. A mirror's
# own processes are in groups of their own, and end as they lose their readers.
killed_after () {
	local whom="$1"
	shift
	perl -MTime::HiRes=sleep -e '
		my $ms = shift;
		defined(my $pid = fork) or die;
		if (!$pid) { setpgrp 0, 0; exec @ARGV or die }
		open my $file, ">", "git.pid" or die;
		print $file $pid;
		close $file;
		sleep $ms / 1000;
		kill KILL => -$pid if $ENV{WHOM} eq "group" or $ENV{WHOM} eq "all";
		kill KILL => $pid if $ENV{WHOM} eq "git";
		if ($ENV{WHOM} ne "group" and $ENV{WHOM} ne "git") { system "sh", "-c", $ENV{MORE} }
		waitpid $pid, 0' "$@"
}

# Kills helpers or guards of this script.
cat >"$TRASH/bin/kill-ours" <<'END'
#!/bin/sh
grep -l -s -a -F "HOME=$HOME" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
	grep -q -s git-remote-mirr "/proc/$pid/comm" || continue
	case $(tr '\0' ' ' <"/proc/$pid/cmdline") in
	git-mirror-guard*) test "$WHOM" = helper || kill -9 "$pid" ;;
	*) test "$WHOM" = guard || kill -9 "$pid" ;;
	esac
done 2>/dev/null
:
END
chmod +x "$TRASH/bin/kill-ours"
MORE=$TRASH/bin/kill-ours
export MORE WHOM=group

whom () { # <n>
	set -- $(($1 % 5)) group git helper guard all
	shift $(($1 + 1))
	echo "$1"
}

# The n-th moment of <longest> milliseconds.
moment () { # <n> <longest>
	perl -e 'srand($ARGV[0] * 1000 + $ARGV[1]); print int rand(1.1 * $ARGV[2])' "$seed" "$1" "$2"
}

# What a killed git leaves is git's own business: locks (git update-ref's below
# refs/mirror/ as well), temporary files, a pack that it keeps, and in the middle
# of a clone a HEAD that leads nowhere.
remove_gits_own_litter () { # <repository>
	find "$1/.git" \( -name '*.lock' -o -name packed-refs.new \) -exec rm -f {} +
	find "$1/.git/objects" -name '*.keep' | while read -r keep; do
		grep -q '^git-mirror-fetch ' "$keep" || rm "$keep"
	done
	find "$1/.git/objects" -name 'tmp_*' ! -path '*mirror*' -type f -exec rm -f {} +
	if grep -q '/\.invalid$' "$1/.git/HEAD"; then
		git -C "$1" symbolic-ref HEAD refs/heads/main
	fi
}

sound_and_completed () { # <repository> <expected>
	remove_gits_own_litter "$1"
	assert_fsck_clean "$1"
	proved=$(mirror_refs_of "$1" | grep -c . || :)
	main=$(git -C "$1" rev-parse -q --verify refs/mirror/127.0.0.1_"$git_port"/heads/main || :)
	forget_traffic
	git -C "$1" fetch 2>err || { cat err; fail 'the next fetch'; }
	cat err
	if test "$main" = "$(git -C srv/canonical.git rev-parse main)"; then
		echo "was proved: $proved refs"
		assert_at_most $((2 * allowance)) $(($(packed_by canonical.git) + $(packed_by fresh.git))) \
			'bytes, though all was proved'
	fi
	git -C "$2" for-each-ref --format='%(objectname) %(refname)' refs/remotes refs/tags |
		sed '/origin\/HEAD/d' >expected-refs
	git -C "$1" for-each-ref --format='%(objectname) %(refname)' refs/remotes refs/tags |
		sed '/origin\/HEAD/d' >actual-refs
	assert_same_file expected-refs actual-refs
	assert_fsck_clean "$1"
	assert_no_helper_left
	assert_no_leftovers "$1"
}

killed_clone () { # <n>
	ms=$(moment "$1" "$(cat clone.ms)")
	export WHOM=$(whom "$1")
	echo "$WHOM after $ms ms"
	rm -rf got
	killed_after $WHOM "$ms" git clone -q --no-local $(as_arguments "$fresh") "$canonical" got
	assert_no_helper_left
	if git -C got rev-parse --git-dir >/dev/null 2>&1 && git -C got config remote.origin.fetch >/dev/null; then
		sound_and_completed got plain-clone
	else
		# Killed before there was a repository.
		rm -rf got
		git clone -q --no-local $(as_arguments "$fresh") "$canonical" got
		assert_fsck_clean got
	fi
}

killed_fetch () { # <n>
	ms=$(moment "$1" "$(cat fetch.ms)")
	export WHOM=$(whom "$1")
	echo "$WHOM after $ms ms"
	a_client "$fresh"
	killed_after $WHOM "$ms" git -C got fetch -q
	assert_no_helper_left
	sound_and_completed got plain-fetch
}

how_long_it_takes () {
	plain_git_as_the_measure
	duration_of git clone -q --no-local $(as_arguments "$fresh") "$canonical" got >clone.ms
	a_client "$fresh"
	duration_of git -C got fetch -q >fetch.ms
	cat clone.ms fetch.ms
	assert_at_least 20 "$(cat clone.ms)" 'milliseconds of a clone'
}

fresh=$(url_for git fresh.git)
test_case 'left alone' how_long_it_takes
n=0
while test $n -lt "$kills"; do
	n=$((n + 1))
	if test $((n % 2)) = 1; then
		test_case "clone, kill $n" killed_clone $n
	else
		test_case "fetch, kill $n" killed_fetch $n
	fi
done
test_done
