#!/bin/sh
# Anybody's clone, served by git mirror serve, is a mirror: url= end to end.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv
laptops=$TRASH/laptops

make_repos () {
	mkdir "$srv" "$laptops"
	new_repo "$srv/project.git"
	grow "$srv/project.git" main 250 1
	grow "$srv/project.git" topic 20 2 "$(git -C "$srv/project.git" rev-parse main~40)"
	tag "$srv/project.git" v1 main~10
	git -C "$srv/project.git" tag light topic
}

# Two servers of laptops, as each speaks one protocol.
start_laptops () {
	local scheme
	for scheme in http git; do
		"$HELPER/own-group" "$BIN/git-mirror" serve --export-all --listen "$scheme://127.0.0.1:0" "$laptops" \
			>"$LOG/laptops-$scheme.url" 2>"$LOG/laptops-$scheme.log" </dev/null &
		echo $! >>"$LOG/pids"
	done
	for attempt in $(seq 200); do
		test ! -s "$LOG/laptops-http.url" || test ! -s "$LOG/laptops-git.url" || return 0
		sleep 0.05
	done
	echo 'Bail out! git mirror serve does not start'
	exit 1
}

laptop_url () { # <http or git> <name>
	echo "$(sed 's,/*$,,' "$LOG/laptops-$1.url")/$2"
}

# What a user does with a clone: commits, branches, tags of no concern to others.
used () { # <laptop>
	grow "$1" secret 3 77 "$(git -C "$1" rev-parse origin/main)"
	git -C "$1" branch -q wip origin/main
	git -C "$1" update-ref refs/heads/main "$(git -C "$1" rev-parse secret)"
	git -C "$1" tag mine secret
}

a_laptop () { # <name> [<git clone argument>...]
	local name="$1"
	shift
	rm -rf "${laptops:?}/$name"
	git clone -q "$@" "$canonical" "$laptops/$name"
}

# New clones: by plain git, and with these mirrors.
clone_with () { # <url of a mirror>... [-- <git clone argument>...]
	set_mirrors=
	while test $# -gt 0 && test "$1" != --; do
		set_mirrors="$set_mirrors -c remote.origin.mirrorUrl=$1"
		shift
	done
	test $# = 0 || shift
	rm -rf got plain
	git clone -q "$@" "$canonical" plain
	forget_traffic
	git clone -c remote.origin.vcs=mirror $set_mirrors "$@" "$canonical" got 2>got.err || { cat got.err; fail clone; }
	cat got.err
	assert_as_plain
}

