#!/bin/sh
# The bytes of the mirror capability, over each way to reach a server: a pipe,
# git mirror serve over HTTP and git://, git mirror http-backend behind nginx.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"

mkdir "$TRASH/srv"
cd "$TRASH/srv" || exit 1
new_repo listed.git
grow listed.git main 12 1
tag listed.git v1 main~3
cp -a listed.git unlisted.git
write_list listed.git
# A clone that knows its remote by three URLs, two of them with secrets.
git clone -q --bare --no-local "$TRASH/srv/listed.git" clone.git
touch clone.git/git-daemon-export-ok
git -C clone.git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
git -C clone.git config remote.origin.url 'https://user:secret@git.example.org/project.git'
git -C clone.git config --add remote.origin.url 'ssh://git:secret@git.example.org/project.git'
git -C clone.git config --add remote.origin.url '/home/somebody/project.git'
git -C clone.git fetch -q "$TRASH/srv/listed.git" '+refs/heads/*:refs/remotes/origin/*'
cd "$TRASH" || exit 1
start_part nginx "$TRASH/srv"
start_mirror_server serve "$TRASH/srv" --listen http://127.0.0.1:0 --listen git://127.0.0.1:0

where () { # <way> <repository>
	case $1 in
	pipe) echo "exec:git-mirror upload-pack '$TRASH/srv/$2'" ;;
	http) echo "$serve_http$2" ;;
	git) echo "$serve_git$2" ;;
	nginx) served_url "$2" ;;
	stock) echo "exec:git upload-pack '$TRASH/srv/$2'" ;;
	stock-http) stock_url "$2" ;;
	esac
}

ask () { # [<option>...] <way> <repository> <packet>...
	local options=
	while :; do
		case $1 in
		--header | --version | --body-of) options="$options $1 $2"; shift 2 ;;
		-*) options="$options $1"; shift ;;
		*) break ;;
		esac
	done
	local way="$1" repo="$2"
	shift 2
	"$HELPER/ask" $options "$(where "$way" "$repo")" "$@"
}

# Canonical, mirrors and so on: what a client reads, but for how it is seen itself.
asks () { # <way> <repository> <argument>... -> "answer"
	local way="$1" repo="$2"
	shift 2
	ask "$way" "$repo" command=mirror 0001 "$@" 0000 >answer || :
	cat answer
}

advertises () { # <way>
	ask --raw "$1" listed.git >ours
	ask --raw stock listed.git | sed 's/0000$//' >expected
	cat "$T/fixtures/advertisement" >>expected
	cmp expected ours || { diff -a expected ours; fail 'other bytes'; }
	ask --raw "$1" unlisted.git >ours
	ask --raw stock unlisted.git | cmp - ours
}

answers_as_recorded () { # <way>
	ask --raw "$1" listed.git command=mirror 0001 0000 >ours
	case $1 in
	pipe) cp "$T/fixtures/answer-raw" expected ;;
	*) cp "$T/fixtures/answer-raw-loopback" expected ;;
	esac
	cmp expected ours || { diff -a expected ours; fail 'other bytes'; }
	# Capabilities of the request change nothing, nor do unknown arguments.
	ask --raw "$1" listed.git command=mirror agent=ask object-format=sha1 0001 colour=red 0000 | cmp expected -
	# Nor does a request without a delimiter.
	ask --raw "$1" listed.git command=mirror 0000 | cmp expected -
}

pages () { # <way>
	asks "$1" listed.git limit=1
	assert_contains '^mirror https://eu' answer
	assert_contains '^more-mirrors 2$' answer
	assert_eq 1 "$(grep -c ^mirror answer)" mirrors
	asks "$1" listed.git limit=1 offset=1
	assert_contains '^mirror https://us' answer
	assert_contains '^more-mirrors 1$' answer
	asks "$1" listed.git limit=64 offset=1
	assert_eq 2 "$(grep -c ^mirror answer)" mirrors
	assert_lacks '^more-mirrors [1-9]' answer
	asks "$1" listed.git limit=0
	assert_lacks '^mirror' answer
	assert_contains '^more-mirrors 3$' answer
	assert_contains '^prefer-mirror once$' answer
	asks "$1" listed.git offset=4294967295
	assert_lacks '^mirror|^more-mirrors [1-9]|^ERR' answer
	asks "$1" listed.git limit=1 limit=3 # the last counts
	assert_eq 3 "$(grep -c ^mirror answer)" mirrors
}

