// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestExactNames(t *testing.T) {
	for _, tc := range []struct {
		name       string
		commonName string
		dnsNames   []string
		want       []string
		reason     string
	}{
		{"nothing", "", nil, nil, "no names are no names"},
		{"empty names", "", []string{"", "."}, nil, "an absent common name is not a name"},
		{"united and sorted", "www.example.com", []string{"b.example.com", "a.example.com"}, []string{"a.example.com", "b.example.com", "www.example.com"}, "the vendor moves the common name in and out of the list"},
		{"each once", "www.example.com", []string{"www.example.com", "WWW.EXAMPLE.COM", "www.example.com."}, []string{"www.example.com"}, "these are one name in DNS"},
		{"www is kept", "www.example.com", []string{"example.com"}, []string{"example.com", "www.example.com"}, "a certificate for one is not one for the other"},
		{"only ASCII letters change", "", []string{"İ.example.com", "XN--MLLER-KVA.example.com"}, []string{"xn--mller-kva.example.com", "İ.example.com"}, "other letters do not come back from a change of case"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ExactNames(tc.commonName, tc.dnsNames)); diff != "" {
				t.Errorf("(-want +got):\n%s\nreason: %s", diff, tc.reason)
			}
		})
	}
}

func TestExactNamesLeavesItsArgumentAlone(t *testing.T) {
	names := []string{"B.example.com", "a.example.com", "spare"}
	ExactNames("c.example.com", names[:2])
	CanonicalNames(names[:2])
	if diff := cmp.Diff([]string{"B.example.com", "a.example.com", "spare"}, names); diff != "" {
		t.Errorf("the caller's list changed (-want +got):\n%s", diff)
	}
}

func TestCanonicalNames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		names  []string
		want   []string
		reason string
	}{
		{"nothing", nil, nil, "no names are no names"},
		{"www and bare name are one", []string{"WWW.example.com", "example.com"}, []string{"example.com"}, "an order for either may show up under both"},
		{"sorted after www is gone", []string{"a.example.com", "www.0.example.com"}, []string{"0.example.com", "a.example.com"}, "the hash depends on the order"},
		{"www of www", []string{"www.www.example.com"}, []string{"example.com"}, "a CA may add it to www.example.com, and it must meet that name's lock"},
		{"a domain called www", []string{"www.com", "www.www.com"}, []string{"www.com"}, "com is nobody's bare name"},
		{"www as the only label", []string{"www."}, []string{"www"}, "there is nothing to keep"},
		{"www inside", []string{"a.www.example.com", "wwwexample.com"}, []string{"a.www.example.com", "wwwexample.com"}, "only a leading label is dropped"},
		{"wildcard", []string{"*.example.com"}, []string{"*.example.com"}, "it is another purchase than the bare name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, CanonicalNames(tc.names)); diff != "" {
				t.Errorf("(-want +got):\n%s\nreason: %s", diff, tc.reason)
			}
		})
	}
}

func TestCanonicalEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://api.regfish.com":              "https://api.regfish.com",
		"https://api.regfish.com/":             "https://api.regfish.com",
		"HTTPS://API.Regfish.com:443//":        "https://api.regfish.com",
		"https://api.regfish.com:":             "https://api.regfish.com",
		"https://api.regfish.com.":             "https://api.regfish.com",
		"https://api.regfish.com:8443/v1/":     "https://api.regfish.com:8443/v1",
		"http://127.0.0.1:80":                  "http://127.0.0.1",
		"http://127.0.0.1:443":                 "http://127.0.0.1:443",
		"https://[2001:DB8::1]:443/A":          "https://[2001:db8::1]/a",
		"https://[2001:db8::1]:8443":           "https://[2001:db8::1]:8443",
		"https://user:pw@api.regfish.com/?a#b": "https://api.regfish.com",
		"":                                     "",
		"https://a b/":                         "https://a b",
		"https://%61.example.com:443/":         "https://%61.example.com:443",
		"https:///":                            "https:",
	} {
		t.Run(endpoint, func(t *testing.T) {
			if got := CanonicalEndpoint(endpoint); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestNamesHash(t *testing.T) {
	const endpoint = "https://api.regfish.com"
	www := []string{"www.example.com"}

	// Purchases carry this hash in their name. It may never change: everything
	// bought so far would be bought once more.
	if got, want := NamesHash(endpoint, []string{"www.example.com", "api.example.com"}), "035d09231453a683"; got != want {
		t.Errorf("got %q, want %q as in every ledger", got, want)
	}

	for _, tc := range []struct {
		name     string
		endpoint string
		names    []string
		same     bool
		reason   string
	}{
		{"the bare name", endpoint, []string{"example.com"}, true, "they exclude each other"},
		{"another spelling", "HTTPS://api.regfish.com:443/", []string{"WWW.Example.com.", "example.com"}, true, "spelling must not open a second lock"},
		{"another endpoint", "https://api.regfish.de", www, false, "another vendor's certificates are other certificates"},
		{"another name", endpoint, []string{"www.example.net"}, false, "another certificate"},
		{"one name more", endpoint, []string{"www.example.com", "a.example.com"}, false, "another certificate"},
		{"no name", endpoint, nil, false, "another certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if same := NamesHash(tc.endpoint, tc.names) == NamesHash(endpoint, www); same != tc.same {
				t.Errorf("same hash %v, want %v\nreason: %s", same, tc.same, tc.reason)
			}
		})
	}
	if NamesHash(endpoint, []string{"a.example.com", "b.example.com"}) == NamesHash(endpoint, []string{"a.example.com\n13:b.example.com"}) {
		t.Error("two lists read the same in the hash")
	}
}

func TestNamesAreCompared(t *testing.T) {
	list := strings.Fields
	for _, tc := range []struct {
		name         string
		cert, wanted string
		covers       bool
		foreign      []string
		share        bool
		reason       string
	}{
		{"equal", "www.example.com a.example.com", "A.example.com. www.example.com", true, nil, true, "spelling and order do not count"},
		{"bare name added", "www.example.com example.com", "www.example.com", true, nil, true, "CAs do that"},
		{"www name added", "www.example.com example.com", "example.com", true, nil, true, "CAs do that"},
		{"bare name of a wildcard added", "*.example.com example.com", "*.example.com", true, nil, true, "CAs do that"},
		{"www of a wildcard added", "*.example.com www.*.example.com", "*.example.com", true, []string{"www.*.example.com"}, true, "it is no name"},
		{"wildcard added to its bare name", "*.example.com example.com", "example.com", true, []string{"*.example.com"}, true, "it covers much more"},
		{"bare name in place of the www name", "example.com", "www.example.com", false, nil, true, "clients of www would be turned away"},
		{"wildcard in place of a name", "*.example.com", "www.example.com", false, []string{"*.example.com"}, false, "exact names are compared"},
		{"a name more", "www.example.com b.example.com a.example.com", "www.example.com", true, []string{"a.example.com", "b.example.com"}, true, "nobody asked for it"},
		{"a name less", "www.example.com", "www.example.com a.example.com", false, nil, true, "it was asked for"},
		{"a top-level domain", "www.com com", "www.com", true, []string{"com"}, true, "it is nobody's bare name"},
		{"nothing in common", "www.example.net", "www.example.com", false, []string{"www.example.net"}, false, "another certificate"},
		{"no names in the certificate", "", "www.example.com", false, nil, false, "it covers nothing"},
		{"nothing wanted", "www.example.com", "", false, []string{"www.example.com"}, false, "only a caller that lost its names wants nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, wanted := list(tc.cert), list(tc.wanted)
			if got := Covers(cert, wanted); got != tc.covers {
				t.Errorf("Covers: got %v, want %v\nreason: %s", got, tc.covers, tc.reason)
			}
			if diff := cmp.Diff(tc.foreign, Foreign(cert, wanted), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Foreign (-want +got):\n%s\nreason: %s", diff, tc.reason)
			}
			if got, back := ShareCanonical(cert, wanted), ShareCanonical(wanted, cert); got != tc.share || back != tc.share {
				t.Errorf("ShareCanonical: got %v and %v, want %v\nreason: %s", got, back, tc.share, tc.reason)
			}
		})
	}
}
