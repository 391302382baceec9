#!/bin/sh
# lib-learning.sh - a client learns mirrors from canonical, over one transport.
#
# A thin script sets $transport to path, git, http (git mirror serve), nginx
# (git mirror http-backend) or ssh (git-upload-pack in PATH), and sources this
# and lib-learning-cases.sh.
#
#   $canonical           canonical's URL
#   learner <dir> ...    a clone of it, with nothing configured but the helper
#   offers <prefer> <mirror>...   canonical's list from now on; $list_head is its head
#   requests, asked      how often canonical was asked for something, for its list

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

# --- what is served ---

# make_listed_repos <dir>
#
#   canonical.git         80 commits, two tags
#   near, mid, far.git    the same
#   late.git              ten commits behind, for canonical to complete
make_listed_repos () {
	local name
	mkdir "$1"
	new_repo "$1/canonical.git"
	grow "$1/canonical.git" main 60 1
	tag "$1/canonical.git" v1 main~10
	cp -a "$1/canonical.git" "$1/late.git"
	grow "$1/canonical.git" main 10 2
	tag "$1/canonical.git" v2 main~2
	for name in near mid far; do
		cp -a "$1/canonical.git" "$1/$name.git"
	done
}

start_mirrors () {
	if test "$transport" = ssh; then
		start_ssh "$srv"
		mkdir "$TRASH/entry"
		ln -s "$BIN/git-mirror" "$TRASH/entry/git-upload-pack"
		sed "s,^	exec .*,	exec '$HELPER/count-answers' '$LOG/answers' \"\$repo\" -- sh -c \"\$SSH_ORIGINAL_COMMAND\" ;;,
			s,PATH=',&$TRASH/entry:," "$ssh_dir/command" >"$ssh_dir/command.new"
		chmod +x "$ssh_dir/command.new"
		mv "$ssh_dir/command.new" "$ssh_dir/command"
	else
		start_git_daemon "$srv"
	fi
}

mirror_url () { # <name>: of a mirror; "dead<n>" is down
	case $transport,$1 in
	ssh,dead*) echo "ssh://gmf-dead$srv/$1.git" ;;
	ssh,*) echo "ssh://gmf-server$srv/$1.git" ;;
	*,dead*) echo "git://127.0.0.1:1/$1.git" ;;
	*) echo "git://127.0.0.1:$git_port/$1.git" ;;
	esac
}

start_canonical () {
	case $transport in
	path)
		canonical=$srv/canonical.git
		upload_pack=$TRASH/bin/counting-upload-pack
		printf '#!/bin/sh\nexec "%s" "%s" canonical.git -- git mirror upload-pack "$@"\n' \
			"$HELPER/count-answers" "$LOG/answers" >"$upload_pack"
		chmod +x "$upload_pack"
		;;
	git)
		start_canonical_server git
		chaos canonical --to "$server_port" --count "$LOG/answers" canonical.git
		canonical=git://127.0.0.1:$(chaos_port canonical)/canonical.git
		;;
	http)
		start_canonical_server http
		canonical=http://127.0.0.1:$server_port/canonical.git
		;;
	nginx)
		start_http "$srv"
		sed 's,-- git http-backend,-- git mirror http-backend,' "$TRASH/bin/http-backend" >"$TRASH/bin/http-backend.new"
		chmod +x "$TRASH/bin/http-backend.new"
		mv "$TRASH/bin/http-backend.new" "$TRASH/bin/http-backend"
		canonical=http://127.0.0.1:$http_port/canonical.git
		;;
	ssh) canonical=ssh://gmf-server$srv/canonical.git ;;
	esac
}

start_canonical_server () { # <scheme>: git mirror serve; sets $server_port
	start_git_mirror_serve canonical "$srv" "$1"
	server_port=$(served_port canonical)
}

# start_git_mirror_serve <name> <root> <scheme> [<argument>...]: its log is $LOG/<name>.log.
start_git_mirror_serve () {
	local name="$1" root="$2" scheme="$3" attempt
	shift 3
	"$HELPER/own-group" "$BIN/git-mirror" serve --listen "$scheme://127.0.0.1:0" "$@" "$root" \
		>"$LOG/$name.url" 2>"$LOG/$name.log" </dev/null &
	echo $! >>"$LOG/pids"
	for attempt in $(seq 200); do
		test ! -s "$LOG/$name.url" || return 0
		sleep 0.05
	done
	sed 's/^/# /' "$LOG/$name.log"
	echo 'Bail out! git mirror serve does not start'
	exit 1
}

served_port () { # <name>
	sed -n '1s,.*:\([0-9]*\)/*$,\1,p' "$LOG/$1.url"
}

# --- canonical's list ---

