#!/bin/sh
# lib-wire.sh - every git here, of servers too, starts others through $GIT_EXEC_PATH;
# the "git" in this one spoils the upload-pack of a repository that has a file "wire"
# (see helper/wire-fault).

case ${0##*/} in lib*.sh) echo '1..0 # SKIP a library, not a test'; exit 0 ;; esac

core=$(git --exec-path)
mkdir "$TRASH/exec"
ln -s "$core"/* "$TRASH/exec/"
rm -f "$TRASH/exec/git"
cat >"$TRASH/exec/git" <<END
#!/bin/sh
if test "\$1" = upload-pack; then
	for dir in "\$@"; do :; done
	test ! -f "\$dir/wire" || exec '$HELPER/wire-fault' "\$dir/wire" '$core/git' "\$@"
fi
exec '$core/git' "\$@"
END
chmod +x "$TRASH/exec/git"
GIT_EXEC_PATH=$TRASH/exec
export GIT_EXEC_PATH
