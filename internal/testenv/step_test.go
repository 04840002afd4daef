// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// Fatalf ends the goroutine, as that of testing.T does.
func (f *failures) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failing runs a test's code in a goroutine that Fatalf can end, and returns how it failed.
func failing(t *testing.T, code func(testing.TB)) string {
	found := &failures{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		code(found)
	}()
	<-done
	return strings.Join(found.texts, "\n")
}

func TestEventuallyTellsTheLastError(t *testing.T) {
	calls := 0
	got := failing(t, func(tb testing.TB) {
		testenv.Eventually(tb, 100*time.Millisecond, func() error {
			calls++
			return errors.New("still waiting")
		})
	})
	if want := "not within 100ms: still waiting"; got != want || calls == 0 {
		t.Errorf("got %q after %d calls, want %q", got, calls, want)
	}
}

func TestEventuallyEndsWithTheFirstSuccess(t *testing.T) {
	calls := 0
	got := failing(t, func(tb testing.TB) {
		testenv.Eventually(tb, patience, func() error {
			if calls++; calls < 3 {
				return errors.New("still waiting")
			}
			return nil
		})
	})
	if got != "" || calls != 3 {
		t.Errorf("got %q after %d calls, want success at the third", got, calls)
	}
}

func TestReconcileRunsOnceForTheObject(t *testing.T) {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "object"}}
	var seen []string
	outcome := errors.New("no such thing")
	r := reconcile.Func(func(_ context.Context, request reconcile.Request) (reconcile.Result, error) {
		seen = append(seen, request.String())
		return reconcile.Result{RequeueAfter: time.Minute}, outcome
	})

	if got := failing(t, func(tb testing.TB) { testenv.Reconcile(tb, r, object) }); got != "reconcile ns/object: no such thing" {
		t.Errorf("Reconcile with an error: got %q", got)
	}
	if err := testenv.ReconcileErr(t, r, object); !errors.Is(err, outcome) {
		t.Errorf("ReconcileErr: got %v, want %v", err, outcome)
	}
	outcome = nil
	if result := testenv.Reconcile(t, r, object); result.RequeueAfter != time.Minute {
		t.Errorf("Reconcile: got %+v, want the reconciler's own result", result)
	}
	if got := failing(t, func(tb testing.TB) { _ = testenv.ReconcileErr(tb, r, object) }); got != "reconcile ns/object: no error" {
		t.Errorf("ReconcileErr without an error: got %q", got)
	}
	if got, want := fmt.Sprint(seen), "[ns/object ns/object ns/object ns/object]"; got != want {
		t.Errorf("reconciled %s, want %s", got, want)
	}
}
