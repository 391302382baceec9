# shellcheck shell=bash
# lib-lab-work.sh - the work of t/perf/lab, a function a section of the report.
#
# A row's limit says what its project column is to stay under: `<x>`, times the bound; `<x>+<ms>`, times the bound, or
# the bound and so many milliseconds; `<x>!<y>`, also y times faster than plain git from canonical; `picks <n>`, most
# bytes come from the n-th mirror.

work_title() {
	case $1 in
	nothing) echo 'nothing new' ;;
	one) echo '1 commit' ;;
	some) echo '1%' ;;
	more) echo '10%' ;;
	esac
}

# pack_bytes <served repository>: of its packs alone.
pack_bytes() { cat "$lab/srv/$1.git"/objects/pack/*.pack | wc -c; }

do_clone() {
	local size bytes limit_of _
	for size in small medium ${large:+large}; do
		local of=$size
		[ ! -d "$lab/srv/$size-line.git" ] || of=$size-line
		show "$of" base
		git clone -q --bare "file://$lab/srv/$of.git" "$lab/reference/$size"
		show "$of" more
		git -C "$lab/srv/$size.git" bundle create -q "$lab/files/$size.bundle" --all
		bytes=$(pack_bytes "$size")
		limit_of=-
		[ "$bytes" -lt 100000000 ] || limit_of='0.95!10'
		row "clone-$size" clone "$size, $((bytes / 1000000)) MB" 150 mirror+5 "$limit_of" "$bytes"
		for _ in $(seq "$times"); do
			for contender in canonical mirror bundle reference ours; do
				enough "clone-$size" "$contender" || clone "clone-$size" "$size" "$contender"
			done
		done
		sound "clone-$size"
		rm -rf "$lab/reference/$size" "$lab/files/$size.bundle"
	done
}

# increment <row> <served repository> <state> <contender>...: short ones more often, as 30 ms decide there.
increment() {
	local row=$1 served=$2 repetitions=$times _
	now=$3
	case $now in nothing | one) repetitions=$((times * 3)) ;; esac
	shift 3
	show "$served" "$now"
	for _ in $(seq "$repetitions"); do
		for contender; do
			enough "$row" "$contender" || fetch "$row" "$served" "$contender"
		done
	done
	sound "$row"
}

do_fetch() {
	local served work bound limit_of
	for served in medium $large; do
		ready "$served"
		for work in nothing one some more; do
			local contenders=(canonical mirror ours)
			case $work in
			nothing | one) bound=canonical limit_of=1.05+30 ;;
			some) bound=mirror+4 limit_of=1.15 ;;
			more) bound=mirror+4 limit_of=- ;;
			esac
			case $work in
			some | more)
				contenders=(canonical mirror bundle ours)
				show "$served" "$work"
				git -C "$lab/srv/$served.git" bundle create -q "$lab/files/$served.$work.bundle" \
					"^$(state "$served" base)" refs/heads/main
				;;
			esac
			row "fetch-$served-$work" fetch "${served%-line}, $(work_title $work)" 150 $bound $limit_of 0
			increment "fetch-$served-$work" "$served" "$work" "${contenders[@]}"
		done
	done
}

do_refs() {
	local refs=100000 work
	[ -z "$quick" ] || refs=20000
	show small more
	many_refs many small "$refs"
	ready many
	for work in nothing one; do
		row "refs-$work" refs "$refs refs, $(work_title $work)" 150 canonical 1.05+30 0
		increment "refs-$work" many "$work" canonical mirror ours
	done
}

# No mirror helps: from the second fetch on that is to cost nothing.
do_unhelpful() {
	local kind
	link slower --rtt 300 --rate 2m
	link refuses --rtt 2 --rate 1g --fault refuse
	link hangs --rtt 2 --rate 1g --fault hang
	for kind in slower refuses hangs all; do
		mirrors=("$kind")
		[ $kind != all ] || mirrors=(slower refuses hangs)
		forget
		# Each of them has been asked before.
		for _ in "${mirrors[@]}"; do
			ready medium
		done
		row "unhelpful-$kind" unhelpful "$(case $kind in
			slower) echo 'mirror 300 ms, 2 Mbit/s' ;;
			refuses) echo 'mirror refuses' ;;
			hangs) echo 'mirror hangs' ;;
			all) echo 'these three' ;;
			esac), 10%" 150 canonical 1.05+30 0
		increment "unhelpful-$kind" medium more canonical ours
	done
	mirrors=(near)
}

# Three mirrors, one fetch after the other in one repository, each of 5% of the history.
do_three() {
	local n
	link overloaded --rtt 2 --rate 2m
	link middle --rtt 10 --rate 50m
	link fastest --rtt 20 --rate 1g
	mirrors=(overloaded middle fastest)
	forget
	show medium more
	line_alone line medium
	before line 30 >"$lab/states/line.step"
	show line step
	rm -rf "$lab/work"
	git clone -q "file://$lab/srv/line.git" "$lab/work"
	meet "$lab/work" line
	for n in 1 2 3 4 5 6; do
		before line $((30 - 5 * n)) >"$lab/states/line.step"
		show line step
		row "three-$n" three "fetch $n" 150 - "$([ "$n" -lt 3 ] && echo - || echo 'picks 3')" 0
		measured "three-$n" ours line git -C "$lab/work" fetch
	done
	sound three-6
	mirrors=(near)
}

# 10% of the medium repository, over the distance of canonical, and over that of the mirror.
do_distance() {
	local rtt to distances='2 20 75 150 300'
	[ -z "$quick" ] || distances='2 150 300'
	for to in canonical mirror; do
		for rtt in $distances; do
			link "$to-$rtt" --rtt "$rtt" --rate "$([ $to = canonical ] && echo 10m || echo 1g)"
			case $to in
			canonical) far=canonical-$rtt ;;
			mirror) mirrors=("mirror-$rtt") ;;
			esac
			ready medium
			row "distance-$to-$rtt" "distance-$to" "$to at $rtt ms" \
				"$([ $to = canonical ] && echo "$rtt" || echo 150)" mirror+4 - "$rtt"
			increment "distance-$to-$rtt" medium more canonical mirror ours
		done
		far=far mirrors=(near)
	done
}
