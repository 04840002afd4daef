// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/controller/issuer"
	"github.com/regfish/regfish-issuer/internal/controller/order"
	purchasecontroller "github.com/regfish/regfish-issuer/internal/controller/purchase"
	"github.com/regfish/regfish-issuer/internal/controller/request"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// hands are the controllers of a world without a manager: a test calls them, at a time
// that it sets. They read through a cache, as in a manager, and every write and every
// event is counted.
type hands struct {
	*testenv.CountingClient
	t      *testing.T
	l      *lasting
	clock  *ahead
	events *eventTally

	issuers, clusterIssuers *issuer.Reconciler
	requests                *request.Reconciler
	orders                  *order.Reconciler
	purchases               *purchasecontroller.Reconciler
}

// ahead is a clock that runs ahead of the real time by so much.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time                  { return time.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) Since(t time.Time) time.Duration { return a.Now().Sub(t) }
func (a *ahead) step(d time.Duration)            { a.by.Add(int64(d)) }

// eventTally writes down the events that are made.
type eventTally struct {
	clock *ahead
	mu    sync.Mutex
	made  []madeEvent
}

type madeEvent struct {
	what string // type and reason of the event, and the kind of what it is about
	at   time.Time
}

func (e *eventTally) Eventf(about, _ runtime.Object, eventType, reason, _, _ string, _ ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made = append(e.made, madeEvent{fmt.Sprintf("%s %s %T", eventType, reason, about), e.clock.Now()})
}

func (e *eventTally) all() []madeEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]madeEvent(nil), e.made...)
}

