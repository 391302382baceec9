#!/bin/sh
# lib-hostile-cases.sh - whatever canonical answers, the fetch completes; see
# lib-hostile.sh.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-hostile.sh"

start_hostile
if test "$transport" = ssh; then
	good=ssh://localhost$srv/good.git
else
	start_git_daemon "$srv"
	good=git://127.0.0.1:$git_port/good.git
fi

# The lies work at all: an honest answer in the same way is learned, and a clone
# without a list asks nothing.
an_honest_answer () {
	in_spite_of '' packets "mirror $good" 'more-mirrors 3' 'unheard-of line' 'prefer-mirror always'
	assert_lacks warning: got.err
	assert_eq "$good" "$(git -C got config remote.origin.listedMirror)" listedMirror
	assert_eq 3 "$(git -C got config remote.origin.moreMirrors)" moreMirrors
	assert_eq true "$(git -C got config remote.origin.preferMirror)" preferMirror
}

bad_urls () {
	one_is_refused 'only https' 'ext::sh'
	one_is_refused 'only https' "ext::sh%20-c%20touch%20$TRASH/owned"
	one_is_refused 'only https' 'file:///etc'
	one_is_refused 'only https' "$srv/good.git"
	one_is_refused 'only https' "--upload-pack=touch\${IFS}$TRASH/owned"
	one_is_refused 'only https' '-x'
	one_is_refused 'only https' 'localhost:good.git'
	one_is_refused 'host' 'ssh://-oProxyCommand=x/'
	one_is_refused 'host' "ssh://-oProxyCommand=touch%20$TRASH/owned/good.git"
	one_is_refused 'password' 'https://user:secret@mirror.example/good.git'
	one_is_refused 'user name' 'https://secret@mirror.example/good.git'
	one_is_refused 'encoded control' 'https://mirror.example/%0aurl=x'
	one_is_refused 'encoded control' 'https://mirror.example/%1b%5b2J'
	test "$transport" = path || one_is_refused 'the server that lists it' "$canonical"
	test ! -e owned || fail 'a command ran'
}

# The whole answer is broken: nothing of it is used.
control_characters () {
	nothing_is_learned 'control' packets "mirror $good" 'mirror https://mirror.example/\x00x' 'prefer-mirror always'
	nothing_is_learned 'control' packets "mirror $good" 'mirror https://mirror.example/\x0a[core]\x0afsmonitor=x'
	nothing_is_learned 'control' packets "mirror $good" 'mirror https://mirror.example/\x1b[2J\x1b]0;owned\x07'
	nothing_is_learned 'control' packets 'canonical \x1b[31m' "mirror $good"
	nothing_is_learned 'control' packets "mirror $good" '\x7f'
}

not_ascii () {
	in_spite_of '' packets 'mirror https://mirror.example/\xe2\x80\xae\x9b2J' 'prefer-mirror \xc2\x9b2J'
	git -C got config --get-all remote.origin.listedMirror >learned || :
	assert_printable learned
}

ten_thousand () {
	{
		echo packets
		seq 10000 | sed 's,.*,mirror https://m&.example/good.git,'
	} >many
	cp many "$srv/canonical.git/lies"
	nothing_is_learned 'mirrors|longer' $(sed -n '1p' many) "$(sed '1d' many)"
	assert_at_most 3 "$(grep -c warning got.err)" warnings
}

# Sixty-four that are all refused are not sixty-four lines.
many_refused () {
	in_spite_of 'more listed mirrors' packets "$(seq 64 | sed 's,.*,mirror ext::x&,')"
	assert_at_most 7 "$(grep -c warning got.err)" warnings
}

never_ends () {
	nothing_is_learned 'longer|mirrors' endless "mirror $good"
	nothing_is_learned 'longer' endless 'unheard-of'
}

long_lines () {
	nothing_is_learned 'longer' packets "mirror https://mirror.example/$(printf '%060000d' 0)" "mirror $(printf '%060000d' 0)"
	# A URL that is too long is no reason to refuse the others.
	in_spite_of '' packets "mirror https://mirror.example/$(printf '%05000d' 0)" "mirror $good"
	assert_eq "$good" "$(git -C got config --get-all remote.origin.listedMirror)" listedMirror
}

says_err () {
	nothing_is_learned 'go away' packets "mirror $good" 'ERR go away\x1b[2J\x0aplease'
}

