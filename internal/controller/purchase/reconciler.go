// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishpurchases,verbs=get;list;watch;create;patch;delete,namespace=regfish-issuer
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishpurchases/status,verbs=patch,namespace=regfish-issuer

// Defaults of Options.
const (
	// DefaultLook is the pause between two looks at a fresh purchase.
	DefaultLook = poller.DefaultEvery
	// lastLook is the longest pause between two looks at an order that was found.
	lastLook = 30 * time.Minute
	// againWithoutOrder is the pause before what nobody waits for is looked at.
	againWithoutOrder = 10 * time.Minute
	// endAfter is for how long an order that was looked for and not found waits for a
	// request that wants it, before the purchase is ended.
	endAfter = time.Hour
	// unwantedAfter is how old a purchase without an order has to be before that
	// is said: just after it was made its order does not show it yet.
	unwantedAfter = time.Minute
)

// Options of a Reconciler.
type Options struct {
	// Client reads the cache and writes.
	Client client.Client
	// Spender tells which purchases are under way, and connects to the vendor.
	Spender *purchase.Spender
	// Resolver finds out what became of orders whose outcome is unknown.
	Resolver *purchase.Resolver
	// Recorder makes events.
	Recorder events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// Concurrency is how many purchases are looked at once.
	Concurrency int
	// Look is the pause between two looks at a fresh purchase; it grows with age.
	Look time.Duration
	// Retention is for how long a purchase is kept after what was paid for has ended.
	Retention time.Duration
	// WriterGrace is how long an attempt of another process may still be under way.
	WriterGrace time.Duration
	// Alone says that no poller runs beside the reconciler, which looks at orders itself:
	// for the simulation, where each look is a step of a schedule.
	Alone bool
}

// Reconciler follows purchases.
type Reconciler struct {
	Options
	seen   seen
	poller *poller.Poller
	// registered says that the manager runs the poller, which wakes purchases.
	registered bool
	woken      chan event.GenericEvent
}

// New returns a Reconciler. Until it is registered with a manager it looks at orders
// itself, when it is called.
func New(o Options) *Reconciler {
	r := &Reconciler{Options: o, woken: make(chan event.GenericEvent)}
	r.poller = poller.New(poller.Options{Connect: func(ctx context.Context, s poller.Source) (poller.Reader, error) { return r.connect(ctx, s) }, Judge: r.judge, Wake: r.wake, Clock: o.Clock, Every: o.Look})
	return r
}

// wake has a purchase reconciled.
func (r *Reconciler) wake(ctx context.Context, name types.NamespacedName) {
	p := &v1alpha1.RegfishPurchase{}
	p.Namespace, p.Name = name.Namespace, name.Name
	select {
	case r.woken <- event.GenericEvent{Object: p}:
	case <-ctx.Done():
	}
}

// takenBack lets through that more is expected of regfish again: whoever fetches a
// certificate may learn that it is not there after all, and nothing else would make a
// purchase that was at rest be looked at.
var takenBack = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return purchase.Resting(e.ObjectOld.(*v1alpha1.RegfishPurchase)) && !purchase.Resting(e.ObjectNew.(*v1alpha1.RegfishPurchase))
	},
}

// wakes are the changes of a purchase that make it be looked at. Its own writes of
// status need no answer.
var wakes = predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, takenBack)

// Register adds the reconciler and its poller to the manager. What regfish says wakes a
// purchase, so does an order that comes to show it or goes, and an annotation is how a
// person decides.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	if !r.Alone {
		r.registered = true
		if err := mgr.Add(r.poller); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("regfishpurchase").
		For(&v1alpha1.RegfishPurchase{}, builder.WithPredicates(wakes)).
		Watches(&v1alpha1.RegfishIssuer{}, handler.EnqueueRequestsFromMapFunc(r.ofIssuer), builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.RegfishClusterIssuer{}, handler.EnqueueRequestsFromMapFunc(r.ofIssuer), builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.RegfishOrder{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			name := controller.PurchaseShown(o.(*v1alpha1.RegfishOrder))
			if name == "" {
				return nil
			}
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Spender.Ledger, Name: name}}}
		}), builder.WithPredicates(controller.Shows)).
		WatchesRawSource(source.Channel(r.woken, &handler.EnqueueRequestForObject{})).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: r.Concurrency}).
		Complete(controller.Patient(r))
}

