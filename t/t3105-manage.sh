#!/bin/sh
# git mirror list, add, remove, prefer, enable, disable: they write with git's
# own rules, and change nothing else.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

a_repository () {
	rm -rf repo
	git init -q repo
	cd repo
	git remote add origin https://git.example.com/project.git
	git remote add other https://other.example.com/project.git
	{
		echo '# a comment at the end'
		echo '[core] ; another'
		echo '	abbrev = 12 # and one more'
	} >>.git/config
	cp .git/config before
}

mirror_urls () { # <remote>
	git config --get-all "remote.$1.mirrorUrl" | tr '\n' ' ' | sed 's/ $//'
}

add () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://two.example.com/p.git
	git mirror add origin ssh://three.example.com/p.git
	assert_eq 'https://one.example.com/p.git https://two.example.com/p.git ssh://three.example.com/p.git' \
		"$(mirror_urls origin)" 'mirrorUrl'
	assert_eq '' "$(mirror_urls other)" 'mirrorUrl of the other'
	# All lines that were there are there, in order.
	grep -v mirrorUrl .git/config >after
	assert_same_file before after
}

add_twice () {
	a_repository
	git mirror add origin https://one.example.com/p.git
	git mirror add origin https://one.example.com/p.git || :
	assert_eq 1 "$(mirror_urls origin | wc -w)" 'mirrors'
}

add_what_cannot_be () {
	a_repository
	assert_fails git mirror add nowhere https://one.example.com/p.git
	assert_fails git mirror add origin
	assert_fails git mirror add origin 'ext::sh -c true'
	assert_fails git mirror add origin -- --upload-pack=x
	assert_same_file before .git/config
}

remove () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://one.example.com/q.git https://two.example.com/p.git
	git mirror remove origin https://one.example.com/q.git
	assert_eq 'https://one.example.com/p.git https://two.example.com/p.git' "$(mirror_urls origin)" 'mirrorUrl'
	git mirror remove origin one.example.com
	assert_eq 'https://two.example.com/p.git' "$(mirror_urls origin)" 'mirrorUrl'
	git mirror remove origin two.example.com
	assert_fails git mirror remove origin two.example.com
	assert_same_file before .git/config
}

prefer () {
	a_repository
	git mirror add origin https://one.example.com/p.git https://two.example.com/p.git
	git mirror prefer origin two.example.com
	assert_eq two.example.com "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin one.example.com two.example.com
	assert_eq 'one.example.com two.example.com' \
		"$(git config --get-all remote.origin.preferMirror | tr '\n' ' ' | sed 's/ $//')" 'preferMirror'
	git mirror prefer origin --never
	assert_eq false "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin --always
	assert_eq true "$(git config remote.origin.preferMirror)" 'preferMirror'
	git mirror prefer origin --unset
	assert_fails git config remote.origin.preferMirror
}

# What it says: whether plain git uses the mirror, and what can be done.
add_says_how_things_stand () {
	a_repository
	git mirror add origin https://one.example.com/p.git >out 2>err
	assert_contains "^mirrors are switched off for 'origin': plain git does not use them$" out
	assert_contains '^hint: `git mirror enable origin` switches them on' err
	git mirror enable origin >out 2>err
	assert_contains "^mirrors are switched on for 'origin': plain git uses them$" out
	test ! -s err || fail 'a hint'
	git mirror add origin https://two.example.com/p.git >out
	assert_contains "^mirrors are switched on for 'origin'" out
	git mirror prefer origin --never >out 2>err
	assert_contains "^no mirror is used for 'origin': remote.origin.preferMirror is false$" out
	assert_contains '^hint: `git mirror prefer --unset origin`' err
	git mirror prefer origin two.example.com >out
	assert_contains "^mirrors are switched on for 'origin'" out
	git mirror enable other >out 2>err
	assert_contains "^mirrors are switched on for 'other', which has none$" out
	assert_contains '^hint: `git mirror add other <url>`' err
	git config remote.other.listedMirror https://listed.example.com/p.git
	git mirror enable other >out 2>err
	assert_contains "^the server lists mirrors for 'other', and they are not used unless" out
	assert_contains '^hint: `git mirror prefer --always other`' err
	git mirror prefer --always other >out
	assert_contains "^mirrors are switched on for 'other'" out
	git mirror disable other >out 2>err
	assert_contains '^hint: .* stock git needs: git config --unset remote.other.vcs$' err
}

