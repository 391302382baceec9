#!/bin/sh
# Transfers that break off: what came is kept, the rest is asked for by id, and
# the result is that of plain git.
. "$(dirname "$0")/lib.sh"
transport=git
. "$T/lib-scenario.sh"

# A pack travels in packets of 64 KiB, so these repositories are larger than those of other scripts.
make_large_ones () {
	cp -a srv/canonical.git srv/old-large.git
	grow srv/old-large.git main 1600 20
	tag srv/old-large.git v10 main~10
	cp -a srv/old-large.git srv/large.git
	grow srv/large.git main 1600 21
	grow srv/large.git main 700 22
	grow srv/large.git topic 300 23
	tag srv/large.git v11 main~300
	rm -rf srv/canonical.git
	cp -a srv/large.git srv/canonical.git
	clone plain-clone
	canonical_sent >plain-clone.sent
	client_of old-large.git client
	cp -a client plain-fetch
	fetch plain-fetch
	canonical_sent >plain-fetch.sent
	cat plain-clone.sent plain-fetch.sent
	assert_at_least 1200000 "$(cat plain-fetch.sent)" 'incremental fetch, plain'
	assert_at_least 2400000 "$(cat plain-clone.sent)" 'clone, plain'
}

# mirror <name> [<lie>]: a copy of large.git of which pack-objects says what it is told to.
mirror () {
	rm -rf "srv/$1.git"
	cp -a srv/large.git "srv/$1.git"
	test -z "${2:-}" || echo "$2" >"srv/$1.git/lie"
}

# A mirror behind a link that counts what passes, as "mirror".
link () { # <name> <repository> <fault>...
	local name="$1" repo="$2"
	shift 2
	chaos "$name" --to "$git_port" --contacts "$LOG/contacts" --count "$LOG/answers" mirror "$@"
	echo "git://127.0.0.1:$(chaos_port "$name")/$repo" >url
}

# Bytes that came through the links, refs and all.
mirror_sent () {
	touch "$LOG/answers"
	awk '$1 == "mirror" { sum += $3 } END { print sum + 0 }' "$LOG/answers"
}

percent_of () { # <percent> clone|fetch
	echo $(($(cat "plain-$2.sent") * $1 / 100))
}

# clone_or_fetch clone|fetch <url>...: with these mirrors, into "got".
clone_or_fetch () {
	local what="$1"
	shift
	if test "$what" = clone; then
		rm -rf got got.out got.err
		clone got $(as_arguments "$@")
	else
		a_client "$@"
		fetch got
	fi
	cat got.err
	assert_no_helper_left
	assert_result_is_plain "plain-$what" got
	assert_objects_equal "plain-$what" got
}

# --- the link breaks, and the same mirror gives the rest ---

cut_once () { # clone|fetch <percent> [<percent of plain's bytes that the mirror may send>]
	link "$1$2${3:-}" large.git --cut "$(percent_of "$2" "$1")" --once
	clone_or_fetch "$1" "$(cat url)"
	assert_eq 2 "$(grep -c . "$LOG/contacts")" 'contacts with the mirror'
	assert_eq 0 "$(canonical_sent)" 'bytes from canonical'
	echo "the mirror sent $(mirror_sent) of $(cat "plain-$1.sent")"
	assert_at_most "$(percent_of "${3:-112}" "$1")" "$(mirror_sent)" 'bytes from the mirror'
}

# Trees that are wanted then bring what they lead to.
cut_once_without_filter () { # clone|fetch <percent> <percent of plain's bytes that the mirror may send>
	git -C srv/large.git config uploadpack.allowFilter false
	cut_once "$@"
}

# Each connection gives so much and no more.
cut_each_time () { # clone|fetch <percent>
	git -C srv/large.git config uploadpack.allowFilter true
	link "each$1" large.git --cut "$(percent_of "$2" "$1")"
	clone_or_fetch "$1" "$(cat url)"
	assert_eq 0 "$(canonical_sent)" 'bytes from canonical'
	grep -c . "$LOG/contacts"
	assert_at_least 3 "$(grep -c . "$LOG/contacts")" 'contacts with the mirror'
}

# Nothing to build on: it is left, and not asked for ever.
cut_too_early () {
	link early large.git --cut 60000
	clone_or_fetch clone "$(cat url)"
	assert_eq 1 "$(grep -c . "$LOG/contacts")" 'contacts with the mirror'
	assert_contains 'warning: mirror' got.err
}

# --- another one gives the rest ---

next_mirror_completes () { # clone|fetch <percent>
	mirror short "truncate $(percent_of "$2" "$1")"
	clone_or_fetch "$1" "$(url_for git short.git)" "$(url_for git large.git)"
	assert_contains 'warning: mirror .* left: it broke off after' got.err
	assert_eq 0 "$(canonical_sent)" 'bytes from canonical'
	assert_at_most "$(percent_of $((112 - $2)) "$1")" "$(packed_by large.git)" 'bytes from the second mirror'
	assert_at_least 1 "$(packed_by large.git)" 'bytes from the second mirror'
}

canonical_completes () { # clone|fetch <percent>
	mirror short "truncate $(percent_of "$2" "$1")"
	clone_or_fetch "$1" "$(url_for git short.git)"
	assert_at_most "$(percent_of $((112 - $2)) "$1")" "$(canonical_sent)" 'bytes from canonical'
	assert_at_least 1 "$(canonical_sent)" 'bytes from canonical'
}

