// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package pki decides what may be ordered and what may be published: it reads
// the certificate signing request of a CertificateRequest (Preflight), the
// certificate file the vendor delivers (Gate), and compares names and keys.
//
// Everything here is a pure function of its arguments. The package does no
// I/O, reads no clock (the time is passed in), holds no state and imports the
// standard library only, so that the same input is always judged the same way
// by every controller, test and simulation. It must not know Kubernetes
// objects, the vendor's API or what a certificate costs.
//
// Both inputs are hostile until proven otherwise. Sizes and counts are bounded
// before anything is decoded, and no text of an input reaches a message
// unquoted or unbounded.
package pki
