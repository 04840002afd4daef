#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: hack/fuzz.sh TIME
#
# Runs every fuzz target for TIME, one after the other: go test takes one.
set -euo pipefail

cd "$(dirname "$0")/.."
targets=$(grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | LC_ALL=C sort) || {
	echo "fuzz: no target found"
	exit 1
}
said=$(mktemp)
trap 'rm -f "$said"' EXIT
for target in ${targets//func /}; do
	file=${target%%:*} name=${target##*:}
	echo "--- $name in $(dirname "$file")"
	for try in 1 2 3; do
		go test -run='^$' -fuzz="^$name\$" -fuzztime="$1" "$(dirname "$file")" 2>&1 | tee "$said" && break
		# On a busy machine Go may fail a target because its time is over. It found nothing then:
		# what fails with an input says which.
		if [[ $try == 3 ]] || grep -q 'Failing input' "$said" || ! grep -qx '    context deadline exceeded' "$said"; then
			exit 1
		fi
		echo "fuzz: the time was over, and no input had failed; again"
	done
done