add_looks_at_what_it_is_given () {
	a_repository
	for word in mirror mirror.example.com project.git; do
		assert_fails git mirror add origin "$word" 2>err
		assert_contains "^fatal: '$word' has no scheme and no slash, and there is no such path$" err
		assert_contains '^hint: a URL is meant' err
	done
	assert_same_file before .git/config
	git mirror add origin "$PWD/nothing" 2>err
	assert_contains "^warning: '.*/nothing' is a path at which there is nothing$" err
	git mirror add origin https://git.example.com/project 2>err
	assert_contains "^warning: 'https://git.example.com/project' is canonical itself" err
	git init -q --bare there
	git mirror add origin there ./there/ 2>err || :
	assert_lacks warning err
	# git runs in other folders than this.
	git config --unset-all remote.origin.mirrorUrl
	mkdir sub
	(cd sub && git mirror add origin ../there)
	assert_eq "$(cd there && pwd -P)" "$(mirror_urls origin)" 'mirrorUrl'
	(cd sub && assert_fails git mirror add origin ../there && git mirror remove origin ../there)
	assert_eq '' "$(mirror_urls origin)" 'mirrorUrl'
}

assert_fits () { # <file>
	assert_eq 0 "$(awk 'length($0) > 80' "$1" | wc -l)" "lines of $1 beyond 80 columns"
}

list_shows_all () {
	a_repository
	git mirror list >out 2>&1
	assert_contains "^'origin' has no mirror; .git mirror add origin <url>. adds one$" out
	assert_contains "^'other' has no mirror" out
	git mirror add origin https://one.example.com/p.git https://one.example.com:8443/p.git
	git config mirror.https://near.example.com/.mirrorOf https://git.example.com/
	git config remote.origin.listedMirror "https://listed.with-a-long-name.$(printf '%060d' 0).example.com/p.git"
	git config url.https://real.example.com/.insteadOf short:
	git config --add remote.other.mirrorUrl short:p.git
	git config --add remote.other.mirrorUrl ext::nothing
	git mirror list >out
	cat out
	assert_fits out
	assert_contains '^origin: off$' out
	assert_contains '^ #  MIRROR +RATE +CONNECT  BEHIND  LAST$' out
	assert_contains '^ [123]  one\.example\.com  .* never asked$' out
	assert_contains '^ [123]  one\.examp.*:8443|^ [123]  one\.e.*\.\..*:8443' out
	assert_contains '^ [123]  near\.example\.com ' out
	assert_contains '^ -  listed.*\.\..*example\.com ' out
	assert_contains '^ -  ext::nothing .* not used$' out
	assert_contains '^    git\.example\.com .* canonical$' out
	assert_contains '^1 mirror is not asked; .git mirror list -v. says why$' out
	assert_contains '`git mirror enable origin` switches them on' out
	git mirror list -v >out
	cat out
	assert_contains '^    https://one\.example\.com:8443/p\.git$' out
	assert_contains '^    mirrorUrl; refs/mirror/one\.example\.com_8443/$' out
	assert_contains '^    mirrorOf; ' out
	assert_contains '^    the server lists it, and preferMirror is not set$' out
	assert_contains '^    https://real\.example\.com/p\.git$' out
	assert_contains '^    https://git\.example\.com/project\.git$' out
	git mirror list other >out
	assert_lacks '^origin' out
	assert_contains '^other' out
	git mirror enable >enabled
	git mirror list origin | head -n 1 >out
	assert_eq 'origin: on' "$(cat out)" 'the switch'
}

list_as_json () {
	a_repository
	git mirror add origin https://one.example.com/p.git "$PWD/nothing" 2>err
	git mirror list --json >out
	perl -MJSON::PP -e '
		my $all = JSON::PP->new->utf8->decode(join "", <>);
		$all->{version} == 1 or die "version\n";
		my ($origin, $other) = @{$all->{remotes}};
		"$origin->{remote} $other->{remote}" eq "origin other" or die "remotes\n";
		$origin->{switched_on} and die "switched_on\n";
		$origin->{canonical}{url} eq "https://git.example.com/project.git" or die "canonical\n";
		my ($one) = grep { !$_->{is_missing} } @{$origin->{mirrors}};
		@{$origin->{mirrors}} == 2 and $one->{url} eq "https://one.example.com/p.git" and $one->{rank} or die "mirrors\n";
	' out || { cat out; fail 'the JSON'; }
	assert_fails git mirror list --json -v
}

