// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// MaxBackdate is how long before the first intent to buy a certificate its
// notBefore may lie. CAs backdate by minutes to a day, for clocks that are
// wrong; a certificate that is older was not bought by this intent.
const MaxBackdate = 48 * time.Hour

// KeySHA256 returns the lower-case hex SHA-256 of the key's
// SubjectPublicKeyInfo in DER. It fails for key types X.509 does not know.
func KeySHA256(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// hasKey reports whether the certificate was issued for the request's key.
func hasKey(cert *x509.Certificate, r *Request) bool {
	sum, err := KeySHA256(cert.PublicKey)
	return err == nil && sum == r.KeySHA256
}

// Proves reports whether the certificate was issued for the request after the
// intent to buy it: its key is the request's and its notBefore is at most
// MaxBackdate before the intent. Only that proves whose certificate it is;
// equal names do not, since an account may hold many with the same names.
// An intent without a time proves nothing.
func Proves(leaf *x509.Certificate, r *Request, intent time.Time) bool {
	return !intent.IsZero() && hasKey(leaf, r) && !leaf.NotBefore.Before(intent.Add(-MaxBackdate))
}
