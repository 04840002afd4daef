// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
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
