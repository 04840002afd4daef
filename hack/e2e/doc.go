// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command e2e installs the packaged chart into a real cluster, where namespaces enforce
// restricted Pod Security, with an image built from this tree, and works with it as users
// do: certificates are issued, the leader's pod is deleted and its process killed while
// an order is being sent, the release is upgraded with orders in flight. A simulator in a
// pod stands in for regfish, and its ledger says what was bought.
//
// It takes the cluster from E2E_KUBECONFIG. cert-manager's own controllers run in this
// process, unless the cluster has them. It prints every step, and writes what it saw to
// e2e.json and e2e.md in the folder -out. What it made, it takes away.
//
// It must not look into the controller: what counts is what a user, an operator or the
// vendor can see.
package main
