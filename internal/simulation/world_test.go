// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/simulation/store"
)

const (
	ledgerNamespace = "regfish-issuer"
	issuerName      = "regfish"
	apiKey          = "simulation.0123456789abcdef0123456789"
	otherKey        = "elsewhere.0123456789abcdef0123456789"
)

// The lease as the controller holds it.
const (
	leaseDuration = 60 * time.Second
	renewDeadline = 40 * time.Second
)

// latency is how long a call takes.
const latency = time.Millisecond

// soonest is how long a schedule takes at least.
const soonest = 8 * time.Minute

// longest is the longest that a schedule may take to come to rest.
const longest = 30 * time.Hour

// most is the most steps of a schedule: one that makes more goes round in circles.
const most = 60_000

var scheme = sync.OnceValue(operator.Scheme)

// world is one run of one plan.
type world struct {
	plan    plan
	verbose bool
	out     io.Writer
	scheme  *kruntime.Scheme
	store   *store.Store
	shop    *shop
	random  *rand.Rand
	begun   time.Time

	slots     [2]*slot
	ledgerUID types.UID
	processes int

	// mu guards what several goroutines of a bubble use.
	mu       sync.Mutex
	waiting  []*waiter
	arrivals int
	woken    chan struct{}
	retired  []*process
	dns      map[string]string

	// slept counts how often the scheduler went to sleep. Whoever is woken by time, and not
	// by the scheduler, reads it: so what it does comes after what the scheduler did.
	slept atomic.Int64

	// holder of the lease, and when it can be taken if the holder does not renew it.
	holder string
	expiry time.Time

	timers []timer
	steps  int
	seen   int64      // version of the store that the actors know
	talk   sync.Mutex // one line at a time
	hash   interface {
		io.Writer
		Sum64() uint64
	}
	// record has the calls of the first replica, in a run that is recorded.
	record []stepKind
	// asked has the number of calls that it had made when each request was made.
	asked []int

	// echo is the id that the order under way is answered with; empty: its own.
	echo string
	// orders is how many were sent.
	orders int
	// cancelled are the ids that were cancelled at the vendor, strangers the keys that
	// somebody else ordered for, and lives when there was a request for a key.
	cancelled, strangers map[string]bool
	lives                map[string][]life
	// given up are the keys of purchases that a person gave up.
	givenUp map[string]bool
	lineage lineage

	events     []string
	violations []string
	asks       []*wanted
	licences   map[string]int
	decisions  int
	decided    map[string]string
	lateTaken  bool
	hit        int // faults that struck
}

// timer is something that happens at a time.
type timer struct {
	at     time.Time
	number int
	what   string
	do     func()
}

// result is what came of a run.
type result struct {
	violations []string
	purchases  int
	reissues   int
	renewals   int
	duplicates int
	lost       int
	wrong      int
	held       int
	ends       ways
	reported   int
	hash       uint64
	steps      int
	record     []stepKind
	asked      []int
	hit        int
	virtual    time.Duration
}

// run plays a plan in a bubble of its own.
func run(t *testing.T, p plan, verbose bool, out io.Writer) (r result) {
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, verbose, out)
		defer w.end()
		w.play()
		r = w.judge()
	})
	return r
}

func newWorld(p plan, verbose bool, out io.Writer) *world {
	w := &world{
		plan: p, verbose: verbose, out: out, scheme: scheme(), woken: make(chan struct{}, 1), dns: map[string]string{},
		random: rand.New(rand.NewPCG(p.seed, 1)), hash: fnv.New64a(), licences: map[string]int{}, decided: map[string]string{}, begun: time.Now(),
		cancelled: map[string]bool{}, strangers: map[string]bool{}, lives: map[string][]life{}, givenUp: map[string]bool{}, lineage: newLineage(),
	}
	w.store = store.New(w.scheme)
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(p.seed >> (8 * i))
	}
	var err error
	w.shop, err = newShop(simulator.Options{
		Keys: []string{apiKey, otherKey}, Now: time.Now, IssueDelay: p.issueDelay, ContractDays: int(p.contract), Day: p.day, Random: rand.NewChaCha8(seed), Resolver: w.resolve,
	})
	w.must(err)
	for _, f := range p.rewrites {
		w.shop.InjectFault(f)
	}
	if p.listLag > 0 {
		w.shop.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: p.listLag, Times: -1})
	}
	if p.firstPages > 0 {
		w.shop.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultFirstPageOnly, Rows: 1, Times: p.firstPages})
	}
	if p.notFound > 0 {
		w.shop.InjectFault(simulator.Fault{Endpoint: simulator.EndpointGet, Kind: simulator.FaultStatus, Status: 404, Times: p.notFound})
	}
	w.furnish()
	for i := range w.slots {
		w.slots[i] = &slot{index: i, pod: fmt.Sprintf("regfish-issuer-%d", i), skew: p.skew[i], lag: map[string]time.Duration{}}
		w.startPod(w.slots[i])
	}
	for i := range w.slots {
		w.slots[i].p = newProcess(w, w.slots[i])
	}
	for i := range p.asks {
		w.asks = append(w.asks, &wanted{ask: p.asks[i], key: p.asks[i].key})
		w.in(p.asks[i].at, "ask", func() { w.request(i) })
	}
	return w
}

