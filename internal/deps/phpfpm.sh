#!/bin/sh
# Puts php-fpm into a folder without root, out of the packages of Debian or
# Ubuntu, and prints what to set SLUICE_PHP_FPM to. With root, "apt-get install
# php-fpm" does as well.
set -eu
dir=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/sluice/php-fpm"}
run=$dir/php-fpm
if [ -x "$run" ]; then
	echo "$run"
	exit 0
fi
mkdir -p "$dir/debs"
cd "$dir/debs"
fpm=$(apt-cache depends php-fpm | sed -n 's/.*Depends: \(php[0-9.]*-fpm\)$/\1/p' | head -n 1)
# All that it needs but what every system has, and must have of one kind only.
apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$fpm" |
	grep -E '^(php|lib)[a-z0-9.+-]*$' | sort -u |
	grep -Ev '^(libc6|libgcc-s1|libstdc\+\+6|libcrypt1|libc-bin|libpam.*|libsystemd-shared)$' |
	xargs apt-get -q download >&2
for deb in ./*.deb; do
	dpkg-deb -x "$deb" "$dir/root"
done
cd "$dir"
rm -r debs
binary=$(ls root/usr/sbin/php-fpm* | head -n 1)
libs=$(find "$dir/root" -name '*.so*' -path '*/lib/*' ! -path '*/php/*' -exec dirname {} + | sort -u | paste -sd: -)
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s -n "$@"\n' "$libs" "$dir/$binary" >"$run"
chmod +x "$run"
"$run" -v >&2
echo "$run"
