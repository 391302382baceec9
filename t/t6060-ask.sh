#!/bin/sh
# git mirror ask: what a server says of its mirrors, as a table and as JSON.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

make_repos () {
	mkdir "$srv"
	new_repo "$srv/project.git"
	grow "$srv/project.git" main 10 1
	cp -a "$srv/project.git" "$srv/unlisted.git"
	cp -a "$srv/project.git" "$srv/damaged.git"
	echo 'first = "three"' >"$srv/damaged.git/mirrors.toml"
	cat >"$srv/project.git/mirrors.toml" <<-\END
	canonical = ["https://git.example.com/project.git", "ssh://git@git.example.com/project.git"]
	prefer_mirror = "once"
	policy = "fixed"
	first = 3
	geoip_database = "geo.mmdb"
	END
	for n in 1 2 3 4 5; do
		printf '[[mirror]]\nurl = "https://m%s.example.net/project.git"\n' $n
	done >>"$srv/project.git/mirrors.toml"
	cat >>"$srv/project.git/mirrors.toml" <<-\END
	[[mirror]]
	url = "https://last.example.net/project.git"
	priority = 200
	weight = 20
	country = "DE"
	location = "50.11,8.68"
	END
	echo '127.0.0.0/8 FR EU 48.86 2.35' | "$HELPER/make-mmdb" "$srv/project.git/geo.mmdb"
	git clone -q --no-local "$srv/project.git" "$TRASH/clone"
	git -C "$TRASH/clone" remote set-url origin https://git.example.com/project.git
	touch "$TRASH/clone/.git/git-daemon-export-ok"
}

# start_serve <name> <root> <scheme>: sets $url to its URL, without a slash at the end.
start_serve () {
	local attempt
	"$HELPER/own-group" "$BIN/git-mirror" serve --listen "$3://127.0.0.1:0" "$2" \
		>"$LOG/$1.url" 2>"$LOG/$1.log" </dev/null &
	echo $! >>"$LOG/pids"
	for attempt in $(seq 200); do
		test ! -s "$LOG/$1.url" || break
		sleep 0.05
	done
	url=$(sed 's,/*$,,' "$LOG/$1.url")
	test -n "$url" || { echo 'Bail out! git mirror serve does not start'; exit 1; }
}

# ask <expected exit code> <argument>...: into "answer" and "err".
ask () {
	local expected="$1" code=0
	shift
	git mirror ask "$@" >answer 2>err || code=$?
	cat answer err
	assert_eq "$expected" $code "exit code of git mirror ask $*"
}

# json <perl expression on $j>: of "answer".
json () {
	perl -MJSON::PP -e '
		local $/;
		open my $file, "<", "answer";
		my $j = JSON::PP->new->utf8->decode(<$file>);
		my $v = eval $ARGV[0];
		die $@ if $@;
		print defined $v ? "$v\n" : "null\n"' "$1"
}

a_table () {
	ask 0 "$http/project.git"
	cat >expected <<-\END
	canonical     https://git.example.com/project.git
	canonical     ssh://git@git.example.com/project.git
	prefer-mirror once
	client        127.0.0.1 FR 48.86,2.35
	mirror        https://m1.example.net/project.git
	mirror        https://m2.example.net/project.git
	mirror        https://m3.example.net/project.git
	more-mirrors  3
	END
	assert_same_file expected answer
	test ! -s err || fail 'something on stderr'
	ask 0 "$http/project.git" --offset 5
	assert_contains '^mirror        https://last.example.net/project.git  priority 200  weight 20  country DE  location 50.11,8.68$' answer
}

