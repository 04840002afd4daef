// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package order works on RegfishOrders: it gathers the facts, has
// purchase.Plan decide, takes the one step that was decided (has the spender
// buy, keeps a plan for a person, hands a verified certificate to the request) and
// shows all of it in the order's status. It never calls a paying endpoint itself,
// and it takes nothing that matters from the order: a forged order has no power.
package order
