// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

const opList = "list certificates"

// lists makes one list for all who wait for one. Only those share a list who asked
// before it was sent: what is bought on a list must have been decided before that, and
// an older list proves nothing about what came since.
type lists struct {
	mu   sync.Mutex
	next *batch        // not sent yet, nil if there is none
	busy chan struct{} // one list at a time: whoever comes meanwhile shares the next

	// Of the list before, for whoever is busy.
	ended  time.Time
	took   time.Duration
	shared int
}

const (
	// gathering is the longest time that a list waits for more who share it.
	gathering = 500 * time.Millisecond
	// respite is how many times as long as a list took the next one waits after it: an account
	// of thousands would keep a core busy with one list after the other.
	respite = 3
	// many is how many share a list at least while certificates are ordered in bulk. More will
	// share the next one, so that it leaves three times as much time.
	many = 4
)

// batch is one list and those who read it.
type batch struct{ readers []*reader }

// reader is one who reads a list. It may go before the list is at its end.
type reader struct {
	done chan error // gets the one answer

	mu   sync.Mutex
	each func(regfish.Certificate) error
	gone bool
}

// Certificates hands every certificate of the account to each, as regfish.Client does.
// The list is one that was sent after the call began.
func (c *Client) Certificates(ctx context.Context, each func(regfish.Certificate) error) error {
	r := &reader{each: each, done: make(chan error, 1)}
	// Whoever can wait shares the list that is about to be sent for an order; but while orders
	// wait for their calls, what a look finds could not be handed over.
	if class := classOf(ctx); c.account.crowded() || !c.lists[reads].share(r) {
		l := &c.lists[class]
		l.mu.Lock()
		if l.next == nil {
			l.next = &batch{}
			// The list is not only for whoever came first.
			go c.list(context.WithoutCancel(ctx), l.next, class)
		}
		l.next.readers = append(l.next.readers, r)
		l.mu.Unlock()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		r.end(&regfish.Error{Op: opList, Kind: regfish.KindTransport, Message: "call was canceled", Err: ctx.Err()})
		return <-r.done
	}
}

// share has the reader share the list that is not sent yet, and reports whether there is one.
func (l *lists) share(r *reader) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		return false
	}
	l.next.readers = append(l.next.readers, r)
	return true
}

// errNobody ends a list that nobody reads any more.
var errNobody = errors.New("nobody reads the list")

// list sends the list and hands it to the readers of b.
func (c *Client) list(ctx context.Context, b *batch, class class) {
	l := &c.lists[class]
	l.busy <- struct{}{}
	defer func() { <-l.busy }()
	<-time.After(l.pause(c.account.crowded()))
	done, err := c.account.enter(ctx, opList, class)
	// Whoever comes from here on waits for the next list.
	l.mu.Lock()
	l.next = nil
	l.shared = len(b.readers)
	l.mu.Unlock()
	if err == nil {
		var bytes int64
		began := time.Now()
		bytes, err = c.read(ctx, b)
		l.ended = time.Now()
		l.took = l.ended.Sub(began)
		done(err)
		c.account.listed(bytes, err == nil, class == polls)
	}
	for _, r := range b.readers {
		r.end(err)
	}
}

// pause is how long a list waits for more who share it.
func (l *lists) pause(crowded bool) time.Duration {
	if crowded {
		// Each list takes the call of an order. With hundreds of orders at once, those that
		// wait for theirs make room for others that need a list.
		return gathering
	}
	// Those who came while the list before was read have waited for that already.
	longest, times := gathering/2, time.Duration(respite)
	if l.shared >= many {
		longest, times = 3*gathering, 3*respite
	}
	return min(longest, times*l.took-time.Since(l.ended))
}

// read reads the list once, and returns how large it was. Nobody else would survive a
// panic here: the readers have workers of their own, which do.
func (c *Client) read(ctx context.Context, b *batch) (bytes int64, err error) {
	defer func() {
		if recover() != nil {
			err = brokeDown(ctx)
		}
	}()
	err = c.vendor.Certificates(regfish.CountBytes(ctx, &bytes), func(row regfish.Certificate) error {
		read := false
		for _, r := range b.readers {
			read = r.row(ctx, row) || read
		}
		if !read {
			return errNobody
		}
		return nil
	})
	return bytes, err
}

// brokeDown is what a panic leaves of a list, or of one who reads it.
func brokeDown(ctx context.Context) error {
	log.FromContext(ctx).Error(nil, "panic while a list was read", "stack", string(debug.Stack()))
	return &regfish.Error{Op: opList, Kind: regfish.KindUnreadable, Message: "the client broke down while it read the list"}
}

// row hands one row over and reports whether the reader wants more. One that breaks down
// ends its own reading only: a look may share the list of an order.
func (r *reader) row(ctx context.Context, c regfish.Certificate) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false
	}
	defer func() {
		if recover() != nil {
			r.gone = true
			r.done <- brokeDown(ctx)
		}
	}()
	if err := r.each(c); err != nil {
		r.gone = true
		r.done <- err
		return false
	}
	return true
}

// end tells the reader how its list ended, if it was not told yet.
func (r *reader) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.gone = true
		r.done <- err
	}
}
