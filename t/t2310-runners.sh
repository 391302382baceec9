#!/bin/sh
# What runners do: git's own command lines over HTTP with "git mirror exec-path", by URL and by remotes of any name, in
# submodules, with users and passwords in URLs; what canonical still sends; mirrors that are required; records of
# fetches; what is known of hosts, shared between jobs.
. "$(dirname "$0")/lib.sh"
. "$T/lib-servers.sh"
. "$T/lib-repos.sh"

srv=$TRASH/srv

make_servers () {
	make_canonical_and_mirrors "$srv"
	new_repo "$srv/super.git"
	git clone -q "$srv/super.git" work 2>/dev/null
	git -C work submodule --quiet add "$canonical" sub
	git -C work commit -q -m 'add sub'
	git -C work push -q origin HEAD:main
	rm -rf work
}

# Mirrors by configuration alone, as an image has them: the same name below another folder of the server.
with_mirror () { # <name of a mirror>
	without_mirrors
	git config --global mirror."http://localhost:$http_port/$1.git".mirrorOf "$canonical"
}
without_mirrors () {
	git config --global --get-regexp '^mirror\..*\.mirrorof$' | sed 's/\.mirrorof .*//' | while read -r section; do
		git config --global --remove-section "$section"
	done
}

in_job () { GIT_EXEC_PATH=$exec_path "$@"; }

# --- git mirror exec-path ---

