// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzGate puts deliveries together from parts: honest certificates, wrong
// ones, pieces of PEM, and the fuzzer's own bytes. Whatever passes must keep
// every promise that checkBundle knows. A script names the parts by position,
// so that it means the same in every process, although the keys differ.
func FuzzGate(f *testing.F) {
	caKey, key, otherKey := ecdsaKey(f, elliptic.P256()), ecdsaKey(f, elliptic.P256()), ecdsaKey(f, elliptic.P256())
	root := newRoot(f, "Root", ecdsaKey(f, elliptic.P256()))
	ca := root.newCA(f, "Issuing CA", caKey)
	sub := ca.newCA(f, "Sub CA", otherKey)
	names := []string{"www.example.com", "*.example.net"}
	leaf := func(a authority, changes ...template) []byte {
		return chain(a.issue(f, key.Public(), names, changes...))
	}
	leafOfCA := ca.issue(f, key.Public(), names)

	parts := [][]byte{
		chain(leafOfCA), chain(ca.cert), chain(root.cert), // 0, 1, 2: the honest chain
		leaf(sub), chain(sub.cert), // 3, 4: with 1 and 2 another honest chain
		chain(ca.issue(f, otherKey.Public(), names)), // 5: wrong key
		leaf(ca, func(c *x509.Certificate) { c.DNSNames = names[:1] }),
		leaf(ca, func(c *x509.Certificate) { c.DNSNames = append(slices.Clone(names), "example.org") }),
		leaf(ca, func(c *x509.Certificate) { c.DNSNames = append(slices.Clone(names), "example.com", "example.net") }),
		leaf(ca, func(c *x509.Certificate) { c.IsCA = true }),
		leaf(ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		leaf(ca, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} }),
		chain(newRoot(f, "www.example.com", key).cert),
		chain(root.newCA(f, "Issuing CA", ecdsaKey(f, elliptic.P256())).cert), // 13: the CA's name, another key
		chain(newRoot(f, "Old Root", otherKey).newCA(f, "Root", root.key).cert),
		[]byte("\n"), []byte(" \r\n"), []byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----END CERTIFICATE-----\n"),
		block("PRIVATE KEY", []byte("x")), []byte("<html>"), []byte(`{"success":false}`), {0},
	}
	r := requestFor(f, key, names...)

	f.Add([]byte{0, 1}, []byte(nil), int16(0))
	f.Add([]byte{0, 1, 2}, []byte(nil), int16(0))
	f.Add([]byte{3, 4, 1, 2}, []byte(nil), int16(0))
	f.Add([]byte{0, 15, 1, 16, 2, 15}, []byte(nil), int16(3))
	f.Add([]byte{0, 1, 14}, []byte(nil), int16(100))
	f.Add([]byte{1, 0}, []byte(nil), int16(-3))
	f.Add([]byte{0, 255, 1}, []byte("\r\n"), int16(1))
	f.Add([]byte{17, 255, 18, 1}, []byte("MIIB"), int16(0))
	f.Add([]byte{8, 1, 2, 2}, []byte(nil), int16(5000))
	f.Fuzz(func(t *testing.T, script, own []byte, hours int16) {
		if len(script) > 40 {
			return
		}
		var delivery []byte
		for _, part := range script {
			if int(part) < len(parts) {
				delivery = append(delivery, parts[part]...)
			} else {
				delivery = append(delivery, own...)
			}
		}
		e := Expect{Request: r, Now: now.Add(time.Duration(hours) * time.Hour), NotBefore: now.Add(-MaxBackdate)}

		bundle, err := Gate(delivery, e)
		if err != nil {
			refusal, ok := errors.AsType[*Refusal](err)
			if bundle != nil || !ok || refusal.Class < Unreadable || refusal.Class > Unverifiable {
				t.Fatalf("got %v and %v, want a *Refusal alone", bundle, err)
			}
			checkMessage(t, refusal.Message)
			if refusal.Class.Wait() {
				e.Now = refusal.ValidFrom
				if _, err := Gate(delivery, e); err != nil {
					t.Errorf("after the wait: %v", err)
				}
			}
			return
		}
		checkBundle(t, bundle, e)
		again, err := Gate(bundle.Certificate, e)
		if err != nil || !bytes.Equal(again.Certificate, bundle.Certificate) {
			t.Errorf("what was published does not pass itself: %v", err)
		}
		if first, err := ParseLeaf(delivery); err != nil || !first.Equal(bundle.Leaf) {
			t.Errorf("ParseLeaf: got %v, %v, want the leaf that was published", first, err)
		}
		e.NotThis = bundle.SHA256
		if _, err := Gate(delivery, e); err == nil {
			t.Error("the certificate that must not be handed out again was")
		}
	})
}

