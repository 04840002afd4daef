// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// An order that may not be sent now stops before its intent: nothing stands in the ledger
// that somebody would have to look for, no slot is taken, and whoever asks again is free
// to. From the intent on nothing waits for the limiter.
func TestOrderThatMayNotBeSentNowLeavesNothing(t *testing.T) {
	request := shopWWW(t)
	w := newWorld(t, readyIssuer(5), request)
	s := w.spender("one", none)
	for _, pause := range []time.Duration{2 * time.Second, time.Hour} {
		w.vendor.busy = &regfish.Error{Op: "place order", Kind: regfish.KindNotNow, Message: "not sent: regfish is given a pause", RetryAfter: pause}
		d := w.spend(s, request)
		if d.Step != StepQueue || d.Reason != v1alpha1.ReasonVendorUnavailable || d.LookAgain != pause {
			t.Errorf("decided %+v", d)
		}
		if n := len(w.purchases()); n != 0 || w.slots() != 0 || w.vendor.sent() != 0 {
			t.Errorf("%d purchases, %d slots, %d orders", n, w.slots(), w.vendor.sent())
		}
	}
	w.vendor.busy = nil
	if d := w.spend(s, request); d.Step != StepFollow {
		t.Errorf("decided %+v", d)
	}
	if p := w.only(); w.vendor.sent() != 1 || p.Spec.CertificateID == "" {
		t.Errorf("%d orders: %v", w.vendor.sent(), describe(w.purchases()))
	}
	if w.vendor.reserved != 0 {
		t.Errorf("%d reservations are left", w.vendor.reserved)
	}
}

// A stop before the intent is a stop.
func TestStopBeforeTheIntent(t *testing.T) {
	request := shopWWW(t)
	w := newWorld(t, readyIssuer(5), request)
	ctx, cancel := context.WithCancel(t.Context())
	w.vendor.listing = cancel
	if _, _, err := w.spender("one", none).Spend(ctx, client.ObjectKeyFromObject(request), request.UID); err == nil {
		t.Error("spent after a stop")
	}
	if n := len(w.purchases()); n != 0 || w.vendor.sent() != 0 {
		t.Errorf("%d purchases, %d orders", n, w.vendor.sent())
	}
}
