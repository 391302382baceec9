#!/bin/sh
# Canonical's secrets never go to a mirror, a mirror's never to canonical or to
# where it redirects, and nobody is asked for a password for a mirror. All over
# HTTP, with servers that write down what they were told.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"
need openssl openssl
need script bsdutils

srv=$TRASH/srv
canon_basic=$(printf 'cu:canon-pw' | base64)
mirror_basic=$(printf 'mu:mirror-pw' | base64)

# --- canonical and a mirror, which both want a password, and another mirror ---

# listening <name> <directives>: heard-<name> is what it was told.
listening () {
	listening_name=$1
	listening_directives=$2
	serve_on_port "nginx-$1" listening_nginx
}

listening_nginx () {
	nginx_on "127.0.0.1:$port" "access_log $LOG/heard-$listening_name heard; $listening_directives" "
		log_format heard '\$request_method \$request_uri \$status \$http_authorization \$http_x_token \$http_cookie';"
}

wants () { # <user> <password>
	printf '%s:%s\n' "$1" "$(openssl passwd -apr1 "$2")" >"$TRASH/users-$1"
	echo "auth_basic $1; auth_basic_user_file $TRASH/users-$1;"
}

start_servers () {
	nginx_prerequisites "$srv"
	# Below /trap/ it says who it is to whoever reads, and wants a password of whoever writes.
	listening other 'set $what $request_method$uri; add_header WWW-Authenticate "Basic realm=trap" always;
		if ($what ~ ^POST/trap/) { return 401; }'
	other_port=$port
	listening canonical "$(wants cu canon-pw)"
	canonical_port=$port
	listening mirror "$(wants mu mirror-pw) add_header Set-Cookie 'c=from-mirror; Max-Age=9999' always;
		location /away/ { return 302 http://127.0.0.1:$other_port\$request_uri; }
		location /trap/ { return 302 http://127.0.0.1:$other_port\$request_uri; }
		location /later/ { try_files /none @later; }
		location @later { return 302 http://127.0.0.1:$other_port/trap\$request_uri; }
		location /home/ { return 302 http://127.0.0.1:$canonical_port\$request_uri; }"
	mirror_port=$port
	for name in away trap home later; do
		ln -s . "$srv/$name"
	done
	canonical=http://127.0.0.1:$canonical_port
	mirror=http://localhost:$mirror_port
	other=http://127.0.0.1:$other_port
}

# Knows canonical's password, and the mirror's while there is a file "known".
write_helpers () {
	cat >"$TRASH/bin/keeper" <<-END
	#!/bin/sh
	test "\$1" = get || exit 0
	host=\$(sed -n s/^host=//p)
	echo "\$host" >>"$LOG/asked"
	case \$host in
	127.0.0.1:$canonical_port) printf 'username=cu\npassword=canon-pw\n' ;;
	localhost:$mirror_port) test ! -e "$TRASH/known" || printf 'username=mu\npassword=mirror-pw\n' ;;
	esac
	END
	# Types a password, whoever asks.
	cat >"$TRASH/bin/typist" <<-END
	#!/bin/sh
	echo "\$1" >>"$LOG/prompts"
	case \$1 in
	Username*$canonical_port*) echo cu ;;
	Password*$canonical_port*) echo canon-pw ;;
	Username*) echo mu ;;
	*) echo mirror-pw ;;
	esac
	END
	chmod +x "$TRASH/bin/keeper" "$TRASH/bin/typist"
}

# --- a fetch, and what everybody heard ---

# fetched_from <url of canonical> <url of a mirror> [<git -c argument>...]
fetched_from () {
	local url="$1" from="$2"
	shift 2
	rm -rf got got.err
	: >"$LOG/asked" && : >"$LOG/prompts"
	for name in canonical mirror other; do : >"$LOG/heard-$name"; done
	forget_traffic
	git clone -q "$srv/old.git" got
	git -C got config remote.origin.url "$url"
	git -C got config remote.origin.vcs mirror
	cp got/.git/config config-before
	test -z "$from" || set -- "$@" -c remote.origin.mirrorUrl="$from"
	GIT_MIRROR_TRACE=1 git -C got "$@" fetch >got.out 2>got.err || { cat got.err; fail 'git fetch'; }
	cat got.err
	for name in canonical mirror other; do sed "s/^/$name heard: /" "$LOG/heard-$name"; done
	assert_objects_equal "$srv/canonical.git" got
	assert_fsck_clean got
	assert_no_leftovers got
	no_crossing
	nothing_told
}

served () { assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'; }
not_served () { assert_eq 0 "$(packed_by fresh.git)" 'bytes from the mirror'; }

no_crossing () {
	assert_lacks "canon-|cu@|$canon_basic" "$LOG/heard-mirror"
	assert_lacks "mirror-|mu@|$mirror_basic" "$LOG/heard-canonical"
	assert_lacks "canon-|mirror-|$canon_basic|$mirror_basic" "$LOG/heard-other"
}

# No secret is shown, logged or stored.
nothing_told () {
	assert_lacks "canon-pw|canon-token|mirror-pw|mirror-token|$canon_basic|$mirror_basic" got.err
	assert_same_file config-before got/.git/config
	git -C got for-each-ref >refs
	find got/.git/mirror-fetch -type f -exec cat {} + >state 2>/dev/null || :
	assert_lacks 'canon-|mirror-pw|mirror-token|@' refs
	assert_lacks 'canon-|mirror-pw|mirror-token' state
}

keeper="-c credential.helper=$TRASH/bin/keeper"

# --- passwords ---

each_its_own_password () {
	touch known
	fetched_from "$canonical/canonical.git" "$mirror/fresh.git" $keeper
	served
	assert_contains "$canon_basic" "$LOG/heard-canonical"
	assert_contains "$mirror_basic" "$LOG/heard-mirror"
	printf '%s\n' "127.0.0.1:$canonical_port" "localhost:$mirror_port" | sort >expected
	sort -u "$LOG/asked" | diff -u expected -
}

in_the_url () {
	fetched_from "http://cu:canon-pw@127.0.0.1:$canonical_port/canonical.git" \
		"http://mu:mirror-pw@localhost:$mirror_port/fresh.git"
	served
	assert_eq '' "$(cat "$LOG/asked")" 'asked of the helper'
}

# The rest of a URL is what is behind the password.
mirror_of_with_a_password () {
	for base in http:// '' "http://cu:" "http://127.0.0.1:$canonical_port/"; do
		fetched_from "http://cu:canon-pw@127.0.0.1:$canonical_port/canonical.git" '' \
			-c mirror.$other/near/.mirrorOf="$base"
	done
	assert_contains 'GET /near/canonical.git' "$LOG/heard-other"
}

in_netrc () {
	printf 'machine 127.0.0.1 login cu password canon-pw\nmachine localhost login mu password mirror-pw\n' >home/.netrc
	fetched_from "$canonical/canonical.git" "$mirror/fresh.git"
	rm home/.netrc
	served
}

# --- nobody is asked ---

# The mirror is left, by all ways in which git could ask.
never_asked () {
	rm -f known
	fetched_from "$canonical/canonical.git" "$mirror/fresh.git" $keeper "$@"
	not_served
	assert_contains 'asks for a password, and none is known' got.err
	assert_eq '' "$(cat "$LOG/prompts")" 'prompts'
	assert_contains "^localhost:$mirror_port$" "$LOG/asked"
}

no_prompt () {
	never_asked
	never_asked -c core.askPass="$TRASH/bin/typist"
	SSH_ASKPASS=$TRASH/bin/typist DISPLAY=:0 SSH_ASKPASS_REQUIRE=force GIT_TERMINAL_PROMPT=1 never_asked
	GIT_ASKPASS=$TRASH/bin/typist never_asked
}

# Canonical may ask as ever.
prompt_for_canonical_alone () {
	GIT_ASKPASS=$TRASH/bin/typist fetched_from "$canonical/canonical.git" "$mirror/fresh.git"
	not_served
	assert_contains "^Password.*$canonical_port" "$LOG/prompts"
	assert_lacks "$mirror_port" "$LOG/prompts"
}

prompt_allowed () {
	GIT_ASKPASS=$TRASH/bin/typist fetched_from "$canonical/canonical.git" "$mirror/fresh.git" $keeper -c mirror.prompt=true
	served
	assert_contains "^Password.*mu@localhost:$mirror_port" "$LOG/prompts"
	assert_lacks "$canonical_port" "$LOG/prompts"
}

typed () { # <prompt> <answer>: once the prompt is on the screen
	local attempt
	for attempt in $(seq 100); do
		if grep -a -q "$1" screen; then
			echo "$2"
			return
		fi
		sleep 0.1
	done
}

# At a terminal, from which git has to be allowed to read; stdin is the keyboard.
fetched_at_a_terminal () { # <value of mirror.prompt> <url of the mirror>
	rm -rf got
	git clone -q "$srv/old.git" got
	git -C got config remote.origin.url "$canonical/canonical.git"
	git -C got config remote.origin.vcs mirror
	git -C got config remote.origin.mirrorUrl "$2"
	git -C got config mirror.prompt "$1"
	git -C got config mirror.responseTimeout 1
	forget_traffic
	: >"$LOG/prompts"
	GIT_TERMINAL_PROMPT=1 timeout -k 5 60 script -q -e -c "git -C got $keeper fetch" /dev/null >screen
	cat screen
	assert_objects_equal "$srv/canonical.git" got
}

at_the_terminal () {
	rm -f known
	: >screen
	{
		typed "Username for '$mirror'" mu
		sleep 2 # a person is slower than a server may be
		typed "Password for '" mirror-pw
	} | fetched_at_a_terminal true "$mirror/fresh.git"
	served
	assert_lacks mirror-pw screen
	fetched_at_a_terminal false "$mirror/fresh.git" </dev/null
	not_served
	assert_lacks 'Username|Password' screen
}

# --- headers ---

unscoped_headers () {
	touch known
	for url in "$mirror/fresh.git" "http://mu:mirror-pw@localhost:$mirror_port/fresh.git" "$other/fresh.git"; do
		fetched_from "$canonical/canonical.git" "$url" $keeper -c http.extraHeader='X-Token: canon-token'
		served
		assert_contains ' canon-token ' "$LOG/heard-canonical"
	done
	# git cannot read this one, and compares no URLs then.
	fetched_from "$canonical/canonical.git" "$other/../fresh.git" $keeper -c http.extraHeader='X-Token: canon-token'
	served
}

headers_from_the_environment () {
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0='X-Token: canon-token' \
		fetched_from "$canonical/canonical.git" "$other/fresh.git" $keeper
	served
	assert_contains ' canon-token ' "$LOG/heard-canonical"
	git config --global http.extraHeader 'X-Token: canon-token'
	fetched_from "$canonical/canonical.git" "$other/fresh.git" $keeper
	git config --global --unset http.extraHeader
	served
}

scoped_headers () {
	touch known
	fetched_from "$canonical/canonical.git" "$mirror/fresh.git" $keeper \
		-c http.$canonical/.extraHeader='X-Token: canon-token' -c http.$mirror.extraHeader='X-Token: mirror-token'
	served
	assert_contains ' canon-token ' "$LOG/heard-canonical"
	assert_contains ' mirror-token ' "$LOG/heard-mirror"
}

# --- redirects ---

followed_without_secrets () {
	fetched_from "$canonical/canonical.git" "$mirror/away/fresh.git" $keeper -c http.extraHeader='X-Token: canon-token'
	assert_contains 'POST /away/fresh.git' "$LOG/heard-other"
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from behind the redirect'
}

# Nothing but the first request gets out.
not_followed () { # <url of the mirror> <git -c argument>...
	local url="$1"
	shift
	fetched_from "$canonical/canonical.git" "$url" $keeper "$@"
	not_served
	assert_contains 'redirects are not followed' got.err
	assert_eq '' "$(cat "$LOG/heard-other")" 'heard by the other'
	assert_lacks '/home/' "$LOG/heard-canonical"
}

not_followed_with_headers () {
	for place in away home; do
		not_followed "$mirror/$place/fresh.git" -c http.$mirror/.extraHeader='X-Token: mirror-token'
		not_followed "$mirror/$place/fresh.git" -c http.$mirror/.extraHeader='Authorization: Bearer mirror-token'
	done
	not_followed "$mirror/away/fresh.git" -c http.$mirror/.extraHeader='X-Token: mirror-token' -c http.followRedirects=true
}

not_followed_with_passwords () {
	touch known
	not_followed "http://mu:mirror-pw@localhost:$mirror_port/trap/fresh.git"
	not_followed "http://mu:mirror-pw@localhost:$mirror_port/home/fresh.git"
	not_followed "$mirror/trap/fresh.git" -c http.proactiveAuth=basic
}

# A password that was not sent at first is not sent on.
trapped () {
	touch known
	fetched_from "$canonical/canonical.git" "$mirror/trap/fresh.git" $keeper
	assert_contains 'POST /trap/fresh.git' "$LOG/heard-other"
	not_served
	printf 'machine localhost login mu password mirror-pw\n' >home/.netrc
	fetched_from "$canonical/canonical.git" "$mirror/trap/fresh.git" $keeper
	rm home/.netrc
	not_served
}

# One that was sent when the mirror asked for it is not sent on either.
asked_first () {
	touch known
	for follow in initial true; do
		fetched_from "$canonical/canonical.git" "$mirror/later/fresh.git" $keeper -c http.followRedirects=$follow
		assert_contains "GET /later/fresh.git.* 302 Basic $mirror_basic" "$LOG/heard-mirror"
		assert_contains 'GET /trap/later/fresh.git' "$LOG/heard-other"
		not_served
	done
}

# Who lists it vouches for the mirror, not for where that leads.
not_followed_if_learned () {
	not_followed '' -c remote.origin.listedMirror="$mirror/away/fresh.git" -c remote.origin.preferMirror=true
}

# --- cookies ---

cookies_go_to_their_host () {
	printf '%s\tFALSE\t/\tFALSE\t0\tc\t%s\n' 127.0.0.1 canon-cookie localhost mirror-cookie >cookies
	fetched_from "$canonical/canonical.git" "$mirror/fresh.git" $keeper \
		-c http.cookieFile="$TRASH/cookies" -c http.saveCookies=true
	served
	assert_contains c=canon-cookie "$LOG/heard-canonical"
	assert_contains c=mirror-cookie "$LOG/heard-mirror"
	assert_lacks from-mirror cookies
}

# --- ssh ---

# ssh itself asks nobody, and takes along nothing that logs in elsewhere.
over_ssh () {
	cat >bin/ssh <<-END
	#!/bin/sh
	echo "\$* (\$SSH_ASKPASS_REQUIRE)" >>"$LOG/ssh"
	exit 255
	END
	chmod +x bin/ssh
	GIT_SSH=$TRASH/bin/ssh
	export GIT_SSH
	: >"$LOG/ssh"
	fetched_from "$canonical/canonical.git" "ssh://mirror.example/a" $keeper
	for word in BatchMode=yes ForwardAgent=no GSSAPIDelegateCredentials=no 'never'; do
		assert_contains "$word" "$LOG/ssh"
	done
	: >"$LOG/ssh"
	fetched_from "$canonical/canonical.git" "ssh://mirror.example/a" $keeper -c mirror.prompt=true
	assert_contains ForwardAgent=no "$LOG/ssh"
	assert_lacks 'BatchMode|never' "$LOG/ssh"
	: >"$LOG/ssh"
	GIT_SSH_VARIANT=plink fetched_from "$canonical/canonical.git" "ssh://mirror.example/a" $keeper
	assert_contains '^-batch mirror.example' "$LOG/ssh"
}

# A host whose key nobody knows.
host_key () {
	touch known
	start_ssh "$srv"
	printf '%s\n' 'Host mirror' 'HostName 127.0.0.1' "Port $ssh_port" "User $(id -un)" "IdentityFile $ssh_dir/key" \
		'IdentitiesOnly yes' 'IdentityAgent none' "UserKnownHostsFile $TRASH/hosts" 'StrictHostKeyChecking ask' >ssh-config
	export GIT_SSH_COMMAND="ssh -F $TRASH/ssh-config"
	SSH_ASKPASS=$TRASH/bin/typist SSH_ASKPASS_REQUIRE=force DISPLAY=:0 \
		fetched_at_a_terminal false "ssh://mirror$srv/fresh.git" </dev/null
	not_served
	assert_lacks 'Are you sure' screen
	assert_eq '' "$(cat "$LOG/prompts")" 'prompts'
	: >screen
	typed 'Are you sure' yes | fetched_at_a_terminal true "ssh://mirror$srv/fresh.git"
	served
}

mkdir "$srv"
make_canonical_and_mirrors "$srv" >"$LOG/make" 2>&1
start_servers
write_helpers

test_case 'each has its own password, from a helper that is asked per host' each_its_own_password
test_case 'passwords in URLs' in_the_url
test_case 'canonical has a password in its URL, and mirrorOf' mirror_of_with_a_password
test_case '~/.netrc' in_netrc
test_case 'nobody is asked for the password of a mirror' no_prompt
test_case 'but for that of canonical' prompt_for_canonical_alone
test_case 'mirror.prompt' prompt_allowed
test_case 'mirror.prompt, at a terminal' at_the_terminal
test_case 'headers for no server in particular' unscoped_headers
test_case 'headers from the environment and from ~/.gitconfig' headers_from_the_environment
test_case 'headers for either' scoped_headers
test_case 'a redirect, and nothing secret' followed_without_secrets
test_case 'a redirect, and headers' not_followed_with_headers
test_case 'a redirect, and passwords' not_followed_with_passwords
test_case 'a redirect to a trap' trapped
test_case 'a redirect, once the password is there' asked_first
test_case 'a redirect of a learned mirror' not_followed_if_learned
test_case 'cookies' cookies_go_to_their_host
test_case 'ssh' over_ssh
test_case 'ssh: a host key that is not known' host_key
test_done
