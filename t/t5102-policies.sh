#!/bin/sh
# Which mirrors a client gets, and in which order, by each policy of the list:
# through git mirror serve, and through git mirror http-backend for REMOTE_ADDR.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"

mirror () { # <name> [<line>...]
	printf '[[mirror]]\nurl = "https://%s.example.net/p.git"\n' "$1"
	shift
	test $# = 0 || printf '%s\n' "$@"
}

world () {
	mirror sydney 'country = "AU"' 'location = "-33.9,151.2"'
	mirror berlin 'country = "DE"' 'location = "52.5,13.4"'
	mirror tokyo 'country = "JP"' 'location = "35.7,139.7"'
	mirror newyork 'country = "US"' 'location = "40.7,-74.0"'
	mirror paris 'country = "FR"' 'location = "48.9,2.4"'
	mirror somewhere
}

make_repos () {
	mkdir srv
	cd srv
	new_repo fixed.git
	{
		echo 'policy = "fixed"'
		mirror c 'priority = 200'
		mirror a 'priority = 1' 'weight = 1'
		mirror b 'priority = 1' 'weight = 1000'
		mirror d
	} >fixed.git/mirrors.toml
	new_repo random.git
	{
		echo 'policy = "random"'
		for name in a b c d e f g h i; do mirror $name; done
		mirror heavy 'weight = 5000'
		mirror last 'weight = 0'
		mirror late 'priority = 101' 'weight = 100000'
	} | sed '1s/$/\nfirst = 64/' >random.git/mirrors.toml
	new_repo geoip.git
	{
		echo 'policy = "geoip"'
		echo 'geoip_database = "where.mmdb"'
		world
	} >geoip.git/mirrors.toml
	"$HELPER/make-mmdb" geoip.git/where.mmdb <<-\END
	192.0.2.0/24 DE EU 52.5 13.4
	192.0.2.128/25 FR EU 43.3 5.4
	198.51.100.0/24 NZ OC -41.3 174.8 flat
	203.0.113.0/24 CA NA 45.5 -73.6
	2001:db8::/32 JP AS 34.7 135.5
	2001:db8:ffff::/48 US NA 37.8 -122.4
	END
	cp -a geoip.git changing.git
	cp -a geoip.git lost.git # its database is missing
	rm lost.git/where.mmdb
	cp -a geoip.git broken.git
	echo 'no database' >broken.git/where.mmdb
	new_repo countries.git
	{
		echo 'policy = "geoip"'
		echo 'geoip_database = "../geoip.git/where.mmdb"'
		mirror everybody
		mirror only 'only_countries = ["FR", "JP"]'
		mirror except 'exclude_countries = "FR"'
		mirror net 'networks = ["192.0.2.0/28", "2001:db8:1::/48"]'
	} >countries.git/mirrors.toml
	for name in *.git; do
		git-mirror check-config $name/mirrors.toml || case $name in
		lost.git | broken.git) ;;
		*) fail "$name/mirrors.toml" ;;
		esac
	done
}

# order <repository> [<address>]: the names of the mirrors as a client there gets them.
order () {
	if test $# = 2; then
		"$HELPER/ask" --header "X-Forwarded-For: $2" "$trusting_http$1" command=mirror 0001 0000 >answer
	else
		"$HELPER/ask" "$trusting_http$1" command=mirror 0001 0000 >answer
	fi
	names <answer
}

names () {
	sed -n 's,^mirror https://\([^.]*\)\..*,\1,p' | tr '\n' ' ' | sed 's/ $//'
}

fixed () {
	assert_eq 'a b d c' "$(order fixed.git)"
	assert_eq 'a b d c' "$(order fixed.git 192.0.2.1)" # for whoever asks
	assert_contains '^client address=192.0.2.1$' answer
	assert_contains '^mirror https://a.example.net/p.git priority=1 weight=1$' answer
	"$HELPER/ask" "${trusting_git}fixed.git" command=mirror 0001 0000 >answer
	assert_eq 'a b d c' "$(names <answer)"
	git-mirror upload-pack --http-backend-info-refs srv/fixed.git >/dev/null
	"$HELPER/ask" "exec:git-mirror upload-pack srv/fixed.git" command=mirror 0001 0000 >answer
	assert_eq 'a b d c' "$(names <answer)"
}

