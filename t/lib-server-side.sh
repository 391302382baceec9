#!/bin/sh
# lib-server-side.sh - stock git against one part of our server side.
#
# A thin script sets $part (see lib-parts.sh), and $versions if not all of the
# protocol, and sources this. Each stock git of
# this machine does what users do, in each version of the protocol; the result is
# that of the same against stock git, with a list of mirrors, without, and with a
# damaged one.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-parts.sh"

# --- what is served ---

# make_served_repos <dir>
#
#   old.git       as clients know it
#   listed.git    further on; with a list of mirrors, as all others but:
#   unlisted.git  the same without a list
#   damaged.git   the same; its list is damaged in line 3
#   hidden.git    the same; refs/secret/ is hidden
#   pushed.git    like old.git, to push to
#   empty.git     nothing;  sha256.git: another hash
make_served_repos () {
	mkdir "$1"
	new_repo "$1/old.git"
	grow "$1/old.git" main 60 1
	grow "$1/old.git" topic 5 2 "$(git -C "$1/old.git" rev-parse main~20)"
	tag "$1/old.git" v1 main~10
	write_list "$1/old.git"
	cp -a "$1/old.git" "$1/listed.git"
	cp -a "$1/old.git" "$1/pushed.git"
	grow "$1/listed.git" main 20 3
	grow "$1/listed.git" new 4 4 "$(git -C "$1/listed.git" rev-parse main~8)"
	tag "$1/listed.git" v2 main~2
	for name in unlisted damaged hidden; do
		cp -a "$1/listed.git" "$1/$name.git"
	done
	rm "$1/unlisted.git/mirrors.toml"
	printf 'policy = "fixed"\n\nfirst = "three"\n' >"$1/damaged.git/mirrors.toml"
	git -C "$1/hidden.git" update-ref refs/secret/plan main~3
	git -C "$1/hidden.git" config transfer.hideRefs refs/secret
	new_repo "$1/empty.git"
	write_list "$1/empty.git"
	new_repo "$1/sha256.git" --object-format=sha256
	grow "$1/sha256.git" main 10 7
	write_list "$1/sha256.git"
}

# --- each stock git ---

# each_git <function> <argument>...: with it first in PATH, and its version in $this_git.
each_git () {
	local path="$PATH" dir seen=' '
	for dir in $(echo "$PATH:/usr/local/bin:/usr/bin" | tr ':' '\n'); do
		test -x "$dir/git" || continue
		this_git=$("$dir/git" version | cut -d ' ' -f 3)
		case $seen in *" $this_git "*) continue ;; esac
		seen="$seen$this_git "
		mkdir -p "$TRASH/git-$this_git"
		ln -sfn "$dir/git" "$TRASH/git-$this_git/git"
		PATH=$TRASH/git-$this_git:$path
		"$@"
	done
	PATH=$path
}

# --- the clients: their stderr is kept, for over a path the server's is in it ---

clone () {
	if test "$part" = path; then
		set -- -u 'git mirror upload-pack' "$@"
	fi
	git clone -q --no-local "$@" 2>>"$LOG/client-stderr"
}

ls_remote () { # <argument>... <url>
	if test "$part" = path; then
		set -- --upload-pack='git mirror upload-pack' "$@"
	fi
	git ls-remote "$@" 2>>"$LOG/client-stderr"
}

# What a clone has, and what it lacks.
objects_of () { # <repository>
	git -C "$1" rev-list --objects --missing=print --no-object-names --all | sort
}

assert_same_objects () { # <expected repository> <actual repository>
	objects_of "$1" >"$LOG/objects-expected"
	objects_of "$2" >"$LOG/objects-actual"
	test -s "$LOG/objects-expected" || fail "no objects in $1"
	assert_same_file "$LOG/objects-expected" "$LOG/objects-actual"
}

assert_same_clone () { # <expected repository> <actual repository>
	assert_refs_equal "$1" "$2"
	assert_same_objects "$1" "$2"
	assert_fsck_clean "$2"
}

# --- the measure: stock git, from the repositories themselves ---

