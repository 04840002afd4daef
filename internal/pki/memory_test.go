// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"
)

// What is remembered of one request must not speak for another one that has its names and
// its key, and a signature that was not made with it.
func TestWhatIsRememberedIsOfTheSameBytes(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	for range 2 {
		if _, problems := Preflight(Spec{CSR: encoded(der)}); len(problems) > 0 {
			t.Fatalf("a sound request is refused: %v", problems)
		}
		if problems := Problems(Spec{CSR: encoded(der)}); len(problems) > 0 {
			t.Fatalf("a sound request has problems: %v", problems)
		}
		// That its text is sound says nothing of what else is asked for with it.
		if problems := Problems(Spec{CSR: encoded(der), IsCA: true, Usages: []string{"code signing"}}); len(problems) != 2 {
			t.Fatalf("a CA that signs code is a problem twice, and not %v", problems)
		}
	}
	der[len(der)-1] ^= 1
	for range 2 {
		if _, problems := Preflight(Spec{CSR: encoded(der)}); len(problems) != 1 {
			t.Fatalf("a request that was not signed with its key passes: %v", problems)
		}
		if problems := Problems(Spec{CSR: encoded(der)}); len(problems) != 1 {
			t.Fatalf("a request that was not signed with its key has the problems %v", problems)
		}
	}
	sum, err := KeySHA256(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := RequestKeySHA256(encoded(der)); got != sum {
			t.Errorf("its key is %q, and it is %q", got, sum)
		}
	}
	if got := RequestKeySHA256([]byte("no request")); got != "" {
		t.Errorf("what is no request has the key %q", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory[int]
	for i := range 3*maxRemembered + 7 {
		text := fmt.Append(nil, i)
		if got := m.of(sha256.Sum256(text), func() int { return i }); got != i {
			t.Fatalf("of %d it says %d", i, got)
		}
		if got := m.of(sha256.Sum256(text), func() int { return -1 }); got != i {
			t.Fatalf("%d was found out again", i)
		}
		if len(m.known) > maxRemembered {
			t.Fatalf("it remembers %d", len(m.known))
		}
	}
}
