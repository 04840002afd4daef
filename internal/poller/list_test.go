// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Whoever asks for a list gets one that was sent after they asked, and those who wait
// for the same one share it: what was placed before the question is in the answer.
func TestListIsNeverOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(50)
		v.latency = 3 * time.Second
		c := NewAccounts(DefaultLimits).Client(v)
		var work sync.WaitGroup
		for i := range 100 {
			work.Go(func() {
				nap(time.Duration(i) * 111 * time.Millisecond)
				id := "new-" + orderID(i)
				v.add(id)
				asked, shown, n := time.Now(), false, 0
				if err := c.Certificates(t.Context(), func(row regfish.Certificate) error {
					shown = shown || row.ID == id
					n++
					return nil
				}); err != nil {
					t.Error(err)
				}
				if !shown || n < 51 {
					t.Errorf("the list has %d rows, the newest order among them: %v", n, shown)
				}
				sent := false
				for _, at := range v.made("list") {
					sent = sent || !at.Before(asked)
				}
				if !sent {
					t.Error("no list was sent after the question")
				}
			})
		}
		work.Wait()
		if n := len(v.made("list")); n > 8 {
			t.Errorf("%d lists for 100 who ask within 11 s, at 3 s each", n)
		}
	})
}

// A look at all orders, and a check that a key may list, share the list that is about to be
// sent for an order; an order never waits for theirs.
func TestLooksShareTheListOfAnOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		reason      string
		first, then func(context.Context) context.Context
		lists       int
		orders      int // that wait for their calls
	}{
		"a look after an order":                    {reason: "the list shows it as much", first: asReads, then: asPoll, lists: 1},
		"a check after an order":                   {reason: "the list shows it as much", first: asReads, then: AfterOrders, lists: 1},
		"another order":                            {reason: "the list shows it as much", first: asReads, then: asReads, lists: 1},
		"an order after a look":                    {reason: "the list of a look comes after what orders need", first: asPoll, then: asReads, lists: 2},
		"an order after a check":                   {reason: "the list of a check comes after what orders need", first: AfterOrders, then: asReads, lists: 2},
		"a look after a check":                     {reason: "the list of a check may be for one row", first: AfterOrders, then: asPoll, lists: 2},
		"a look after an order, while others wait": {reason: "what it finds could not be handed over", first: asReads, then: asPoll, lists: 2, orders: 1},
		"another look":                             {reason: "one poller has one list at a time", first: asPoll, then: asPoll, lists: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVendor(10)
				c := NewAccounts(DefaultLimits).Client(v) // whose bucket is empty
				var work sync.WaitGroup
				place(t, c, &work, tc.orders)
				for _, as := range []func(context.Context) context.Context{tc.first, tc.then} {
					work.Go(func() {
						rows := 0
						if err := c.Certificates(as(t.Context()), func(regfish.Certificate) error { rows++; return nil }); err != nil || rows != 10 {
							t.Errorf("%d rows, error %v", rows, err)
						}
					})
					synctest.Wait()
				}
				work.Wait()
				if n := len(v.made("list")); n != tc.lists {
					t.Errorf("%d lists, want %d: %s", n, tc.lists, tc.reason)
				}
			})
		})
	}
}

// place has n orders wait for their calls.
func place(t *testing.T, c *Client, work *sync.WaitGroup, n int) {
	for range n {
		work.Go(func() {
			ctx, release, err := c.Reserve(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			c.Order(ctx, regfish.OrderRequest{}, func() error { return nil })
		})
	}
	synctest.Wait()
}

func asReads(ctx context.Context) context.Context { return ctx }

// One who has seen enough, or does not wait any more, does not end the list of the
// others, nor does one who breaks down; and a list that nobody reads is not read to its end.
func TestReadersOfAListAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(1000)
		c := NewAccounts(DefaultLimits).Client(v)
		enough := errors.New("enough")
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		rows := 0
		work.Go(func() {
			if err := c.Certificates(t.Context(), func(regfish.Certificate) error { rows++; return nil }); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			if err := c.Certificates(t.Context(), func(regfish.Certificate) error { return enough }); !errors.Is(err, enough) {
				t.Error(err)
			}
		})
		work.Go(func() {
			if err := c.Certificates(ctx, func(regfish.Certificate) error { cancel(); return nil }); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		broken := func(regfish.Certificate) error { panic("broken") }
		synctest.Wait()
		work.Go(func() {
			if err := c.Certificates(asPoll(t.Context()), broken); regfish.KindOf(err) != regfish.KindUnreadable {
				t.Errorf("a reader that breaks down: %v", err)
			}
		})
		work.Wait()
		if rows != 1000 || len(v.made("list")) != 1 {
			t.Errorf("%d rows in %d lists", rows, len(v.made("list")))
		}
		before := v.spent()
		if err := c.Certificates(t.Context(), func(regfish.Certificate) error { return enough }); !errors.Is(err, enough) {
			t.Error(err)
		}
		synctest.Wait()
		if n := (v.spent() - before) / rowBytes; n > 2 {
			t.Errorf("%d rows were read for one who wanted one", n)
		}
		if err := c.Certificates(t.Context(), broken); regfish.KindOf(err) != regfish.KindUnreadable {
			t.Errorf("a reader that breaks down: %v", err)
		}
	})
}

