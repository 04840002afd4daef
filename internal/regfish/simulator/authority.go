// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

const day = 24 * time.Hour

// backdated is how far before its issuance a certificate begins, as CAs do it
// for clients whose clocks are behind.
const backdated = time.Hour

// authority is the CA behind the vendor: a root and one intermediate, and
// impostors of both that sign what must not be trusted.
type authority struct {
	root, intermediate, impostor          *x509.Certificate
	rootKey, intermediateKey, impostorKey crypto.Signer
}

func newAuthority(now time.Time) (*authority, error) {
	a := &authority{}
	var err error
	for _, key := range []*crypto.Signer{&a.rootKey, &a.intermediateKey, &a.impostorKey} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	root := caTemplate("Simulated Root CA", now, 20*365*day)
	if a.root, err = sign(root, root, a.rootKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	intermediate := caTemplate("Simulated TLS CA", now, 10*365*day)
	intermediate.MaxPathLenZero = true
	if a.intermediate, err = sign(intermediate, a.root, a.intermediateKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	// The impostor has the name of the intermediate and a key of its own.
	if a.impostor, err = sign(intermediate, a.root, a.impostorKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	return a, nil
}

// caTemplate describes a CA that was valid a year ago already, because faults
// need certificates from the past.
func caTemplate(name string, now time.Time, lifetime time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Country: []string{"DE"}, Organization: []string{"regfish simulator"}, CommonName: name},
		NotBefore: now.Add(-365 * day).Truncate(time.Second), NotAfter: now.Add(lifetime).Truncate(time.Second),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

// leaf describes a server certificate for names, of which the first is the
// common name.
func leaf(names []string, notBefore time.Time, lifetime time.Duration) *x509.Certificate {
	notBefore = notBefore.UTC().Truncate(time.Second)
	return &x509.Certificate{
		Subject:  pkix.Name{CommonName: names[0]},
		DNSNames: names,
		// Both ends belong to the validity, so the last second is one less.
		NotBefore: notBefore, NotAfter: notBefore.Add(lifetime - time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}

// sign makes the certificate that template describes.
func sign(template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.SetBit(serial, 126, 1)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newIdentity makes the certificate of the HTTPS server and the CA of it. Both
// go by the real clock, because the clients do.
func newIdentity(hosts []string) (tls.Certificate, []byte, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := caTemplate("Simulator's server CA", time.Now(), 365*day)
	ca, err := sign(template, template, caKey.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	server := leaf([]string{"localhost"}, time.Now().Add(-backdated), 365*day)
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	cert, err := sign(server, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, pemOf(ca.Raw), nil
}

// pemOf encodes certificates.
func pemOf(ders ...[]byte) []byte {
	var encoded []byte
	for _, der := range ders {
		encoded = append(encoded, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return encoded
}