random () {
	first=$(order random.git 198.18.0.1)
	for i in 1 2 3; do # one client, one order
		assert_eq "$first" "$(order random.git 198.18.0.1)"
	done
	: >orders
	for i in $(seq 30); do
		order random.git "198.18.1.$i" >>orders
		echo >>orders
	done
	cat orders
	assert_at_least 10 "$(sort -u orders | grep -c .)" 'different orders of 30'
	# The heavy one is before the others for most of the clients.
	assert_at_least 20 "$(grep -c '^heavy' orders)" 'times that the heavy one is first'
	# Priority goes before weight, weight 0 after all others.
	assert_eq 30 "$(grep -c ' last late$' orders)" 'orders that end as they must'
	# All of them, each once; and all pages have the same order.
	assert_eq 12 "$(echo "$first" | tr ' ' '\n' | sort -u | grep -c .)" 'mirrors'
	page=
	for offset in 0 4 8; do
		"$HELPER/ask" --header 'X-Forwarded-For: 198.18.0.1' "${trusting_http}random.git" \
			command=mirror 0001 limit=4 offset=$offset 0000 >answer
		page="$page $(names <answer)"
	done
	assert_eq " $first" "$page" 'pages together'
}

geoip () {
	assert_eq 'berlin paris newyork tokyo sydney somewhere' "$(order geoip.git 192.0.2.1)"
	assert_contains '^client address=192.0.2.1 country=DE location=52.5,13.4$' answer
	# The country goes before the distance.
	assert_eq 'paris berlin newyork tokyo sydney somewhere' "$(order geoip.git 192.0.2.200)"
	# The flat layout; and all get at least five where there are five.
	assert_eq 'sydney tokyo newyork berlin paris somewhere' "$(order geoip.git 198.51.100.9)"
	assert_contains 'country=NZ location=-41.3,174.8$' answer
	# No mirror in Canada: the nearest.
	assert_eq 'newyork' "$(order geoip.git 203.0.113.77 | cut -d ' ' -f 1)"
	# IPv6, and IPv4 written as such.
	assert_eq 'tokyo' "$(order geoip.git 2001:db8::1 | cut -d ' ' -f 1)"
	assert_contains '^client address=2001:db8::1 country=JP' answer
	assert_eq 'newyork' "$(order geoip.git 2001:db8:ffff::1 | cut -d ' ' -f 1)"
	assert_eq 'berlin' "$(order geoip.git ::ffff:192.0.2.1 | cut -d ' ' -f 1)"
	# The v0 tokens follow it, too.
	"$HELPER/ask" --version 0 --header 'X-Forwarded-For: 2001:db8::1' "${trusting_http}geoip.git" >answer
	grep -o 'mirror=https://[a-z]*' answer >tokens
	assert_eq mirror=https://tokyo "$(head -n 1 tokens)"
}

# Who is unknown gets all of them, by chance; one client always the same.
by_chance () { # <repository> <network of 256 addresses>
	: >orders
	for i in $(seq 20); do
		order "$1" "$2$i" >>orders
		echo >>orders
		assert_lacks '^client .*country=' answer
	done
	assert_at_least 5 "$(sort -u orders | grep -c .)" 'different orders of 20'
	awk 'NF != 6 { exit 1 }' orders || { cat orders; fail 'not all of the mirrors'; }
	assert_eq "$(order "$1" "${2}7")" "$(order "$1" "${2}7")"
}

unknown_address () {
	by_chance geoip.git 198.18.0.
	by_chance geoip.git 2001:db9::
	order geoip.git >/dev/null # from loopback
	assert_contains '^client address=127.0.0.1$' answer
}

no_database () {
	by_chance lost.git 192.0.2.
	by_chance broken.git 192.0.2.
	assert_contains 'GeoIP is not used: .*broken.git/where.mmdb' "$LOG/trusting.log"
}

countries () {
	set_of () { order "$@" | tr ' ' '\n' | sort | tr '\n' ' '; }
	assert_eq 'everybody except net ' "$(set_of countries.git 192.0.2.1)"
	assert_eq 'net' "$(order countries.git 192.0.2.1 | cut -d ' ' -f 1)" # the longest prefix first
	assert_eq 'everybody net only ' "$(set_of countries.git 192.0.2.200)"
	assert_eq 'everybody except net only ' "$(set_of countries.git 2001:db8::1)"
	assert_eq 'net' "$(order countries.git 2001:db8:1::9 | cut -d ' ' -f 1)"
	# An unknown country is in none that a mirror is only for, nor in one that it excludes.
	assert_eq 'everybody except net ' "$(set_of countries.git 198.18.0.1)"
}

# A new database changes the order and the id; the server goes on.
new_database () {
	id () { "$HELPER/ask" "${trusting_http}changing.git" | sed -n 's/^mirror=//p'; }
	nearest () { order changing.git 192.0.2.1 | cut -d ' ' -f 1; }
	before=$(id)
	assert_eq berlin "$(nearest)"
	echo '192.0.2.0/24 AU OC -33.9 151.2' | "$HELPER/make-mmdb" srv/changing.git/new
	mv srv/changing.git/new srv/changing.git/where.mmdb
	for attempt in $(seq 40); do # a server looks at its files once a second
		test "$(nearest)" != sydney || test "$(id)" = "$before" || break
		sleep 0.1
	done
	assert_eq sydney "$(nearest)" 'the nearest'
	test "$(id)" != "$before" || fail 'the id is still the same'
}

