// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// TestGateRefusesHostileDeliveries is the corpus: nothing in it is published,
// and each is refused for what is wrong with it.
func TestGateRefusesHostileDeliveries(t *testing.T) {
	variants := map[string]int{}
	for _, h := range corpus(t) {
		variants[h.class]++
		t.Run(h.class+"/"+h.name, func(t *testing.T) {
			bundle, err := Gate(h.delivery, h.expect)
			if bundle != nil {
				t.Errorf("Gate returned a bundle\nreason: %s", h.reason)
			}
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok {
				t.Fatalf("Gate: got error %v, want a *Refusal\nreason: %s", err, h.reason)
			}
			if refusal.Class != h.want {
				t.Errorf("class: got %v (%s), want %v\nreason: %s", refusal.Class, refusal, h.want, h.reason)
			}
			checkMessage(t, refusal.Error())

			wait := h.want == NotYetValid
			if refusal.Class.Wait() != wait || (wait && !refusal.ValidFrom.After(h.expect.Now)) {
				t.Errorf("got Wait %v with ValidFrom %v, want Wait %v\nreason: %s", refusal.Class.Wait(), refusal.ValidFrom, wait, h.reason)
			}
			refetch := h.want == Unreadable || h.want == OldCertificate
			if refusal.Class.Refetch() != refetch {
				t.Errorf("got Refetch %v, want %v\nreason: %s", refusal.Class.Refetch(), refetch, h.reason)
			}
		})
	}

	if len(variants) < 24 {
		t.Errorf("the corpus has %d classes, want at least 24", len(variants))
	}
	for class, n := range variants {
		if n < 2 {
			t.Errorf("class %q has %d variant, want at least 2", class, n)
		}
	}
}

// checkMessage holds what is said about every message of the package.
func checkMessage(t testing.TB, message string) {
	t.Helper()
	switch {
	case message == "" || len(message) > 512:
		t.Errorf("a message of %d bytes, want 1 to 512: %s", len(message), message)
	case strings.ContainsFunc(message, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }):
		t.Errorf("a message with unprintable characters: %q", message)
	case strings.HasSuffix(message, "."):
		t.Errorf("a message that ends with a full stop: %s", message)
	}
}

