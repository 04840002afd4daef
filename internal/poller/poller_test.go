// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Ten thousand orders that wait for days cost next to nothing, a restart does not make
// them be asked about at once, and what changes is seen within ten minutes.
func TestTenThousandOldOrders(t *testing.T) {
	const n = 10_000
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(n)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		for i := range n {
			l.follow(orderID(i), 100*time.Hour)
		}
		begun := time.Now()
		pass(20 * time.Minute)
		early := 0
		for _, at := range v.made("") {
			if at.Sub(begun) < time.Minute {
				early++
			}
		}
		figure(t, "calls-in-the-first-minute-after-a-start", float64(early), 0)
		slowest, changed := time.Duration(0), map[string]time.Time{}
		const hours = 1
		calls, bytes := len(v.made("")), v.spent()
		for i := range hours * 12 {
			id := orderID(i * 7)
			v.set(id, "issued")
			changed[id] = time.Now()
			pass(5 * time.Minute)
		}
		calls, bytes = len(v.made(""))-calls, v.spent()-bytes
		pass(10 * time.Minute)
		for id, at := range changed {
			slowest = max(slowest, l.toldAt(id).Sub(at))
			if l.shows(id) != "issued" {
				t.Errorf("%s was not seen", id)
			}
		}
		perHour, mib := float64(calls)/hours/n, float64(bytes)/hours/(1<<20)
		figure(t, "calls-of-10000-old-orders", perHour, 0.05)
		figure(t, "bodies-of-10000-old-orders", mib, 150)
		figure(t, "change-of-an-old-order-seen-after", slowest.Seconds(), 600)
		if l.wakes() != len(changed) {
			t.Errorf("%d purchases were woken for %d changes", l.wakes(), len(changed))
		}
		within(t, v.made(""), DefaultLimits)
	})
}

// Up to thirty fresh orders are seen to change within half a minute, also beside ten
// thousand old ones, and however large the account.
func TestFreshOrders(t *testing.T) {
	for _, account := range []int{100, 10_000} {
		t.Run(fmt.Sprintf("account of %d", account), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVendor(account)
				l := follows(t, NewAccounts(DefaultLimits).Client(v))
				for i := range min(account, 10_000) - 30 {
					l.follow(orderID(i), 100*time.Hour)
				}
				pass(10 * time.Minute)
				var seen []time.Duration
				for batch := range 1 {
					begun, changed := time.Now(), map[string]time.Time{}
					for i := range 30 {
						id := fmt.Sprintf("F%d-%d", batch, i)
						v.add(id)
						l.follow(id, 0)
					}
					for i := range 30 {
						pass(17 * time.Second)
						id := fmt.Sprintf("F%d-%d", batch, i)
						v.set(id, "issued")
						changed[id] = time.Now()
					}
					pass(time.Until(begun.Add(20 * time.Minute)))
					for id, at := range changed {
						if l.shows(id) != "issued" {
							t.Fatalf("%s was not seen", id)
						}
						seen = append(seen, l.toldAt(id).Sub(at))
						l.Forget(nameOf(id))
					}
				}
				slices.Sort(seen)
				figure(t, "change-of-30-fresh-orders-seen-after-p95", seen[len(seen)*95/100].Seconds(), 30)
				within(t, v.made(""), DefaultLimits)
			})
		})
	}
}

// Of hundreds of fresh orders in a small account one list tells as much as hundreds of
// reads.
func TestManyFreshOrdersAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(0)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		for i := range 500 {
			v.add(orderID(i))
			l.follow(orderID(i), 0)
		}
		pass(2 * time.Minute)
		for i := range 500 {
			v.set(orderID(i), "issued")
		}
		begun := time.Now()
		pass(3 * time.Minute)
		var slowest time.Duration
		for i := range 500 {
			slowest = max(slowest, l.toldAt(orderID(i)).Sub(begun))
		}
		figure(t, "change-of-500-fresh-orders-seen-after", slowest.Seconds(), 60)
		if l.wakes() != 500 {
			t.Errorf("%d of 500 were seen", l.wakes())
		}
	})
}

// A list that was not sent, because others came first until it had waited for too long, is
// made as soon as another look is due: it says nothing about the account.
func TestListThatWasNotSentIsMadeSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(0)
		c := NewAccounts(DefaultLimits).Client(v)
		l := follows(t, c)
		pass(10 * time.Minute) // the budget of lists has filled
		const crowded = time.Minute
		var others sync.WaitGroup
		for range 2 * DefaultLimits.Burst {
			others.Go(func() {
				for begun := time.Now(); time.Since(begun) < crowded; {
					if _, err := c.Products(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		pass(10 * time.Second)
		for i := range 500 {
			v.add(orderID(i))
			v.set(orderID(i), "issued")
			l.follow(orderID(i), 0)
		}
		others.Wait()
		if l.wakes() != 0 {
			t.Errorf("%d were seen beside those who come first", l.wakes())
		}
		pass(DefaultEvery + DefaultEvery/6)
		if l.wakes() != 500 {
			t.Errorf("%d of 500 were seen", l.wakes())
		}
	})
}

// What a list lacks is read by its id, and only what that says counts.
func TestAbsenceFromAListProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(100)
		v.unlisted = map[string]bool{orderID(3): true, orderID(4): true}
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		for i := range 100 {
			l.follow(orderID(i), 100*time.Hour)
		}
		pass(15 * time.Minute)
		if len(v.made("list")) == 0 || l.wakes() != 0 {
			t.Fatalf("%d lists, %d woken", len(v.made("list")), l.wakes())
		}
		v.set(orderID(3), "issued")
		v.set(orderID(4), "")
		pass(12 * time.Minute)
		_, missing := v.Certificate(t.Context(), orderID(4))
		if l.shows(orderID(3)) != "issued" || l.shows(orderID(4)) != missing.Error() || l.wakes() != 2 {
			t.Errorf("%q, %q, %d woken", l.shows(orderID(3)), l.shows(orderID(4)), l.wakes())
		}
		if reads := len(v.made("get")); reads > 20 {
			t.Errorf("%d reads for two orders", reads)
		}
	})
}

