// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"flag"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

var days = flag.Int("days", 2, "`number` of days of churn")

// TestChurn: orders come, are issued and go, a twentieth of them every day, and keys are
// rotated. What is remembered of them goes with them. `make bench` lets 30 days pass, and
// looks at the heap, which means nothing beside the race detector.
func TestChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, share = 1000, 20
		v := newVendor(n)
		accounts := NewAccounts(DefaultLimits)
		c := accounts.Client(v)
		l := follows(t, c)
		for i := range n {
			l.follow(orderID(i), time.Duration(i)*24*time.Hour/share)
		}
		first, next := 0, n
		var heap, goroutines []float64
		for day := range *days {
			for range n / share {
				old, id := orderID(first), orderID(next)
				first, next = first+1, next+1
				v.set(old, regfish.StatusIssued)
				v.add(id)
				l.follow(id, 0)
				pass(24 * time.Hour / (n / share))
				if got := l.shows(old); got != regfish.StatusIssued {
					t.Fatalf("day %d: order %s shows %q", day, old, got)
				}
				l.forget(old)
				v.forget(old)
			}
			other := newVendor(1)
			other.fingerprint = "key-" + strconv.Itoa(day)
			if _, err := accounts.Client(other).Certificate(t.Context(), orderID(0)); err != nil {
				t.Error(err)
			}
			v.forgetCalls()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap, goroutines = append(heap, float64(m.HeapAlloc)), append(goroutines, float64(runtime.NumGoroutine()))
		}
		if len(l.orders) != n || len(accounts.all) > 3 {
			t.Errorf("%d orders and %d accounts are remembered, and there are %d", len(l.orders), len(accounts.all), n)
		}
		last := len(heap) - 1
		if goroutines[last] != goroutines[0] {
			t.Errorf("%v goroutines after the first day, %v after the last", goroutines[0], goroutines[last])
		}
		if *days < 30 {
			return
		}
		figure(t, "goroutines-added-in-30-days-of-churn", goroutines[last]-goroutines[0], 0)
		// What the first days leave behind is not churn: caches of the runtime and of fmt.
		figure(t, "heap-drift-in-30-days-of-churn", 100*(heap[last]/heap[4]-1), 1)
	})
}

// forget ends what follow began.
func (l *ledger) forget(id string) {
	l.Forget(nameOf(id))
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.shown, nameOf(id))
	delete(l.told, nameOf(id))
}

// forget takes an order out of the account.
func (v *vendor) forget(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.status, id)
	v.ids = slices.DeleteFunc(v.ids, func(other string) bool { return other == id })
}

// forgetCalls forgets what was called so far.
func (v *vendor) forgetCalls() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = nil
}