stock_git_as_the_measure () {
	local srv="file://$TRASH/srv"
	git clone -q "$srv/old.git" stock-old
	cp -a stock-old stock-fetched
	git -C stock-fetched remote set-url origin "$srv/listed.git"
	git -C stock-fetched fetch -q
	git clone -q --filter=blob:none --no-checkout "$srv/listed.git" stock-partial
	git clone -q "$srv/sha256.git" stock-sha256
	git ls-remote --symref "$srv/listed.git" >stock-ls
	test "$(wc -l <stock-ls)" -ge 8 || fail 'too few refs to show anything'
}

# --- what users do ---

lists () {
	ls_remote --symref "$(served_url listed.git)" >ls
	assert_same_file stock-ls ls
}

clones_and_fetches () {
	rm -rf got
	clone "$(served_url old.git)" got
	assert_same_clone stock-old got
	git -C got remote set-url origin "$(served_url listed.git)"
	git -C got fetch -q
	assert_same_clone stock-fetched got
	git -C got fetch -q # nothing new
}

# Which tags are followed then depends on git's version and the transport.
clones_shallowly () {
	rm -rf got stock-shallow stock-deepened stock-unshallowed
	git clone -q --no-local --depth 5 "$(stock_url listed.git)" stock-shallow
	cp -a stock-shallow stock-deepened
	git -C stock-deepened fetch -q --deepen 7
	cp -a stock-deepened stock-unshallowed
	git -C stock-unshallowed fetch -q --unshallow

	clone --depth 5 "$(served_url listed.git)" got
	assert_same_clone stock-shallow got
	sort got/.git/shallow >shallow
	sort stock-shallow/.git/shallow | diff -u - shallow
	git -C got fetch -q --deepen 7
	assert_same_clone stock-deepened got
	git -C got fetch -q --unshallow
	test ! -e got/.git/shallow || fail 'still shallow'
	assert_same_clone stock-unshallowed got
}

clones_partially () {
	rm -rf got
	clone --filter=blob:none --no-checkout "$(served_url listed.git)" got
	assert_refs_equal stock-partial got
	assert_same_objects stock-partial got
	objects_of got | grep -c '^?' >missing || fail 'nothing is missing: no partial clone'
	# What is looked at is fetched now.
	git -C got show origin/main:dir1/file1 >file
	git -C srv/listed.git show main:dir1/file1 | cmp - file
	assert_at_most $(($(cat missing) - 1)) "$(objects_of got | grep -c '^?')" 'objects missing'
	git -C got checkout -q main
	git -C got status --porcelain >status
	assert_lacks . status
}

clones_what_is_special () {
	rm -rf got empty
	clone "$(served_url sha256.git)" got
	assert_same_clone stock-sha256 got
	clone "$(served_url empty.git)" empty
	assert_eq '' "$(refs_of empty)" 'refs of an empty repository'
	ls_remote "$(served_url empty.git)" >ls
	assert_lacks . ls
	# There is a first branch some day.
	git -C empty checkout -q -b main 2>/dev/null || :
	git -C empty fetch -q
}

hides () {
	git -C srv/hidden.git for-each-ref >all
	assert_contains refs/secret all
	ls_remote "$(served_url hidden.git)" >ls
	assert_contains refs/heads/main ls
	assert_lacks refs/secret ls
	ls_remote "$(served_url hidden.git)" 'refs/secret/*' >ls
	assert_lacks . ls
	rm -rf got
	clone --mirror "$(served_url hidden.git)" got
	git -C got for-each-ref refs/secret >secret
	assert_lacks . secret
}

# In git's own words: those of stock git.
says_what_is_unknown () {
	git ls-remote "$(stock_url none.git)" 2>stock-err && fail 'stock git finds it'
	code=0
	if test "$part" = path; then
		git ls-remote --upload-pack='git mirror upload-pack' "$(served_url none.git)" 2>err || code=$?
	else
		git ls-remote "$(served_url none.git)" 2>err || code=$?
	fi
	assert_eq 128 "$code" 'exit code'
	# git daemon runs with --informative-errors here.
	sed "s,$(stock_url ''),<server>/,; s/no such repository:/access denied or repository not exported:/" stock-err >expected
	# git mirror serve has a line of its own for people before it.
	sed "s,$(served_url ''),<server>/,; /^remote: repository not found/d" err >actual
	assert_contains '^fatal: ' expected
	assert_same_file expected actual
}

