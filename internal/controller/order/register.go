// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
)

// Register adds the reconciler to the manager. An order is woken by what it may
// wait for: its purchase, a purchase that has the name it wants, an order that comes to
// want that name or does not any more, and its issuer. A denial of its request ends it.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("regfishorder").
		For(&v1alpha1.RegfishOrder{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, shown))).
		Watches(&v1alpha1.RegfishPurchase{}, behind{handler.EnqueueRequestsFromMapFunc(r.ordersOfPurchase)}).
		Watches(&v1alpha1.RegfishOrder{}, handler.EnqueueRequestsFromMapFunc(r.ordersBeside), builder.WithPredicates(controller.Shows)).
		Watches(&v1alpha1.RegfishIssuer{}, handler.EnqueueRequestsFromMapFunc(r.ordersOfIssuer), builder.WithPredicates(usability)).
		Watches(&v1alpha1.RegfishClusterIssuer{}, handler.EnqueueRequestsFromMapFunc(r.ordersOfIssuer), builder.WithPredicates(usability)).
		Watches(&cmapi.CertificateRequest{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(denial)).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: r.Concurrency}).
		Complete(controller.Patient(r))
}

// behind has the orders that a handler wakes worked on after those that are new: a list of
// the account may show hundreds of certificates at once, and an order that is to be placed
// would wait until all of them are handed over.
type behind struct{ handler.EventHandler }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (b behind) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if e.IsInInitialList {
		// All orders are looked at in any case, once the cache is filled.
		return
	}
	b.EventHandler.Create(ctx, e, lower(q))
}

func (b behind) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	b.EventHandler.Update(ctx, e, lower(q))
}

func (b behind) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	b.EventHandler.Delete(ctx, e, lower(q))
}

func (b behind) Generic(ctx context.Context, e event.GenericEvent, q queue) {
	b.EventHandler.Generic(ctx, e, lower(q))
}

// whenWoken is the priority of an order that its purchase wakes.
const whenWoken = -1

// lower returns a queue that adds with a lower priority than others do.
func lower(q queue) queue {
	if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		return lowered{q}
	}
	return q
}

type lowered struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// Add adds what is waiting already no lower than it waits.
func (l lowered) Add(r reconcile.Request) {
	l.AddWithOpts(priorityqueue.AddOpts{Priority: new(whenWoken)}, r)
}

// shown lets through what this controller itself wrote, once it is in the cache. A status
// that was decided on while the cache was behind would stand otherwise: whatever woke the
// order since compared with the status before it. One more look finds nothing to write.
var shown = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.RegfishOrder), e.ObjectNew.(*v1alpha1.RegfishOrder)
		return after.Status.State != v1alpha1.StateIssued && after.Status.State != v1alpha1.StateFailed && !equality.Semantic.DeepEqual(before.Status, after.Status)
	},
}

// usability lets through the changes of an issuer that can change a decision. The
// count of purchases is not among them: it changes with every purchase, and would
// wake every order of the issuer each time.
var usability = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(v1alpha1.Issuer), e.ObjectNew.(v1alpha1.Issuer)
		a := meta.FindStatusCondition(before.GetStatus().Conditions, v1alpha1.ConditionReady)
		b := meta.FindStatusCondition(after.GetStatus().Conditions, v1alpha1.ConditionReady)
		if a != nil && b != nil && a.Status == metav1.ConditionTrue && b.Status == metav1.ConditionTrue {
			// What a Ready issuer says changes with the length of its queue.
			b = b.DeepCopy()
			b.Message = a.Message
		}
		return before.GetGeneration() != after.GetGeneration() || !equality.Semantic.DeepEqual(a, b)
	},
}

// denial lets through that a request was denied.
var denial = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*cmapi.CertificateRequest), e.ObjectNew.(*cmapi.CertificateRequest)
		return after.Spec.IssuerRef.Group == v1alpha1.Group && cmutil.CertificateRequestIsDenied(after) && !cmutil.CertificateRequestIsDenied(before)
	},
}

// ordersOfIssuer finds the orders that are not at rest and name the issuer.
func (r *Reconciler) ordersOfIssuer(ctx context.Context, o client.Object) []reconcile.Request {
	return r.orders(ctx, controller.OrdersByIssuer, o.(v1alpha1.Issuer).Ref().String())
}

// ordersOfPurchase finds the orders that show the purchase or wait for it, and
// those that wait for a name it holds.
func (r *Reconciler) ordersOfPurchase(ctx context.Context, o client.Object) []reconcile.Request {
	p := o.(*v1alpha1.RegfishPurchase)
	// The order that the purchase was made for does not show it yet when the first
	// events come.
	made := p.Spec.Beneficiary
	found := append(r.orders(ctx, controller.OrdersByPurchase, p.Name),
		reconcile.Request{NamespacedName: client.ObjectKey{Namespace: made.Namespace, Name: made.RequestName}})
	others, err := r.contenders(ctx, p)
	if err != nil {
		log.FromContext(ctx).Error(err, "the orders that wait for a name are not woken by this event")
	}
	for _, c := range others {
		if c.Purchase.Name != p.Name {
			found = append(found, r.orders(ctx, controller.OrdersByPurchase, c.Purchase.Name)...)
		}
	}
	return found
}

// ordersBeside finds the orders that want a name of the purchase that the order shows:
// whose turn it is depends on which purchases are wanted.
func (r *Reconciler) ordersBeside(ctx context.Context, o client.Object) []reconcile.Request {
	var p v1alpha1.RegfishPurchase
	name := controller.PurchaseShown(o.(*v1alpha1.RegfishOrder))
	if name == "" || r.Client.Get(ctx, client.ObjectKey{Namespace: r.Spender.Ledger, Name: name}, &p) != nil {
		// An event of the purchase tells, once it is there.
		return nil
	}
	return r.ordersOfPurchase(ctx, &p)
}

func (r *Reconciler) orders(ctx context.Context, field, value string) []reconcile.Request {
	var list v1alpha1.RegfishOrderList
	if err := r.Client.List(ctx, &list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "orders are not woken by this event", "field", field, "value", value)
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		switch list.Items[i].Status.State {
		case v1alpha1.StateIssued, v1alpha1.StateFailed:
		default:
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}
