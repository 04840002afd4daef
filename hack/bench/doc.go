// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what thousands of orders cost, writes the figures to
// bin/bench.json, and fails if one of them misses its bar in thresholds.json. A row is
// simulated (virtual time, an account in memory) or real.
//
// A test tells a figure with t.Attr("bench."+name, value). What is measured on a machine
// has no place in `make test`; what is counted has, and is asserted there too.
package main
