#!/bin/sh
# Ctrl-C and Ctrl-Z where git mirror-fetch runs in a script, or in a shell with
# job control.
. "$(dirname "$0")/lib.sh"
. "$T/lib-terminal.sh"

in_a_script () {
	a_plain_client stalled fresh
	printf 'git mirror-fetch; echo "code $?"; read -r word; echo "read $word"\n' >script
	terminal sh ../script
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 shown 'code 0'
	type_in 'hello\n'
	ends_with 0
	assert_contains 'read hello' tty.screen
	is_fetched
}

ends_a_script_too () {
	a_plain_client
	git -C got config remote.origin.url "$srv/stalled.git"
	printf 'git mirror-fetch; echo went on\n' >script
	terminal sh ../script
	wait_until 20 asked stalled
	ctrl_c
	ends_with 130
	assert_lacks 'went on' tty.screen
	is_as_before
}

# A shell with job control; its words are not in what it echoes.
a_shell () {
	terminal env PS1='$ ' ENV= sh -i
	wait_until 20 shown '^. '
}

ctrl_c_and_all_is_well () {
	ctrl_c
	wait_until 20 shown 'code='
	assert_contains 'code=0' tty.screen
	has_fetched
	type_in 'exit\n'
	wait_until 20 test -s tty.end
	leaves_nothing
}

in_a_shell () { # <command>
	a_plain_client stalled stalled2 fresh
	a_shell
	type_in "$1; echo co''de=\$?\n"
	wait_until 20 asked stalled
	ctrl_c
	wait_until 20 asked stalled2
	sleep 2.2
	ctrl_c_and_all_is_well
}

stopped_and_continued () { # <command>
	a_plain_client stalled fresh
	a_shell
	type_in "$1\n"
	wait_until 20 asked stalled
	type_in '\032'
	wait_until 20 shown 'Stopped'
	type_in "echo st''op=\$?\n"
	wait_until 20 shown 'stop='
	type_in "fg; echo co''de=\$?\n"
	wait_until 20 shown "^$1"
	sleep 0.3
	ctrl_c_and_all_is_well
}

for command in 'git mirror-fetch' git-mirror-fetch; do
	test_case "$command in a shell" in_a_shell "$command"
	test_case "$command in a shell: Ctrl-Z, fg" stopped_and_continued "$command"
done
test_case 'in a script' in_a_script
test_case 'ends a script, too' ends_a_script_too
test_done
