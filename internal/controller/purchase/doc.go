// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package purchase follows what was bought, with or without a request that still
// wants it, and keeps the status of each RegfishPurchase true to what the vendor
// says. It only reads at the vendor. It must not buy, and it must not change what
// a record says was sent.
package purchase
