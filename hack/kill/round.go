// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// strike is what is done to the replicas.
type strike string

const (
	killLeader  strike = "kill the leader"
	killBoth    strike = "kill both"
	killStandby strike = "kill the standby"
	stopLeader  strike = "stop the leader"
	stopBoth    strike = "stop both"
)

// plan is what a round does. It follows from the seed and the number alone.
type plan struct {
	round    int
	fresh    int  // requests for new names
	sameKey  bool // an earlier request is deleted and made again
	sameName bool // a request with a new key for the names of an earlier one
	earlier  uint64

	fault  *simulator.Fault // of the order; nil: none
	lag    time.Duration    // of the account's list
	strike strike
	inPost bool          // wait until an order has reached the vendor
	delay  time.Duration // then, or else after the requests, until the strike
	frozen time.Duration // how long a stopped replica is stopped
	rest   time.Duration // until a killed replica starts again
	newPod bool          // and whether that is in a new pod
}

// newPlan chooses what a round does. Most rounds strike while an order is being sent:
// nowhere else is money lost.
func newPlan(seed uint64, round int) plan {
	rng := rand.New(rand.NewPCG(seed, uint64(round)))
	between := func(a, b time.Duration) time.Duration { return a + rand64(rng, b-a) }
	p := plan{
		round: round, fresh: 1 + rng.IntN(2), sameKey: rng.IntN(5) == 0, sameName: rng.IntN(3) == 0, earlier: rng.Uint64(),
		inPost: rng.IntN(10) < 8, rest: between(time.Second, 2*time.Second), newPod: rng.IntN(2) == 0,
	}
	switch n := rng.IntN(100); {
	case n < 40:
		p.strike = killLeader
	case n < 55:
		p.strike = killBoth
	case n < 60:
		p.strike = killStandby
	case n < 90:
		p.strike = stopLeader
	default:
		p.strike = stopBoth
	}
	p.frozen = between(lease+500*time.Millisecond, 2*lease)
	slow := between(300*time.Millisecond, 2*time.Second)
	order := func(f simulator.Fault) *simulator.Fault { f.Endpoint = simulator.EndpointOrder; return &f }
	switch n := rng.IntN(100); {
	case n < 35:
		p.fault = order(simulator.Fault{Kind: simulator.FaultSlow, Delay: slow, AfterCommit: true})
	case n < 60:
		p.fault = order(simulator.Fault{Kind: simulator.FaultSlow, Delay: slow})
	case n < 70:
		p.fault = order(simulator.Fault{Kind: simulator.FaultHang})
	case n < 78:
		p.fault = order(simulator.Fault{Kind: simulator.FaultDrop, AfterCommit: true})
	case n < 84:
		p.fault = order(simulator.Fault{Kind: simulator.FaultStatus, Status: 502, Bare: true, AfterCommit: true})
	case n < 88:
		p.fault = order(simulator.Fault{Kind: simulator.FaultDrop})
	}
	if rng.IntN(4) == 0 {
		p.lag = between(100*time.Millisecond, time.Second)
	}
	p.delay = rand64(rng, 2*time.Second)
	if p.inPost {
		p.delay = rand64(rng, 300*time.Millisecond)
	}
	return p
}

func rand64(rng *rand.Rand, n time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(n)))
}

func (p plan) String() string {
	text := fmt.Sprintf("round %3d: %d new", p.round, p.fresh)
	if p.sameKey {
		text += ", one made again"
	}
	if p.sameName {
		text += ", one for names of before"
	}
	if p.fault != nil {
		text += "; order " + string(p.fault.Kind)
		if p.fault.Delay > 0 {
			text += " " + p.fault.Delay.Round(time.Millisecond).String()
		}
		if p.fault.AfterCommit {
			text += " after commit"
		}
	}
	if p.lag > 0 {
		text += fmt.Sprintf("; list %s late", p.lag.Round(time.Millisecond))
	}
	text += "; " + string(p.strike)
	if p.inPost {
		text += " in mid-POST"
	}
	return text
}

