#!/bin/sh
# lib-parts.sh - the parts of the server side, each in front of the repositories
# below a folder.
#
#   start_part <part> <root>   path, ssh-entry, ssh-forced, nginx, apache,
#                              apache-cgi, lighttpd, serve-http or serve-git
#   served_url <repo>          the URL there
#   stock_url <repo>           of the same repository, from stock git
#   part_log                   file into which the part writes its warnings
#   write_list <repository>    gives it a list of mirrors
#
# nginx, Apache and lighttpd, and the ssh key, use the files of docs/examples.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

examples=$T/../docs/examples

start_part () { # <part> <root>
	part=$1
	part_root=$2
	case $part in
	path) ;;
	ssh-*) start_ssh_part ;;
	nginx)
		need nginx nginx-light
		need fcgiwrap fcgiwrap
		start_http "$part_root"
		serve fcgiwrap-part env PATH="$PATH:/usr/sbin" fcgiwrap -f -c 8 -s "unix:$TRASH/fcgi-part.sock"
		serve_on_port nginx-part nginx_part
		part_port=$port
		;;
	apache*)
		need apache2 apache2
		start_http "$part_root"
		serve_on_port apache apache_part
		part_port=$port
		;;
	lighttpd)
		need lighttpd lighttpd
		start_http "$part_root"
		serve_on_port lighttpd lighttpd_part
		part_port=$port
		;;
	serve-http)
		start_http "$part_root"
		start_mirror_server part "$part_root" --trusted-proxies 127.0.0.1 --listen http://127.0.0.1:0
		;;
	serve-git)
		start_git_daemon "$part_root"
		start_mirror_server part "$part_root" --listen git://127.0.0.1:0
		;;
	esac
}

served_url () { # <repo>
	case $part in
	path) echo "$part_root/$1" ;;
	ssh-*) echo "ssh://gmf-$part$part_root/$1" ;;
	nginx) echo "http://127.0.0.1:$part_port/$1" ;;
	apache* | lighttpd) echo "http://127.0.0.1:$part_port/git/$1" ;;
	serve-http) echo "$part_http$1" ;;
	serve-git) echo "$part_git$1" ;;
	esac
}

stock_url () { # <repo>
	case $part in
	path) echo "$part_root/$1" ;;
	ssh-*) echo "ssh://gmf-server$part_root/$1" ;;
	serve-git) echo "git://127.0.0.1:$git_port/$1" ;;
	*) echo "http://127.0.0.1:$http_port/$1" ;;
	esac
}

part_log () {
	case $part in
	path) echo "$LOG/client-stderr" ;;
	ssh-*) echo "$LOG/ssh-trace" ;;
	nginx) echo "$TRASH/nginx-part/error.log" ;;
	apache*) echo "$TRASH/apache/error.log" ;;
	lighttpd) echo "$LOG/lighttpd.out" ;; # in the foreground, its stderr
	serve-*) echo "$LOG/part.log" ;;
	esac
}

# A list of three mirrors, of which two are handed out at first.
write_list () { # <repository>
	cat >"$1/mirrors.toml" <<-\END
	canonical = "https://git.example.com/project.git"
	prefer_mirror = "once"
	first = 2

	[[mirror]]
	url = "https://eu.example.net/project.git"
	country = "DE"
	location = "50.11,8.68"
	weight = 20

	[[mirror]]
	url = "https://us.example.net/a%20project.git"
	country = "US"

	[[mirror]]
	url = "https://ap.example.net/project.git"
	END
}

# --- ssh: one key meets a symbolic link in PATH, the other a forced command ---

start_ssh_part () {
	local kind
	start_ssh "$part_root"
	mkdir "$TRASH/entry"
	ln -s "$BIN/git-mirror" "$TRASH/entry/git-upload-pack"
	for kind in entry forced; do
		ssh-keygen -q -t ed25519 -N '' -f "$ssh_dir/key-$kind"
		{
			echo '#!/bin/sh'
			echo "export HOME='$HOME' GIT_CONFIG_NOSYSTEM=1 GIT_MIRROR_TRACE='$LOG/ssh-trace'"
			echo "export GIT_MIRROR_LIST='$TRASH/site.toml' GIT_MIRROR_BASE='$part_root'"
			case $kind in
			entry)
				echo "export PATH='$TRASH/entry:$PATH'"
				echo 'eval "exec $SSH_ORIGINAL_COMMAND"' # as a shell would run it
				;;
			forced)
				echo "export PATH='$PATH'"
				echo "exec '$examples/ssh-command'"
				;;
			esac
		} >"$ssh_dir/command-$kind"
		chmod +x "$ssh_dir/command-$kind"
		echo "command=\"$ssh_dir/command-$kind\",restrict $(cat "$ssh_dir/key-$kind.pub")" \
			>>"$ssh_dir/authorized_keys"
		sed -n '/^Host gmf-v0/,/IdentityFile/p' "$ssh_dir/config" |
			sed "s/gmf-v0/gmf-ssh-$kind/; s/key-v0/key-$kind/" >"$ssh_dir/config.new"
		cat "$ssh_dir/config" >>"$ssh_dir/config.new"
		mv "$ssh_dir/config.new" "$ssh_dir/config"
	done
}

# --- web servers ---

# The file of docs/examples, with the paths of this test.
example () { # <name>
	ln -sfn "$BIN/git-mirror" "$TRASH/bin/git-http-backend"
	sed -e "s,/usr/local/lib/git-mirror,$TRASH/bin,g" -e "s,/srv/git,$part_root,g" \
		-e "s,/etc/git-mirror/mirrors.toml,$TRASH/site.toml,g" \
		-e "s,/run/fcgiwrap.socket,$TRASH/fcgi-part.sock,; s,listen 80,listen 127.0.0.1:$port," \
		"$examples/$1"
}

