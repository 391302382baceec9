#!/bin/sh
# Which mirror is asked: by what earlier fetches have shown.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

hosts=$HOME/.cache/git-mirror-fetch/hosts.toml

start () {
	new_repo srv/canonical.git
	grow srv/canonical.git main 60 1
	for mirror in a b c; do
		cp -a srv/canonical.git srv/$mirror.git
	done
	git clone -q --no-local "$TRASH/srv/canonical.git" client
}

# a_client <dir> [<url of a mirror>...]
a_client () {
	local dir="$1"
	shift
	rm -rf "$dir"
	cp -a client "$dir"
	git -C "$dir" config remote.origin.url "$canonical"
	git -C "$dir" config remote.origin.vcs mirror
	for url; do
		git -C "$dir" config --add remote.origin.mirrorUrl "$url"
	done
}

# Everywhere the same.
news () { # <seed>
	grow srv/canonical.git main "${2:-5}" "$1" main
	for mirror in a b c; do
		rm -rf srv/$mirror.git
		cp -a srv/canonical.git srv/$mirror.git
	done
}

contacts () { wc -l <"$LOG/contacts-$1"; }

# url_past <name> <repository> [<fault>...]: by way of a link that counts who comes.
url_past () {
	local name="$1" repo="$2"
	shift 2
	: >"$LOG/contacts-$name"
	chaos "$name" --to "$git_port" --contacts "$LOG/contacts-$name" "$@" >/dev/null
	echo "git://127.0.0.1:$(chaos_port "$name")/$repo"
}

failures_back_off () {
	url_past bad a.git --cut 0 >bad
	url_past good b.git >good
	a_client got "$(cat bad)" "$(cat good)"
	git -C got config mirror.responseTimeout 2
	news 10
	git -C got fetch 2>err
	cat err
	assert_contains '^warning: mirror .* left: ' err
	before=$(contacts bad)
	news 11
	git -C got fetch -v 2>err
	cat err
	assert_eq "$before" "$(contacts bad)" 'contacts of the one that had failed'
	assert_contains 'is not asked: left alone for [0-9]+ s: ' err
	git -C got mirror list -v | awk '/^    / { printf " %s", $0; next } { printf "\n%s", $0 } END { print "" }' >list
	cat list
	assert_contains "^ 1  .*ok [0-9]+ s ago +$(cat good) " list
	assert_contains "^ -  .*left [0-9]+ s ago +$(cat bad) .*failed 1 x .*left alone for [0-9]+ s: " list
	git -C got mirror forgive >forgiven
	assert_contains "$(cat bad)" forgiven
	assert_lacks "$(cat good)" forgiven
	git -C got mirror list -v >list
	assert_lacks 'left alone' list
	a_client got "$(cat bad)"
	news 12
	git -C got fetch 2>err
	assert_at_least $((before + 1)) "$(contacts bad)" 'contacts once it is forgiven'
}

# Named on the command line, it is asked all the same.
named_is_asked () {
	git -C got fetch -q 2>/dev/null
	before=$(contacts bad)
	news 13
	(cd got && git mirror-fetch -q --mirror-url "$(cat ../bad)" 2>err)
	assert_at_least $((before + 1)) "$(contacts bad)" 'contacts'
}

not_found_is_for_one_repository () {
	url_past host missing.git >missing
	a_client got "$(cat missing)"
	news 14
	git -C got fetch 2>err
	cat err
	assert_contains 'left: no such repository' err
	git -C got mirror list -v >list
	assert_contains 'left alone' list
	# The same host has another repository.
	a_client other "$(sed 's/missing/a/' missing)"
	before=$(contacts host)
	git -C other fetch -v 2>err
	cat err
	assert_lacks 'left alone' err
	assert_at_least $((before + 1)) "$(contacts host)" 'contacts'
}

corrupt_data_is_remembered () {
	url_past flipped a.git --flip 12000 >flipped
	a_client got "$(cat flipped)"
	news 15 40
	git -C got fetch 2>err
	cat err
	assert_contains 'left: ' err
	git -C got mirror list --json >list
	cat list
	left=$(sed -n 's/.*"left_alone_seconds": \([0-9]*\).*/\1/p' list)
	assert_at_least 604700 "$left" 'seconds: a week'
	assert_fsck_clean got
}

nobody_is_blamed_when_all_fails () {
	a_client got "$(dead_url git)" "$(dead_url git)x"
	(cd got && assert_fails git mirror-fetch --mirror-only)
	git -C got mirror list -v >list
	cat list
	assert_lacks 'left alone' list
}

# A mirror behind a slow link is asked once.
a_mirror_must_pay () {
	url_past slow a.git --rate 30000 >slow
	a_client got "$(cat slow)"
	git -C got config mirror.mustPay true
	news 20 60
	git -C got fetch -v 2>err
	assert_at_least 1 "$(contacts slow)" 'contacts the first time'
	before=$(contacts slow)
	news 21 60
	git -C got fetch -v 2>err
	cat err
	assert_contains 'is not asked: canonical is expected to be as quick: ' err
	assert_eq "$before" "$(contacts slow)" 'contacts'
	assert_eq "$(git -C srv/canonical.git rev-parse main)" "$(git -C got rev-parse origin/main)" 'what came'
	# Who wants it gets it.
	news 22 60
	(cd got && git mirror-fetch -q --prefer-mirror 2>err)
	assert_at_least $((before + 1)) "$(contacts slow)" 'contacts with --prefer-mirror'
	before=$(contacts slow)
	git -C got config mirror.mustPay false
	news 23 60
	git -C got fetch 2>err
	assert_at_least $((before + 1)) "$(contacts slow)" 'contacts with mustPay = false'
}

