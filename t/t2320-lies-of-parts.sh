#!/bin/sh
# Mirrors that lie about parts of a history: other lines of shallow-info, deeper and shallower packs, filters that leave out
# more or less, objects beside what was asked for. All is as with plain git.
. "$(dirname "$0")/lib.sh"
transport=path
mirror_states='deeper shallower extra-line missing-line other-lines leaves-more leaves-less beside'
. "$T/lib-scoped.sh"

more_mirrors () {
	local lie
	for lie in $mirror_states; do
		cp -a fresh.git $lie.git
		echo $lie >$lie.git/part-lie
	done
	# Commits and a tag that nobody asked for, and a malformed tree.
	grow beside.git other 3 90
	tag beside.git evil other
	echo "beside $(git -C beside.git rev-parse other other~1 evil)" >beside.git/lie
}

"$HELPER/part-liar" "$TRASH/liar.port" "$TRASH/srv" >>"$LOG/liar" 2>&1 </dev/null &
echo $! >>"$LOG/pids"
for _ in 1 2 3 4 5 6 7 8 9 10; do test -s "$TRASH/liar.port" || sleep 0.3; done
liar_port=$(cat "$TRASH/liar.port")
mirror_url () { echo "git://127.0.0.1:$liar_port/$mirror_state.git"; }

same 'clone --depth' more_servers 'clone --depth=3 --no-single-branch'
same 'clone --depth=1' more_servers 'clone --depth=1'
same 'fetch --depth, shallow' more_shallow_client 'git fetch --depth=4'
same 'fetch --deepen, shallow' more_shallow_client 'git fetch --deepen=2'
same 'fetch --unshallow' more_shallow_client 'git fetch --unshallow'
same 'clone --filter=blob:none' more_servers 'clone --filter=blob:none --no-checkout'
same 'clone --filter=tree:1' more_servers 'clone --filter=tree:1 --no-checkout'
same 'clone --depth --filter' more_servers 'clone --depth=3 --filter=blob:none --no-checkout'
same 'lazy fetch' more_partial_client 'git fetch -q && git checkout -q origin/main~3'
test_done
