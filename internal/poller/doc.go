// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package poller stands between the controllers and regfish. An Account, one for each
// endpoint and API key, decides when a call may be made: a token bucket in which
// purchases come before polls, what regfish asks for with Retry-After, and a circuit
// breaker. A Poller reads the orders that are under way, one by one or with one list
// for all, and wakes a purchase only if what regfish says differs from its status. All
// of this lives in memory: after a restart it begins anew, with an empty bucket.
//
// It must not buy by itself, must not write to Kubernetes, and must not take the absence
// of an order from a list for anything but a reason to read that order by its id.
package poller