nginx_part () {
	local dir="$TRASH/nginx-part" name
	mkdir -p "$dir"
	example nginx.conf >"$dir/example.conf"
	{
		echo "daemon off; worker_processes 1; pid $dir/pid; error_log $dir/error.log;"
		test "$(id -u)" != 0 || echo 'user root;'
		echo 'events { worker_connections 512; }'
		echo "http { access_log $dir/access.log; client_body_temp_path $dir/body;"
		echo "fastcgi_temp_path $dir/fastcgi; proxy_temp_path $dir/proxy;"
		for name in uwsgi scgi; do
			! nginx_has_module $name || echo "${name}_temp_path $dir/$name;"
		done
		echo "include $dir/example.conf; }"
	} >"$dir/nginx.conf"
	serve nginx-part env PATH="$PATH:/usr/sbin" nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
}

apache_part () {
	local dir="$TRASH/apache" modules="$(apache_modules)" module kind=cgid mpm=event
	test "$part" != apache-cgi || { kind=cgi; mpm=prefork; }
	mkdir -p "$dir"
	example apache.conf >"$dir/example.conf"
	{
		echo "ServerRoot $dir"
		echo "ServerName 127.0.0.1"
		echo "Listen 127.0.0.1:$port"
		echo "PidFile $dir/pid"
		echo "ErrorLog $dir/error.log"
		echo "Mutex file:$dir default"
		echo "DocumentRoot $dir"
		for module in mpm_$mpm authz_core alias env $kind; do
			echo "LoadModule ${module}_module $modules/mod_$module.so"
		done
		test $kind != cgid || echo "ScriptSock $dir/cgid.sock"
		echo "SetEnv HOME $HOME"
		echo 'SetEnv GIT_CONFIG_NOSYSTEM 1'
		echo "Include $dir/example.conf"
	} >"$dir/apache.conf"
	# Apache refuses to serve as root. So it is nobody, but may read and write
	# what root may; and git is told not to mind whose the repositories are.
	set --
	if test "$(id -u)" = 0; then
		set -- setpriv --reuid=65534 --regid=65534 --clear-groups --securebits=+no_setuid_fixup \
			--inh-caps=+dac_override --ambient-caps=+dac_override
		git config --global safe.directory '*'
	fi
	serve apache "$@" "$(PATH=$PATH:/usr/sbin command -v apache2)" -X -f "$dir/apache.conf"
}

apache_modules () {
	local dir
	for dir in /usr/lib/apache2/modules /usr/lib*/httpd/modules /usr/libexec/apache2; do
		test ! -d "$dir" || { echo "$dir"; return; }
	done
}

lighttpd_part () {
	local dir="$TRASH/lighttpd"
	mkdir -p "$dir"
	example lighttpd.conf >"$dir/example.conf"
	{
		echo "server.document-root = \"$dir\""
		echo 'server.bind = "127.0.0.1"'
		echo "server.port = $port"
		echo "server.errorlog = \"$dir/error.log\""
		echo "server.breakagelog = \"$dir/error.log\""
		# lighttpd gives programs nothing of its own environment.
		echo "server.modules = ( \"mod_setenv\" )"
		echo "setenv.add-environment = ( \"PATH\" => \"$PATH\", \"HOME\" => \"$HOME\" )"
		echo "server.upload-dirs = ( \"$dir\" )"
		echo "include \"$dir/example.conf\""
	} >"$dir/lighttpd.conf"
	serve lighttpd "$(PATH=$PATH:/usr/sbin command -v lighttpd)" -D -f "$dir/lighttpd.conf"
}

# --- git mirror serve ---

# start_mirror_server <name> <root> <argument>...: sets <name>_pid, and
# <name>_http and <name>_git to the URLs it prints; its log is $LOG/<name>.log.
start_mirror_server () {
	local name="$1" root="$2" attempt
	shift 2
	: >"$LOG/$name.urls"
	"$HELPER/own-group" "$BIN/git-mirror" serve "$@" "$root" \
		>"$LOG/$name.urls" 2>>"$LOG/$name.log" </dev/null &
	server_pid=$!
	echo "$server_pid" >>"$LOG/pids"
	for attempt in $(seq 200); do
		# It prints its URLs when it listens on all of them.
		test "$(wc -l <"$LOG/$name.urls")" -lt "$(listens "$@")" || break
		sleep 0.05
	done
	eval "${name}_pid=$server_pid"
	eval "${name}_http=$(sed -n '/^http:/p' "$LOG/$name.urls")"
	eval "${name}_git=$(sed -n '/^git:/p' "$LOG/$name.urls")"
	if test ! -s "$LOG/$name.urls"; then
		sed 's/^/# /' "$LOG/$name.log"
		echo "Bail out! git mirror serve does not start"
		exit 1
	fi
}

listens () {
	local word count=0
	for word in "$@"; do
		case $word in http://* | git://*) count=$((count + 1)) ;; esac
	done
	echo $count
}

# What runs in the process group of a server, itself included.
group_of () { # <pid>
	pgrep -g "$1" || :
}

# ends_within <seconds> <command>...: the command says nothing any more.
ends_within () {
	local tenth
	for tenth in $(seq $(($1 * 10))); do
		test -n "$(shift; "$@")" || return 0
		sleep 0.1
	done
	ps -o pid,ppid,pgid,args -p "$(shift; "$@" | tr '\n' ',' | sed 's/,$//')"
	return 1
}