// Reconcile follows one purchase.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var p v1alpha1.RegfishPurchase
	ordering, err := r.read(ctx, req.NamespacedName, &p)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if ordering {
		// The spender writes the outcome, and would only be disturbed.
		return reconcile.Result{RequeueAfter: r.Look}, nil
	}
	if acted, err := r.act(ctx, &p); acted || err != nil {
		return controller.Again(err)
	}
	if purchase.IsPlan(&p) {
		return r.plan(ctx, &p)
	}
	o, next, err := r.observe(ctx, &p)
	if err != nil {
		return controller.Again(err)
	}
	if left := unwantedAfter - r.Clock.Now().Sub(p.CreationTimestamp.Time); left > 0 && r.registered && untold(&p, o) {
		// Whoever bought it shows what the answer to the order said, or the poller has
		// asked in a moment. A status without that would only be told from, and then
		// taken back.
		return reconcile.Result{RequeueAfter: left}, nil
	}
	if status := purchase.Observe(&p, o); !equality.Semantic.DeepEqual(p.Status, status) {
		before := p.DeepCopy()
		p.Status = status
		if err := r.Client.Status().Patch(ctx, &p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return controller.Again(err)
		}
		if c := purchase.Turned(before.Status.Conditions, p.Status.Conditions, v1alpha1.ConditionHeld); c != nil && r.Spender.Warn != nil {
			r.Spender.Warn(&p, *c)
		}
	}
	r.poller.Done(req.NamespacedName)
	if purchase.Resting(&p) {
		r.poller.Forget(req.NamespacedName)
		next = 0
	}
	for _, look := range []func() (time.Duration, error){
		func() (time.Duration, error) { return r.Resolver.Watch(ctx, &p) },
		func() (time.Duration, error) {
			return r.retain(ctx, &p, r.seen.since(req.NamespacedName, actions(&p), r.Clock.Now()))
		},
	} {
		again, err := look()
		if err != nil {
			return controller.Again(err)
		}
		if again > 0 && (next == 0 || again < next) {
			next = again
		}
	}
	return reconcile.Result{RequeueAfter: next}, nil
}

// read reads the purchase, and reports whether this process is ordering for it right now. If it
// is not, and there is an order without an outcome, the cache may not have the outcome yet: to
// look for that order would read the account and the whole ledger, and with hundreds of orders
// at once so often that the cache falls behind further.
func (r *Reconciler) read(ctx context.Context, name types.NamespacedName, p *v1alpha1.RegfishPurchase) (ordering bool, err error) {
	if err := r.Client.Get(ctx, name, p); err != nil {
		r.seen.forget(name)
		r.poller.Forget(name)
		r.Resolver.Forget(name.Name)
		return false, err
	}
	if r.Spender.Flying(name.Name) {
		return true, nil
	}
	if purchase.Unresolved(p) {
		// Decoded into p, what is gone would stay as the cache has it.
		var live v1alpha1.RegfishPurchase
		if err := r.Spender.Live.Get(ctx, name, &live); err != nil {
			return false, err
		}
		*p = live
	}
	return r.Spender.Flying(name.Name), nil
}

// untold reports whether the order of p stands and nobody said yet what regfish says of it.
func untold(p *v1alpha1.RegfishPurchase, o purchase.Observation) bool {
	return p.Spec.CertificateID != "" && p.Status.Vendor == nil && o.Vendor == nil && o.Search == nil && !o.NotFound && o.Unread == nil && !o.OtherCluster
}

// plan removes the plan of a request that is gone. While the request is there, its
// order keeps the plan.
func (r *Reconciler) plan(ctx context.Context, p *v1alpha1.RegfishPurchase) (reconcile.Result, error) {
	live, err := purchase.RequestLive(ctx, r.Spender.Live, p)
	if err != nil || live {
		return reconcile.Result{RequeueAfter: againWithoutOrder}, err
	}
	uid, version := p.UID, p.ResourceVersion
	return controller.Again(r.Client.Delete(ctx, p, client.Preconditions{UID: &uid, ResourceVersion: &version}))
}

// pause is the pause between two looks at a purchase of that age: a fortieth of
// the age, within bounds, spread over a third of that so that many do not ask at once.
func (r *Reconciler) pause(name string, age time.Duration) time.Duration {
	pause := min(lastLook, max(r.Look, age/40))
	return pause - pause/6 + controller.Spread(name, pause/3)
}

// seen remembers since when this process has known what of a purchase. Nothing of it
// has to outlive the process.
type seen struct {
	mu    sync.Mutex
	first map[types.NamespacedName]sighting
	// alone is since when a purchase has been wanted by no request.
	alone map[types.NamespacedName]time.Time
}

// sighting is when a purchase was first seen with that many attempts.
type sighting struct {
	attempts int
	at       time.Time
}

// since returns for how long this process has known the purchase with that many
// attempts: a new attempt may be under way as long as the first.
func (s *seen) since(name types.NamespacedName, attempts int, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = map[types.NamespacedName]sighting{}
	}
	if known, ok := s.first[name]; !ok || known.attempts != attempts {
		s.first[name] = sighting{attempts, now}
	}
	return now.Sub(s.first[name].at)
}

// patience returns how long a purchase that no request wants may still wait for one.
func (s *seen) patience(name types.NamespacedName, wanted bool, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wanted {
		delete(s.alone, name)
		return endAfter
	}
	if s.alone == nil {
		s.alone = map[types.NamespacedName]time.Time{}
	}
	if _, ok := s.alone[name]; !ok {
		s.alone[name] = now
	}
	return s.alone[name].Add(endAfter).Sub(now)
}

func (s *seen) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.first, name)
	delete(s.alone, name)
}
