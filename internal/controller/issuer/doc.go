// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package issuer keeps the Ready condition of both issuer kinds true to what the
// vendor says about the key and the product, and binds an issuer to this
// controller's ledger. It only reads at the vendor; it must not touch requests,
// orders or purchases.
package issuer
