// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPreflightAcceptsWhatCanBeOrdered(t *testing.T) {
	p256 := ecdsaKey(t, elliptic.P256())
	commonName := func(name string) func(*x509.CertificateRequest) {
		return func(csr *x509.CertificateRequest) { csr.Subject.CommonName = name }
	}
	long := strings.Repeat("a", 60) + ".example.com" // 72 bytes
	many := make([]string, maxNames)
	for i := range many {
		many[i] = fmt.Sprintf("n%03d.example.com", i)
	}

	for _, tc := range []struct {
		name       string
		key        crypto.Signer // nil: ECDSA P-256
		csr        []byte
		usages     []string
		commonName string
		dnsNames   []string
		algorithm  string // empty: ECDSA
		reason     string
	}{
		{
			name: "RSA 2048", key: rsaKey(t, 2048), csr: signingRequest(t, rsaKey(t, 2048), []string{"www.example.com"}),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"}, algorithm: "RSA",
			reason: "cert-manager's default key",
		},
		{
			name: "RSA 3072", key: rsaKey(t, 3072), csr: signingRequest(t, rsaKey(t, 3072), []string{"www.example.com"}),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"}, algorithm: "RSA",
			reason: "within the range",
		},
		{
			name: "RSA 4096", key: rsaKey(t, 4096), csr: signingRequest(t, rsaKey(t, 4096), []string{"www.example.com"}),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"}, algorithm: "RSA",
			reason: "the end of the range",
		},
		{
			name: "ECDSA P-256 with all the usages that are accepted", csr: signingRequest(t, p256, []string{"www.example.com"}, usageExtensions(t, 0xa0, oidServerAuth)),
			usages: []string{"digital signature", "key encipherment", "server auth", "signing"}, commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "cert-manager encodes the usages in the signing request too",
		},
		{
			name: "ECDSA P-384", key: ecdsaKey(t, elliptic.P384()),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "the vendor's client orders with it",
		},
		{
			name: "ECDSA P-521", key: ecdsaKey(t, elliptic.P521()),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "the vendor's client orders with it",
		},
		{
			name: "a common name that is not among the DNS names", csr: signingRequest(t, p256, []string{"api.example.com"}, commonName("www.example.com")),
			commonName: "www.example.com", dnsNames: []string{"api.example.com", "www.example.com"},
			reason: "the common name is one of the names that are bought",
		},
		{
			name: "a common name and no DNS names", csr: signingRequest(t, p256, nil, commonName("www.example.com")),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "a Certificate may have a commonName only",
		},
		{
			name: "capitals and repetitions", csr: signingRequest(t, p256, []string{"WWW.Example.com", "www.example.com", "API.example.com"}, commonName("Www.Example.Com")),
			commonName: "www.example.com", dnsNames: []string{"api.example.com", "www.example.com"},
			reason: "names are compared and sent in one spelling",
		},
		{
			name: "no common name", csr: signingRequest(t, p256, []string{"www.example.com", "api.example.com"}),
			commonName: "www.example.com", dnsNames: []string{"api.example.com", "www.example.com"},
			reason: "the first name in the request's order",
		},
		{
			name: "no common name, and a wildcard among the names", csr: signingRequest(t, p256, []string{"example.com", "*.example.com", "*.example.net"}),
			commonName: "*.example.com", dnsNames: []string{"*.example.com", "*.example.net", "example.com"},
			reason: "a product for wildcards is for what its common name covers",
		},
		{
			name: "no common name, and the first name is too long for one", csr: signingRequest(t, p256, []string{long, "www.example.com"}),
			commonName: "www.example.com", dnsNames: []string{long, "www.example.com"},
			reason: "a common name has at most 64 bytes",
		},
		{
			name: "no common name, and only wildcards fit", csr: signingRequest(t, p256, []string{long, "*.example.com", "*.example.net"}),
			commonName: "*.example.com", dnsNames: []string{"*.example.com", "*.example.net", long},
			reason: "the first that fits is left",
		},
		{
			name: "a common name of exactly 64 bytes", csr: signingRequest(t, p256, []string{strings.Repeat("a", 52) + ".example.com"}),
			commonName: strings.Repeat("a", 52) + ".example.com", dnsNames: []string{strings.Repeat("a", 52) + ".example.com"},
			reason: "the bound itself is allowed",
		},
		{
			name: "an internationalised name", csr: signingRequest(t, p256, []string{"xn--mller-kva.example.com"}),
			commonName: "xn--mller-kva.example.com", dnsNames: []string{"xn--mller-kva.example.com"},
			reason: "A-labels are ordinary labels",
		},
		{
			name: "digits and hyphens", csr: signingRequest(t, p256, []string{"3-a.1.example.com"}),
			commonName: "3-a.1.example.com", dnsNames: []string{"3-a.1.example.com"},
			reason: "only the top-level label tells an address from a name",
		},
		{
			name: "a label of 63 bytes", csr: signingRequest(t, p256, []string{strings.Repeat("a", 63) + ".example.com"}, commonName("example.com")),
			commonName: "example.com", dnsNames: []string{strings.Repeat("a", 63) + ".example.com", "example.com"},
			reason: "the bound itself is allowed",
		},
		{
			name: "250 names", csr: signingRequest(t, p256, many),
			commonName: many[0], dnsNames: many,
			reason: "the bound itself is allowed",
		},
		{
			name: "basic constraints that say no CA", csr: signingRequest(t, p256, []string{"www.example.com"}, extension(oidBasicConstraints, []byte{0x30, 0})),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "cert-manager can be set to encode them always",
		},
		{
			name: "an organization in the subject", csr: signingRequest(t, p256, []string{"www.example.com"}, func(csr *x509.CertificateRequest) { csr.Subject.Organization = []string{"Example GmbH"} }),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "the CA puts in what it has validated and ignores the rest",
		},
		{
			name: "white space around the block", csr: append([]byte("\n"), append(signingRequest(t, p256, []string{"www.example.com"}), "\r\n "...)...),
			commonName: "www.example.com", dnsNames: []string{"www.example.com"},
			reason: "people who write a CertificateRequest by hand add it",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.key == nil {
				tc.key = p256
			}
			if tc.csr == nil {
				tc.csr = signingRequest(t, tc.key, []string{"www.example.com"})
			}
			if tc.algorithm == "" {
				tc.algorithm = "ECDSA"
			}
			got, problems := Preflight(Spec{CSR: tc.csr, Usages: tc.usages})
			if len(problems) > 0 {
				t.Fatalf("Preflight: %v\nreason: %s", problems, tc.reason)
			}
			sum, err := KeySHA256(tc.key.Public())
			must(t, err)
			want := &Request{
				PEM: tc.csr, CommonName: tc.commonName, DNSNames: tc.dnsNames,
				KeySHA256: sum, KeyAlgorithm: tc.algorithm, PublicKey: tc.key.Public(),
			}
			samePublicKey := cmp.Comparer(func(a, b crypto.PublicKey) bool {
				return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
			})
			if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "PublicKey" }, samePublicKey)); diff != "" {
				t.Errorf("request (-want +got):\n%s\nreason: %s", diff, tc.reason)
			}
		})
	}
}

