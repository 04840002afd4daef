// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// slowOrder is how long the vendor takes to answer an order that is in flight.
const slowOrder = 5 * time.Second

// failover measures how long the standby takes to act after the leader was stopped or
// killed, with the times that the controller has by default.
func (b *bench) failover(ctx context.Context, r *rig) error {
	leader, err := r.start(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(leader.leads(ctx), r.ready(ctx)); err != nil {
		return err
	}
	f := &changes{rig: r, leader: leader}
	stopped, err := several(ctx, 3, f.stop)
	if err != nil {
		return err
	}
	inFlight, err := several(ctx, 2, f.stopInFlight)
	if err != nil {
		return err
	}
	// How long that takes depends on when within its period the standby looked last.
	killed, err := several(ctx, 5, f.kill)
	if err != nil {
		return err
	}
	b.figure("acts-after-sigterm", share(stopped, 1))
	b.figure("acts-after-sigterm-with-an-order-in-flight", share(inFlight, 1))
	b.figure("acts-after-kill-beyond-lease-and-retry", share(killed, .5))
	b.table("failover", []string{"after SIGTERM s", "after the record of the order in flight s", "after SIGKILL, beyond lease and retry s"}, []any{fmt.Sprintf("%.2f", stopped), fmt.Sprintf("%.2f", inFlight), fmt.Sprintf("%.2f", killed)})
	sold, err := r.vendor.sold(ctx) // An error if something was bought twice.
	if err != nil {
		return err
	}
	b.figure("orders-beside-those-asked-for", float64(len(sold)-f.asked))
	return nil
}

// several measures a change of the leader so many times.
func several(ctx context.Context, n int, change func(context.Context) (float64, error)) (took []float64, err error) {
	for range n {
		t, err := change(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	return took, nil
}

// changes are changes of the leader.
type changes struct {
	*rig
	leader *replica
	asked  int // certificates so far
}

// next asks for a certificate and returns the host.
func (f *changes) next(ctx context.Context) (string, error) {
	f.asked++
	name := fmt.Sprintf("failover%d", f.asked)
	_, _, err := f.ask(ctx, name, nil)
	return hostOf(name), err
}

// acts asks for a certificate and returns when it was ordered.
func (f *changes) acts(ctx context.Context) (time.Time, error) {
	host, err := f.next(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	err = await(ctx, "the standby orders", 3*time.Minute, 50*time.Millisecond, func() (bool, error) {
		sold, err := f.vendor.sold(ctx)
		at = sold[host]
		return !at.IsZero(), err
	})
	return at, err
}

// stop stops the leader while there is nothing to do, and returns how long it takes until
// the other orders.
func (f *changes) stop(ctx context.Context) (float64, error) {
	standby, err := f.standby(ctx)
	if err != nil {
		return 0, err
	}
	at := time.Now()
	if err := f.leader.stop(ctx); err != nil {
		return 0, err
	}
	f.leader = standby
	ordered, err := f.acts(ctx)
	return ordered.Sub(at).Seconds(), err
}

// stopInFlight stops the leader while it sends an order, and returns how long it takes from
// the record of that order until the other orders.
func (f *changes) stopInFlight(ctx context.Context) (float64, error) {
	standby, err := f.standby(ctx)
	if err != nil {
		return 0, err
	}
	host, err := f.fly(ctx)
	if err != nil {
		return 0, err
	}
	if err := f.leader.stop(ctx); err != nil {
		return 0, err
	}
	f.leader = standby
	recorded, err := f.recorded(ctx, host)
	if err != nil {
		return 0, err
	}
	ordered, err := f.acts(ctx)
	return ordered.Sub(recorded).Seconds(), err
}

// kill kills the leader while it sends an order, and returns how much longer than a lease and
// a retry it takes until the other orders.
func (f *changes) kill(ctx context.Context) (float64, error) {
	standby, err := f.standby(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := f.fly(ctx); err != nil {
		return 0, err
	}
	at := time.Now()
	f.leader.kill()
	f.leader = standby
	ordered, err := f.acts(ctx)
	return (ordered.Sub(at) - operator.DefaultLeaseDuration - operator.DefaultRetryPeriod).Seconds(), err
}

// standby starts a second replica, and waits until it is ready to take over.
func (r *rig) standby(ctx context.Context) (*replica, error) {
	rep, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	return rep, await(ctx, "the standby has filled its cache", time.Minute, 100*time.Millisecond, func() (bool, error) { return rep.ready(ctx), nil })
}

// fly asks for a certificate whose order the vendor is slow to answer, and returns once the
// order is there.
func (f *changes) fly(ctx context.Context) (string, error) {
	if err := f.vendor.call(ctx, http.MethodPost, "/_simulator/faults", simulator.Fault{
		Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, AfterCommit: true, Delay: slowOrder, Times: 1,
	}, nil); err != nil {
		return "", err
	}
	host, err := f.next(ctx)
	if err != nil {
		return "", err
	}
	return host, await(ctx, "an order is in flight", time.Minute, 20*time.Millisecond, func() (bool, error) {
		sold, err := f.vendor.sold(ctx)
		return !sold[host].IsZero(), err
	})
}

// recorded is when the outcome of the order for a host was recorded.
func (r *rig) recorded(ctx context.Context, host string) (time.Time, error) {
	var list v1alpha1.RegfishPurchaseList
	if err := r.client.List(ctx, &list, client.InNamespace(ledger)); err != nil {
		return time.Time{}, err
	}
	for _, p := range list.Items {
		for _, a := range p.Spec.Attempts {
			if p.Spec.DNSNames[0] == host && a.Outcome != nil {
				return a.Outcome.Time.Time, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("the outcome of the order for %s is not recorded", host)
}
