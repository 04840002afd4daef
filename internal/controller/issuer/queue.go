// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// settled is the pause before a queue is counted after it changed: a storm of requests
// is one write.
const settled = 5 * time.Second

// Queue shows on the issuers of one kind how many orders wait for their purchase limit.
// It asks the vendor nothing.
type Queue struct {
	Options
	kind string
}

// NewQueue returns a Queue for the given kind of issuer.
func NewQueue(kind string, o Options) *Queue { return &Queue{Options: o, kind: kind} }

// Register adds the reconciler to the manager.
func (r *Queue) Register(mgr ctrl.Manager) error {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	changed := func(q queue, was, is bool, o client.Object) {
		if ref := controller.IssuerOf(o.(*v1alpha1.RegfishOrder)); was != is && ref.Kind == r.kind {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}}, settled)
		}
	}
	queued := func(o client.Object) bool { return purchase.Queued(o.(*v1alpha1.RegfishOrder)) }
	return ctrl.NewControllerManagedBy(mgr).
		Named(strings.ToLower(r.kind)+"-queue").
		Watches(&v1alpha1.RegfishOrder{}, handler.Funcs{
			CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { changed(q, false, queued(e.Object), e.Object) },
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
				changed(q, queued(e.ObjectOld), queued(e.ObjectNew), e.ObjectNew)
			},
			DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { changed(q, queued(e.Object), false, e.Object) },
		}).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: 1}).
		Complete(controller.Patient(r))
}

// Reconcile counts the queue of one issuer.
func (r *Queue) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, v1alpha1.IssuerRef{Kind: r.kind, Namespace: req.Namespace, Name: req.Name})
	if err != nil || issuer == nil || issuer.GetStatus().Purchases == nil {
		return reconcile.Result{}, err
	}
	queued, err := waiting(ctx, r.Client, issuer.Ref())
	if err != nil {
		return reconcile.Result{}, err
	}
	before := issuer.DeepCopyObject().(client.Object)
	s, now := issuer.GetStatus(), r.Clock.Now()
	s.Purchases.Queued = queued
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); c != nil && c.Reason == v1alpha1.ReasonChecked {
		slots, _ := purchase.SlotsOf(issuer, nil, now)
		c.Message = checked(*s, issuer.GetSpec().OrganizationID, slots, now)
	}
	if equality.Semantic.DeepEqual(before, issuer) {
		return reconcile.Result{}, nil
	}
	if err := r.Client.Status().Patch(ctx, issuer, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return controller.Again(client.IgnoreNotFound(err))
	}
	return reconcile.Result{}, nil
}

// waiting counts the orders that wait for the issuer's purchase limit.
func waiting(ctx context.Context, reader client.Reader, issuer v1alpha1.IssuerRef) (int32, error) {
	var orders v1alpha1.RegfishOrderList
	if err := reader.List(ctx, &orders, client.MatchingFields{controller.OrdersQueued: issuer.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the orders that wait for the purchase limit: %w", err)
	}
	var n int32
	for i := range orders.Items {
		if purchase.Queued(&orders.Items[i]) {
			n++
		}
	}
	return n, nil
}