// furnish creates what stands before the controllers come.
func (w *world) furnish() {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ledgerNamespace}}
	w.must(w.store.Create(ns))
	w.ledgerUID = ns.UID
	w.must(w.store.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ledgerNamespace, Name: "regfish-api"}, Data: map[string][]byte{"api-key": []byte(apiKey)}}))
	_, ca := identity()
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuerName}, Spec: v1alpha1.IssuerSpec{
		APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}, URL: endpoint, CABundle: ca, SKU: "RapidSSL",
		DCV: v1alpha1.DCV{Method: v1alpha1.DCVMethodCNAME, Publisher: v1alpha1.DCVPublisherExternal},
	}}
	if w.plan.limit > 0 {
		issuer.Spec.PurchaseLimit.Count = &w.plan.limit
	}
	if w.plan.days > 0 {
		issuer.Spec.ValidityDays = &w.plan.days
	}
	w.must(w.store.Create(issuer))
	w.must(w.store.Create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ledgerNamespace, Name: operator.LeaseName}}))
}

// startPod makes the pod of a replica, or starts its container again.
func (w *world) startPod(s *slot) {
	var pod corev1.Pod
	key := types.NamespacedName{Namespace: ledgerNamespace, Name: s.pod}
	if w.store.Get(key, &pod) != nil {
		pod = corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		w.must(w.store.Create(&pod))
	}
	before := pod.DeepCopy()
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "controller", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(s.skew))}},
	}}}
	w.must(w.store.Patch(&pod, client.MergeFrom(before), true))
}

func (w *world) podUID(s *slot) types.UID {
	var pod corev1.Pod
	w.must(w.store.Get(types.NamespacedName{Namespace: ledgerNamespace, Name: s.pod}, &pod))
	return pod.UID
}

// play makes steps until everything is at rest.
func (w *world) play() {
	for w.steps < most {
		synctest.Wait()
		w.tick()
		choices := w.choices()
		if len(choices) == 0 {
			if !w.idle() {
				return
			}
			continue
		}
		i := 0
		if w.plan.random {
			i = w.random.IntN(len(choices))
		}
		w.steps++
		w.say("%s", choices[i].what)
		choices[i].do()
		synctest.Wait()
		w.slept.Add(1)
		time.Sleep(latency)
	}
	w.violate("no rest after %d steps", w.steps)
}

