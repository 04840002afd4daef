// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package simulator is a stand-in for the regfish API: it sells certificates of
// its own CA, checks control over the names in DNS, and keeps the ledger of what
// it sold, which is what a test of "never buy twice" has to look at.
//
// It answers in the shapes of the vendor's documentation, and misbehaves only
// when told to (see Fault). Where the vendor documents nothing, what it does is
// marked with "Invented:". It writes its JSON without the types of the client,
// so that a mistake in those is noticed and not mirrored.
//
// It simulates orders of DV and OV products that are validated by CNAME or by
// e-mail. An OV order may have to be completed by a person first, on a page that
// the simulator serves and that stands for the vendor's console. Renewals,
// reissues, revocation and the editing of organizations are refused.
package simulator
