#!/bin/sh
# What a person sees on stderr: who sent how much, why a mirror was left, and
# never a password.
. "$(dirname "$0")/lib.sh"
transport=http
. "$T/lib-scenario.sh"

one_closing_line () {
	a_client "$(url_for http fresh.git)"
	fetch got
	cat got.err
	assert_eq 1 "$(grep -c '^mirror: .* from .*; .* from canonical .*; .* s$' got.err)" 'closing lines'
	assert_contains '^mirror: [0-9.]+ KiB from 127\.0\.0\.1:' got.err
	assert_eq 0 "$(grep -c -i warning got.err || :)" 'warnings'
}

a_warning_per_mirror_left () {
	a_client "$(url_for http-forbidden fresh.git)" "$(url_for http hole.git)" "$(url_for http fresh.git)"
	fetch got
	cat got.err
	assert_eq 2 "$(grep -c '^warning: mirror 127\.0\.0\.1.* left: .' got.err)" 'warnings'
}

nothing_when_quiet () {
	a_client "$(url_for http fresh.git)"
	fetch got --quiet
	assert_lacks . got.err
	rm -rf got
	clone got -q $(as_arguments "$(url_for http fresh.git)")
	assert_lacks . got.err
}

nothing_on_stdout () {
	a_client "$(url_for http fresh.git)"
	fetch got --verbose
	test ! -s got.out || fail 'something on stdout'
	assert_contains 'mirror: asking 127\.0\.0\.1' got.err
}

progress_only_if_asked_for () {
	a_client "$(url_for http late.git)"
	fetch got
	assert_lacks '[0-9]+%' got.err
	a_client "$(url_for http late.git)"
	fetch got --progress
	tr '\r' '\n' <got.err >lines
	cat lines
	assert_contains 'mirror.*[0-9]' lines
	assert_at_least 2 "$(grep -c -i 'mirror' lines)" 'lines about the mirror'
}

no_password () {
	secret=hunter2
	url=$(url_for http fresh.git | sed "s,//,//user:$secret@,")
	locked=$(url_for http-locked fresh.git | sed "s,//,//user:$secret@,")
	a_client "$locked" "$url"
	GIT_MIRROR_TRACE=$TRASH/trace
	export GIT_MIRROR_TRACE
	fetch got --verbose --progress
	cat got.err
	assert_lacks "$secret" got.err
	assert_contains '^mirror: ' got.err
	assert_lacks "$secret" trace
	git -C got mirror list >list 2>&1
	assert_lacks "$secret" list
	assert_contains '127\.0\.0\.1' list
	assert_fails grep -r -q "$secret" got/.git/mirror-fetch
}

a_trace_on_stderr () {
	a_client "$(url_for http fresh.git)"
	GIT_MIRROR_TRACE=1 fetch got
	lines=$(grep -c . got.err)
	a_client "$(url_for http fresh.git)"
	fetch got
	assert_at_least $(($(grep -c . got.err) + 3)) "$lines" 'lines with GIT_MIRROR_TRACE=1'
}

a_trace_in_a_file () {
	a_client "$(url_for http fresh.git)"
	rm -f trace
	GIT_MIRROR_TRACE=$TRASH/trace fetch got
	test -s trace || fail 'no log'
	assert_fetched
}

# A mirror's own words are shown, its control characters are not.
no_control_characters () {
	perl -MIO::Socket::INET -e '
		my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 0, Listen => 5);
		open my $f, ">", $ARGV[0]; print {$f} $l->sockport; close $f;
		while (my $c = $l->accept) {
			sysread $c, my $x, 4096;
			my $m = "ERR \e]0;owned\a\e[31mred\r\n  second line\n";
			syswrite $c, sprintf("%04x", 4 + length $m) . $m;
			close $c;
		}' "$TRASH/rude-port" &
	rude=$!
	while ! test -s rude-port; do sleep 0.1; done
	a_client "git://127.0.0.1:$(cat rude-port)/x"
	fetch got || :
	kill "$rude"
	assert_fetched
	assert_contains '^warning: mirror' got.err
	if LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" got.err; then fail 'a control character'; fi
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'one closing line' one_closing_line
test_case 'a warning for each mirror that was left' a_warning_per_mirror_left
test_case 'nothing with -q' nothing_when_quiet
test_case 'nothing on stdout' nothing_on_stdout
test_case 'progress only if asked for' progress_only_if_asked_for
test_case 'no password' no_password
test_case 'a log on stderr' a_trace_on_stderr
test_case 'a log in a file' a_trace_in_a_file
test_case 'no control characters' no_control_characters
test_done