// idle waits until something happens, and reports false when nothing will that matters.
func (w *world) idle() bool {
	now := time.Now()
	next := w.nextDue()
	passed := now.Sub(w.begun)
	if passed >= soonest && len(w.timers) == 0 && w.atRest() {
		return false
	}
	if passed > longest+time.Duration(w.plan.renewals)*time.Duration(w.plan.days)*24*time.Hour {
		w.violate("no rest after %s: %s", passed, w.unrest())
		return false
	}
	select {
	case <-w.woken:
	default:
	}
	pause := min(next.Sub(now), 10*time.Minute)
	if left := soonest - passed; left > 0 {
		// Whoever looks every few minutes is not waited for.
		pause = min(pause, left)
	}
	w.slept.Add(1)
	timer := time.NewTimer(max(latency, pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.woken:
	}
	return true
}

// choice is a step that can be made.
type choice struct {
	what   string
	number int
	do     func()
}

// choices are the steps that can be made now, in an order that does not depend on how
// goroutines were scheduled.
func (w *world) choices() []choice {
	var found []choice
	w.mu.Lock()
	w.waiting = slices.DeleteFunc(w.waiting, func(x *waiter) bool { return x.p.dead })
	waiting := slices.Clone(w.waiting)
	w.mu.Unlock()
	now := time.Now()
	slices.SortStableFunc(waiting, func(a, b *waiter) int {
		return cmp.Or(cmp.Compare(a.p.slot.index, b.p.slot.index), cmp.Compare(a.name, b.name))
	})
	for _, x := range waiting {
		if now.Before(x.p.slot.frozen) {
			continue
		}
		found = append(found, choice{what: fmt.Sprintf("%s %s", x.p.nonce, x.name), number: x.number, do: func() {
			w.mu.Lock()
			w.waiting = slices.DeleteFunc(w.waiting, func(y *waiter) bool { return y == x })
			w.mu.Unlock()
			close(x.go_)
		}})
	}
	for _, s := range w.slots {
		p := s.p
		if p == nil || p.dead || p.lost || !p.leads || now.Before(s.frozen) {
			continue
		}
		for _, q := range p.queues {
			if r, at, ok := q.next(); ok && !at.After(now) {
				found = append(found, choice{what: fmt.Sprintf("%s reconciles %s %s", p.nonce, q.name, r), number: 1 << 40, do: func() { q.hand(r) }})
			}
		}
	}
	if !w.plan.random {
		slices.SortStableFunc(found, func(a, b choice) int { return cmp.Compare(a.number, b.number) })
	}
	return found
}

// tick lets happen what is due: what was planned, the lease, and news for the caches.
func (w *world) tick() {
	for {
		now := time.Now()
		i := slices.IndexFunc(w.timers, func(t timer) bool { return !t.at.After(now) })
		if i < 0 {
			break
		}
		t := w.timers[i]
		w.timers = slices.Delete(w.timers, i, i+1)
		w.say("-- %s", t.what)
		t.do()
		synctest.Wait()
	}
	w.mu.Lock()
	retired := w.retired
	w.retired = nil
	w.mu.Unlock()
	for _, p := range retired {
		if !p.dead {
			w.say("-- %s ends", p.nonce)
			w.crash(p)
		}
	}
	for _, s := range w.slots {
		w.elect(s)
	}
	synctest.Wait()
	for len(w.plan.actions) > 0 && w.plan.actions[0].step <= w.steps {
		a := w.plan.actions[0]
		w.plan.actions = w.plan.actions[1:]
		w.act(a)
	}
	w.react()
	for _, s := range w.slots {
		w.inform(s)
	}
}

// inform tells the caches of a replica what is due.
func (w *world) inform(s *slot) {
	p := s.p
	if p == nil || p.dead {
		return
	}
	for _, kind := range p.cache.Watched() {
		for {
			now := time.Now()
			event, ok := p.cache.Next(kind)
			if !ok || now.Before(s.frozen) || now.Before(w.heldFor(s, kind)) || event.Time.Add(w.lag(s, kind)).After(now) {
				break
			}
			p.cache.Deliver(kind)
			synctest.Wait()
		}
	}
}

// heldFor is until when a replica learns nothing of a kind.
func (w *world) heldFor(s *slot, kind string) time.Time {
	if w.plan.stale != "" && w.plan.stale != kind {
		return time.Time{}
	}
	return s.held
}

// lag is how far the cache of a kind is behind in a replica.
func (w *world) lag(s *slot, kind string) time.Duration {
	if d, ok := s.lag[kind]; ok {
		return d
	}
	d := 2 * latency
	if w.plan.random {
		h := fnv.New64a()
		_, _ = fmt.Fprint(h, w.plan.seed, s.index, kind)
		d += time.Duration(h.Sum64() % uint64(w.plan.lag+1))
	}
	s.lag[kind] = d
	return d
}

// nextDue is when the next thing happens that is planned.
func (w *world) nextDue() time.Time {
	now := time.Now()
	next := now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, t := range w.timers {
		sooner(t.at)
	}
	for _, s := range w.slots {
		if now.Before(s.frozen) {
			sooner(s.frozen)
			continue
		}
		p := s.p
		if p == nil || p.dead {
			continue
		}
		if w.leaseMatters(p) {
			sooner(p.renewal)
		}
		for _, kind := range p.cache.Watched() {
			if event, ok := p.cache.Next(kind); ok {
				due := event.Time.Add(w.lag(s, kind))
				if held := w.heldFor(s, kind); due.Before(held) {
					due = held
				}
				sooner(due)
			}
		}
		if !p.leads || p.lost {
			continue
		}
		for _, q := range p.queues {
			if _, at, ok := q.next(); ok {
				sooner(at)
			}
		}
	}
	return next
}

// in plans something for later.
func (w *world) in(d time.Duration, what string, do func()) {
	w.arrivals++
	w.timers = append(w.timers, timer{at: time.Now().Add(d), number: w.arrivals, what: what, do: do})
	slices.SortStableFunc(w.timers, func(a, b timer) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number)) })
}

