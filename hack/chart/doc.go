// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command chart writes what the Helm chart takes from elsewhere: the CRDs and the
// controller's rules, which are generated from the code, and the table of values in
// its README, which comes from the comments in values.yaml.
//
// The tests beside it hold the chart to what it promises. They run Helm itself, on
// a real API server. Templates are written by hand; nothing here may write one.
package main
