# shellcheck shell=bash
# lib-lab.sh - links and servers for t/perf/lab, its contenders, and one measurement.
#
#   link <name> <options of t/helper/link>   to the daemon; its port is then port[<name>]
#   row ..., sample ...                      what t/perf/report reads
#
# Everything that is started here is ended by its own id.

declare -A port took
pids=()
# Which links the contenders take; `mirrors` in the order in which they are configured.
far=far
mirrors=(near)
limit=3600

# listening <file>: its first line, once there is one.
listening() {
	local _
	for _ in $(seq 200); do
		[ ! -s "$1" ] || { cat "$1"; return; }
		sleep 0.05
	done
	echo "$1: nothing listens" >&2
	return 1
}

start_servers() {
	local _
	for _ in 1 2 3 4 5; do
		daemon_port=$("$here/../helper/free-port")
		"$(git --exec-path)/git-daemon" --reuseaddr --listen=127.0.0.1 --port="$daemon_port" --export-all \
			--base-path="$lab/srv" >/dev/null 2>&1 &
		pids+=($!)
		sleep 0.5
		! kill -0 $! 2>/dev/null || break
	done
	"$here/serve-file" "$lab/log/files.port" "$lab/files" &
	pids+=($!)
	files_port=$(listening "$lab/log/files.port")
}

# link <name> <option>...; one to the server of bundles with --to before the others.
link() {
	local name=$1
	shift
	"$link" --to "$daemon_port" --count "$lab/log/$name.count" "$@" >"$lab/log/$name.port" &
	pids+=($!)
	: >"$lab/log/$name.count"
	port[$name]=$(listening "$lab/log/$name.port")
}

url() { echo "git://127.0.0.1:${port[$1]}/$2.git"; }

stop_servers() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || :
	done
	wait 2>/dev/null || :
}

# carried <link>: how many bytes from the server it has carried over connections that have ended.
carried() { awk '{ sum += $2 } END { printf "%d", sum }' "$lab/log/$1.count"; }

all_carried() {
	local name
	for name in "$far" "${mirrors[@]}"; do
		carried "$name"
		echo
	done
}

# forget: what the project has learned of hosts.
forget() { rm -rf "$HOME/.cache/git-mirror-fetch"; }

# measured <row> <contender> <served repository> <command...>: a sample of how long it took, and of whether "$lab/work"
# then has what canonical shows.
measured() {
	local row=$1 contender=$2 served=$3 began ended status=ok carried
	shift 3
	mapfile -t before < <(all_carried)
	began=${EPOCHREALTIME/./}
	timeout --foreground "$limit" "$@" >"$lab/log/command" 2>&1 || status=FAILED
	ended=${EPOCHREALTIME/./}
	[ $status = ok ] || { echo "$row, $contender: $*"; tail -n 5 "$lab/log/command"; } >&2
	if [ $status = ok ] && ! cmp -s <(refs_of "$lab/srv/$served.git" refs/heads) \
		<(refs_of "$lab/work" refs/remotes/origin); then
		status=WRONG
	fi
	sleep 0.3 # until the links have counted
	mapfile -t after < <(all_carried)
	carried=
	for i in "${!before[@]}"; do
		carried+=$'\t'$((after[i] - before[i]))
	done
	printf 'sample\t%s\t%s\t%d\t%s%s\n' "$row" "$contender" $((ended - began)) $status "$carried" >>"$out/results.tsv"
	took[$row.$contender]=$(((ended - began) / 1000))
	printf '%-28s %-10s %6d ms %s\n' "$row" "$contender" $(((ended - began) / 1000)) "${status#ok}" >&2
}

# enough <row> <contender>: canonical was slow enough to be measured once.
enough() { [ "$2" = canonical ] && [ "${took[$1.$2]:-0}" -gt 20000 ]; }

# sound <row>: "$lab/work" holds every object that it should.
sound() {
	git -C "$lab/work" rev-list --quiet --objects --all || printf 'sample\t%s\tours\t0\tWRONG\n' "$1" >>"$out/results.tsv"
}

mirror_options() {
	local name
	echo -c
	echo remote.origin.vcs=mirror
	for name in "${mirrors[@]}"; do
		echo -c
		echo "remote.origin.mirrorUrl=$(url "$name" "$1")"
	done
}

# clone <row> <served repository> <contender>
clone() {
	local options=() from
	from=$(url "$far" "$2")
	rm -rf "$lab/work"
	case $3 in
	mirror) from=$(url "${mirrors[0]}" "$2") ;;
	bundle) options=(--bundle-uri="http://127.0.0.1:${port[files]}/$2.bundle") ;;
	reference) options=(--reference "$lab/reference/$2") ;;
	ours) mapfile -t options < <(mirror_options "$2") && forget ;;
	esac
	measured "$1" "$3" "$2" git clone "${options[@]}" "$from" "$lab/work"
}

# ready <served repository>: "$lab/ready/<it>", a client that cloned `old`, and fetched `base` as the project does: so
# each mirror has been met before.
ready() {
	local to=$lab/ready/$1
	if [ ! -d "$lab/old/$1" ]; then
		show "$1" old
		git clone -q "file://$lab/srv/$1.git" "$lab/old/$1"
	fi
	rm -rf "$to"
	copy "$lab/old/$1" "$to"
	show "$1" base
	meet "$to" "$1"
	git -C "$to" fetch -q 2>"$lab/log/ready" || cat "$lab/log/ready" >&2
	sleep 0.5
}

# meet <repository> <served repository>: its URL and its mirrors are those of the links.
meet() {
	local options option
	git -C "$1" config remote.origin.url "$(url "$far" "$2")"
	mapfile -t options < <(mirror_options "$2")
	for option in "${options[@]}"; do
		[ "$option" = -c ] || git -C "$1" config --add "${option%%=*}" "${option#*=}"
	done
}

# copy <repository> <to>: objects never change, so they are linked.
copy() {
	mkdir "$2" "$2/.git"
	find "$1/.git" -mindepth 1 -maxdepth 1 ! -name objects -exec cp -r {} "$2/.git/" \;
	cp -rl "$1/.git/objects" "$2/.git/"
}

# fetch <row> <served repository> <contender>: from `base` to what is shown now.
fetch() {
	local options=()
	rm -rf "$lab/work"
	copy "$lab/ready/$2" "$lab/work"
	case $3 in
	ours) ;;
	*) git -C "$lab/work" config --unset remote.origin.vcs ;;
	esac
	case $3 in
	mirror) git -C "$lab/work" config remote.origin.url "$(url "${mirrors[0]}" "$2")" ;;
	bundle) options=(-c fetch.bundleURI="http://127.0.0.1:${port[files]}/$2.$now.bundle") ;;
	esac
	measured "$1" "$3" "$2" git -C "$lab/work" "${options[@]}" fetch
}

# row <id> <section> <title> <RTT to canonical> <bound: contender+round trips> <limit: x or x or +30 ms; - for none>
row() {
	local IFS=$'\t'
	printf 'row\t%s\n' "$*" >>"$out/results.tsv"
}
