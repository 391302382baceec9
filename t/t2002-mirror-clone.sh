#!/bin/sh
# git mirror clone with git clone's flags, as plain git: over a path.
. "$(dirname "$0")/lib.sh"
transport=path

# What the table calls "git clone" with the settings of a mirror is "git mirror clone" with that mirror.
git () {
	case " $* " in
	*" clone "*"mirrorUrl="*) ;;
	*)
		timeout -k 5 "$limit" git "$@"
		return
		;;
	esac
	local n=$# done=
	while test "$n" -gt 0; do
		n=$((n - 1))
		case $done$1 in
		clone)
			done=1
			set -- "$@" mirror clone --prefer-mirror
			;;
		1-c) ;;
		1remote.*.mirrorUrl=*) set -- "$@" --mirror-url "${1#*=}" ;;
		1remote.*.vcs=*) ;;
		*) set -- "$@" "$1" ;;
		esac
		shift
	done
	echo "$@" >>"$LOG/mirror-clones"
	timeout -k 5 "$limit" git "$@"
}

was_run () {
	assert_at_least 40 "$(wc -l <"$LOG/mirror-clones")" 'runs of git mirror clone'
	assert_lacks 'remote\..*mirrorUrl' "$LOG/mirror-clones"
	head -n 3 "$LOG/mirror-clones"
}

. "$T/lib-flags-clone.sh"
test_case 'git mirror clone it was' was_run
test_done