func (w *world) planned(what string) bool {
	return slices.ContainsFunc(w.timers, func(t timer) bool { return t.what == what })
}

// wake ends an idle wait.
func (w *world) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// faultAt counts a call of a replica and returns what goes wrong with it.
func (w *world) faultAt(p *process, name string, kind stepKind) fault {
	call := p.slot.calls
	p.slot.calls++
	if p.slot.index == 0 {
		w.record = append(w.record, kind)
	}
	if kind == vendorOrder {
		w.orders++
		if w.orders <= len(w.plan.atOrder) && w.plan.atOrder[w.orders-1] != none {
			w.hit++
			w.say("** %s at order %d: %s", w.plan.atOrder[w.orders-1], w.orders, name)
			return w.plan.atOrder[w.orders-1]
		}
	}
	for _, f := range w.plan.faults {
		if f.slot == p.slot.index && f.call == call && (f.fault < requestLost || f.fault > errorAfter || kind != vendorConnect) {
			w.hit++
			w.say("** %s at call %d of replica %d: %s", f.fault, call, p.slot.index, name)
			return f.fault
		}
	}
	return none
}

// crash ends a process; the next one of its replica starts a moment later.
func (w *world) crash(p *process) {
	if p.dead {
		return
	}
	s := p.slot
	w.lapse(p)
	p.crash()
	s.frozen, s.held = time.Time{}, time.Time{}
	w.in(max(3*time.Second, w.plan.down), "restart "+s.pod, func() {
		if w.plan.replaced && !p.lost {
			w.must(w.store.Delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ledgerNamespace, Name: s.pod}}))
		}
		w.startPod(s)
		s.p = newProcess(w, s)
	})
}

// end ends every process and waits until nothing is left in the bubble.
func (w *world) end() {
	for _, s := range w.slots {
		if s.p != nil {
			s.p.crash()
		}
	}
	for _, p := range w.retired {
		p.crash()
	}
	_ = w.shop.net.Close()
	_ = w.shop.http.Close()
	// What waits in a process that ended looks around once more, and ends.
	time.Sleep(time.Minute)
}

// strike has the vendor answer the order that comes next as the fault says.
func (w *world) strike(e simulator.Endpoint, f fault) {
	strike := simulator.Fault{Endpoint: e, Kind: simulator.FaultDrop}
	if w.plan.silent {
		strike.Kind = simulator.FaultHang
	}
	switch f {
	case requestLost:
	case replyLost:
		strike.AfterCommit = true
	case errorAfter:
		strike.Kind, strike.Status, strike.AfterCommit = simulator.FaultStatus, 503, true
	default:
		return
	}
	w.shop.InjectFault(strike)
}

// calm forgets what was to strike an order that never reached the vendor.
func (w *world) calm() {
	planned := w.shop.Faults()
	w.shop.ClearFaults()
	for _, f := range planned {
		if (f.Endpoint != simulator.EndpointOrder && f.Endpoint != simulator.EndpointReissue) || f.Times < 0 {
			w.shop.InjectFault(f)
		}
	}
}

// sent notes how an order ended for the process that sent it.
func (w *world) sent(r regfish.OrderResult) {
	w.say("   order: %s %s", r.Outcome, r.Certificate.ID)
}

// echoed makes an order that was not made look as if the vendor had answered with an id
// that it named before.
func (w *world) echoed(r *regfish.OrderResult) bool {
	if w.echo == "" {
		return false
	}
	*r = regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: regfish.Certificate{ID: w.echo}}
	w.echo = ""
	return true
}

// takeLate reports whether the order that is sent now is the one that arrives late.
func (w *world) takeLate() bool {
	taken := w.lateTaken
	w.lateTaken = true
	return !taken
}

func (w *world) arriveLater(r regfish.OrderRequest) {
	body, err := json.Marshal(r)
	w.must(err)
	w.in(w.plan.late, "a late order arrives", func() { w.shop.deliver(apiKey, body) })
}

// say writes a line of the schedule, which also goes into its hash.
func (w *world) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.talk.Lock()
	defer w.talk.Unlock()
	_, _ = fmt.Fprintln(w.hash, time.Since(w.begun), line)
	if w.verbose {
		_, _ = fmt.Fprintf(w.out, "%5d %14s %s\n", w.steps, time.Since(w.begun), line)
	}
}

func (w *world) event(name, reason, note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s %s %s", name, reason, note))
}

func (w *world) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

func (w *world) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("simulation: %v", err))
	}
}
