// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance holds tests only: that documents, manifests, CRDs and code
// say the same. What a user reads must exist, what exists must be documented, and
// what is shown as an example must be accepted by an API server. It must not test
// what the controller does.
package conformance
