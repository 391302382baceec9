#!/bin/sh
# Names of mirrors that a server lists, and DNS that answers what suits it: the
# addresses that were looked at are the ones that are used. In namespaces of this
# test; nothing leaves them.
#
#   203.0.113.7   canonical, over git://
#   203.0.113.8   the mirror, over git:// (9000) and http:// (8000)
#   127.0.0.1, 10.9.9.9, 169.254.169.254, 64:ff9b::7f00:1
#                 traps on the mirror's ports: who connects is written down
. "$(dirname "$0")/lib.sh"
. "$T/lib-namespace.sh"
need ssh openssh-client

patience=3

namespace_up () {
	printf 'nameserver 127.0.0.53\noptions timeout:30 attempts:1\n' >"$TRASH/resolv.conf"
	: >"$TRASH/hosts"
	ip link set lo up &&
		for address in 127.0.0.53/32 203.0.113.7/32 203.0.113.8/32 203.0.113.9/32 10.9.9.9/32 169.254.169.254/32 \
			64:ff9b::7f00:1/128
		do
			ip address add "$address" dev lo || return
		done &&
		mount --bind "$TRASH/resolv.conf" /etc/resolv.conf && mount --bind "$TRASH/hosts" /etc/hosts &&
		perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalAddr => "127.0.0.53", LocalPort => 53, Proto => "udp") or die $!'
}

start_servers () {
	serve resolver "$HELPER/lying-resolver" 127.0.0.53 "$TRASH/answers"
	serve daemon git daemon --listen=203.0.113.7 --listen=203.0.113.8 --port=9000 --base-path="$srv" --export-all "$srv"
	serve public git daemon --listen=203.0.113.7 --port=9002 --base-path="$srv" --export-all "$srv"
	serve web "$BIN/git-mirror" serve --listen http://203.0.113.8:8000 "$srv"
	serve trap perl -MIO::Socket::IP -MIO::Select -e '
		my @all = map { my $host = $_;
			map { IO::Socket::IP->new(LocalHost => $host, LocalPort => $_, Listen => 9, ReuseAddr => 1) or die "$host: $@" }
			9000, 8000, 2222 } @ARGV;
		$| = 1;
		print "up\n";
		my $all = IO::Select->new(@all);
		while (1) {
			for ($all->can_read) {
				my $client = $_->accept or next;
				print "trapped ", $client->sockhost, " ", $client->sockport, "\n";
			}
		}' 127.0.0.1 10.9.9.9 169.254.169.254 64:ff9b::7f00:1
	serve ssh perl -MIO::Socket::INET -e '
		my $listener = IO::Socket::INET->new(LocalAddr => "203.0.113.8", LocalPort => 2222, Listen => 9, ReuseAddr => 1) or die;
		$| = 1;
		print "up\n";
		print "called\n" while $listener->accept'
	serve proxy "$HELPER/plain-proxy" 203.0.113.9 3128 203.0.113.8
	for name in resolver trap ssh proxy; do
		await grep -q up "$LOG/$name.out"
	done
	await git ls-remote git://203.0.113.7:9000/canonical.git
	await git ls-remote http://203.0.113.8:8000/near.git
}

answers () { # <line>...
	printf '%s\n' "$@" >"$TRASH/answers.new"
	mv "$TRASH/answers.new" "$TRASH/answers"
}

# fetched <canonical> <mirror>: with this mirror as one that canonical has listed.
fetched () {
	rm -rf got "$LOG/packs"
	forget_hosts
	: >"$LOG/trap.out"
	: >"$LOG/resolver.out"
	: >"$LOG/proxy.out"
	: >"$LOG/ssh.out"
	git clone -q "$srv/old.git" got
	git -C got config remote.origin.url "$1"
	git -C got config remote.origin.vcs mirror
	git -C got config remote.origin.listedMirror "$2"
	git -C got config remote.origin.preferMirror true
	local before="$(date +%s)"
	git -C got fetch 2>got.err || { cat got.err; fail 'git fetch'; }
	cat got.err
	assert_at_most $((patience + 10)) $(($(date +%s) - before)) seconds
	assert_objects_equal "$srv/canonical.git" got
	sleep 0.1
	assert_lacks trapped "$LOG/trap.out"
}

