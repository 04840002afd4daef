// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// Defaults of the purchase limit, for objects that the API server did not
// default.
const (
	defaultLimit  = 50
	defaultWindow = 24 * time.Hour
)

// Slots is the use of an issuer's purchase limit at one moment.
type Slots struct {
	Limit int32
	Used  int32
	// Next is when a slot gets free; zero while one is free or none ever will be.
	Next time.Time
}

// Free reports whether a purchase may be begun.
func (s Slots) Free() bool { return s.Used < s.Limit }

type bucket struct {
	hour      time.Time
	namespace string
}

// SlotsOf counts what an issuer has begun in the present window. It takes the
// larger of what the issuer's status and what the ledger says, hour by hour and
// namespace by namespace: a restored or re-created issuer has forgotten its
// status, and a restored ledger has forgotten purchases. ledger are purchases of
// that issuer.
func SlotsOf(issuer v1alpha1.Issuer, ledger []v1alpha1.RegfishPurchase, now time.Time) (Slots, []v1alpha1.PurchaseBucket) {
	limit, window := limitOf(issuer)
	begin := now.Add(-window).Truncate(time.Hour)
	counts := map[bucket]int32{}
	for i := range ledger {
		if ledger[i].Spec.IssuerRef != issuer.Ref() {
			continue
		}
		for _, a := range ledger[i].Spec.Attempts {
			if hour := a.Time.UTC().Truncate(time.Hour); !hour.Before(begin) {
				counts[bucket{hour, ledger[i].Spec.Beneficiary.Namespace}]++
			}
		}
	}
	if s := issuer.GetStatus().Purchases; s != nil {
		for _, b := range s.Window {
			if hour := b.Hour.UTC(); !hour.Before(begin) {
				k := bucket{hour, b.Namespace}
				counts[k] = max(counts[k], b.Count)
			}
		}
	}
	slots := Slots{Limit: limit}
	buckets := make([]v1alpha1.PurchaseBucket, 0, len(counts))
	for k, n := range counts {
		slots.Used += n
		buckets = append(buckets, v1alpha1.PurchaseBucket{Hour: metav1.NewTime(k.hour), Namespace: k.namespace, Count: n})
	}
	slices.SortFunc(buckets, func(a, b v1alpha1.PurchaseBucket) int {
		if c := a.Hour.Compare(b.Hour.Time); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Namespace}, []string{b.Namespace})
	})
	if !slots.Free() && limit > 0 {
		// The slot gets free when enough of the oldest hours have left the window.
		over := slots.Used - limit + 1
		for _, b := range buckets {
			if over -= b.Count; over <= 0 {
				slots.Next = b.Hour.Add(window + time.Hour)
				break
			}
		}
	}
	return slots, buckets
}

// take adds one purchase to the buckets.
func take(buckets []v1alpha1.PurchaseBucket, namespace string, now time.Time) []v1alpha1.PurchaseBucket {
	hour := now.UTC().Truncate(time.Hour)
	for i := range buckets {
		if buckets[i].Hour.Time.Equal(hour) && buckets[i].Namespace == namespace {
			buckets[i].Count++
			return buckets
		}
	}
	return append(buckets, v1alpha1.PurchaseBucket{Hour: metav1.NewTime(hour), Namespace: namespace, Count: 1})
}

// UsageOf is the status field for the given use.
func UsageOf(s Slots, buckets []v1alpha1.PurchaseBucket) *v1alpha1.IssuerPurchases {
	u := &v1alpha1.IssuerPurchases{Window: buckets}
	for _, b := range buckets {
		u.Count += b.Count
	}
	if u.Count >= s.Limit && !s.Next.IsZero() {
		t := metav1.NewTime(s.Next)
		u.NextSlotTime = &t
	}
	return u
}

func limitOf(issuer v1alpha1.Issuer) (int32, time.Duration) {
	l := issuer.GetSpec().PurchaseLimit
	limit, window := int32(defaultLimit), defaultWindow
	if l.Count != nil {
		limit = *l.Count
	}
	if l.Window != nil {
		window = l.Window.Duration
	}
	return limit, window
}
