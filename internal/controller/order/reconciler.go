// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests,verbs=get;list;watch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests/status,verbs=patch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishorders,verbs=get;list;watch
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishorders/status,verbs=patch
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishissuers;regfishclusterissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishissuers/status;regfishclusterissuers/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Options of a Reconciler.
type Options struct {
	// Client reads the cache and writes.
	Client client.Client
	// Spender buys, and gathers the facts of decisions.
	Spender *purchase.Spender
	// Recorder makes events.
	Recorder events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// DNSPatience is for how long nobody is told, by an event, that an order waits for its
	// DNS records: automation sets them.
	DNSPatience time.Duration
	// Concurrency is how many orders are worked on at once. One that is being sent
	// to regfish takes a place for as long as regfish takes to answer.
	Concurrency int
}

// requestLag is the pause before an order is looked at again whose request is not there,
// or not to be served, as far as is known.
const requestLag = time.Minute

// Reconciler works on orders.
type Reconciler struct {
	Options
	pauses    pauses
	reminders reminders
	yields    yields
}

// New returns a Reconciler.
func New(o Options) *Reconciler { return &Reconciler{Options: o} }

// Reconcile works on one order.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	// It is the cache's, as its request is: whoever changes them copies them.
	var o v1alpha1.RegfishOrder
	if err := r.Client.Get(ctx, req.NamespacedName, &o, client.UnsafeDisableDeepCopy); err != nil {
		r.pauses.forget(req.NamespacedName)
		r.reminders.forget(req.NamespacedName)
		r.yields.forget(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if handed, err := r.finish(ctx, &o); handed || err != nil {
		return controller.Again(err)
	}
	in, err := r.gather(ctx, &o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if in == nil {
		// The caches of the two kinds need not be equally far: the request may be there, and
		// approved, and nothing that happens to it from then on would wake its order.
		return reconcile.Result{RequeueAfter: requestLag}, nil
	}
	d := purchase.Plan(in.facts)
	if left := r.pauses.left(req.NamespacedName, o.UID, in.asks(d), r.Clock.Now()); left > 0 {
		// Asked a moment ago, and the answer stands in the status.
		return reconcile.Result{RequeueAfter: left}, nil
	}
	out, err := r.execute(ctx, in, d)
	if err != nil {
		r.pauses.forget(req.NamespacedName)
		return controller.Again(err)
	}
	return r.report(ctx, &o, in, out)
}

// pauses remembers, for decisions that cost the vendor a call, when they may be
// made again. Losing them in a restart costs one call for each order.
type pauses struct {
	mu    sync.Mutex
	until map[types.NamespacedName]pause
}

type pause struct {
	uid types.UID
	// asks is what the vendor was asked: another question is not kept waiting.
	asks string
	end  time.Time
}

func (p *pauses) left(name types.NamespacedName, uid types.UID, asks string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until, ok := p.until[name]; ok && asks != "" && until.uid == uid && until.asks == asks {
		return max(0, until.end.Sub(now))
	}
	return 0
}

func (p *pauses) set(name types.NamespacedName, until pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = map[types.NamespacedName]pause{}
	}
	p.until[name] = until
}

func (p *pauses) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.until, name)
}
