// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"time"
)

// maxWait is how far ahead a certificate's validity may begin. CAs do not
// issue for later; a longer wait is for a person to decide.
const maxWait = 48 * time.Hour

// Issuer keys outside of this range are too weak, or so large that a single
// signature takes seconds to verify.
const (
	minIssuerRSABits = 2048
	maxIssuerRSABits = 8192
)

// Expect is what a delivery is compared with.
type Expect struct {
	Request   *Request
	Now       time.Time
	NotBefore time.Time // the oldest notBefore accepted: the first intent minus MaxBackdate. Zero: not checked
	NotThis   string    // Bundle.SHA256 of a certificate that must not be handed out again. Empty: none
}

// Bundle is a delivery that passed, encoded anew from what was verified.
type Bundle struct {
	Certificate []byte            // PEM: the leaf, then its issuers; a self-signed root is left out
	CA          []byte            // PEM: the root if it was delivered, else the topmost issuer, as cert-manager's own issuers have it
	Leaf        *x509.Certificate // the first certificate
	SHA256      string            // lower-case hex SHA-256 of the leaf's DER
}

// Gate returns what may be published of a delivery, or a *Refusal that names
// the first thing that is wrong with it. The delivery must be the leaf followed
// by its issuers, each certificate signed by the next (so the vendor's own
// client, certbro, reads the download), with nothing but white space around
// them. Another order is refused and not repaired, since a vendor that changes
// the order may have changed more.
//
// NotYetValid is found last: a delivery that is refused with it needs nothing
// but time.
func Gate(delivery []byte, e Expect) (*Bundle, error) {
	chain, refusal := readChain(delivery)
	if refusal != nil {
		return nil, refusal
	}
	for _, check := range []func([]*x509.Certificate, Expect) *Refusal{
		checkLeaf, checkNames, checkChain, checkDates, checkAsClient, checkBegun,
	} {
		if refusal := check(chain, e); refusal != nil {
			return nil, refusal
		}
	}

	leaf, top := chain[0], chain[len(chain)-1]
	if selfIssued(top) {
		chain = chain[:len(chain)-1]
	}
	b := &Bundle{CA: encode(top), Leaf: leaf, SHA256: CertificateSHA256(leaf)}
	for _, cert := range chain {
		b.Certificate = append(b.Certificate, encode(cert)...)
	}
	return b, nil
}

// CertificateSHA256 is the SHA-256 of the certificate, hexadecimal.
func CertificateSHA256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// ParseLeaf returns the first certificate of a delivery, or a *Refusal
// (Unreadable, TooLarge, TooMany). That it can be read is all it says: what is
// published goes through Gate.
func ParseLeaf(delivery []byte) (*x509.Certificate, error) {
	chain, refusal := readChain(delivery)
	if refusal != nil {
		return nil, refusal
	}
	return chain[0], nil
}

// CertificateNames returns the exact names of a certificate: its common name
// and its DNS names.
func CertificateNames(cert *x509.Certificate) []string {
	return ExactNames(cert.Subject.CommonName, cert.DNSNames)
}

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: cert.Raw})
}

// readChain returns the certificates of a delivery, at least one. Everything is
// bounded before it is decoded.
func readChain(delivery []byte) ([]*x509.Certificate, *Refusal) {
	if len(delivery) > maxChain {
		return nil, refuse(TooLarge, "the delivery has %d bytes, and at most %d are read", len(delivery), maxChain)
	}
	if n := bytes.Count(delivery, []byte("-----BEGIN ")); n > maxCertificates {
		return nil, refuse(TooMany, "the delivery has %d PEM blocks, and at most %d are read", n, maxCertificates)
	}

	var chain []*x509.Certificate
	size := 0
	for rest := delivery; len(rest) > 0 || chain == nil; {
		der, after, ok := nextBlock(rest, typeCertificate)
		if !ok {
			return nil, refuse(Unreadable, "the delivery is not a PEM certificate chain: after %d certificates there is %s", len(chain), describe(after))
		}
		// What counts is the size as published: the delivery's lines may be
		// longer than PEM's.
		length := len(pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: der}))
		if size += length; length > maxBlock || size > maxChain {
			return nil, refuse(TooLarge, "certificate %d of the delivery has %d bytes, and at most %d are read, %d in all", len(chain)+1, length, maxBlock, maxChain)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(Unreadable, "certificate %d of the delivery is damaged: %s", len(chain)+1, quote(err.Error()))
		}
		chain, rest = append(chain, cert), after
	}
	return chain, nil
}