silent_mirror () { # clone|fetch <percent>
	link "silent$1" large.git --stall "$(percent_of "$2" "$1")"
	git config --global mirror.idleTimeout 2
	clone_or_fetch "$1" "$(cat url)"
	git config --global --unset mirror.idleTimeout
	assert_eq 1 "$(grep -c . "$LOG/contacts")" 'contacts with the mirror'
	assert_contains 'silent for' got.err
	assert_at_most "$(percent_of 60 "$1")" "$(canonical_sent)" 'bytes from canonical'
}

# A second mirror that lags is asked as ever, and canonical completes what is left.
stale_mirror_between () {
	mirror short "truncate $(percent_of 75 clone)"
	clone_or_fetch clone "$(url_for git short.git)" "$(url_for git old-large.git)"
	assert_at_least 1 "$(packed_by old-large.git)" 'bytes from the second mirror'
	assert_at_most "$(percent_of 50 clone)" "$(canonical_sent)" 'bytes from canonical'
}

# --- what is not kept ---

damaged () { # clone|fetch <percent>
	mirror flipped "flip $(percent_of "$2" "$1")"
	clone_or_fetch "$1" "$(url_for git flipped.git)"
	assert_contains 'warning: mirror .* left: its pack is damaged' got.err
	assert_at_least "$(percent_of 95 "$1")" "$(canonical_sent)" 'bytes from canonical'
}

# Who is to give the rest lacks a part of it: nothing is taken for complete.
the_rest_has_a_hole () { # clone|fetch
	mirror short "truncate $(percent_of 75 "$1")"
	lost=$(git -C srv/large.git rev-parse main~2200:dir0/file0)
	mirror lossy "drop $lost"
	clone_or_fetch "$1" "$(url_for git short.git)" "$(url_for git lossy.git)"
	assert_at_least 1 "$(packed_by lossy.git)" 'bytes from the second mirror'
	git -C got cat-file -e "$lost"
}

# Canonical does not give the rest on that connection; then it gives all on git's own.
canonical_refuses () {
	mirror short "truncate $(percent_of 75 clone)"
	echo 'die 300000' >srv/canonical.git/lie
	rm -rf got
	clone got $(as_arguments "$(url_for git short.git)") || :
	rm srv/canonical.git/lie
	cat got.err
	assert_no_helper_left
	clone_or_fetch clone "$(url_for git short.git)"
}

# The tags that follow are asked for last, on the same connection: what came before them is kept.
tags_break_off () {
	git -C srv/large.git config uploadpack.allowFilter true
	link whole large.git
	clone_or_fetch fetch "$(cat url)"
	all=$(mirror_sent)
	broke=0
	# Messages for people, on the same connection, differ in length.
	for back in 100 170 240 310 380; do
		link tags$back large.git --cut $((all - back))
		clone_or_fetch fetch "$(cat url)"
		assert_at_most "$allowance" "$(canonical_sent)" 'bytes from canonical'
		test "$(canonical_sent)" = 0 || broke=$((broke + 1))
	done
	assert_at_least 1 $broke 'times that the tags broke off'
}

# Canonical hangs where plain git would not have connected to it: it is asked on git's own connection.
canonical_hangs_beside () {
	printf '#!/bin/sh\necho x >>"%s/beside"\n' "$TRASH" >bin/first-only
	printf 'test "$(wc -l <"%s/beside")" = 1 || exec sleep 1000\nexec git upload-pack "$@"\n' "$TRASH" >>bin/first-only
	chmod +x bin/first-only
	mirror short "truncate $(percent_of 90 fetch)"
	a_client "$(url_for git short.git)"
	git -C got config remote.origin.url "$TRASH/srv/canonical.git"
	git -C got config remote.origin.uploadpack "$TRASH/bin/first-only"
	git config --global mirror.responseTimeout 2
	local before="$(date +%s)"
	fetch got || { cat got.err; fail fetch; }
	git config --global --unset mirror.responseTimeout
	assert_eq 2 "$(grep -c . beside)" 'connections to canonical'
	assert_at_most 40 $(($(date +%s) - before)) seconds
	assert_objects_equal plain-fetch got
	assert_no_helper_left
}

# A server that takes no filter, behind a box that cuts each connection: it is asked some times, not thousands.
cut_for_ever () { # clone|fetch <bytes>
	git -C srv/large.git config uploadpack.allowFilter false
	link "box$1$2" large.git --cut "$2"
	clone_or_fetch "$1" "$(cat url)"
	grep -c . "$LOG/contacts"
	assert_at_most 21 "$(grep -c . "$LOG/contacts")" 'contacts with the mirror'
	git -C srv/large.git config uploadpack.allowFilter true
}

test_case 'plain git, the measure' make_large_ones
test_case 'the tags that follow break off' tags_break_off
test_case 'canonical hangs beside git' canonical_hangs_beside
for what in clone fetch; do
	for percent in 25 75 90; do
		test_case "$what, cut once at $percent %" cut_once $what $percent
	done
	test_case "$what, cut once at 50 %, no filter" cut_once_without_filter $what 50 165
	test_case "$what, cut once at 90 %, no filter" cut_once_without_filter $what 90 140
	test_case "$what, each connection cut" cut_each_time $what 40
	test_case "$what, 75 %, then the next mirror" next_mirror_completes $what 75
	test_case "$what, 90 %, then canonical" canonical_completes $what 90
	test_case "$what, silent after 90 %" silent_mirror $what 90
	test_case "$what, damaged" damaged $what 60
	test_case "$what, the rest has a hole" the_rest_has_a_hole $what
done
for bytes in 100000 200000 700000; do
	test_case "clone, cut after $bytes bytes for ever" cut_for_ever clone $bytes
done
test_case 'clone, cut too early' cut_too_early
test_case 'clone, a stale mirror in between' stale_mirror_between
test_case 'clone, canonical fails' canonical_refuses
test_done