// play plays all rounds, and then one in which everything goes well.
func (r *ring) play(ctx context.Context) error {
	fmt.Printf("%d rounds, seed %d\n", r.rounds, r.seed)
	for i := 1; i <= r.rounds; i++ {
		p := newPlan(r.seed, i)
		began := time.Now()
		seen, err := r.round(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		fmt.Printf("%s: %s (%.1f s)\n", p, seen, time.Since(began).Seconds())
	}
	return nil
}

// round plays one round, and returns what was seen.
func (r *ring) round(ctx context.Context, p plan) (string, error) {
	leader, err := r.awaitLeader(ctx)
	if err != nil {
		return "", err
	}
	if p.fault != nil {
		r.vendor.InjectFault(*p.fault)
	}
	if p.lag > 0 {
		r.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: p.lag, Times: -1})
	}
	before := r.orders()
	if err := r.ask(ctx, p); err != nil {
		return "", err
	}
	sent := time.Time{}
	if p.inPost {
		sent = r.awaitOrder(ctx, before)
	}
	pause(ctx, p.delay)
	// What is answered after a while is being sent as long as that has not passed.
	inPost := !sent.IsZero() && p.fault != nil && (p.fault.Kind == simulator.FaultHang || time.Since(sent) < p.fault.Delay)
	seen, err := r.hit(ctx, p, leader, inPost)
	r.vendor.ClearFaults()
	return seen, err
}

// ask makes the requests of a round.
func (r *ring) ask(ctx context.Context, p plan) error {
	known := len(r.requests)
	for range p.fresh {
		// A domain of its own: two orders in one would want its validation record.
		number := len(r.requests)
		q, err := newRequest(number, fmt.Sprintf("h%d-example.com", number))
		if err != nil {
			return err
		}
		r.requests = append(r.requests, q)
		if err := r.create(ctx, q); err != nil {
			return err
		}
	}
	if known == 0 {
		return nil
	}
	// What is recent is most likely to be under way.
	earlier := r.requests[max(0, known-1-int(p.earlier%8))]
	if p.sameKey {
		r.result.MadeAgain++
		if err := r.again(ctx, earlier); err != nil {
			return err
		}
	}
	if p.sameName {
		r.result.SameNames++
		q, err := newRequest(len(r.requests), earlier.host)
		if err != nil {
			return err
		}
		r.requests = append(r.requests, q)
		return r.create(ctx, q)
	}
	return nil
}

// awaitOrder waits until an order has reached the vendor, and returns when that was seen;
// zero if none came.
func (r *ring) awaitOrder(ctx context.Context, before int) time.Time {
	for deadline := time.Now().Add(4 * time.Second); ctx.Err() == nil && time.Now().Before(deadline); {
		if r.orders() > before {
			return time.Now()
		}
		pause(ctx, 2*time.Millisecond)
	}
	return time.Time{}
}

// hit does what the round does to the replicas.
func (r *ring) hit(ctx context.Context, p plan, leader *replica, inPost bool) (string, error) {
	var victims []*replica
	for _, rep := range r.replicas {
		if (rep == leader) == (p.strike != killStandby) || p.strike == killBoth || p.strike == stopBoth {
			victims = append(victims, rep)
		}
	}
	seen := "struck"
	if inPost && p.strike != killStandby {
		seen = "struck in mid-POST"
	}
	switch p.strike {
	case killLeader, killBoth, killStandby:
		for _, v := range victims {
			if err := v.kill(); err != nil {
				return "", err
			}
		}
		r.result.Kills += len(victims)
		if inPost && p.strike != killStandby {
			r.result.KillsInPost++
		}
		pause(ctx, p.rest)
		for _, v := range victims {
			if err := v.start(ctx, p.newPod); err != nil {
				return "", err
			}
		}
	case stopLeader, stopBoth:
		for _, v := range victims {
			v.signal(syscall.SIGSTOP)
		}
		r.result.Stops += len(victims)
		if inPost {
			r.result.StopsInPost++
		}
		pause(ctx, p.frozen)
		for _, v := range victims {
			v.signal(syscall.SIGCONT)
		}
	}
	return seen, nil
}
