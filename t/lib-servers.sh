#!/bin/sh
# lib-servers.sh - real servers on loopback, as an ordinary user, each with its
# own files under $TRASH and a port of its own.
#
#   start_server <transport> <root>   path, git, http, https or ssh
#   url_for <transport> <repo>        the URL there
#   dead_url, silent_url <transport>  of a server that is down; that never answers
#   chaos <name> <chaos-link arguments>...; chaos_port <name>
#
# All of them log what they send (see helper/Answers.pm), git:// only through
# the URL of counted_url_for.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

# serve <name> <command>...: in the background, ended with the script.
serve () {
	local name="$1"
	shift
	"$HELPER/own-group" "$@" >>"$LOG/$name.out" 2>&1 </dev/null &
	server_pid=$!
	echo "$server_pid" >>"$LOG/pids"
}

# serve_on_port <name> <function that starts it on "$port">: another port if taken.
serve_on_port () {
	local attempt
	for attempt in 1 2 3 4 5 6 7 8; do
		port=$("$HELPER/free-port")
		"$2"
		if answers_on "$port" "$server_pid"; then return; fi
		kill -- "-$server_pid" 2>/dev/null
	done
	sed 's/^/# /' "$LOG/$1.out"
	echo "Bail out! $1 does not start"
	exit 1
}

# answers_on <port> <pid>: within ten seconds, and the process is still alive.
answers_on () {
	local second
	for second in 1 2 3 4 5 6 7 8 9 10; do
		kill -0 "$2" 2>/dev/null || return 1
		perl -MIO::Socket::INET -MTime::HiRes=sleep -e '
			for (1 .. 20) {
				exit 0 if IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]);
				sleep 0.05;
			}
			exit 1' "$1" && kill -0 "$2" 2>/dev/null && return
	done
	return 1
}

start_server () { # <transport> <root>
	case $1 in
	path) start_path "$2" ;;
	git) start_git_daemon "$2" ;;
	http) start_http "$2" ;;
	https) start_https "$2" ;;
	ssh) start_ssh "$2" ;;
	esac
}

url_for () { # <transport> <repo>
	case $1 in
	path) echo "$path_root/$2" ;;
	file) echo "file://$path_root/$2" ;;
	git) echo "git://127.0.0.1:$git_port/$2" ;;
	git-v0) echo "git://127.0.0.1:$(chaos_port v0)/$2" ;;
	http) echo "http://127.0.0.1:$http_port/$2" ;;
	http-v0) echo "http://127.0.0.1:$http_port/v0/$2" ;;
	http-dumb) echo "http://127.0.0.1:$http_port/dumb/$2" ;;
	http-forbidden) echo "http://127.0.0.1:$http_port/forbidden/$2" ;;
	http-broken) echo "http://127.0.0.1:$http_port/broken/$2" ;;
	http-loop) echo "http://127.0.0.1:$http_port/loop/$2" ;;
	http-locked) echo "http://127.0.0.1:$http_port/locked/$2" ;;
	https) echo "https://localhost:$https_port/$2" ;;
	ssh) echo "ssh://gmf-server$ssh_root/$2" ;;
	ssh-v0) echo "ssh://gmf-v0$ssh_root/$2" ;;
	ssh-denied) echo "ssh://gmf-denied$ssh_root/$2" ;;
	scp) echo "gmf-server:$ssh_root/$2" ;;
	esac
}

counted_url_for () { # <transport> <repo>
	case $1 in
	git) echo "git://127.0.0.1:$(chaos_port counted)/$2" ;;
	*) url_for "$1" "$2" ;;
	esac
}

# --- a path: the "server" is an upload-pack that git starts itself ---

start_path () {
	path_root=$1
	# For remote.<name>.uploadpack; only what goes through it is counted.
	upload_pack=$TRASH/bin/counting-upload-pack
	{
		echo '#!/bin/sh'
		echo 'for repo in "$@"; do :; done; repo=${repo%/}; repo=${repo%/.git}'
		echo "exec '$HELPER/count-answers' '$LOG/answers' \"\${repo##*/}\" -- git upload-pack \"\$@\""
	} >"$upload_pack"
	chmod +x "$upload_pack"
}

# --- git:// ---

start_git_daemon () {
	git_root=$1
	serve_on_port git-daemon git_daemon
	git_port=$port
	chaos counted --to "$git_port" --count "$LOG/answers" canonical.git
}

git_daemon () {
	serve git-daemon git daemon --reuseaddr --listen=127.0.0.1 --port="$port" \
		--base-path="$git_root" --enable=receive-pack --enable=upload-archive \
		--informative-errors "$git_root"
}

# --- HTTP: nginx, fcgiwrap, git http-backend ---
#
# /v0/ hides the wish for protocol v2, /dumb/ serves the files alone,
# /forbidden/ answers 403, /locked/ 401, /broken/ 500; /loop/ leads to itself.

