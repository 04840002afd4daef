// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package simulation runs the controllers of two processes through schedules that no
// real cluster can be made to follow, and holds what the vendor sold against what was
// asked for. It is nothing but tests.
//
// The reconcilers, the spender, the resolver and the vendor's client are the real ones,
// with the watches that they register. The API server is a store in memory, the vendor
// is the simulator behind an in-memory network, and time is that of a testing/synctest
// bubble. Every call to the API server and to the vendor is a step: between two steps
// exactly one process goes on, and which one, and what goes wrong, follows from the seed
// alone. A seed that fails is played again by its number:
//
//	go test ./internal/simulation -run TestReplay -seed=N -v
//
// The oracle looks at the vendor's ledger and at the end state, never at what the
// controllers say of themselves. It is tested, too: hack/sabotage breaks the controllers
// in named ways, and each has to be noticed.
package simulation