pushes () {
	local branch="from-$this_git-v$version"
	rm -rf got
	clone "$(served_url pushed.git)" got
	echo "$branch" >got/file
	git -C got add file
	git -C got commit -q -m "$branch"
	case $part in
	serve-*)
		code=0
		git -C got push origin "HEAD:$branch" >out 2>err || code=$?
		cat err
		assert_eq 128 "$code" 'exit code of git push'
		assert_contains 'fatal: .*(403|access denied or repository not exported)' err
		assert_fails git -C srv/pushed.git rev-parse -q --verify "refs/heads/$branch"
		;;
	*)
		git -C got push -q origin "HEAD:$branch"
		assert_eq "$(git -C got rev-parse HEAD)" "$(git -C srv/pushed.git rev-parse "$branch")" "$branch"
		assert_fsck_clean srv/pushed.git
		git -C got push -q origin ":$branch"
		assert_fails git -C srv/pushed.git rev-parse -q --verify "refs/heads/$branch"
		;;
	esac
}

in_version () { # <version> <function>
	git config --global protocol.version "$1"
	"$2"
}

this_git_in_version () { # <version>
	local name="$part: git $this_git, v$1:"
	version=$1
	test_case "$name ls-remote" in_version "$1" lists
	test_case "$name clone, fetch" in_version "$1" clones_and_fetches
	test_case "$name shallow clone, deepen, unshallow" in_version "$1" clones_shallowly
	test_case "$name partial clone, lazy fetch" in_version "$1" clones_partially
	test_case "$name hidden refs" in_version "$1" hides
	test_case "$name push" in_version "$1" pushes
	test_case "$name an unknown repository" in_version "$1" says_what_is_unknown
	test "$1" != 2 || test_case "$name sha256, an empty repository" in_version 2 clones_what_is_special
}

this_git_in_each_version () {
	local version
	for version in ${versions-2 1 0}; do
		this_git_in_version "$version"
	done
}

# --- with a list, without, with a damaged one ---

# The advertisement as a client sees it, up to the first flush.
advertisement () { # <url> [<git ls-remote argument>...]
	local url="$1"
	shift
	rm -f packets
	GIT_TRACE_PACKET=$PWD/packets git ls-remote "$@" "$url" >/dev/null 2>>"$LOG/client-stderr"
	sed -n 's/^.* packet: .*< //p' packets | sed '/^# service/,/^0000$/d' | sed '/^0000$/q'
}

ours () { # <repository>: its advertisement
	if test "$part" = path; then
		advertisement "$(served_url "$1")" --upload-pack='git mirror upload-pack'
	else
		advertisement "$(served_url "$1")"
	fi
}

adds_one_line () {
	git config --global protocol.version 2
	advertisement "$(stock_url listed.git)" >stock
	ours listed.git >ours
	assert_contains '^version 2' stock
	diff stock ours >difference || :
	grep '^[<>]' difference >lines
	cat difference
	assert_eq 1 "$(wc -l <lines)" 'lines that differ'
	assert_contains '^> mirror=id:[0-9a-f]{16}$' lines
	ours unlisted.git | diff -u stock -
	ours damaged.git | diff -u stock -
}

adds_tokens () {
	local tokens=' mirror=https://eu.example.net/project.git'
	tokens="$tokens mirror=https://us.example.net/a%2520project.git more-mirrors=1 prefer-mirror=once"
	for version in 0 1; do
		git config --global protocol.version $version
		advertisement "$(stock_url listed.git)" >stock
		ours listed.git >ours
		assert_contains refs/heads/main stock
		grep -F -c "$tokens" ours >count || { cat ours; fail 'no tokens'; }
		assert_eq 1 "$(cat count)" 'lines with tokens'
		# They stand behind the capabilities of the first ref, and change nothing else.
		sed "s,$tokens,," ours | diff -u stock -
		sed -n '/HEAD/{p;q;}' ours | grep -q -F "$tokens" || fail 'not on the first ref'
		ours unlisted.git | diff -u stock -
		ours damaged.git | diff -u stock -
	done
	git config --global protocol.version 2
}