// A row that says too little makes its order be read, and is no news by itself. One that
// repeats what is known costs no read.
func TestShortRowIsAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(100)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		l.mu.Lock()
		l.short = true
		l.mu.Unlock()
		for i := range 100 {
			l.follow(orderID(i), 100*time.Hour)
		}
		pass(15 * time.Minute)
		if len(v.made("list")) == 0 || len(v.made("get")) != 0 {
			t.Fatalf("%d lists, %d reads", len(v.made("list")), len(v.made("get")))
		}
		v.set(orderID(3), "issued")
		begun := time.Now()
		pass(12 * time.Minute)
		if l.shows(orderID(3)) != "issued" || l.wakes() != 1 || len(v.made("get")) == 0 || l.toldAt(orderID(3)).Sub(begun) > 10*time.Minute {
			t.Errorf("%q after %s, %d woken, %d reads", l.shows(orderID(3)), l.toldAt(orderID(3)).Sub(begun), l.wakes(), len(v.made("get")))
		}
		if reads := len(v.made("get")); reads > 3 {
			t.Errorf("%d reads for one order", reads)
		}
	})
}

// A wake-up that came to nothing is made up for: what counts is what the status shows,
// not what was said last time.
func TestLostWakesHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		l.follow(orderID(0), 100*time.Hour)
		l.now(true, nil)
		v.set(orderID(0), "issued")
		pass(10 * time.Minute)
		l.now(false, nil)
		if l.wakes() == 0 || l.shows(orderID(0)) != regfish.StatusPending {
			t.Fatalf("woken %d times, shows %q", l.wakes(), l.shows(orderID(0)))
		}
		pass(10 * time.Minute)
		if got := l.shows(orderID(0)); got != "issued" {
			t.Errorf("shows %q", got)
		}
		// What could not be written is there for whoever comes again, and regfish is not asked
		// for it again.
		name := nameOf(orderID(0))
		l.lost = true
		v.set(orderID(0), "revoked")
		pass(10 * time.Minute)
		first := l.Take(name)
		if again := l.Take(name); again == nil || again != first || said(*again) != "revoked" {
			t.Errorf("took %v and then %v", first, again)
		}
		l.Done(name)
		if left := l.Take(name); left != nil {
			t.Errorf("after it was acted on there is %v", left)
		}
	})
}

// While regfish fails, orders are told once, and those that a list would have shown not
// at all; a key that is refused is told to all.
func TestOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(500)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		for i := range 500 {
			l.follow(orderID(i), 100*time.Hour)
		}
		v.fails(func(op string) error { return &regfish.Error{Op: op, Kind: regfish.KindUnavailable, Status: 502} })
		pass(2 * time.Hour)
		if n := len(v.made("")); l.wakes() != 0 || n > 200 {
			t.Errorf("%d purchases were woken by an outage, %d calls", l.wakes(), n)
		}
		v.fails(func(op string) error { return &regfish.Error{Op: op, Kind: regfish.KindUnauthorized, Status: 401} })
		pass(time.Hour)
		if l.wakes() != 500 {
			t.Errorf("%d purchases were told that the key is refused", l.wakes())
		}
		v.fails(nil)
		pass(time.Hour)
		for i := range 500 {
			if got := l.shows(orderID(i)); got != regfish.StatusPending {
				t.Fatalf("%s shows %q after the outage", orderID(i), got)
			}
		}
	})
}

// Nothing is asked while there is nothing to ask with, and what was placed goes on once
// there is. Nobody is told of what this side held back.
func TestSourceThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		l := follows(t, NewAccounts(DefaultLimits).Client(v))
		gone := errors.New("there is no issuer")
		l.now(false, gone)
		l.follow(orderID(0), 0)
		pass(time.Minute)
		if got := l.shows(orderID(0)); got != gone.Error() || len(v.made("")) != 0 {
			t.Errorf("shows %q after %d calls", got, len(v.made("")))
		}
		l.now(false, nil)
		pass(time.Minute)
		if got := l.shows(orderID(0)); got != regfish.StatusPending || l.wakes() != 2 {
			t.Errorf("shows %q, woken %d times", got, l.wakes())
		}
		v.fails(func(op string) error {
			return &regfish.Error{Op: op, Kind: regfish.KindTooMany, Status: 429, RetryAfter: time.Hour}
		})
		pass(time.Minute)
		woken, calls := l.wakes(), len(v.made(""))
		pass(50 * time.Minute)
		if l.wakes() != woken || len(v.made("")) != calls {
			t.Errorf("%d were woken and %d calls made while regfish wants to be left alone", l.wakes()-woken, len(v.made(""))-calls)
		}
	})
}
