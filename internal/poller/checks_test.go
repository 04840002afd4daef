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

// A thousand issuers of one key are checked with a few calls, also at once, and a key that
// does not work any more is noticed.
func TestChecksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(10_000)
		accounts := NewAccounts(DefaultLimits)
		var work sync.WaitGroup
		check := func(want error) {
			// Each issuer may have a client of its own.
			c := accounts.Client(v).Checks()
			for _, read := range []func() error{
				func() error { _, err := c.Products(t.Context()); return err },
				func() error { _, err := c.Organizations(t.Context()); return err },
				func() error { return c.MayList(t.Context()) },
			} {
				if err := read(); !errors.Is(err, want) && (err == nil) != (want == nil) {
					t.Errorf("a check came to %v, want %v", err, want)
				}
			}
		}
		for i := range 1000 {
			work.Go(func() {
				nap(time.Duration(i%2) * time.Second)
				check(nil)
			})
		}
		work.Wait()
		figure(t, "calls-for-checks-of-1000-issuers", float64(len(v.made(""))), 6)
		refused := &regfish.Error{Op: "list", Kind: regfish.KindUnauthorized, Status: 401}
		v.fails(func(string) error { return refused })
		pass(sharedFor)
		check(refused)
		v.fails(nil)
		pass(sharedFor)
		check(nil)
	})
}

// A check that an issuer's orders wait for does not wait for one of an issuer that is Ready,
// which comes with the certificates that are to be handed over.
func TestChecksDoNotWaitForThoseOfWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewAccounts(DefaultLimits).Client(newVendor(1))
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		keep(ctx, &work, 200, func() { _, _ = c.Download(AfterOrders(ctx), "C00000") })
		pass(time.Minute)
		work.Go(func() { _, _ = c.Checks().Products(AfterOrders(ctx)) })
		pass(time.Second)
		begun := time.Now()
		if _, err := c.Checks().Products(ctx); err != nil {
			t.Error(err)
		}
		if waited := time.Since(begun); waited > time.Second {
			t.Errorf("it waited %s", waited)
		}
		stop()
		work.Wait()
	})
}

// What was said to a check is not said to anybody who reads the account, and one that was
// held back is no answer.
func TestChecksAreForChecksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVendor(3)
		c := NewAccounts(DefaultLimits).Client(v)
		if err := c.Checks().MayList(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := 0
		if err := c.Certificates(t.Context(), func(regfish.Certificate) error { rows++; return nil }); err != nil || rows != 3 {
			t.Errorf("%d rows after a check, %v", rows, err)
		}
		pass(sharedFor)
		v.fails(func(op string) error {
			return &regfish.Error{Op: op, Kind: regfish.KindTooMany, Status: 429, RetryAfter: time.Minute}
		})
		_ = c.Checks().MayList(t.Context())
		v.fails(nil)
		pass(time.Minute - patience - time.Second)
		if err := c.Checks().MayList(t.Context()); regfish.KindOf(err) != regfish.KindNotNow {
			t.Errorf("within Retry-After a check came to %v", err)
		}
		// Its turn is near enough to wait for, and what is shared is not asked for again yet.
		pass(2 * time.Second)
		if err := c.Checks().MayList(t.Context()); err != nil {
			t.Errorf("near the end of Retry-After a check came to %v: what was held back was kept for an answer", err)
		}
	})
}