# With "another", the laptop's own refs count: it is a mirror like any other, that may be ahead.
assert_as_plain () { # [another]
	refs_of plain >expected-refs
	refs_of got | sed "${1:+/ refs\/mirror\//d}" >actual-refs
	assert_same_file expected-refs actual-refs
	assert_same_file plain/.git/HEAD got/.git/HEAD
	assert_objects_equal plain got
	assert_fsck_clean got
	assert_no_leftovers got ${1:+except-refs}
	assert_no_helper_left
	test -z "${1:-}" || return 0
	for laptop in "$laptops"/*; do
		secret=$(git -C "$laptop" rev-parse -q --verify secret || :)
		test -z "$secret" || assert_fails git -C got cat-file -e "$secret" 2>"$LOG/cat-file"
	done
}

# packs of clones are logged under the name of their git directory.
mirrors_sent () {
	touch "$LOG/packs"
	awk '$1 != "project.git" { sum += $2 } END { print sum + 0 }' "$LOG/packs"
}

assert_nearly_all () {
	local ours=$(canonical_sent) theirs=$(mirrors_sent)
	echo "canonical $ours, mirrors $theirs"
	assert_at_least 99 $((100 * theirs / (ours + theirs + 1))) 'percent of the bytes from mirrors'
	assert_at_least 60000 "$theirs" 'bytes from mirrors'
}

plain_laptop () {
	a_laptop fresh
	used "$laptops/fresh"
	clone_with "$(laptop_url http fresh)"
	assert_nearly_all
	clone_with "$(laptop_url git fresh)"
	assert_nearly_all
	# As it stands in the listing of the server, too.
	clone_with "$(laptop_url http fresh/.git)"
	assert_nearly_all
}

is_asked_by_url () {
	git ls-remote "$(laptop_url git fresh)" >own
	assert_contains 'refs/heads/secret' own
	GIT_MIRROR_TRACE=$TRASH/trace
	export GIT_MIRROR_TRACE
	clone_with "$(laptop_url git fresh)"
	assert_contains "a mirror stands in.*$canonical" trace
}

fetch_from_it () {
	a_laptop fresh
	git clone -q "$canonical" client
	git -C client config remote.origin.vcs mirror
	git -C client config remote.origin.mirrorUrl "$(laptop_url http fresh)"
	grow "$srv/project.git" main 200 10
	grow "$srv/project.git" new 10 11 "$(git -C "$srv/project.git" rev-parse main~8)"
	tag "$srv/project.git" v2 main~2
	git -C "$laptops/fresh" fetch -q
	used "$laptops/fresh"
	rm -rf plain got
	cp -a client plain
	git -C plain config --unset remote.origin.vcs
	git -C plain fetch -q
	cp -a client got
	forget_traffic
	git -C got fetch 2>got.err
	cat got.err
	assert_as_plain
	assert_nearly_all
}

stale () {
	a_laptop stale
	used "$laptops/stale"
	grow "$srv/project.git" main 5 20
	tag "$srv/project.git" v3 main~1
	clone_with "$(laptop_url http stale)"
	assert_at_least 60000 "$(mirrors_sent)" 'bytes from the laptop'
	assert_at_most 8000 "$(canonical_sent)" 'bytes from canonical'
	assert_at_least 1 "$(canonical_sent)" 'bytes from canonical'
}

# The name under which the laptop knows canonical; the client's is https://git.example.com/team/project.git.
known_as () { # <url> [another]
	rm -rf "$laptops/spelled"
	cp -a spelled "$laptops/spelled"
	git -C "$laptops/spelled" config remote.origin.url "$1"
	clone_by_name "$(laptop_url http spelled)" "${2:-}"
}

clone_by_name () { # <url of a mirror> [another]
	rm -rf got
	forget_traffic
	: >trace
	GIT_MIRROR_TRACE=$TRASH/trace git -c url."$base".insteadOf=https://git.example.com/team/ clone \
		-c remote.origin.vcs=mirror -c remote.origin.mirrorUrl="$1" \
		https://git.example.com/team/project.git got 2>got.err || { cat got.err; fail clone; }
	cat got.err
	assert_as_plain ${2:-}
}

other_spellings () {
	a_laptop spelled
	rm -rf spelled
	mv "$laptops/spelled" .
	used spelled
	rm -rf plain
	git -c url."$base".insteadOf=https://git.example.com/team/ clone -q https://git.example.com/team/project.git plain
	for url in https://git.example.com/team/project.git https://git.example.com/team/project \
		https://git.example.com/team/project/ https://GIT.Example.com/team/project.git \
		HTTPS://git.example.com:443/team/project.git https://user@git.example.com/team/project; do
		known_as "$url"
		assert_contains 'a mirror stands in.*url=Some' trace
		assert_nearly_all
	done
}

# It is no mirror of that by name; what it has may be of use all the same.
another_url () {
	for url in https://git.example.com/team/Project.git https://elsewhere.example/x ssh://git.example.com/team/project.git \
		/nowhere; do
		known_as "$url" another
		assert_contains 'a mirror stands in.*url=None' trace
	done
	git -C "$laptops/spelled" remote remove origin
	clone_by_name "$(laptop_url http spelled)" another
}

single_branch () {
	a_laptop single --single-branch --branch topic
	clone_with "$(laptop_url http single)"
	assert_at_least 60000 "$(mirrors_sent)" 'bytes from the laptop'
	assert_at_least 1 "$(canonical_sent)" 'bytes from canonical'
	clone_with "$(laptop_url http single)" -- --single-branch --branch topic
	assert_nearly_all
}

bare_mirror () {
	a_laptop bare.git --mirror
	git -C "$laptops/bare.git" update-ref refs/meta/own "$(git -C "$laptops/bare.git" rev-parse main)"
	clone_with "$(laptop_url git bare.git)"
	assert_nearly_all
	clone_with "$(laptop_url http bare)"
	assert_nearly_all
}

# Each new clone is the mirror of the next.
a_chain () {
	a_laptop one
	used "$laptops/one"
	previous=one
	for name in two three; do
		clone_with "$(laptop_url http $previous)"
		assert_nearly_all
		rm -rf "${laptops:?}/$name"
		cp -a got "$laptops/$name"
		used "$laptops/$name"
		previous=$name
	done
}

# A clone of the laptop, by plain git, knows no canonical.
a_clone_of_a_laptop () {
	a_laptop one
	git clone -q "$(laptop_url http one)" "$laptops/child"
	clone_with "$(laptop_url http child)"
	assert_at_least 1 "$(mirrors_sent)" 'bytes from the clone of the laptop'
}

# The laptop's own list is for its own clients.
empty_laptop () {
	git init -q "$laptops/empty"
	git -C "$laptops/empty" remote add origin "$canonical"
	clone_with "$(laptop_url http empty)"
	assert_eq 0 "$(mirrors_sent)" 'bytes from an empty laptop'
	clone_with "$(laptop_url http nobody)" "$(laptop_url http empty)" "$(laptop_url http fresh)"
	assert_at_least 60000 "$(mirrors_sent)" 'bytes from the third'
}

make_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
start_git_daemon "$srv"
start_laptops
canonical=$(counted_url_for git '')
base=$canonical
canonical=${canonical}project.git

test_case 'a clone is a mirror' plain_laptop
test_case 'the client names canonical' is_asked_by_url
test_case 'fetch' fetch_from_it
test_case 'a stale laptop' stale
test_case 'canonical under another spelling' other_spellings
test_case 'canonical under another URL' another_url
test_case 'a laptop with one branch' single_branch
test_case 'a bare mirror clone' bare_mirror
test_case 'a clone of a clone of a clone' a_chain
test_case 'a plain clone of a laptop' a_clone_of_a_laptop
test_case 'an empty laptop' empty_laptop
test_done
