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
	assert_eq 1 "$(grep -c '^mirror: .* gave .*, canonical .*; .* s$' got.err)" 'closing lines'
	assert_contains '^mirror: 127\.0\.0\.1:[0-9]+ gave [0-9.]+ KiB \([0-9]+%\), canonical [0-9]+ bytes; ' got.err
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
	assert_lacks '[0-9]+% \(' got.err
	a_client "$(url_for http late.git)"
	COLUMNS=120 fetch got --progress
	tr '\r' '\n' <got.err >lines
	cat lines
	# It names the mirror, and ends at 100 %, be the transfer as short as it may.
	assert_contains '^mirror 127\.0\.0\.1:[0-9]+: Receiving objects: 100% \(([0-9]+)/\1\), .*, done\. *$' lines
	assert_contains '^mirror 127\.0\.0\.1:[0-9]+: Checking connectivity, done\. *$' lines
	assert_eq 0 "$(grep 'objects: .*done' lines | grep -v -c 100%)" 'lines that end before 100 %'
	assert_at_least 2 "$(grep -c -i 'mirror' lines)" 'lines about the mirror'
}

# On a narrow terminal the title has a line of its own, as git does it; where a transfer breaks off, nothing says "done".
progress_fits_the_terminal () {
	a_client "$(url_for http late.git)"
	COLUMNS=40 fetch got --progress
	tr '\r' '\n' <got.err >lines
	cat lines
	assert_contains '^  100% \(([0-9]+)/\1\), .*, done\. *$' lines
	a_client "$(url_for http cut.git)" "$(url_for http fresh.git)"
	COLUMNS=120 fetch got --progress
	tr '\r' '\n' <got.err >lines
	cat lines
	sed '/^warning: mirror/q' lines | grep 'Receiving objects: ' >broken
	assert_lacks 'done' broken
}

# Several gave something: one line that fits, and with -v one for each.
closing_lines_fit () {
	a_client "$(url_for http stale.git)" "$(url_for http fresh.git)"
	git -C got config mirror.mustPay false
	fetch got --verbose
	cat got.err
	if grep -q '^mirror: 2 mirrors gave' got.err; then
		assert_eq 2 "$(grep -c '^mirror: .* from 127\.0\.0\.1' got.err)" 'lines of single mirrors'
	fi
	assert_contains '^mirror: .* gave ' got.err
	assert_eq 0 "$(grep '^mirror: ' got.err | awk 'length($0) > 80' | grep -c .)" 'lines beyond 80 columns'
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

# A mirror's own words are shown; what could deceive is not: control characters, escapes, marks that turn the reading
# order round, what is invisible, what ends a line elsewhere.
rude_words='\x{1b}]0;owned\x{7}\x{1b}[31mred\x{8}\x{7f}|\x{85}\x{9b}2J\x{9d}|\x{202e}\x{202a}\x{2066}\x{2069}\x{200f}\x{61c}|'
rude_words="$rude_words"'\x{200b}\x{200d}\x{feff}\x{ad}\x{e0041}|\x{2028}\x{2029}\r\n  second line'

rude_mirror () { # sets $rude_port: a server of git:// that has nothing but such words
	perl -MIO::Socket::INET -MEncode -e '
		my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 0, Listen => 5);
		open my $f, ">", $ARGV[0]; print {$f} $l->sockport; close $f;
		while (my $c = $l->accept) {
			sysread $c, my $x, 4096;
			my $m = encode("UTF-8", "ERR '"$rude_words"' " . "x" x 3000 . "\n");
			syswrite $c, sprintf("%04x", 4 + length $m) . $m;
			close $c;
		}' "$TRASH/rude-port" &
	echo $! >>"$LOG/pids"
	while ! test -s rude-port; do sleep 0.1; done
	rude_port=$(cat rude-port)
}

