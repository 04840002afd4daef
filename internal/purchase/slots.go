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

// Slots is the use of a purchase limit at one moment.
type Slots struct {
	Limit int32
	Used  int32
	// Next is when a slot gets free; zero while one is free or none ever will be.
	Next time.Time
	// Leaving is when what is used leaves the window, oldest first.
	Leaving []Leaving
	// Window is the length of the window.
	Window time.Duration
}

// Leaving is a number of slots that get free at one time.
type Leaving struct {
	Time  time.Time
	Count int32
}

// Free reports whether a purchase may be begun.
func (s Slots) Free() bool { return s.Used < s.Limit }

// At is about when the slot after ahead others is free; zero if it never will be. Those
// that come first take theirs as soon as they can, and leave after a window of their
// own.
func (s Slots) At(ahead int32, now time.Time) time.Time {
	if s.Limit <= 0 {
		return time.Time{}
	}
	windows := ahead / s.Limit
	over := s.Used + ahead%s.Limit - s.Limit + 1
	at := now
	for _, l := range s.Leaving {
		if over <= 0 {
			break
		}
		at = l.Time
		over -= l.Count
	}
	return at.Add(time.Duration(windows) * s.Window)
}

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
	buckets := make([]v1alpha1.PurchaseBucket, 0, len(counts))
	for k, n := range counts {
		buckets = append(buckets, v1alpha1.PurchaseBucket{Hour: metav1.NewTime(k.hour), Namespace: k.namespace, Count: n})
	}
	slices.SortFunc(buckets, func(a, b v1alpha1.PurchaseBucket) int {
		if c := a.Hour.Compare(b.Hour.Time); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Namespace}, []string{b.Namespace})
	})
	return slotsOf(limit, window, buckets), buckets
}

// slotsOf is the use of a limit by what was begun in the buckets.
func slotsOf(limit int32, window time.Duration, buckets []v1alpha1.PurchaseBucket) Slots {
	s := Slots{Limit: limit, Window: window}
	for _, b := range buckets {
		s.Used += b.Count
		s.Leaving = append(s.Leaving, Leaving{b.Hour.Add(window + time.Hour), b.Count})
	}
	if !s.Free() && limit > 0 {
		s.Next = s.At(0, time.Time{})
	}
	return s
}

// slotsIn is the use of what one namespace may take of an issuer's limit; nil if it may
// take it all.
func slotsIn(issuer v1alpha1.Issuer, buckets []v1alpha1.PurchaseBucket, namespace string) *Slots {
	limit := issuer.GetSpec().PurchaseLimit.CountPerNamespace
	if limit == nil {
		return nil
	}
	_, window := limitOf(issuer)
	s := slotsOf(*limit, window, slices.DeleteFunc(slices.Clone(buckets), func(b v1alpha1.PurchaseBucket) bool { return b.Namespace != namespace }))
	return &s
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

// UsageOf is the status field for the given use, with queued orders that wait for it.
func UsageOf(s Slots, buckets []v1alpha1.PurchaseBucket, queued int32) *v1alpha1.IssuerPurchases {
	u := &v1alpha1.IssuerPurchases{Window: buckets, Queued: queued}
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
