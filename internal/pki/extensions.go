// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
)

var (
	oidCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidServerAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
)

// The key usages of TLS server certificates, as bits of the extension.
const (
	bitDigitalSignature = 0
	bitKeyEncipherment  = 2
)

// otherNames returns what the subject alternative names contain beside DNS
// names, in the words of a Certificate's spec. crypto/x509 leaves out the kinds
// it does not know, so the extension itself is read.
func otherNames(extensions []pkix.Extension) []string {
	var kinds []string
	for _, extension := range extensions {
		if !extension.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &names); err != nil || len(rest) > 0 {
			return []string{"unreadable names"}
		}
		for _, name := range names {
			// The tags of GeneralName, RFC 5280 section 4.2.1.6.
			kind := "names of an unusual type"
			switch name.Tag {
			case 0:
				kind = "otherNames"
			case 1:
				kind = "emailAddresses"
			case 2:
				continue
			case 6:
				kind = "uris"
			case 7:
				kind = "ipAddresses"
			}
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// checkExtensions judges what the signing request itself asks for. cert-manager
// writes the same into it as into spec.isCA and spec.usages, but it is the
// signing request that goes to the vendor, and others can write one.
func checkExtensions(csr *x509.CertificateRequest) []string {
	var messages []string
	if kinds := otherNames(csr.Extensions); len(kinds) > 0 {
		messages = append(messages, "public certificates for TLS servers have DNS names only: remove "+strings.Join(kinds, ", ")+" from the Certificate")
	}
	for _, extension := range csr.Extensions {
		switch id := extension.Id; {
		case id.Equal(oidBasicConstraints) && wantsCA(extension.Value):
			messages = append(messages, "the signing request asks for a CA certificate, which no public CA issues: remove isCA from the Certificate")
		case id.Equal(oidKeyUsage) && wantsOtherKeyUsage(extension.Value),
			id.Equal(oidExtKeyUsage) && wantsOtherExtKeyUsage(extension.Value):
			messages = append(messages, `the signing request asks for usages that the certificate would not have: leave only "digital signature", "key encipherment" and "server auth" in the Certificate's usages`)
		}
	}
	return messages
}

// The three below take what they cannot read for a wish they would refuse.

func wantsCA(value []byte) bool {
	var constraints struct {
		IsCA       bool `asn1:"optional"`
		MaxPathLen int  `asn1:"optional"`
	}
	rest, err := asn1.Unmarshal(value, &constraints)
	return err != nil || len(rest) > 0 || constraints.IsCA
}

func wantsOtherKeyUsage(value []byte) bool {
	var usage asn1.BitString
	if rest, err := asn1.Unmarshal(value, &usage); err != nil || len(rest) > 0 {
		return true
	}
	for bit := range usage.BitLength {
		if usage.At(bit) == 1 && bit != bitDigitalSignature && bit != bitKeyEncipherment {
			return true
		}
	}
	return false
}

func wantsOtherExtKeyUsage(value []byte) bool {
	var usages []asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(value, &usages)
	return err != nil || len(rest) > 0 || slices.ContainsFunc(usages, func(usage asn1.ObjectIdentifier) bool {
		return !usage.Equal(oidServerAuth)
	})
}
