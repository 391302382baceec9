#!/bin/sh
# git mirror check-config: exit codes, and problems by file, line and key.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"

check () { # <expected exit code> <file>... -> out
	local expected="$1" code=0
	shift
	git mirror check-config "$@" >out 2>err || code=$?
	cat out err
	assert_eq "$expected" "$code" 'exit code'
}

good () {
	mkdir repo.git
	write_list repo.git
	check 0 repo.git/mirrors.toml
	assert_eq 'repo.git/mirrors.toml: ok, 3 mirrors' "$(cat out)"
	assert_lacks . err
}

bad () {
	cat >bad.toml <<-\END
	canonical = "https://git.example.com/project.git"
	policy = "nearest"
	first = 1000

	[[mirror]]
	url = "file:///etc/passwd"

	[[mirror]]
	url = "https://user:secret@eu.example.net/project.git"
	wieght = 3

	[[mirror]]
	url = "ext::sh -c id"
	country = "Germany"
	END
	check 1 bad.toml
	for problem in '2: policy: ' '3: first: ' '6: mirror\[1\].url: ' '9: mirror\[2\].url: ' '10: mirror\[2\].wieght: ' \
		'13: mirror\[3\].url: ' '14: mirror\[3\].country: '; do
		assert_contains "^bad.toml:$problem" out
	done
	assert_eq 7 "$(wc -l <out)" 'problems'
	assert_lacks secret out
}

no_toml () {
	printf 'first = 1\nfirst = = 2\n' >broken.toml
	check 1 broken.toml
	assert_contains '^broken.toml:2: ' out
	printf 'first = 1\n\nurl = "\377"\n' >bytes.toml
	code=0
	git mirror check-config bytes.toml >out 2>&1 || code=$?
	cat out
	test $code != 0 || fail 'it is no UTF-8'
	assert_contains 'bytes.toml:3: ' out
}

several () {
	check 1 repo.git/mirrors.toml bad.toml broken.toml
	assert_contains '^repo.git/mirrors.toml: ok' out
	assert_contains '^bad.toml:2: ' out
	assert_contains '^broken.toml:2: ' out
	check 0 repo.git/mirrors.toml repo.git/mirrors.toml
	assert_eq 2 "$(wc -l <out)" 'lines'
}

missing () {
	check 129 none.toml
	assert_contains '^fatal: .*none.toml' err
	assert_lacks . out
}

# Without a file: the list of the repository that one is in.
here () {
	git init -q here
	write_list here/.git
	(cd here && git mirror check-config) >out
	assert_contains 'mirrors.toml: ok, 3 mirrors$' out
	mkdir none
	(cd none && GIT_CEILING_DIRECTORIES=$TRASH git mirror check-config) >out 2>err && fail 'no repository'
	assert_contains '^fatal: ' err
}

database () {
	cp repo.git/mirrors.toml geo.toml
	sed -i '1i policy = "geoip"\ngeoip_database = "where.mmdb"' geo.toml
	check 1 geo.toml
	assert_contains '^geo.toml: geoip_database: .*where.mmdb' out
	echo '192.0.2.0/24 DE EU 52.5 13.4' | "$HELPER/make-mmdb" where.mmdb
	check 0 geo.toml
	echo 'policy = "geoip"' >geo.toml
	check 1 geo.toml
	assert_contains '^geo.toml:1: policy: "geoip" needs the key geoip_database$' out
}

# What passes here is what servers take, and the other way round.
the_server_agrees () {
	new_repo served.git
	for file in repo.git/mirrors.toml bad.toml broken.toml; do
		cp $file served.git/mirrors.toml
		code=0
		git mirror check-config served.git/mirrors.toml >out || code=$?
		"$HELPER/ask" "exec:git-mirror upload-pack served.git" >answer 2>err
		case $code in
		0) assert_contains '^mirror=id:' answer ;;
		*)
			assert_lacks '^mirror=' answer
			problem=$(head -n 1 out)
			assert_contains "warning: .*${problem%%: *}" err
			;;
		esac
	done
}

test_case 'a good list' good
test_case 'a bad one: each problem with file, line and key' bad
test_case 'what is no TOML' no_toml
test_case 'several files' several
test_case 'no such file' missing
test_case 'the list of this repository' here
test_case 'the GeoIP database' database
test_case 'servers agree' the_server_agrees
test_done