assert_safe () { # <file>: each line is short, and nothing in it deceives
	perl -CSD -ne '
		chomp;
		die "line $.: a character that deceives\n" if /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\x{34f}\x{115f}\x{1160}\x{3164}\x{ffa0}\x{fe00}-\x{fe0f}]/;
		die "line $.: " . length() . " characters\n" if length > 700;' "$1" || { cat -v "$1"; fail "$1 is not safe"; }
}

nothing_that_deceives () {
	rude_mirror
	a_client "git://127.0.0.1:$rude_port/x"
	GIT_MIRROR_TRACE=$TRASH/rude-trace fetch got
	assert_fetched
	assert_contains '^warning: mirror .* left: .*red' got.err
	assert_safe got.err
	# Not in the log, where a line may be long, nor where it is kept, nor shown later.
	fold -w 600 rude-trace >rude-folded
	assert_contains 'red' rude-folded
	assert_safe rude-folded
	for file in got/.git/mirror-fetch/state.toml "$HOME/.cache/git-mirror-fetch/hosts.toml"; do
		assert_contains 'red' "$file"
		assert_safe "$file"
	done
	for option in '' -v --json; do
		git -C got mirror list $option >list 2>&1
		assert_safe list
	done
	assert_contains 'red' list
	git mirror ask "git://127.0.0.1:$rude_port/x" >asked 2>&1 && fail 'an answer'
	assert_safe asked
}

# What an earlier version has kept as it came.
nothing_that_deceives_from_of_old () {
	a_client 'git://127.0.0.1:1/x'
	# What came of it is in state.toml then.
	git -C got fetch 2>got.err
	cp got/.git/mirror-fetch/state.toml state.toml
	a_client 'git://127.0.0.1:1/x'
	mkdir -p got/.git/mirror-fetch "$HOME/.cache/git-mirror-fetch"
	cp state.toml got/.git/mirror-fetch/state.toml
	perl -CSD -e '
		my $text = "'"$rude_words"'" =~ s/([\x00-\x1f\x7f"\\])/sprintf "\\u%04x", ord $1/egr;
		open my $in, "<:utf8", $ARGV[0];
		my $state = join "", <$in>;
		$state =~ s/^result = .*/result = "old $text"/m or die "no result in $state";
		open my $f, ">:utf8", $ARGV[0];
		print {$f} $state;
		open my $h, ">:utf8", $ARGV[1];
		print {$h} "seed = 1\n[host.\"git://127.0.0.1:1\"]\nused = " . time . "\n",
			"[host.\"git://127.0.0.1:1\".backoff]\nfailures = 1\nuntil = " . (time + 50) . "\nwhy = \"why $text\"\n";
	' got/.git/mirror-fetch/state.toml "$HOME/.cache/git-mirror-fetch/hosts.toml"
	for option in '' -v --json; do
		git -C got mirror list $option >list 2>&1
		cat -v list
		assert_safe list
	done
	git -C got mirror list -v >list 2>&1
	assert_contains 'old .*red' list
	assert_contains 'why .*red' list
	git -C got fetch --verbose 2>got.err
	assert_contains 'is not asked: left alone for .*red' got.err
	assert_safe got.err
}

test_case 'plain git, the measure' plain_git_as_the_measure
test_case 'one closing line' one_closing_line
test_case 'a warning for each mirror that was left' a_warning_per_mirror_left
test_case 'nothing with -q' nothing_when_quiet
test_case 'nothing on stdout' nothing_on_stdout
test_case 'progress only if asked for' progress_only_if_asked_for
test_case 'progress fits the terminal' progress_fits_the_terminal
test_case 'closing lines fit' closing_lines_fit
test_case 'no password' no_password
test_case 'a log on stderr' a_trace_on_stderr
test_case 'a log in a file' a_trace_in_a_file
test_case 'nothing that deceives, of what a mirror says' nothing_that_deceives
test_case 'nothing that deceives, of what was kept' nothing_that_deceives_from_of_old
test_done
