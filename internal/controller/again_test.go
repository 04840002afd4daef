// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/internal/controller"
)

// A cache that was a minute behind had an order decide again four times a second, and ask
// regfish for its list each time.
func TestPatient(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "regfishorders"}, "www-1", errors.New("modified"))
	req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "www-1"}}
	other := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "api-1"}}
	var answer error
	r := controller.Patient(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) { return controller.Again(answer) }))

	pause := func(t *testing.T, req reconcile.Request) time.Duration {
		t.Helper()
		result, err := r.Reconcile(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}

	answer = conflict
	calls, passed := 0, time.Duration(0)
	for last := time.Duration(0); passed < 10*time.Minute; calls++ {
		p := pause(t, req)
		if p < last || p > time.Minute {
			t.Fatalf("the pause is %s after %s", p, last)
		}
		last, passed = p, passed+p
	}
	if calls > 20 {
		t.Errorf("%d calls in %s", calls, passed)
	}
	first := pause(t, other)
	if first != 250*time.Millisecond {
		t.Errorf("another object waits %s", first)
	}

	answer = nil
	if p := pause(t, req); p != 0 {
		t.Errorf("what was done is done again after %s", p)
	}
	answer = conflict
	if p := pause(t, req); p != first {
		t.Errorf("after a success the first pause is %s and not %s", p, first)
	}
	answer = errors.New("the API server is away")
	if _, err := r.Reconcile(t.Context(), req); err == nil {
		t.Error("an error is lost")
	}
}
