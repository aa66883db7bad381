#!/bin/sh
# Builds nfpm, which makes the Debian package, into .deps, with the versions of its own go.mod, and again only when they
# change.
set -eu
cd "$(dirname "$0")/../.."

GO=${GO:-go}
sum=$(cat internal/deps/nfpm/go.mod internal/deps/nfpm/main.go | cksum)
if [ -x .deps/bin/nfpm ] && [ "$(cat .deps/bin/nfpm.sum)" = "$sum" ]; then
	exit 0
fi
mkdir -p .deps/bin
root=$PWD
cd internal/deps/nfpm
GOWORK=off GOFLAGS=-mod=readonly "$GO" build -trimpath -buildvcs=false -o "$root/.deps/bin/nfpm" .
echo "$sum" >"$root/.deps/bin/nfpm.sum"
