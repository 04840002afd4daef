// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Vendor is the API of regfish; *regfish.Client is one.
type Vendor interface {
	Products(ctx context.Context) ([]regfish.Product, error)
	Organizations(ctx context.Context) ([]regfish.Organization, error)
	Certificates(ctx context.Context, each func(regfish.Certificate) error) error
	Certificate(ctx context.Context, id string) (regfish.Certificate, error)
	Download(ctx context.Context, id string) ([]byte, error)
	Order(ctx context.Context, r regfish.OrderRequest, mayWrite func() error) regfish.OrderResult
	Reissue(ctx context.Context, id string, r regfish.ReissueRequest, mayWrite func() error) regfish.OrderResult
	Endpoint() string
	Fingerprint() string
	Close()
}

// Accounts are the accounts that this process calls. Nil has no limits, which is for
// tests.
type Accounts struct {
	limits Limits

	mu  sync.Mutex
	all map[accountKey]*account
}

type accountKey struct{ endpoint, fingerprint string }

// account is what is known of one key at one endpoint.
type account struct {
	*gate
	mu     sync.Mutex
	bytes  int64     // size of the last list that was read to its end; 0 if none was
	budget float64   // bytes that polls may spend on lists
	filled time.Time // when budget was brought up to date
	used   time.Time

	products      *shared[[]regfish.Product]
	organizations *shared[[]regfish.Organization]
	listable      *shared[struct{}]
}

func newAccount(endpoint string, l Limits, now time.Time) *account {
	return &account{
		gate: newGate(endpoint, l), filled: now,
		products: newShared[[]regfish.Product](), organizations: newShared[[]regfish.Organization](), listable: newShared[struct{}](),
	}
}

// NewAccounts returns accounts with these limits each.
func NewAccounts(l Limits) *Accounts { return &Accounts{limits: l, all: map[accountKey]*account{}} }

// forgetAfter is for how long an account that is not called is remembered: as long as
// regfish can ask to be left alone.
const forgetAfter = 24 * time.Hour

func (a *Accounts) of(endpoint, fingerprint string) *account {
	now, key := time.Now(), accountKey{endpoint, fingerprint}
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.all[key]
	if !ok {
		// Keys are rotated, and nobody says when one is not used any more.
		maps.DeleteFunc(a.all, func(_ accountKey, old *account) bool { return now.Sub(old.used) > forgetAfter })
		found = newAccount(endpoint, a.limits, now)
		a.all[key] = found
	}
	found.used = now
	return found
}

// Bytes are what regfish's lists cost. Each list that a poll asks for has to be worth
// it, and in an hour no more than listBudget is spent on them.
const (
	listBudget   = 100 << 20 // an hour
	maxListSaved = 48 << 20
	// guess is the size of a list that was never read.
	guess = 1 << 20
	// worth is how many bytes of a list are as dear as one more call.
	worth = 32 << 10
)

// listInstead reports whether one list is cheaper than n reads, and how long the
// budget asks to wait before it.
func (a *account) listInstead(n int) (bool, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	const rate = float64(listBudget) / 3600
	a.budget = min(maxListSaved, a.budget+now.Sub(a.filled).Seconds()*rate)
	a.filled = now
	size := a.bytes
	if size == 0 {
		size = guess
	}
	if n < 3 || size > int64(n)*worth {
		return false, 0
	}
	return true, max(0, seconds((float64(min(size, maxListSaved))-a.budget)/rate))
}

func (a *account) listed(bytes int64, complete, polled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if complete {
		a.bytes = max(1, bytes)
	}
	if polled {
		a.budget -= float64(bytes)
	}
}

// Client calls regfish through an account.
type Client struct {
	vendor  Vendor
	account *account
	lists   [classes]lists
}

// Client returns a client that makes the calls of v when its account may.
func (a *Accounts) Client(v Vendor) *Client {
	c := &Client{vendor: v}
	for i := range c.lists {
		c.lists[i].busy = make(chan struct{}, 1)
	}
	if a == nil {
		c.account = newAccount(v.Endpoint(), Limits{}, time.Now())
	} else {
		c.account = a.of(v.Endpoint(), v.Fingerprint())
	}
	return c
}

type classKey struct{}

// asPoll returns a context whose calls come after those of everybody else.
func asPoll(ctx context.Context) context.Context { return context.WithValue(ctx, classKey{}, polls) }

