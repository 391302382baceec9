#!/bin/sh
# lib-differential.sh - the same command twice, by plain git and through the
# helper, each in a copy of the same small world: what can be seen must not differ.
#
# A script may set, before it sources this:
#   transport       of canonical and mirror: path (the default), git, http, https, ssh;
#                   git-v0, http-v0, ssh-v0, http-dumb: such a canonical
#   mirror_states   of "mixed stale fresh" (default: mixed; with GMF_LONG=1 all)
#   servers_too=1   servers may change, compare them as well
#
#     same [uses|spares|any] <description> <world> <command>
#
# is a test case for each state of the mirror. "uses" also claims that the mirror
# sent a pack, "spares" that it did not. The command runs in $TRASH/srv/client, or
# in $TRASH/srv where there is no client; it may use $canonical (its URL), and
# $mirrored (arguments for "git clone").
#
# A world is made by the function world_<name> in $TRASH/srv; see lib-worlds.sh.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

: "${transport:=path}" "${servers_too:=}"
: "${mirror_states:=mixed${GMF_LONG:+ stale fresh}}"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"
. "$T/lib-worlds.sh"

same () {
	local use=any mirror_state
	case $1 in
	uses | spares | any)
		use=$1
		shift
		;;
	esac
	rm -rf "$TRASH/results"
	for mirror_state in $mirror_states; do
		test_case "$transport, mirror $mirror_state: $1" same_by_both "$use" "$2" "$3"
		test ! -e "$LOG/bad-world" || { echo "Bail out! no world $2"; exit 1; }
	done
}

same_by_both () { # <uses|spares|any> <world> <command>
	local dir
	test -d results/plain || run_in_world plain "$2" "$3"
	rm -rf results/mirror
	run_in_world mirror "$2" "$3"
	cat "$LOG/command.err"
	assert_no_helper_left
	assert_same_results || fail "through the helper it differs: $3"
	case $1 in
	uses) assert_at_least 1 "$(packed_by "$mirror_state.git")" 'bytes from the mirror' ;;
	spares) assert_eq 0 "$(packed_by "$mirror_state.git")" 'bytes from the mirror' ;;
	esac
	for dir in $(repositories); do
		case $dir in *.git) continue ;; esac
		assert_fsck_clean "$dir"
		# What only a mirror has that went its own way is kept apart.
		case $mirror_state in
		diverged) assert_no_leftovers "$dir" except-refs ;;
		*) assert_no_leftovers "$dir" ;;
		esac
	done
}

# Prints the difference; of the objects, which are many, the number.
assert_same_results () {
	local file
	diff -r -u --exclude='objects*' results/plain results/mirror || return 1
	for file in results/plain/objects*; do
		[ -e "$file" ] || continue # a command that leaves no repository
		diff "$file" "results/mirror/${file##*/}" >"$LOG/objects" || {
			echo "$file: $(grep -c '^<' "$LOG/objects") objects less, $(grep -c '^>' "$LOG/objects") more"
			return 1
		}
	done
}

# A script may have mirrors elsewhere.
mirror_url () { url_for "${transport%-*}" "$mirror_state.git"; }

# run_in_world <plain|mirror> <world> <command>: leaves what it did in results/.
run_in_world () {
	local dir
	test -d "worlds/$2" || build_world "$2"
	rm -rf srv
	cp -a "worlds/$2" srv
	canonical=$(url_for "$transport" canonical.git)
	mirror=$(mirror_url)
	mirrored=
	if test "$1" = mirror; then
		mirrored="-c remote.origin.vcs=mirror -c remote.origin.mirrorUrl=$mirror"
		for dir in $(repositories); do
			switch_on "$dir"
		done
	fi
	forget_traffic
	(
		set +e
		cd srv/client 2>/dev/null || cd srv
		eval "$3" >"$LOG/command.out" 2>"$LOG/command.err"
		echo $? >"$LOG/command.exit"
	)
	mkdir -p "results/$1"
	cp "$LOG/command.out" "$LOG/command.exit" "results/$1"
	ref_table "$LOG/command.err" >"results/$1/table" || :
	for dir in $(repositories); do
		case $dir in
		*/mixed.git | */stale.git | */fresh.git) continue ;;
		*.git) test -n "$servers_too" || continue ;;
		esac
		snapshot "$dir" >"results/$1/$(echo "$dir" | tr / ,)"
		objects_of "$dir" >"results/$1/objects,$(echo "$dir" | tr / ,)"
	done
}

build_world () {
	local repo
	rm -rf srv
	mkdir -p srv worlds
	(set -e; cd srv && "world_$1") >"$LOG/world" 2>&1 || {
		cat "$LOG/world"
		touch "$LOG/bad-world"
		fail "world $1"
	}
	# Few files, as the world will be copied often.
	for repo in srv/*.git; do
		command git -C "$repo" repack -adq
		command git -C "$repo" update-server-info
	done
	mv srv "worlds/$1"
}

# Every repository in the world, bare or not, submodules with their own.
repositories () {
	find srv -name HEAD -path '*' ! -path '*/refs/*' ! -path '*/logs/*' ! -path '*/worktrees/*' |
		sort | sed 's,/HEAD$,,; s,/\.git$,,'
}

# Sends every remote through the helper, canonical's with its mirror.
switch_on () { # <repository>
	local key url
	command git -C "$1" config --local --get-regexp '^remote\..*\.url$' >"$LOG/remotes" || return 0
	while read -r key url; do
		printf '[remote "%s"]\n\tvcs = mirror\n' "$(echo "$key" | sed 's/^remote\.//; s/\.url$//')"
		case $url in
		*/canonical.git) printf '\tmirrorUrl = %s\n' "$mirror" ;;
		esac
	done <"$LOG/remotes" >>"$(git_dir "$1")/config"
}

# All that a person or a script could see of a repository.
snapshot () { # <repository>
	local dir="$(git_dir "$1")" file
	echo '--- refs' && refs_of "$1" | sed '/ refs\/mirror\//d'
	echo '--- configuration' && config_of "$1"
	for file in HEAD FETCH_HEAD shallow objects/info/alternates; do
		test ! -f "$dir/$file" || { echo "--- $file" && cat "$dir/$file"; }
	done
	echo '--- reflogs'
	test ! -d "$dir/logs" || (cd "$dir/logs" && grep -r --exclude-dir=mirror '' . | sort -s -t : -k 1,1)
	echo '--- promisor packs'
	find "$dir/objects/pack" -name '*.promisor' | grep -q . && echo some
	case $1 in
	*.git) ;;
	*) echo '--- work tree' && command git -C "$1" status --porcelain --branch 2>&1 | grep -v -e '^warning: mirror ' || : ;;
	esac
}

# Objects that are reachable, those that a partial clone lacks with a "?".
objects_of () { # <repository>
	command git -C "$1" rev-list --objects --missing=print --no-object-names \
		--exclude='refs/mirror/*' --all 2>&1 | sort
}

mkdir -p "$TRASH/srv"
start_server path "$TRASH/srv"
case $transport in
path) ;;
*) start_server "${transport%-*}" "$TRASH/srv" ;;
esac
case $transport in
git-v0) chaos v0 --to "$git_port" --strip-version ;;
esac
