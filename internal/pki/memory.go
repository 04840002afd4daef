// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

// A request is judged whenever its order or its purchase is looked at. What is costly
// about that and follows from its bytes alone is remembered.
var (
	// sound are the signing requests in which Preflight found no problem.
	sound memory[struct{}]
	keys  memory[string]
)

// RequestKeySHA256 is KeySHA256 of the key in a signing request, whose signature it does
// not check; empty if the request cannot be read.
func RequestKeySHA256(csr []byte) string {
	return keys.of(sha256.Sum256(csr), func() string {
		der, _, ok := nextBlock(csr, typeRequest)
		if !ok {
			return ""
		}
		request, err := x509.ParseCertificateRequest(der)
		if err != nil {
			return ""
		}
		return keyOf(request)
	})
}

// keyOf is KeySHA256 of the key in a signing request, empty if there is none for it.
func keyOf(csr *x509.CertificateRequest) string {
	sum, err := KeySHA256(csr.PublicKey)
	if err != nil {
		return ""
	}
	return sum
}

// maxRemembered bounds a memory. An entry takes about 200 bytes.
const maxRemembered = 20_000

// memory remembers what was found out about a text, by the hash of all of it.
type memory[V any] struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]V
}

func (m *memory[V]) of(sum [sha256.Size]byte, find func() V) V {
	v, ok := m.get(sum)
	if !ok {
		v = find()
		m.set(sum, v)
	}
	return v
}

func (m *memory[V]) get(sum [sha256.Size]byte) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.known[sum]
	return v, ok
}

func (m *memory[V]) set(sum [sha256.Size]byte, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxRemembered {
		m.known = map[[sha256.Size]byte]V{}
	}
	m.known[sum] = v
}
