// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestHeapGrowsByItsHeadroomAtLeast(t *testing.T) {
	for live, want := range map[uint64]int{
		0:          100, // nothing is known yet
		1 << 20:    100, // as Go does by itself
		12 << 20:   100,
		48 << 20:   33,
		100 << 20:  16,
		1000 << 20: 10,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d MiB in use it may grow by %d %%, want %d", live>>20, got, want)
		}
	}
}