func TestGatePassesHonestDeliveries(t *testing.T) {
	rootKey, caKey := ecdsaKey(t, elliptic.P384()), rsaKey(t, 3072)
	root := newRoot(t, "Root", rootKey)
	ca := root.newCA(t, "Issuing CA", caKey)
	key := ecdsaKey(t, elliptic.P256())
	request := requestFor(t, key, "www.example.com")
	leaf := ca.issue(t, key.Public(), []string{"www.example.com"})
	sub := ca.newCA(t, "Sub CA", ecdsaKey(t, elliptic.P256()))
	subLeaf := sub.issue(t, key.Public(), []string{"www.example.com"})

	crossed := newRoot(t, "Old Root", rsaKey(t, 2048)).newCA(t, "Root", rootKey) // the root's key, signed by an older root
	sha1Root := newRoot(t, "RSA Root", rsaKey(t, 2048), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	sha1CA := sha1Root.newCA(t, "Issuing CA", caKey)

	wildcard := requestFor(t, key, "*.example.com")
	bare := requestFor(t, key, "example.com")
	upper := requestFor(t, key, "WWW.Example.COM")
	validity := func(from, until time.Time) []byte {
		return chain(ca.issue(t, key.Public(), []string{"www.example.com"}, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }), ca.cert)
	}
	rsaRequest := requestFor(t, rsaKey(t, 4096), "www.example.com")

	for _, tc := range []struct {
		name     string
		delivery []byte
		request  *Request // nil: the ECDSA request for www.example.com
		change   func(*Expect)
		chain    []*x509.Certificate // nil: whatever comes first in the delivery
		ca       *x509.Certificate   // nil: the issuing CA
		reason   string
	}{
		{
			name: "leaf and intermediate", delivery: chain(leaf, ca.cert), chain: []*x509.Certificate{leaf, ca.cert},
			reason: "the usual delivery",
		},
		{
			name: "the root is included", delivery: chain(leaf, ca.cert, root.cert), chain: []*x509.Certificate{leaf, ca.cert}, ca: root.cert,
			reason: "the root belongs to ca.crt; in the chain it would only cost bytes in every handshake",
		},
		{
			name: "a root with a SHA-1 signature is included", delivery: chain(ca.issue(t, key.Public(), []string{"www.example.com"}), sha1CA.cert, sha1Root.cert), ca: sha1Root.cert,
			reason: "a root is trusted for its key; nobody relies on its own signature, and some old ones have SHA-1",
		},
		{
			name: "two intermediates", delivery: chain(subLeaf, sub.cert, ca.cert), chain: []*x509.Certificate{subLeaf, sub.cert, ca.cert},
			reason: "CAs put more than one between root and leaf",
		},
		{
			name: "a cross-signed root on top", delivery: chain(leaf, ca.cert, crossed.cert), chain: []*x509.Certificate{leaf, ca.cert, crossed.cert}, ca: crossed.cert,
			reason: "it is an intermediate, and old clients need it",
		},
		{
			name: "lines end with CR LF", delivery: bytes.ReplaceAll(chain(leaf, ca.cert), []byte("\n"), []byte("\r\n")), chain: []*x509.Certificate{leaf, ca.cert},
			reason: "the vendor's line endings are not documented",
		},
		{
			name: "white space around and no line break between", delivery: []byte("\n " + strings.ReplaceAll(string(chain(leaf, ca.cert)), "-----\n-----", "----------") + " \n\n"), chain: []*x509.Certificate{leaf, ca.cert},
			reason: "files joined without a final line break are common, and nothing is lost in them",
		},
		{
			name: "long lines", delivery: longLines(chain(leaf, ca.cert)), chain: []*x509.Certificate{leaf, ca.cert},
			reason: "what is published is encoded anew",
		},
		{
			name: "the bare name was added", delivery: chain(ca.issue(t, key.Public(), []string{"www.example.com", "example.com"}), ca.cert),
			reason: "CAs add it to a www name",
		},
		{
			name: "the www name was added", delivery: chain(ca.issue(t, key.Public(), []string{"example.com", "www.example.com"}), ca.cert), request: bare,
			reason: "CAs add it to a bare name",
		},
		{
			name: "the bare name was added to a wildcard", delivery: chain(ca.issue(t, key.Public(), []string{"*.example.com", "example.com"}), ca.cert), request: wildcard,
			reason: "wildcard products include it",
		},
		{
			name: "names in capitals on both sides", delivery: chain(ca.issue(t, key.Public(), []string{"Www.EXAMPLE.com"}), ca.cert), request: upper,
			reason: "DNS names are compared without case",
		},
		{
			name: "an RSA key", delivery: chain(ca.issue(t, rsaKey(t, 4096).Public(), []string{"www.example.com"}), ca.cert), request: rsaRequest,
			reason: "cert-manager's default algorithm",
		},
		{
			name: "issued exactly 48 hours before the intent", delivery: validity(now.Add(-MaxBackdate), now.AddDate(0, 6, 0)),
			reason: "CAs backdate, and the bound itself is allowed",
		},
		{
			name: "issued long ago where dates do not count", delivery: validity(now.AddDate(-1, 0, 0), now.AddDate(0, 1, 0)), change: func(e *Expect) { e.NotBefore = time.Time{} },
			reason: "an imported certificate was bought before",
		},
		{
			name: "valid from this very second", delivery: validity(now, now.AddDate(0, 6, 0)),
			reason: "notBefore is inclusive",
		},
		{
			name: "valid to this very second", delivery: validity(now.Add(-time.Hour), now),
			reason: "notAfter is inclusive",
		},
		{
			name: "another certificate than the one being replaced", delivery: chain(leaf, ca.cert), change: func(e *Expect) { e.NotThis = strings.Repeat("0", 64) },
			reason: "that is the new one",
		},
		{
			name: "no extended key usage", delivery: chain(ca.issue(t, key.Public(), []string{"www.example.com"}, func(c *x509.Certificate) { c.ExtKeyUsage = nil }), ca.cert),
			reason: "without the extension nothing is excluded",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := Expect{Request: request, Now: now, NotBefore: now.Add(-MaxBackdate)}
			if tc.request != nil {
				e.Request = tc.request
			}
			if tc.change != nil {
				tc.change(&e)
			}
			if tc.ca == nil {
				tc.ca = ca.cert
			}
			bundle, err := Gate(tc.delivery, e)
			if err != nil {
				t.Fatalf("Gate: %v\nreason: %s", err, tc.reason)
			}
			if tc.chain != nil {
				if diff := cmp.Diff(string(chain(tc.chain...)), string(bundle.Certificate)); diff != "" {
					t.Errorf("Certificate (-want +got):\n%s\nreason: %s", diff, tc.reason)
				}
			}
			if diff := cmp.Diff(string(chain(tc.ca)), string(bundle.CA)); diff != "" {
				t.Errorf("CA (-want +got):\n%s\nreason: %s", diff, tc.reason)
			}
			checkBundle(t, bundle, e)
		})
	}
}

