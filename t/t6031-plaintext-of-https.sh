#!/bin/sh
# A canonical that is reached over https lists mirrors in plaintext.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

make_repos () {
	new_repo "$srv/canonical.git"
	grow "$srv/canonical.git" main 40 1
	cp -a "$srv/canonical.git" "$srv/near.git"
	printf 'prefer_mirror = "always"\n' >"$srv/canonical.git/mirrors.toml"
	for url in "git://127.0.0.1:$git_port/near.git" http://127.0.0.1:1/near.git "https://localhost:$https_port/near.git"; do
		printf '[[mirror]]\nurl = "%s"\n' "$url"
	done >>"$srv/canonical.git/mirrors.toml"
}

cloned () { # <git clone argument>...
	rm -rf got
	git clone -c remote.origin.vcs=mirror "$@" "https://localhost:$https_port/canonical.git" got 2>got.err ||
		{ cat got.err; fail clone; }
	cat got.err
	assert_objects_equal "$srv/canonical.git" got
	assert_no_leftovers got
	git -C got config --get-all remote.origin.listedMirror | sed 's,:.*,,' | tr '\n' ' ' >learned
}

refused () {
	cloned
	assert_eq 'https ' "$(cat learned)" learned
	assert_contains "^warning: mirror 'git://.*not encrypted" got.err
	assert_contains "^warning: mirror 'http://.*not encrypted" got.err
	assert_at_least 1 "$(packed_by near.git)" 'bytes from the mirror'
}

allowed () {
	cloned -c mirror.allowProtocol=https,git
	assert_eq 'git https ' "$(cat learned)" learned
	assert_lacks "^warning: mirror 'git://" got.err
	assert_contains "^warning: mirror 'http://.*mirror.allowProtocol" got.err
}

mkdir "$srv"
start_git_daemon "$srv"
start_https "$srv"
sed 's,-- git http-backend,-- git mirror http-backend,' "$TRASH/bin/http-backend" >"$TRASH/bin/http-backend.new"
chmod +x "$TRASH/bin/http-backend.new"
mv "$TRASH/bin/http-backend.new" "$TRASH/bin/http-backend"
make_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }

test_case 'are refused' refused
test_case 'but for what mirror.allowProtocol names' allowed
test_done
