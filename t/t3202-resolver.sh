#!/bin/sh
# A resolver that never answers, and a host with an address that does not: no
# mirror costs more than its limit. In namespaces of this test.
. "$(dirname "$0")/lib.sh"
. "$T/lib-namespace.sh"

patience=2
slack=10

# Whoever asks for a name waits.
namespace_up () {
	printf 'nameserver 127.0.0.1\noptions timeout:30 attempts:3\n' >"$TRASH/resolv.conf"
	: >"$TRASH/hosts"
	ip link set lo up && mount --bind "$TRASH/resolv.conf" /etc/resolv.conf && mount --bind "$TRASH/hosts" /etc/hosts &&
		perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 53, Proto => "udp") or die $!'
}

silent_resolver () {
	serve resolver perl -MIO::Socket::INET -e '
		$| = 1;
		my $socket = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 53, Proto => "udp") or die $!;
		print "up\n";
		print "asked\n" while $socket->recv(my $data, 512)'
	await grep -q up "$LOG/resolver.out"
}

left_in_time () { # <url> <seconds> <why>
	rm -rf got
	: >"$LOG/resolver.out"
	git clone -q "$srv/old.git" got
	git -C got config remote.origin.url "$srv/canonical.git"
	git -C got config remote.origin.vcs mirror
	git -C got config remote.origin.mirrorUrl "$1"
	git -C got config --add remote.origin.mirrorUrl "$srv/fresh.git"
	git -C got config remote.origin.preferMirror "$1"
	local before="$(date +%s)"
	git -C got fetch 2>got.err || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_at_most $(($2 + slack)) $(($(date +%s) - before)) 'seconds'
	assert_contains asked "$LOG/resolver.out"
	assert_contains "$3" got.err
	assert_objects_equal "$srv/canonical.git" got
	assert_no_leftovers got
	assert_no_helper_left
}

over_git () { left_in_time git://mirror.example/fresh.git $patience 'unable to look up mirror.example .*no answer in time'; }
over_http () { left_in_time http://mirror.example/fresh.git $patience "no answer for $patience s"; }
over_https () { left_in_time https://mirror.example/fresh.git $patience "no answer for $patience s"; }
over_ssh () { left_in_time ssh://mirror.example/fresh.git $patience "no answer for $patience s"; }

# Of one that was learned, the address is looked at first.
learned () {
	for scheme in git http; do
		rm -rf got
		git clone -q "$srv/old.git" got
		git -C got config remote.origin.url "$srv/canonical.git"
		git -C got config remote.origin.vcs mirror
		git -C got config remote.origin.listedMirror $scheme://mirror.example/fresh.git
		git -C got config remote.origin.preferMirror true
		git -C got config remote.origin.mirrorUrl "$srv/stale.git"
		local before="$(date +%s)"
		git -C got fetch 2>got.err || { cat got.err; fail 'git fetch'; }
		cat got.err
		assert_at_most $((patience + slack)) $(($(date +%s) - before)) 'seconds'
		assert_contains 'mirror.example left: unable to look up mirror.example in time' got.err
		assert_objects_equal "$srv/canonical.git" got
	done
}

# 127.0.0.2 lets nobody in, as its queue is full; 127.0.0.1 serves. Whichever comes first.
two_addresses () {
	serve full perl -MIO::Socket::INET -e '
		my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.2", LocalPort => 9000, Listen => 1) or die $!;
		my @all = map { IO::Socket::INET->new(PeerAddr => "127.0.0.2", PeerPort => 9000, Blocking => 0) } 1 .. 8;
		$| = 1;
		print "up\n";
		sleep 600'
	serve daemon git daemon --export-all --listen=127.0.0.1 --port=9000 --base-path="$srv" "$srv"
	await grep -q up "$LOG/full.out"
	await git ls-remote git://127.0.0.1:9000/fresh.git
	for order in '1 2' '2 1'; do
		for last in $order; do
			echo "127.0.0.$last two.example"
		done >hosts
		rm -rf got
		git clone -q "$srv/old.git" got
		git -C got config remote.origin.url "$srv/canonical.git"
		git -C got config remote.origin.vcs mirror
		git -C got config remote.origin.mirrorUrl git://two.example:9000/fresh.git
		rm -f "$LOG/packs"
		git -C got fetch 2>got.err || { cat got.err; fail 'git fetch'; }
		cat got.err
		assert_lacks warning: got.err
		assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	done
	# It is full indeed.
	assert_fails timeout 2 perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => "127.0.0.2", PeerPort => 9000) or die'
}

if test -n "${GMF_NAMESPACE:-}"; then
	namespace_is_up namespace_up
	git config --global mirror.connectTimeout $patience
	git config --global mirror.responseTimeout $patience
	silent_resolver
	test_case 'git://' over_git
	test_case 'http' over_http
	test_case 'https' over_https
	test_case 'ssh' over_ssh
	test_case 'a learned mirror' learned
	test_case 'two addresses, one of which is silent' two_addresses
	test_done
fi

mkdir "$srv"
make_canonical_and_mirrors "$srv" >"$LOG/make" 2>&1
in_namespace -rnm 'a resolver that never answers'
