#!/bin/sh
# lib-serve.sh - repositories for git mirror serve, some of them slow, and what to
# ask of it. A script of t51* sources this, after lib-parts.sh.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

make_repos () {
	mkdir srv
	new_repo outside.git
	grow outside.git main 3 1
	cd srv
	new_repo open.git
	grow open.git main 30 1
	cp -a open.git private.git
	rm private.git/git-daemon-export-ok
	mkdir team
	cp -a open.git 'team/a b.git'
	git clone -q --no-local "$PWD/open.git" work
	touch work/.git/git-daemon-export-ok
	ln -s open.git inside.git
	ln -s ../outside.git linked.git
	cp -a open.git late.git
	echo 'late 3' >late.git/lie
	cp -a open.git later.git
	echo 'late 300' >later.git/lie
	# Slow to send: 20 MB at 100 kB a second.
	cp -a open.git slow.git
	head -c 20000000 /dev/urandom >noise
	oid=$(git -C slow.git hash-object -w "$PWD/noise")
	tree=$(printf '100644 blob %s\tnoise\n' "$oid" | git -C slow.git mktree)
	git -C slow.git update-ref refs/heads/main "$(git -C slow.git commit-tree -m noise "$tree")"
	rm noise
	cp -a slow.git large.git
	echo 'slow 100000' >slow.git/lie
	git -C large.git config uploadpack.keepAlive 1
}

start () { # <name> <argument>...
	local name="$1"
	shift
	start_mirror_server "$name" "$TRASH/srv" --listen http://127.0.0.1:0 --listen git://127.0.0.1:0 "$@"
}

metric () { # <server> <name>
	local url
	eval "url=\$${1}_http"
	"$HELPER/ask" --get "$url-/metrics" | awk -v name="git_mirror_$2" '$1 == name { print $2 }'
}

# What runs beside the server in its process group.
others_of () { group_of "$1" | grep -v -x "$1"; }