start_http () {
	nginx_prerequisites "$1"
	serve_on_port nginx-http nginx_http
	http_port=$port
}

start_https () {
	nginx_prerequisites "$1"
	need openssl openssl
	make_certificate "$TRASH/tls"
	git config --global http.sslCAInfo "$TRASH/tls/ca.pem"
	serve_on_port nginx-https nginx_https
	https_port=$port
}

nginx_http () { nginx_on "127.0.0.1:$port" ''; }

nginx_https () {
	nginx_on "127.0.0.1:$port ssl" "
		ssl_certificate $TRASH/tls/server.pem;
		ssl_certificate_key $TRASH/tls/server.key;"
}

nginx_prerequisites () {
	local attempt
	need nginx nginx-light
	need fcgiwrap fcgiwrap
	test ! -S "$TRASH/fcgi.sock" || return 0
	http_root=$1
	{
		echo '#!/bin/sh'
		echo "export HOME='$HOME' PATH='$PATH' GIT_CONFIG_NOSYSTEM=1 GIT_PROJECT_ROOT='$1'"
		echo 'repo=${PATH_INFO#/}; repo=${repo%%/*}'
		echo "exec '$HELPER/count-answers' '$LOG/answers' \"\$repo\" --cgi -- git http-backend"
	} >"$TRASH/bin/http-backend"
	chmod +x "$TRASH/bin/http-backend"
	serve fcgiwrap env PATH="$PATH:/usr/sbin" fcgiwrap -c 6 -s "unix:$TRASH/fcgi.sock"
	for attempt in $(seq 100); do
		test ! -S "$TRASH/fcgi.sock" || return 0
		sleep 0.1
	done
	echo "Bail out! fcgiwrap does not start"
	exit 1
}

