// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Limits of the calls that are made with one key at one endpoint.
type Limits struct {
	// Rate is how many calls a second are made in the long run; 0 is no limit, which is
	// for tests.
	Rate float64
	// Burst is how many calls may be made at once after a pause.
	Burst int
}

// DefaultLimits are well below what regfish was seen to allow: 500 calls a minute.
var DefaultLimits = Limits{Rate: 5, Burst: 10}

const (
	// patience is how long a call waits for its turn. What would have to wait longer is
	// sent away, so that it does not keep a worker from other work; an order sooner than a
	// read, because what was decided before must not grow old.
	patience      = 15 * time.Second
	orderPatience = 5 * time.Second
	// maxFailures is how many calls in a row fail before no more are made for openFor.
	// After that a single read tries whether regfish is back.
	maxFailures = 5
	openFor     = 30 * time.Second
	// slowest is the least share of the rate that is left after refusals, and recovery
	// the share that comes back every minute.
	slowest  = 1.0 / 16
	recovery = 0.1
	// spare is the share of the burst that polls leave to everybody else.
	spare = 5
	// passes is how many calls go before fetches that wait, until one of these has its turn:
	// orders may be placed for an hour, and what was bought is to be handed over.
	passes = 15
)

// class says who comes first.
type class int

const (
	orders  class = iota // an order that is about to be placed
	reads                // what somebody waits for, the list before an order among it
	fetches              // what hands certificates over, of which thousands may be issued at once, and checks what is Ready
	polls                // what can come later
	classes = iota
)

// gate lets calls through one by one. A token is taken when the call is made, never
// earlier, so that no window of a second sees more than rate plus burst.
type gate struct {
	endpoint string // only for metrics
	limits   Limits
	breaker  *gobreaker.TwoStepCircuitBreaker[any]

	mu      sync.Mutex
	level   float64   // tokens, those that are held for orders among them
	held    int       // tokens that nobody else may take, because an order was promised one
	filled  time.Time // when level was brought up to date
	share   float64   // of the rate; less than 1 after refusals
	slowed  time.Time // when share was lowered last
	closed  time.Time // until when regfish asked to be left alone
	opened  time.Time // when the breaker opened last
	waiting [classes][]chan struct{}
	passed  int       // calls that went before fetches that wait
	pressed time.Time // when an order that had waited got its call last
	timer   *time.Timer
}

func newGate(endpoint string, l Limits) *gate {
	g := &gate{endpoint: endpoint, limits: l, filled: time.Now(), share: 1}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= maxFailures },
		IsSuccessful: func(err error) bool {
			kind := regfish.KindOf(err)
			return kind != regfish.KindTransport && kind != regfish.KindUnavailable
		},
		// Whoever called did not want to know any more, or nothing was sent.
		IsExcluded: func(err error) bool {
			return errors.Is(err, context.Canceled) || regfish.KindOf(err) == regfish.KindRefused
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateClosed:
				metrics.Broken(endpoint, -1)
			case from == gobreaker.StateClosed:
				metrics.Broken(endpoint, 1)
			}
			if to == gobreaker.StateOpen {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.opened = time.Now()
			}
		},
	})
	return g
}

// why a call is not made now, as metrics have it.
type why string

const (
	whyClosed  why = "Closed"
	whyBroken  why = "Broken"
	whyWaiting why = "Waiting"
)

// sentences say why to people. Nothing in them changes from call to call: they get into
// conditions.
var sentences = map[why]string{
	whyClosed:  "regfish asked to be left alone for a while",
	whyBroken:  "the last calls failed, and regfish is given a pause",
	whyWaiting: "more calls wait than may be made (--vendor-rate)",
}

// notNow is the error of a call that is not made now.
func (g *gate) notNow(op string, w why, again time.Duration) *regfish.Error {
	metrics.HeldBack(g.endpoint, string(w))
	return &regfish.Error{Op: op, Kind: regfish.KindNotNow, Message: "not sent: " + sentences[w], RetryAfter: max(time.Second, again)}
}

// enter waits until a call may be made. The caller makes it at once, and says with the
// function that is returned how it ended.
func (g *gate) enter(ctx context.Context, op string, c class) (func(error), error) {
	if g.breaker.State() == gobreaker.StateOpen {
		return nil, g.notNow(op, whyBroken, g.openLeft())
	}
	begun := time.Now()
	if err := g.turn(ctx, op, c); err != nil {
		return nil, err
	}
	metrics.Waited(g.endpoint, time.Since(begun))
	return g.pass(op)
}

// pass asks the breaker, which lets a single call through after a pause.
func (g *gate) pass(op string) (func(error), error) {
	done, err := g.breaker.Allow()
	if err != nil {
		return nil, g.notNow(op, whyBroken, g.openLeft())
	}
	return func(err error) {
		metrics.Called(g.endpoint, err)
		done(err)
		g.after(err)
	}, nil
}

func (g *gate) openLeft() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.opened.Add(openFor))
}