is_used () { # <canonical> <mirror>
	fetched "$@"
	assert_lacks warning: got.err
	assert_at_least 1 "$(packed_by near.git)" 'bytes from the mirror'
}

is_refused () { # <canonical> <mirror> <why>
	fetched "$1" "$2"
	assert_contains "$3" got.err
	assert_eq 0 "$(packed_by near.git)" 'bytes from the mirror'
}

public=git://203.0.113.7:9000/canonical.git

mirrors () { # <name>: over each transport
	echo "git://$1:9000/near.git http://$1:8000/near.git ssh://$1:2222/near.git"
}

cannot_be_looked_up () {
	local why url
	for why in SERVFAIL NXDOMAIN; do
		for url in $(mirrors m.example); do
			answers "m.example $why | 127.0.0.1"
			is_refused $public "$url" 'm.example.* left: unable to look up m.example'
		done
	done
}

answers_late () {
	local url
	for url in $(mirrors m.example); do
		answers 'm.example SILENT | 127.0.0.1'
		is_refused $public "$url" 'left: unable to look up m.example in time'
	done
}

# What is public at first is what is used, whatever the name means a moment later.
rebinding () {
	answers 'm.example 203.0.113.8 | 127.0.0.1' 'n.example 203.0.113.8 | 127.0.0.1'
	is_used $public git://m.example:9000/near.git
	is_used $public http://n.example:8000/near.git
	for url in http://M.Example:8000/near.git http://m.example.:8000/near.git git://m.example.:9000/near.git; do
		answers 'm.example 203.0.113.8 | 127.0.0.1'
		is_used $public $url
	done
	answers 'm.example 203.0.113.8 | 127.0.0.1'
	fetched $public ssh://git@m.example:2222/near.git
	assert_contains called "$LOG/ssh.out"
}

some_address_is_private () {
	local url answer
	for answer in 203.0.113.8,127.0.0.1 203.0.113.8,10.9.9.9 0.0.0.0 :: ::ffff:127.0.0.1 64:ff9b::7f00:1 ::1 \
		203.0.113.8,169.254.169.254 cname:a.example
	do
		for url in $(mirrors m.example); do
			answers "m.example $answer" 'a.example cname:b.example' 'b.example 127.0.0.1'
			is_refused $public "$url" 'left: it is on a (private|link-local) address'
		done
	done
}

many_addresses () {
	# The last of 64 is private.
	answers "m.example $(seq -s , -f 203.0.113.%g 100 162),127.0.0.1"
	is_refused $public git://m.example:9000/near.git 'on a private address'
	# A chain of names, and 30 addresses that all are the mirror.
	answers 'm.example cname:a.example' 'a.example cname:b.example' \
		"b.example $(for _ in $(seq 30); do printf 203.0.113.8,; done)203.0.113.8"
	is_used $public git://m.example:9000/near.git
	is_used $public http://m.example:8000/near.git
}

# A canonical that has a public address is public, whatever others its name has.
canonical_is_public () {
	for other in 10.9.9.9 169.254.169.254 127.0.0.1; do
		answers "canonical.example 203.0.113.7,$other"
		is_refused git://canonical.example:9002/canonical.git git://10.9.9.9:9000/near.git 'on a private address'
		is_refused git://canonical.example:9002/canonical.git http://127.0.0.1:8000/near.git 'on a private address'
	done
}

# With a server on a private address and a mirror in the same network.
canonical_is_private () {
	serve inside git daemon --listen=10.9.9.9 --port=9001 --base-path="$srv" --export-all "$srv"
	await git ls-remote git://10.9.9.9:9001/near.git
	answers 'canonical.example 10.9.9.9' 'm.example 10.9.9.9 | 127.0.0.1'
	is_used git://canonical.example:9001/canonical.git git://m.example:9001/near.git
	is_used git://canonical.example:9001/canonical.git git://10.9.9.9:9001/near.git
}

