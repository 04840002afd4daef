// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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
func (b *bench) failover(ctx context.Context) error {
	r, err := b.newRig(ctx, true)
	if err != nil {
		return err
	}
	defer r.end()
	leader, err := r.start(ctx)
	if err != nil {
		return err
	}
	if err := leader.leads(ctx); err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	var stopped, inFlight []float64
	var killed float64
	number := 0
	// next asks for a certificate and returns the host.
	next := func() (string, error) {
		number++
		name := fmt.Sprintf("failover%d", number)
		_, _, err := r.ask(ctx, name, nil)
		return hostOf(name), err
	}
	acted := func(host string) (time.Time, error) {
		var at time.Time
		err := await(ctx, "the standby orders", 3*time.Minute, 50*time.Millisecond, func() (bool, error) {
			sold, err := r.vendor.sold(ctx)
			at = sold[host]
			return !at.IsZero(), err
		})
		return at, err
	}
	for range 3 {
		standby, err := r.standby(ctx)
		if err != nil {
			return err
		}
		at := time.Now()
		if err := leader.stop(ctx); err != nil {
			return err
		}
		host, err := next()
		if err != nil {
			return err
		}
		ordered, err := acted(host)
		if err != nil {
			return err
		}
		stopped = append(stopped, ordered.Sub(at).Seconds())
		leader = standby
	}
	for range 2 {
		standby, err := r.standby(ctx)
		if err != nil {
			return err
		}
		host, err := r.fly(ctx, next)
		if err != nil {
			return err
		}
		if err := leader.stop(ctx); err != nil {
			return err
		}
		recorded, err := r.recorded(ctx, host)
		if err != nil {
			return err
		}
		if host, err = next(); err != nil {
			return err
		}
		ordered, err := acted(host)
		if err != nil {
			return err
		}
		inFlight = append(inFlight, ordered.Sub(recorded).Seconds())
		leader = standby
	}
	standby, err := r.standby(ctx)
	if err != nil {
		return err
	}
	if _, err := r.fly(ctx, next); err != nil {
		return err
	}
	at := time.Now()
	leader.kill()
	host, err := next()
	if err != nil {
		return err
	}
	ordered, err := acted(host)
	if err != nil {
		return err
	}
	killed = ordered.Sub(at).Seconds()
	if !standby.alive() {
		return fmt.Errorf("the standby ended: %s", standby.tail())
	}
	b.figure("acts-after-sigterm", share(stopped, 1))
	b.figure("acts-after-sigterm-with-an-order-in-flight", share(inFlight, 1))
	b.figure("acts-after-kill-beyond-lease-and-retry", killed-(operator.DefaultLeaseDuration+operator.DefaultRetryPeriod).Seconds())
	b.table("failover", []string{"after SIGTERM s", "after the record of the order in flight s", "after SIGKILL s"}, []any{fmt.Sprintf("%.2f", stopped), fmt.Sprintf("%.2f", inFlight), killed})
	sold, err := r.vendor.sold(ctx) // An error if something was bought twice.
	if err != nil {
		return err
	}
	b.figure("orders-beside-those-asked-for", float64(len(sold)-number))
	return nil
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
func (r *rig) fly(ctx context.Context, next func() (string, error)) (string, error) {
	if err := r.vendor.call(ctx, http.MethodPost, "/_simulator/faults", simulator.Fault{
		Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, AfterCommit: true, Delay: slowOrder, Times: 1,
	}, nil); err != nil {
		return "", err
	}
	host, err := next()
	if err != nil {
		return "", err
	}
	return host, await(ctx, "an order is in flight", time.Minute, 20*time.Millisecond, func() (bool, error) {
		sold, err := r.vendor.sold(ctx)
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
