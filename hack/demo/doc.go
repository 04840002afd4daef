// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo shows what a user of the issuer sees: a Certificate becomes a
// Secret on a real control plane, with cert-manager's own controllers, the real
// controller program and a simulator in place of regfish.
//
// What it shows are real commands with their real output. Each step that matters
// is checked, and a failed check ends the demo with a line "FAIL: <check>: ...";
// hack/demo-breaks.sh relies on that line. It is no test: it must not look at
// anything that a user cannot see, but for the simulator's side of the story.
package main
