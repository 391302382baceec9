#!/bin/sh
# git mirror serve: what it says, what it serves and what not, and its limits.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"
. "$T/lib-serve.sh"

get () { "$HELPER/ask" --get "$serve_http${1#/}"; }

# --- what it says ---

prints_urls () {
	cat "$LOG/serve.urls"
	assert_eq 2 "$(grep -c -E '^(http|git)://127\.0\.0\.1:[1-9][0-9]*/$' "$LOG/serve.urls")" 'URLs on stdout'
	assert_eq 2 "$(wc -l <"$LOG/serve.urls")" 'lines on stdout'
	assert_contains '^http:' "$LOG/serve.urls"
	git ls-remote "${serve_http}open.git" >/dev/null # it listens by now
}

refuses_to_start () {
	taken=${serve_http#http://}
	for arguments in "--listen https://127.0.0.1:0 srv" "--listen http://127.0.0.1:0 none" \
		"--listen http://127.0.0.1:0 --max-transfers 0 srv" "--listen http://${taken%/} srv" \
		"--listen http://127.0.0.1:0 outside.git/HEAD"; do
		code=0
		timeout 20 git-mirror serve $arguments >out 2>err || code=$?
		cat err
		case $code in
		128 | 129) ;;
		*) fail "exit code $code for $arguments" ;;
		esac
		assert_lacks . out
		assert_contains '^fatal: |^error: ' err
		assert_lacks panicked err
	done
}

health_and_metrics () {
	get -/health >answer
	printf 'HTTP 200\nok\n' | diff -u - answer
	before=$(metric serve 'http_requests_total{code="2xx"}')
	git ls-remote "${serve_http}open.git" >/dev/null
	after=$(metric serve 'http_requests_total{code="2xx"}')
	assert_at_least $((before + 3)) "$after" 'requests counted'
	assert_eq 0 "$(metric serve transfers_running)" 'transfers that run'
	get -/metrics >answer
	# Prometheus reads it: each value has a type.
	grep -v '^#\|^HTTP' answer | sed 's/[{ ].*//' | sort -u >names
	assert_at_least 5 "$(wc -l <names)" 'metrics'
	assert_contains '^git_mirror_memory_bytes [1-9][0-9]{6,}$' answer
	assert_contains '^git_mirror_room_used\{kind="transfers"\} 0$' answer
	while read -r name; do
		assert_contains "^# TYPE $name (counter|gauge)\$" answer
		assert_contains "^# HELP $name ." answer
	done <names
}

# What git sends itself counts as well: in all, by repository, and in the log.
counts_bytes () {
	for scheme in http git; do
		eval "url=\$serve_$scheme"
		case $scheme in http) name=http_body_bytes_total ;; git) name=git_bytes_total ;; esac
		for version in 2 0; do
			all=$(metric serve $name)
			own=$(metric serve 'repository_bytes_total{repository="large.git"}')
			rm -rf counted
			git -c protocol.version=$version clone -q --bare "${url}large.git" counted
			for attempt in $(seq 40); do
				now=$(metric serve 'repository_bytes_total{repository="large.git"}')
				test "$now" -lt $((${own:-0} + 20000000)) || break
				sleep 0.1
			done
			assert_at_least $((${own:-0} + 20000000)) "$now" "bytes of the repository, $scheme, v$version"
			assert_at_most $((${own:-0} + 21000000)) "$now" "bytes of the repository, $scheme, v$version"
			assert_at_least $((${all:-0} + 20000000)) "$(metric serve $name)" "bytes, $scheme, v$version"
		done
	done
	assert_contains '"POST /large\.git/git-upload-pack" "git/[^ ]* 200 20[0-9]{6} [0-9]+ms$' "$LOG/serve.log"
	assert_contains 'git "git-upload-pack /large\.git" 0 20[0-9]{6} [0-9]+ms$' "$LOG/serve.log"
	# However it is named, it is one repository.
	for name in large large.git/ /large.git large.git//; do
		git ls-remote "$serve_http$name" >/dev/null
	done
	get -/metrics >answer
	assert_eq 1 "$(grep -c '^git_mirror_repository_requests_total.*large' answer)" 'names of a repository'
}