# Not even then, and not if the user allows private ones.
never () {
	local canonical url
	answers 'm.example 169.254.169.254' 'n.example 203.0.113.8,169.254.169.254' 'canonical.example 10.9.9.9'
	git config --global mirror.allowPrivate true
	for canonical in $public git://10.9.9.9:9001/canonical.git git://canonical.example:9001/canonical.git; do
		for url in $(mirrors m.example) $(mirrors n.example) $(mirrors 169.254.169.254) http://2852039166:8000/near.git \
			http://0251.0376.0251.0376:8000/near.git git://[::ffff:169.254.169.254]:9000/near.git
		do
			is_refused $canonical "$url" 'it is on a link-local address'
		done
	done
	git config --global --unset mirror.allowPrivate
}

# Behind a proxy, names are the proxy's to look up; then nobody but the proxy is connected to.
behind_a_proxy () {
	git config --global http.proxy http://203.0.113.9:3128
	for why in SERVFAIL 'NXDOMAIN | 127.0.0.1' '203.0.113.8 | 127.0.0.1' SILENT; do
		answers "m.example $why"
		is_used $public http://m.example:8000/near.git
		assert_contains '^m.example 8000' "$LOG/proxy.out"
	done
	# What is known to be private is not left to the proxy, nor is an address.
	for answer in 127.0.0.1 203.0.113.8,10.9.9.9 169.254.169.254; do
		answers "m.example $answer"
		is_refused $public http://m.example:8000/near.git 'it is on a (private|link-local) address'
		assert_lacks example "$LOG/proxy.out"
	done
	is_refused $public http://127.0.0.1:8000/near.git 'private'
	is_refused $public http://nas.internal:8000/near.git 'private'
	# A host that needs no proxy is looked up here.
	answers 'm.example NXDOMAIN | 127.0.0.1'
	no_proxy=example is_refused $public http://m.example:8000/near.git 'unable to look up m.example'
	# Nor is one looked up by the proxy where curl does it.
	git config --global http.proxy socks5://203.0.113.9:3128
	answers 'm.example NXDOMAIN | 127.0.0.1'
	is_refused $public http://m.example:8000/near.git 'unable to look up m.example'
	git config --global --unset http.proxy
	answers 'm.example NXDOMAIN | 127.0.0.1'
	http_proxy=http://203.0.113.9:3128 is_used $public http://m.example:8000/near.git
	# The proxy of other URLs is none for this one.
	git config --global http.https://m.example/.proxy http://203.0.113.9:3128
	answers 'm.example NXDOMAIN | 127.0.0.1'
	is_refused $public http://m.example:8000/near.git 'unable to look up m.example'
	git config --global --unset http.https://m.example/.proxy
}

# Over git://, a proxy is a command.
behind_a_proxy_command () {
	printf '#!/bin/sh\necho "$@" >>"%s"\nexec perl -MIO::Socket::INET -MIO::Select -e '\''%s'\'' "$1" "$2"\n' "$LOG/proxied" '
		my ($host, $port) = @ARGV;
		my $server = IO::Socket::INET->new(PeerAddr => $host =~ /example/ ? "203.0.113.8" : $host, PeerPort => $port) or die;
		my $both = IO::Select->new(\*STDIN, $server);
		while (1) {
			for my $from ($both->can_read) {
				sysread $from, my $data, 65536 or exit;
				syswrite $from == $server ? \*STDOUT : $server, $data;
			}
		}' >"$TRASH/proxy-command"
	chmod +x "$TRASH/proxy-command"
	GIT_PROXY_COMMAND=$TRASH/proxy-command
	export GIT_PROXY_COMMAND
	answers 'm.example 203.0.113.8 | 127.0.0.1'
	is_used $public git://m.example:9000/near.git
	assert_contains '^203.0.113.8 9000' "$LOG/proxied"
	answers 'm.example NXDOMAIN'
	is_used $public git://m.example:9000/near.git
	assert_contains '^m.example 9000' "$LOG/proxied"
	answers 'm.example 127.0.0.1'
	is_refused $public git://m.example:9000/near.git 'private address'
	unset GIT_PROXY_COMMAND
}

