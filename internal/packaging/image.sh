#!/bin/sh
# image.sh ROOT OWNED: lays out what the image has beside the program. ROOT is for files of root; what is below OWNED
# belongs to the user of the image.
set -eu
from=$(dirname "$0")
root=$1
owned=$2

mkdir -p "$root/etc/sluice" "$root/srv"
cp "$from/Caddyfile" "$root/etc/sluice/Caddyfile"
echo 'sluice:x:65532:65532:sluice:/data:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'sluice:x:65532:' >"$root/etc/group"
chmod 0644 "$root/etc/sluice/Caddyfile" "$root/etc/passwd" "$root/etc/group"
# Volumes begin as what is at their place, and with its owner.
mkdir -p "$owned/data" "$owned/config" "$owned/run/sluice" "$owned/tmp" "$owned/var/log/sluice"
