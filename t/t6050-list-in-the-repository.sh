#!/bin/sh
# Where the server cannot be changed, the list is in the repository, under
# refs/meta/mirrors: who writes it, and who reads it.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv
ref=refs/meta/mirrors

make_repos () {
	new_repo "$srv/forge.git"
	grow "$srv/forge.git" main 60 1
	tag "$srv/forge.git" v1 main~10
	cp -a "$srv/forge.git" "$srv/near.git"
	cp -a "$srv/forge.git" "$srv/far.git"
	git clone -q --no-local "$srv/forge.git" "$TRASH/owner"
	git -C "$TRASH/owner" remote set-url origin "$forge"
}

grow_all () {
	grow "$srv/forge.git" main 3 "$1"
	for name in near far; do
		git -C "$srv/$name.git" fetch -q "$srv/forge.git" 'refs/heads/*:refs/heads/*'
	done
}

list_of () { # <prefer> <mirror>...
	echo "prefer_mirror = \"$1\""
	shift
	for name in "$@"; do
		printf '[[mirror]]\nurl = "git://127.0.0.1:%s/%s.git"\n' "$git_port" "$name"
	done
}

published () { # of what: a revision
	git -C "$srv/forge.git" rev-parse -q --verify "$ref$1"
}

# publish <expected exit code> <argument>...: in the owner's repository.
publish () {
	local expected="$1" code=0
	shift
	git -C owner mirror publish-list "$@" >publish.out 2>publish.err || code=$?
	cat publish.out publish.err
	assert_eq "$expected" $code 'exit code of publish-list'
}

# --- the owner ---

the_first_time () {
	list_of always near far >owner/mirrors.toml
	refs_of owner >before
	publish 0
	git -C "$srv/forge.git" show "$ref:mirrors.toml" | diff -u owner/mirrors.toml -
	assert_eq mirrors.toml "$(git -C "$srv/forge.git" ls-tree --name-only "$ref")" 'what is in the commit'
	assert_fails published ^
	refs_of owner | diff -u before -
	git -C owner diff --quiet
	assert_fsck_clean "$srv/forge.git"
}

unchanged () {
	published '' >before
	publish 0
	assert_contains 'up-to-date' publish.out
	published '' | diff -u before -
}

changed () {
	published '' >before
	list_of always far >owner/mirrors.toml
	publish 0 mirrors.toml --remote origin
	published ^ | diff -u before -
	list_of always near >other-list
	publish 0 "$TRASH/other-list" --remote "$forge"
	git -C "$srv/forge.git" show "$ref:mirrors.toml" | diff -u other-list -
}

# Every fault is named, and nothing is pushed.
damaged () {
	published '' >before
	{
		list_of sometimes near
		echo 'wieght = 3'
	} >owner/damaged.toml
	publish 128 damaged.toml
	assert_contains 'damaged.toml:1: prefer_mirror: ' publish.err
	assert_contains 'damaged.toml:4: mirror\[1\]\.wieght: ' publish.err
	printf 'policy = "fixed"\nfirst = [\n' >owner/damaged.toml
	publish 128 damaged.toml
	assert_contains 'damaged.toml:[23]: ' publish.err
	publish 129 no-such-file.toml
	assert_contains no-such-file.toml publish.err
	published '' | diff -u before -
}

# Somebody else pushes after we have looked.
lost_lease () {
	git -C "$srv/forge.git" commit-tree -m 'of another' -p "$ref" "$ref^{tree}" >theirs
	mkdir -p racing
	real=$(env sh -c 'command -v git')
	{
		echo '#!/bin/sh'
		echo 'case $1 in push)'
		echo "	'$real' -C '$srv/forge.git' update-ref $ref $(cat theirs) ;;"
		echo 'esac'
		echo "exec '$real' \"\$@\""
	} >racing/git
	chmod +x racing/git
	list_of no near far >owner/mirrors.toml
	# Not through git, which puts its own folder before ours.
	code=0
	(cd owner && PATH=$TRASH/racing:$PATH exec git-mirror publish-list) >publish.out 2>publish.err || code=$?
	cat publish.err
	assert_eq 1 $code 'exit code of publish-list'
	assert_contains 'stale info' publish.err
	published '' | diff -u theirs -
	# Having looked again, it is fine.
	publish 0
	published ^ | diff -u theirs -
}

not_reached () {
	publish 128 --remote git://127.0.0.1:1/x
	assert_contains 'fatal: ' publish.err
}

over_a_tree () {
	git -C "$srv/forge.git" update-ref "$ref" "$(published '^{tree}')"
	list_of always near >owner/mirrors.toml
	publish 0
	assert_eq commit "$(git -C "$srv/forge.git" cat-file -t "$ref")" 'what is published'
	assert_fails published ^
}

# --- the client ---

client () { # [<git clone argument>...]
	rm -rf got trace
	forget_traffic
	GIT_TRACE=$TRASH/trace git clone -c remote.origin.vcs=mirror "$@" "$forge" got 2>got.err ||
		{ cat got.err; fail clone; }
	cat got.err
	assert_as_plain
}

