#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: hack/reproducible.sh ARCH
#
# Builds the binaries twice, in two folders of different names and with an empty build
# cache each, and compares them. Whoever doubts a release can then build it anew.
set -euo pipefail

cd "$(dirname "$0")/.."
arch=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for build in one another-one; do
	mkdir -p "$dir/$build"
	git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --create | tar --extract --directory "$dir/$build"
	GOCACHE="$dir/cache-$build" make --directory "$dir/$build" binaries ARCH="$arch" VERSION=v0.0.0-reproducible
	(cd "$dir/$build/bin/image/linux-$arch" && sha256sum -- *) >"$dir/$build.sum"
	rm -rf "$dir/cache-$build"
done
cat "$dir/one.sum"
diff "$dir/one.sum" "$dir/another-one.sum" || { echo "two builds of the same source differ"; exit 1; }
[[ -s $dir/one.sum ]] || { echo "nothing was built"; exit 1; }

# A stamp that is not in the binary would make all releases look the same.
grep --quiet --binary-files=text v0.0.0-reproducible "$dir/one/bin/image/linux-$arch/regfish-issuer" || { echo "the version is not in the binary"; exit 1; }
echo "two builds, one hash each"
