// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package request answers CertificateRequests that name an issuer of our group:
// it waits for approval, refuses what cannot be issued, has one RegfishOrder for
// each request and repeats on the request what the order says. It never buys
// anything and never talks to the vendor.
package request