refuses () { # <way>
	local argument
	for argument in limit=many limit= limit=-1 limit=4294967296 offset=1.5 url= \
		"url=https://h/$(printf '%04100d' 0)" "url=https://h/$(printf 'a\033b')"; do
		asks "$1" listed.git "$argument"
		assert_contains '^ERR command=mirror: ' answer
		assert_lacks '^(mirror|canonical) ' answer
	done
	asks "$1" listed.git limit=many
	assert_contains '^ERR command=mirror: limit= takes a number$' answer
}

knows_urls () { # <way>
	asks "$1" listed.git url=https://git.example.com/project.git limit=1
	assert_contains '^mirror https://eu' answer
	asks "$1" listed.git url=HTTPS://GIT.example.com:443/project/
	assert_contains '^mirror https://eu' answer
	asks "$1" listed.git url=https://other.example.com/project.git
	assert_contains '^not-found$' answer
	assert_contains '^canonical https://git.example.com/project.git$' answer
	assert_lacks '^mirror' answer
	# A clone has no mirrors, but says for whom it stands in.
	asks "$1" clone.git url=https://git.example.org/project
	assert_lacks '^(not-found|mirror)' answer
	asks "$1" clone.git url=https://git.example.com/project.git
	assert_contains '^not-found$' answer
	assert_contains '^canonical https://git.example.org/project.git$' answer
	assert_contains '^canonical ssh://git@git.example.org/project.git$' answer
	assert_lacks 'secret|user|/home' answer
}

lists_refs_by_url () { # <way>
	ask --raw "$1" listed.git command=ls-refs 0001 peel symrefs 0000 >expected
	ask --raw "$1" listed.git command=ls-refs 0001 peel symrefs url=https://git.example.com/project 0000 | cmp expected -
	assert_contains refs/heads/main expected
	for repo in listed.git clone.git; do
		ask "$1" $repo command=ls-refs 0001 peel url=https://other.example.com/project.git 0000 >answer || :
		cat answer
		assert_eq 'ERR ls-refs: unknown url' "$(cat answer)" 'the answer'
	done
}

# The pack of an answer: into how many packets it is cut depends on pipes.
pack_of () {
	perl -0777 -ne '
		while (length) {
			my $size = hex substr $_, 0, 4;
			my $data = $size > 4 ? substr $_, 4, $size - 4 : "";
			substr $_, 0, $size > 4 ? $size : 4, "";
			print $1 if $data =~ /^\x01(.*)/s;
		}'
}

# Without anything to say, stock git answers: it knows no such command.
leaves_the_rest_to_git () { # <way>
	ask "$1" unlisted.git command=mirror 0001 0000 >answer 2>err || :
	assert_lacks '^(mirror|canonical|not-found)' answer
	ask --raw "$1" listed.git command=ls-refs 0001 peel 0000 >ours
	ask --raw stock listed.git command=ls-refs 0001 peel 0000 | cmp - ours
	oid=$(git -C srv/listed.git rev-parse main)
	ask --raw "$1" listed.git command=fetch 0001 "want $oid" no-progress done 0000 | pack_of >ours
	ask --raw stock listed.git command=fetch 0001 "want $oid" no-progress done 0000 | pack_of >expected
	cmp expected ours
	git -C srv/unlisted.git index-pack --stdin --strict -v <ours
}

