#!/bin/sh
# install.sh PROGRAM PREFIX [DESTDIR]: puts the program, its manual pages, completions and units where they belong
# below PREFIX. TOOL, if set, is a program of the same source that runs here, for PROGRAM may be for another machine.
set -eu
from=$(dirname "$0")
program=$1
prefix=$2
dest=${3:-}
tool=${TOOL:-$program}
case $tool in
*/*) ;;
*) tool=./$tool ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# put FILE MODE PLACE
put() { install -D -m "$2" "$1" "$dest$3"; }

put "$program" 0755 "$prefix/bin/sluice"

"$tool" manpage --directory "$work/man"
for page in "$work"/man/*.8; do
	put "$page" 0644 "$prefix/share/man/man8/$(basename "$page")"
done

"$tool" completion bash >"$work/bash"
"$tool" completion zsh >"$work/zsh"
"$tool" completion fish >"$work/fish"
put "$work/bash" 0644 "$prefix/share/bash-completion/completions/sluice"
put "$work/zsh" 0644 "$prefix/share/zsh/${ZSH_FUNCTIONS:-site-functions}/_sluice"
put "$work/fish" 0644 "$prefix/share/fish/vendor_completions.d/sluice.fish"

for unit in sluice.service sluice-api.service sluice.socket; do
	sed "s|/usr/bin/sluice|$prefix/bin/sluice|g" "$from/systemd/$unit" >"$work/$unit"
	put "$work/$unit" 0644 "$prefix/lib/systemd/system/$unit"
done

put "$from/Caddyfile" 0644 "$prefix/share/doc/sluice/examples/Caddyfile"
put "$from/socket.Caddyfile" 0644 "$prefix/share/doc/sluice/examples/socket.Caddyfile"
put "$from/logrotate" 0644 "$prefix/share/doc/sluice/examples/logrotate"
