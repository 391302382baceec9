#!/bin/sh
# lib-flags-clone.sh - the table of clone: a line a case. Sourced by a script for
# each transport.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

. "$T/lib-differential.sh"

# "git clone --no-local" of canonical into "new"; more arguments may follow.
clone () {
	git clone --no-local $mirrored "$@" "$canonical" new
}

same uses 'clone' servers 'clone'
same 'clone --local' servers 'git clone $mirrored "$canonical" new'
same uses 'clone -q' servers 'clone -q'
same uses 'clone --progress --verbose' servers 'clone --progress --verbose'
same uses 'clone, then fetch' servers 'clone && git -C new fetch'
same uses 'clone, then log and checkout' servers 'clone && git -C new log --oneline && git -C new checkout topic'
same uses 'clone --no-checkout' servers 'clone --no-checkout'
same uses 'clone --bare' servers 'clone --bare'
same uses 'clone --mirror' servers 'clone --mirror'
same uses 'clone --single-branch' servers 'clone --single-branch'
same uses 'clone --single-branch --branch' servers 'clone --single-branch --branch topic'
same uses 'clone --single-branch --no-tags' servers 'clone --single-branch --no-tags'
same uses 'clone --branch' servers 'clone --branch topic'
same uses 'clone --branch <tag>' servers 'clone --branch v1.5'
same uses 'clone --single-branch --branch <tag>' servers 'clone --single-branch --branch v1.5'
same 'clone --branch <nowhere>' servers 'clone --branch nowhere'
same uses 'clone --no-tags' servers 'clone --no-tags'
same uses 'clone --origin' servers \
	'mirrored=$(echo "$mirrored" | sed "s/remote.origin/remote.up/g"); clone --origin up'
same uses 'clone --config' servers 'clone --config user.name=somebody --config remote.origin.fetch=+refs/tags/*:refs/t/*'
same uses 'clone --separate-git-dir' servers 'clone --separate-git-dir=apart.git && rm -r apart.git'
same uses 'clone --sparse' servers 'clone --sparse'
same uses 'clone --reference' servers 'git clone -q --bare --no-local stale.git near && clone --reference near'
same uses 'clone --reference --dissociate' servers \
	'git clone -q --bare --no-local stale.git near && clone --reference near --dissociate'
same uses 'clone --server-option' servers 'clone --server-option=hello'
same uses 'clone --reject-shallow' servers 'clone --reject-shallow'
same 'clone --depth' servers 'clone --depth=1'
same 'clone --depth --no-single-branch' servers 'clone --depth=3 --no-single-branch'
same 'clone --shallow-since' servers 'clone --shallow-since=2020-09-15'
same 'clone --shallow-exclude' servers 'clone --shallow-exclude=v1'
same 'clone --depth, then --unshallow' servers 'clone --depth=2 && git -C new fetch --unshallow'
same 'clone --depth, then --deepen' servers 'clone --depth=2 && git -C new fetch --deepen=3'
same 'clone --filter=blob:none' servers 'clone --filter=blob:none && git -C new log -p main >/dev/null'
same 'clone --filter=blob:limit' servers 'clone --filter=blob:limit=100'
same 'clone --filter=tree:0' servers 'clone --filter=tree:0 && git -C new show topic:dir1/file1'
same 'clone --filter --no-checkout' servers 'clone --filter=blob:none --no-checkout && git -C new checkout main'
same 'clone --filter --sparse' servers 'clone --filter=blob:none --sparse && git -C new sparse-checkout set dir1'
same spares 'clone, protocol.version=0' servers 'git -c protocol.version=0 clone --no-local $mirrored "$canonical" new'
same uses 'clone, fsckObjects' servers 'git -c transfer.fsckObjects=true clone --no-local $mirrored "$canonical" new'
same 'clone into a directory that is not empty' servers 'mkdir new && touch new/file && clone; rm -r new'
same 'clone of what is not there' servers 'git clone --no-local $mirrored "$canonical-not" new'
same 'clone of an empty repository' empty_canonical 'clone'
same 'clone of a detached HEAD' detached_canonical 'clone'
same uses 'clone, SHA-256' sha256_client 'clone'
if git_is_at_least 2 45; then
	same uses 'clone, reftable' servers 'clone --ref-format=reftable'
	same uses 'clone of a reftable repository' reftable_client 'clone'
else
	skip_case 'clone, reftable' 'git 2.45 is needed'
fi
same 'clone --recurse-submodules' submodule_client \
	'cd .. && git -c protocol.mirror.allow=always clone --no-local --recurse-submodules \
		${mirrored:+${mirrored%/*}/super.git} "${canonical%/*}/super.git" new && git -C new submodule status'
same uses 'clone, a hidden ref' servers 'git -C canonical.git config transfer.hideRefs refs/heads/new; clone'
