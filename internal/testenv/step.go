// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const pollInterval = 25 * time.Millisecond

// Reconcile runs r once for obj, without a manager, a cache or a queue, and fails the test if r returns an error.
func Reconcile(t testing.TB, r reconcile.Reconciler, obj client.Object) reconcile.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), request(obj))
	if err != nil {
		t.Fatalf("reconcile %s: %v", client.ObjectKeyFromObject(obj), err)
	}
	return result
}

// ReconcileErr runs r once for obj and returns its error. It fails the test if there is none.
func ReconcileErr(t testing.TB, r reconcile.Reconciler, obj client.Object) error {
	t.Helper()
	_, err := r.Reconcile(t.Context(), request(obj))
	if err == nil {
		t.Fatalf("reconcile %s: no error", client.ObjectKeyFromObject(obj))
	}
	return err
}

func request(obj client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)}
}

// Eventually calls check until it returns nil. It fails the test with check's last error when that takes longer than
// timeout. Choose a timeout that only a broken program needs: it is no measure of speed.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %v", timeout, err)
		case <-poll.C:
		}
	}
}
