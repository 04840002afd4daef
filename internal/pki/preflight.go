// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

const (
	maxNames      = 250 // as many as cert-manager's size limit of a certificate is made for
	maxCommonName = 64  // bytes; X.520 ub-common-name
	minRSABits    = 2048
	maxRSABits    = 4096
)

// Request is a certificate signing request that passed Preflight.
type Request struct {
	PEM          []byte           // the request as it came
	CommonName   string           // exact: the request's own, else the DNS name chosen for it
	DNSNames     []string         // exact, the common name included
	KeySHA256    string           // as KeySHA256
	KeyAlgorithm string           // "RSA" or "ECDSA", as in a Certificate's privateKey.algorithm
	PublicKey    crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey
}

// Spec is what Preflight judges: the fields of a CertificateRequest's spec that
// decide what is issued.
type Spec struct {
	CSR    []byte   // spec.request
	IsCA   bool     // spec.isCA
	Usages []string // spec.usages in cert-manager's spelling
}

// The fields of a CertificateRequest that a Problem is about.
const (
	fieldRequest = "spec.request"
	fieldIsCA    = "spec.isCA"
	fieldUsages  = "spec.usages"
)

// Problem is one reason why a request is not ordered.
type Problem struct {
	Field   string // "spec.request", "spec.isCA" or "spec.usages" of the CertificateRequest
	Message string // what is wrong and the remedy, naming fields of the Certificate's spec; no full stop, printable ASCII, at most 512 bytes
}

// Preflight returns the request, or everything that keeps it from being
// ordered, so that a user mends all of it at once. It refuses what a public CA
// cannot issue or would issue otherwise than requested: to learn that from the
// vendor takes an order.
func Preflight(s Spec) (*Request, []Problem) {
	var problems []Problem
	report := func(field string, messages ...string) {
		for _, message := range messages {
			problems = append(problems, Problem{field, message})
		}
	}

	if s.IsCA {
		report(fieldIsCA, "a public CA issues no CA certificates: remove isCA from the Certificate")
	}
	report(fieldUsages, checkUsages(s.Usages)...)
	hash := sha256.Sum256(s.CSR)
	_, known := sound.get(hash)
	csr, unreadable := readRequest(s.CSR)
	if unreadable != "" {
		report(fieldRequest, unreadable)
		return nil, problems
	}
	report(fieldRequest, checkExtensions(csr)...)
	report(fieldRequest, checkRequestedNames(csr)...)
	commonName, unfit := chooseCommonName(csr)
	report(fieldRequest, unfit...)
	algorithm, sum, unusable := checkKey(hash, csr, known)
	report(fieldRequest, unusable...)
	if len(problems) > 0 {
		return nil, problems
	}
	if !known {
		sound.set(hash, struct{}{})
	}
	return &Request{
		PEM:          s.CSR,
		CommonName:   commonName,
		DNSNames:     ExactNames(csr.Subject.CommonName, csr.DNSNames),
		KeySHA256:    sum,
		KeyAlgorithm: algorithm,
		PublicKey:    csr.PublicKey,
	}, nil
}

// Problems returns what Preflight finds, for those who do not need the request. A text in
// which it found nothing once is not read again.
func Problems(s Spec) []Problem {
	if _, known := sound.get(sha256.Sum256(s.CSR)); known && !s.IsCA && len(checkUsages(s.Usages)) == 0 {
		return nil
	}
	_, problems := Preflight(s)
	return problems
}

// checkUsages accepts what the certificates of public CAs for TLS servers
// carry, in the spelling of cert-manager's KeyUsage; "signing" is its second
// name for "digital signature".
func checkUsages(usages []string) []string {
	var clientAuth, others []string
	for _, usage := range usages {
		switch usage {
		case "signing", "digital signature", "key encipherment", "server auth":
		case "client auth":
			clientAuth = []string{`public CAs no longer issue certificates for client authentication: remove "client auth" from the Certificate's usages, and take client certificates from a private CA`}
		default:
			others = append(others, usage)
		}
	}
	if len(others) == 0 {
		return clientAuth
	}
	slices.Sort(others)
	others = slices.Compact(others)
	return append(clientAuth, `the certificate would not have these usages: `+list(others)+`; leave only "digital signature", "key encipherment" and "server auth" in the Certificate's usages`)
}

// readRequest returns the parsed request, or why it cannot be read.
func readRequest(text []byte) (*x509.CertificateRequest, string) {
	const remedy = "; it must be one PEM block CERTIFICATE REQUEST as cert-manager makes it: delete this CertificateRequest and cert-manager makes another"
	if len(text) > maxBlock {
		return nil, fmt.Sprintf("the signing request has %d bytes, and at most %d are read: request fewer dnsNames per Certificate", len(text), maxBlock)
	}
	der, rest, ok := nextBlock(text, typeRequest)
	if !ok || len(rest) > 0 {
		return nil, "the signing request is not readable" + remedy
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, "the signing request is damaged (" + quote(err.Error()) + ")" + remedy
	}
	return csr, ""
}

// checkRequestedNames judges how many names there are and whether each can
// stand in a public certificate. Names with the same fault share a message.
func checkRequestedNames(csr *x509.CertificateRequest) []string {
	var messages []string
	names := ExactNames(csr.Subject.CommonName, csr.DNSNames)
	switch {
	case len(names) == 0:
		return []string{"no DNS name is requested: set the Certificate's dnsNames"}
	case len(names) > maxNames:
		messages = append(messages, fmt.Sprintf("%d names are requested, and at most %d fit into one certificate: split the Certificate", len(names), maxNames))
	}

	var faults []string
	faulty := map[string][]string{}
	for _, name := range csr.DNSNames {
		if fault := nameFault(name); fault != "" {
			if faulty[fault] == nil {
				faults = append(faults, fault)
			}
			if !slices.Contains(faulty[fault], name) {
				faulty[fault] = append(faulty[fault], name)
			}
		}
	}
	for _, fault := range faults {
		messages = append(messages, "the Certificate's dnsNames have "+list(faulty[fault])+": "+fault)
	}
	return messages
}

