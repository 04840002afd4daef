// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package regfish is a client of the regfish HTTP API: TLS certificates and
// the DNS records that validate them (https://regfish.com/docs/reference).
//
// It owns the transport, the envelope, the decoding and the classification of
// what went wrong. It must not retry, follow a redirect, cache, log, decide
// whether to spend or read a clock for a decision: its callers do. Exactly one
// method, Client.Order, can cost money.
//
// The API key leaves this package in one header of one host and in no other
// form. Text that comes from the vendor is bounded and stripped of control
// characters before it becomes part of an error; text in the returned objects
// is handed over as it came, and Sanitise is there for whoever shows it.
package regfish
