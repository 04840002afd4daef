// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package metrics has every metric that the controller exposes beside those of
// controller-runtime, and writes docs/metrics.md. What happens is counted where it
// happens; what stands is counted when somebody asks, from the cache. A label never tells
// a request, an order, a certificate or a domain apart: there would be one series for
// each. It must not read from the API server.
package metrics
