#!/bin/sh
# Runs every fuzz target, each for the time given (10s, 5m; default 60s).
set -eu
cd "$(dirname "$0")/../.."

GO=${GO:-go}
time=${1:-60s}
failed=""

for file in $(git ls-files --cached --others --exclude-standard '*_test.go' | sort); do
	dir=./$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $dir $target, $time"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" || failed="$failed $dir:$target"
	done
done

if [ -n "$failed" ]; then
	echo "fuzz: failed:$failed" >&2
	echo "fuzz: the inputs are in testdata/fuzz below those folders; commit them with the fix" >&2
	exit 1
fi
