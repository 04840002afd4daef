// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// waits is an order that was made minutesAgo and waits for the purchase limit; a
// renewal if expiry is not zero.
func waitsInQueue(ns, name string, minutesAgo int, expiry time.Time) v1alpha1.RegfishOrder {
	o := v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-time.Duration(minutesAgo) * time.Minute))}}
	if !expiry.IsZero() {
		o.Status.ReplacesNotAfter = at(expiry)
	}
	return o
}

func TestAheadOf(t *testing.T) {
	soon, later := noon.Add(days(3)), noon.Add(days(30))
	for name, tt := range map[string]struct {
		reason       string
		me           v1alpha1.RegfishOrder
		queue        []v1alpha1.RegfishOrder
		perNamespace *int32
		used         []v1alpha1.PurchaseBucket
		want         Ahead
	}{
		"nobody waits": {
			reason: "then there is nobody to leave a slot to",
			me:     waitsInQueue("shop", "me", 0, time.Time{}),
		},
		"a renewal goes before what was asked for earlier": {
			reason: "the one has no certificate yet, the other is about to lose its",
			me:     waitsInQueue("shop", "me", 90, time.Time{}),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("blog", "renewal", 1, later)},
			want:   Ahead{All: 1},
		},
		"a renewal does not wait for first certificates": {
			reason: "however long they have waited",
			me:     waitsInQueue("shop", "me", 0, later),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("blog", "first", 90, time.Time{})},
		},
		"of two renewals the one that expires first": {
			reason: "it is the one that becomes an outage",
			me:     waitsInQueue("shop", "me", 90, later),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("blog", "urgent", 1, soon)},
			want:   Ahead{All: 1},
		},
		"among equals who asked first": {
			reason: "nobody waits for ever",
			me:     waitsInQueue("shop", "me", 5, time.Time{}),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("blog", "earlier", 6, time.Time{}), waitsInQueue("blog", "later", 4, time.Time{})},
			want:   Ahead{All: 1},
		},
		"an order is not before itself": {
			reason: "it would leave its slot to itself for ever",
			me:     waitsInQueue("shop", "me", 5, soon),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("shop", "me", 5, soon)},
		},
		"those of its namespace are counted too": {
			reason: "they share what the namespace may take",
			me:     waitsInQueue("shop", "me", 0, time.Time{}),
			queue:  []v1alpha1.RegfishOrder{waitsInQueue("shop", "a", 2, time.Time{}), waitsInQueue("blog", "b", 1, time.Time{})},
			want:   Ahead{All: 2, InNamespace: 1},
		},
		"a namespace that has used up its part is in nobody's way": {
			reason: "its orders could not take the slots that they would keep free", perNamespace: ptr.To[int32](2),
			me:    waitsInQueue("shop", "me", 0, time.Time{}),
			used:  []v1alpha1.PurchaseBucket{used(1, "blog", 1)},
			queue: []v1alpha1.RegfishOrder{waitsInQueue("blog", "a", 3, time.Time{}), waitsInQueue("blog", "b", 2, time.Time{}), waitsInQueue("blog", "c", 1, time.Time{})},
			want:  Ahead{All: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := readyIssuer(50)
			issuer.Spec.PurchaseLimit.CountPerNamespace = tt.perNamespace
			issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Window: tt.used}
			if diff := cmp.Diff(tt.want, AheadOf(&tt.me, tt.queue, issuer, noon)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

// An order that waits for its issuer keeps its place: every edit of an issuer makes it
// not Ready for a moment.
func TestInLine(t *testing.T) {
	for reason, want := range map[string]struct{ queued, inLine bool }{
		v1alpha1.ReasonPurchaseLimitReached: {true, true},
		v1alpha1.ReasonSlotAfterExpiry:      {true, true},
		v1alpha1.ReasonPurchasesPaused:      {true, true},
		v1alpha1.ReasonIssuerNotReady:       {false, true},
		v1alpha1.ReasonVendorUnavailable:    {false, false},
		v1alpha1.ReasonWaitingForPurchase:   {false, false},
	} {
		f := OrderFacts{Want: wanted(t), Decision: Decision{Step: StepQueue, Reason: reason}, ReplacesNotAfter: at(noon)}
		o := v1alpha1.RegfishOrder{Status: OrderStatus(v1alpha1.OrderStatus{}, f)}
		if Queued(&o) != want.queued || InLine(&o) != want.inLine || (o.Status.ReplacesNotAfter != nil) != want.inLine {
			t.Errorf("%s: queued %v, in line %v, replaces what ends at %v", reason, Queued(&o), InLine(&o), o.Status.ReplacesNotAfter)
		}
		for name, ended := range map[string]v1alpha1.OrderStatus{"denied": Denied(o.Status), "failed": Failed(o.Status, "no.")} {
			if o.Status = ended; Queued(&o) || InLine(&o) {
				t.Errorf("an order that was %s waits with %s", name, reason)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	full := func(limit int32, in time.Duration) Slots {
		return Slots{Limit: limit, Used: limit, Next: noon.Add(in), Leaving: []Leaving{{noon.Add(in), limit}}, Window: days(1)}
	}
	for name, tt := range map[string]struct {
		reason string
		given  func(*Facts)
		want   verdict
		says   string
	}{
		"leaves free slots to those before it": {
			reason: "otherwise whoever looks first gets them",
			given:  func(f *Facts) { f.Slots, f.Ahead = Slots{Limit: 3, Used: 1}, Ahead{All: 2} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: behind}, says: "they go to others first",
		},
		"takes a slot that nobody before it needs": {
			reason: "there are enough for all of them",
			given:  func(f *Facts) { f.Slots, f.Ahead = Slots{Limit: 3}, Ahead{All: 2} },
			want:   verdict{Step: StepBuy, Reason: v1alpha1.ReasonPlacing},
		},
		"waits for its namespace": {
			reason: "the issuer has slots, and the namespace has had its part",
			given:  func(f *Facts) { f.InNamespace = ptr.To(full(2, time.Hour)) },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: time.Hour}, says: "for namespace shop (2) is reached; the next slot is free at 2026-06-01T13:00:00Z, or when its owner raises spec.purchaseLimit.countPerNamespace",
		},
		"leaves a slot of its namespace to those before it": {
			reason: "the namespace has one left, and two wait for it",
			given: func(f *Facts) {
				f.InNamespace, f.Ahead = &Slots{Limit: 3, Used: 2}, Ahead{All: 1, InNamespace: 1}
			},
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: behind}, says: "for namespace shop (3) has free slots",
		},
		"names what stops the purchases": {
			reason: "the owner has to know which field to change",
			given:  func(f *Facts) { f.InNamespace = &Slots{} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchasesPaused}, says: "spec.purchaseLimit.countPerNamespace of",
		},
		"a count of zero goes before that of namespaces": {
			reason: "raising the other would change nothing",
			given:  func(f *Facts) { f.Slots, f.InNamespace = Slots{}, &Slots{} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchasesPaused}, says: "spec.purchaseLimit.count of",
		},
		"says that a renewal comes too late": {
			reason: "somebody has to raise the limit before the certificate expires",
			given: func(f *Facts) {
				f.Slots, f.ReplacesNotAfter = full(2, 5*time.Hour), at(noon.Add(4*time.Hour))
			},
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonSlotAfterExpiry, LookAgain: 5 * time.Hour}, says: "after the certificate in use expires (2026-06-01T16:00:00Z): its owner has to raise spec.purchaseLimit.count.",
		},
		"counts those before it for that": {
			reason: "two go first, and their slots are free a window later",
			given: func(f *Facts) {
				f.Slots, f.ReplacesNotAfter, f.Ahead = full(2, 5*time.Hour), at(noon.Add(20*time.Hour)), Ahead{All: 2}
			},
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonSlotAfterExpiry, LookAgain: 5 * time.Hour}, says: "at about 2026-06-02T17:00:00Z",
		},
		"a renewal that comes in time only waits": {
			reason: "nobody has to act",
			given: func(f *Facts) {
				f.Slots, f.ReplacesNotAfter = full(2, 5*time.Hour), at(noon.Add(6*time.Hour))
			},
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: 5 * time.Hour}, says: "the next slot is free at",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation(t)
			tt.given(&f)
			d := Plan(f)
			if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" || !strings.Contains(d.Message, tt.says) {
				t.Errorf("%s (-want +got):\n%s\nit says: %s", tt.reason, diff, d.Message)
			}
		})
	}
}