// FuzzPreflight: what passes can be ordered as it stands, and every refusal
// can be shown. Names are put into a signed request, since the fuzzer cannot
// sign; without names its bytes are the request, in a PEM block if it begins
// like binary.
func FuzzPreflight(f *testing.F) {
	key := ecdsaKey(f, elliptic.P256())
	binary := func(csr []byte) []byte {
		p, _ := pem.Decode(csr)
		return p.Bytes
	}
	f.Add("", "www.example.com,*.example.com", []byte(nil), false, "digital signature,key encipherment")
	f.Add("a_b.example.com", "localhost,x..y,192.0.2.1,web.local", []byte(nil), true, "client auth")
	f.Add("Www.Example.com", strings.Repeat("a", 60)+".example.com,WWW.EXAMPLE.COM.", []byte(nil), false, "")
	f.Add("", "", signingRequest(f, key, []string{"www.example.com"}), false, "server auth,signing")
	f.Add("", "", binary(signingRequest(f, key, []string{"www.example.com"}, usageExtensions(f, 0xa0, oidServerAuth), extension(oidBasicConstraints, []byte{0x30, 0}))), false, "")
	f.Add("", "", binary(signingRequest(f, key, nil, extension(oidSubjectAltName, subjectAltName(f, dnsName("www.example.com"), directoryName(f)).Value))), false, "")
	f.Add("", "", binary(forged(f, key, giantKey(4097))), false, "")
	f.Add("", "", []byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----"), false, ",")
	f.Fuzz(func(t *testing.T, commonName, names string, own []byte, isCA bool, usages string) {
		spec := Spec{CSR: own, IsCA: isCA}
		if usages != "" {
			spec.Usages = strings.Split(usages, ",")
		}
		if names != "" {
			der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{
				Subject: pkix.Name{CommonName: commonName}, DNSNames: strings.Split(names, ","),
			}, key)
			if err != nil {
				return // not to be encoded
			}
			spec.CSR = block(typeRequest, der)
		} else if len(own) > 0 && own[0] == 0x30 {
			spec.CSR = block(typeRequest, own)
		}
		r, problems := Preflight(spec)
		if (r == nil) == (len(problems) == 0) {
			t.Fatalf("got request %v and problems %v, want one of them", r, problems)
		}
		for _, problem := range problems {
			checkMessage(t, problem.Message)
			if !slices.Contains([]string{"spec.request", "spec.isCA", "spec.usages"}, problem.Field) {
				t.Errorf("a problem of the field %q", problem.Field)
			}
		}
		if r == nil {
			return
		}

		if names != "" {
			if diff := cmp.Diff(ExactNames(commonName, strings.Split(names, ",")), r.DNSNames); diff != "" {
				t.Errorf("names were lost or added (-want +got):\n%s", diff)
			}
		}
		again, problems := Preflight(Spec{CSR: r.PEM})
		if diff := cmp.Diff(r.DNSNames, again.DNSNames); diff != "" || problems != nil || again.KeySHA256 != r.KeySHA256 || again.CommonName != r.CommonName {
			t.Errorf("the request does not pass itself: %v\n%s", problems, diff)
		}
		if isCA || len(r.DNSNames) == 0 || len(r.DNSNames) > 250 || !slices.Contains(r.DNSNames, r.CommonName) || len(r.CommonName) > 64 {
			t.Errorf("CA %v, common name %q, %d names", isCA, r.CommonName, len(r.DNSNames))
		}
		if diff := cmp.Diff(ExactNames("", r.DNSNames), r.DNSNames); diff != "" {
			t.Errorf("the names are not exact (-want +got):\n%s", diff)
		}
		// A certificate that answers the request must be able to pass the gate.
		for _, name := range r.DNSNames {
			host := strings.Replace(name, "*", "any", 1)
			if err := (&x509.Certificate{DNSNames: r.DNSNames}).VerifyHostname(host); err != nil {
				t.Errorf("no client would match %q: %v", name, err)
			}
		}
	})
}

// FuzzNames: names have one spelling, and the lock does not depend on how a
// set of names is written.
func FuzzNames(f *testing.F) {
	f.Add("www.example.com", "api.example.com,example.com", "https://api.regfish.com")
	f.Add("WWW.www.Example.COM.", "www.com,*.example.com,,..", "HTTPS://API.regfish.com:443//")
	f.Add("İ\xff.example.com", "a\n1:b", "https://[::1%25a]:8443/%2f/?a#b")
	f.Fuzz(func(t *testing.T, commonName, joined, endpoint string) {
		dnsNames := strings.Split(joined, ",")
		exact := ExactNames(commonName, dnsNames)
		canonical := CanonicalNames(exact)
		if diff := cmp.Diff(exact, ExactNames("", exact)); diff != "" {
			t.Errorf("exact names are not their own exact names:\n%s", diff)
		}
		if diff := cmp.Diff(canonical, CanonicalNames(canonical)); diff != "" {
			t.Errorf("canonical names are not their own canonical names:\n%s", diff)
		}
		once := CanonicalEndpoint(endpoint)
		if again := CanonicalEndpoint(once); again != once {
			t.Errorf("endpoint %q is %q and then %q", endpoint, once, again)
		}

		hash := NamesHash(endpoint, exact)
		if len(hash) != 16 || strings.Trim(hash, "0123456789abcdef") != "" {
			t.Fatalf("hash %q", hash)
		}
		var rewritten []string
		for _, name := range slices.Backward(exact) {
			rewritten = append(rewritten, upper(name)+".", name)
			if strings.Contains(name, ".") {
				rewritten = append(rewritten, "www."+name)
			}
		}
		for what, same := range map[string]string{
			"canonical names":    NamesHash(once, canonical),
			"names as they came": NamesHash(endpoint, append(slices.Clone(dnsNames), commonName)),
			"another spelling":   NamesHash(endpoint, rewritten),
		} {
			if same != hash {
				t.Errorf("hash %s, and with %s %s", hash, what, same)
			}
		}
		if len(exact) == 0 {
			return
		}
		if !Covers(exact, exact) || len(Foreign(exact, exact)) > 0 || !ShareCanonical(exact, rewritten) || !Covers(rewritten, exact) {
			t.Errorf("the names %q do not match themselves", exact)
		}
	})
}

// upper is lower the other way.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b)
}