# What may be cloned, and nothing else; each line does it.
lists_repositories () {
	odd=$(printf 'srv/o\377d <i>;$(id).git')
	cp -a srv/open.git "$odd"
	get / >answer
	assert_contains '^HTTP 200$' answer
	sed 1d answer >commands
	assert_lacks 'private|outside|HTTP|<' commands
	for name in open.git inside.git linked.git work team/a%20b.git 'o%FFd%20%3Ci%3E%3B%24%28id%29.git'; do
		grep -q -x -F "git clone $serve_http$name" commands || { cat commands; fail "$name is not listed"; }
	done
	rm -rf listed
	mkdir listed
	grep -E 'open|a%20b|%FF' commands >some
	while read -r command; do
		(cd listed && eval "$command --bare -q") || fail "$command"
	done <some
	assert_eq 3 "$(ls listed | wc -l)" 'clones'
	"$HELPER/ask" --header 'Accept: text/html,*/*' --get "$serve_http" >page
	assert_contains '<title>Repositories</title>' page
	assert_contains '&lt;i&gt;' page
	assert_lacks '<i>|private' page
	"$HELPER/ask" --get "$all_http" >answer
	assert_contains 'private' answer
	rm -rf "$odd"
}

logs () {
	git ls-remote "${serve_http}open.git" >/dev/null
	git ls-remote "${serve_git}open.git" >/dev/null
	sleep 0.2
	assert_contains '^20[0-9-]*T[0-9:]*.* 127\.0\.0\.1 "GET /open\.git/info/refs\?service=git-upload-pack" "git/.*" 200 ' \
		"$LOG/serve.log"
	assert_contains '127\.0\.0\.1 git "git-upload-pack /open\.git" 0 ' "$LOG/serve.log"
	# What a client sends enters the log escaped.
	"$HELPER/ask" --header "User-Agent: x\"$(printf '\t')y" "${serve_http}none" >/dev/null || :
	assert_lacks "$(printf '\t')" "$LOG/serve.log"
}

# --- what it serves ---

is_served () { # <server> <path>
	local http git
	eval "http=\$${1}_http git=\$${1}_git"
	git ls-remote "$http$2" >refs-http || fail "$2 over HTTP"
	git ls-remote "$git$2" >refs-git || fail "$2 over git://"
	assert_contains refs/heads/main refs-http
	assert_same_file refs-http refs-git
}

is_not_served () { # <server> <path as it goes over the wire>
	local http git
	eval "http=\$${1}_http git=\$${1}_git"
	"$HELPER/ask" "$http$2" >answer || :
	grep -q -x -E 'HTTP (404|400|403)' answer || { cat answer; fail "$2 over HTTP"; }
	assert_lacks 'version 2|refs/heads' answer
	"$HELPER/ask" --version 0 "$git$2" >answer 2>err || :
	assert_lacks 'version 2|refs/heads' answer
}

exports () {
	for path in open.git open 'team/a%20b.git' work work/.git inside.git; do
		case $path in
		*%20*) git ls-remote "$serve_http$path" | grep -q refs/heads/main ;; # git:// has no escapes
		*) is_served serve $path ;;
		esac
	done
	# A link is the operator's, as for git daemon.
	is_served serve linked.git
	for path in private.git none.git team '' . -/health; do
		is_not_served serve "$path"
	done
	is_served all private.git
	is_not_served all none.git
	assert_contains 'access denied or repository not exported: /none.git' answer
}

