// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/controller/issuer"
	"github.com/regfish/regfish-issuer/internal/controller/order"
	purchasecontroller "github.com/regfish/regfish-issuer/internal/controller/purchase"
	"github.com/regfish/regfish-issuer/internal/controller/request"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/simulation/store"
)

// process is one run of the controller's binary, in a pod. What runs in it stops at every
// call until it is its turn.
type process struct {
	w    *world
	slot *slot
	// nonce tells processes of one pod apart.
	nonce   string
	cache   *store.Cache
	spender *purchase.Spender
	ctx     context.Context
	cancel  context.CancelFunc
	killed  chan struct{}
	dead    bool
	// leads says that the controllers run. lost says that the process noticed that it
	// does not lead any more, and only finishes what it sends.
	leads, lost bool
	// renewal is when it looks at the lease next.
	renewal time.Time
	queues  []*queue
	conns   []net.Conn
}

// slot is a replica: a succession of processes, one after the other.
type slot struct {
	index int
	pod   string
	skew  time.Duration
	// calls that its processes have made.
	calls int
	p     *process
	// frozen is until when nothing in it goes on, and held until when its caches learn
	// nothing.
	frozen, held time.Time
	// lag is how long its caches are behind.
	lag map[string]time.Duration
}

// clockOf is the clock of a machine, which may be wrong.
type clockOf struct{ skew time.Duration }

func (c clockOf) Now() time.Time                  { return time.Now().Add(c.skew) }
func (c clockOf) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// settleTime is what the processes are started with.
const settleTime = purchase.DefaultSettleTime