colours () {
	a_repository
	git mirror add origin https://one.example.com/p.git
	escape=$(printf '\033')
	git mirror list >out
	assert_lacks "$escape" out
	git -c color.ui=always mirror list >out
	assert_contains "$escape\\[" out
	git -c color.ui=always -c color.mirror=never mirror list >out
	assert_lacks "$escape" out
	on_a_terminal () { # <variable>=<value>
		rm -f shown.*
		env TERM=xterm "$@" "$HELPER/pty" shown git mirror list
		assert_eq 0 "$(cat shown.end)" 'exit code'
	}
	on_a_terminal GMF=1
	assert_contains "$escape\\[" shown.screen
	on_a_terminal NO_COLOR=1
	assert_lacks "$escape" shown.screen
	on_a_terminal TERM=dumb
	assert_lacks "$escape" shown.screen
	tr -d '\r' <shown.screen >screen
	assert_fits screen
}

list_shows_the_last_result () {
	cd "$TRASH"
	new_repo canonical.git
	grow canonical.git main 30 1
	cp -a canonical.git near.git
	git clone -q --no-local -c remote.origin.vcs=mirror -c remote.origin.mirrorUrl="$TRASH/nowhere.git" \
		-c remote.origin.mirrorUrl="$TRASH/near.git" -c remote.origin.mirrorUrl="$TRASH/canonical.git" \
		"$TRASH/canonical.git" listed
	git -C listed mirror list -v >out
	cat out
	assert_eq 3 "$(grep -c '^ [-0-9] ' out)" 'mirrors'
	assert_contains '^ [-0-9] .*nowhere.git .* no such path$' out
	assert_contains '^    left last time: ' out
	assert_contains '^ [-0-9] .*near.git .* 0%  ok [0-9]+ s ago$' out
	assert_contains '^    gave [0-9.]+ (KiB|bytes) last time$' out
	assert_contains '^ [-0-9] .*nonical.git .* is canonical$' out
	assert_contains '^    is canonical itself: there is nothing to gain$' out
	rm -r listed/.git/mirror-fetch
	git -C listed mirror list >out
	assert_eq 3 "$(grep -c '^ [-0-9] ' out)" 'mirrors without memory'
}

damaged_memory_does_no_harm () {
	cd "$TRASH"
	mkdir -p listed/.git/mirror-fetch
	for garbage in '' '[[[' 'a = 1'; do
		echo "$garbage" >listed/.git/mirror-fetch/state.toml
		git -C listed mirror list >out
		assert_eq 3 "$(grep -c '^ [-0-9] ' out)" 'mirrors'
		git -C listed fetch -q
	done
	printf '\000\377\001' >listed/.git/mirror-fetch/state.toml
	git -C listed fetch -q
}

enable_and_disable () {
	a_repository
	git mirror enable
	assert_eq mirror "$(git config remote.origin.vcs)" 'vcs'
	assert_fails git config remote.other.vcs
	git mirror enable other
	assert_eq mirror "$(git config remote.other.vcs)" 'vcs'
	git mirror disable other origin
	assert_same_file before .git/config
	assert_fails git mirror enable nowhere
}

outside_a_repository () {
	cd "$TRASH"
	mkdir -p outside
	cd outside
	for command in 'add origin https://one.example.com/p.git' 'remove origin one' 'prefer origin --never' list probe forgive \
		enable disable ask; do
		code=0
		git mirror $command >out 2>err || code=$?
		assert_eq 128 "$code" "exit code of $command"
		assert_contains '^fatal: not a git repository' err
		test ! -s out || fail "$command says something"
	done
	git mirror >out
	assert_contains '^Not in a git repository' out
	assert_contains '^  add ' out
	git mirror help >out
}

alone () {
	a_repository
	git mirror >out
	assert_fits out
	assert_contains '^origin: off$' out
	assert_contains '^  enable ' out
	assert_contains '`git mirror help`' out
	git mirror add origin https://one.example.com/p.git
	git mirror >out
	assert_fits out
	assert_contains '^ 1  one.example.com ' out
	git init -q empty
	(cd empty && git mirror) >out
	assert_contains '^there is no remote here$' out
	git mirror help >out
	assert_contains '^Usage: git mirror ' out
	git mirror help add >out
	assert_contains '^Usage: git mirror add ' out
	for wrong in 'add' 'no-such-command' 'help no-such-command' 'list --no-such-option'; do
		code=0
		git mirror $wrong 2>err || code=$?
		assert_eq 129 "$code" "exit code of $wrong"
		assert_lacks 'git-mirror' err
		assert_contains 'Usage: git mirror' err
	done
}