func (l *lasting) byHand() *hands {
	l.t.Helper()
	h := &hands{t: l.t, l: l, clock: &ahead{}}
	h.events = &eventTally{clock: h.clock}
	cached, err := cache.New(l.Config, cache.Options{
		Scheme:                      operator.Scheme(),
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
		DefaultNamespaces:           map[string]cache.Config{l.Namespace: {}, l.ledger: {}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := controller.Index(l.t.Context(), cached); err != nil {
		l.t.Fatal(err)
	}
	for _, kind := range []client.Object{
		&cmapi.CertificateRequest{}, &v1alpha1.RegfishIssuer{}, &v1alpha1.RegfishClusterIssuer{}, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{},
	} {
		if _, err := cached.GetInformer(l.t.Context(), kind, cache.BlockUntilSynced(false)); err != nil {
			l.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cached.Start(ctx) }()
	l.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Errorf("cache ended: %v", err)
		}
	})
	if !cached.WaitForCacheSync(ctx) {
		l.t.Fatal("the cache is not filled")
	}
	through, err := client.New(l.Config, client.Options{Scheme: operator.Scheme(), Cache: &client.CacheOptions{Reader: cached}})
	if err != nil {
		l.t.Fatal(err)
	}
	h.CountingClient = testenv.Count(through)
	h.restart()
	return h
}

// restart replaces the controllers by new ones, which remember nothing.
func (h *hands) restart() {
	h.t.Helper()
	var namespace, system corev1.Namespace
	if err := errors.Join(
		h.l.Client.Get(h.t.Context(), client.ObjectKey{Name: h.l.ledger}, &namespace),
		h.l.Client.Get(h.t.Context(), client.ObjectKey{Name: metav1.NamespaceSystem}, &system),
	); err != nil {
		h.t.Fatal(err)
	}
	ledger := v1alpha1.Ledger{Namespace: namespace.Name, NamespaceUID: namespace.UID}
	resolver := &credentials.Resolver{Reader: h.l.Client, ClusterResourceNamespace: h.l.ledger, AllowedEndpoints: []string{h.l.url}, UserAgent: "regfish-issuer/test"}
	spender := &purchase.Spender{
		Gatherer: purchase.Gatherer{Live: h.l.Client, Ledger: ledger.Namespace, LedgerUID: ledger.NamespaceUID, ClusterUID: system.UID, Endpoint: resolver.Endpoint},
		Client:   h.CountingClient,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (purchase.Vendor, error) {
			return resolver.Client(ctx, i)
		},
		Writer: v1alpha1.Writer{StartNonce: fmt.Sprintf("%p", resolver)}, Clock: h.clock,
		MayShow: func(i v1alpha1.Issuer, url string) bool { return controller.MayShow(i.GetSpec().URL, nil, url) },
	}
	check := issuer.Options{
		Client: h.CountingClient, Ledger: ledger, Clock: h.clock,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (issuer.Vendor, error) {
			c, err := resolver.Client(ctx, i)
			if err != nil {
				return nil, err
			}
			return c.Checks(), nil
		},
	}
	h.issuers, h.clusterIssuers = issuer.New(v1alpha1.KindIssuer, check), issuer.New(v1alpha1.KindClusterIssuer, check)
	h.requests = request.New(request.Options{Client: h.CountingClient, Clock: h.clock})
	h.orders = order.New(order.Options{Client: h.CountingClient, Spender: spender, Recorder: h.events, Clock: h.clock})
	h.purchases = purchasecontroller.New(purchasecontroller.Options{
		Client: h.CountingClient, Spender: spender, Resolver: &purchase.Resolver{Spender: spender, Cache: h.CountingClient, SettleTime: purchase.DefaultSettleTime}, Recorder: h.events,
		Clock: h.clock, Look: purchasecontroller.DefaultLook, WriterGrace: purchase.MinSettleTime,
	})
}

type reconciler func(context.Context, reconcile.Request) (reconcile.Result, error)

func (h *hands) must(r reconciler, o client.Object) reconcile.Result {
	h.t.Helper()
	result, err := r(h.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
	if err != nil {
		h.t.Fatalf("reconcile %T %s: %v", o, o.GetName(), err)
	}
	return result
}

// duty is an object that a controller has to look at again at a time; zero: when
// something happens, or when the cache is gone through.
type duty struct {
	object client.Object
	of     func(*hands) reconciler
	due    time.Time
}

// duties are those of all orders, requests and purchases of the world.
func (h *hands) duties() []*duty {
	h.t.Helper()
	var all []*duty
	for _, w := range h.l.waits {
		meta := metav1.ObjectMeta{Namespace: h.l.Namespace, Name: w.name + "-1"}
		all = append(all,
			&duty{object: &cmapi.CertificateRequest{ObjectMeta: meta}, of: func(h *hands) reconciler { return h.requests.Reconcile }},
			&duty{object: &v1alpha1.RegfishOrder{ObjectMeta: meta}, of: func(h *hands) reconciler { return h.orders.Reconcile }})
	}
	for _, p := range h.l.purchases() {
		all = append(all, &duty{object: &p, of: func(h *hands) reconciler { return h.purchases.Reconcile }})
	}
	return all
}

// settle calls every controller, with a step of time between the rounds, until check
// passes and a whole round wrote nothing on what the API server has.
func (h *hands) settle(what string, step time.Duration, check func() error) {
	h.t.Helper()
	h.l.eventually(what, func() error {
		h.clock.step(step)
		before := h.Writes()
		for _, i := range h.l.both() {
			r := h.issuers
			if i.Ref().Kind == v1alpha1.KindClusterIssuer {
				r = h.clusterIssuers
			}
			if _, err := r.Reconcile(h.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(i)}); err != nil {
				return err
			}
		}
		for _, d := range h.duties() {
			if _, err := d.of(h)(h.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d.object)}); err != nil {
				return err
			}
		}
		if n := h.Writes() - before; n != 0 {
			return fmt.Errorf("%d writes in the last round", n)
		}
		for _, d := range h.duties() {
			cached, live := d.object.DeepCopyObject().(client.Object), d.object.DeepCopyObject().(client.Object)
			if err := h.Get(h.t.Context(), client.ObjectKeyFromObject(d.object), cached); err != nil {
				return err
			}
			if err := h.l.get(live); err != nil {
				return err
			}
			if cached.GetResourceVersion() != live.GetResourceVersion() {
				return fmt.Errorf("the cache has an older %T %s", live, live.GetName())
			}
		}
		return check()
	})
}

// resync is how often a manager goes through its cache.
const resync = 10 * time.Hour

// pass lets time pass from one look that is due to the next, until done says so. It
// fails the test when that takes longer than the given time.
func (h *hands) pass(all []*duty, within time.Duration, done func() bool) {
	h.t.Helper()
	through, end := h.clock.Now().Add(resync), h.clock.Now().Add(within)
	for !done() {
		if h.clock.Now().After(end) {
			h.t.Fatalf("it did not come in %s", within)
		}
		next := all[0]
		for _, d := range all {
			if next.due.IsZero() || (!d.due.IsZero() && d.due.Before(next.due)) {
				next = d
			}
		}
		if next.due.After(through) {
			for _, d := range all {
				d.due = through
			}
			next, through = all[0], through.Add(resync)
		}
		h.clock.step(max(0, next.due.Sub(h.clock.Now())))
		next.due = time.Time{}
		if again := h.must(next.of(h), next.object).RequeueAfter; again > 0 {
			next.due = h.clock.Now().Add(again)
		}
	}
}

