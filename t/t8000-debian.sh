#!/bin/sh
# The Debian package, unpacked into a folder of its own: the programs run from there, man finds the pages, shells take
# the completions, and systemd the unit, whose command serves.
user_home=$HOME cargo_home=${CARGO_HOME:-$HOME/.cargo}
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

need dpkg-deb dpkg
need dpkg-shlibdeps dpkg-dev
need man man-db
need systemd-analyze systemd
need flock util-linux
# Not from Debian: cargo brings it.
if ! PATH=$PATH:$cargo_home/bin command -v cargo-deb >/dev/null; then
	if test -n "${GMF_REQUIRE:-}"; then
		echo 'Bail out! cargo-deb is missing: cargo install --locked cargo-deb'
		exit 1
	fi
	echo '1..0 # SKIP cargo-deb is missing: cargo install --locked cargo-deb'
	exit 0
fi

source=$(cd "$T/.." && pwd)
root=$TRASH/root
unit=$root/usr/lib/systemd/system/git-mirror-serve.service

it_is_built () {
	profile=$(basename "$BIN")
	test "$profile" != debug || profile=dev
	HOME=$user_home CARGO_TARGET_DIR=$(dirname "$BIN") CARGO_HOME=$cargo_home PATH=$PATH:$cargo_home/bin \
		BUILT=1 PROFILE=$profile "$source/packaging/debian/build" "$TRASH/made" --fast --offline
	dpkg-deb -x made/*.deb "$root"
	dpkg-deb -e made/*.deb control
	dpkg-deb -I made/*.deb
	grep '^Depends: .*git (>= 1:2.36)' control/control
	for script in control/p*; do sh -n "$script"; done
	# What an administrator has changed is not overwritten.
	test "$(cat control/conffiles)" = "/etc/default/git-mirror-serve
/etc/git-mirror/serve.gitconfig"
	! find "$root" -perm /022 ! -type l | grep . || fail 'anybody may write these'
}

programs_run () {
	PATH=$root/usr/bin:$(without_bin)
	export PATH
	test "$(command -v git-mirror)" = "$root/usr/bin/git-mirror"
	for name in git-mirror git-mirror-fetch git-remote-mirror; do
		"$name" -h >/dev/null || test $? = 129
	done
	new_repo canonical.git
	grow canonical.git main 20 1
	cp -a canonical.git mirror.git
	touch canonical.git/git-daemon-export-ok
	git -c "remote.origin.mirrorUrl=$TRASH/mirror.git" clone -q "mirror::$TRASH/canonical.git" clone
	grep '^result = "ok"' clone/.git/mirror-fetch/state.toml
}

without_bin () {
	echo "$PATH" | tr : '\n' | grep -v -x "$BIN" | paste -s -d :
}

man_finds_the_pages () {
	for page in 1:git-mirror 1:git-mirror-fetch 1:git-remote-mirror 5:gitprotocol-mirror 7:git-mirror-server 7:git-mirror-ci; do
		MANPATH='' man -M "$root/usr/share/man" -P cat "${page%%:*}" "${page#*:}" >page
		grep "^NAME" page
		test "$(wc -l <page)" -gt 20
	done
}

completions_are_the_programs () {
	for shell in bash:bash-completion/completions/git-mirror zsh:zsh/vendor-completions/_git-mirror \
		fish:fish/vendor_conf.d/git-mirror.fish; do
		"$root/usr/bin/git-mirror" completions "${shell%%:*}" | cmp - "$root/usr/share/${shell#*:}"
	done
	bash -n "$root/usr/share/bash-completion/completions/git-mirror"
}

systemd_takes_the_unit () {
	sed "s,/usr/bin/,$root/usr/bin/," "$unit" >git-mirror-serve.service
	systemd-analyze verify --man=no ./git-mirror-serve.service >said 2>&1 || { cat said; false; }
	cat said
	! grep git-mirror-serve said || fail 'systemd does not like a line'
	# Of 100: the lower, the less it may do.
	systemd-analyze security --no-pager --offline=true --threshold=20 ./git-mirror-serve.service
}

# What systemd makes of the unit's Environment= and ExecStart=, in words of the shell.
run_unit () {
	sed -n 's/^Environment="\{0,1\}\([A-Z_]*\)=\([^"]*\)"\{0,1\}$/\1="\2"/p' "$unit" >environment
	sed "s,/etc/,$root/etc/," environment >>environment.here
	sed -n 's/^EnvironmentFile=-//p' "$unit" | while read -r file; do cat "$root$file"; done >>environment.here
	sed "s,/srv/git,$TRASH,; s,:8080,:0," environment.here >environment
	cat environment >&2
	command=$(sed -n 's/^ExecStart=//p' "$unit")
	set -a
	. ./environment
	set +a
	eval "exec $root$command"
}

the_unit_serves () {
	# They belong to somebody else, as they do to the service.
	test "$(id -u)" != 0 || chown -R 65534:65534 canonical.git
	run_unit >url 2>said &
	echo $! >>"$LOG/pids"
	for _ in $(seq 100); do grep -q http url && break; sleep 0.1; done
	cat said
	git ls-remote "$(cat url)canonical" main | grep refs/heads/main
}

test_case 'the package is built and unpacked' it_is_built
test_case 'the programs run from there' programs_run
test_case 'man finds the pages' man_finds_the_pages
test_case 'the completions are those of the programs' completions_are_the_programs
test_case 'systemd takes the unit, and lets it do little' systemd_takes_the_unit
test_case "the unit's command serves repositories of another user" the_unit_serves
test_done
