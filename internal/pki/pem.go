// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"encoding/pem"
)

// The limits of cert-manager's own decoder. What is larger would be published
// and then refused by cert-manager, or cost minutes to decode.
const (
	maxBlock        = 36_500 // bytes of one PEM block: a CSR or a certificate
	maxChain        = 95_000 // bytes of a PEM chain
	maxCertificates = 10
)

const (
	typeCertificate = "CERTIFICATE"
	typeRequest     = "CERTIFICATE REQUEST"
)

// nextBlock takes the PEM block that text begins with, after white space, off
// text. pem.Decode skips whatever it cannot read and goes on to the next block,
// so that a damaged certificate would silently be missing from a chain; here
// anything but an intact block of the type is an error.
func nextBlock(text []byte, blockType string) (der, rest []byte, ok bool) {
	begin, end := "-----BEGIN "+blockType+"-----", "-----END "+blockType+"-----"
	text = bytes.TrimSpace(text)
	head, rest, found := bytes.Cut(text, []byte(end))
	if !found || !bytes.HasPrefix(text, []byte(begin)) {
		return nil, text, false
	}
	block := text[:len(head)+len(end)]
	if bytes.Count(block, []byte("-----BEGIN")) != 1 {
		return nil, text, false // cut off, and the next block's END taken for its own
	}
	decoded, _ := pem.Decode(block)
	if decoded == nil || len(decoded.Headers) > 0 {
		return nil, text, false
	}
	return decoded.Bytes, bytes.TrimSpace(rest), true
}
