// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// An order that is done wants nothing of its purchase any more. If it did, a reissue whose
// request is gone would keep the validation name from everybody else for good.
func TestPurchaseShown(t *testing.T) {
	for state, want := range map[v1alpha1.State]string{
		v1alpha1.StateValidating: "p-1", v1alpha1.StateWaiting: "p-1", v1alpha1.StateHeld: "p-1", v1alpha1.StateIssued: "", v1alpha1.StateFailed: "",
	} {
		o := &v1alpha1.RegfishOrder{Status: v1alpha1.OrderStatus{State: state, PurchaseRef: &v1alpha1.PurchaseRef{Name: "p-1"}}}
		if got := PurchaseShown(o); got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}
	if got := PurchaseShown(&v1alpha1.RegfishOrder{}); got != "" {
		t.Errorf("an order without a purchase shows %q", got)
	}
}

// An order that waits for a purchase of somebody else keeps no validation name for it: the
// order of a lost answer, whose request is gone, had the name for good, and the next order in
// the zone was never validated.
func TestWants(t *testing.T) {
	order := func(state v1alpha1.State, vendor *v1alpha1.Vendor) *v1alpha1.RegfishOrder {
		return &v1alpha1.RegfishOrder{Status: v1alpha1.OrderStatus{State: state, PurchaseRef: &v1alpha1.PurchaseRef{Name: "p-1"}, Vendor: vendor}}
	}
	waits, shows, done := order(v1alpha1.StateWaiting, nil), order(v1alpha1.StateWaiting, &v1alpha1.Vendor{}), order(v1alpha1.StateIssued, &v1alpha1.Vendor{})
	if Wants(waits) || !Wants(shows) || Wants(done) || Wants(&v1alpha1.RegfishOrder{}) {
		t.Errorf("waits %v, shows %v, done %v", Wants(waits), Wants(shows), Wants(done))
	}
	for name, tt := range map[string]struct {
		before, after *v1alpha1.RegfishOrder
		wakes         bool
	}{
		"what was waited for is shown": {waits, shows, true},
		"what was shown is done":       {shows, done, true},
		"nothing changed":              {shows, shows, false},
	} {
		if got := Shows.Update(event.UpdateEvent{ObjectOld: tt.before, ObjectNew: tt.after}); got != tt.wakes {
			t.Errorf("%s: others are woken: %v", name, got)
		}
	}
}