makes_a_folder () {
	local real other
	real=$(git --exec-path)
	exec_path=$(git mirror exec-path)
	case $exec_path in "$HOME"/.local/share/git-mirror-fetch/exec-path/*) ;; *) fail "$exec_path" ;; esac
	assert_eq "$exec_path" "$(git mirror exec-path)" 'the second time'
	assert_eq "$exec_path" "$(GIT_EXEC_PATH=$exec_path git mirror exec-path)" 'within a job'
	assert_eq "$(ls "$real" | sort)" "$(ls "$exec_path" | sort)" 'programs'
	assert_eq "$BIN/git-remote-mirror" "$(readlink "$exec_path/git-remote-https")" 'our program'
	assert_eq "$real/git-upload-pack" "$(readlink "$exec_path/git-upload-pack")" "git's program"
	# Another git, another folder.
	cp -a "$real" other-git
	other=$(GIT_EXEC_PATH=$PWD/other-git git mirror exec-path elsewhere) || :
	assert_eq "$PWD/elsewhere" "${other%/*}" 'the folder that was named'
	(unset HOME; assert_fails git mirror exec-path 2>err; assert_contains 'HOME' err; git mirror exec-path "$PWD/no-home")
}

clone_by_url () {
	with_mirror fresh
	rm -rf got plain
	forget_traffic
	in_job git clone -q "$canonical" got
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	assert_at_most 1000 "$(canonical_sent)" 'bytes from canonical'
	git -c mirror.patience=1 clone -q "$canonical" plain
	assert_refs_equal plain got
	assert_objects_equal plain got
	assert_same_file plain/.git/config got/.git/config
	assert_no_leftovers got
	assert_no_helper_left
}

fetch_by_url () {
	rm -rf got
	git init -q got && cd got
	forget_traffic
	in_job git fetch -q --tags --force -- "$canonical" '+refs/heads/*:refs/remotes/origin/*'
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	assert_at_most 4000 "$(canonical_sent)" 'bytes from canonical'
	assert_contains "of $canonical_shown" .git/FETCH_HEAD
	assert_lacks 'mirror' .git/FETCH_HEAD
	in_job git merge -q refs/remotes/origin/main
	assert_fsck_clean .
}

in_submodules () {
	rm -rf got
	forget_traffic
	in_job git clone -q --recurse-submodules "http://127.0.0.1:$http_port/super.git" got
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	assert_at_most 1000 "$(canonical_sent)" 'bytes from canonical'
	assert_lacks 'mirror' got/.git/modules/sub/config
}

with_a_user () {
	rm -rf got
	forget_traffic
	in_job git clone -q "http://u:secret@127.0.0.1:$http_port/canonical.git" got
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	grep -r secret got/.git --include=*.toml && fail 'a password in a file' || :
}

as_ever () {
	rm -rf got expected
	in_job git ls-remote "$canonical" >got
	git ls-remote "$canonical" >expected
	assert_same_file expected got
	rm -rf got expected
	git -C "$srv/canonical.git" update-server-info
	in_job git clone -q "$(url_for http-dumb canonical.git)" got
	git -C got commit -q --allow-empty -m pushed
	new_repo "$srv/target.git"
	in_job git -C got push -q "http://127.0.0.1:$http_port/target.git" HEAD:refs/heads/pushed
	assert_eq "$(git -C got rev-parse HEAD)" "$(git -C "$srv/target.git" rev-parse pushed)" 'what was pushed'
	rm -rf got
	in_job git clone -q "$(url_for http-v0 canonical.git)" got
	assert_fsck_clean got
}

for_everybody () {
	with_mirror fresh
	rm -rf got system
	mkdir system
	(
		unset GIT_CONFIG_NOSYSTEM
		GIT_CONFIG_SYSTEM=$PWD/system/gitconfig
		export GIT_CONFIG_SYSTEM
		git mirror enable --system "http://127.0.0.1:$http_port/" >out
		assert_contains "everybody's" out
		forget_traffic
		git clone -q "$canonical" got
		assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
		assert_eq '' "$(git config --file "$HOME/.gitconfig" --get-regexp include)" 'in the global configuration'
		git mirror disable --system >out
		assert_eq '' "$(cat system/gitconfig)" 'what is left'
		assert_eq '' "$(ls system | grep -v gitconfig)" 'files that are left'
	)
}

# --- what canonical still sends ---

# sends <allowance> <git arguments>...: in an empty repository, with a fresh mirror.
fetch_in_new () {
	rm -rf got
	git init -q got
	git -C got remote add origin "$canonical"
	forget_traffic
	in_job git -C got "$@"
	assert_at_least 1 "$(packed_by "$mirror.git")" 'bytes from the mirror'
	echo "canonical sent $(canonical_sent)"
}

little_for_a_depth () {
	local depth lines
	mirror=fresh
	with_mirror fresh
	for depth in 1 2 7 50 1000; do
		fetch_in_new fetch -q --depth=$depth origin '+refs/heads/*:refs/remotes/origin/*'
		lines=$(cat got/.git/shallow 2>/dev/null | wc -l)
		assert_at_most $((200 + 60 * (lines + 4))) "$(canonical_sent)" "bytes from canonical, depth $depth"
	done
	git -C got fetch -q --depth=3 origin
	forget_traffic
	in_job git -C got fetch -q --deepen=5 origin
	assert_at_most $((200 + 60 * (4 * $(wc -l <got/.git/shallow) + 60))) "$(canonical_sent)" 'bytes from canonical, deeper'
}

nothing_for_a_filter () {
	local filter
	mirror=fresh
	for filter in blob:none tree:0 blob:limit=100; do
		fetch_in_new fetch -q --filter=$filter origin '+refs/heads/*:refs/remotes/origin/*'
		assert_eq 0 "$(canonical_sent)" "bytes from canonical, $filter"
		in_job git -C got checkout -q origin/main
		in_job git -C got log -p -3 origin/topic >/dev/null
		assert_eq 0 "$(canonical_sent)" "bytes from canonical, and then a checkout and a log"
	done
}

# No git that proves something may fetch what a partial clone lacks.
nobody_fetches_within () {
	mirror=stale
	with_mirror stale
	GIT_TRACE=$PWD/trace fetch_in_new fetch -q --filter=tree:0 origin '+refs/heads/*:refs/remotes/origin/*'
	assert_lacks 'negotiationAlgorithm=noop' trace
	with_mirror fresh
}

# --- mirror.required ---

required () {
	mirror=fresh
	with_mirror fresh
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=mirror.required GIT_CONFIG_VALUE_0=true
	export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0
	fetch_in_new fetch -q origin
	fetch_in_new fetch -q --depth=1 origin
	in_job git -C got fetch -q origin
	in_job git -C got fetch -q --depth=1 origin
	with_mirror cut
	for arguments in 'origin' '--depth=1 origin' '--filter=blob:none origin'; do
		rm -rf got
		git init -q got
		git -C got remote add origin "$canonical"
		forget_traffic
		(in_job git -C got fetch $arguments 2>err) && fail "fetch $arguments" || :
		assert_contains '^fatal: .*mirror.required' err
		assert_at_most 1000 "$(canonical_sent)" 'bytes from canonical'
		assert_fsck_clean got
		assert_no_leftovers got
	done
	without_mirrors
	rm -rf got
	(in_job git clone -q "$canonical" got 2>err) && fail 'without a mirror' || :
	assert_contains '^fatal: .*mirror.required' err
}

# --- records ---

field () { # <line> <expression of python>
	sed -n "$1p" record | python3 -c "import json, sys; r = json.load(sys.stdin); print($2)"
}

records () {
	need python3 python3
	with_mirror fresh
	GIT_MIRROR_REPORT=$PWD/record
	export GIT_MIRROR_REPORT
	rm -rf got record shallow
	mirror=fresh
	fetch_in_new fetch -q origin
	fetch_in_new fetch -q --depth=1 origin
	fetch_in_new fetch -q --filter=blob:none origin
	in_job git -C got checkout -q origin/main
	with_mirror hole
	rm -rf got
	in_job git clone -q "$canonical" got
	without_mirrors
	in_job git ls-remote "$canonical" >/dev/null
	in_job git clone -q --depth=1 "$canonical" shallow
	# git asks for refs once more, where it follows tags.
	grep -v '"kind":"refs"' record >fetches
	assert_at_least 1 "$(grep -c '"kind":"refs"' record)" 'lists of refs'
	mv fetches record
	assert_eq 'clone depth filter lazy clone depth' \
		"$(echo $(for line in 1 2 3 4 5 6; do field $line 'r["kind"]'; done))" 'kinds'
	assert_eq 6 "$(wc -l <record)" 'lines'
	for line in 1 2 3 4; do
		assert_eq True "$(field $line 'r["bytes"]["mirrors"] > 0 and r["bytes"]["canonical"] < 1000 and len(r["from"]) == 1')" "bytes, line $line"
	done
	assert_eq "$canonical None" "$(field 5 'r["canonical"], r["passed"]' | tr -d "(),'")" 'canonical'
	assert_eq corrupt "$(field 5 'r["left"][0]["why"]')" 'why it was left'
	assert_eq no-mirror "$(field 6 'r["passed"]')" 'why nobody was asked'
	git mirror report record >out
	assert_contains '^all +6 ' out
	assert_contains 'corrupt' out
	git mirror report --json record | python3 -c 'import json, sys; assert json.load(sys.stdin)["all"]["runs"] == 6'
	echo nonsense >>record
	git mirror report record 2>err >/dev/null
	assert_contains '^warning: 1 line could not be read' err
	# To a socket; what cannot be written to is said, and does no harm.
	rm -rf got sock
	python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen(); c, _ = s.accept(); print(c.recv(65536).decode(), end="")' >heard &
	listener=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do test -S sock || sleep 0.2; done
	GIT_MIRROR_REPORT=af_unix:$PWD/sock in_job git clone -q "$canonical" got
	wait $listener
	assert_contains '"kind":"clone"' heard
	rm -rf got
	mkfifo pipe
	GIT_MIRROR_REPORT=$PWD/pipe in_job git clone -q "$canonical" got 2>err
	assert_contains '^warning: mirror.report' err
}

verbose_says_why () {
	without_mirrors
	rm -rf got
	in_job git clone -v "$canonical" got 2>err
	assert_contains 'no mirror is asked' err
}

# --- what is known of hosts ---

a_hanging_mirror () {
	hanging=$("$HELPER/free-port")
	serve hanging perl -MIO::Socket::INET -e '
		my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 200, ReuseAddr => 1) or die;
		my @held; while (my $c = $s->accept) { push @held, $c; print STDERR "hung\n"; }' "$hanging"
	answers_on "$hanging" "$server_pid"
}

jobs_share () {
	local jobs=${GMF_JOBS:-24} job slow=0 began
	without_mirrors
	git config --global mirror."http://localhost:$hanging/canonical.git".mirrorOf "$canonical"
	rm -rf jobs state
	mkdir jobs
	: >"$LOG/hanging.out"
	for job in $(seq $jobs); do
		(
			HOME=$PWD/jobs/home-$job
			mkdir -p "$HOME"
			cp "$TRASH/home/.gitconfig" "$HOME"
			export HOME
			began=$(date +%s%N)
			GIT_MIRROR_STATE=$TRASH/state in_job git clone -q --depth=1 "$canonical" jobs/$job 2>jobs/$job.err || echo failed >jobs/$job.failed
			echo $((($(date +%s%N) - began) / 1000000)) >jobs/$job.ms
		) &
	done
	wait $(jobs -p) 2>/dev/null || :
	for job in $(seq $jobs); do
		test ! -e jobs/$job.failed || { cat jobs/$job.err; fail "job $job"; }
		assert_eq "$(git -C "$srv/canonical.git" rev-parse main)" "$(git -C jobs/$job rev-parse HEAD)" "job $job"
		test "$(cat jobs/$job.ms)" -lt 2900 || slow=$((slow + 1))
	done
	echo "$slow of $jobs took more than 2.9 s; connections: $(grep -c hung "$LOG/hanging.out")"
	sort -n jobs/*.ms | tail -3
	assert_at_most 2 "$(grep -c hung "$LOG/hanging.out")" 'connections to the mirror'
	assert_contains 'localhost' state/hosts.toml
}

state_that_cannot_be_written () {
	without_mirrors
	with_mirror fresh
	rm -rf got
	mkdir -p read-only
	echo 'damaged = [' >read-only/hosts.toml
	chmod 555 read-only
	forget_traffic
	GIT_MIRROR_STATE=$PWD/read-only/none in_job git clone -q "$canonical" got
	assert_at_least 1 "$(packed_by fresh.git)" 'bytes from the mirror'
	rm -rf got
	git config --global mirror.stateDirectory '~/kept'
	in_job git clone -q "$canonical" got
	git config --global --unset mirror.stateDirectory
	test -s "$HOME/kept/hosts.toml" || fail 'nothing is kept'
	chmod 755 read-only
}

mkdir -p "$srv"
start_server http "$srv"
canonical=http://127.0.0.1:$http_port/canonical.git
canonical_shown=http://127.0.0.1:$http_port/canonical
test_case 'servers' make_servers
test_case 'exec-path: a folder' makes_a_folder
exec_path=$(git mirror exec-path)
test_case 'exec-path: clone' clone_by_url
test_case 'exec-path: fetch by URL' fetch_by_url
test_case 'exec-path: submodules' in_submodules
test_case 'exec-path: a user and a password in the URL' with_a_user
test_case 'exec-path: ls-remote, push, dumb HTTP, v0' as_ever
test_case 'enable --system' for_everybody
test_case 'depth: what canonical sends' little_for_a_depth
test_case 'filter and lazy fetches: canonical sends nothing' nothing_for_a_filter
test_case 'a proof fetches nothing' nobody_fetches_within
test_case 'mirror.required' required
test_case 'mirror.report' records
test_case '-v says why' verbose_says_why
a_hanging_mirror
test_case 'many jobs, one state' jobs_share
test_case 'a state that cannot be written' state_that_cannot_be_written
test_done
