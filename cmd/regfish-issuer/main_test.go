// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestTimes: times with which an order could be taken for lost that is still under way,
// or with which two could lead, are refused with the flag's name.
func TestTimes(t *testing.T) {
	short := []string{"--write-window=1s", "--order-timeout=3s", "--settle-time=5s", "--lease-duration=3s", "--renew-deadline=2s", "--retry-period=500ms"}
	tests := []struct {
		name, reason string
		args         []string
		refused      string // the beginning of the error; empty: not refused
	}{
		{"the defaults", "everybody has them", nil, ""},
		{"short ones that fit together", "a ring of kills uses them", short, ""},
		{"a retention of hours", "what was just paid for would be forgotten", []string{"--ledger-retention=23h"}, "--ledger-retention 23h0m0s: it has to be 24h0m0s at least"},
		{"a settle time that an order can outlast", "it could be ordered again while it is under way", []string{"--settle-time=119s"}, "--settle-time 1m59s: it has to be 2m0s at least"},
		{"the same with short times", "it could be ordered again while it is under way", append(short, "--settle-time=4s"), "--settle-time 4s: it has to be 5s at least"},
		{"a longer write window", "the pod would be killed before the order is recorded", []string{"--write-window=31s"}, "--write-window 31s"},
		{"a longer wait for the answer", "the pod would be killed before the order is recorded", []string{"--order-timeout=61s"}, "--order-timeout 1m1s"},
		{"no write window", "nothing could ever leave", []string{"--write-window=0"}, "--write-window 0s"},
		{"a leader that goes on after its lease", "two would lead", []string{"--lease-duration=40s"}, "--lease-duration 40s"},
		{"a leader that hardly tries", "one lost message would end it", []string{"--retry-period=30s"}, "--renew-deadline 40s"},
		{"a retry without a pause", "the API server would be flooded", []string{"--retry-period=0"}, "--retry-period 0s"},
	}
	t.Setenv("POD_NAMESPACE", "regfish-issuer")
	t.Setenv("KUBECONFIG", t.TempDir()+"/none") // What is not refused ends here.
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := run(tc.args)
			if err == nil {
				t.Fatal("it runs without an API server")
			}
			want := tc.refused
			if want == "" {
				want = "find the API server"
			}
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: got %q, want %q", tc.reason, err, want)
			}
		})
	}
}