func TestSlotsAt(t *testing.T) {
	s := Slots{Limit: 4, Used: 4, Window: days(1), Leaving: []Leaving{{noon.Add(time.Hour), 1}, {noon.Add(2 * time.Hour), 3}}}
	s.Next = noon.Add(time.Hour)
	free := Slots{Limit: 4, Used: 1, Window: days(1), Leaving: []Leaving{{noon.Add(time.Hour), 1}}}
	for name, tt := range map[string]struct {
		slots Slots
		ahead int32
		want  time.Time
	}{
		"the next one is free when the oldest leave":    {s, 0, noon.Add(time.Hour)},
		"the second when the next ones leave":           {s, 1, noon.Add(2 * time.Hour)},
		"what a window takes is a window later":         {s, 4, noon.Add(25 * time.Hour)},
		"and so on":                                     {s, 9, noon.Add(50 * time.Hour)},
		"one that is free now is free now":              {free, 2, noon},
		"after those that are free the next that leave": {free, 3, noon.Add(time.Hour)},
		"free ones are a window away for a long queue":  {free, 5, noon.Add(24 * time.Hour)},
		"where purchases are stopped there is none":     {Slots{}, 0, time.Time{}},
	} {
		if got := tt.slots.At(tt.ahead, noon); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestQueueSentence(t *testing.T) {
	full := Slots{Limit: 10, Used: 10, Next: noon.Add(time.Hour), Leaving: []Leaving{{noon.Add(time.Hour), 10}}, Window: days(1)}
	for name, tt := range map[string]struct {
		slots  Slots
		queued int32
		says   string
	}{
		"nobody waits":                       {full, 0, ""},
		"they are through within a window":   {full, 10, ""},
		"the last waits longer than that":    {full, 31, "31 orders wait for the purchase limit (10 in 24h0m0s), and the last of them gets its slot at about 2026-06-04"},
		"nobody gets one while it is zero":   {Slots{}, 2, "2 orders wait, and spec.purchaseLimit.count is 0."},
		"free slots are a reason to be calm": {Slots{Limit: 10, Window: days(1)}, 3, ""},
	} {
		if got := QueueSentence(tt.slots, tt.queued, noon); (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s: %q, want %q", name, got, tt.says)
		}
	}
}

// What one namespace may take is counted where the slot is reserved, whatever a cache
// shows.
func TestSpendStopsAtTheLimitOfANamespace(t *testing.T) {
	cr := shopWWW(t)
	issuer := readyIssuer(50)
	issuer.Spec.PurchaseLimit.CountPerNamespace = ptr.To[int32](2)
	w := newWorld(t, issuer, cr.DeepCopy())
	// The last slot of the namespace goes to another process while the account is
	// listed.
	w.vendor.listing = once(func() {
		var live v1alpha1.RegfishClusterIssuer
		if err := w.api.Get(t.Context(), client.ObjectKey{Name: theIssuer.Name}, &live); err != nil {
			t.Error(err)
		}
		live.Status.Purchases = &v1alpha1.IssuerPurchases{Window: []v1alpha1.PurchaseBucket{used(1, "shop", 1), used(0, "blog", 9), used(0, "shop", 1)}}
		if err := w.api.Status().Update(t.Context(), &live); err != nil {
			t.Error(err)
		}
	})
	d := w.spend(w.spender("one", none), cr)
	if d.Step != StepQueue || d.Reason != v1alpha1.ReasonPurchaseLimitReached || !strings.Contains(d.Message, "for namespace shop (2)") || w.vendor.sent() != 0 {
		t.Errorf("decided %+v, sent %d", d, w.vendor.sent())
	}
}