# The first one is overloaded: from the third fetch on the fast one serves.
the_fastest_serves () {
	url_past one a.git --rate 40000 >one
	url_past two b.git --rate 100000 >two
	url_past three c.git >three
	a_client got "$(cat one)" "$(cat two)" "$(cat three)"
	for round in 31 32; do
		news $round 90
		git -C got fetch -q
	done
	for round in 33 34; do
		news $round 90
		git -C got fetch -v 2>err
		cat err
		assert_contains "^mirror: 127.0.0.1:$(chaos_port three) gave .* \(100%\), canonical 0 bytes; " err
	done
	git -C got mirror list >list
	cat list
	assert_contains "^ 1  127.0.0.1:$(chaos_port three) " list
}

# So is one that canonical has no part in.
filling_is_a_measurement () {
	a_client got "$(url_for git a.git)"
	news 35 200
	(cd got && git mirror-fetch -q --mirror-only)
	git -C got mirror list --json >list
	cat list
	assert_contains '"bytes_per_second": [0-9]' list
	assert_contains '"success": 1' list
}

probes () {
	a_client got "$(url_for git a.git)" "$(dead_url git)" "$TRASH/srv/b.git"
	git -C got mirror probe >out
	cat out
	assert_contains '/a.git +[0-9.]+ ms$' out
	assert_contains 'failed: .*refused' out
	assert_contains '/b.git +cannot be measured' out
	git -C got mirror list --json >list
	# Canonical is on the same host.
	assert_eq 2 "$(grep -c '"connect_ms": [0-9]' list)" 'places of which the connect time is known'
	git -C got -c core.gitProxy=/bin/false mirror probe >out
	assert_eq 3 "$(grep -c 'behind a proxy' out)" 'mirrors that are not measured behind a proxy'
}

the_nearest_by_geoip () {
	printf '%s\n' '127.0.0.2/32 JP AS 35.7 139.7' '127.0.0.3/32 FR EU 48.9 2.4' '127.0.0.4/32 US NA 40.7 -74.0' |
		"$HELPER/make-mmdb" places.mmdb
	a_client got git://127.0.0.2/x.git git://127.0.0.4/x.git git://127.0.0.3/x.git
	git -C got config mirror.geoipDatabase "$TRASH/places.mmdb"
	git -C got mirror list >list
	assert_contains '^ 1  127.0.0.2 ' list # without a place of our own
	git -C got config mirror.location 52.5,13.4
	git -C got mirror list >list
	cat list
	assert_contains '^ 1  127.0.0.3 ' list
	assert_contains '^ 2  127.0.0.4 ' list
	assert_contains '^ 3  127.0.0.2 ' list
	git -C got mirror list -v >list
	assert_contains '^    mirrorUrl; refs/mirror/127.0.0.3/; 8[0-9][0-9] km away' list
	git -C got config mirror.location nowhere
	git -C got mirror list >list 2>err
	assert_contains "^warning: mirror.location: 'nowhere' is no location" err
	assert_contains '^ 1  127.0.0.2 ' list
}

what_is_kept_is_private () {
	a_client got "git://user:secret@127.0.0.1:${git_port}/a.git"
	news 40
	git -C got fetch 2>err || :
	assert_eq 600 "$(stat -c %a "$hosts")" 'mode of the file'
	assert_eq 700 "$(stat -c %a "$(dirname "$hosts")")" 'mode of the folder'
	assert_lacks secret "$hosts"
	assert_contains "^\[host.\"git://127.0.0.1:$git_port\"" "$hosts"
	for garbage in '' '[[[' 'host = 1' '[host."x"]
rate = { value = nan, time = -1 }'; do
		echo "$garbage" >"$hosts"
		git -C got mirror list >list
		assert_eq 1 "$(grep -c '^ [-0-9] ' list)" 'mirrors'
		news 41
		git -C got fetch 2>err || :
	done
}

mkdir "$TRASH/srv"
start_server git "$TRASH/srv"
test_case 'repositories' start
canonical=$(url_for git canonical.git)
test_case 'a mirror that failed is left alone' failures_back_off
test_case 'but not if it is named' named_is_asked
test_case 'not found holds for one repository' not_found_is_for_one_repository
test_case 'damaged data is remembered for a week' corrupt_data_is_remembered
test_case 'nobody is blamed when everything fails' nobody_is_blamed_when_all_fails
test_case 'a mirror must pay' a_mirror_must_pay
test_case 'the fastest serves' the_fastest_serves
test_case 'filling refs/mirror/ is a measurement' filling_is_a_measurement
test_case 'probe' probes
test_case 'the nearest by GeoIP' the_nearest_by_geoip
test_case 'what is kept is private, and may be damaged' what_is_kept_is_private
test_done
