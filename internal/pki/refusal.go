// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"fmt"
	"time"
)

// Class says why a delivery is refused.
type Class int

const (
	// Unreadable: not a PEM certificate chain, but HTML, JSON, another PEM
	// type, something cut off or damaged, or a leaf without its issuer.
	Unreadable Class = iota + 1
	// OldCertificate: the certificate that a reissue replaces. The vendor
	// serves it until the new one is in place.
	OldCertificate
	// NotYetValid: valid from a time at most 48 hours ahead, and nothing else
	// is wrong with it.
	NotYetValid
	// ValidTooLate: valid from a time more than 48 hours ahead.
	ValidTooLate
	// TooLarge: more bytes, or a larger issuer key, than is read.
	TooLarge
	// TooMany: more certificates than are read.
	TooMany
	// Duplicate: one certificate twice.
	Duplicate
	// IsCA: the first certificate is a CA, not the leaf.
	IsCA
	// WrongKey: issued for another key than the request's.
	WrongKey
	// MissingName: a requested name is not covered.
	MissingName
	// ForeignName: a name that was neither requested nor added by CAs as a
	// matter of course.
	ForeignName
	// IssuedEarlier: issued before it can have been bought.
	IssuedEarlier
	// Expired: the certificate, or one it depends on.
	Expired
	// WeakSignature: signed with SHA-1, MD5 or unknown, or by an RSA key under
	// 2048 bits.
	WeakSignature
	// BrokenChain: a certificate that the next one did not sign, or a loop.
	BrokenChain
	// NotServerAuth: not to be used by TLS servers.
	NotServerAuth
	// Unverifiable: TLS clients would refuse it for a path length, a name
	// constraint or an extension they must understand and do not.
	Unverifiable
)

var classNames = [...]string{
	Unreadable:     "Unreadable",
	OldCertificate: "OldCertificate",
	NotYetValid:    "NotYetValid",
	ValidTooLate:   "ValidTooLate",
	TooLarge:       "TooLarge",
	TooMany:        "TooMany",
	Duplicate:      "Duplicate",
	IsCA:           "IsCA",
	WrongKey:       "WrongKey",
	MissingName:    "MissingName",
	ForeignName:    "ForeignName",
	IssuedEarlier:  "IssuedEarlier",
	Expired:        "Expired",
	WeakSignature:  "WeakSignature",
	BrokenChain:    "BrokenChain",
	NotServerAuth:  "NotServerAuth",
	Unverifiable:   "Unverifiable",
}

// String returns the name of the constant.
func (c Class) String() string {
	if c < Unreadable || int(c) >= len(classNames) {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return classNames[c]
}

// Refetch reports whether another fetch may bring another delivery.
func (c Class) Refetch() bool { return c == Unreadable || c == OldCertificate }

// Wait reports whether the same delivery will pass by itself, at the refusal's
// ValidFrom. A class that is neither Refetch nor Wait is final.
func (c Class) Wait() bool { return c == NotYetValid }

// Refusal is the error of Gate and ParseLeaf.
type Refusal struct {
	Class     Class
	Message   string    // a clause without full stop, printable ASCII, at most 512 bytes
	ValidFrom time.Time // for NotYetValid and ValidTooLate: when the whole chain is valid
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

func refuse(class Class, format string, args ...any) *Refusal {
	return &Refusal{Class: class, Message: fmt.Sprintf(format, args...)}
}