as_json () {
	ask 0 --json "$http/project.git"
	assert_eq 'canonical client id mirrors more not_found prefer_mirror' "$(json 'join " ", sort keys %$j')" keys
	assert_eq 'https://git.example.com/project.git ssh://git@git.example.com/project.git' \
		"$(json 'join " ", @{$j->{canonical}}')" canonical
	assert_eq once "$(json '$j->{prefer_mirror}')" prefer_mirror
	assert_eq 3 "$(json '$j->{more}')" more
	assert_eq 3 "$(json 'scalar @{$j->{mirrors}}')" mirrors
	assert_eq https://m2.example.net/project.git "$(json '$j->{mirrors}[1]{url}')" url
	assert_eq 'url' "$(json 'join " ", keys %{$j->{mirrors}[1]}')" 'keys of a mirror'
	assert_eq '127.0.0.1 FR 48.86 2.35' \
		"$(json 'join " ", @{$j->{client}}{"address", "country"}, @{$j->{client}{location}}')" client
	assert_eq 1 "$(json '$j->{id} =~ /^[0-9a-f]{16}$/')" id
	assert_eq 0 "$(json '$j->{not_found} ? 1 : 0')" not_found
	ask 0 --json --offset=5 "$http/project.git"
	assert_eq '200 20 DE 50.11 8.68' \
		"$(json 'join " ", @{$j->{mirrors}[0]}{"priority", "weight", "country"}, @{$j->{mirrors}[0]{location}}')" 'the last'
	assert_eq 0 "$(json '$j->{more}')" more
}

pages () {
	for from in "$http" "$gitd"; do
		ask 0 --json --limit 2 --offset 1 "$from/project.git"
		assert_eq 'm2 m3' "$(json 'join " ", map { $_->{url} =~ m{//(\w+)} } @{$j->{mirrors}}')" mirrors
		assert_eq 3 "$(json '$j->{more}')" more
		ask 0 --json --limit 0 "$from/project.git"
		assert_eq 0 "$(json 'scalar @{$j->{mirrors}}')" mirrors
		assert_eq 6 "$(json '$j->{more}')" more
		ask 0 --json --limit 64 "$from/project.git"
		assert_eq 6 "$(json 'scalar @{$j->{mirrors}}')" mirrors
		ask 0 --json --offset 6 "$from/project.git"
		assert_eq '0 0' "$(json 'scalar @{$j->{mirrors}} . " $j->{more}"')" 'after the last'
	done
	ask 129 --limit many "$http/project.git"
	ask 129 --limit -1 "$http/project.git"
}

a_remote () {
	rm -rf got
	git clone -q "$http/project.git" got
	cd got
	ask 0
	assert_contains '^mirror +https://m1' answer
	ask 0 origin
	assert_contains '^mirror +https://m1' answer
	git remote add other "$gitd/unlisted.git"
	says_no 'lists no mirrors' other
	git config branch.main.remote other
	says_no 'lists no mirrors'
	# insteadOf, and the prefix of the helper
	ask 0 "mirror::$http/project.git"
	git config "url.$http/.insteadOf" canon:
	ask 0 canon:project.git
	assert_contains '^mirror +https://m1' answer
	git config --unset "url.$http/.insteadOf"
	# Nothing is stored.
	git config --get-regexp 'listedmirror|prefermirror' >stored || :
	assert_lacks . stored
	test ! -e .git/mirror-fetch/state.toml || fail 'state'
}

outside_a_repository () {
	mkdir -p nowhere
	cd nowhere
	ask 0 "$http/project.git"
	ask 128
	assert_contains '^fatal: not a git repository' err
}

by_upload_pack () {
	rm -rf got
	git init -q got
	cd got
	git remote add origin "$srv/project.git"
	git config remote.origin.uploadpack 'git mirror upload-pack'
	ask 0
	assert_contains '^mirror +https://m1' answer
	assert_lacks '^client' answer
}

# A clone is asked as a mirror of what it tracks.
for_a_url () {
	ask 0 --url https://GIT.example.com:443/project "$clones/clone"
	assert_lacks '^mirror ' answer
	assert_contains '^canonical +https://git.example.com/project.git$' answer
	ask 1 --url https://other.example.com/project.git "$clones/clone"
	assert_contains '^not found' answer
	assert_contains '^https://git.example.com/project.git$' answer
	ask 1 --json --url https://other.example.com/project.git "$clones/clone"
	assert_eq '1 https://git.example.com/project.git' "$(json '$j->{not_found} . " @{$j->{canonical}}"')" not_found
}

