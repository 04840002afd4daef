// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package testenv runs tests against real parts: etcd, kube-apiserver, kube-controller-manager and cert-manager's own
// controllers. It also holds what such tests share: builders for cert-manager's objects, reconciling one step at a time,
// a client that crashes at a chosen write, and the invariants that every condition must keep.
//
// A package of tests starts its control plane once:
//
//	func TestMain(m *testing.M) { testenv.Main(m, testenv.Options{ControllerManager: true}) }
//
// and each test takes its own namespace from it:
//
//	env := testenv.New(t)
//
// The package must be imported by tests and by the demo only. It must not import the API or the controllers of this
// module: their own tests import it, and the invariants have to hold for any object, whatever Go type it has.
package testenv
