// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package operator puts the controller together: the cache, the leader election,
// the spender and the four reconcilers, and the order in which they stop. The
// binary and the tests run the same. It must not decide anything about issuers,
// requests, orders or purchases.
package operator