stays_below () {
	for server in serve all; do
		for path in ../outside.git open.git/../../outside.git ./../outside.git %2e%2e/outside.git \
			..%2foutside.git %2e%2e%2foutside.git open.git/%2e%2e/%2e%2e/outside.git //../outside.git \
			..%5coutside.git "$TRASH/outside.git" %2foutside.git open.git%00/../outside.git \
			-u %2d-upload-pack=id ~root; do
			is_not_served $server "$path"
		done
		# Nothing but what git asks for: no file.
		eval "http=\$${server}_http"
		for path in open.git/HEAD open.git/config open.git/objects/info/packs open.git/info/refs \
			'open.git/info/refs?service=git-receive-pack' open.git/git-upload-archive; do
			"$HELPER/ask" --get "$http$path" >answer
			grep -q -x -E 'HTTP (403|404|405)' answer || { cat answer; fail "$path"; }
		done
	done
}

# A file may have been checked out: it leads nowhere else, and is not read whole.
files_that_name_folders () {
	head -c 200000000 /dev/zero >srv/open.git/objects/pack/huge
	mkdir srv/tree.git
	cp srv/open.git/HEAD srv/tree.git
	touch srv/tree.git/git-daemon-export-ok
	echo ../../outside.git >srv/tree.git/commondir
	echo 'gitdir: ../outside.git' >srv/out.git
	echo "gitdir: $TRASH/outside.git" >srv/far.git
	echo 'gitdir: open.git' >srv/near.git
	mkfifo srv/pipe.git
	is_served all near.git
	before=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$all_pid/status")
	for path in out.git far.git tree.git pipe.git open.git/objects/pack/huge; do
		is_not_served all $path
	done
	grown=$(($(awk '$1 == "VmHWM:" { print $2 }' "/proc/$all_pid/status") - before))
	rm -rf srv/tree.git srv/out.git srv/far.git srv/near.git srv/pipe.git srv/open.git/objects/pack/huge
	assert_at_most 20000 $grown 'kB of memory for a large file'
}

# The address that a proxy has added last counts, in whichever line it is.
forwarded_twice () {
	write_list srv/open.git
	perl -MIO::Socket::INET -e '
		my ($url) = @ARGV;
		my ($where) = $url =~ m{//([^/]+)};
		my $body = "0013command=mirror\n00010000";
		my $socket = IO::Socket::INET->new($where) or die;
		print $socket join "\r\n", "POST /open.git/git-upload-pack HTTP/1.1", "Host: h", "Git-Protocol: version=2",
			"Content-Type: application/x-git-upload-pack-request", "X-Forwarded-For: 203.0.113.66",
			"X-Forwarded-For: 198.51.100.7", "Connection: close", "Content-Length: " . length $body, "", $body;
		print while <$socket>' "$proxied_http" >answer
	rm srv/open.git/mirrors.toml
	cat answer
	assert_contains '198\.51\.100\.7' answer
	assert_lacks '203\.0\.113\.66' answer
}

read_only () {
	"$HELPER/ask" --post --body-of 4 "${all_http}open.git/git-receive-pack" >answer
	assert_contains '^HTTP 403$' answer
	git clone -q "${all_git}open.git" pushing
	git -C pushing commit -q --allow-empty -m pushed
	for url in "${all_git}open.git" "${all_http}open.git"; do
		code=0
		git -C pushing push "$url" HEAD:refs/heads/pushed 2>err || code=$?
		cat err
		assert_eq 128 $code 'exit code'
	done
	git archive --remote="${all_git}open.git" main >/dev/null 2>err && fail 'an archive' || :
	git -C srv/open.git for-each-ref >refs
	assert_lacks pushed refs
}

# --- what it takes ---

too_large () {
	for options in '' --chunked --gzip; do
		"$HELPER/ask" --body-of 30000 $options "${small_http}open.git" >answer
		assert_contains '^HTTP 413$' answer
	done
	# 20 MB that are 20 kB on the way.
	"$HELPER/ask" --body-of 20000000 --gzip "${small_http}open.git" >answer
	assert_contains '^HTTP 413$' answer
	"$HELPER/ask" --body-of 20000000 --gzip "${serve_http}open.git" >answer
	assert_contains '^HTTP 413$' answer
	# What is small enough still goes.
	git clone -q "${small_http}open.git" small
	assert_objects_equal srv/open.git small
	assert_at_most 200000 "$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$serve_pid/status")" 'kB of memory'
}

