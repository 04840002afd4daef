// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command sabotage tests the simulation: it breaks the controller in named ways, one at
// a time, and each has to be noticed by the schedules that are named beside it. A
// simulation that notices nothing shows nothing.
//
// A sabotage is a change of the source that exists for one build only, by way of
// "go test -overlay". The controller has no switches for it. Text that is not found any
// more fails loudly: the sabotage has to follow the code.
package main
