#!/bin/sh
# lib-flags-core.sh - the lines of the tables that meet a transport in a way of
# their own. Sourced by a script for each kind of canonical server.

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

servers_too=1
. "$T/lib-differential.sh"

# Where canonical does not speak protocol v2, it is passed through and no mirror is asked.
case $transport in
*-v0 | *-dumb) uses=spares ;;
*) uses=uses ;;
esac

same $uses 'clone' servers 'git clone $mirrored "$canonical" new'
same $uses 'clone --mirror' servers 'git clone --mirror $mirrored "$canonical" new'
same $uses 'clone --single-branch' servers 'git clone --single-branch $mirrored "$canonical" new'
same $uses 'clone --branch' servers 'git clone --branch topic $mirrored "$canonical" new'
same 'clone --depth' servers 'git clone --depth=2 $mirrored "$canonical" new'
same 'clone --depth, then --unshallow' servers \
	'git clone --depth=2 $mirrored "$canonical" new && git -C new fetch --unshallow'
same 'clone --filter, then log' servers \
	'git clone --filter=blob:none $mirrored "$canonical" new && git -C new log -p main'
same 'clone of what is not there' servers 'git clone $mirrored "$canonical-not" new'
same 'clone of an empty repository' empty_canonical 'git clone $mirrored "$canonical" new'
same $uses 'fetch' client 'git fetch'
same $uses 'fetch --verbose' client 'git fetch --verbose'
same $uses 'fetch, then fetch again' client 'git fetch && git fetch'
same $uses 'fetch --prune --tags --force' client 'git fetch --prune --tags --force'
same $uses 'fetch --all' client 'git fetch --all'
same $uses 'fetch main:mine' client 'git fetch origin main:mine'
same $uses 'fetch --no-tags' client 'git fetch --no-tags'
same 'fetch --dry-run' client 'git fetch --dry-run'
same 'fetch a tag' client 'git fetch origin tag v2'
same 'fetch an exact oid' client 'git fetch origin $(git -C ../canonical.git rev-parse main~1)'
same 'fetch an oid that is nowhere' client 'git fetch origin 1234567890123456789012345678901234567890'
same 'fetch a ref that is nowhere' client 'git fetch origin nowhere'
same 'fetch --depth' client 'git fetch --depth=2'
same spares 'protocol.version=0' client 'git -c protocol.version=0 fetch'
same 'fetch --deepen, shallow' shallow_client 'git fetch --deepen=2'
if test "$transport" != http-dumb; then # plain git itself never ends there
	same 'lazy fetch, partial' partial_client 'git fetch && git checkout -q origin/main~3'
fi
same $uses 'fetch, SHA-256' sha256_client 'git fetch'
same $uses 'pull' client 'git pull'
same spares 'ls-remote' client 'git ls-remote --symref'
same spares 'ls-remote, a pattern' client 'git ls-remote --heads origin "t*"'
same spares 'remote show' client 'git remote show origin'
same spares 'archive --remote' client 'git archive --remote=origin main | cksum'
same spares 'push' author 'git push --porcelain origin main side :moved'
same spares 'push --atomic, one refused' author 'git push --porcelain --atomic origin main topic'
