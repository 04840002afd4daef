// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// used is a bucket of the hour that began the given number of hours before noon.
func used(hoursAgo int, ns string, count int32) v1alpha1.PurchaseBucket {
	return v1alpha1.PurchaseBucket{Hour: metav1.NewTime(noon.Add(-time.Duration(hoursAgo) * time.Hour)), Namespace: ns, Count: count}
}

func TestSlotsOf(t *testing.T) {
	with := func(changes ...change) v1alpha1.RegfishPurchase { return record(t, 1, changes...) }
	for name, tt := range map[string]struct {
		reason string
		limit  int32
		window time.Duration // 0: the default
		status []v1alpha1.PurchaseBucket
		ledger []v1alpha1.RegfishPurchase
		now    time.Time // zero: noon
		used   int32
		next   time.Time
		// buckets that are kept; nil: those of the status
		buckets []v1alpha1.PurchaseBucket
	}{
		"nothing was bought": {
			reason: "all slots are free", limit: 2,
			buckets: []v1alpha1.PurchaseBucket{},
		},
		"the status is counted": {
			reason: "it is written before each order", limit: 50,
			status: []v1alpha1.PurchaseBucket{used(3, "blog", 2), used(3, "shop", 1), used(0, "shop", 4)},
			used:   7,
		},
		"the ledger is counted where the status has forgotten": {
			reason: "an issuer that is made again frees nothing", limit: 50,
			ledger:  []v1alpha1.RegfishPurchase{with(placed("C1", 90*time.Minute)), with(placed("C2", 70*time.Minute)), with(inNamespace("blog"), placed("C3", 70*time.Minute))},
			used:    3,
			buckets: []v1alpha1.PurchaseBucket{used(2, "blog", 1), used(2, "shop", 2)},
		},
		"each attempt is counted": {
			reason: "a second attempt takes a slot too, whatever came of the first", limit: 50,
			ledger: []v1alpha1.RegfishPurchase{with(attempted(v1alpha1.OutcomeRejected, 30*time.Minute), attempted("", time.Minute))},
			used:   2, buckets: []v1alpha1.PurchaseBucket{used(1, "shop", 2)},
		},
		"an import is not counted": {
			reason: "it cost nothing", limit: 50,
			ledger: []v1alpha1.RegfishPurchase{with(imported("C1"))}, buckets: []v1alpha1.PurchaseBucket{},
		},
		"the larger of both is counted": {
			reason: "each may have forgotten something, and they tell of the same purchases", limit: 50,
			status: []v1alpha1.PurchaseBucket{used(1, "shop", 3), used(1, "blog", 1)},
			ledger: []v1alpha1.RegfishPurchase{
				with(placed("C1", 30*time.Minute)), with(inNamespace("blog"), placed("C2", 30*time.Minute)), with(inNamespace("blog"), placed("C3", 30*time.Minute)),
			},
			used: 5, buckets: []v1alpha1.PurchaseBucket{used(1, "blog", 2), used(1, "shop", 3)},
		},
		"the purchases of other issuers are not counted": {
			reason: "the limit is the issuer's, and kinds and namespaces tell issuers of one name apart", limit: 50,
			ledger: []v1alpha1.RegfishPurchase{
				with(withIssuer("other"), placed("C1", time.Minute)),
				with(func(p *v1alpha1.RegfishPurchase) {
					p.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: v1alpha1.KindIssuer, Namespace: "shop", Name: "regfish"}
				}, placed("C2", time.Minute)),
			},
			buckets: []v1alpha1.PurchaseBucket{},
		},
		"an hour leaves the window when its end is a window ago": {
			reason: "a purchase at the end of the hour is exactly that old then", limit: 50, now: noon.Add(time.Hour),
			status: []v1alpha1.PurchaseBucket{used(24, "shop", 5), used(23, "shop", 1)},
			used:   1, buckets: []v1alpha1.PurchaseBucket{used(23, "shop", 1)},
		},
		"an hour stays until then": {
			reason: "a purchase at the end of the hour is a second younger", limit: 50, now: noon.Add(time.Hour - time.Second),
			status: []v1alpha1.PurchaseBucket{used(24, "shop", 5), used(23, "shop", 1)},
			used:   6,
		},
		"the ledger's hours leave the window too": {
			reason: "both are counted by the hour", limit: 50,
			ledger:  []v1alpha1.RegfishPurchase{with(placed("C1", 24*time.Hour+time.Second)), with(placed("C2", 24*time.Hour)), with(placed("C3", 23*time.Hour))},
			used:    2,
			buckets: []v1alpha1.PurchaseBucket{used(24, "shop", 1), used(23, "shop", 1)},
		},
		"a window that is no whole number of hours": {
			reason: "an hour leaves it when its last minute has", limit: 1, window: 90 * time.Minute, now: noon.Add(29 * time.Minute),
			status: []v1alpha1.PurchaseBucket{used(2, "shop", 1)},
			used:   1, next: noon.Add(30 * time.Minute),
		},
		"a window that is no whole number of hours is over": {
			reason: "the slot is free when it was said to be", limit: 1, window: 90 * time.Minute, now: noon.Add(30 * time.Minute),
			status:  []v1alpha1.PurchaseBucket{used(2, "shop", 1)},
			buckets: []v1alpha1.PurchaseBucket{},
		},
		"the next slot is free when the oldest hour leaves": {
			reason: "one purchase too many", limit: 3,
			status: []v1alpha1.PurchaseBucket{used(20, "shop", 1), used(10, "shop", 2)},
			used:   3, next: noon.Add(5 * time.Hour),
		},
		"the next slot is free when enough hours have left": {
			reason: "the owner lowered the limit, or the ledger knew more than the status", limit: 2,
			status: []v1alpha1.PurchaseBucket{used(20, "blog", 1), used(20, "shop", 1), used(10, "shop", 2), used(1, "shop", 1)},
			used:   5, next: noon.Add(15 * time.Hour),
		},
		"the next slot is free when one more than what exceeds the limit has left": {
			reason: "exactly as many as the limit leave no slot", limit: 1,
			status: []v1alpha1.PurchaseBucket{used(20, "shop", 2), used(10, "shop", 1)},
			used:   3, next: noon.Add(15 * time.Hour),
		},
		"a limit of none has no next slot": {
			reason: "no slot ever gets free", limit: 0,
			status: []v1alpha1.PurchaseBucket{used(1, "shop", 1)}, used: 1,
		},
		"an hour that has not come is counted": {
			reason: "a clock that was set back must not free slots", limit: 1,
			status: []v1alpha1.PurchaseBucket{used(-3, "shop", 1)}, used: 1, next: noon.Add(28 * time.Hour),
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := readyIssuer(tt.limit)
			if tt.window > 0 {
				issuer.Spec.PurchaseLimit.Window = &metav1.Duration{Duration: tt.window}
			}
			if tt.status != nil {
				issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Window: tt.status}
			}
			if tt.now.IsZero() {
				tt.now = noon
			}
			if tt.buckets == nil {
				tt.buckets = tt.status
			}
			slots, buckets := SlotsOf(issuer, tt.ledger, tt.now)
			if diff := cmp.Diff(Slots{Limit: tt.limit, Used: tt.used, Next: tt.next}, slots, cmpopts.IgnoreFields(Slots{}, "Leaving", "Window")); diff != "" {
				t.Errorf("%s: slots (-want +got):\n%s", tt.reason, diff)
			}
			if diff := cmp.Diff(tt.buckets, buckets); diff != "" {
				t.Errorf("%s: buckets (-want +got):\n%s", tt.reason, diff)
			}
			if slots.Free() != (tt.used < tt.limit) {
				t.Errorf("%d of %d are used, and free is %v", tt.used, tt.limit, slots.Free())
			}
			if !slots.Next.IsZero() {
				// What was said about the next slot comes true.
				before, _ := SlotsOf(issuer, tt.ledger, slots.Next.Add(-time.Second))
				then, _ := SlotsOf(issuer, tt.ledger, slots.Next)
				if before.Free() || !then.Free() {
					t.Errorf("the next slot is said to be free at %s: free is %v a second before and %v then", slots.Next, before.Free(), then.Free())
				}
			}
		})
	}
}