probe_tells () {
	a_repository
	code=0
	git mirror probe >out 2>err || code=$?
	assert_eq 1 "$code" 'exit code without mirrors'
	assert_contains '^there is no mirror to probe$' out
	git mirror add origin git://127.0.0.1:1/p.git
	git mirror probe >out || code=2
	assert_eq 2 "$code" 'where none can be reached'
	assert_contains 'failed: ' out
	git mirror add origin "$PWD"
	git mirror probe >out
	git mirror forgive >out
	assert_contains '^no mirror has failed$' out
}

# git's own arguments are handed on whatever they are; ours are refused in a line.
not_utf8 () {
	cd "$TRASH"
	odd=$(printf 'caf\351')
	new_repo odd.git
	grow odd.git main 5 1
	git -C odd.git update-ref "refs/heads/$odd" main
	cp -a odd.git odd-mirror.git
	for how in fetch mirror-fetch; do
		git init -q "odd-$how"
		git -C "odd-$how" remote add origin "$TRASH/odd.git"
		git -C "odd-$how" config remote.origin.mirrorUrl "$TRASH/odd-mirror.git"
		git -C "odd-$how" "$how" -q origin "$odd:$odd" 2>err || { cat -v err; fail "$how"; }
		code=0
		git -C "odd-$how" "$how" "$odd" 2>"err-$how" || code=$?
		assert_eq 128 "$code" "exit code of $how"
	done
	assert_refs_equal odd-fetch odd-mirror-fetch
	assert_lacks panicked err-mirror-fetch
	for command in "mirror-fetch --mirror-url=$odd" "mirror add origin https://h/$odd" "mirror list $odd"; do
		code=0
		git -C odd-fetch $command 2>err || code=$?
		assert_eq 129 "$code" 'exit code'
		assert_contains '^fatal: .* is not UTF-8$' err
	done
	# What the environment closes stays closed, be it spelled as it may; its programs are run.
	git -C odd-fetch config remote.origin.mirrorUrl git://127.0.0.1:1/x
	GIT_ALLOW_PROTOCOL="file:$odd" git -C odd-fetch mirror list -v >out
	assert_contains "not used: transport 'git' not allowed" out
	printf '#!/bin/sh\necho run >>"%s/ran"\nexit 1\n' "$TRASH" >"$TRASH/bin/$odd"
	chmod +x "$TRASH/bin/$odd"
	git -C odd-fetch config remote.origin.vcs mirror
	for url in git://127.0.0.1:1/x ssh://127.0.0.1:1/x; do
		rm -f ran
		git -C odd-fetch config remote.origin.mirrorUrl "$url"
		grow odd.git main 1 7
		GIT_PROXY_COMMAND="$TRASH/bin/$odd" GIT_SSH_COMMAND="$TRASH/bin/$odd" git -C odd-fetch fetch -q 2>err || :
		test -s ran || fail "the program for $url has not run"
	done
}

help_and_version () {
	for program in git-mirror git-mirror-fetch git-remote-mirror; do
		"$program" --version >out
		assert_contains '[0-9]+\.[0-9]+\.[0-9]+' out
		"$program" -h >out
		test -s out || fail "$program -h says nothing"
	done
	assert_fails git-mirror no-such-command
}

# <TAB> through git's own completion.
completion_in_bash () {
	a_repository
	git mirror add origin https://one.example.com/p.git git://127.0.0.1:9/p.git
	git mirror completions bash >script
	offered () { "$HELPER/complete-bash" "$gits_completion" ./script "$@" | sort | tr '\n' ' ' | sed 's/ $//'; }
	assert_eq 'list' "$(offered git mirror li)" 'commands'
	git-mirror -h | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' | sort | tr '\n' ' ' | sed 's/ $//' >all
	assert_eq "$(cat all)" "$(offered git mirror '')" 'all commands'
	for command in list probe forgive enable disable ask add remove prefer; do
		assert_eq 'origin other' "$(offered git mirror "$command" '')" "remotes for $command"
	done
	for command in remove prefer; do
		assert_eq '127.0.0.1:9 one.example.com' "$(offered git mirror "$command" origin '')" "mirrors for $command"
	done
	assert_eq '--json --verbose' "$(offered git mirror list --)" 'options'
	assert_eq 'origin other' "$(offered git -C . mirror-fetch o)" 'remotes of mirror-fetch'
	offered git mirror-fetch --mirror >out
	assert_contains '--mirror-only' out
	offered git mirror-fetch --pru >out
	assert_contains '--prune' out
}

