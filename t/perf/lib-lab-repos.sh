# shellcheck shell=bash
# lib-lab-repos.sh - the repositories that t/perf/lab serves, and the states that they go through.
#
# A served repository <name> is $lab/srv/<name>.git, both canonical and mirror: one daemon, seen over different links.
# It holds all objects from the beginning; what it shows is set by `show <name> <state>`. Its states:
#
#   old      1% before `base`: what a client cloned first
#   base     90% of the history: where each increment begins
#   nothing  `base` again
#   one      base and one commit more
#   some     base and 1% of the history
#   more     base and 10%: the tip

state() { cat "$lab/states/$1.$2"; }

show() { git -C "$lab/srv/$1.git" update-ref refs/heads/main "$(state "$1" "$2")"; }

# synthetic <name> <commits> <bytes each>
synthetic() {
	local repo=$lab/srv/$1.git n
	git init -q --bare "$repo"
	"$here/make-bulk" "$2" "$3" | git -C "$repo" fast-import --quiet
	echo '*.bin -delta' >"$repo/info/attributes"
	for n in 1 2 3 4 5 6 7 8 9; do
		git -C "$repo" update-ref "refs/heads/b/$n" "main~$(($2 * (n + 1) / 12))"
	done
	states "$1"
	git -C "$repo" repack -qadb
}

# real <name> <bare repository>: two of them, <name> as it is, and <name>-line, with main and nine older branches.
real() {
	git clone -q --mirror "$2" "$lab/srv/$1.git"
	compgen -G "$lab/srv/$1.git/objects/pack/*.bitmap" >/dev/null || git -C "$lab/srv/$1.git" repack -qadb
	line_alone "$1-line" "$1"
	local repo=$lab/srv/$1-line.git commits n
	commits=$(wc -l <"$lab/states/$1-line.line")
	[ "$commits" -ge 200 ] || { echo "$2: its HEAD has $commits commits; percentages of it take 200" >&2; return 1; }
	for n in 1 2 3 4 5 6 7 8 9; do
		git -C "$repo" update-ref "refs/heads/b/$n" "$(line "$1-line" $((commits * (n + 4) / 14)))"
	done
}

# line_alone <name> <of>: like the served repository <of>, with main alone, which is what its HEAD is.
line_alone() {
	local repo=$lab/srv/$1.git tip
	git clone -q --mirror "$lab/srv/$2.git" "$repo"
	tip=$(git -C "$repo" rev-parse HEAD)
	git -C "$repo" for-each-ref --format='delete %(refname)' | git -C "$repo" update-ref --stdin
	git -C "$repo" symbolic-ref HEAD refs/heads/main
	git -C "$repo" update-ref refs/heads/main "$tip"
	states "$1"
}

# many_refs <name> <of> <refs>: like the served repository <of>, with so many refs.
many_refs() {
	local repo=$lab/srv/$1.git
	git clone -q --mirror "$lab/srv/$2.git" "$repo"
	git -C "$repo" rev-list --first-parent -n 500 "$(state "$2" base)" |
		awk -v n="$3" '{ id[NR] = $1 } END { for (i = 0; i < n; i++) print "create refs/heads/m/" i, id[i % NR + 1] }' |
		git -C "$repo" update-ref --stdin
	git -C "$repo" pack-refs --all
	states "$1"
}

# states <name>: looks for them in the history of main.
states() {
	local repo=$lab/srv/$1.git tip
	tip=$(git -C "$repo" rev-parse refs/heads/main)
	mkdir -p "$lab/states"
	git -C "$repo" commit-graph write --reachable --no-progress
	git -C "$repo" rev-list --first-parent "$tip" >"$lab/states/$1.line"
	git -C "$repo" rev-list --count "$tip" >"$lab/states/$1.count"
	echo "$tip" >"$lab/states/$1.more"
	before "$1" 11 >"$lab/states/$1.old"
	before "$1" 10 >"$lab/states/$1.base"
	before "$1" 9 >"$lab/states/$1.some"
	cp "$lab/states/$1.base" "$lab/states/$1.nothing"
	git -C "$repo" fast-import --quiet <<-END
	commit refs/heads/one
	committer lab <lab@localhost> 1700000000 +0000
	data 4
	one
	from $(state "$1" base)
	M 100644 inline lab-one
	data 4
	one
	END
	git -C "$repo" rev-parse refs/heads/one >"$lab/states/$1.one"
	git -C "$repo" update-ref -d refs/heads/one
}

# before <name> <percent>: the commit of main that so much of the history is not in.
before() {
	local wanted low=1 high middle
	wanted=$(($(cat "$lab/states/$1.count") * $2 / 100))
	high=$(wc -l <"$lab/states/$1.line")
	while [ $((high - low)) -gt 1 ]; do
		middle=$(((low + high) / 2))
		if [ "$(git -C "$lab/srv/$1.git" rev-list --count "$(line "$1" $middle)..$(line "$1" 1)")" -gt "$wanted" ]; then
			high=$middle
		else
			low=$middle
		fi
	done
	line "$1" "$low"
}

line() { sed -n "$2{p;q}" "$lab/states/$1.line"; }

# refs_of <repository> <prefix of branches>: what has to be equal.
refs_of() {
	git -C "$1" for-each-ref --format='%(objectname) %(refname)' "$2" refs/tags |
		sed -e "s,$2/,," -e '/ HEAD$/d' | sort
}