# says_no <pattern> <argument>...: a message and exit code 128, and nothing on stdout.
says_no () {
	local pattern="$1"
	shift
	ask 128 "$@"
	test ! -s answer || fail 'something on stdout'
	assert_contains "^fatal: .*$pattern" err
}

no_list () {
	says_no 'lists no mirrors' "$http/unlisted.git"
	says_no 'lists no mirrors' "$gitd/unlisted.git"
	says_no 'lists no mirrors' "$http/damaged.git"
	start_git_daemon "$srv"
	says_no 'lists no mirrors' "$(url_for git project.git)"
	says_no 'lists no mirrors' "$srv/project.git"
	start_http "$srv"
	says_no 'lists no mirrors' "$(url_for http project.git)"
	says_no 'lists no mirrors' "$(url_for http-v0 project.git)"
	git -C srv/project.git update-server-info
	says_no 'lists no mirrors' "$(url_for http-dumb project.git)"
}

nobody_there () {
	says_no . "$http/nobody.git"
	says_no . "$gitd/nobody.git"
	says_no . git://127.0.0.1:1/x
	says_no . http://127.0.0.1:1/x
	says_no . "$TRASH/nowhere-at-all"
	ask 129 'ext::sh -c "touch owned"'
	test ! -e owned || fail 'a command ran'
}

# A server of v0 has sent its list unasked.
of_v0 () {
	chaos v0 --to "$(echo "$gitd" | sed 's,.*:,,')" --strip-version
	ask 0 "git://127.0.0.1:$(chaos_port v0)/project.git"
	cat >expected <<-\END
	prefer-mirror once
	mirror        https://m1.example.net/project.git
	mirror        https://m2.example.net/project.git
	mirror        https://m3.example.net/project.git
	more-mirrors  3
	END
	assert_same_file expected answer
	ask 0 --json "git://127.0.0.1:$(chaos_port v0)/project.git"
	assert_eq null "$(json '$j->{id}')" id
	assert_eq null "$(json '$j->{client}')" client
	says_no 'lists no mirrors' "git://127.0.0.1:$(chaos_port v0)/unlisted.git"
}

# What a hostile server says reaches the terminal without what that obeys.
hostile () {
	cp -a srv/project.git srv/lying.git
	printf '%s\n' packets 'canonical https://x/\xc2\x9b2J' 'mirror https://y/\xe2\x80\xae' >srv/lying.git/lies
	git init -q liar
	git -C liar remote add origin "$srv/lying.git"
	git -C liar config remote.origin.uploadpack "$HELPER/lying-server upload-pack $LOG/lied"
	cd liar
	ask 0
	LC_ALL=C tr -d '\n\t -~' <answer >odd
	test ! -s odd || fail 'bytes that are not ASCII'
	printf '%s\n' packets 'mirror https://y/\x1b[2J' >"$srv/lying.git/lies"
	says_no 'control'
	printf '%s\n' packets 'ERR go\x1b[2J away' >"$srv/lying.git/lies"
	says_no 'go'
	printf '%s\n' endless 'mirror https://y/' >"$srv/lying.git/lies"
	says_no 'more than 64 mirrors'
	LC_ALL=C tr -d '\n\t -~' <err >odd
	test ! -s odd || fail 'control characters'
}

make_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
start_serve http "$srv" http
http=$url
start_serve git "$srv" git
gitd=$url
mkdir "$TRASH/clones"
mv "$TRASH/clone" "$TRASH/clones"
start_serve clones "$TRASH/clones" http
clones=$url

test_case 'a table' a_table
test_case '--json' as_json
test_case '--limit, --offset' pages
test_case 'a remote, and nothing is stored' a_remote
test_case 'outside a repository' outside_a_repository
test_case 'remote.<name>.uploadpack' by_upload_pack
test_case '--url' for_a_url
test_case 'a server without a list' no_list
test_case 'nobody there' nobody_there
test_case 'a server of v0' of_v0
test_case 'a hostile server' hostile
test_done