completion_in_fish () {
	a_repository
	git mirror add origin https://one.example.com/p.git
	mkdir -p "$HOME/.config/fish/conf.d"
	git mirror completions fish >"$HOME/.config/fish/conf.d/git-mirror.fish"
	offered () { fish -c "complete -C '$1'" | cut -f 1 | sort | tr '\n' ' ' | sed 's/ $//'; }
	assert_eq 'list' "$(offered 'git mirror li')" 'commands'
	assert_eq 'origin other' "$(offered 'git mirror list o')" 'remotes'
	assert_eq 'one.example.com' "$(offered 'git mirror remove origin ')" 'mirrors'
	assert_eq '--mirror-only' "$(offered 'git mirror-fetch --mirror-o')" 'options'
}

completion_in_zsh () {
	git mirror completions zsh >_git-mirror
	zsh -n _git-mirror
	head -n 1 _git-mirror >out
	assert_contains '^#compdef git-mirror git-mirror-fetch$' out
}

# Where man looks for the pages of a program in PATH.
man_pages () {
	mkdir -p "$HOME/.cargo/bin"
	for program in git-mirror git-mirror-fetch git-remote-mirror; do
		ln -s "$BIN/$program" "$HOME/.cargo/bin/$program"
	done
	export PATH="$HOME/.cargo/bin:$PATH" MANPAGER=cat
	unset MANPATH
	git mirror install-man >out 2>err
	assert_eq "man pages are in $HOME/.cargo/share/man" "$(cat out)" 'what it says'
	assert_lacks . err
	assert_eq "$HOME/.cargo/share/man/man1/git-mirror.1" "$(man -w git-mirror)" 'where man finds it'
	git mirror --help >out
	assert_contains 'manage the mirrors of git remotes' out
	git mirror-fetch --help >out
	assert_contains 'from mirrors first' out
	git mirror install-man "$TRASH/elsewhere" >out 2>err
	assert_contains '^hint: man does not look there; export MANPATH=' err
}

demo () {
	mkdir -p "$TRASH/demo"
	TMPDIR=$TRASH/demo git-mirror demo >out 2>&1 </dev/null || { cat out; fail 'git mirror demo'; }
	cat out
	assert_at_least 10 "$(grep -c . out)" 'lines'
	rmdir "$TRASH/demo" || fail 'the demo left something'
	assert_no_helper_left
}

test_case 'add' add
test_case 'add says how things stand' add_says_how_things_stand
test_case 'add looks at what it is given' add_looks_at_what_it_is_given
test_case 'add the same twice' add_twice
test_case 'add what cannot be' add_what_cannot_be
test_case 'remove' remove
test_case 'prefer' prefer
test_case 'list' list_shows_all
test_case 'list --json' list_as_json
test_case 'colours' colours
test_case 'list, what came of it' list_shows_the_last_result
test_case 'a damaged memory does no harm' damaged_memory_does_no_harm
test_case 'enable and disable' enable_and_disable
test_case 'outside a repository' outside_a_repository
test_case 'git mirror alone, help, usage' alone
test_case 'probe and forgive' probe_tells
test_case 'arguments and variables that are not UTF-8' not_utf8
test_case 'help and version' help_and_version
gits_completion=$(ls /usr/share/bash-completion/completions/git /usr/share/git-core/contrib/completion/git-completion.bash \
	/usr/share/doc/git/contrib/completion/git-completion.bash 2>/dev/null | head -n 1)
if test -n "$gits_completion" && command -v bash >/dev/null; then
	test_case 'completion in bash' completion_in_bash
else
	skip_case 'completion in bash' 'no completion of git here'
fi
if command -v fish >/dev/null; then
	test_case 'completion in fish' completion_in_fish
else
	skip_case 'completion in fish' 'no fish here'
fi
if command -v zsh >/dev/null; then
	test_case 'completion in zsh' completion_in_zsh
else
	skip_case 'completion in zsh' 'no zsh here'
fi
if command -v man >/dev/null && command -v manpath >/dev/null; then
	test_case 'man pages' man_pages
else
	skip_case 'man pages' 'no man-db here'
fi
test_case 'demo' demo
test_done
