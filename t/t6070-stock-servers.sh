#!/bin/sh
# Servers without the capability hear from our client what they hear from git's,
# and nothing is noted about them.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv
trace=$LOG/server-trace

make_repos () {
	mkdir "$srv"
	new_repo "$srv/project.git"
	grow "$srv/project.git" main 40 1
	tag "$srv/project.git" v1 main~3
	cp -a "$srv/project.git" "$srv/old.git"
	grow "$srv/project.git" main 10 2
	# Stock git knows nothing of lists.
	printf 'prefer_mirror = "always"\n[[mirror]]\nurl = "https://mirror.example/x"\n' >"$srv/project.git/mirrors.toml"
}

# Of each server, what it reads is written down.
start_traced () {
	GIT_TRACE_PACKET=$trace
	export GIT_TRACE_PACKET
	start_git_daemon "$srv"
	unset GIT_TRACE_PACKET
	start_http "$srv"
	sed "s,^export ,&GIT_TRACE_PACKET='$trace' ," "$TRASH/bin/http-backend" >"$TRASH/bin/http-backend.new"
	chmod +x "$TRASH/bin/http-backend.new"
	mv "$TRASH/bin/http-backend.new" "$TRASH/bin/http-backend"
	start_ssh "$srv"
	sed "s,^export ,&GIT_TRACE_PACKET='$trace' ," "$ssh_dir/command" >"$ssh_dir/command.new"
	chmod +x "$ssh_dir/command.new"
	mv "$ssh_dir/command.new" "$ssh_dir/command"
	path_root=$srv
}

# said <command>...: what a server reads meanwhile.
said () {
	: >"$trace"
	"$@" >&2
	sleep 0.3 # the last packet is written down as it is read, after the client has gone
	sed -n 's/^.* packet: *[a-z-]*< //p' "$trace" | sort
}

work () { # <dir> <url> <git clone argument>...
	local dir="$1" url="$2"
	shift 2
	rm -rf "$dir"
	git clone -q --no-local "$@" "$url" "$dir"
	git -C "$dir" fetch -q
	git -C "$dir" update-ref refs/remotes/origin/main origin/main~5
	git -C "$dir" fetch -q origin
	git -C "$dir" ls-remote -q origin >"$dir.ls"
}

same_over () { # <transport>
	local url
	url=$(url_for "$1" project.git)
	if test "$1" = path; then
		GIT_TRACE_PACKET=$trace
		export GIT_TRACE_PACKET
	fi
	said work plain "$url" >plain.said
	said work ours "$url" -c remote.origin.vcs=mirror >ours.said
	assert_at_least 15 "$(wc -l <plain.said)" 'packets'
	assert_contains 'command=ls-refs' plain.said
	if test "$1" = path; then
		# Here the client's packets are in the same file.
		sort -u plain.said >plain.once
		sort -u ours.said >ours.once
		assert_same_file plain.once ours.once
	else
		assert_same_file plain.said ours.said
	fi
	assert_lacks 'mirror' ours.said
	test ! -e ours/.git/mirror-fetch || fail 'something is noted'
	assert_config_equal plain ours
	git -C ours config --local --get-regexp 'mirror' >settings || :
	assert_lacks . settings
	assert_refs_equal plain ours
	assert_same_file plain.ls ours.ls
	assert_no_leftovers ours
}

access_log () {
	local log="$TRASH/nginx-$http_port/access.log"
	: >"$log"
	work plain "$(url_for http project.git)"
	requests_in "$log" >plain.requests
	: >"$log"
	work ours "$(url_for http project.git)" -c remote.origin.vcs=mirror
	requests_in "$log" >ours.requests
	assert_at_least 8 "$(wc -l <plain.requests)" requests
	assert_same_file plain.requests ours.requests
}

# Method, path and status. How often progress is shown makes a difference in bytes.
requests_in () {
	sleep 0.3
	sed 's/^[^"]*"\([^"]*\)" \([0-9]*\) .*/\1 \2/' "$1"
}

of_v0 () {
	said work plain "$(url_for "$1" project.git)" >plain.said
	said work ours "$(url_for "$1" project.git)" -c remote.origin.vcs=mirror >ours.said
	assert_at_least 3 "$(wc -l <plain.said)" 'packets'
	assert_same_file plain.said ours.said
	test ! -e ours/.git/mirror-fetch || fail 'something is noted'
}

make_repos >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
start_traced
chaos v0 --to "$git_port" --strip-version

for transport in git http ssh path; do
	test_case "$transport: the same is said" same_over $transport
done
test_case 'http: the same requests' access_log
for transport in git-v0 http-v0 ssh-v0; do
	test_case "$transport: the same is said" of_v0 $transport
done
test_done
