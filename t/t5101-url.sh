#!/bin/sh
# A clone that serves as a mirror: under url= it presents what it tracks of that
# remote, as the remote itself would.
. "$(dirname "$0")/lib.sh"
. "$T/lib-parts.sh"

url=https://git.example.com/project.git

# A clone believes its remote to be at $url.
make_repos () {
	mkdir srv
	cd srv
	new_repo canonical.git
	grow canonical.git main 30 1
	for name in topic rel/1 rel/2 rel/secret wip/mine; do
		git -C canonical.git branch "$name" main~5
	done
	grow canonical.git topic 3 2
	tag canonical.git v1 main~10
	git -C canonical.git tag light main~2
	git -C canonical.git update-ref refs/notes/commits main~7
	git -C canonical.git symbolic-ref refs/heads/stable refs/heads/main

	git clone -q --no-local "$PWD/canonical.git" plain
	git -C plain remote set-url origin "$url"
	# What is its own, or of another remote, is nobody's business.
	echo mine >plain/mine
	git -C plain add mine
	git -C plain commit -q -m mine
	git -C plain branch local-branch
	git -C plain remote add fork https://git.example.com/fork.git
	git -C plain update-ref refs/remotes/fork/other HEAD
	git -C plain update-ref refs/remotes/fork/main HEAD

	git clone -q --mirror --no-local "$PWD/canonical.git" mirror.git
	git -C mirror.git remote set-url origin "$url"

	git init -q some
	git -C some remote add origin "$url"
	git -C some config --replace-all remote.origin.fetch '+refs/heads/main:refs/remotes/origin/main'
	git -C some config --add remote.origin.fetch '+refs/heads/rel/*:refs/remotes/origin/rel/*'
	git -C some config --add remote.origin.fetch '^refs/heads/rel/secret'
	git -C some fetch -q --no-tags "$PWD/canonical.git" '+refs/heads/main:refs/remotes/origin/main' \
		'+refs/heads/rel/*:refs/remotes/origin/rel/*' # the secret one, too
	git -C some config remote.origin.tagOpt --no-tags
	git -C some tag not-fetched refs/remotes/origin/main

	cp -a plain hidden
	git -C hidden config transfer.hideRefs refs/remotes/origin/topic
	git -C hidden config --add uploadpack.hideRefs refs/remotes/origin/rel

	cp -a plain rewritten
	git -C rewritten config url.https://git.example.com/.insteadOf short:
	git -C rewritten remote set-url origin short:project.git

	git clone -q --bare --no-local "$PWD/canonical.git" bare.git # tracks nothing
	git -C bare.git remote set-url origin "$url"

	git -C plain worktree add -q "$PWD/worktree" 2>/dev/null
}

where () { # <way> <repository>
	case $1 in
	pipe) echo "exec:git-mirror upload-pack '$TRASH/srv/$2'" ;;
	http) echo "$serve_http$2" ;;
	git) echo "$serve_git$2" ;;
	esac
}

refs () { # <way> <repository> <argument>...: sorted, as canonical need not keep our order
	local way="$1" repo="$2"
	shift 2
	"$HELPER/ask" "$(where "$way" "$repo")" command=ls-refs 0001 "$@" 0000 | sort
}

# What canonical says of itself, but for what the patterns of grep -E match.
expect () { # <pattern> <ls-refs argument>...
	local pattern="$1"
	shift
	refs pipe canonical.git "$@" | grep -v -E "$pattern" >expected || :
	test "$(wc -l <expected)" -ge 3 || fail 'too few refs to show anything'
}

# A clone stores what a symbolic ref pointed to, but for HEAD.
plain_clone () { # <way> [<repository>]
	local repo="${2:-plain}"
	expect 'refs/notes' peel symrefs
	sed '/ refs\/heads\/stable /s/ symref-target:[^ ]*//' expected >wanted
	refs "$1" "$repo" peel symrefs url=$url >actual
	assert_contains ' HEAD symref-target:refs/heads/main$' actual
	assert_contains 'refs/tags/v1 peeled:' actual
	assert_same_file wanted actual
	# Without symrefs and peel, and less of it.
	expect 'refs/notes'
	refs "$1" "$repo" url=$url >actual
	assert_same_file expected actual
	expect 'nothing' 'ref-prefix refs/heads/'
	refs "$1" "$repo" url=$url 'ref-prefix refs/heads/' >actual
	assert_same_file expected actual
	refs "$1" "$repo" url=$url 'ref-prefix refs/heads/wip' 'ref-prefix refs/tags/li' 'ref-prefix HEAD' >actual
	assert_eq 4 "$(wc -l <actual)" 'lines of an answer' # and the flush
	refs "$1" "$repo" url=$url 'ref-prefix refs/remotes/' >actual
	assert_eq 0000 "$(cat actual)" 'refs under our own names'
}

