#!/bin/sh
# A canonical on a public address lists mirrors on private ones. The addresses
# are those of a network namespace of this test; nothing leaves it.
. "$(dirname "$0")/lib.sh"
. "$T/lib-namespace.sh"

# 203.0.113.7, 203.0.113.8 and 10.9.9.9 are this machine.
namespace_up () {
	ip link set lo up &&
		ip address add 203.0.113.7/32 dev lo &&
		ip address add 203.0.113.8/32 dev lo &&
		ip address add 10.9.9.9/32 dev lo
}

start_servers () {
	serve canonical "$BIN/git-mirror" serve --listen http://203.0.113.7:8000 "$srv"
	serve daemon git daemon --listen=203.0.113.8 --listen=10.9.9.9 --listen=127.0.0.1 --port=9000 --base-path="$srv" "$srv"
	await git ls-remote http://203.0.113.7:8000/canonical.git
	await git ls-remote git://203.0.113.8:9000/near.git
}

offers () { # <mirror>...
	{
		echo 'prefer_mirror = "always"'
		for url in "$@"; do
			printf '[[mirror]]\nurl = "%s"\n' "$url"
		done
	} >"$srv/canonical.git/mirrors.toml"
	sleep 1.2 # the server looks at it once a second
}

cloned () { # <git clone argument>...
	rm -rf got "$LOG/packs"
	git clone -c remote.origin.vcs=mirror "$@" http://203.0.113.7:8000/canonical.git got 2>got.err || { cat got.err; fail clone; }
	cat got.err
	assert_objects_equal "$srv/canonical.git" got
	git -C got config --get-all remote.origin.listedMirror >learned || :
}

private_ones_are_refused () {
	offers git://10.9.9.9:9000/near.git git://127.0.0.1:9000/near.git git://localhost:9000/near.git \
		git://203.0.113.8:9000/near.git
	cloned
	echo git://203.0.113.8:9000/near.git | diff -u - learned
	assert_eq 3 "$(grep -c 'warning: mirror .*private' got.err)" 'refused mirrors'
	assert_at_least 1 "$(packed_by near.git)" 'bytes from the mirror'
}

allowed () {
	cloned -c mirror.allowPrivate=true
	assert_eq 4 "$(wc -l <learned)" 'mirrors learned'
	assert_lacks warning: got.err
}

# What is in the configuration as learned is looked at again.
not_used_either () {
	offers git://203.0.113.8:9000/near.git
	cloned
	grow "$srv/canonical.git" main 3 9
	git -C "$srv/near.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	git -C got config --replace-all remote.origin.listedMirror git://10.9.9.9:9000/near.git
	rm -f "$LOG/packs"
	git -C got fetch 2>got.err
	cat got.err
	assert_contains 'private' got.err
	assert_eq 0 "$(packed_by near.git)" 'bytes from the mirror'
	# The user's own is the user's choice.
	grow "$srv/canonical.git" main 3 10
	git -C "$srv/near.git" fetch -q "$srv/canonical.git" '+refs/*:refs/*'
	git -C got config remote.origin.mirrorUrl git://10.9.9.9:9000/near.git
	git -C got fetch -q
	assert_at_least 1 "$(packed_by near.git)" 'bytes from the mirror'
}

if test -n "${GMF_NAMESPACE:-}"; then
	namespace_is_up namespace_up
	start_servers
	test_case 'mirrors on private addresses are refused' private_ones_are_refused
	test_case 'mirror.allowPrivate' allowed
	test_case 'nor are they used' not_used_either
	test_done
fi

mkdir "$srv"
{
	new_repo "$srv/canonical.git"
	grow "$srv/canonical.git" main 60 1
	cp -a "$srv/canonical.git" "$srv/near.git"
} >"$LOG/make" 2>&1
in_namespace -rn 'private mirrors of a public server'