garbage () {
	nothing_is_learned '.' raw 'this is no packet' 'zzzz\x00\x1b[2J'
	nothing_is_learned '.' raw '\xff\xff\xff\xff'
	nothing_is_learned '.' raw '0003'
	nothing_is_learned '.' raw "0010mirror x"
	nothing_is_learned '.' raw '0001'
}

hangs_up () {
	nothing_is_learned '.' close "mirror $good" 'prefer-mirror always'
	nothing_is_learned '.' raw ''
}

# What was learned before stays, and nothing is asked again until there is another list.
after_an_honest_one () {
	an_honest_answer
	rm -rf honest
	mv got honest
	lies close 'mirror https://mirror.example/x'
	cp -a honest got
	git -C got fetch 2>got.err
	assert_contains 'warning:' got.err
	assert_same_file honest/.git/config got/.git/config
	: >"$LOG/lied"
	git -C got fetch 2>got.err
	assert_lacks warning: got.err
	assert_lacks asked "$LOG/lied"
}

# Each is given ten seconds; both at the same time.
slow_ones () {
	local kind began="$(date +%s)" pids= pid
	for kind in hang trickle; do
		rm -rf "$srv/$kind.git" "$kind"
		cp -a "$srv/canonical.git" "$srv/$kind.git"
		printf '%s\n' $kind "mirror $good" >"$srv/$kind.git/lies"
		cp -a client $kind
		git -C $kind config remote.origin.url "$(echo "$canonical" | sed "s,canonical.git,$kind.git,")"
		cp $kind/.git/config $kind.config
		git -C $kind fetch 2>$kind.err &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait $pid || { cat hang.err trickle.err; fail 'git fetch'; }
	done
	assert_at_least 9 $(($(date +%s) - began)) 'seconds of patience'
	assert_at_most 40 $(($(date +%s) - began)) seconds
	for kind in hang trickle; do
		rm -rf got
		mv $kind got
		mv $kind.err got.err
		fetched_in_spite 'no answer within'
		assert_same_file $kind.config got/.git/config
	done
}

a_clone () {
	lies endless 'mirror ext::x'
	rm -rf got
	git clone --no-local ${upload_pack:+-u "$upload_pack"} -c remote.origin.vcs=mirror "$canonical" got 2>got.err ||
		{ cat got.err; fail 'git clone'; }
	cat got.err
	assert_contains '^warning:' got.err
	git clone -q --no-local "$srv/canonical.git" plain-clone
	assert_refs_equal plain-clone got
	assert_fsck_clean got
	assert_no_leftovers got
	assert_nothing_runs
	assert_eq '' "$(git -C got config --get-all remote.origin.listedMirror)" listedMirror
}

# Over ssh nobody listens; git:// and http:// would change that.
plaintext () {
	local plain
	for plain in git://localhost:1/good.git http://localhost:1/good.git; do
		one_is_refused 'not encrypted' "$plain"
	done
	start_git_daemon "$srv"
	plain=git://localhost:$git_port/good.git
	git -C client config mirror.allowProtocol 'git ssh'
	in_spite_of '' packets "mirror $plain" 'prefer-mirror always'
	git -C client config --unset mirror.allowProtocol
	assert_eq "$plain" "$(git -C got config remote.origin.listedMirror)" listedMirror
	# What is allowed no more is not used, listed or not.
	git -C got config --unset mirror.allowProtocol
	grow "$srv/canonical.git" main 1 70
	git -C "$srv/good.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	forget_traffic
	git -C got fetch 2>got.err
	cat got.err
	assert_contains 'not encrypted' got.err
	assert_eq 0 "$(packed_by good.git)" 'bytes of packs from the mirror'
}

test_case "$transport: an honest answer, the measure" an_honest_answer
test_case "$transport: URLs that mean harm" bad_urls
test_case "$transport: control characters" control_characters
test_case "$transport: what is not ASCII" not_ascii
test_case "$transport: 10,000 mirrors" ten_thousand
test_case "$transport: 64 bad mirrors" many_refused
test_case "$transport: an answer that never ends" never_ends
test_case "$transport: lines that are too long" long_lines
test_case "$transport: an error packet" says_err
test_case "$transport: garbage" garbage
test_case "$transport: canonical hangs up" hangs_up
test_case "$transport: after an honest answer" after_an_honest_one
test_case "$transport: while cloning" a_clone
test_case "$transport: canonical is silent, or trickles" slow_ones
test "$transport" != ssh || test_case "$transport: mirrors in plaintext" plaintext
test_done