wrong_requests () {
	long=$(printf '%0120000d' 0)
	set --
	for i in 1 2 3 4 5 6 7 8; do
		set -- "$@" --header "X-$i: $long"
	done
	"$HELPER/ask" "$@" --get "${serve_http}open.git/info/refs?service=git-upload-pack" >answer
	assert_contains '^HTTP (431|400)$' answer
	"$HELPER/ask" --header 'Content-Type: text/plain' "${serve_http}open.git" command=ls-refs 0000 >answer
	assert_contains '^HTTP 415$' answer
	"$HELPER/ask" --header 'Content-Encoding: br' "${serve_http}open.git" command=ls-refs 0000 >answer
	assert_contains '^HTTP 415$' answer
	"$HELPER/ask" --header 'Content-Encoding: gzip' "${serve_http}open.git" command=ls-refs 0000 >answer
	assert_contains '^HTTP (400|413)$' answer
	"$HELPER/ask" --post --body-of 4 "${serve_http}open.git/info/refs?service=git-upload-pack" >answer
	assert_contains '^HTTP 405$' answer
	"$HELPER/ask" --get "${serve_http}open.git/git-upload-pack" >answer
	assert_contains '^HTTP 405$' answer
	"$HELPER/ask" "${serve_http}open.git" command=nonsense 0000 >answer || :
	"$HELPER/ask" --get "${serve_http}-/health" >answer
	assert_contains '^ok$' answer
	assert_lacks panicked "$LOG/serve.log"
}

