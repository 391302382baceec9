#!/bin/sh
# Odd machines: files that are no files, signals that are ignored, few descriptors,
# small files, locks that were left, a full disk. A fetch does what plain git does
# there, and leaves nothing.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

fresh=$(url_for git fresh.git)

# --- files that are none ---

fetched_past () { # <what has been done to the client>...
	a_client "$fresh"
	forget_traffic
	"$@"
	timeout -k 1 20 git -C got fetch >got.out 2>got.err || { cat got.err; fail 'git fetch'; }
	assert_lacks . got.out
}

result_is_plain () {
	assert_no_helper_left
	assert_no_leftovers got
	refs_of plain-fetch >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
	assert_fsck_clean got
}

odd () { # <mkfifo, mkdir, huge or unreadable> <file>
	mkdir -p "${2%/*}"
	rm -rf "$2"
	case $1 in
	mkfifo) mkfifo "$2" ;;
	mkdir) mkdir "$2" ;;
	huge) truncate -s 2000000000 "$2" ;;
	unreadable) echo '[x]' >"$2"; chmod 0 "$2" ;;
	esac
}

odd_file () { # <how> <file>
	fetched_past odd "$1" "$2"
	assert_at_most $allowance "$(packed_by canonical.git)" 'bytes from canonical'
	result_is_plain
	rm -rf "$HOME/.cache/git-mirror-fetch"
}

test_case 'the measure' plain_git_as_the_measure
for how in mkfifo mkdir huge unreadable; do
	for file in lock state.toml; do
		test_case "$how .git/mirror-fetch/$file" odd_file $how got/.git/mirror-fetch/$file
	done
	for file in lock hosts.toml; do
		test_case "$how of the cache's $file" odd_file $how "$HOME/.cache/git-mirror-fetch/$file"
	done
done
test_case 'a folder that is a file' odd_file huge got/.git/mirror-fetch

# --- signals and limits ---

# under <setting of a shell>: the same exit code as plain git, and the same refs.
under () {
	rm -rf plain got
	cp -a client plain
	a_client "$fresh"
	(cd plain && sh -c "$1; exec git fetch") >plain.log 2>&1 && plain=0 || plain=$?
	(cd got && timeout -k 1 30 sh -c "$1; exec git fetch") >got.err 2>&1 && ours=0 || ours=$?
	cat plain.log got.err
	assert_eq "$plain" "$ours" 'exit code'
	refs_of plain >expected-refs
	refs_of got >actual-refs
	assert_same_file expected-refs actual-refs
	assert_fsck_clean got
	assert_no_helper_left
}

children_are_waited_for () {
	under "trap '' CHLD"
	result_is_plain
	assert_contains 'mirror: 127.* gave' got.err
}

# A mirror whose pack is larger than a file may be, where canonical's is not.
a_small_file () {
	rm -rf srv/large.git
	cp -a srv/fresh.git srv/large.git
	perl -e 'srand 1; print chr int rand 256 for 1..300000' >large
	blob=$(git -C srv/large.git hash-object -w --stdin <large)
	tree=$(printf '100644 blob %s\tlarge\n' "$blob" | git -C srv/large.git mktree)
	commit=$(git -C srv/large.git commit-tree -p new -m large "$tree")
	git -C srv/large.git update-ref refs/heads/new "$commit"
	fresh=$(url_for git large.git)
	under 'ulimit -f 256'
	assert_eq 0 "$plain" 'plain git'
	assert_no_leftovers got
}

few_descriptors () { # <n>
	under "ulimit -n $1"
	# What cannot be removed without a descriptor goes with the next run.
	git -C got fetch -q
	assert_no_leftovers got
}

a_stale_lock () {
	a_client "$fresh"
	: >got/.git/packed-refs.lock
	git -C got fetch >got.out 2>got.err || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_contains 'warning: mirror: 3 refs below refs/mirror/ stay until the next fetch: .*packed-refs.lock' got.err
	assert_fsck_clean got
	rm got/.git/packed-refs.lock
	git -C got fetch 2>got.err || { cat got.err; fail 'the next git fetch'; }
	result_is_plain
}

test_case 'SIGCHLD is ignored' children_are_waited_for
test_case 'a file that may not get so large' a_small_file
for n in 16 20 24 32; do
	test_case "ulimit -n $n" few_descriptors $n
done
test_case 'a packed-refs.lock that was left' a_stale_lock

# --- a disk that is nearly full ---

in_a_small_disk='
	mount -t tmpfs -o size=$1k tmpfs disk
	shift
	exec "$@"'
small_disk () { # <KiB> <command>...
	mkdir -p disk
	unshare -Urm sh -c "set -e; $in_a_small_disk" sh "$@"
}

large_history () {
	new_repo srv/big.git
	rm -rf work
	git init -q work
	perl -e 'srand 2; print chr int rand 256 for 1..4000000' >work/blob
	git -C work add blob
	git -C work commit -q -m blob
	git -C work push -q "$TRASH/srv/big.git" HEAD:main
	cp -a srv/big.git srv/big-mirror.git
	canonical=$(counted_url_for git big.git)
}

# The mirror's pack fits, and little else: the fetch is plain git's.
little_is_left () { # <KiB> <who gives it>
	large_history
	forget_traffic
	small_disk "$1" git clone --bare --no-local $(as_arguments "$(url_for git big-mirror.git)") \
		"$canonical" disk/got >got.out 2>got.err || { cat got.err; fail 'git clone'; }
	cat got.err
	case $2 in
	canonical)
		assert_contains 'warning: mirror .* left: only [0-9]+ MiB are free on the disk' got.err
		assert_at_least 4000000 "$(packed_by big.git)" 'bytes from canonical'
		;;
	mirror) assert_eq 0 "$(packed_by big.git)" 'bytes from canonical' ;;
	esac
}

usually_more () {
	large_history
	cat >once <<'END'
		git clone -q --bare --no-local "$1" disk/got
		cd disk/got
		git config remote.origin.vcs mirror
		git config remote.origin.mirrorUrl "$2"
		git config remote.origin.fetch '+refs/heads/*:refs/heads/*'
		mkdir mirror-fetch
		printf '[usual.origin]\nvalue = 9000000.0\ntime = %s\n' "$(date +%s)" >mirror-fetch/state.toml
		git -C ../../srv/big.git update-ref refs/heads/more "$(git -C ../../srv/big.git commit-tree -p main -m more 'main^{tree}')"
		git fetch
END
	small_disk 12000 sh -e once "$canonical" "$(url_for git big-mirror.git)" >got.out 2>got.err || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_contains 'warning: no mirror was used: only [0-9]+ MiB are free on the disk' got.err
}

if unshare -Urm sh -c 'mkdir -p "$0/disk" && mount -t tmpfs tmpfs "$0/disk"' "$TRASH" 2>"$LOG/unshare"; then
	test_case 'a clone where there is room' little_is_left 20000 mirror
	test_case 'a clone that leaves too little' little_is_left 4900 canonical
	test_case 'a fetch that usually takes more' usually_more
else
	skip_case 'a disk that is nearly full' 'no file system can be mounted here'
fi
test_done
