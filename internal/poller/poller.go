// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

const (
	// DefaultEvery is the pause between two looks at a fresh order.
	DefaultEvery = 22 * time.Second
	// freshFor is for how long an order is fresh after it was placed, and after what
	// regfish says of it has changed.
	freshFor = 15 * time.Minute
	// longest is the longest pause between two looks: whoever acts at regfish sees that
	// within ten minutes.
	longest = 8 * time.Minute
	// atOnce bounds the reads of one source that are made in one go, so that what becomes
	// due meanwhile and is fresh comes next; parallel is how many are made at a time.
	atOnce   = 32
	parallel = 4
	// notAgain is the pause after a list that failed.
	notAgain = time.Minute
)

// Source is where an order is read: with the key of an issuer, at the endpoint where it
// was placed.
type Source struct {
	Issuer   v1alpha1.IssuerRef
	Endpoint string
}

// Order is an order that is under way.
type Order struct {
	// Name of its purchase.
	Name types.NamespacedName
	// ID is what regfish calls it.
	ID string
	Source
	// Placed is when it was placed.
	Placed time.Time
	// Told says that what regfish said once stands in the purchase's status.
	Told bool
}

// Answer is what a look at an order came to: what regfish says, or why it could not be
// asked.
type Answer struct {
	Certificate *regfish.Certificate
	Err         error
	// Row says that the certificate is a row of a list, which may lack what a read has.
	Row bool
}

// Said is what an answer is to a purchase.
type Said int

// What an answer may be.
const (
	Nothing Said = iota // what its status says already
	News                // something else
	Unclear             // only a read of the order can tell; never so for a read
)

// Reader reads orders. A *Client lets a Poller choose between reads and lists.
type Reader interface {
	Certificates(ctx context.Context, each func(regfish.Certificate) error) error
	Certificate(ctx context.Context, id string) (regfish.Certificate, error)
}

// Options of a Poller.
type Options struct {
	// Connect returns a reader for a source. Its error is an answer for the orders of the
	// source.
	Connect func(context.Context, Source) (Reader, error)
	// Judge compares an answer with the status of the purchase.
	Judge func(context.Context, types.NamespacedName, Answer) Said
	// Wake makes the purchase be reconciled, which then takes the answer.
	Wake func(context.Context, types.NamespacedName)
	// Clock tells when a look is due.
	Clock clock.PassiveClock
	// Every is the pause between two looks at a fresh order.
	Every time.Duration
}

// Poller looks at orders that are under way.
type Poller struct {
	Options

	mu     sync.Mutex
	orders map[types.NamespacedName]*entry
	busy   map[Source]bool
	poke   chan struct{}
	work   sync.WaitGroup
}

// entry is what is remembered of an order. There may be tens of thousands.
type entry struct {
	Order
	next    time.Time // when it is looked at again
	changed time.Time // when an answer differed last
	answer  *Answer   // one that differed and that nobody has acted on yet
	taken   *Answer   // the one that was taken last
	lacking bool      // the last list lacked it, or too much of it: it is read by its id
}

// New returns a Poller.
func New(o Options) *Poller {
	return &Poller{Options: o, orders: map[types.NamespacedName]*entry{}, busy: map[Source]bool{}, poke: make(chan struct{}, 1)}
}

// Follow has the order looked at from now on. An order of which something was told waits
// for its turn: after a restart there may be thousands.
func (p *Poller) Follow(o Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.orders[o.Name]; e != nil && e.ID == o.ID && e.Source == o.Source {
		return
	}
	now := p.Clock.Now()
	e := &entry{Order: o, next: now}
	if o.Told {
		e.next = now.Add(p.pause(e, now))
	}
	p.orders[o.Name] = e
	p.hurry()
}

// Forget ends what Follow began.
func (p *Poller) Forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.orders, name)
}

// Take returns the answer that the purchase was woken for, nil if there is none. It is kept
// until Done says that it was acted on: whoever could not write it takes it again, and
// regfish is not asked again for that.
func (p *Poller) Take(name types.NamespacedName) *Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.orders[name]
	if e == nil {
		return nil
	}
	e.taken = e.answer
	return e.answer
}