// notPublic are top-level domains that are set aside for private use, so that
// nobody can prove to a public CA that a name under them is theirs (RFC 6761,
// RFC 6762, and ICANN's reservation of .internal).
var notPublic = []string{"internal", "invalid", "local", "localhost"}

// nameFault returns why a name cannot stand in a public certificate and the
// remedy, or "". The rules are those of the CA/Browser Forum's baseline
// requirements for DNS names: letters, digits and hyphens, fully qualified, at
// most the whole leftmost label a wildcard.
func nameFault(name string) string {
	if strings.HasSuffix(name, ".") {
		return "write it without the dot at its end"
	}
	if len(name) > 253 {
		return "a DNS name has at most 253 bytes"
	}
	labels := strings.Split(strings.TrimPrefix(lower(name), "*."), ".")
	for _, label := range labels {
		switch {
		case label == "":
			return "it has an empty label"
		case len(label) > 63:
			return "a label of a DNS name has at most 63 bytes"
		case strings.Contains(label, "*"):
			return "a wildcard can only be the whole leftmost label, as in *.example.com"
		case strings.Contains(label, "_"):
			return "public CAs do not issue for names with underscores"
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			return "a DNS name has only letters, digits, hyphens and dots; an internationalised one is written as A-labels (xn--...)"
		case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
			return "a label of a DNS name neither begins nor ends with a hyphen"
		}
	}
	switch top := labels[len(labels)-1]; {
	case len(labels) < 2:
		return "a public CA issues only for fully qualified names, of at least two labels"
	case strings.Trim(top, "0123456789") == "":
		return "public CAs issue for DNS names only, and this reads as an IP address"
	case slices.Contains(notPublic, top):
		return "names under ." + top + " are private, and no public CA can issue for them: use a private CA's issuer"
	}
	return ""
}

// chooseCommonName returns the common name to order with, which the vendor
// requires (https://regfish.com/docs/reference/create-certificate) and
// cert-manager does not. Without one in the request it is the first DNS name
// that fits, in the request's own order: the first name is what users expect a
// certificate to be called. A wildcard goes before the others: a request that has one
// is ordered as a product for wildcards, and those are for what the common name covers.
func chooseCommonName(csr *x509.CertificateRequest) (name string, messages []string) {
	var given []string
	for _, attribute := range csr.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			given = append(given, fmt.Sprint(attribute.Value))
		}
	}
	switch own := csr.Subject.CommonName; {
	case len(given) > 1:
		return "", []string{"its subject has more than one common name: " + list(given) + "; leave one in the Certificate"}
	case own != "" && nameFault(own) != "":
		return "", []string{"the Certificate's commonName is " + quote(own) + ", and it has to be a DNS name: " + nameFault(own)}
	case len(own) > maxCommonName:
		return "", []string{fmt.Sprintf("the Certificate's commonName %s has more than %d bytes: set it to a shorter one of the dnsNames", quote(own), maxCommonName)}
	case own != "":
		return exact(own), nil
	}

	fits := slices.DeleteFunc(slices.Clone(csr.DNSNames), func(name string) bool { return len(name) > maxCommonName })
	if len(fits) == 0 && len(csr.DNSNames) > 0 {
		return "", []string{fmt.Sprintf("an order needs a common name, and all dnsNames have more than %d bytes: add a shorter name to the Certificate", maxCommonName)}
	}
	for _, name := range fits {
		if strings.HasPrefix(name, "*.") {
			return exact(name), nil
		}
	}
	if len(fits) > 0 {
		return exact(fits[0]), nil
	}
	return "", nil // no DNS name at all, which is reported as such
}

// checkKey accepts the keys for which the vendor's own client, certbro, orders
// certificates, up to the RSA size that public CAs sign, and verifies that the
// requester holds the key, unless that is known of the text with that hash. The size comes
// first: to verify with an oversized key takes seconds.
func checkKey(hash [sha256.Size]byte, csr *x509.CertificateRequest, known bool) (algorithm, sum string, messages []string) {
	switch key := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		algorithm = "RSA"
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", "", []string{fmt.Sprintf("its RSA key has %d bits, and %d to %d are accepted: set the Certificate's privateKey.size to 2048, 3072 or 4096", bits, minRSABits, maxRSABits)}
		}
	case *ecdsa.PublicKey:
		algorithm = "ECDSA"
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return "", "", []string{"its ECDSA key is on the curve " + key.Curve.Params().Name + ", and P-256, P-384 and P-521 are accepted: set the Certificate's privateKey.size to 256 or 384"}
		}
	default:
		return "", "", []string{"its key is of the type " + csr.PublicKeyAlgorithm.String() + ", and RSA and ECDSA are accepted: set the Certificate's privateKey.algorithm to RSA or ECDSA"}
	}
	sum = keys.of(hash, func() string { return keyOf(csr) })
	if sum == "" || (!known && csr.CheckSignature() != nil) {
		return "", "", []string{"its signature was not made with its own key: delete this CertificateRequest and cert-manager makes another"}
	}
	return algorithm, sum, nil
}
