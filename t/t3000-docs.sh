#!/bin/sh
# The man pages are those that docs/make-man makes, name every option and command that there is, and their examples
# and those of README.md run. (Those of gitprotocol-mirror(5) are for the unit tests of src/wire/mirror_command.rs.)
#
# An example is a line of a listing that begins with "$ "; one that ends in a backslash goes on in the next line. The
# examples of a file are run in order, by one shell that ends at the first failure, in an empty folder.
# https://git.example.com/ and https://mirror.example.com/ are then folders of this test.
. "$(dirname "$0")/lib.sh"
. "$T/lib-repos.sh"

root=$(cd "$T/.." && pwd)
need asciidoctor asciidoctor

man_pages_are_up_to_date () {
	"$root/docs/make-man" "$TRASH/man"
	diff -r "$root/docs/man" "$TRASH/man" || fail 'run docs/make-man, and commit what it makes'
}

# --- options and commands ---
#
# Both sides become lines "<command> <option>", the command "-" for the options of the program itself.

options_of_help () { # <program>
	"$BIN/$1" -h >help
	listed_options - <help
	commands_of_help <help >commands
	while read -r command; do
		echo "$command command"
		"$BIN/$1" "$command" -h | listed_options "$command" | grep -v -e ' -h$' -e ' --help$' || :
	done <commands
}

listed_options () { # <command>
	sed -n 's/^ \{2,6\}\(-.*\)/\1/p' | sed 's/  .*//' | grep -o -e '-\(-[a-z][a-z-]*\|[a-zA-Z]\)\>' | sed "s/^/$1 /"
}

commands_of_help () {
	sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}

# A term of a labelled list that begins with a bold option, or with a bold word: a command, whose options are those
# that follow with another sign. The sections COMMANDS and OPTIONS are looked at.
options_of_page () { # <adoc>
	awk '
	/^== / { section = $2; command = "-" }
	section != "COMMANDS" && section != "OPTIONS" { next }
	/^\*[^*]*\*.*(::|;;)$/ {
		term = $0
		sub(/^\*/, "", term)
		sub(/\*.*/, "", term)
		if (term ~ /^-/) print command, term
		else { command = term; print command, "command" }
	}' "$1"
}

help_and_page_agree () { # <program>
	options_of_help "$1" | sort -u >from-help
	options_of_page "$root/docs/$1.adoc" | sort -u >from-page
	test -s from-help
	diff -u from-help from-page || fail "$1 -h (-) and docs/$1.adoc (+) differ"
}

# --- examples ---

examples_of () { # <file>
	awk '
	/^```/ || /^----$/ { listing = !listing; next }
	!listing { more = 0; next }
	more || /^\$ / {
		line = $0
		sub(/^(\$|>) /, "", line)
		more = line ~ /\\$/
		print line
	}' "$1" | grep -v '^cargo ' || :
}

make_servers () {
	mkdir servers servers/git servers/mirror
	new_repo servers/git/project.git
	grow servers/git/project.git main 120 1
	tag servers/git/project.git v1 main~5
	cp -a servers/git/project.git servers/mirror/project.git
	{
		cat "$HOME/.gitconfig"
		cat <<-END
		[url "file://$TRASH/servers/git/"]
			insteadOf = https://git.example.com/
		[url "mirror::file://$TRASH/servers/git/"]
			insteadOf = mirror::https://git.example.com/
		[url "file://$TRASH/servers/mirror/"]
			insteadOf = https://mirror.example.com/
		[mirror "file://$TRASH/servers/mirror/"]
			mirrorOf = file://$TRASH/servers/git/
		END
	} >servers/gitconfig
}

examples_run () { # <file>
	name=$(basename "$1")
	mkdir -p "$name/home/.cargo/bin" "$name/work"
	ln -s "$BIN/git-mirror" "$BIN/git-mirror-fetch" "$BIN/git-remote-mirror" "$name/home/.cargo/bin"
	# A machine whose address is that of loopback.
	printf '#!/bin/sh\necho 127.0.0.1\n' >"$name/home/.cargo/bin/hostname"
	chmod +x "$name/home/.cargo/bin/hostname"
	cp servers/gitconfig "$name/home/.gitconfig"
	examples_of "$root/$1" >"$name/script"
	cat "$name/script"
	test -s "$name/script" || fail "no example in $1"
	(cd "$name/work" && HOME=$TRASH/$name/home PATH=$TRASH/$name/home/.cargo/bin:$PATH timeout -k 5 "$limit" sh -e -x ../script) || fail "an example in $1"
	if grep -q install-man "$name/script"; then
		test -s "$name/home/.cargo/share/man/man1/git-mirror.1" || fail 'no man page beside the programs'
	fi
	find "$name/work" -name state.toml -exec cat {} + | grep '^result = "ok"' || fail "no example in $1 used a mirror"
}

test_case 'docs/man is up to date' man_pages_are_up_to_date
for program in git-mirror git-mirror-fetch git-remote-mirror; do
	test_case "$program: help and man page agree" help_and_page_agree $program
done
test_case 'a canonical and a mirror server' make_servers
for file in README.md $(cd "$root" && echo docs/git-*.adoc); do
	test_case "$file: examples" examples_run "$file"
done
test_done