// Done drops the answer that was taken last, if there is no newer one.
func (p *Poller) Done(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.orders[name]; e != nil {
		if e.answer == e.taken {
			e.answer = nil
		}
		e.taken = nil
	}
}

func (p *Poller) hurry() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// Look looks at an order if that is due, for those who have no Poller running: tests and
// the simulation. It returns the answer, if it looked, and how long the next look is off.
func (p *Poller) Look(ctx context.Context, name types.NamespacedName) (*Answer, time.Duration) {
	p.mu.Lock()
	e := p.orders[name]
	p.mu.Unlock()
	now := p.Clock.Now()
	if e == nil {
		return nil, 0
	}
	if left := e.next.Sub(now); left > 0 {
		return nil, left
	}
	var a Answer
	if reader, err := p.Connect(ctx, e.Source); err != nil {
		a.Err = err
	} else {
		a = read(ctx, reader, e.ID)
	}
	p.plan(e, a, now)
	return &a, e.next.Sub(now)
}

// Start looks at orders until ctx ends.
func (p *Poller) Start(ctx context.Context) error {
	defer p.work.Wait()
	// Looks that are due at about the same time are made together.
	tick := min(250*time.Millisecond, max(5*time.Millisecond, p.Every/50))
	for {
		next := time.NewTimer(max(tick, p.round(ctx)))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		case <-p.poke:
			next.Stop()
		}
	}
}

// round has everything looked at that is due, and returns when the next is.
func (p *Poller) round(ctx context.Context) time.Duration {
	ctx = asPoll(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Clock.Now()
	next := longest
	due := map[Source]bool{}
	for _, e := range p.orders {
		switch left := e.next.Sub(now); {
		case p.busy[e.Source]:
		case left <= 0:
			due[e.Source] = true
		default:
			next = min(next, left)
		}
	}
	for s := range due {
		p.busy[s] = true
		p.work.Go(func() {
			p.look(ctx, s)
			p.mu.Lock()
			delete(p.busy, s)
			p.mu.Unlock()
			p.hurry()
		})
	}
	return next
}

// look looks at those orders of a source that are due.
func (p *Poller) look(ctx context.Context, s Source) {
	now := p.Clock.Now()
	due, fresh, old := p.due(s, now)
	reader, err := p.Connect(ctx, s)
	if err != nil {
		for _, e := range due {
			p.tell(ctx, e, Answer{Err: err}, now)
		}
		return
	}
	if c, ok := reader.(*Client); ok {
		if due = p.listFirst(ctx, c, s, due, fresh, old, now); len(due) == 0 {
			return
		}
	}
	slices.SortFunc(due, func(a, b *entry) int {
		if fa, fb := p.fresh(a, now), p.fresh(b, now); fa != fb {
			if fa {
				return -1
			}
			return 1
		}
		return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.ID, b.ID))
	})
	var reads sync.WaitGroup
	free := make(chan struct{}, parallel)
	for _, e := range due[:min(len(due), atOnce)] {
		free <- struct{}{}
		reads.Go(func() {
			p.tell(ctx, e, read(ctx, reader, e.ID), now)
			<-free
		})
	}
	reads.Wait()
}

// listFirst makes one list for all orders of the source if that is cheaper than to read
// those that are due, or will be soon, and returns those that are to be read all the same.
func (p *Poller) listFirst(ctx context.Context, c *Client, s Source, due []*entry, fresh, old int, now time.Time) []*entry {
	listed := func(e *entry) bool { return !e.lacking && !p.fresh(e, now) }
	forFresh, later := c.account.listInstead(fresh)
	forFresh = forFresh && later == 0
	forOld, later := c.account.listInstead(old)
	forOld = forOld && slices.ContainsFunc(due, listed)
	if forFresh || (forOld && later == 0) {
		return p.list(ctx, c, s, due, now)
	}
	if forOld {
		return slices.DeleteFunc(due, func(e *entry) bool {
			if listed(e) {
				p.postpone(e, now.Add(later))
			}
			return listed(e)
		})
	}
	return due
}