// newProcess starts a process. Its caches know what there is.
func newProcess(w *world, s *slot) *process {
	w.processes++
	p := &process{w: w, slot: s, nonce: fmt.Sprintf("process-%d", w.processes), killed: make(chan struct{}), cache: store.NewCache(w.store)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	w.must(controller.Index(p.ctx, p.cache))
	for _, kind := range []client.Object{&cmapi.CertificateRequest{}, &v1alpha1.RegfishIssuer{}, &v1alpha1.RegfishClusterIssuer{}} {
		// Watched from the start, also while another process leads.
		_, err := p.cache.GetInformer(p.ctx, kind)
		w.must(err)
	}
	clock := clockOf{s.skew}
	live := &store.Client{Store: w.store, Gate: p.gate}
	cached := &store.Client{Store: w.store, Gate: p.gate, Cache: p.cache}
	resolver := &credentials.Resolver{
		Reader: live, ClusterResourceNamespace: ledgerNamespace, AllowedEndpoints: []string{endpoint},
		ReaderRole: operator.SecretReaderRole, ServiceAccount: ledgerNamespace + ":regfish-issuer", Dial: p.dial,
	}
	connect := func(ctx context.Context, i v1alpha1.Issuer) (*vendor, error) {
		c, err := resolver.Client(ctx, i)
		if err != nil {
			return nil, err
		}
		return &vendor{c, p}, nil
	}
	recorder := &recorder{w}
	p.spender = &purchase.Spender{
		Gatherer: purchase.Gatherer{Live: live, Ledger: ledgerNamespace, LedgerUID: w.ledgerUID, ClusterUID: "cluster", Endpoint: resolver.Endpoint},
		Client:   cached,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (purchase.Vendor, error) {
			return asVendor(connect(ctx, i))
		},
		Writer:  v1alpha1.Writer{PodUID: w.podUID(s), PodNamespace: ledgerNamespace, PodName: s.pod, StartNonce: p.nonce},
		Leader:  p.leader(live),
		Clock:   clock,
		MayShow: func(i v1alpha1.Issuer, url string) bool { return controller.MayShow(i.GetSpec().URL, nil, url) },
	}
	p.spender.Warn = func(*v1alpha1.RegfishPurchase, metav1.Condition) {}
	outcomes := &purchase.Resolver{Spender: p.spender, Cache: cached, SettleTime: settleTime}
	mgr := &fakeManager{p: p}
	issuerOptions := issuer.Options{
		Client: cached, Ledger: v1alpha1.Ledger{Namespace: ledgerNamespace, NamespaceUID: w.ledgerUID}, Clock: clock, Concurrency: 1,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (issuer.Vendor, error) {
			return asIssuerVendor(connect(ctx, i))
		},
	}
	for _, r := range []interface{ Register(ctrl.Manager) error }{
		issuer.New(v1alpha1.KindIssuer, issuerOptions),
		issuer.New(v1alpha1.KindClusterIssuer, issuerOptions),
		issuer.NewQueue(v1alpha1.KindIssuer, issuerOptions),
		issuer.NewQueue(v1alpha1.KindClusterIssuer, issuerOptions),
		request.New(request.Options{Client: cached, Clock: clock, Concurrency: 1}),
		order.New(order.Options{Client: cached, Spender: p.spender, Recorder: recorder, Clock: clock, Concurrency: 1}),
		purchasecontroller.New(purchasecontroller.Options{
			Client: cached, Spender: p.spender, Resolver: outcomes, Recorder: recorder, Clock: clock, Concurrency: 1, Alone: true, Retention: purchase.DefaultRetention,
			Look: poller.DefaultEvery, WriterGrace: purchase.MinSettleTime,
		}),
	} {
		w.must(r.Register(mgr))
	}
	p.renewal = time.Now()
	return p
}

// asVendor keeps a nil client from becoming an interface that is not nil.
func asVendor(v *vendor, err error) (purchase.Vendor, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func asIssuerVendor(v *vendor, err error) (issuer.Vendor, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// leader is what operator.Run makes of the lease.
func (p *process) leader(live client.Reader) func(context.Context) error {
	return func(ctx context.Context) error {
		var lease coordinationv1.Lease
		if err := live.Get(ctx, client.ObjectKey{Namespace: ledgerNamespace, Name: operator.LeaseName}, &lease); err != nil {
			return fmt.Errorf("read the lease: %w", err)
		}
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder != p.nonce {
			return errors.New("the lease names another process")
		}
		return nil
	}
}

func (p *process) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := p.w.shop.net.dial(ctx)
	if err == nil {
		p.w.mu.Lock()
		p.conns = append(p.conns, c)
		p.w.mu.Unlock()
	}
	return c, err
}

// crash ends the process at once. Whatever runs in it ends at its next call.
func (p *process) crash() {
	if p.dead {
		return
	}
	p.dead = true
	close(p.killed)
	p.cancel()
	p.w.mu.Lock()
	conns := p.conns
	p.w.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// retire is what becomes of a process that lost the lease: its controllers stop, what is
// being sent is waited for, and it ends.
func (p *process) retire() {
	p.lost = true
	p.cancel()
	go func() {
		p.spender.Wait()
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		p.w.retired = append(p.w.retired, p)
	}()
}

// gate carries out a call to the API server when it is its turn.
func (p *process) gate(ctx context.Context, call store.Call, do func() error) error {
	kind := apiRead
	if call.Writes() {
		kind = apiWrite
	}
	f := p.turn(call.String(), kind)
	if err := ctx.Err(); err != nil {
		return err
	}
	if f == requestLost {
		return errors.New("the API server does not answer")
	}
	err := do()
	p.after(f)
	switch f {
	case replyLost:
		return errors.New("the answer of the API server was lost")
	case errorAfter:
		return errors.New("the API server answers with 500")
	default:
		return err
	}
}

// turn waits until it is the turn of a call and returns what goes wrong with it. What
// concerns the whole process happens here.
func (p *process) turn(name string, kind stepKind) fault {
	p.await(name)
	f := p.w.faultAt(p, name, kind)
	switch f {
	case crashBefore:
		p.w.crash(p)
		runtime.Goexit()
	case freezeShort, freezeLease, freezeLong:
		p.w.freeze(p.slot, freezes[f])
		p.await(name)
		return none
	case staleRead:
		p.slot.held = time.Now().Add(p.w.plan.hold)
		return none
	case leaseLost:
		p.w.steal(p)
		return none
	default:
	}
	return f
}

// after ends the process after a call that was carried out.
func (p *process) after(f fault) {
	if f == crashAfter {
		p.w.crash(p)
		runtime.Goexit()
	}
}

// await waits for the scheduler.
func (p *process) await(name string) {
	p.w.slept.Load()
	p.w.mu.Lock()
	if p.dead {
		p.w.mu.Unlock()
		runtime.Goexit()
	}
	w := &waiter{p: p, name: name, go_: make(chan struct{})}
	p.w.arrivals++
	w.number = p.w.arrivals
	p.w.waiting = append(p.w.waiting, w)
	p.w.mu.Unlock()
	p.w.wake()
	select {
	case <-w.go_:
	case <-p.killed:
	}
	if p.dead {
		runtime.Goexit()
	}
}

// waiter is a call that waits for its turn.
type waiter struct {
	p      *process
	name   string
	number int
	go_    chan struct{}
}

// lead starts the controllers.
func (p *process) lead() {
	p.leads = true
	for _, q := range p.queues {
		go func() { _ = q.controller.Start(p.ctx) }()
	}
}

// fakeManager takes the controllers that are registered, so that the process can start
// them, and gives each a queue whose order the schedule decides.
type fakeManager struct {
	// The methods that nothing here uses are not there.
	ctrl.Manager
	p *process
}

func (m *fakeManager) GetScheme() *kruntime.Scheme    { return m.p.w.scheme }
func (m *fakeManager) GetCache() cache.Cache          { return m.p.cache }
func (m *fakeManager) GetRESTMapper() meta.RESTMapper { return mapper() }
func (m *fakeManager) GetLogger() logr.Logger         { return m.p.w.logger(m.p) }
func (m *fakeManager) GetControllerOptions() config.Controller {
	yes := true
	return config.Controller{SkipNameValidation: &yes}
}

// Add takes a controller. Its type is private, its fields are not.
func (m *fakeManager) Add(r manager.Runnable) error {
	v := reflect.ValueOf(r).Elem()
	q := &queue{p: m.p, name: v.FieldByName("Name").String(), controller: r, due: map[reconcile.Request]time.Time{}, failures: map[reconcile.Request]int{}, running: map[reconcile.Request]bool{}, get: make(chan reconcile.Request), closed: make(chan struct{})}
	v.FieldByName("NewQueue").Set(reflect.ValueOf(func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		return q
	}))
	m.p.queues = append(m.p.queues, q)
	return nil
}

// mapper knows that every kind is namespaced, which is all that is asked.
var mapper = sync.OnceValue(func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for gvk := range operator.Scheme().AllKnownTypes() {
		if strings.HasSuffix(gvk.Group, "cert-manager.io") || gvk.Group == v1alpha1.Group {
			m.Add(gvk, meta.RESTScopeNamespace)
		}
	}
	return m
})

// queue is the work queue of one controller. It hands out nothing before the scheduler
// says so.
type queue struct {
	p          *process
	name       string
	controller manager.Runnable
	get        chan reconcile.Request
	closed     chan struct{}
	once       sync.Once

	mu       sync.Mutex
	due      map[reconcile.Request]time.Time
	running  map[reconcile.Request]bool
	failures map[reconcile.Request]int
	idle     int
}

var _ workqueue.TypedRateLimitingInterface[reconcile.Request] = (*queue)(nil)

func (q *queue) Add(r reconcile.Request) { q.AddAfter(r, 0) }

func (q *queue) AddAfter(r reconcile.Request, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(max(0, d))
	if before, ok := q.due[r]; !ok || at.Before(before) {
		q.due[r] = at
	}
	q.p.w.wake()
}

func (q *queue) AddRateLimited(r reconcile.Request) {
	q.mu.Lock()
	n := q.failures[r]
	q.failures[r]++
	q.mu.Unlock()
	// As controller-runtime does by default.
	q.AddAfter(r, min(5*time.Millisecond<<min(n, 20), 1000*time.Second))
}

func (q *queue) Forget(r reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failures, r)
}