fetched () { # [<git fetch argument>...]
	rm -f trace
	forget_traffic
	GIT_TRACE=$TRASH/trace git -C got fetch "$@" 2>got.err || { cat got.err; fail fetch; }
	cat got.err
	assert_as_plain
}

# No ref and no object of the list is here.
assert_as_plain () {
	assert_eq "$(git -C "$srv/forge.git" rev-parse main)" "$(git -C got rev-parse origin/main)" origin/main
	git -C got for-each-ref --format='%(refname)' >refs
	assert_lacks 'refs/meta' refs
	assert_fsck_clean got
	assert_no_leftovers got
	assert_no_helper_left
	git -C got fsck --unreachable --no-progress >unreachable
	assert_lacks . unreachable
	if published '' >list; then
		assert_fails git -C got cat-file -e "$(cat list)" 2>"$LOG/cat-file"
	fi
	find "$TRASH/tmp" -mindepth 1 >left
	assert_lacks . left
}

learned () {
	git -C got config --get-all remote.origin.listedMirror | sed 's,.*/,,; s,\.git$,,' | tr '\n' ' ' | sed 's/ $//'
}

packed () {
	touch "$LOG/packs"
	awk '$2 { print $1 }' "$LOG/packs" | sort -u | tr '\n' ' ' | sed 's/ $//'
}

at_clone () {
	list_of always near far >owner/mirrors.toml
	publish 0
	client -c mirror.fromRef=true
	assert_eq 'near far' "$(learned)" learned
	assert_eq true "$(git -C got config remote.origin.preferMirror)" preferMirror
	assert_at_least 1 "$(packed_by near.git)" 'bytes from near'
	assert_contains 'ls-remote.*refs/meta' trace
}

not_without_permission () {
	client
	assert_lacks 'refs/meta' trace
	assert_eq '' "$(learned)" learned
	assert_eq forge.git "$(packed)" 'packs from'
	client -c mirror.fromRef=false
	assert_lacks 'refs/meta' trace
	test ! -e got/.git/mirror-fetch/state.toml || assert_lacks 'ref:' got/.git/mirror-fetch/state.toml
}

at_most_once_a_day () {
	client -c mirror.fromRef=true
	grow_all 20
	fetched
	assert_lacks 'refs/meta' trace
	assert_eq near.git "$(packed)" 'packs from'
	perl -i -pe 's/^time = (\d+)/"time = " . ($1 - 25 * 3600)/e' got/.git/mirror-fetch/state.toml
	fetched
	assert_contains 'ls-remote.*refs/meta' trace
	assert_lacks 'fetch .*refs/meta' trace
	fetched
	assert_lacks 'refs/meta' trace
	list_of always far >owner/mirrors.toml
	publish 0
	perl -i -pe 's/^time = (\d+)/"time = " . ($1 - 25 * 3600)/e' got/.git/mirror-fetch/state.toml
	fetched
	assert_eq far "$(learned)" learned
}

# What is not there any more is not kept.
taken_back () {
	client -c mirror.fromRef=true
	published '' >list-was
	git -C "$srv/forge.git" update-ref -d "$ref"
	perl -i -pe 's/^time = (\d+)/"time = " . ($1 - 25 * 3600)/e' got/.git/mirror-fetch/state.toml
	fetched
	assert_eq '' "$(learned)" learned
	assert_eq '' "$(git -C got config remote.origin.preferMirror)" preferMirror
	git -C "$srv/forge.git" update-ref "$ref" "$(cat list-was)"
}

for_one_run () {
	list_of always near >owner/mirrors.toml
	publish 0
	rm -rf got
	git clone -q "$forge" got
	grow_all 21
	forget_traffic
	rm -f trace
	GIT_TRACE=$TRASH/trace git -C got mirror-fetch --mirrors-from-ref origin 2>got.err || { cat got.err; fail fetch; }
	cat got.err
	assert_as_plain
	assert_contains 'ls-remote.*refs/meta' trace
	assert_eq near "$(learned)" learned
	assert_at_least 1500 "$(packed_by near.git)" 'bytes from near'
	assert_at_most 1500 "$(packed_by forge.git)" 'bytes from canonical, the list'
	assert_eq '' "$(git -C got config mirror.fromRef)" mirror.fromRef
	rm -rf got
	git clone -q "$forge" got
	grow_all 22
	rm -f trace
	GIT_TRACE=$TRASH/trace git -C got mirror-fetch origin 2>got.err
	assert_lacks 'refs/meta' trace
}

a_tree () {
	commit=$(published '')
	git -C "$srv/forge.git" update-ref "$ref" "$(published '^{tree}')"
	client -c mirror.fromRef=true
	assert_eq near "$(learned)" learned
	git -C "$srv/forge.git" update-ref "$ref" "$commit"
}

