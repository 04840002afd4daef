// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ExactNames returns a certificate's names in the one spelling in which names
// are compared: common name and DNS names united, lower case, without a
// trailing dot, sorted, each once. Internationalised names stay as they are
// given, which in a certificate is as A-labels. It changes the spelling only:
// whether a name may be ordered is Preflight's question.
func ExactNames(commonName string, dnsNames []string) []string {
	var names []string
	for _, name := range append([]string{commonName}, dnsNames...) {
		if name = exact(name); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func exact(name string) string {
	return strings.TrimRight(lower(name), ".")
}

// lower changes ASCII letters only. The names come from other systems, and
// Unicode case folding is neither reversible nor stable under repetition.
func lower(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// CanonicalNames returns the names under which purchases exclude each other:
// the exact names without a leading "www.". CAs add the www name to the bare
// one and the bare one to the www name, so an order for either may show up
// under both.
//
// A repeated "www." is dropped too, or www.www.example.com (what a CA adds to
// www.example.com) would not meet the names it was added to. What is left
// keeps at least two labels, since www.com is a domain like any other.
func CanonicalNames(names []string) []string {
	var canonical []string
	for _, name := range ExactNames("", names) {
		canonical = append(canonical, withoutWWW(name))
	}
	slices.Sort(canonical)
	return slices.Compact(canonical)
}

func withoutWWW(name string) string {
	for {
		rest, found := strings.CutPrefix(name, "www.")
		if !found || !strings.Contains(rest, ".") {
			return name
		}
		name = rest
	}
}

// CanonicalEndpoint returns the one spelling of a vendor URL: lower case,
// without default port and trailing slash. What an issuer's url cannot have
// (user info, query, fragment) is not part of it. An endpoint with percent
// signs has no one spelling and keeps its own.
func CanonicalEndpoint(endpoint string) string {
	trimmed := strings.TrimRight(lower(endpoint), "/")
	u, err := url.Parse(trimmed)
	if err != nil || strings.Contains(trimmed, "%") {
		return trimmed
	}
	host := strings.TrimRight(u.Hostname(), ".")
	if host == "" {
		return trimmed
	}
	port := u.Port()
	if (u.Scheme == "https" && port == "443") || (u.Scheme == "http" && port == "80") {
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + strings.TrimRight(u.Path, "/")
}

// NamesHash names the lock of a set of names at an endpoint: the first 16 hex
// digits of SHA-256 over the canonical endpoint and the canonical names, each
// preceded by its length so that no two lists read the same.
//
// It is part of the name of every purchase in the ledger. A change would let
// every set of names be bought once more beside what is already bought.
func NamesHash(endpoint string, names []string) string {
	h := sha256.New()
	for _, s := range append([]string{CanonicalEndpoint(endpoint)}, CanonicalNames(names)...) {
		fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// ShareCanonical reports whether the two lists have a canonical name in common.
func ShareCanonical(a, b []string) bool {
	others := CanonicalNames(b)
	return slices.ContainsFunc(CanonicalNames(a), func(name string) bool {
		return slices.Contains(others, name)
	})
}

// Covers reports whether every wanted name is, as an exact name, among the
// certificate's. A wildcard covers itself only: a request that names both
// *.example.com and www.example.com wants both. Nothing wanted is never
// covered, because it can only come from a caller that lost its names.
func Covers(certNames, wanted []string) bool {
	return len(ExactNames("", wanted)) > 0 && len(missing(certNames, wanted)) == 0
}

// missing returns the wanted exact names that the certificate does not have.
func missing(certNames, wanted []string) []string {
	has := ExactNames("", certNames)
	return slices.DeleteFunc(ExactNames("", wanted), func(name string) bool {
		_, found := slices.BinarySearch(has, name)
		return found
	})
}

// Foreign returns the certificate's exact names that were not wanted, except
// those a CA adds by itself: the www name of a wanted bare name, the bare name
// of a wanted www name, and the bare name of a wanted wildcard.
func Foreign(certNames, wanted []string) []string {
	wants := ExactNames("", wanted)
	return slices.DeleteFunc(ExactNames("", certNames), func(name string) bool {
		return slices.ContainsFunc(wants, func(want string) bool {
			return name == want || addedByCA(name, want)
		})
	})
}

func addedByCA(name, want string) bool {
	if !strings.Contains(name, ".") {
		return false // a top-level domain is nobody's bare name
	}
	if bare, wildcard := strings.CutPrefix(want, "*."); wildcard {
		return name == bare
	}
	return name == "www."+want || want == "www."+name
}