nginx_on () { # <listen> <directives of the server> [<directives of all>]
	local dir=$TRASH/nginx-$port cgi
	mkdir -p "$dir"
	cgi="fastcgi_pass unix:$TRASH/fcgi.sock;
		fastcgi_buffering off;
		fastcgi_param SCRIPT_FILENAME $TRASH/bin/http-backend;
		fastcgi_param QUERY_STRING \$query_string;
		fastcgi_param REQUEST_METHOD \$request_method;
		fastcgi_param CONTENT_TYPE \$content_type;
		fastcgi_param CONTENT_LENGTH \$content_length;
		fastcgi_param SERVER_PROTOCOL \$server_protocol;
		fastcgi_param REMOTE_ADDR \$remote_addr;
		fastcgi_param REMOTE_USER tester;"
	cat >"$dir/nginx.conf" <<-END
	daemon off;
	worker_processes 1;
	pid $dir/pid;
	error_log $dir/error.log;
	$(test "$(id -u)" != 0 || echo 'user root;')
	events { worker_connections 128; }
	http {
		access_log $dir/access.log;
		client_body_temp_path $dir/body;
		fastcgi_temp_path $dir/fastcgi;
		proxy_temp_path $dir/proxy;
		client_max_body_size 0;
		$(nginx_has_module uwsgi && echo "uwsgi_temp_path $dir/uwsgi;")
		$(nginx_has_module scgi && echo "scgi_temp_path $dir/scgi;")
		${3:-}
		server {
			listen $1;
			$2
			location / {
				fastcgi_param PATH_INFO \$uri;
				$cgi
			}
			location ~ ^/v0(/.*)\$ {
				fastcgi_param PATH_INFO \$1;
				fastcgi_param HTTP_GIT_PROTOCOL "";
				$cgi
			}
			location /dumb/ { alias $http_root/; }
			location /forbidden/ { return 403; }
			location /broken/ { return 500; }
			location /loop/ { return 302 \$scheme://\$http_host\$request_uri; }
			location /locked/ { auth_basic locked; auth_basic_user_file $dir/nobody; }
		}
	}
	END
	: >"$dir/nobody"
	serve "nginx-$port" env PATH="$PATH:/usr/sbin" nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
}

nginx_has_module () {
	! PATH=$PATH:/usr/sbin nginx -V 2>&1 | grep -q -e "--without-http_$1_module"
}

make_certificate () { # <dir>: an authority nobody knows, and localhost's certificate
	mkdir -p "$1"
	(
		cd "$1"
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=throwaway authority' \
			-keyout ca.key -out ca.pem
		openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr
		echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 2 \
			-extfile names -out server.pem
	) >"$LOG/openssl" 2>&1 || {
		sed 's/^/# /' "$LOG/openssl"
		echo 'Bail out! openssl makes no certificate'
		exit 1
	}
}

# --- ssh ---

start_ssh () {
	need sshd openssh-server
	need ssh openssh-client
	ssh_root=$1
	ssh_dir=$TRASH/ssh
	mkdir -p "$ssh_dir"
	ssh-keygen -q -t ed25519 -N '' -f "$ssh_dir/host"
	ssh-keygen -q -t ed25519 -N '' -f "$ssh_dir/key"
	ssh-keygen -q -t ed25519 -N '' -f "$ssh_dir/key-v0"
	{
		echo '#!/bin/sh'
		echo "export HOME='$HOME' PATH='$PATH' GIT_CONFIG_NOSYSTEM=1"
		test -z "${GIT_EXEC_PATH:-}" || echo "export GIT_EXEC_PATH='$GIT_EXEC_PATH'"
		echo 'words=${SSH_ORIGINAL_COMMAND#* }; repo=${words##*/}; repo=${repo%%[!A-Za-z0-9_.-]*}'
		echo 'case $SSH_ORIGINAL_COMMAND in'
		echo 'git-upload-pack*)'
		echo "	exec '$HELPER/count-answers' '$LOG/answers' \"\$repo\" -- git shell -c \"\$SSH_ORIGINAL_COMMAND\" ;;"
		echo '*) exec git shell -c "$SSH_ORIGINAL_COMMAND" ;;'
		echo 'esac'
	} >"$ssh_dir/command"
	# Who comes with the other key meets a server that knows no protocol v2.
	{
		echo '#!/bin/sh'
		echo 'unset GIT_PROTOCOL'
		echo "exec '$ssh_dir/command'"
	} >"$ssh_dir/command-v0"
	chmod +x "$ssh_dir/command" "$ssh_dir/command-v0"
	{
		echo "command=\"$ssh_dir/command\",restrict $(cat "$ssh_dir/key.pub")"
		echo "command=\"$ssh_dir/command-v0\",restrict $(cat "$ssh_dir/key-v0.pub")"
	} >"$ssh_dir/authorized_keys"
	# Run as root, it wants the directory into which it locks its other half.
	test "$(id -u)" != 0 || mkdir -p /run/sshd
	serve_on_port sshd sshd_on_port
	ssh_port=$port
	silent=$(silent_port)
	cat >"$ssh_dir/config" <<-END
	Host gmf-server gmf-other
		HostName 127.0.0.1
		Port $ssh_port
		User $(id -un)
		IdentityFile $ssh_dir/key
	Host gmf-v0
		HostName 127.0.0.1
		Port $ssh_port
		User $(id -un)
		IdentityFile $ssh_dir/key-v0
	Host gmf-denied
		HostName 127.0.0.1
		Port $ssh_port
		User $(id -un)
		IdentityFile $ssh_dir/host
	Host gmf-dead
		HostName 127.0.0.1
		Port 1
	Host gmf-silent
		HostName 127.0.0.1
		Port $silent
	Host *
		KexAlgorithms curve25519-sha256
		IdentitiesOnly yes
		IdentityAgent none
		BatchMode yes
		StrictHostKeyChecking no
		UserKnownHostsFile $ssh_dir/known_hosts
		LogLevel ERROR
	END
	GIT_SSH_COMMAND="ssh -F $ssh_dir/config"
	export GIT_SSH_COMMAND
}

sshd_on_port () {
	cat >"$ssh_dir/sshd_config" <<-END
	ListenAddress 127.0.0.1:$port
	HostKey $ssh_dir/host
	PidFile $ssh_dir/pid
	AuthorizedKeysFile $ssh_dir/authorized_keys
	StrictModes no
	UsePAM no
	PasswordAuthentication no
	KbdInteractiveAuthentication no
	PermitRootLogin prohibit-password
	AcceptEnv GIT_PROTOCOL
	# A shell of this level reads none of its user's start-up files.
	SetEnv SHLVL=5
	PrintMotd no
	MaxStartups 100
	END
	serve sshd "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$ssh_dir/sshd_config"
}

# --- bad servers ---

# chaos <name> <chaos-link argument>...
chaos () {
	local name="$1" attempt
	shift
	rm -f "$LOG/port-$name"
	serve "chaos-$name" "$HELPER/chaos-link" --port-file "$LOG/port-$name" "$@"
	for attempt in $(seq 200); do
		test ! -s "$LOG/port-$name" || return 0
		sleep 0.05
	done
	echo "Bail out! chaos-link $name does not start"
	exit 1
}

chaos_port () { cat "$LOG/port-$1"; }

silent_port () {
	test -s "$LOG/port-silent" || chaos silent --contacts "$LOG/contacts"
	chaos_port silent
}

dead_url () { # <transport>
	case $1 in
	path | file) echo "$path_root/no-such-directory" ;;
	ssh) echo "ssh://gmf-dead$ssh_root/fresh.git" ;;
	*) echo "$1://127.0.0.1:1/fresh.git" ;;
	esac
}

silent_url () { # <transport>
	case $1 in
	ssh) echo "ssh://gmf-silent$ssh_root/fresh.git" ;;
	*) echo "$1://127.0.0.1:$(silent_port)/fresh.git" ;;
	esac
}