// describe says what was found in place of a certificate.
func describe(text []byte) string {
	switch {
	case len(text) == 0:
		return "nothing"
	case text[0] == '<':
		return "what looks like HTML"
	case text[0] == '{' || text[0] == '[':
		return "what looks like JSON"
	case bytes.HasPrefix(text, []byte("-----BEGIN "+typeCertificate+"-----")):
		return "a certificate that is cut off or damaged"
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return "a PEM block of another type"
	default:
		return "text that is not PEM"
	}
}

// checkLeaf finds out whether the first certificate is the one that was asked
// for. A reissue's predecessor is recognised before its key is compared: it may
// have another key, and is then not wrong but early.
func checkLeaf(chain []*x509.Certificate, e Expect) *Refusal {
	leaf := chain[0]
	switch {
	case strings.EqualFold(e.NotThis, CertificateSHA256(leaf)):
		return refuse(OldCertificate, "the delivery is still the certificate that was to be replaced (serial number %s)", serial(leaf))
	case leaf.IsCA:
		return refuse(IsCA, "the first certificate of the delivery is a CA (%s), not the certificate for the request", quote(leaf.Subject.CommonName))
	case !hasKey(leaf, e.Request):
		return refuse(WrongKey, "the delivered certificate (serial number %s) was issued for another key than the request's", serial(leaf))
	}
	return nil
}

func serial(cert *x509.Certificate) string { return quote(cert.SerialNumber.Text(16)) }

// checkNames compares the names. Covered is what a client finds among the DNS
// names; the common name, which clients ignore, counts as foreign only.
func checkNames(chain []*x509.Certificate, e Expect) *Refusal {
	leaf, wanted := chain[0], e.Request.DNSNames
	if !Covers(leaf.DNSNames, wanted) {
		return refuse(MissingName, "the delivered certificate lacks requested names: %s", list(missing(leaf.DNSNames, wanted)))
	}
	for _, name := range wanted {
		if err := leaf.VerifyHostname(strings.Replace(name, "*", "any", 1)); err != nil {
			return refuse(MissingName, "TLS clients would not accept the delivered certificate for %s", quote(name))
		}
	}
	if foreign := Foreign(CertificateNames(leaf), wanted); len(foreign) > 0 {
		return refuse(ForeignName, "the delivered certificate has names that were not requested: %s", list(foreign))
	}
	if others := otherNames(leaf.Extensions); len(others) > 0 {
		return refuse(ForeignName, "the delivered certificate has subject alternative names other than DNS names (%s)", strings.Join(others, ", "))
	}
	return nil
}

// checkChain follows the signatures from the leaf upwards. Weak and oversized
// keys come first, since to verify with them proves nothing or takes seconds.
func checkChain(chain []*x509.Certificate, _ Expect) *Refusal {
	for i, cert := range chain {
		if slices.ContainsFunc(chain[:i], cert.Equal) {
			return refuse(Duplicate, "certificate %d of the delivery is a repetition of an earlier one", i+1)
		}
		if i == 0 {
			continue
		}
		if slices.ContainsFunc(chain[:i], func(earlier *x509.Certificate) bool {
			return bytes.Equal(earlier.RawSubject, cert.RawSubject)
		}) {
			return refuse(BrokenChain, "certificate %d of the delivery has the subject of an earlier one: the chain is a loop", i+1)
		}
		if refusal := checkIssuer(chain[i-1], cert, i+1); refusal != nil {
			return refusal
		}
	}

	top := chain[len(chain)-1]
	switch {
	case selfIssued(top):
		if err := top.CheckSignature(top.SignatureAlgorithm, top.RawTBSCertificate, top.Signature); err != nil || len(chain) == 1 {
			return refuse(BrokenChain, "the last certificate of the delivery names itself as its issuer and is not a root")
		}
	case len(chain) == 1:
		return refuse(Unreadable, "the delivery has no issuer certificate")
	case slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, top.RawIssuer) }):
		return refuse(BrokenChain, "the last certificate of the delivery was issued by an earlier one: the chain is a loop")
	}
	return nil
}