func read(ctx context.Context, r Reader, id string) Answer {
	c, err := r.Certificate(ctx, id)
	if err != nil {
		return Answer{Err: err}
	}
	return Answer{Certificate: &c}
}

// due returns the orders of the source that are due, how many fresh ones are among them,
// and how many old ones the source has that a list is expected to show.
func (p *Poller) due(s Source, now time.Time) (due []*entry, fresh, old int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.orders {
		if e.Source != s {
			continue
		}
		late := !e.next.After(now)
		if late {
			due = append(due, e)
		}
		switch {
		case e.lacking:
		case p.fresh(e, now):
			if late {
				fresh++
			}
		default:
			old++
		}
	}
	return due, fresh, old
}

// postpone puts a look off that would be made sooner.
func (p *Poller) postpone(e *entry, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.next.Before(until) {
		e.next = until
	}
}

// list reads one list for the orders of the source, and returns those of due that it
// lacks or says too little of; nil if it came to nothing.
func (p *Poller) list(ctx context.Context, c *Client, s Source, due []*entry, now time.Time) []*entry {
	byID, shown := map[string]*entry{}, map[*entry]bool{}
	p.mu.Lock()
	for _, e := range p.orders {
		if e.Source == s {
			byID[e.ID] = e
		}
	}
	p.mu.Unlock()
	err := c.Certificates(ctx, func(row regfish.Certificate) error {
		if e := byID[row.ID]; e != nil && !shown[e] {
			shown[e] = p.tell(ctx, e, Answer{Certificate: &row, Row: true}, now)
		}
		return nil
	})
	if err != nil {
		kind := regfish.KindOf(err)
		for _, e := range byID {
			switch {
			case shown[e]:
			case kind == regfish.KindUnauthorized, kind == regfish.KindForbidden, kind == regfish.KindNotNow:
				// Somebody has to act, and all wait for that; or nothing was sent, which is no
				// answer to any of them.
				p.tell(ctx, e, Answer{Err: err}, now)
			default:
				p.postpone(e, now.Add(max(notAgain, regfish.RetryAfter(err))))
			}
		}
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range byID {
		e.lacking = !shown[e]
		if said, there := shown[e]; there && !said {
			e.next = now
		}
	}
	return slices.DeleteFunc(due, func(e *entry) bool { return shown[e] })
}

// tell wakes the purchase if the answer is news to it, and reports whether the answer was
// clear.
func (p *Poller) tell(ctx context.Context, e *entry, a Answer, now time.Time) bool {
	if regfish.KindOf(a.Err) == regfish.KindNotNow || ctx.Err() != nil {
		p.postpone(e, now.Add(max(p.Every, regfish.RetryAfter(a.Err))))
		return true
	}
	said := p.Judge(ctx, e.Name, a)
	if said == Unclear {
		return false
	}
	p.plan(e, a, now)
	if said == Nothing {
		return true
	}
	p.mu.Lock()
	e.answer = &a
	if a.Certificate != nil {
		e.changed = now
	}
	p.mu.Unlock()
	p.Wake(ctx, e.Name)
	return true
}

// plan says when the order is looked at again.
func (p *Poller) plan(e *entry, a Answer, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.next = now.Add(max(p.pause(e, now), regfish.RetryAfter(a.Err)))
}

func (p *Poller) fresh(e *entry, now time.Time) bool {
	return now.Sub(e.Placed) < freshFor || now.Sub(e.changed) < freshFor
}

// pause is the pause between two looks at an order: short while it is fresh, then a
// tenth of its age, within bounds. It is spread over a third so that many do not ask at
// once, by name and time and not by chance, so that a run can be repeated.
func (p *Poller) pause(e *entry, now time.Time) time.Duration {
	pause := p.Every
	if !p.fresh(e, now) {
		pause = min(max(longest, p.Every), max(p.Every, now.Sub(e.Placed)/10))
	}
	sum := fnv.New32a()
	_, _ = fmt.Fprint(sum, e.Name, now.UnixNano()) // it never fails
	return pause - pause/6 + time.Duration(float64(pause/3)*float64(sum.Sum32())/(1<<32))
}
