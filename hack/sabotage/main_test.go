// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestSabotagesFollowTheCode: what a sabotage replaces stands in the code, which changes more
// often than make sim-sabotage runs.
func TestSabotagesFollowTheCode(t *testing.T) {
	if len(sabotages) == 0 {
		t.Fatal("there is none")
	}
	names := map[string]bool{}
	for _, s := range sabotages {
		if names[s.name] {
			t.Errorf("there are two %q", s.name)
		}
		names[s.name] = true
		if _, err := s.edited("../.."); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