// TestWaitsAreQuiet: while nothing changes, orders that wait cost the API server nothing,
// however often they are looked at. Those who have to act are reminded once a day, on
// each object on which they may look, and a restart does not remind them again.
func TestWaitsAreQuiet(t *testing.T) {
	const looks = 1000 // at the two together
	l := newLasting(t)
	h := l.byHand()
	l.askBoth()
	h.settle("both orders wait", 0, func() error {
		for _, w := range l.waits {
			o := &v1alpha1.RegfishOrder{ObjectMeta: w.cr.ObjectMeta}
			if err := l.get(o); err != nil {
				return err
			}
			if err := l.get(w.cr); err != nil {
				return err
			}
			if o.Status.State != w.state || readyMessage(w.cr) != o.Status.Message {
				return fmt.Errorf("%s is %s: %s; the request says %q", o.Name, o.Status.State, o.Status.Message, readyMessage(w.cr))
			}
		}
		return nil
	})
	l.waiting("waits")

	begin, told, writes := h.clock.Now(), len(h.events.all()), h.Writes()
	looked := func() int { return l.vendor.Calls()[string(simulator.EndpointGet)] }
	first := looked()
	passed := func(n int) func() bool {
		return func() bool { return looked()-first >= n }
	}
	all := h.duties()
	due := func(at time.Time) {
		for _, d := range all {
			d.due = at
		}
	}
	due(begin)
	h.pass(all, 30*day, passed(looks/3))
	restart := func() {
		t.Helper()
		h.restart()
		n := len(h.events.all())
		for _, d := range all {
			h.must(d.of(h), d.object)
		}
		if more := len(h.events.all()) - n; more != 0 {
			t.Errorf("a restart made %d events", more)
		}
		due(h.clock.Now())
	}
	for range 3 {
		// A minute after both were reminded, when a reminder would be the most useless,
		// again at once, and somewhere in the day.
		n := len(h.events.all())
		h.pass(all, day+time.Hour, func() bool { return len(h.events.all()) >= n+6 })
		h.clock.step(time.Minute)
		restart()
		restart()
		h.pass(all, day, passed(looked()-first+20))
		restart()
	}
	h.pass(all, 30*day, passed(looks))
	// Not in the seconds around a reminder, where it may or may not have come.
	for h.clock.Now().Sub(begin)%day < time.Hour {
		h.pass(all, day, passed(looked()-first+1))
	}

	if n := h.Writes() - writes; n != 0 {
		t.Errorf("%d writes in %d looks: %v", n, looked()-first, h.Calls())
	}
	days := int(h.clock.Now().Sub(begin) / day)
	if days < 3 {
		t.Fatalf("only %d days have passed in %d looks", days, looked()-first)
	}
	got, last := map[string]int{}, map[string]time.Time{}
	for _, e := range h.events.all()[told:] {
		if before, ok := last[e.what]; ok && (e.at.Sub(before) < day-2*time.Minute || e.at.Sub(before) > day+2*time.Minute) {
			t.Errorf("%s came %s after the one before", e.what, e.at.Sub(before))
		}
		last[e.what] = e.at
		got[e.what]++
	}
	want := map[string]int{}
	for _, about := range []client.Object{&v1alpha1.RegfishOrder{}, &cmapi.CertificateRequest{}, &cmapi.Certificate{}} {
		for _, reason := range []string{v1alpha1.ReasonAwaitingDNS, "OrganizationRequired"} {
			want[fmt.Sprintf("Warning %s %T", reason, about)] = days
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of %d days (-want +got):\n%s", days, diff)
	}
	t.Logf("%d looks in %d days", looked()-first, days)

	// And they still come to an end.
	l.act()
	h.settle("both requests have their certificates", time.Hour, func() error {
		for _, w := range l.waits {
			if err := l.get(w.cr); err != nil {
				return err
			}
			if len(w.cr.Status.Certificate) == 0 {
				return fmt.Errorf("%s: %s", w.cr.Name, readyMessage(w.cr))
			}
		}
		return nil
	})
	l.bought(2)
}

const day = 24 * time.Hour