an_annotated_tag () {
	commit=$(published '')
	git -C "$srv/forge.git" tag -a -m list list-tag "$commit"
	git -C "$srv/forge.git" update-ref "$ref" "$(git -C "$srv/forge.git" rev-parse list-tag)"
	git -C "$srv/forge.git" tag -d list-tag >/dev/null
	client -c mirror.fromRef=true
	assert_eq near "$(learned)" learned
	git -C "$srv/forge.git" update-ref "$ref" "$commit"
}

# with_content <file>, without a check: what is then read at clone is a warning, and no more.
with_content () {
	local blob="$(git -C "$srv/forge.git" hash-object -w --stdin <"$1")"
	git -C "$srv/forge.git" update-ref "$ref" \
		"$(printf '%s blob %s\t%s\n' 100644 "$blob" "${entry:-mirrors.toml}" | git -C "$srv/forge.git" mktree)"
}

only_a_warning () {
	client -c mirror.fromRef=true
	assert_contains '^warning: the mirror list of .* is not used: ' got.err
	assert_eq '' "$(learned)" learned
	assert_eq '' "$(git -C got config remote.origin.preferMirror)" preferMirror
	assert_eq forge.git "$(packed)" 'packs from'
	LC_ALL=C tr -d '\n\t -~' <got.err >odd
	test ! -s odd || fail 'control characters'
}

damaged_content () {
	commit=$(published '')
	echo 'prefer_mirror = "sometimes"' >content
	with_content content
	only_a_warning
	assert_contains 'mirrors.toml:1: prefer_mirror' got.err
	printf '\033[2J\007 = "\033]0;owned\007"\n' >content
	with_content content
	only_a_warning
	printf 'canonical = "\377\376\000"\n' >content
	with_content content
	only_a_warning
	{
		list_of always near
		printf '[[mirror]]\nurl = "ext::sh -c touch%%20%s"\n' "$TRASH/owned"
	} >content
	with_content content
	only_a_warning
	test ! -e owned
	list_of always near >content
	entry=other.toml with_content content
	only_a_warning
	head -c 1100000 /dev/zero | tr '\0' '#' >content
	with_content content
	only_a_warning
	# Not even a tree.
	git -C "$srv/forge.git" update-ref "$ref" "$(git -C "$srv/forge.git" hash-object -w --stdin <content)"
	only_a_warning
	git -C "$srv/forge.git" update-ref "$ref" "$commit"
}

# With what was learned before, that stays.
damaged_later () {
	client -c mirror.fromRef=true
	assert_eq near "$(learned)" learned
	cp got/.git/config config
	commit=$(published '')
	echo 'prefer_mirror = "sometimes"' >content
	with_content content
	perl -i -pe 's/^time = (\d+)/"time = " . ($1 - 25 * 3600)/e' got/.git/mirror-fetch/state.toml
	fetched
	assert_contains '^warning: the mirror list of .* is not used: ' got.err
	assert_same_file config got/.git/config
	fetched
	assert_lacks 'warning: ' got.err
	git -C "$srv/forge.git" update-ref "$ref" "$commit"
}

over_http () {
	start_http "$srv"
	forge=$(url_for http forge.git)
	client -c mirror.fromRef=true
	assert_eq near "$(learned)" learned
	assert_at_least 1 "$(packed_by near.git)" 'bytes from near'
}

# The server's own list goes before that of the repository.
both () {
	list_of always far >"$srv/forge.git/mirrors.toml"
	"$HELPER/own-group" "$BIN/git-mirror" serve --listen git://127.0.0.1:0 "$srv" >serve.url 2>serve.log </dev/null &
	echo $! >>"$LOG/pids"
	for attempt in $(seq 100); do
		test ! -s serve.url || break
		sleep 0.1
	done
	forge=$(cat serve.url)forge.git
	client -c mirror.fromRef=true
	assert_eq far "$(learned)" learned
	assert_lacks 'refs/meta' trace
	rm "$srv/forge.git/mirrors.toml"
}

mkdir "$srv"
start_git_daemon "$srv"
forge=git://127.0.0.1:$git_port/forge.git
make_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
# Where temporary files go, nothing may stay.
mkdir "$TRASH/tmp"
TMPDIR=$TRASH/tmp
export TMPDIR

test_case 'publish-list: the first time' the_first_time
test_case 'publish-list: unchanged' unchanged
test_case 'publish-list: changed' changed
test_case 'publish-list: a damaged list' damaged
test_case 'publish-list: somebody else was faster' lost_lease
test_case 'publish-list: the remote is down' not_reached
test_case 'publish-list: over a tree' over_a_tree
test_case 'git clone with mirror.fromRef' at_clone
test_case 'not without permission' not_without_permission
test_case 'at most once a day' at_most_once_a_day
test_case 'taken back' taken_back
test_case 'git mirror-fetch --mirrors-from-ref' for_one_run
test_case 'a tree instead of a commit' a_tree
test_case 'an annotated tag' an_annotated_tag
test_case 'damaged content' damaged_content
test_case 'damaged later on' damaged_later
test_case 'over HTTP' over_http
test_case 'where the server has a list as well' both
test_done
