// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// sharedFor is for how long the answer to the check of one issuer is the answer to those
// of all issuers of the same key. A thousand of them would use the rate up otherwise.
const sharedFor = 10 * time.Second

// Checks is what issuers are checked with. It may be a few seconds behind, which is good
// enough to say whether a key works, and never to buy on.
type Checks struct{ client *Client }

// Checks returns the checks of the client's account.
func (c *Client) Checks() Checks { return Checks{c} }

// Products reads the catalogue.
func (c Checks) Products(ctx context.Context) ([]regfish.Product, error) {
	return c.client.account.products.read(ctx, c.client, c.client.Products)
}

// Organizations reads the organizations.
func (c Checks) Organizations(ctx context.Context) ([]regfish.Organization, error) {
	return c.client.account.organizations.read(ctx, c.client, c.client.Organizations)
}

// errFirstRow ends a list: that it begins shows that the key may list, and an account may
// be large.
var errFirstRow = errors.New("one row is enough")

// MayList returns nil if the key may list the certificates of the account.
func (c Checks) MayList(ctx context.Context) error {
	_, err := c.client.account.listable.read(ctx, c.client, func(ctx context.Context) (struct{}, error) {
		err := c.client.Certificates(ctx, func(regfish.Certificate) error { return errFirstRow })
		if errors.Is(err, errFirstRow) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// shared is an answer of regfish, and when it came.
type shared[T any] struct {
	// Whoever comes while regfish is asked shares the answer, but nobody waits for one whose
	// call comes later than theirs would.
	asking [classes]chan struct{}

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func newShared[T any]() *shared[T] {
	s := &shared[T]{}
	for i := range s.asking {
		s.asking[i] = make(chan struct{}, 1)
	}
	return s
}

func (s *shared[T]) read(ctx context.Context, c *Client, ask func(context.Context) (T, error)) (T, error) {
	asking := s.asking[classOf(ctx)]
	asking <- struct{}{}
	defer func() { <-asking }()
	if c.account.limits.Rate > 0 {
		s.mu.Lock()
		at, value, err := s.at, s.value, s.err
		s.mu.Unlock()
		if !at.IsZero() && time.Since(at) < sharedFor {
			return value, err
		}
	}
	value, err := ask(ctx)
	if ctx.Err() == nil && regfish.KindOf(err) != regfish.KindNotNow {
		// regfish said something.
		s.mu.Lock()
		s.value, s.err, s.at = value, err, time.Now()
		s.mu.Unlock()
	}
	return value, err
}