# A client chooses its own address only where the operator has said so.
untrusted () {
	for header in 'X-Forwarded-For: 192.0.2.1' 'X-Forwarded-For: 192.0.2.1, 127.0.0.1' 'Forwarded: for=192.0.2.1' \
		'X-Real-IP: 192.0.2.1'; do
		"$HELPER/ask" --header "$header" "${plain_http}geoip.git" command=mirror 0001 0000 >answer
		assert_contains '^client address=127.0.0.1$' answer
	done
}

# The last address that is none of the proxies'.
chains () {
	order geoip.git '192.0.2.1, 203.0.113.5' >/dev/null
	assert_contains '^client address=203.0.113.5 country=CA ' answer
	order geoip.git '203.0.113.5, 192.0.2.1, 127.0.0.1' >/dev/null
	assert_contains '^client address=192.0.2.1 ' answer
	order geoip.git 'nonsense' >/dev/null
	assert_contains '^client address=127.0.0.1$' answer
	assert_contains ' 192.0.2.1 "POST /geoip.git/git-upload-pack' "$LOG/trusting.log"
}

# cgi <variable=value>...: the answer of the program itself.
cgi () {
	printf '0013command=mirror\n0000' |
		env GIT_PROJECT_ROOT="$TRASH/srv" PATH_INFO=/geoip.git/git-upload-pack REQUEST_METHOD=POST \
			CONTENT_TYPE=application/x-git-upload-pack-request CONTENT_LENGTH=23 \
			HTTP_GIT_PROTOCOL=version=2 SERVER_PROTOCOL=HTTP/1.1 "$@" git-mirror http-backend >answer
	cat answer
}

of_a_cgi_program () {
	cgi REMOTE_ADDR=192.0.2.1
	assert_contains 'Content-Type: application/x-git-upload-pack-result' answer
	assert_contains 'client address=192.0.2.1 country=DE' answer
	assert_eq berlin "$(sed -n 's,^.*mirror https://\([^.]*\)\..*,\1,p' answer | head -n 1)"
	cgi REMOTE_ADDR=2001:db8::1
	assert_contains 'client address=2001:db8::1 country=JP' answer
	cgi REMOTE_ADDR=127.0.0.1 HTTP_X_FORWARDED_FOR=192.0.2.1
	assert_contains 'client address=127.0.0.1$' answer
	cgi REMOTE_ADDR=127.0.0.1 HTTP_X_FORWARDED_FOR=192.0.2.1 GIT_MIRROR_TRUSTED_PROXIES=10.0.0.1,127.0.0.1
	assert_contains 'client address=192.0.2.1 country=DE' answer
	cgi REMOTE_ADDR=
	assert_lacks 'client address' answer
}

# Over ssh and git:// the address comes from the connection.
of_upload_pack () {
	where="exec:git-mirror upload-pack srv/geoip.git"
	SSH_CONNECTION='192.0.2.1 50000 10.0.0.1 22' "$HELPER/ask" "$where" command=mirror 0000 >answer
	assert_contains '^client address=192.0.2.1 country=DE' answer
	REMOTE_ADDR='[2001:db8::1]' "$HELPER/ask" "$where" command=mirror 0000 >answer
	assert_contains '^client address=2001:db8::1 country=JP' answer
	"$HELPER/ask" "${trusting_git}geoip.git" command=mirror 0000 >answer
	assert_contains '^client address=127.0.0.1$' answer
}

test_case 'repositories, lists and databases' make_repos
start_mirror_server trusting "$TRASH/srv" --trusted-proxies 127.0.0.1 \
	--listen http://127.0.0.1:0 --listen git://127.0.0.1:0
start_mirror_server plain "$TRASH/srv" --trusted-proxies 192.0.2.99 --listen http://127.0.0.1:0
test_case 'fixed' fixed
test_case 'random' random
test_case 'geoip: IPv4, IPv6, both layouts' geoip
test_case 'geoip: an unknown address' unknown_address
test_case 'geoip: no database, or a broken one' no_database
test_case 'geoip: countries and networks' countries
test_case 'geoip: a new database' new_database
test_case 'X-Forwarded-For of anybody' untrusted
test_case 'X-Forwarded-For through several proxies' chains
test_case 'the address in a CGI program' of_a_cgi_program
test_case 'the address over ssh and git://' of_upload_pack
test_done