// AfterOrders returns a context whose calls come after what is read for orders, which need
// not wait until all that was issued is handed over, and all that is Ready was looked at
// again. To ask for it twice changes nothing.
func AfterOrders(ctx context.Context) context.Context {
	if classOf(ctx) == fetches {
		return ctx
	}
	return context.WithValue(ctx, classKey{}, fetches)
}

func classOf(ctx context.Context) class {
	if c, ok := ctx.Value(classKey{}).(class); ok {
		return c
	}
	return reads
}

// call makes one call when it may be made.
func call[T any](ctx context.Context, c *Client, op string, f func() (T, error)) (v T, err error) {
	done, err := c.account.enter(ctx, op, classOf(ctx))
	if err != nil {
		return v, err
	}
	// Also after a panic: a breaker that is not told waits for ever.
	defer func() { done(err) }()
	return f()
}

// Products reads the catalogue.
func (c *Client) Products(ctx context.Context) ([]regfish.Product, error) {
	return call(ctx, c, "list products", func() ([]regfish.Product, error) { return c.vendor.Products(ctx) })
}

// Organizations reads the organizations.
func (c *Client) Organizations(ctx context.Context) ([]regfish.Organization, error) {
	return call(ctx, c, "list organizations", func() ([]regfish.Organization, error) { return c.vendor.Organizations(ctx) })
}

// Certificate reads one certificate.
func (c *Client) Certificate(ctx context.Context, id string) (regfish.Certificate, error) {
	return call(ctx, c, "read certificate", func() (regfish.Certificate, error) { return c.vendor.Certificate(ctx, id) })
}

// Download reads a certificate with its chain.
func (c *Client) Download(ctx context.Context, id string) ([]byte, error) {
	return call(ctx, c, "download certificate", func() ([]byte, error) { return c.vendor.Download(ctx, id) })
}

// Endpoint returns the canonical endpoint.
func (c *Client) Endpoint() string { return c.vendor.Endpoint() }

// Fingerprint returns the fingerprint of the key.
func (c *Client) Fingerprint() string { return c.vendor.Fingerprint() }

// Close closes idle connections.
func (c *Client) Close() { c.vendor.Close() }

const opOrder = "place order"

type promiseKey struct{}

// Reserve waits until an order may be placed, and returns a context with which Order
// places it without waiting: it is asked for before the intent is written, because after
// that an order is sent at once or not at all. An error is *regfish.Error of KindNotNow,
// or the end of ctx. The release may be called at any time, and must be.
func (c *Client) Reserve(ctx context.Context) (context.Context, func(), error) {
	p, err := c.account.reserve(ctx, opOrder)
	if err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, promiseKey{}, p), p.release, nil
}

// Order places an order with the call that ctx was promised by Reserve. Without such a
// promise, and when regfish has asked to be left alone since, nothing is sent.
func (c *Client) Order(ctx context.Context, r regfish.OrderRequest, mayWrite func() error) regfish.OrderResult {
	return c.promised(ctx, func() regfish.OrderResult { return c.vendor.Order(ctx, r, mayWrite) })
}

// Reissue asks for a reissue as Order places an order.
func (c *Client) Reissue(ctx context.Context, id string, r regfish.ReissueRequest, mayWrite func() error) regfish.OrderResult {
	return c.promised(ctx, func() regfish.OrderResult { return c.vendor.Reissue(ctx, id, r, mayWrite) })
}

// promised makes the call that ctx was promised.
func (c *Client) promised(ctx context.Context, send func() regfish.OrderResult) regfish.OrderResult {
	p, ok := ctx.Value(promiseKey{}).(*promise)
	if !ok || p.gate != c.account.gate {
		return notSent(&regfish.Error{Op: opOrder, Kind: regfish.KindRefused, Message: "no call was reserved for the order"})
	}
	done, err := p.enter(opOrder)
	if err != nil {
		var e *regfish.Error
		errors.As(err, &e)
		return notSent(e)
	}
	// An answer that never came is what a panic leaves.
	result := regfish.OrderResult{Err: &regfish.Error{Op: opOrder, Kind: regfish.KindTransport}}
	defer func() {
		if result.Err == nil {
			done(nil)
			return
		}
		done(result.Err)
	}()
	result = send()
	return result
}

func notSent(e *regfish.Error) regfish.OrderResult {
	return regfish.OrderResult{Outcome: regfish.NotSent, Err: e}
}
