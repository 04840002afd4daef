// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// An order that is to be placed does not wait until all certificates that were issued at once
// are handed over.
func TestNewOrderIsWorkedOnBeforeThoseThatTheirPurchasesWoke(t *testing.T) {
	named := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
	}
	q := priorityqueue.New[reconcile.Request](t.Name())
	defer q.ShutDown()
	h := behind{handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{named(o.GetName())}
	})}
	before, after := &v1alpha1.RegfishPurchase{}, &v1alpha1.RegfishPurchase{}
	before.Name, before.ResourceVersion = "issued", "1"
	after.Name, after.ResourceVersion = "issued", "2"
	// It was to be looked at again, to remind of the record that it waited for.
	cr, o, p, _ := issuedFor(t)
	p.Status = purchase.Observe(p, purchase.Observation{RequestLive: true, Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}})
	csr, problems := purchase.Preflight(cr)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r, _ := reconciler(t, nil, clocktesting.NewFakePassiveClock(noon), interceptor.Funcs{}, cr, o, p)
	result, err := r.report(t.Context(), o, &input{order: o, request: cr, facts: purchase.Facts{Want: purchase.Want{Request: csr}}}, outcome{decision: purchase.Decision{Step: purchase.StepFollow, Purchase: p}})
	if err != nil {
		t.Fatal(err)
	}
	q.AddWithOpts(priorityqueue.AddOpts{After: time.Hour, Priority: result.Priority}, named("issued"))
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, q)
	q.Add(named("new"))
	var got []string
	for range 2 {
		r, _ := q.Get()
		got = append(got, r.Name)
		q.Done(r)
	}
	if got[0] != "new" || got[1] != "issued" {
		t.Errorf("they were worked on in the order %v", got)
	}
	// What is woken for a reason of its own meanwhile does not wait for all others.
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, q)
	q.Add(named("issued"))
	if _, priority, _ := q.GetWithPriority(); priority != 0 {
		t.Errorf("it waits with the priority %d", priority)
	}
}

// After a start all orders are looked at; to find those of each purchase besides is work for
// nothing.
func TestPurchasesOfAStartWakeNoOrders(t *testing.T) {
	q := priorityqueue.New[reconcile.Request](t.Name())
	defer q.ShutDown()
	h := behind{handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
	})}
	for name, first := range map[string]bool{"there": true, "new": false} {
		p := &v1alpha1.RegfishPurchase{}
		p.Name = name
		h.Create(t.Context(), event.CreateEvent{Object: p, IsInInitialList: first}, q)
	}
	if got, _ := q.Get(); got.Name != "new" || q.Len() != 0 {
		t.Errorf("%s was woken, and %d more", got.Name, q.Len())
	}
}
