// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command kill runs two replicas of the real controller program on a real API server,
// and kills them (SIGKILL) or stops them past their lease (SIGSTOP, SIGCONT), most often
// while an order is being sent, hundreds of times. Meanwhile requests come, come again
// with the same key or for the same names, and the simulator loses answers and shows
// orders late. In the end everything has to come to rest, and the vendor's ledger says
// whether something was bought twice or lost.
//
// What a round does follows from -seed and the round's number; what the processes make of
// it does not, because they are real. The times of the controller are short (a lease of
// 3 s), and what the simulator does stays inside them: a delay here is one that the
// design promises to survive.
//
// It must not look into the controllers: it sees what the API server and the vendor have.
package main