// turn waits for a token: takes it, or holds it for an order.
func (g *gate) turn(ctx context.Context, op string, c class) error {
	g.mu.Lock()
	now, longest := g.fill(), patience
	if c == orders {
		longest = orderPatience
	}
	if left := g.closed.Sub(now); left > longest {
		g.mu.Unlock()
		return g.notNow(op, whyClosed, left)
	}
	turn := make(chan struct{})
	g.waiting[c] = append(g.waiting[c], turn)
	g.pump(now)
	g.mu.Unlock()

	timeout := time.NewTimer(longest)
	defer timeout.Stop()
	select {
	case <-turn:
		return nil
	default:
	}
	var err error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = &regfish.Error{Op: op, Kind: regfish.KindTransport, Message: "call was canceled", Err: ctx.Err()}
	case <-timeout.C:
		err = g.notNow(op, whyWaiting, g.backlog())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting[c], turn)
	if i < 0 {
		// Its turn came in this very moment.
		return nil
	}
	g.waiting[c] = slices.Delete(g.waiting[c], i, i+1)
	if g.closed.After(g.fill()) {
		err = g.notNow(op, whyClosed, time.Until(g.closed))
	}
	return err
}

// backlog is how long those who wait now will take.
func (g *gate) backlog() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, w := range g.waiting {
		n += len(w)
	}
	return seconds(float64(n) / max(g.limits.Rate*g.share, slowest))
}

// pump lets in whoever may come in now, in order, and comes back for the next.
func (g *gate) pump(now time.Time) {
	if g.timer != nil {
		g.timer.Stop()
	}
	for {
		c, ok := g.first()
		if !ok {
			return
		}
		if wait := g.wait(c, now); wait > 0 {
			g.timer = time.AfterFunc(wait, func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				now := g.fill()
				if len(g.waiting[orders]) > 0 {
					g.pressed = now
				}
				g.pump(now)
			})
			return
		}
		if g.passed++; c >= fetches || len(g.waiting[fetches]) == 0 {
			g.passed = 0
		}
		if c == orders {
			g.held++
		} else {
			g.level--
		}
		close(g.waiting[c][0])
		g.waiting[c] = g.waiting[c][1:]
	}
}

// first returns the class whose turn it is, if any call waits.
func (g *gate) first() (class, bool) {
	if g.passed >= passes && len(g.waiting[fetches]) > 0 {
		return fetches, true
	}
	c := slices.IndexFunc(g.waiting[:], func(w []chan struct{}) bool { return len(w) > 0 })
	return class(c), c >= 0
}

// wait is how long a call of the class has to wait if nobody comes before it.
func (g *gate) wait(c class, now time.Time) time.Duration {
	wait := max(0, g.closed.Sub(now))
	if g.limits.Rate == 0 {
		return wait
	}
	need := float64(g.held + 1)
	if c == polls {
		need += float64(g.limits.Burst / spare)
	}
	if missing := need - g.level; missing > 1e-9 {
		wait = max(wait, seconds(missing/(g.limits.Rate*g.share)))
	}
	return wait
}

// crowded reports whether orders wait for their calls, or did a moment ago.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting[orders]) > 0 || time.Since(g.pressed) < gathering
}

// fill brings the bucket up to date, and returns the time.
func (g *gate) fill() time.Time {
	now := time.Now()
	passed := now.Sub(g.filled)
	g.level = min(float64(g.limits.Burst), g.level+passed.Seconds()*g.limits.Rate*g.share)
	g.share = min(1, g.share+recovery*passed.Minutes())
	g.filled = now
	return now
}

// promise is a token that is held for one order, until that is placed or given up.
type promise struct {
	gate *gate
	over bool // guarded by gate.mu
}

// reserve promises a call to an order, which then need not wait for it. Nothing is
// promised while regfish fails: the one call that tries whether it is back is a read.
func (g *gate) reserve(ctx context.Context, op string) (*promise, error) {
	if g.breaker.State() != gobreaker.StateClosed {
		return nil, g.notNow(op, whyBroken, g.openLeft())
	}
	begun := time.Now()
	if err := g.turn(ctx, op, orders); err != nil {
		return nil, err
	}
	metrics.Waited(g.endpoint, time.Since(begun))
	return &promise{gate: g}, nil
}

// release gives the token back if the order was not placed with it.
func (p *promise) release() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.over {
		p.over = true
		p.gate.held--
		p.gate.pump(p.gate.fill())
	}
}

// enter is gate.enter for the order that the promise was made to. It does not wait.
func (p *promise) enter(op string) (func(error), error) {
	g := p.gate
	if g.breaker.State() != gobreaker.StateClosed {
		return nil, g.notNow(op, whyBroken, g.openLeft())
	}
	if err := p.use(op); err != nil {
		return nil, err
	}
	return g.pass(op)
}

// use takes the token that is held.
func (p *promise) use(op string) error {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if left := g.closed.Sub(g.fill()); left > 0 {
		return g.notNow(op, whyClosed, left)
	}
	if p.over {
		return &regfish.Error{Op: op, Kind: regfish.KindRefused, Message: "the call that was reserved was made or given up"}
	}
	p.over = true
	g.held--
	g.level--
	return nil
}

// after learns from how a call ended.
func (g *gate) after(err error) {
	var e *regfish.Error
	if !errors.As(err, &e) || e == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.fill()
	switch {
	case e.RetryAfter > 0:
		if until := now.Add(e.RetryAfter); until.After(g.closed) {
			g.closed = until
		}
	case e.Kind == regfish.KindTooMany, e.Status == http.StatusServiceUnavailable:
		// Calls that were refused together are one refusal.
		if now.Sub(g.slowed) >= time.Second {
			g.share, g.slowed = max(slowest, g.share/2), now
		}
	}
	g.pump(now)
}

// seconds is a duration of so many seconds, rounded up: a token that is all but there is
// not there.
func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s * float64(time.Second))) }