// checkBundle is the oracle: it holds what is published against the promise,
// with nothing of the gate's own code.
func checkBundle(t testing.TB, b *Bundle, e Expect) {
	t.Helper()
	if len(b.Certificate) > 95_000 {
		t.Errorf("published: %d bytes, more than cert-manager reads", len(b.Certificate))
	}
	var published []*x509.Certificate
	p, rest := pem.Decode(b.Certificate)
	for ; p != nil; p, rest = pem.Decode(rest) {
		if text := pem.EncodeToMemory(p); len(text) > 36_500 || p.Type != "CERTIFICATE" || len(p.Headers) > 0 {
			t.Errorf("published: a block %s of %d bytes with %d headers", p.Type, len(text), len(p.Headers))
		}
		published = append(published, parse(t, p.Bytes))
	}
	if len(rest) > 0 || len(published) < 2 || len(published) > 10 {
		t.Fatalf("published: %d certificates and %d bytes after them", len(published), len(rest))
	}

	leaf := published[0]
	sum := sha256.Sum256(leaf.Raw)
	if hash := hex.EncodeToString(sum[:]); hash != b.SHA256 || hash == e.NotThis || !leaf.Equal(b.Leaf) {
		t.Errorf("published: leaf %s, bundle says %s, must not be %s", hash, b.SHA256, e.NotThis)
	}
	if key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(e.Request.PublicKey) {
		t.Error("published: a certificate for another key")
	}
	for _, name := range e.Request.DNSNames {
		if !slices.ContainsFunc(leaf.DNSNames, func(has string) bool { return strings.EqualFold(has, name) }) {
			t.Errorf("published: a certificate without %s", name)
		}
	}
	for _, name := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
		name = strings.ToLower(name)
		if name != "" && !slices.ContainsFunc(e.Request.DNSNames, func(want string) bool {
			return name == want || name == "www."+want || "www."+name == want || "*."+name == want
		}) {
			t.Errorf("published: a certificate with the foreign name %s", name)
		}
	}
	if len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) > 0 {
		t.Error("published: a certificate with names other than DNS names")
	}
	if leaf.IsCA || leaf.NotBefore.Before(e.NotBefore) {
		t.Errorf("published: CA %v, valid since %v", leaf.IsCA, leaf.NotBefore)
	}
	for i, cert := range published {
		if e.Now.Before(cert.NotBefore) || e.Now.After(cert.NotAfter) {
			t.Errorf("published: certificate %d is not valid now", i+1)
		}
		if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			t.Errorf("published: certificate %d is self-signed", i+1)
		}
		if i > 0 {
			if err := published[i-1].CheckSignatureFrom(cert); err != nil {
				t.Errorf("published: certificate %d is not the issuer of the one before: %v", i+1, err)
			}
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b.CA) {
		t.Fatal("published: no CA")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range published[1:] {
		intermediates.AddCert(cert)
	}
	for _, name := range e.Request.DNSNames {
		_, err := leaf.Verify(x509.VerifyOptions{
			DNSName: strings.Replace(name, "*", "any", 1), Roots: roots, Intermediates: intermediates, CurrentTime: e.Now,
		})
		if err != nil {
			t.Errorf("published: a client that trusts the CA refuses it for %s: %v", name, err)
		}
	}
}

func TestNotYetValidSaysSinceWhen(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	ca := newRoot(t, "Root", ecdsaKey(t, elliptic.P256())).newCA(t, "CA", ecdsaKey(t, elliptic.P256()))
	from := now.Add(3 * time.Hour)
	leaf := ca.issue(t, key.Public(), []string{"www.example.com"}, func(c *x509.Certificate) { c.NotBefore = from })
	e := Expect{Request: requestFor(t, key, "www.example.com"), Now: now}

	_, err := Gate(chain(leaf, ca.cert), e)
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Class != NotYetValid || !refusal.ValidFrom.Equal(from) {
		t.Errorf("got %v, want NotYetValid with ValidFrom %v", err, from)
	}
	e.Now = from
	if _, err := Gate(chain(leaf, ca.cert), e); err != nil {
		t.Errorf("at ValidFrom: %v; whoever waited as told would wait forever", err)
	}
}

func TestParseLeaf(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	ca := newRoot(t, "Root", key)
	leaf := ca.issue(t, key.Public(), []string{"www.example.com", "b.example.com"}, func(c *x509.Certificate) { c.Subject.CommonName = "A.Example.com" })

	for _, delivery := range [][]byte{chain(leaf), chain(leaf, ca.cert)} {
		got, err := ParseLeaf(delivery)
		if err != nil || !got.Equal(leaf) {
			t.Fatalf("got %v, %v, want the leaf", got, err)
		}
		if diff := cmp.Diff([]string{"a.example.com", "b.example.com", "www.example.com"}, CertificateNames(got)); diff != "" {
			t.Errorf("CertificateNames (-want +got):\n%s", diff)
		}
	}
	for _, tc := range []struct {
		name     string
		delivery []byte
		want     Class
	}{
		{"nothing", nil, Unreadable},
		{"an intact leaf before something damaged", append(chain(leaf), "-----BEGIN CERTIFICATE-----\nMII"...), Unreadable},
		{"too many certificates", bytes.Repeat(chain(leaf), maxCertificates+1), TooMany},
		{"too many bytes", append(chain(leaf), bytes.Repeat([]byte("\n"), maxChain)...), TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseLeaf(tc.delivery)
			refusal, ok := errors.AsType[*Refusal](err)
			if got != nil || !ok || refusal.Class != tc.want {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestClassString(t *testing.T) {
	seen := map[string]bool{}
	for c := Unreadable; c <= Unverifiable; c++ {
		name := c.String()
		if seen[name] || name == "" || strings.ContainsAny(name, "() ") {
			t.Errorf("class %d is called %q", int(c), name)
		}
		seen[name] = true
	}
	for c, want := range map[Class]string{0: "Class(0)", -1: "Class(-1)", Unverifiable + 1: "Class(18)", ForeignName: "ForeignName"} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
