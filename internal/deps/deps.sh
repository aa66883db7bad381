#!/bin/sh
# Checks what the tests need, and gets what it can: Go, git and make must be
# there, php-fpm, h2spec and nfpm go to .deps, everything else is in go.mod. What is
# missing is named, with how to get it. With CI set, a missing part is a failure;
# otherwise only what nothing works without is.
set -eu
cd "$(dirname "$0")/../.."

GO=${GO:-go}
missing=0
fatal=0

lack() { # what, why, how to get it
	missing=1
	echo "deps: $1 is missing: $2" >&2
	echo "deps:   get it: $3" >&2
}

want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' go.mod)

# at_least A B: is version A at least version B?
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}

if ! command -v "$GO" >/dev/null 2>&1; then
	fatal=1
	lack "go" "it builds and tests everything; version $want or newer" \
		"https://go.dev/dl/, or your system's package named go or golang"
else
	# GOTOOLCHAIN=auto lets an older go fetch the version that go.mod names.
	have=$("$GO" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*$//')
	if [ -z "$have" ] || ! at_least "$have" "$want"; then
		fatal=1
		lack "go $want" "this is go ${have:-that does not start}" \
			"https://go.dev/dl/, or run: $GO install golang.org/dl/go$want@latest && go$want download"
	fi
fi

if ! command -v git >/dev/null 2>&1; then
	lack "git" "it names the version that is built, and 'make check' compares with it" \
		"apt-get install git, dnf install git, brew install git"
fi

if [ "$fatal" = 1 ]; then
	exit 1
fi
# php-fpm is for the tests of the FastCGI transport. It is fetched without root
# where that is possible.
if ! { [ -n "${SLUICE_PHP_FPM:-}" ] || command -v php-fpm || ls /usr/sbin/php-fpm* /usr/local/sbin/php-fpm* || [ -x .deps/php/php-fpm ]; } >/dev/null 2>&1; then
	if ! { command -v apt-get && command -v dpkg-deb && command -v timeout && timeout 180 sh internal/deps/phpfpm.sh "$PWD/.deps/php"; } >/dev/null 2>&1; then
		rm -rf .deps/php
		lack "php-fpm" "the FastCGI transport is tested against it; without it those tests are skipped" \
			"apt-get install php-fpm, or sh internal/deps/phpfpm.sh .deps/php"
	fi
fi

# h2spec asks whether HTTP/2 is spoken as it should be. It is built with the
# versions of its own go.mod, and again only when they change.
if ! { [ -x .deps/bin/h2spec ] && cmp -s internal/deps/h2spec/go.mod .deps/bin/h2spec.mod; }; then
	mkdir -p .deps/bin
	root=$PWD
	if (cd internal/deps/h2spec && GOWORK=off GOFLAGS=-mod=readonly "$GO" build -trimpath -buildvcs=false -o "$root/.deps/bin/h2spec" github.com/summerwind/h2spec/cmd/h2spec); then
		cp internal/deps/h2spec/go.mod .deps/bin/h2spec.mod
	else
		lack "h2spec" "HTTP/2 is tested with it; without it that test is skipped" \
			"see above why go cannot build it; it comes through GOPROXY, which is $("$GO" env GOPROXY)"
	fi
fi

if ! GO=$GO sh internal/deps/nfpm.sh; then
	lack "nfpm" "make deb needs it; without it the test of the package is skipped" \
		"see above why go cannot build it; it comes through GOPROXY, which is $("$GO" env GOPROXY)"
fi

if [ "$missing" = 1 ] && [ "${CI:-}" != "" ] && [ "${CI:-}" != false ]; then
	echo "deps: a part is missing, and this is CI" >&2
	exit 1
fi
# Modules are fetched now, so that a missing network is named here and not by
# the first test that fails to build.
if ! "$GO" list -deps -test ./... >/dev/null; then
	echo "deps: go could not load the packages and the modules they need, see above; GOPROXY is $("$GO" env GOPROXY)" >&2
	exit 1
fi
