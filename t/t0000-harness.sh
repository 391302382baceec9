#!/bin/sh
# The harness itself: a failed case is reported, an assertion can fail, what the
# servers send is counted, the bad mirrors are bad.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

# A script made of this harness, with one case; its TAP goes to "tap".
script_with () { # <body of the case>
	mkdir -p inner
	cp "$T"/lib*.sh inner
	ln -sfn "$HELPER" inner/helper
	{
		echo '. "$(dirname "$0")/lib.sh"'
		echo "body () { $1; }"
		echo 'test_case inner body'
		echo test_done
	} >inner/script.sh
	GMF_BIN_DIR=$BIN sh inner/script.sh >tap
}

a_failing_command_fails_the_case () {
	assert_fails script_with 'false; true'
	assert_contains '^not ok 1 - inner' tap
	script_with 'true'
	assert_contains '^ok 1 - inner' tap
	assert_contains '^1..1$' tap
}

assertions_can_fail () {
	git init -q repo
	git -C repo commit -q --allow-empty -m one
	git init -q other
	git -C other commit -q --allow-empty -m two
	echo text >file
	echo >broken
	while read -r claim; do
		if (eval "$claim") >/dev/null 2>&1; then fail "it holds: $claim"; fi
	done <<-'END'
	assert_eq a b
	assert_at_most 1 2 x
	assert_at_least 2 1 x
	assert_contains absent file
	assert_lacks text file
	assert_same_file file broken
	assert_fails true
	assert_refs_equal repo other
	assert_objects_equal repo other
	END
}

leftovers_are_found () {
	git init -q left
	git -C left commit -q --allow-empty -m one
	assert_no_leftovers left
	for name in objects/pack/tmp_pack_x objects/tmp_obj_x objects/incoming-x objects/pack/pack-1.keep \
		refs/heads/main.lock shallow.lock mirror-quarantine; do
		touch "left/.git/$name"
		if (assert_no_leftovers left) >/dev/null; then fail "not found: $name"; fi
		rm "left/.git/$name"
	done
	git -C left update-ref refs/mirror/host/heads/main HEAD
	if (assert_no_leftovers left) >/dev/null; then fail 'not found: a mirror ref'; fi
	assert_no_leftovers left except-refs
}

damage_is_found () {
	git clone -q --no-local srv/canonical.git damaged
	assert_fsck_clean damaged
	git -C damaged unpack-objects -q <"$(echo damaged/.git/objects/pack/*.pack)"
	mv damaged/.git/objects/pack pack
	mkdir damaged/.git/objects/pack
	git -C damaged unpack-objects -q <"$(echo pack/*.pack)"
	assert_fsck_clean damaged
	tree=$(git -C damaged rev-parse 'HEAD~5^{tree}')
	rm -f "damaged/.git/objects/$(echo "$tree" | sed 's,^..,&/,')"
	if (assert_fsck_clean damaged) >/dev/null; then fail 'a missing tree is not found'; fi
	if (assert_objects_equal srv/canonical.git damaged) >/dev/null 2>&1; then
		fail 'a missing tree is not missed'
	fi
}

answers_are_counted () { # <transport>
	forget_traffic
	url=$(counted_url_for "$1" canonical.git)
	rm -rf counted
	case $1 in
	path) git clone -q --no-local -u "$upload_pack" "$url" counted ;;
	*) git clone -q "$url" counted ;;
	esac
	cat "$LOG/answers" "$LOG/packs"
	assert_eq 1 "$(canonical_ref_lists)" 'ref lists'
	pack=$(packed_by canonical.git)
	assert_at_least 100000 "$pack" 'size of the pack'
	assert_at_least "$pack" "$(canonical_sent)" 'bytes sent'
	assert_at_most $((pack + 4096)) "$(canonical_sent)" 'bytes sent'
	forget_traffic
	git -C counted fetch -q
	assert_eq 0 "$(canonical_sent)" 'bytes sent for nothing'
}

plain_git_fails_at () { # <repo>
	rm -rf bad
	assert_fails git clone -q --no-local "srv/$1" bad
}

plain_git_accepts () { # <repo>
	rm -rf good
	git clone -q --no-local "srv/$1" good
	assert_fsck_clean good
}

link_with () { # <name> <fault>...
	name=$1
	shift
	chaos "$name" --to "$git_port" "$@"
	rm -rf linked
	assert_fails timeout 2 git clone -q "git://127.0.0.1:$(chaos_port "$name")/canonical.git" linked
}

link_without_fault () {
	chaos none --to "$git_port"
	git clone -q "git://127.0.0.1:$(chaos_port none)/canonical.git" linked
	assert_fsck_clean linked
}

link_without_version () {
	chaos v0 --to "$git_port" --strip-version
	GIT_TRACE_PACKET=$TRASH/trace git ls-remote "git://127.0.0.1:$(chaos_port v0)/canonical.git" >list
	assert_lacks 'version 2$' trace
	git ls-remote srv/canonical.git >expected
	assert_same_file expected list
}

silence () { # <transport>
	assert_fails timeout 2 git ls-remote "$(silent_url "$1")"
}

make_canonical_and_mirrors "$TRASH/srv" >"$LOG/make" 2>&1
for transport in path git http https ssh; do
	start_server $transport "$TRASH/srv"
done

test_case 'a failing command fails the case' a_failing_command_fails_the_case
test_case 'every assertion can fail' assertions_can_fail
test_case 'what a seed may leave behind is found' leftovers_are_found
test_case 'a hole in the history is found' damage_is_found
for transport in path git http https ssh; do
	test_case "$transport: answers are counted" answers_are_counted $transport
done
for mirror in hole cut flipped refusing; do
	test_case "plain git fails at $mirror.git" plain_git_fails_at $mirror.git
done
for mirror in fresh stale ahead diverged extra late; do
	test_case "plain git accepts $mirror.git" plain_git_accepts $mirror.git
done
test_case 'a link without a fault' link_without_fault
test_case 'a link that cuts' link_with cut --cut 9000
test_case 'a link that flips a bit' link_with flip --flip 9000
test_case 'a link that goes silent' link_with stall --stall 9000
test_case 'a link that is slow' link_with rate --rate 1000
test_case 'a link that hides protocol v2' link_without_version
for transport in git http https ssh; do
	test_case "$transport: silence" silence $transport
done
test_done
