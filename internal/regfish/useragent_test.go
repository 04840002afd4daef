// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import "testing"

func TestUserAgent(t *testing.T) {
	tests := map[string]struct {
		reason           string
		product, version string
		details          []string
		want             string
	}{
		"all parts": {
			reason:  "This is the form of the vendor's own client.",
			product: "certbro", version: "v0.1.0",
			details: []string{"os=linux", "arch=amd64", "instance=web-01", "contact=ops@example.com"},
			want:    "certbro/v0.1.0 (os=linux; arch=amd64; instance=web-01; contact=ops@example.com)",
		},
		"no details": {
			reason:  "Empty parentheses say nothing.",
			product: "regfish-issuer", version: "v1", want: "regfish-issuer/v1",
		},
		"no version": {
			reason:  "A slash with nothing behind it is not a product.",
			product: "regfish-issuer", details: []string{"os=linux"}, want: "regfish-issuer (os=linux)",
		},
		"empty and incomplete details": {
			reason:  "A detail without a value is left out.",
			product: "regfish-issuer", version: "v1", details: []string{"os=", "arch", "=x", "", "instance=a"},
			want: "regfish-issuer/v1 (instance=a)",
		},
		"characters that end the header": {
			reason:  "A pod name or a version must not be able to add a header.",
			product: "regfish issuer\r\n", version: "v1\r\nx-evil: 1", details: []string{"instance=a b\r\nx: (y);=z"},
			want: "regfishissuer/v1x-evil1 (instance=a_b__x:__y___z)",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := UserAgent(tc.product, tc.version, tc.details...); got != tc.want {
				t.Errorf("UserAgent = %q, want %q. %s", got, tc.want, tc.reason)
			}
		})
	}
}
