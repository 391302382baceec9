#!/bin/sh
# The three programs: what each is linked with, and by which names git-mirror is
# another one.
. "$(dirname "$0")/lib.sh"

# What stands for a server in the symbols of a Rust program.
server='(hyper|tokio|http_body)[a-z_]*::'

symbols_of () { # <program>
	nm -C "$BIN/$1" 2>/dev/null | grep -E -c "$2" || :
}

holds_no_server () { # <program>
	assert_at_least 100 "$(symbols_of "$1" 'git_mirror_fetch::usecases::fetching')" "symbols of the client in $1"
	assert_eq 0 "$(symbols_of "$1" "$server")" "symbols of an HTTP server in $1"
	assert_eq 0 "$(symbols_of "$1" 'git_mirror_fetch::usecases::serving')" "symbols of the serving wing in $1"
}

git_mirror_holds_it () {
	if git mirror serve --help | grep -q -e --listen; then
		assert_at_least 100 "$(symbols_of git-mirror "$server")" 'symbols of an HTTP server in git-mirror'
	else
		code=0
		git mirror serve --listen http://127.0.0.1:0 . 2>err || code=$?
		assert_eq 129 "$code" 'exit code'
		assert_contains 'built without it' err
	fi
}

by_the_names_of_commands () {
	mkdir names
	git init -q --bare it.git
	for name in git-upload-pack git-http-backend git-mirror-fetch git-remote-mirror; do
		ln -s "$BIN/git-mirror" "names/$name"
	done
	names/git-upload-pack --advertise-refs it.git | grep -q -a -e agent= || fail 'git-upload-pack'
	GIT_PROJECT_ROOT=$PWD GIT_HTTP_EXPORT_ALL=1 PATH_INFO=/it.git/info/refs REQUEST_METHOD=GET \
		QUERY_STRING=service=git-upload-pack names/git-http-backend >answer
	grep -q -a 'service=git-upload-pack' answer || fail 'git-http-backend'
	names/git-mirror-fetch -h | grep -q -e --mirror-only || fail 'git-mirror-fetch'
	printf 'capabilities\n\n' | names/git-remote-mirror origin "$PWD/it.git" >answer
	assert_contains connect answer
}

# git mirror-fetch starts itself again, from wherever it was started and by any name.
starts_itself_again () {
	git init -q --bare canonical.git
	git clone -q canonical.git got 2>err
	ln -s "$BIN/git-mirror-fetch" another-name
	for program in "$BIN/git-mirror-fetch" ../another-name 'git mirror-fetch'; do
		code=0
		(cd got && $program --mirror-only --mirror-url "$PWD/../nowhere.git") 2>err || code=$?
		assert_eq 128 "$code" "exit code of $program"
		assert_contains "no mirror of 'origin' could be used" err
	done
}

if command -v nm >/dev/null 2>&1; then
	for program in git-remote-mirror git-mirror-fetch; do
		test_case "no server in $program" holds_no_server $program
	done
	test_case 'git-mirror holds it' git_mirror_holds_it
else
	skip_case 'what the programs hold' 'nm is needed (Debian: binutils)'
fi
test_case 'by the names of commands' by_the_names_of_commands
test_case 'git mirror-fetch starts itself again' starts_itself_again
test_done
