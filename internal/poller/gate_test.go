// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// However much is asked for, by whomever, and however often this process begins anew, no
// second sees more calls than rate and burst.
func TestRateIsKeptAlsoThroughRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(0)
		for range 4 {
			c := NewAccounts(DefaultLimits).Client(v)
			ctx, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			for i := range 40 {
				work.Go(func() {
					for ctx.Err() == nil {
						switch i % 4 {
						case 0:
							// Nothing is bought before the account was read.
							if _, err := c.Organizations(ctx); err != nil {
								continue
							}
							reserved, giveUp, err := c.Reserve(ctx)
							if err != nil {
								continue
							}
							// The intent is written, which takes a while.
							nap(time.Duration(i) * 100 * time.Millisecond)
							c.Order(reserved, regfish.OrderRequest{}, nil)
							giveUp()
						case 1:
							_, _ = c.Certificate(asPoll(ctx), "C1")
						default:
							_, _ = c.Products(ctx)
						}
					}
				})
			}
			pass(20 * time.Second)
			stop()
			work.Wait()
		}
		all := v.made("")
		within(t, all, DefaultLimits)
		if n := len(all); n < 350 {
			t.Errorf("%d calls in 80 s: what is allowed is not used", n)
		}
		if orders, reads := len(v.made("order")), len(v.made("products")); orders < 20 || reads < 20 {
			t.Errorf("%d orders and %d reads", orders, reads)
		}
	})
}

// keep has n workers do f again and again until ctx ends.
func keep(ctx context.Context, work *sync.WaitGroup, n int, f func()) {
	for range n {
		work.Go(func() {
			for ctx.Err() == nil {
				f()
			}
		})
	}
}

// An idle account lets an order through at once while thousands of reads and polls wait.
func TestOrdersComeBeforePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewAccounts(DefaultLimits).Client(newVendor(1))
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		keep(ctx, &work, 200, func() { _, _ = c.Certificate(asPoll(ctx), "C00000") })
		pass(time.Minute)
		begun := time.Now()
		reserved, giveUp, err := c.Reserve(ctx)
		if waited := time.Since(begun); err != nil || waited > 0 {
			t.Errorf("an order waited %s beside polls: %v", waited, err)
		}
		if got := c.Order(reserved, regfish.OrderRequest{}, nil); got.Outcome != regfish.Accepted {
			t.Errorf("%+v", got)
		}
		giveUp()
		if got := c.Order(reserved, regfish.OrderRequest{}, nil); got.Outcome != regfish.NotSent {
			t.Errorf("one reservation placed two orders: %+v", got)
		}
		if got := c.Order(ctx, regfish.OrderRequest{}, nil); got.Outcome != regfish.NotSent {
			t.Errorf("an order was placed without a reservation: %+v", got)
		}
		stop()
		work.Wait()
	})
}

// With thousands of certificates to be handed over, what an order needs to know comes next,
// be it in a certificate.
func TestReadsComeBeforeCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		v.latency = 0
		c := NewAccounts(DefaultLimits).Client(v)
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		keep(ctx, &work, 200, func() { _, _ = c.Download(AfterOrders(ctx), "C00000") })
		pass(time.Minute)
		for range 5 {
			begun := time.Now()
			if _, err := c.Download(ctx, "C00000"); err != nil {
				t.Error(err)
			}
			if waited := time.Since(begun); waited > 200*time.Millisecond {
				t.Errorf("what an order needs to know waited %s beside certificates", waited)
			}
		}
		if n := len(v.made("download")); n < 250 {
			t.Errorf("%d certificates were fetched in a minute", n)
		}
		stop()
		work.Wait()
	})
}

// With orders that are placed all the time, and read for, what was bought is handed over all
// the same.
func TestCertificatesAreFetchedWhileOrdersArePlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		v.latency = 300 * time.Millisecond
		c := NewAccounts(DefaultLimits).Client(v)
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		keep(ctx, &work, 28, func() {
			_ = c.Certificates(ctx, func(regfish.Certificate) error { return nil })
			_, _ = c.Certificate(ctx, "C00000")
			if promised, release, err := c.Reserve(ctx); err == nil {
				c.Order(promised, regfish.OrderRequest{}, func() error { return nil })
				release()
			}
		})
		for range 4 {
			work.Go(func() {
				for ctx.Err() == nil {
					if _, err := c.Download(AfterOrders(ctx), "C00000"); err != nil && ctx.Err() == nil {
						t.Errorf("a certificate that was bought is not fetched: %v", err)
						return
					}
				}
			})
		}
		pass(10 * time.Minute)
		fetched, placed := len(v.made("download")), len(v.made("order"))
		if fetched < 150 || placed < 1200 {
			t.Errorf("in ten minutes %d orders were placed, and %d certificates fetched", placed, fetched)
		}
		stop()
		work.Wait()
		pass(patience + gathering) // a list that nobody reads any more
	})
}