list_head=
offers () { # <prefer> <mirror>...
	local prefer="$1" before name
	shift
	before=$(list_id)
	{
		echo "prefer_mirror = \"$prefer\""
		echo "$list_head"
		for name in "$@"; do
			printf '[[mirror]]\nurl = "%s"\n' "$(mirror_url "$name")"
			case $name in
			near) echo 'country = "DE"' ;;
			mid) echo 'country = "FR"' ;;
			far) echo 'country = "US"' ;;
			esac
		done
	} >"$srv/list.new"
	! cmp -s "$srv/list.new" "$srv/canonical.git/mirrors.toml" || return 0
	mv "$srv/list.new" "$srv/canonical.git/mirrors.toml"
	await_list_other_than "$before"
}

offers_nothing () {
	local before="$(list_id)"
	rm -f "$srv/canonical.git/mirrors.toml"
	await_list_other_than "$before"
}

# What canonical advertises, if anything.
list_id () {
	GIT_TRACE_PACKET=$LOG/id-trace command git ls-remote ${upload_pack:+--upload-pack="$upload_pack"} \
		"$canonical" nothing >/dev/null 2>&1 || :
	sed -n 's/.*< mirror=id://p' "$LOG/id-trace" 2>/dev/null
	rm -f "$LOG/id-trace"
}

# A server looks at its files once a second.
await_list_other_than () { # <id>
	local attempt
	for attempt in $(seq 50); do
		test "$(list_id)" = "$1" || return 0
		sleep 0.1
	done
	fail "canonical's list has not changed"
}

# --- the client ---

learner () { # <dir> [<git clone argument>...]
	local dir="$1"
	shift
	rm -rf "$dir"
	forget_requests
	# git clone itself does not look at remote.origin.uploadpack.
	git clone --no-local ${upload_pack:+-u "$upload_pack" -c remote.origin.uploadpack="$upload_pack"} \
		-c remote.origin.vcs=mirror "$@" "$canonical" "$dir" 2>"$dir.err" || { cat "$dir.err"; fail clone; }
	cat "$dir.err"
}

fetched () { # <dir> [<git fetch argument>...]
	local dir="$1"
	shift
	forget_requests
	git -C "$dir" fetch "$@" 2>"$dir.err" || { cat "$dir.err"; fail fetch; }
	cat "$dir.err"
}

value () { # <dir> <key>: all values of remote.origin.<key>, on one line
	command git -C "$1" config --get-all "remote.${remote:-origin}.$2" | tr '\n' ' ' | sed 's/ $//'
}

mirror_urls () { # <name>...: as value shows them
	local name all=
	for name in "$@"; do
		all="$all${all:+ }$(mirror_url "$name")"
	done
	echo "$all"
}

assert_learned () { # <dir> <name>...
	local dir="$1"
	shift
	assert_eq "$(mirror_urls "$@")" "$(value "$dir" listedMirror)" listedMirror
}

assert_complete () { # <dir>
	assert_eq "$(git -C "$srv/canonical.git" rev-parse main)" "$(git -C "$1" rev-parse origin/main)" origin/main
	assert_objects_equal "$srv/canonical.git" "$1"
	assert_fsck_clean "$1"
	assert_no_leftovers "$1"
	assert_no_helper_left
}

# Who gave a pack, in this order.
packed () {
	touch "$LOG/packs"
	awk '$2 { print $1 }' "$LOG/packs" | uniq | tr '\n' ' ' | sed 's/ $//'
}

# --- counting ---

forget_requests () {
	forget_traffic
	test "$transport" != http || : >"$LOG/canonical.log"
}

# Requests, but for the advertisement that each connection begins with.
requests () {
	if test "$transport" = http; then
		settle canonical.log
		grep -c '"POST ' "$LOG/canonical.log" || :
	else
		touch "$LOG/answers"
		awk '$1 == "canonical.git" && $2 != "advertisement"' "$LOG/answers" | wc -l
	fi
}

# How often the list was asked for. In the log of git mirror serve it is one POST of many.
asked () {
	touch "$LOG/answers"
	awk '$1 == "canonical.git" && $2 == "other"' "$LOG/answers" | wc -l
}

connections () {
	if test "$transport" = http; then
		grep -c '"GET ' "$LOG/canonical.log" || :
	else
		touch "$LOG/answers"
		awk '$1 == "canonical.git" && $2 == "advertisement"' "$LOG/answers" | wc -l
	fi
}

# A line is logged when an answer has been sent: the client may be faster.
settle () { # <log>
	sleep 0.2
}

srv=$TRASH/srv
upload_pack=
make_listed_repos "$srv" >"$LOG/make" 2>&1 || { cat "$LOG/make"; echo 'Bail out! no repositories'; exit 1; }
start_mirrors
start_canonical