mirror_clone () { # <way>
	expect nothing peel symrefs
	sed '/ refs\/heads\/stable /s/ symref-target:[^ ]*//' expected >wanted
	refs "$1" mirror.git peel symrefs url=$url >actual
	assert_contains refs/notes/commits actual
	assert_same_file wanted actual
}

several_refspecs () { # <way>
	expect 'HEAD|refs/tags|refs/notes|topic|stable|wip|secret' peel symrefs
	refs "$1" some peel symrefs url=$url >actual
	assert_contains refs/heads/rel/1 actual
	assert_same_file expected actual
}

hidden_refs () { # <way>
	expect 'refs/notes|topic|rel/' peel
	refs "$1" hidden peel url=$url >actual
	assert_same_file expected actual
}

# A URL in all ways to write it; others are unknown.
the_same_url () { # <way>
	refs "$1" plain url=$url >expected
	assert_contains refs/heads/main expected
	for same in https://git.example.com/project HTTPS://GIT.Example.Com:443/project.git/ \
		https://somebody@git.example.com/project.git https://git.example.com/%70roject.git; do
		refs "$1" plain "url=$same" >actual
		assert_same_file expected actual
	done
	refs "$1" rewritten "url=$url" >actual
	assert_same_file expected actual
	for other in http://git.example.com/project.git https://git.example.com/Project.git \
		https://git.example.com:8443/project.git https://git.example.com/project.git.git \
		"$TRASH/srv/canonical.git" https://git.example.com/; do
		refs "$1" plain "url=$other" >actual || :
		assert_eq 'ERR ls-refs: unknown url' "$(cat actual)" "$other"
	done
}

# Each remote is presented by itself.
another_remote () { # <way>
	oid=$(git -C srv/plain rev-parse HEAD)
	refs "$1" plain url=https://git.example.com/fork >actual
	cat actual
	grep -v refs/tags/ actual >branches
	printf '0000\n%s refs/heads/main\n%s refs/heads/other\n' "$oid" "$oid" | sort | diff -u - branches
}

tracks_nothing () { # <way>
	"$HELPER/ask" "$(where "$1" bare.git)" >actual
	assert_lacks '^mirror=' actual
}

advertises_url () { # <way>
	"$HELPER/ask" "$(where "$1" plain)" >actual
	assert_contains '^mirror=url$' actual
	"$HELPER/ask" "$(where "$1" plain)" command=mirror 0001 "url=$url" 0000 >actual
	assert_contains "^canonical $url\$" actual
	assert_lacks '^(mirror|not-found)' actual
	"$HELPER/ask" "$(where "$1" plain)" command=mirror 0001 url=https://nowhere.example/ 0000 >actual
	assert_contains '^not-found$' actual
	assert_contains "^canonical $url\$" actual
	assert_contains '^canonical https://git.example.com/fork.git$' actual
}

# What was presented can be fetched.
sends_what_it_presents () { # <way>
	wants=$(refs "$1" plain url=$url | sed -n 's/^\([0-9a-f]\{40\}\) .*/want \1/p' | sort -u)
	IFS='
'
	"$HELPER/ask" --raw "$(where "$1" plain)" command=fetch 0001 $wants no-progress done 0000 >answer
	unset IFS
	grep -a -q PACK answer || { head -c 300 answer; fail 'no pack'; }
}

# Without url=, and for stock git, it is what it is.
is_itself_for_others () { # <way>
	case $1 in pipe) of="$TRASH/srv/plain" ;; *) of=$(where "$1" plain) ;; esac
	git ls-remote "$of" >actual
	git ls-remote "$TRASH/srv/plain" >expected
	assert_contains refs/remotes/origin/main expected
	assert_same_file expected actual
}

# A change of the remotes shows at once: nothing of it is kept.
a_new_url () { # <way>
	git -C srv/some remote set-url origin https://git.example.com/moved.git
	refs "$1" some url=https://git.example.com/moved >actual
	assert_contains refs/heads/main actual
	refs "$1" some url=$url >actual || :
	assert_contains '^ERR' actual
	git -C srv/some remote set-url origin $url
}

test_case 'repositories' make_repos
start_mirror_server serve "$TRASH/srv" --export-all --listen http://127.0.0.1:0 --listen git://127.0.0.1:0
for way in pipe http git; do
	test_case "$way: a plain clone" plain_clone $way
	test_case "$way: a clone with --mirror" mirror_clone $way
	test_case "$way: two refspecs and a negative one" several_refspecs $way
	test_case "$way: hidden refs" hidden_refs $way
	test_case "$way: one URL, written in many ways" the_same_url $way
	test_case "$way: another remote" another_remote $way
	test_case "$way: a bare clone tracks nothing" tracks_nothing $way
	test_case "$way: command=mirror" advertises_url $way
	test_case "$way: what is presented is sent" sends_what_it_presents $way
	test_case "$way: stock git sees the clone itself" is_itself_for_others $way
	test_case "$way: a new URL" a_new_url $way
done
test_case 'pipe: a worktree' plain_clone pipe worktree
test_done
