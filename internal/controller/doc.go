// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package controller holds what the controllers below it share: the indexes of
// the cache, by which one object's event finds the others that wait for it, and the
// answer to a write that another writer got in the way of. It must not decide
// anything else.
package controller
