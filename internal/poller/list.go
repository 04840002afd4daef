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
	ended time.Time
	took  time.Duration
}

const (
	// gathering is the longest time that a list waits for more who share it.
	gathering = 500 * time.Millisecond
	// respite is how many times as long as a list took the next one waits after it: an account
	// of thousands would keep a core busy with one list after the other.
	respite = 3
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
	class := classOf(ctx)
	l := &c.lists[class]
	l.mu.Lock()
	if l.next == nil {
		l.next = &batch{}
		// The list is not only for whoever came first.
		go c.list(context.WithoutCancel(ctx), l.next, class)
	}
	l.next.readers = append(l.next.readers, r)
	l.mu.Unlock()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		r.end(&regfish.Error{Op: opList, Kind: regfish.KindTransport, Message: "call was canceled", Err: ctx.Err()})
		return <-r.done
	}
}

// errNobody ends a list that nobody reads any more.
var errNobody = errors.New("nobody reads the list")

// list sends the list and hands it to the readers of b.
func (c *Client) list(ctx context.Context, b *batch, class class) {
	l := &c.lists[class]
	l.busy <- struct{}{}
	defer func() { <-l.busy }()
	wait := min(gathering, respite*l.took-time.Since(l.ended))
	if c.account.crowded() {
		// Each list takes the call of an order. With hundreds of orders at once, those that
		// wait for theirs make room for others that need a list.
		wait = gathering
	}
	<-time.After(wait)
	done, err := c.account.enter(ctx, opList, class)
	// Whoever comes from here on waits for the next list.
	l.mu.Lock()
	l.next = nil
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

// read reads the list once, and returns how large it was. Nobody else would survive a
// panic here: the readers have workers of their own, which do.
func (c *Client) read(ctx context.Context, b *batch) (bytes int64, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &regfish.Error{Op: opList, Kind: regfish.KindUnreadable, Message: "the client broke down while it read the list"}
			log.FromContext(ctx).Error(nil, "panic while a list was read", "stack", string(debug.Stack()))
		}
	}()
	err = c.vendor.Certificates(regfish.CountBytes(ctx, &bytes), func(row regfish.Certificate) error {
		read := false
		for _, r := range b.readers {
			read = r.row(row) || read
		}
		if !read {
			return errNobody
		}
		return nil
	})
	return bytes, err
}

// row hands one row over and reports whether the reader wants more.
func (r *reader) row(c regfish.Certificate) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false
	}
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