// What regfish asks for holds for all calls with the key: those that wait, and an order
// that was promised one already. Keys of other accounts go on.
func TestRetryAfterClosesTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, other := newVendor(1), newVendor(1)
		other.fingerprint = "other"
		accounts := NewAccounts(DefaultLimits)
		c, unhindered := accounts.Client(v), accounts.Client(other)
		pass(5 * time.Second)
		reserved, giveUp, err := c.Reserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer giveUp()
		const pause = 10 * time.Minute
		v.fails(func(string) error {
			return &regfish.Error{Kind: regfish.KindTooMany, Status: http.StatusTooManyRequests, RetryAfter: pause}
		})
		if _, err := c.Products(t.Context()); regfish.KindOf(err) != regfish.KindTooMany {
			t.Fatal(err)
		}
		v.fails(nil)
		until := time.Now().Add(pause)
		if got := c.Order(reserved, regfish.OrderRequest{}, nil); got.Outcome != regfish.NotSent || regfish.RetryAfter(got.Err) != pause {
			t.Errorf("%+v", got)
		}
		if _, err := unhindered.Products(t.Context()); err != nil {
			t.Errorf("another key: %v", err)
		}
		for time.Now().Before(until.Add(-time.Minute)) {
			_, _, err := c.Reserve(t.Context())
			_, read := c.Certificate(t.Context(), "C00000")
			list := c.Certificates(t.Context(), func(regfish.Certificate) error { return nil })
			for _, err := range []error{err, read, list} {
				if regfish.KindOf(err) != regfish.KindNotNow || regfish.RetryAfter(err) != time.Until(until) {
					t.Fatalf("%v, again in %s", err, regfish.RetryAfter(err))
				}
			}
			pass(7 * time.Second)
		}
		// Shortly before the end it is worth waiting.
		pass(time.Until(until.Add(-3 * time.Second)))
		if _, err := c.Products(t.Context()); err != nil {
			t.Error(err)
		}
		inside := 0
		for _, at := range v.made("")[1:] {
			if at.Before(until) {
				inside++
			}
		}
		figure(t, "calls-inside-a-retry-after", float64(inside), 0)
	})
}

// Refusals without Retry-After slow the calls down; the rate comes back by itself.
func TestRefusalsSlowDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		c := NewAccounts(DefaultLimits).Client(v)
		inAMinute := func() int {
			before, end := len(v.made("")), time.Now().Add(time.Minute)
			for time.Now().Before(end) {
				_, _ = c.Products(t.Context())
			}
			return len(v.made("")) - before
		}
		v.latency = time.Millisecond
		full := inAMinute()
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			n := 0
			v.fails(func(string) error {
				// A success between keeps the breaker closed.
				if n++; n%2 == 0 {
					return nil
				}
				kind := regfish.KindTooMany
				if status == http.StatusServiceUnavailable {
					kind = regfish.KindUnavailable
				}
				return &regfish.Error{Kind: kind, Status: status}
			})
			refused := inAMinute()
			v.fails(nil)
			if refused > full/3 {
				t.Errorf("status %d: %d calls in a minute of refusals, %d without", status, refused, full)
			}
			pass(15 * time.Minute)
			if again := inAMinute(); again < full-1 {
				t.Errorf("status %d: %d calls a quarter of an hour later, %d before", status, again, full)
			}
		}
	})
}

// While regfish fails, a single read every half a minute tries whether it is back. No
// order is promised a call before that succeeded.
func TestBreakerHoldsOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1)
		c := NewAccounts(DefaultLimits).Client(v)
		pass(5 * time.Second)
		reserved, giveUp, err := c.Reserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer giveUp()
		v.fails(func(string) error { return &regfish.Error{Kind: regfish.KindUnavailable, Status: 502} })
		for range maxFailures {
			if _, err := c.Products(t.Context()); regfish.KindOf(err) != regfish.KindUnavailable {
				t.Fatal(err)
			}
		}
		if got := c.Order(reserved, regfish.OrderRequest{}, nil); got.Outcome != regfish.NotSent {
			t.Errorf("%+v", got)
		}
		opened := time.Now()
		for time.Since(opened) < 10*time.Minute {
			if _, _, err := c.Reserve(t.Context()); regfish.KindOf(err) != regfish.KindNotNow {
				t.Fatalf("an order was promised a call: %v", err)
			}
			_, _ = c.Certificate(t.Context(), "C00000")
			pass(time.Second)
		}
		if n := len(v.made("get")); n > 20 {
			t.Errorf("%d tries in ten minutes", n)
		}
		v.fails(nil)
		pass(openFor + time.Second)
		if _, _, err := c.Reserve(t.Context()); regfish.KindOf(err) != regfish.KindNotNow {
			t.Fatalf("an order was promised the call that tries whether regfish is back: %v", err)
		}
		if _, err := c.Certificate(t.Context(), "C00000"); err != nil {
			t.Fatal(err)
		}
		if _, giveUp, err := c.Reserve(t.Context()); err != nil {
			t.Error(err)
		} else {
			giveUp()
		}
		if n := len(v.made("order")); n != 0 {
			t.Errorf("%d orders", n)
		}
	})
}

// What waits for its turn for too long is sent away, and says when to come again. Who
// does not want to wait any more is not counted.
func TestWaitingHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(0)
		c := NewAccounts(Limits{Rate: 0.1, Burst: 1}).Client(v)
		begun := time.Now()
		_, _, err := c.Reserve(t.Context())
		if waited := time.Since(begun); regfish.KindOf(err) != regfish.KindNotNow || waited != orderPatience || regfish.RetryAfter(err) < time.Second {
			t.Errorf("after %s: %v, again in %s", waited, err, regfish.RetryAfter(err))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.Products(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := c.Products(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(v.made("")); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}
