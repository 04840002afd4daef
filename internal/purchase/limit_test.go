// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

func TestSpendStopsAtTheLimit(t *testing.T) {
	cr := shopWWW(t)
	unplaced := record(t, 1, attempted(v1alpha1.OutcomeNotSent, days(2)))
	unplaced.Spec.Request = cr.Spec.Request
	for name, ledgered := range map[string][]client.Object{"a new purchase": nil, "another attempt": {&unplaced}} {
		w := newWorld(t, append([]client.Object{readyIssuer(1), cr.DeepCopy()}, ledgered...)...)
		// The last slot goes to another process while the account is listed.
		w.vendor.listing = once(func() {
			var issuer v1alpha1.RegfishClusterIssuer
			if err := w.api.Get(t.Context(), client.ObjectKey{Name: theIssuer.Name}, &issuer); err != nil {
				t.Error(err)
			}
			issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Count: 1, Window: []v1alpha1.PurchaseBucket{used(0, "blog", 1)}}
			if err := w.api.Status().Update(t.Context(), &issuer); err != nil {
				t.Error(err)
			}
		})
		d := w.spend(w.spender("one", none), cr)
		want := verdict{Step: StepQueue, Purchase: int32(len(ledgered)), Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: 25 * time.Hour}
		if diff := cmp.Diff(want, verdictOf(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := w.purchases(); len(got) != len(ledgered) || w.vendor.sent() != 0 || w.slots() != 1 {
			t.Errorf("%s: %v, %d orders, %d slots", name, describe(got), w.vendor.sent(), w.slots())
		}
	}
}

// Other processes write the issuer's status too.
func TestSpendTakesASlotThroughConflicts(t *testing.T) {
	for conflicts, sent := range map[int]int{0: 1, 4: 1, 5: 0} {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		left := conflicts
		s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if !isPurchase(o) && left > 0 {
				left--
				return conflict(o)
			}
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		}})
		_, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
		if (err != nil) != (sent == 0) || w.vendor.sent() != sent || len(w.purchases()) != sent || int(w.slots()) != sent {
			t.Errorf("after %d conflicts: error %v, %d orders, %v, %d slots", conflicts, err, w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// A slot that is given back is the one that was taken, and no other namespace's; it is given
// back although others change the issuer all the while.
func TestGiveBack(t *testing.T) {
	issuer := readyIssuer(50)
	issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Count: 5, Window: []v1alpha1.PurchaseBucket{used(1, "shop", 2), used(0, "blog", 3)}}
	w := newWorld(t, issuer, shopWWW(t))
	w.vendor.listing = once(func() { p := record(t, 1, placed("C1", 0)); w.create(&p) })
	writes, conflicts := 0, 12
	s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		if writes++; writes > 1 && writes <= 1+conflicts {
			return conflict(o)
		}
		return c.SubResource(sub).Patch(ctx, o, patch, opts...)
	}})
	if _, _, err := s.Spend(t.Context(), client.ObjectKey{Namespace: namespace, Name: "www-1"}, "r1"); !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if writes != 2+conflicts {
		t.Errorf("the slot was taken and given back with %d writes, %d of them in vain", writes, conflicts)
	}
	var got v1alpha1.RegfishClusterIssuer
	if err := w.api.Get(t.Context(), client.ObjectKey{Name: theIssuer.Name}, &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int32{}
	for _, b := range got.Status.Purchases.Window {
		counts[b.Namespace+" "+b.Hour.UTC().Format("15")] += b.Count
	}
	if diff := cmp.Diff(map[string]int32{"shop 11": 2, "shop 12": 0, "blog 12": 3}, counts); diff != "" || got.Status.Purchases.Count != 5 {
		t.Errorf("count %d (-want +got):\n%s", got.Status.Purchases.Count, diff)
	}
}