func TestSlotsOfAnIssuerWithoutDefaults(t *testing.T) {
	issuer := &v1alpha1.RegfishClusterIssuer{}
	issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Window: []v1alpha1.PurchaseBucket{used(24, "shop", 50)}}
	slots, _ := SlotsOf(issuer, nil, noon)
	if diff := cmp.Diff(Slots{Limit: 50, Used: 50, Next: noon.Add(time.Hour)}, slots, cmpopts.IgnoreFields(Slots{}, "Leaving", "Window")); diff != "" {
		t.Errorf("an issuer that the API server did not default has 50 slots in 24 hours (-want +got):\n%s", diff)
	}
}

func TestTake(t *testing.T) {
	buckets := []v1alpha1.PurchaseBucket{used(1, "shop", 2), used(0, "blog", 1)}
	buckets = take(buckets, "shop", noon.Add(59*time.Minute))
	buckets = take(buckets, "shop", noon)
	buckets = take(buckets, "blog", noon.Add(time.Minute))
	want := []v1alpha1.PurchaseBucket{used(1, "shop", 2), used(0, "blog", 2), used(0, "shop", 2)}
	if diff := cmp.Diff(want, buckets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUsageOf(t *testing.T) {
	next := noon.Add(time.Hour)
	window := []v1alpha1.PurchaseBucket{used(2, "blog", 1), used(1, "shop", 2)}
	for name, tt := range map[string]struct {
		slots Slots
		want  v1alpha1.IssuerPurchases
	}{
		"with free slots nothing is said about the next":     {Slots{Limit: 4, Used: 3}, v1alpha1.IssuerPurchases{Count: 3, Window: window}},
		"with none free the next one is named":               {Slots{Limit: 3, Used: 3, Next: next}, v1alpha1.IssuerPurchases{Count: 3, Window: window, NextSlotTime: at(next)}},
		"where purchases are stopped there is no next one":   {Slots{Limit: 0, Used: 3}, v1alpha1.IssuerPurchases{Count: 3, Window: window}},
		"a slot that was free a moment ago is not named yet": {Slots{Limit: 4, Used: 4, Next: next}, v1alpha1.IssuerPurchases{Count: 3, Window: window}},
	} {
		if diff := cmp.Diff(&tt.want, UsageOf(tt.slots, window, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
