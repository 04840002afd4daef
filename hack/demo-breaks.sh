#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# A demo that cannot fail shows nothing. This runs every scenario, which must
# pass, and then the demo with one part broken at a time, which must fail at the
# check that watches over that part: where it stops, the demo prints a line
# "FAIL: <check>: ...". A demo that fails for another reason, a busy port say,
# proves nothing and fails here too.
set -euo pipefail

cd "$(dirname "$0")/.."
mkdir -p bin
go build -o bin/demo ./hack/demo
log=$(mktemp)
trap 'rm -f "$log"' EXIT

must_pass() {
	echo "--- demo -scenario=$1 must pass"
	bin/demo -scenario="$1"
}

must_fail() {
	echo "--- demo -break=$1 must fail at: $2"
	if bin/demo -break="$1" 2>&1 | tee "$log"; then
		echo "demo-breaks: the demo passed with $1 broken"
		exit 1
	fi
	if ! grep -q "^FAIL: $2:" "$log"; then
		echo "demo-breaks: with $1 broken the demo failed, but not at: $2"
		exit 1
	fi
}

must_pass dv
must_pass ov
must_pass wildcard
must_pass rejected
must_pass denied
must_pass bad-key
must_pass renew
must_fail dns validation
must_fail gate certificate
must_fail ledger ledger
must_fail person completion
