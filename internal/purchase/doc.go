// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package purchase decides what an approved request gets, and buys it.
//
// The deciding half is pure: Plan takes facts and returns a decision, Observe
// takes what the vendor says and returns a status; neither reads a clock or an
// API. The buying half is the Spender, the only code in this program that calls
// a paying endpoint. It writes what it is about to do before it does it, sends
// one order, and records how that ended, so that a crash, a lost reply or a
// second controller never leads to a second order.
//
// The package must not know reconcilers, events or queues.
package purchase