damaged_is_logged_and_served () {
	git config --global protocol.version 2
	rm -rf got
	clone "$(served_url damaged.git)" got
	assert_objects_equal srv/listed.git got
	assert_contains 'damaged.git/mirrors.toml:3: first: ' "$(part_log)"
}

unlisted_is_served () {
	rm -rf got
	clone "$(served_url unlisted.git)" got
	assert_objects_equal srv/listed.git got
	ask_about unlisted.git command=mirror 0001 0000 >answer 2>&1 || :
	assert_lacks '^(mirror|canonical) ' answer # stock git's refusal
}

# --- the command, and what is set for all repositories ---

ask_about () { # <repository> <packet>...
	local repo="$1" where
	shift
	case $part in
	path) where="exec:git-mirror upload-pack '$(served_url "$repo")'" ;;
	ssh-*) where="exec:$GIT_SSH_COMMAND -o SendEnv=GIT_PROTOCOL gmf-$part \"git-upload-pack '$part_root/$repo'\"" ;;
	*) where=$(served_url "$repo") ;;
	esac
	"$HELPER/ask" $ask_options "$where" "$@"
}
ask_options=

answers_the_command () {
	ask_about listed.git command=mirror 0001 0000 >answer
	cat answer
	grep -v '^client' answer | diff -u "$T/fixtures/answer" -
	case $part in
	path) assert_lacks '^client' answer ;;
	*) assert_contains '^client address=127.0.0.1$' answer ;;
	esac
}

believes_its_proxies () {
	ask_options='--header X-Forwarded-For:203.0.113.9'
	ask_about listed.git command=mirror 0001 0000 >answer
	assert_contains '^client address=203.0.113.9$' answer
}

# The last case: from here on unlisted.git has a list.
has_a_list_for_all () {
	local attempt
	cat >"$TRASH/site.toml" <<-\END
	canonical = "https://git.example.com/{repo}.git"
	[[mirror]]
	url = "https://eu.example.net/all/{repo}.git"
	END
	for attempt in 1 2 3 4 5 6; do # a server looks at its files once a second
		ask_about unlisted.git command=mirror 0001 0000 >answer 2>&1 || :
		! grep -q '^mirror' answer || break
		sleep 0.5
	done
	cat answer
	assert_contains '^canonical https://git.example.com/unlisted.git$' answer
	assert_contains '^mirror https://eu.example.net/all/unlisted.git$' answer
	ask_about listed.git command=mirror 0001 0000 >answer
	assert_lacks /all/ answer
}

leaves_nothing () {
	case $part in
	serve-*)
		ends_within 10 others_of "$part_pid" || fail 'processes are left'
		kill -0 "$part_pid"
		;;
	esac
	find srv \( -name 'tmp_*' -o -name '*.lock' \) >left
	assert_lacks . left
}

others_of () { # <pid>: its children and theirs
	group_of "$1" | grep -v -x "$1"
}

# --- the run ---

# For parts that are started by a client, or by a web server with an environment
# of its own; see docs/examples for the others.
GIT_MIRROR_LIST=$TRASH/site.toml GIT_MIRROR_BASE=$TRASH/srv
export GIT_MIRROR_LIST GIT_MIRROR_BASE

make_served_repos "$TRASH/srv" >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
start_part "$part" "$TRASH/srv"

test_case "$part: stock git, the measure" stock_git_as_the_measure
each_git this_git_in_each_version
git config --global protocol.version 2
test_case "$part: v2: one line more than stock git" adds_one_line
test_case "$part: v0, v1: tokens on the first ref" adds_tokens
test_case "$part: a damaged list is logged, the repository served" damaged_is_logged_and_served
test_case "$part: no list" unlisted_is_served
test_case "$part: command=mirror" answers_the_command
case $part in
nginx | apache* | lighttpd | serve-http) test_case "$part: listed proxies are believed" believes_its_proxies ;;
esac
test_case "$part: a list for all repositories" has_a_list_for_all
test_case "$part: nothing is left" leaves_nothing
test_done
