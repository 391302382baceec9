#!/bin/sh
# Mirrors that are of no use, or mean harm: each is left, and the fetch is as
# plain git's.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-scenario.sh"

left_alone () { # <url>
	a_client "$1"
	fetch got
	assert_fetched
	assert_contains 'mirror' got.err
	rm -rf got
	clone got $(as_arguments "$1")
	cat got.err
	assert_result_is_plain plain-clone got
	assert_contains 'mirror' got.err
}

of_another_object_format () {
	new_repo srv/sha256.git --object-format=sha256
	grow srv/sha256.git main 10 1
	left_alone "$(url_for http sha256.git)"
}

shallow () {
	git clone -q --bare --depth=30 "file://$TRASH/srv/fresh.git" srv/shallow.git
	touch srv/shallow.git/git-daemon-export-ok
	left_alone "$(url_for http shallow.git)"
}

partial () {
	git clone -q --bare --filter=blob:none "file://$TRASH/srv/fresh.git" srv/partial.git
	touch srv/partial.git/git-daemon-export-ok
	git -C srv/partial.git config remote.origin.url /nowhere
	left_alone "$(url_for http partial.git)"
}

of_protocol_v0 () { left_alone "$(url_for http-v0 fresh.git)"; }

of_plain_files () {
	git -C srv/fresh.git update-server-info
	left_alone "$(url_for http-dumb fresh.git)"
}

forbidden () { left_alone "$(url_for http-forbidden fresh.git)"; }

# It must not ask anybody for a password.
locked () {
	printf '#!/bin/sh\necho asked >>"%s/asked"\necho secret\n' "$TRASH" >askpass
	chmod +x askpass
	GIT_ASKPASS=$TRASH/askpass GIT_TERMINAL_PROMPT=1
	export GIT_ASKPASS GIT_TERMINAL_PROMPT
	left_alone "$(url_for http-locked fresh.git)"
	test ! -e asked || fail 'somebody was asked for a password'
}

# Other history under the same names: proved, but of no use.
unrelated () {
	new_repo srv/unrelated.git
	grow srv/unrelated.git main 10 500
	grow srv/unrelated.git topic 10 501
	a_client "$(url_for http unrelated.git)"
	fetch got
	cat got.err
	assert_result_is_plain plain-fetch got except-refs
}

# A tip whose tree would write into .git: with fsckObjects it is not let in.
with_an_evil_tree () {
	cp -a srv/stale.git srv/evil.git
	blob=$(echo '#!/bin/sh' | git -C srv/evil.git hash-object -w --stdin)
	tree=$(printf '100755 blob %s\t.GIT\n' "$blob" | git -C srv/evil.git mktree)
	commit=$(git -C srv/evil.git commit-tree -p main -m evil "$tree")
	git -C srv/evil.git update-ref refs/heads/main "$commit"
	a_client "$(url_for http evil.git)"
	git -C got config transfer.fsckObjects true
	fetch got
	git -C got config --unset transfer.fsckObjects
	assert_fetched
	assert_fails git -C got cat-file -e "$commit"
}

# git index-pack says something of each, and is not read until it has all: more than a pipe holds.
with_much_to_say_of_it () {
	cp -a srv/canonical.git srv/talkative.git
	main=$(git -C srv/talkative.git rev-parse main)
	for n in $(seq 3000); do
		printf 'tag t%s\nfrom %s\ndata 2\nx\n\n' $n "$main"
	done | git -C srv/talkative.git fast-import --quiet
	cp -a srv/talkative.git srv/talkative-mirror.git
	a_client "$(url_for http talkative-mirror.git)"
	git -C got config remote.origin.url "$(url_for http talkative.git)"
	git -C got config transfer.fsckObjects true
	fetch got || { tail -n 3 got.err; fail fetch; }
	assert_eq 3000 "$(git -C got tag -l 't*' | grep -c .)" tags
	assert_at_least 1 "$(packed_by talkative-mirror.git)" 'bytes from the mirror'
}

# Names that would lead out of refs/mirror/, and one that is taken.
with_strange_names () {
	cp -a srv/fresh.git srv/strange.git
	cd srv/strange.git
	git update-ref refs/heads/-dash main
	git update-ref 'refs/heads/per%cent' main
	git update-ref refs/mirror/other/heads/main main
	git update-ref refs/remotes/origin/main main~3
	cd "$TRASH"
	a_client "$(url_for http strange.git)"
	fetch got
	assert_fetched "$allowance"
}

two_on_one_host () {
	a_client "$(url_for http diverged.git)" "$(url_for http ahead.git)"
	fetch got
	cat got.err
	assert_result_is_plain plain-fetch got except-refs
	mirror_refs_of got | cut -d/ -f3 | sort -u >hosts
	cat hosts
	assert_eq 2 "$(grep -c "^127.0.0.1_$http_port" hosts)" 'places for the refs of two mirrors'
}

the_mirror_is_canonical () {
	a_client "$canonical"
	fetch got
	assert_fetched
}

many_bad_ones () {
	a_client "$(dead_url http)" "$(url_for http refusing.git)" "$(url_for http hole.git)" \
		"$(url_for http cut.git)" "$(url_for http flipped.git)" "$(url_for http empty.git)" \
		"$(url_for http-forbidden fresh.git)" "$(url_for http stale.git)"
	fetch got
	assert_fetched $(($(cat plain-from-stale.sent) + allowance))
	assert_at_least 1 "$(packed_by stale.git)" 'bytes from the last one'
}

only_bad_ones () {
	a_client "$(dead_url http)" "$(url_for http refusing.git)" "$(url_for http hole.git)" \
		"$(url_for http cut.git)" "$(url_for http flipped.git)"
	fetch got
	assert_fetched $(($(cat plain-fetch.sent) + allowance))
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'of another object format' of_another_object_format
test_case 'shallow' shallow
test_case 'partial' partial
test_case 'of protocol v0' of_protocol_v0
test_case 'of plain files' of_plain_files
test_case 'forbidden' forbidden
test_case 'asks for a password' locked
test_case 'of another history' unrelated
test_case 'with an evil tree' with_an_evil_tree
test_case 'with much to say of it' with_much_to_say_of_it
test_case 'with strange names' with_strange_names
test_case 'two on one host' two_on_one_host
test_case 'canonical itself' the_mirror_is_canonical
test_case 'many bad ones, then a stale one' many_bad_ones
test_case 'none but bad ones' only_bad_ones
test_done
