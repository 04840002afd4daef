// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// now is the time at which everything is judged in these tests.
var now = time.Date(2026, 3, 18, 12, 0, 0, 0, time.UTC)

// rsaKeys holds one key per size for the whole test binary: to make one takes
// seconds under the race detector.
var rsaKeys = struct {
	sync.Mutex
	bySize map[int]*rsa.PrivateKey
}{bySize: map[int]*rsa.PrivateKey{}}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	if rsaKeys.bySize[bits] == nil {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		must(t, err)
		rsaKeys.bySize[bits] = key
	}
	return rsaKeys.bySize[bits]
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority is a certificate that can sign others.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials atomic.Int64

// template is a change to a certificate before it is signed.
type template func(*x509.Certificate)

// certificate is for the tests' own CAs: valid for ten years around now.
func certificate(name string, changes ...template) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(serials.Add(1)),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-5, 0, 0),
		NotAfter:              now.AddDate(5, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func newRoot(t testing.TB, name string, key crypto.Signer, changes ...template) authority {
	t.Helper()
	c := certificate(name, changes...)
	return authority{sign(t, c, c, key.Public(), key), key}
}

// newCA makes an intermediate.
func (a authority) newCA(t testing.TB, name string, key crypto.Signer, changes ...template) authority {
	t.Helper()
	return authority{sign(t, certificate(name, changes...), a.cert, key.Public(), a.key), key}
}

// issue makes a server certificate for the names, the first also as common name.
func (a authority) issue(t testing.TB, key crypto.PublicKey, names []string, changes ...template) *x509.Certificate {
	t.Helper()
	c := certificate("", func(c *x509.Certificate) {
		if len(names) > 0 {
			c.Subject.CommonName = names[0]
		}
		c.DNSNames = names
		c.NotBefore = now.Add(-time.Hour)
		c.NotAfter = now.AddDate(0, 0, 199)
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.IsCA = false
	})
	for _, change := range changes {
		change(c)
	}
	return sign(t, c, a.cert, key, a.key)
}

func sign(t testing.TB, c, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, signer)
	must(t, err)
	return parse(t, der)
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

// chain is a delivery of the certificates in their order.
func chain(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, cert := range certs {
		text = append(text, block(typeCertificate, cert.Raw)...)
	}
	return text
}

func block(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// signingRequest is a CSR as cert-manager makes it, for the names as DNS names
// without a common name unless a change says otherwise.
func signingRequest(t testing.TB, key crypto.Signer, names []string, changes ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	csr := &x509.CertificateRequest{DNSNames: names}
	for _, change := range changes {
		change(csr)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, csr, key)
	must(t, err)
	return block(typeRequest, der)
}

// requestFor is the preflighted request of a key for names.
func requestFor(t testing.TB, key crypto.Signer, names ...string) *Request {
	t.Helper()
	r, problems := Preflight(Spec{CSR: signingRequest(t, key, names)})
	if problems != nil {
		t.Fatalf("Preflight of a good request: %v", problems)
	}
	return r
}

// elements splits a DER SEQUENCE, so that a test can put in what crypto/x509
// refuses to make.
func elements(t testing.TB, der []byte) []asn1.RawValue {
	t.Helper()
	var values []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &values)
	must(t, err)
	if len(rest) > 0 {
		t.Fatal("the sequence has a tail")
	}
	return values
}

func sequence(t testing.TB, values []asn1.RawValue) []byte {
	t.Helper()
	der, err := asn1.Marshal(values)
	must(t, err)
	return der
}

func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

// resign gives a certificate the RSA signature of an algorithm that
// crypto/x509 no longer signs with.
func resign(t testing.TB, cert *x509.Certificate, oid asn1.ObjectIdentifier, hash crypto.Hash, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	algorithm, err := asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue})
	must(t, err)
	tbs := elements(t, cert.RawTBSCertificate)
	tbs[2] = raw(algorithm)
	signed := sequence(t, tbs)

	digest := hash.New()
	digest.Write(signed)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest.Sum(nil))
	must(t, err)
	bits, err := asn1.Marshal(asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})
	must(t, err)
	return parse(t, sequence(t, []asn1.RawValue{raw(signed), raw(algorithm), raw(bits)}))
}

// flipSignature damages the last byte, which is the signature's.
func flipSignature(t testing.TB, cert *x509.Certificate) *x509.Certificate {
	t.Helper()
	der := bytes.Clone(cert.Raw)
	der[len(der)-1] ^= 1
	return parse(t, der)
}