// checkIssuer verifies one link; position is the issuer's in the delivery.
func checkIssuer(cert, issuer *x509.Certificate, position int) *Refusal {
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return refuse(WeakSignature, "certificate %d of the delivery has a signature that clients do not trust (%s)", position-1, quote(cert.SignatureAlgorithm.String()))
	}
	if key, ok := issuer.PublicKey.(*rsa.PublicKey); ok {
		switch bits := key.N.BitLen(); {
		case bits < minIssuerRSABits:
			return refuse(WeakSignature, "certificate %d of the delivery has an RSA key of %d bits, and at least %d are trusted", position, bits, minIssuerRSABits)
		case bits > maxIssuerRSABits:
			return refuse(TooLarge, "certificate %d of the delivery has an RSA key of %d bits, and at most %d are read", position, bits, maxIssuerRSABits)
		}
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil || !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return refuse(BrokenChain, "certificate %d of the delivery was not issued by certificate %d", position-1, position)
	}
	return nil
}

func selfIssued(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }

// checkDates finds what time will not mend.
func checkDates(chain []*x509.Certificate, e Expect) *Refusal {
	for i, cert := range chain {
		if e.Now.After(cert.NotAfter) {
			return refuse(Expired, "certificate %d of the delivery expired at %s", i+1, stamp(cert.NotAfter))
		}
	}
	if leaf := chain[0]; leaf.NotBefore.Before(e.NotBefore) {
		return refuse(IssuedEarlier, "the delivered certificate is valid since %s and was bought later: it is another purchase's", stamp(leaf.NotBefore))
	}
	if from := validFrom(chain); from.Sub(e.Now) > maxWait {
		return &Refusal{Class: ValidTooLate, Message: "the delivered certificate is not valid until " + stamp(from), ValidFrom: from}
	}
	return nil
}

// checkAsClient verifies the chain as a TLS client does that trusts the topmost
// certificate: usages, path lengths, name constraints, critical extensions. The
// time is one at which the chain has begun, since that is what checkBegun
// waits for.
func checkAsClient(chain []*x509.Certificate, e Expect) *Refusal {
	at := e.Now
	if from := validFrom(chain); from.After(at) {
		at = from
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at}
	options.Roots.AddCert(chain[len(chain)-1])
	for _, cert := range chain[1 : len(chain)-1] {
		options.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(options)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.IncompatibleUsage {
		return refuse(NotServerAuth, "the delivered certificate may not be used by TLS servers")
	}
	if err != nil {
		return refuse(Unverifiable, "TLS clients would refuse the delivered certificate: %s", quote(err.Error()))
	}
	return nil
}

// checkBegun finds the one thing that time will mend.
func checkBegun(chain []*x509.Certificate, e Expect) *Refusal {
	if from := validFrom(chain); e.Now.Before(from) {
		return &Refusal{Class: NotYetValid, Message: "the delivered certificate is not valid until " + stamp(from), ValidFrom: from}
	}
	return nil
}

// validFrom is when the last certificate of the chain begins to be valid.
func validFrom(chain []*x509.Certificate) time.Time {
	from := chain[0].NotBefore
	for _, cert := range chain {
		if cert.NotBefore.After(from) {
			from = cert.NotBefore
		}
	}
	return from
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
