// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// Ahead is how many orders take a slot of the purchase limit before the one that is
// decided on: of all, and of those of its namespace.
type Ahead struct {
	All, InNamespace int32
}

// Queued reports whether the order waits for a slot of the purchase limit.
func Queued(o *v1alpha1.RegfishOrder) bool { return queues(placedReason(o)) }

// InLine reports whether the order keeps its place in the queue for a slot: it waits for
// one, or for its issuer, which is not Ready for a moment after every edit. Whoever looked
// first after that would get what others have waited for.
func InLine(o *v1alpha1.RegfishOrder) bool { return lines(placedReason(o)) }

func placedReason(o *v1alpha1.RegfishOrder) string {
	if o.Status.State == v1alpha1.StateFailed {
		return "" // what it waited for last still stands there
	}
	if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionPlaced); c != nil && c.Status == metav1.ConditionFalse {
		return c.Reason
	}
	return ""
}

// queues reports whether the reason of Placed is a wait for the purchase limit, and lines
// whether it keeps a place in the queue.
func queues(reason string) bool {
	switch reason {
	case v1alpha1.ReasonPurchaseLimitReached, v1alpha1.ReasonSlotAfterExpiry, v1alpha1.ReasonPurchasesPaused:
		return true
	}
	return false
}

func lines(reason string) bool { return queues(reason) || reason == v1alpha1.ReasonIssuerNotReady }

// AheadOf counts the orders of queue that get a slot before o: renewals first, the one
// whose certificate expires first before the others, then those that were asked for
// first. An order whose namespace has no slot left is in nobody's way. The queue is
// what a cache shows: a mistake in it costs a place, never a purchase, since a slot is
// reserved at the API server.
func AheadOf(o *v1alpha1.RegfishOrder, queue []v1alpha1.RegfishOrder, issuer v1alpha1.Issuer, now time.Time) Ahead {
	count := map[string]int32{}
	for i := range queue {
		if before(&queue[i], o) < 0 {
			count[queue[i].Namespace]++
		}
	}
	_, buckets := SlotsOf(issuer, nil, now)
	ahead := Ahead{InNamespace: count[o.Namespace]}
	for ns, n := range count {
		if s := slotsIn(issuer, buckets, ns); s != nil {
			n = min(n, max(0, s.Limit-s.Used))
		}
		ahead.All += n
	}
	return ahead
}

// before orders a queue: the first gets the next slot.
func before(a, b *v1alpha1.RegfishOrder) int {
	x, y := a.Status.ReplacesNotAfter, b.Status.ReplacesNotAfter
	switch {
	case x != nil && y != nil && !x.Equal(y):
		return x.Compare(y.Time)
	case x != nil && y == nil:
		return -1
	case x == nil && y != nil:
		return 1
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// behind is the pause of an order that leaves free slots to those before it.
const behind = 10 * time.Second

// limit: what exceeds the purchase limit, or what one namespace may take of it, waits
// for a slot.
func limit(f Facts) (Decision, bool) {
	field, slots, ahead := "count", f.Slots, f.Ahead.All
	if n := f.InNamespace; n != nil && f.Slots.Limit > 0 && n.Used+f.Ahead.InNamespace >= n.Limit {
		field, slots, ahead = "countPerNamespace", *n, f.Ahead.InNamespace
	}
	switch {
	case slots.Limit == 0:
		return Decision{
			Step: StepQueue, Reason: v1alpha1.ReasonPurchasesPaused,
			Message: fmt.Sprintf("spec.purchaseLimit.%s of %s is 0, so nothing is bought until its owner raises it.", field, f.Want.Issuer),
		}, true
	case slots.Used+ahead < slots.Limit:
		return Decision{}, false
	}
	whose := ""
	if field != "count" {
		whose = " for namespace " + f.Want.Beneficiary.Namespace
	}
	d := Decision{
		Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: behind,
		Message: fmt.Sprintf("the purchase limit of %s%s (%d) has free slots, and they go to others first: to renewals, the nearest expiry before the others. This request goes on by itself.", f.Want.Issuer, whose, slots.Limit),
	}
	if !slots.Free() {
		d.LookAgain = max(time.Minute, slots.Next.Sub(f.Now))
		d.Message = fmt.Sprintf("the purchase limit of %s%s (%d) is reached; the next slot is free at %s, or when its owner raises spec.purchaseLimit.%s.",
			f.Want.Issuer, whose, slots.Limit, slots.Next.UTC().Format(time.RFC3339), field)
	}
	if end := f.ReplacesNotAfter; end != nil && slots.At(ahead, f.Now).After(end.Time) {
		d.Reason = v1alpha1.ReasonSlotAfterExpiry
		d.Message = fmt.Sprintf("the purchase limit of %s%s (%d) is reached, and this renewal gets its slot at about %s, after the certificate in use expires (%s): its owner has to raise spec.purchaseLimit.%s.",
			f.Want.Issuer, whose, slots.Limit, slots.At(ahead, f.Now).UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), field)
	}
	return d, true
}

// QueueSentence says on an issuer that more orders wait than one window takes; empty if
// not so many do.
func QueueSentence(s Slots, queued int32, now time.Time) string {
	if queued == 0 {
		return ""
	}
	last := s.At(queued-1, now)
	if s.Limit > 0 && !last.After(now.Add(s.Window)) {
		return ""
	}
	if s.Limit == 0 {
		return fmt.Sprintf("%d orders wait, and spec.purchaseLimit.count is 0.", queued)
	}
	return fmt.Sprintf("%d orders wait for the purchase limit (%d in %s), and the last of them gets its slot at about %s: raise spec.purchaseLimit.count to place them sooner.",
		queued, s.Limit, s.Window, last.UTC().Format(time.DateOnly))
}
