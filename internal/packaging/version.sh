#!/bin/sh
# version.sh DESCRIBED [SECONDS]: the version of a Debian package for what "git describe" says. SECONDS is the time of
# the commit, and orders commits before the first tag.
#
#   v1.2.3                    1.2.3
#   v1.2.3-rc.1               1.2.3~rc.1         before 1.2.3
#   v1.2.3-4-gabcdef0         1.2.3+4.gabcdef0   after it
#   v1.2.3-4-gabcdef0-dirty   1.2.3+4.gabcdef0+dirty
#   abcdef0                   0~20260801120000.abcdef0
set -eu
described=$1
seconds=${2:-0}
clean=${described%-dirty}
dirty=
if [ "$clean" != "$described" ]; then
	dirty=+dirty
fi
case $clean in
v[0-9]* | [0-9]*.[0-9]*)
	version=${clean#v}
	after=$(echo "$version" | sed -n 's/^.*-\([0-9][0-9]*\)-\(g[0-9a-f]*\)$/+\1.\2/p')
	if [ -n "$after" ]; then
		version=$(echo "$version" | sed 's/-[0-9][0-9]*-g[0-9a-f]*$//')
	fi
	if [ -z "$after" ] && [ -n "$dirty" ]; then
		dirty=+0.dirty # before the next commit
	fi
	version=$(echo "$version" | sed 's/-/~/; s/-/./g')$after
	;;
*)
	if [ "$clean" = unknown ]; then
		clean=
	fi
	version=0~$(date -u -d "@$seconds" +%Y%m%d%H%M%S 2>/dev/null || date -u -r "$seconds" +%Y%m%d%H%M%S)${clean:+.$clean}
	;;
esac
echo "$version$dirty"
