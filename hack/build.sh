#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: [LDFLAGS=...] hack/build.sh MODULE OUT PACKAGE...
#
# Builds the main packages into the folder OUT with the versions that MODULE's
# go.mod pins. A stamp beside each binary says what it was built from: the
# module's files, the flags and the Go version. While that stays the same the
# binary is kept, so an interrupted run goes on where it was and a finished one
# costs nothing. A binary gets its name only when it is complete.
set -euo pipefail

mkdir -p "$2"
out=$(cd "$2" && pwd)
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
cd "$1"
shift 2

export CGO_ENABLED=0
ldflags="-s -w ${LDFLAGS:-}"
# shellcheck disable=SC2046 # No file of these modules has a space in its name.
stamp=$({
	go env GOVERSION GOOS GOARCH
	echo "$ldflags"
	cat "$script" $(find . -name 'go.*' -o -name '*.go' | LC_ALL=C sort)
} | git hash-object --stdin)

partial=
trap 'rm -f "$partial"' EXIT
trap 'exit 1' INT TERM
for package in "$@"; do
	name=$(basename "$package")
	if [[ -x $out/$name && $(cat "$out/.$name.stamp" 2>/dev/null) == "$stamp" ]]; then
		continue
	fi
	echo "building $name"
	partial=$out/.$name.$$
	go build -trimpath -ldflags "$ldflags" -o "$partial" "$package"
	rm -f "$out/.$name.stamp"
	mv "$partial" "$out/$name"
	echo "$stamp" >"$out/.$name.stamp"
done