# The user's ssh_config(5) is the user's: another name, a port, the name of the key. One that knows no options, or that
# does not tell, gets no name that it would look up itself, and no more time than others.
over_ssh () {
	mkdir -p "$HOME/.ssh"
	cat >"$TRASH/ssh_config" <<-END
	Host alias.example
		HostName m.example
		Port 2222
	Host jump.example
		ProxyCommand sh -c 'echo "\$1" >>"\$0"' "$LOG/jumped" "%h"
	END
	GIT_SSH_COMMAND="ssh -F $TRASH/ssh_config"
	export GIT_SSH_COMMAND
	answers 'm.example 203.0.113.8 | 127.0.0.1'
	fetched $public ssh://alias.example/near.git
	assert_contains called "$LOG/ssh.out"
	answers 'm.example NXDOMAIN | 127.0.0.1'
	is_refused $public ssh://alias.example/near.git 'unable to look up m.example'
	# What makes the connection gets the address; the name where only it can know.
	answers 'jump.example 203.0.113.8 | 127.0.0.1'
	fetched $public ssh://jump.example/near.git
	await grep -qx 203.0.113.8 "$LOG/jumped"
	answers 'jump.example NXDOMAIN'
	fetched $public ssh://jump.example/near.git
	await grep -qx jump.example "$LOG/jumped"
	assert_eq 2 "$(grep -c . "$LOG/jumped")" 'connections through it'

	printf '#!/bin/sh\necho "$@" >>"%s"\nexit 1\n' "$LOG/simple" >"$TRASH/simple"
	printf '#!/bin/sh\nsleep 100\n' >"$TRASH/sleeping"
	chmod +x "$TRASH/simple" "$TRASH/sleeping"
	for GIT_SSH_COMMAND in "$TRASH/simple" plink "tortoiseplink -x"; do
		answers 'm.example 203.0.113.8'
		is_refused $public ssh://m.example/near.git 'OpenSSH is needed'
	done
	rm -f "$LOG/simple"
	GIT_SSH_COMMAND=$TRASH/simple
	fetched $public ssh://203.0.113.8/near.git
	assert_contains '^203.0.113.8 git-upload-pack' "$LOG/simple"
	GIT_SSH_COMMAND=$TRASH/sleeping
	is_refused $public ssh://m.example:2222/near.git 'no answer in time'
	unset GIT_SSH_COMMAND
}

# Before a fetch, mirrors may be connected to for a measurement.
probing () {
	rm -rf got
	git clone -q "$srv/old.git" got
	git -C got config remote.origin.url $public
	for name in m n o; do
		git -C got config --add remote.origin.listedMirror git://$name.example:9000/near.git
	done
	git -C got config --add remote.origin.listedMirror http://m.example:8000/near.git
	answers 'm.example 127.0.0.1' 'n.example SERVFAIL | 127.0.0.1' 'o.example 203.0.113.8 | 127.0.0.1'
	: >"$LOG/trap.out"
	git -C got mirror probe >probed 2>&1 || :
	cat probed
	assert_contains 'git://m.example.* private address' probed
	assert_contains 'git://n.example.* unable to look up' probed
	assert_contains 'git://o.example.* ms' probed
	assert_lacks trapped "$LOG/trap.out"
}

if test -n "${GMF_NAMESPACE:-}"; then
	namespace_is_up namespace_up
	start_servers
	git config --global mirror.connectTimeout $patience
	git config --global mirror.responseTimeout $patience
	test_case 'a name that cannot be looked up' cannot_be_looked_up
	test_case 'a name that is not answered for in time' answers_late
	test_case 'a name that means something else each time' rebinding
	test_case 'names with an address that is not public' some_address_is_private
	test_case 'names with many addresses' many_addresses
	test_case 'canonical has a public and a private address' canonical_is_public
	test_case 'canonical is private' canonical_is_private
	test_case 'what no server may name' never
	test_case 'behind an HTTP proxy' behind_a_proxy
	test_case 'behind a proxy command' behind_a_proxy_command
	test_case 'over ssh, with its settings' over_ssh
	test_case 'probing' probing
	test_done
fi

mkdir "$srv"
make_canonical_and_mirrors "$srv" >"$LOG/make" 2>&1
cp -a "$srv/fresh.git" "$srv/near.git"
in_namespace -rnm 'names that lie'