# Nobody has so much to say: that is told at once, not after a time without more of it.
absurd_chunks () {
	for size in ffffffffffffffff 7fffffffffffffff 100000000000 ffffffff 1000001; do
		perl -MIO::Socket::INET -MTime::HiRes=time -e '
			my ($url, $size) = @ARGV;
			my ($where) = $url =~ m{//([^/]+)};
			my $began = time;
			my $socket = IO::Socket::INET->new(PeerAddr => $where, Timeout => 20) or die;
			print $socket join "\r\n", "POST /open.git/git-upload-pack HTTP/1.1", "Host: h",
				"Content-Type: application/x-git-upload-pack-request", "Transfer-Encoding: chunked", "", $size, "xx";
			$socket->flush;
			print scalar <$socket>;
			printf "%d seconds\n", time - $began' "$serve_http" $size >answer
		cat answer
		assert_contains '^HTTP/1.1 413 ' answer
		assert_contains '^[0-4] seconds' answer
	done
}

# crowd <count> <url> <text> <seconds>: clients that send the text and then nothing; those
# from whom the server has hung up by then are counted.
crowd () {
	perl -MIO::Socket::INET -MTime::HiRes=time,sleep -e '
		my ($count, $url, $text, $seconds) = @ARGV;
		$text =~ s/\\r/\r/g; $text =~ s/\\n/\n/g; $text =~ s/\\0/\0/g;
		my ($where) = $url =~ m{//([^/]+)};
		$SIG{PIPE} = "IGNORE";
		my @open = map { IO::Socket::INET->new($where) or die "$where: $!" } 1 .. $count;
		for (@open) { syswrite $_, $text; $_->blocking(0) }
		my ($until, $gone) = (time + $seconds, 0);
		while (@open && time < $until) {
			@open = grep {
				my $got = sysread $_, my $data, 65536;
				!(defined $got && $got == 0 || !defined $got && $!{ECONNRESET}) || !++$gone;
			} @open;
			sleep 0.05;
		}
		print "$gone\n"' "$@"
}

# Connections of clients that say nothing, or half of it, end; meanwhile those of
# others wait, as there is room for 20.
silent_clients () {
	crowd 15 "$brief_http" '' 20 >gone-1 &
	crowd 15 "$brief_http" 'GET / HTTP/1.1\r\nHost: ' 20 >gone-2 &
	crowd 15 "$brief_git" '' 20 >gone-3 &
	crowd 15 "$brief_git" '003egit-upload-pack /open' 20 >gone-4 &
	crowd 15 "$brief_http" 'POST /open.git/git-upload-pack HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nContent-Type: application/x-git-upload-pack-request\r\n\r\n' 20 >gone-5 &
	crowd 15 "$brief_git" '0022git-upload-pack /open.git\0host=h\0' 20 >gone-6 &
	sleep 0.3
	"$HELPER/ask" --get "${brief_http}-/health" >answer
	assert_contains '^ok$' answer
	wait
	cat gone-*
	assert_eq '15 15 15 15 15 15' "$(echo $(cat gone-*))" 'connections that were ended'
	ends_within 10 others_of "$brief_pid" || fail 'processes are left'
	assert_at_most 2 "$(metric brief connections_open)" 'connections that are open'
}

# Who does not take what it asked for does not hold a process for ever.
deaf_clients () {
	oid=$(git -C srv/large.git rev-parse main)
	body="0011command=fetch0001000fno-progress0032want $oid\\n0009done\\n0000"
	length=$(($(printf "$body" | wc -c)))
	for url in "$brief_http" "$brief_git"; do
		perl -MSocket -e '
			my ($url, $length, $body) = @ARGV;
			$body =~ s/\\n/\n/g;
			my ($host, $port) = $url =~ m{//([^/:]+):(\d+)};
			socket(my $socket, PF_INET, SOCK_STREAM, 0) or die;
			setsockopt($socket, SOL_SOCKET, SO_RCVBUF, 8192); # little fits on the way
			connect($socket, pack_sockaddr_in($port, inet_aton($host))) or die;
			if ($url =~ /^http/) {
				syswrite $socket, "POST /large.git/git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\n"
					. "Content-Type: application/x-git-upload-pack-request\r\nContent-Length: $length\r\n\r\n$body";
			} else {
				my $line = "git-upload-pack /large.git\0host=h\0\0version=2\0";
				syswrite $socket, sprintf("%04x%s", length($line) + 4, $line) . $body;
			}
			sleep 60' "$url" "$length" "$body" 2>&1 &
		deaf=$!
		sleep 1
		group_of "$brief_pid" >running
		assert_at_least 2 "$(wc -l <running)" 'processes while it does not listen'
		ends_within 30 others_of "$brief_pid" || fail "a process is left for $url"
		kill $deaf
	done
}

test_case 'repositories' make_repos
start serve
start all --export-all
start small --max-request 20000
start brief --timeout 2 --max-connections 20
start proxied --trusted-proxies 127.0.0.1
test_case 'URLs are printed once it listens' prints_urls
test_case 'it refuses what it cannot do' refuses_to_start
test_case '/-/health and /-/metrics' health_and_metrics
test_case 'the access log' logs
test_case 'bytes that git sends are counted' counts_bytes
test_case '/ lists what may be cloned' lists_repositories
test_case 'git-daemon-export-ok, --export-all, links' exports
test_case 'nothing above the folder, no files' stays_below
test_case 'files that name folders' files_that_name_folders
test_case 'X-Forwarded-For in two lines' forwarded_twice
test_case 'read-only' read_only
test_case 'requests that are too large' too_large
test_case 'requests that are wrong' wrong_requests
test_case 'chunks of an absurd size' absurd_chunks
test_case 'clients that say nothing' silent_clients
test_case 'clients that do not listen' deaf_clients
test_done