// mention is a Problem by its field and a part of its message, which is the
// field of the Certificate or the word that the user has to find in it.
type mention struct{ field, text string }

func TestPreflightRefusesWhatCannotBeOrdered(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	named := func(names ...string) []byte { return signingRequest(t, key, names) }
	with := func(changes ...func(*x509.CertificateRequest)) []byte {
		return signingRequest(t, key, []string{"www.example.com"}, changes...)
	}
	keyed := func(key crypto.Signer) []byte { return signingRequest(t, key, []string{"www.example.com"}) }
	good := with()
	long := strings.Repeat("a", 60) + ".example.com"
	tooMany := make([]string, maxNames+1)
	for i := range tooMany {
		tooMany[i] = fmt.Sprintf("n%03d.example.com", i)
	}
	_, ed25519Key, err := ed25519.GenerateKey(nil)
	must(t, err)

	request := func(texts ...string) []mention {
		var all []mention
		for _, text := range texts {
			all = append(all, mention{"spec.request", text})
		}
		return all
	}
	for _, tc := range []struct {
		name   string
		spec   Spec
		want   []mention
		reason string
	}{
		// What can be read at all.
		{"empty", Spec{}, request("not readable"), "there is nothing to order"},
		{"not PEM", Spec{CSR: []byte("hello")}, request("not readable"), "it is not a signing request"},
		{"too large", Spec{CSR: append(good, strings.Repeat("\n", maxBlock)...)}, request("36500"), "cert-manager's own bound"},
		{"a certificate", Spec{CSR: block(typeCertificate, []byte("x"))}, request("CERTIFICATE REQUEST"), "it is not a signing request"},
		{"the old block type", Spec{CSR: []byte(strings.ReplaceAll(string(good), "CERTIFICATE", "NEW CERTIFICATE"))}, request("CERTIFICATE REQUEST"), "cert-manager makes the standard one, and the vendor documents no other"},
		{"two blocks", Spec{CSR: append(good, good...)}, request("one PEM block"), "which of them is meant?"},
		{"a private key behind it", Spec{CSR: append(good, block("PRIVATE KEY", []byte("secret"))...)}, request("one PEM block"), "it would be sent to the vendor"},
		{"text before it", Spec{CSR: append([]byte("hello\n"), good...)}, request("one PEM block"), "it would be sent to the vendor"},
		{"headers", Spec{CSR: []byte(strings.Replace(string(good), "REQUEST-----\n", "REQUEST-----\nA: b\n\n", 1))}, request("not readable"), "signing requests have none"},
		{"cut off", Spec{CSR: good[:len(good)/2]}, request("not readable"), "it is incomplete"},
		{"damaged", Spec{CSR: block(typeRequest, []byte("x"))}, request("damaged"), "it is not PKCS #10"},
		{"signed by another key", Spec{CSR: forged(t, key, otherPublicKey(t))}, request("signature"), "the requester does not hold the key"},
		{"damaged after it was signed", Spec{CSR: flipped(t, good)}, request("signature"), "it is not what the key's holder signed"},

		// Names.
		{"no name", Spec{CSR: named()}, request("set the Certificate's dnsNames"), "there is nothing to certify"},
		{"a subject without a common name", Spec{CSR: signingRequest(t, key, nil, func(csr *x509.CertificateRequest) { csr.Subject.Organization = []string{"Example"} })}, request("set the Certificate's dnsNames"), "an organization is no name of a server"},
		{"251 names", Spec{CSR: named(tooMany...)}, request("split the Certificate"), "one more than the bound"},
		{"251 names with the common name", Spec{CSR: signingRequest(t, key, tooMany[1:], func(csr *x509.CertificateRequest) { csr.Subject.CommonName = "www.example.com" })}, request("split the Certificate"), "the common name is one of them"},
		{"an IP address", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} })}, request("remove ipAddresses"), "it would not be in the certificate"},
		{"only an IP address", Spec{CSR: signingRequest(t, key, nil, func(csr *x509.CertificateRequest) { csr.IPAddresses = []net.IP{net.IPv6loopback} })}, request("remove ipAddresses", "dnsNames"), "both have to be mended"},
		{"an e-mail address", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.EmailAddresses = []string{"me@example.com"} })}, request("remove emailAddresses"), "it would not be in the certificate"},
		{"a URI", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.URIs = []*url.URL{{Scheme: "spiffe", Host: "a"}} })}, request("remove uris"), "it would not be in the certificate"},
		{"a name of another type", Spec{CSR: with(extension(oidSubjectAltName, subjectAltName(t, dnsName("www.example.com"), otherName(t)).Value))}, request("remove otherNames"), "crypto/x509 leaves it out"},
		{"names behind the end of the list", Spec{CSR: with(extension(oidSubjectAltName, append(subjectAltName(t, dnsName("www.example.com")).Value, 0)))}, request("unreadable names"), "crypto/x509 leaves them out"},
		{"two IP addresses and a URI", Spec{CSR: with(func(csr *x509.CertificateRequest) {
			csr.IPAddresses, csr.URIs = []net.IP{net.IPv4(192, 0, 2, 1), net.IPv6loopback}, []*url.URL{{Scheme: "spiffe", Host: "a"}}
		})}, request("remove ipAddresses, uris from"), "each field is named once"},
		{"a directory name", Spec{CSR: with(extension(oidSubjectAltName, subjectAltName(t, dnsName("www.example.com"), directoryName(t)).Value))}, request("unusual type"), "crypto/x509 leaves it out"},
		{"a single label", Spec{CSR: named("localhost")}, request("two labels"), "no public CA issues for it"},
		{"a wildcard of a single label", Spec{CSR: named("*.com")}, request("two labels"), "no public CA issues for it"},
		{"a lone wildcard", Spec{CSR: named("*")}, request("wildcard"), "it names nothing"},
		{"a wildcard in the middle", Spec{CSR: named("www.*.example.com")}, request("leftmost label"), "clients do not match it"},
		{"a wildcard in a part of a label", Spec{CSR: named("w*.example.com")}, request("leftmost label"), "clients do not match it"},
		{"two wildcards", Spec{CSR: named("*.*.example.com")}, request("leftmost label"), "clients do not match it"},
		{"an empty label", Spec{CSR: named("www..example.com")}, request("empty label"), "it is malformed"},
		{"an empty label at the start", Spec{CSR: named(".example.com")}, request("empty label"), "it is malformed"},
		{"an empty name", Spec{CSR: named("", "www.example.com")}, request("empty label"), "it is malformed"},
		{"a dot at the end", Spec{CSR: named("www.example.com.")}, request("without the dot"), "clients do not match it"},
		{"a space", Spec{CSR: named("www example.com")}, request("letters, digits, hyphens"), "it is malformed"},
		{"a URL", Spec{CSR: named("https://www.example.com")}, request("letters, digits, hyphens"), "it is malformed"},
		{"a port", Spec{CSR: named("www.example.com:443")}, request("letters, digits, hyphens"), "it is malformed"},
		{"an underscore", Spec{CSR: named("my_app.example.com")}, request("underscores"), "the CA/Browser Forum forbids it"},
		{"a hyphen at the start of a label", Spec{CSR: named("-www.example.com")}, request("begins nor ends"), "it is malformed"},
		{"a hyphen at the end of a label", Spec{CSR: named("www-.example.com")}, request("begins nor ends"), "it is malformed"},
		{"a label of 64 bytes", Spec{CSR: named("www.example.com", strings.Repeat("a", 64)+".example.com")}, request("63 bytes"), "DNS does not carry it"},
		{"a name of 254 bytes", Spec{CSR: named("www.example.com", strings.Repeat("aaaaaaa.", 30)+"aa.example.com")}, request("253 bytes"), "DNS does not carry it"},
		{"an address written as a name", Spec{CSR: named("192.0.2.1")}, request("IP address"), "it is no name"},
		{"a cluster's own name", Spec{CSR: named("web.shop.svc.cluster.local")}, request("under .local"), "nobody can prove that it is theirs"},
		{"a name under .internal", Spec{CSR: named("web.INTERNAL")}, request("under .internal"), "nobody can prove that it is theirs"},
		{"a faulty name twice", Spec{CSR: named("a_b.example.com", "a_b.example.com")}, request(`have "a_b.example.com": public`), "it is named once"},
		{"several faults", Spec{CSR: named("a_b.example.com", "*", "a_c.example.com", "x..y")}, request(`"a_b.example.com", "a_c.example.com"`, "wildcard", "empty label"), "a user mends all of it at once, and reads each fault once"},

		// The common name.
		{"a common name that is no DNS name", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.Subject.CommonName = "My Web Server" })}, request("commonName"), "it would be ordered as a name"},
		{"an address as common name", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.Subject.CommonName = "192.0.2.1" })}, request("commonName"), "it would be ordered as a name"},
		{"a name in letters of another script as common name", Spec{CSR: with(func(csr *x509.CertificateRequest) { csr.Subject.CommonName = "müller.example.com" })}, request("A-labels"), "certificates have A-labels"},
		{"a common name of 65 bytes", Spec{CSR: with(func(csr *x509.CertificateRequest) {
			csr.Subject.CommonName = strings.Repeat("a", 53) + ".example.com"
		})}, request("shorter one of the dnsNames"), "X.520 bounds it"},
		{"two common names", Spec{CSR: with(func(csr *x509.CertificateRequest) {
			csr.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "a.example.com"}, {Type: oidCommonName, Value: "b.example.com"}}
		})}, request("more than one common name"), "crypto/x509 shows the last, and others may read the first"},
		{"no name that fits as common name", Spec{CSR: named(long, "*."+long)}, request("add a shorter name"), "the vendor requires one"},

		// CA and usages.
		{"isCA", Spec{CSR: good, IsCA: true}, []mention{{"spec.isCA", "remove isCA"}}, "no public CA issues it"},
		{"a signing request for a CA", Spec{CSR: with(extension(oidBasicConstraints, []byte{0x30, 3, 1, 1, 0xff}))}, request("remove isCA"), "the signing request is what the vendor gets"},
		{"unreadable basic constraints", Spec{CSR: with(extension(oidBasicConstraints, []byte{1}))}, request("remove isCA"), "what cannot be read is not let through"},
		{"client auth", Spec{CSR: good, Usages: []string{"server auth", "client auth"}}, []mention{{"spec.usages", `remove "client auth"`}}, "public CAs stopped"},
		{"other usages", Spec{CSR: good, Usages: []string{"code signing", "s/mime", "code signing"}}, []mention{{"spec.usages", `usages: "code signing", "s/mime"; leave only`}}, "the certificate would lack them"},
		{"client auth and another", Spec{CSR: good, Usages: []string{"cert sign", "client auth"}}, []mention{{"spec.usages", "client auth"}, {"spec.usages", "cert sign"}}, "the remedies differ"},
		{"client auth in the signing request", Spec{CSR: with(usageExtensions(t, 0xa0, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}))}, request("usages"), "the signing request is what the vendor gets"},
		{"certificate signing in the signing request", Spec{CSR: with(usageExtensions(t, 0xa4, oidServerAuth))}, request("usages"), "the signing request is what the vendor gets"},
		{"unreadable usages in the signing request", Spec{CSR: with(extension(oidKeyUsage, []byte{1}))}, request("usages"), "what cannot be read is not let through"},

		// Keys.
		{"RSA 1024", Spec{CSR: keyed(rsaKey(t, 1024))}, request("privateKey.size"), "too weak"},
		{"RSA 2047", Spec{CSR: forged(t, key, giantKey(2047))}, request("2047 bits"), "just under the range"},
		{"RSA 4097", Spec{CSR: forged(t, key, giantKey(4097))}, request("4097 bits"), "just over the range"},
		{"RSA 8192, which cert-manager offers", Spec{CSR: forged(t, key, giantKey(8192))}, request("privateKey.size"), "public CAs do not sign it"},
		{"RSA 180000", Spec{CSR: forged(t, key, giantKey(180_000))}, request("180000 bits"), "a signature of it takes seconds to verify"},
		{"ECDSA P-224", Spec{CSR: keyed(ecdsaKey(t, elliptic.P224()))}, request("privateKey.size"), "public CAs do not sign it"},
		{"Ed25519", Spec{CSR: keyed(ed25519Key)}, request("privateKey.algorithm"), "public CAs do not sign it"},
		{"a key of an unknown type", Spec{CSR: forgedSPKI(t, key, unknownSPKI(t))}, request("privateKey.algorithm"), "nobody here can compare it"},

		// All at once.
		{"everything", Spec{IsCA: true, Usages: []string{"client auth"}, CSR: signingRequest(t, rsaKey(t, 1024), []string{"a_b.example.com"}, func(csr *x509.CertificateRequest) {
			csr.Subject.CommonName = "x"
			csr.IPAddresses = []net.IP{net.IPv6loopback}
		})}, []mention{
			{"spec.isCA", ""}, {"spec.usages", ""}, {"spec.request", "ipAddresses"}, {"spec.request", "underscores"}, {"spec.request", "commonName"}, {"spec.request", "privateKey"},
		}, "a user mends all of it at once"},
		{"an unreadable request and more", Spec{IsCA: true, Usages: []string{"client auth"}}, []mention{{"spec.isCA", ""}, {"spec.usages", ""}, {"spec.request", ""}}, "a user mends all of it at once"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, problems := Preflight(tc.spec)
			if r != nil {
				t.Errorf("Preflight returned a request\nreason: %s", tc.reason)
			}
			if len(problems) != len(tc.want) {
				t.Fatalf("got %d problems, want %d: %v\nreason: %s", len(problems), len(tc.want), problems, tc.reason)
			}
			for i, want := range tc.want {
				if got := problems[i]; got.Field != want.field || !strings.Contains(got.Message, want.text) {
					t.Errorf("problem %d: got %+v, want %s with %q\nreason: %s", i, got, want.field, want.text, tc.reason)
				}
				checkMessage(t, problems[i].Message)
			}
		})
	}
}

