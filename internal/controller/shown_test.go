// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

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
