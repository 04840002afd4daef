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
for target in ${targets//func /}; do
	file=${target%%:*} name=${target##*:}
	echo "--- $name in $(dirname "$file")"
	go test -run='^$' -fuzz="^$name\$" -fuzztime="$1" "$(dirname "$file")"
done
