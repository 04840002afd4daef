// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
)

// dnsAutomation stands in for whatever sets DNS records in a real installation.
// Like that, it belongs to somebody else: it has an account of its own, and all
// it is told is what stands in the status of RegfishOrders.
type dnsAutomation struct {
	orders client.WithWatch
	// set puts a record into DNS.
	set func(name, kind, data string)
	say func(format string, args ...any)

	done map[v1alpha1.DNSRecord]bool
}

// run sets the records of all orders until ctx ends.
func (d *dnsAutomation) run(ctx context.Context) error {
	d.done = map[v1alpha1.DNSRecord]bool{}
	for ctx.Err() == nil {
		// The API server ends every watch after a while; the next one begins with what is there.
		watch, err := d.orders.Watch(ctx, &v1alpha1.RegfishOrderList{})
		if err != nil {
			return fmt.Errorf("watch orders: %w", err)
		}
		for event := range watch.ResultChan() {
			if order, ok := event.Object.(*v1alpha1.RegfishOrder); ok && order.Status.DCV != nil {
				d.publish(order.Status.DCV.Records)
			}
		}
	}
	return nil
}

func (d *dnsAutomation) publish(records []v1alpha1.DNSRecord) {
	for _, record := range records {
		if d.done[record] {
			continue
		}
		d.say("(DNS automation sets %s %s %s)", record.Name, record.Type, record.Value)
		d.set(record.Name, record.Type, record.Value)
		d.done[record] = true
	}
}

// startDNS has the DNS automation start, with the rights of its own service
// account.
func (s *stage) startDNS(ctx context.Context) error {
	if s.broken == breakDNS {
		s.say("(BREAK=dns: the DNS automation sleeps)")
		return nil
	}
	config, err := s.account(ctx, "dns", "dns-automation")
	if err != nil {
		return err
	}
	orders, err := client.NewWithWatch(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	s.say("(the DNS automation starts; it may read RegfishOrders, and nothing else)")
	dns := &dnsAutomation{orders: orders, set: s.vendor.SetRecord, say: s.say}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := dns.run(ctx); err != nil && ctx.Err() == nil {
			s.abort(fmt.Errorf("%w: the DNS automation: %w", errEnded, err))
		}
	}()
	s.atEnd(func() error { stop(); <-ended; return nil })
	return nil
}