func (q *queue) NumRequeues(r reconcile.Request) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures[r]
}

func (q *queue) Get() (reconcile.Request, bool) {
	q.mu.Lock()
	q.idle++
	q.mu.Unlock()
	q.p.w.wake()
	select {
	case r := <-q.get:
		return r, false
	case <-q.closed:
		return reconcile.Request{}, true
	}
}

func (q *queue) Done(r reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, r)
	q.p.w.wake()
}

func (q *queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.due)
}

func (q *queue) ShutDown()          { q.once.Do(func() { close(q.closed) }) }
func (q *queue) ShutDownWithDrain() { q.ShutDown() }
func (q *queue) ShuttingDown() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// next is what the queue would hand out next, and when.
func (q *queue) next() (reconcile.Request, time.Time, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var first reconcile.Request
	var at time.Time
	if q.idle == 0 || q.ShuttingDown() {
		return first, at, false
	}
	found := false
	for r, due := range q.due {
		if q.running[r] {
			continue
		}
		if !found || due.Before(at) || (due.Equal(at) && r.String() < first.String()) {
			first, at, found = r, due, true
		}
	}
	return first, at, found
}

// hand hands out a request to a worker that waits.
func (q *queue) hand(r reconcile.Request) {
	q.mu.Lock()
	delete(q.due, r)
	q.running[r] = true
	q.idle--
	q.mu.Unlock()
	q.get <- r
}

// recorder takes the events that people would read.
type recorder struct{ w *world }

func (r *recorder) Eventf(about, _ kruntime.Object, _, reason, _, note string, args ...any) {
	name := ""
	if o, ok := about.(client.Object); ok {
		name = o.GetName()
	}
	r.w.event(name, reason, fmt.Sprintf(note, args...))
}

// logger notices panics, which the controllers recover from, and shows what is logged to
// whoever replays a seed.
func (w *world) logger(p *process) logr.Logger {
	if !w.verbose {
		return logr.New(&panics{w: w})
	}
	return funcr.New(func(_, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, _ = fmt.Fprintf(w.out, "      %s logs %s\n", p.nonce, args)
	}, funcr.Options{})
}

// panics is a log that keeps nothing but panics.
type panics struct{ w *world }

func (*panics) Init(logr.RuntimeInfo)            {}
func (*panics) Enabled(int) bool                 { return false }
func (*panics) Info(int, string, ...any)         {}
func (s *panics) WithValues(...any) logr.LogSink { return s }
func (s *panics) WithName(string) logr.LogSink   { return s }
func (s *panics) Error(err error, _ string, _ ...any) {
	if err != nil && strings.Contains(err.Error(), "[recovered]") {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.w.violate("a controller panicked: %v", err)
	}
}

var freezes = map[fault]time.Duration{freezeShort: 20 * time.Second, freezeLease: 2 * time.Minute, freezeLong: 50 * time.Minute}
