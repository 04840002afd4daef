// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"testing"
)

// rsaKeys holds one key of each size, because making one takes seconds with the race detector.
var rsaKeys sync.Map

// RSAKey returns a key of that many bits: the same one for each call in this process. A test that needs two different
// keys takes an ECDSAKey for one of them.
func RSAKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	generate, _ := rsaKeys.LoadOrStore(bits, sync.OnceValues(func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, bits)
	}))
	key, err := generate.(func() (*rsa.PrivateKey, error))()
	if err != nil {
		t.Fatalf("make RSA key of %d bits: %v", bits, err)
	}
	return key
}

// ECDSAKey returns a new key on P-256.
func ECDSAKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make ECDSA key: %v", err)
	}
	return key
}

// CSR returns a PEM certificate request for DNS names, without a common name, signed by key.
func CSR(t testing.TB, key crypto.Signer, dnsNames ...string) []byte {
	t.Helper()
	return encodeCSR(t, &x509.CertificateRequest{DNSNames: dnsNames}, key)
}

func encodeCSR(t testing.TB, template *x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatalf("make CSR: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
