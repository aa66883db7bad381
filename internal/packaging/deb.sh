#!/bin/sh
# deb.sh PROGRAM VERSION FOLDER: makes the Debian package of a program, and prints its name. VERSION is what "git
# describe" says. NFPM is the nfpm that deps.sh has built, ARCH the architecture as Go names it, TOOL as in install.sh.
# The same source makes the same package, byte by byte.
set -eu
program=$1
described=$2
folder=$3
from=$(cd "$(dirname "$0")" && pwd)
top=$from/../..
nfpm=${NFPM:-$top/.deps/bin/nfpm}
goarch=${ARCH:-$(${GO:-go} env GOARCH)}

if [ ! -x "$nfpm" ]; then
	echo "deb: nfpm is missing at $nfpm; make deps builds it" >&2
	exit 1
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
version=$(sh "$from/version.sh" "$described" "$SOURCE_DATE_EPOCH")
case $goarch in
386) arch=i386 ;;
arm) arch=armhf ;;
ppc64le) arch=ppc64el ;;
*) arch=$goarch ;; # amd64, arm64, riscv64, s390x
esac

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

ZSH_FUNCTIONS=vendor-completions sh "$from/install.sh" "$program" /usr "$root"
doc=$root/usr/share/doc/sluice
cp "$from/deb/copyright" "$doc/copyright"
cp "$top/CHANGELOG.md" "$doc/changelog"
gzip -9n "$doc/changelog" "$root"/usr/share/man/man8/*.8
chmod 0644 "$doc"/copyright "$doc"/changelog.gz
# The conffile is listed by itself, and the tree gets the time of the source.
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

sed -e "s|@VERSION@|$version|" -e "s|@ARCH@|$arch|" -e "s|@ROOT@|$root|" -e "s|@FROM@|$from|" -e "s|@TIME@|$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)|" \
	"$from/deb/nfpm.yaml" >"$work/nfpm.yaml"
package=$folder/sluice_${version}_$arch.deb
"$nfpm" "$work/nfpm.yaml" "$package"
echo "$package"
