// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command gotest runs "go test" with the arguments it is given and fails where
// go test is content: when a test was skipped, and when a package with test
// files ran none. A suite that quietly stops testing looks exactly like one
// that passes.
//
// It prints one line for each package, everything that a failed or skipped test
// wrote, and a summary. It decides nothing else: which packages, which flags and
// where the Kubernetes binaries are is the caller's business.
package main