// While orders wait for their calls, a list waits a moment for more who share it: each takes
// the call of an order. Otherwise it keeps nobody waiting.
func TestListGathersReadersWhileOrdersWait(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		since  time.Duration // the start of the account, whose bucket is empty then
		orders int           // that wait
		lists  int
		first  time.Duration // until the first list is sent
	}{
		"orders wait":                {"three who ask within a moment need one call, after those of the orders", 0, 4, 1, time.Second},
		"one order waits":            {"it has its call before the list is sent", 0, 1, 1, gathering},
		"nobody waits for few calls": {"what asks alone after a start only waits for its own call", 0, 0, 2, 200 * time.Millisecond},
		"after a pause":              {"nothing is saved by waiting", time.Minute, 0, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVendor(1)
				v.latency = time.Millisecond
				c := NewAccounts(DefaultLimits).Client(v)
				pass(tc.since)
				var work sync.WaitGroup
				place(t, c, &work, tc.orders)
				asked := time.Now()
				for i := range 3 {
					work.Go(func() {
						nap(time.Duration(i) * 150 * time.Millisecond)
						if err := c.Certificates(t.Context(), func(regfish.Certificate) error { return nil }); err != nil {
							t.Error(err)
						}
					})
				}
				work.Wait()
				lists := v.made("list")
				if len(lists) != tc.lists || lists[0].Sub(asked) != tc.first {
					t.Errorf("%s: %d lists, the first after %s", tc.reason, len(lists), lists[0].Sub(asked))
				}
			})
		})
	}
}

// One list after the other would be read all the time: between two of them there is three
// times as long as one takes, and a quarter of a second at most; where many share them, nine
// times, and a second and a half.
func TestListsLeaveTimeBetweenThem(t *testing.T) {
	for _, tc := range []struct {
		latency time.Duration
		share   int
		pause   time.Duration
	}{
		{20 * time.Millisecond, many - 1, 60 * time.Millisecond},
		{2 * time.Second, many - 1, gathering / 2},
		{20 * time.Millisecond, many, 180 * time.Millisecond},
		{2 * time.Second, many, 3 * gathering},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newVendor(1)
			v.latency = tc.latency
			c := NewAccounts(Limits{}).Client(v)
			asks := func() {
				if err := c.Certificates(t.Context(), func(regfish.Certificate) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			var work sync.WaitGroup
			for range tc.share {
				work.Go(func() {
					for range 5 {
						asks()
					}
				})
			}
			work.Wait()
			lists := v.made("list")
			if n := len(lists); n < 5 || n > 6 {
				t.Fatalf("%d lists for %d who ask five times each", n, tc.share)
			}
			for i := range lists[1:] {
				if i == 0 && len(lists) == 6 && tc.share >= many {
					continue // The first was sent before all had asked, so that fewer shared it.
				}
				if between := lists[i+1].Sub(lists[i]); between != tc.latency+tc.pause {
					t.Errorf("a list of %s that %d share comes %s after the one before", tc.latency, tc.share, between)
				}
			}
			pass(time.Minute)
			asked := time.Now()
			asks()
			if lists = v.made("list"); lists[len(lists)-1] != asked {
				t.Errorf("the first list for a minute waits %s", lists[len(lists)-1].Sub(asked))
			}
		})
	}
}