// TestMessagesAreBounded gives every message as much text as it takes.
func TestMessagesAreBounded(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	var names, usages []string
	for i := range 200 {
		for _, fault := range []string{"_", " ", "*x", "-.", "é"} {
			usages = append(usages, fmt.Sprintf("%s%d\x00\n\u202e%s", fault, i, strings.Repeat("\U0010ffff", 100)))
		}
		names = append(names, fmt.Sprintf("%d_\x01%s.example.com", i, strings.Repeat(`"\`, 40)))
	}
	_, problems := Preflight(Spec{CSR: signingRequest(t, key, names, func(csr *x509.CertificateRequest) {
		csr.Subject.CommonName = strings.Repeat("\u202e", 1000)
	}), Usages: usages})
	if len(problems) != 3 {
		t.Errorf("got %d problems, want one for the usages, one for the names and one for the common name: %v", len(problems), problems)
	}
	for _, problem := range problems {
		checkMessage(t, problem.Message)
	}

	ca := newRoot(t, "Root", key)
	for _, cert := range []*x509.Certificate{
		ca.issue(t, key.Public(), append(names, "www.example.com")),
		ca.newCA(t, strings.Repeat("\x00\u202e", 500), key).cert,
	} {
		_, err := Gate(chain(cert, ca.cert), Expect{Request: requestFor(t, key, "www.example.com"), Now: now})
		checkMessage(t, err.Error())
	}
}

func extension(id asn1.ObjectIdentifier, value []byte) func(*x509.CertificateRequest) {
	return func(csr *x509.CertificateRequest) {
		csr.ExtraExtensions = append(csr.ExtraExtensions, pkix.Extension{Id: id, Value: value})
	}
}

// usageExtensions are both usage extensions as cert-manager encodes them; bits
// is the first byte of the key usage.
func usageExtensions(t testing.TB, bits byte, extended ...asn1.ObjectIdentifier) func(*x509.CertificateRequest) {
	t.Helper()
	keyUsage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{bits}, BitLength: 6})
	must(t, err)
	extKeyUsage, err := asn1.Marshal(extended)
	must(t, err)
	return func(csr *x509.CertificateRequest) {
		extension(oidKeyUsage, keyUsage)(csr)
		extension(oidExtKeyUsage, extKeyUsage)(csr)
	}
}

func otherName(t testing.TB) asn1.RawValue {
	t.Helper()
	value, err := asn1.Marshal(struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, "me@example.com"})
	must(t, err)
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: elementsBytes(t, value)}
}

// elementsBytes is the content of a SEQUENCE.
func elementsBytes(t testing.TB, der []byte) []byte {
	t.Helper()
	var value asn1.RawValue
	_, err := asn1.Unmarshal(der, &value)
	must(t, err)
	return value.Bytes
}

// forged is a signing request of key into which another public key was put.
func forged(t testing.TB, key crypto.Signer, public crypto.PublicKey) []byte {
	t.Helper()
	return forgedSPKI(t, key, spkiOf(t, public))
}

func spkiOf(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	return spki
}

func forgedSPKI(t testing.TB, key crypto.Signer, spki []byte) []byte {
	t.Helper()
	p, _ := pem.Decode(signingRequest(t, key, []string{"www.example.com"}))
	outer := elements(t, p.Bytes)
	inner := elements(t, outer[0].FullBytes)
	inner[2] = raw(spki)
	outer[0] = raw(sequence(t, inner))
	return block(typeRequest, sequence(t, outer))
}

// unknownSPKI is a key of an algorithm that nobody has.
func unknownSPKI(t testing.TB) []byte {
	t.Helper()
	spki, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}}, asn1.BitString{Bytes: []byte{1}, BitLength: 8}})
	must(t, err)
	return spki
}

func otherPublicKey(t testing.TB) crypto.PublicKey { return ecdsaKey(t, elliptic.P256()).Public() }

// flipped is a signing request with a damaged signature.
func flipped(t testing.TB, csr []byte) []byte {
	t.Helper()
	p, _ := pem.Decode(csr)
	der := slices.Clone(p.Bytes)
	der[len(der)-1] ^= 1
	return block(typeRequest, der)
}

func TestKeySHA256(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	sum, err := KeySHA256(key.Public())
	must(t, err)
	if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		t.Errorf("got %q, want 64 hex digits", sum)
	}
	read, err := x509.ParsePKIXPublicKey(spkiOf(t, key.Public()))
	must(t, err)
	if again, _ := KeySHA256(read); again != sum {
		t.Errorf("got %q and %q for the same key", sum, again)
	}
	for name, public := range map[string]crypto.PublicKey{"nil": nil, "a private key": key, "an RSA key by value": rsa.PublicKey{}} {
		if sum, err := KeySHA256(public); err == nil {
			t.Errorf("%s: got %q, want an error", name, sum)
		}
	}
}

func TestProves(t *testing.T) {
	key, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	ca := newRoot(t, "Root", ecdsaKey(t, elliptic.P256()))
	r := requestFor(t, key, "www.example.com")
	leaf := ca.issue(t, key.Public(), []string{"www.example.com"}, func(c *x509.Certificate) { c.NotBefore = now })
	foreign := ca.issue(t, other.Public(), []string{"www.example.com"}, func(c *x509.Certificate) { c.NotBefore = now })

	for _, tc := range []struct {
		name   string
		leaf   *x509.Certificate
		intent int // hours after the certificate's notBefore
		want   bool
		reason string
	}{
		{"issued at the intent", leaf, 0, true, "the usual case"},
		{"issued after the intent", leaf, -100, true, "validation takes days"},
		{"issued 48 hours before the intent", leaf, 48, true, "CAs backdate"},
		{"issued 49 hours before the intent", leaf, 49, false, "it was there before"},
		{"another key", foreign, 0, false, "equal names prove nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Proves(tc.leaf, r, now.Add(time.Duration(tc.intent)*time.Hour)); got != tc.want {
				t.Errorf("got %v, want %v\nreason: %s", got, tc.want, tc.reason)
			}
		})
	}
	if Proves(leaf, r, now.Add(MaxBackdate+1)) {
		t.Error("a nanosecond past the bound is accepted")
	}
	if Proves(leaf, r, time.Time{}) {
		t.Error("an intent without a time proves something: every certificate is younger")
	}
}
