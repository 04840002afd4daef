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

// One who has seen enough, or does not wait any more, does not end the list of the
// others; and a list that nobody reads is not read to its end.
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
		broken := func(regfish.Certificate) error { panic("broken") }
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
				for range tc.orders {
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
// times as long as one takes, and half a second at most.
func TestListsLeaveTimeBetweenThem(t *testing.T) {
	for latency, pause := range map[time.Duration]time.Duration{
		20 * time.Millisecond: 60 * time.Millisecond,
		2 * time.Second:       gathering,
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newVendor(1)
			v.latency = latency
			c := NewAccounts(Limits{}).Client(v)
			asks := func() {
				if err := c.Certificates(t.Context(), func(regfish.Certificate) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			var work sync.WaitGroup
			for range 3 {
				work.Go(func() {
					for range 5 {
						asks()
					}
				})
			}
			work.Wait()
			lists := v.made("list")
			if n := len(lists); n < 5 || n > 6 {
				t.Errorf("%d lists for three who ask five times each", n)
			}
			for i := range lists[1:] {
				if between := lists[i+1].Sub(lists[i]); between != latency+pause {
					t.Errorf("a list of %s comes %s after the one before", latency, between)
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