compressed () { # <way>
	for options in --gzip --chunked '--gzip --chunked'; do
		ask --raw $options "$1" listed.git command=mirror 0001 0000 >ours
		cmp "$T/fixtures/answer-raw-loopback" ours
		ask --raw $options "$1" listed.git command=ls-refs 0001 peel 0000 >ours
		ask --raw stock listed.git command=ls-refs 0001 peel 0000 | cmp - ours
	done
}

# git compresses what is longer than 1024 bytes.
compressed_by_git () { # <way>
	rm -rf got packets
	git clone -q "$(where "$1" listed.git)" got
	grow got main 200 2
	grow srv/listed.git more 2 3 "$(git -C srv/listed.git rev-parse main)"
	GIT_TRACE_CURL=$PWD/packets git -C got fetch -q
	assert_contains '[Cc]ontent-[Ee]ncoding: gzip' packets
	assert_eq "$(git -C srv/listed.git rev-parse more)" "$(git -C got rev-parse origin/more)" 'origin/more'
	git -C srv/listed.git update-ref -d refs/heads/more
}

# One connection, three requests: ours is answered between git's own.
several_requests () {
	perl -e 'print map { /^000/ ? $_ : sprintf "%04x%s\n", length($_) + 5, $_ } @ARGV' \
		command=ls-refs 0001 peel 0000 command=mirror 0000 command=ls-refs 0001 peel 0000 0000 >requests
	GIT_PROTOCOL=version=2 git mirror upload-pack srv/listed.git <requests >ours
	GIT_PROTOCOL=version=2 git upload-pack --http-backend-info-refs srv/listed.git | sed 's/0000$//' >expected
	cat "$T/fixtures/advertisement" >>expected
	ask --raw stock listed.git command=ls-refs 0001 peel 0000 >refs
	cat refs "$T/fixtures/answer-raw" refs >>expected
	cmp expected ours
}

broken_off () {
	for text in '' 0014com 0014command=ls-refs 0013command=mirror '0013command=mirror
0001' zzzz 0003; do
		code=0
		printf '%s' "$text" | GIT_PROTOCOL=version=2 timeout 20 git-mirror upload-pack srv/listed.git >out 2>err || code=$?
		cat err
		case $text in
		'') assert_eq 0 $code 'exit code' ;;
		*) assert_eq 128 $code "exit code of '$text'" ;;
		esac
		assert_lacks 'panicked' err
	done
}

old_tokens () { # <way>
	ask --raw --version 0 "$1" listed.git >ours
	case $1 in
	http | nginx) ask --raw --version 0 stock-http listed.git >expected ;;
	*) ask --raw --version 0 stock listed.git >expected ;;
	esac
	perl -0777 -ne '
		my ($head, $oid) = /\A((?:001e# service=git-upload-pack\n0000)?)(....[0-9a-f]{40} HEAD\0.*)\n/ or die;
		print $head, $oid' ours >first
	assert_contains ' mirror=https://eu.example.net/project.git mirror=https://us.example.net/a%2520project.git more-mirrors=1 prefer-mirror=once$' first
	# Without them, and their share of the length, it is stock git.
	perl -0777 -pe '
		s/(....)([0-9a-f]{40} HEAD\0.*?)( mirror=.*? prefer-mirror=once)\n/sprintf("%04x", hex($1) - length $3) . $2 . "\n"/e' \
		ours >without
	cmp expected without
}

for way in pipe http git nginx; do
	test_case "$way: one line more is advertised" advertises $way
	test_case "$way: command=mirror, as recorded" answers_as_recorded $way
	test_case "$way: paging" pages $way
	test_case "$way: a wrong argument is an error" refuses $way
	test_case "$way: url= in command=mirror" knows_urls $way
	test_case "$way: url= in ls-refs" lists_refs_by_url $way
	test_case "$way: all else is stock git's" leaves_the_rest_to_git $way
	test_case "$way: v0: tokens" old_tokens $way
done
for way in http nginx; do
	test_case "$way: a compressed request" compressed $way
	test_case "$way: a request that git compressed" compressed_by_git $way
done
test_case 'several requests of one connection' several_requests
test_case 'a client that breaks off' broken_off
test_done
