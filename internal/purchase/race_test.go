// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// together runs f for each process at once, as real goroutines.
func together(processes []*Spender, f func(*Spender)) {
	var begin, end sync.WaitGroup
	begin.Add(1)
	for _, s := range processes {
		end.Go(func() {
			begin.Wait()
			f(s)
		})
	}
	begin.Done()
	end.Wait()
}

// Two leaders that do not know of each other and work on the same request place
// one order.
func TestTwoProcessesBuyOnce(t *testing.T) {
	for range 10 {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		together([]*Spender{w.spender("one", none), w.spender("two", none)}, func(s *Spender) {
			for range 4 {
				d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
				// A process that read the ledger before the other wrote to it, and the account
				// after, waits.
				if err == nil && d.Step != StepFollow && d.Step != StepWait {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
				if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
					t.Errorf("error %v", err)
				}
			}
		})
		if p := w.only(); w.vendor.sent() != 1 || p.Spec.CertificateID != "ID0001" || w.slots() != 1 {
			t.Fatalf("%d orders, %v, %d slots", w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// Two Certificates of two tenants for the same names are two purchases. They are
// placed one after the other, because two orders in flight could not be told
// apart.
func TestTwoProcessesBuyForTwoTenantsInTurn(t *testing.T) {
	for range 4 {
		first, second := shopWWW(t), approved("blog", "www-1", "r2", csr(t, keyB, "www.example.com"))
		w := newWorld(t, readyIssuer(50), first, second)
		var flying atomic.Int32
		w.vendor.before = func() {
			if flying.Add(1) > 1 {
				t.Error("two orders for the same names are in flight")
			}
			defer flying.Add(-1)
		}
		together([]*Spender{w.spender("one", none), w.spender("one", none), w.spender("two", none), w.spender("two", none)}, func(s *Spender) {
			for _, cr := range []*cmapi.CertificateRequest{first, second, first, second} {
				d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
				if err == nil && d.Step != StepFollow && d.Step != StepWait {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
			}
		})
		last := w.spender("three", none)
		for _, cr := range []*cmapi.CertificateRequest{first, second} {
			if d := w.spend(last, cr); d.Step != StepFollow {
				t.Errorf("%s: step %d: %s", cr.Namespace, d.Step, d.Message)
			}
		}
		all := w.purchases()
		if w.vendor.sent() != 2 || len(all) != 2 || all[0].Spec.CertificateID == "" || all[1].Spec.CertificateID == "" || w.slots() != 2 {
			t.Fatalf("%d orders, %v, %d slots", w.vendor.sent(), describe(all), w.slots())
		}
	}
}

// However many buy at once, in one process or two, the limit holds.
func TestTheLimitHolds(t *testing.T) {
	const limit, wants = 5, 20
	var requests []client.Object
	for i := range wants {
		ns := []string{"shop", "blog"}[i%2]
		requests = append(requests, approved(ns, fmt.Sprintf("host%02d-1", i), types.UID(fmt.Sprintf("r%d", i)), csr(t, keyA, fmt.Sprintf("host%02d.example.com", i))))
	}
	w := newWorld(t, append([]client.Object{readyIssuer(limit)}, requests...)...)
	processes := []*Spender{w.spender("one", none), w.spender("two", none)}
	spend := func(s *Spender, o client.Object) {
		d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(o), o.GetUID())
		if err == nil && d.Step != StepFollow && (d.Step != StepQueue || d.Reason != v1alpha1.ReasonPurchaseLimitReached) {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
	}
	var end sync.WaitGroup
	for i, o := range requests {
		end.Go(func() { spend(processes[i/2%2], o) })
	}
	end.Wait()
	if got := w.vendor.sent(); got > limit {
		t.Fatalf("%d orders were placed, and the limit is %d", got, limit)
	}
	// Those that met too many conflicts come again.
	for _, o := range requests {
		spend(processes[0], o)
	}
	if got := w.vendor.sent(); got != limit || w.slots() != limit || len(w.purchases()) != limit {
		t.Fatalf("%d orders, %d slots, %d purchases, and the limit is %d", got, w.slots(), len(w.purchases()), limit)
	}
}

// One process does not get in its own way: its reservations come one after another.
func TestOneProcessTakesSlotsWithoutConflicts(t *testing.T) {
	const wants = 12
	var requests []client.Object
	for i := range wants {
		requests = append(requests, approved("shop", fmt.Sprintf("host%02d-1", i), types.UID(fmt.Sprintf("r%d", i)), csr(t, keyA, fmt.Sprintf("host%02d.example.com", i))))
	}
	w := newWorld(t, append([]client.Object{readyIssuer(wants)}, requests...)...)
	s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		err := c.SubResource(sub).Patch(ctx, o, patch, opts...)
		if err != nil {
			t.Errorf("%T: %v", o, err)
		}
		return err
	}})
	var end sync.WaitGroup
	for _, o := range requests {
		end.Go(func() {
			if d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(o), o.GetUID()); err != nil || d.Step != StepFollow {
				t.Errorf("step %d (%s), error %v", d.Step, d.Message, err)
			}
		})
	}
	end.Wait()
	if got := w.vendor.sent(); got != wants || w.slots() != wants {
		t.Errorf("%d orders, %d slots, want %d", got, w.slots(), wants)
	}
}

// Slots that are asked for while others are written are written together: with hundreds of
// orders at once each would otherwise wait for all before it. The limit is counted through
// all of them, and where the write does not come about nobody buys.
func TestSlotsAreTakenTogether(t *testing.T) {
	const wants, limit = 12, 5
	lost := errors.New("no answer")
	for name, tc := range map[string]struct {
		reason string
		second func() error // what becomes of the write of those that waited
		bought int
	}{
		"and the limit holds":         {"two writes are enough for all", func() error { return nil }, limit},
		"and lost together":           {"a slot that may not have been taken buys nothing", func() error { return lost }, 1},
		"by one that breaks down":     {"those that wait for it must not take that for a slot", func() error { panic("broken") }, 1},
		"and somebody else was first": {"they are counted again on what is there now", func() error { return apierrors.NewConflict(schema.GroupResource{}, theIssuer.Name, lost) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var requests []client.Object
			for i := range wants {
				requests = append(requests, approved("shop", fmt.Sprintf("host%02d-1", i), types.UID(fmt.Sprintf("r%d", i)), csr(t, keyA, fmt.Sprintf("host%02d.example.com", i))))
			}
			w := newWorld(t, append([]client.Object{readyIssuer(limit)}, requests...)...)
			goOn, writes := make(chan struct{}), 0
			s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
				if _, ok := o.(v1alpha1.Issuer); ok {
					if writes++; writes == 1 {
						<-goOn
					} else if err := tc.second(); err != nil {
						return err
					}
				}
				return c.SubResource(sub).Patch(ctx, o, patch, opts...)
			}})
			var end sync.WaitGroup
			for _, o := range requests {
				end.Go(func() {
					defer func() { _ = recover() }() // As the manager does.
					d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(o), o.GetUID())
					if err == nil && d.Step != StepFollow && d.Reason != v1alpha1.ReasonPurchaseLimitReached {
						t.Errorf("%s: step %d: %s", tc.reason, d.Step, d.Message)
					}
				})
			}
			for !waiting(s, wants-1) {
				runtime.Gosched()
			}
			close(goOn)
			end.Wait()
			if got := w.vendor.sent(); got != tc.bought || int(w.slots()) != tc.bought {
				t.Errorf("%s: %d orders, %d slots, want %d", tc.reason, got, w.slots(), tc.bought)
			}
			if tc.bought == limit && writes != 2 {
				t.Errorf("%s: %d writes", tc.reason, writes)
			}
		})
	}
}

// Where several slots were written together, the next ones wait a moment for others. Those
// that came alone one after the other keep nobody waiting any more.
func TestSlotsWaitForMoreInBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, writes := newWorld(t, readyIssuer(100)), 0
		s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			writes++
			<-time.After(10 * time.Millisecond)
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		}})
		s.bulk = map[v1alpha1.IssuerRef]int{theIssuer: 1}
		type step struct {
			what         string
			asks, writes int
			takes        time.Duration
		}
		steps := []step{{"two where several were written together", 2, 1, slotPause + 10*time.Millisecond}}
		for i := range inBulk {
			steps = append(steps, step{fmt.Sprintf("one after that, the %d.", i+1), 1, 1, slotPause + 10*time.Millisecond})
		}
		steps = append(steps, step{"one after all those that came alone", 1, 1, 10 * time.Millisecond})
		for _, step := range steps {
			before, began := writes, time.Now()
			var work sync.WaitGroup
			for i := range step.asks {
				work.Go(func() {
					// At another time, so that none waits for a lock, for which no time passes here.
					<-time.After(time.Duration(i) * slotPause / 2)
					if err := s.updateSlots(t.Context(), theIssuer, func(live v1alpha1.Issuer, now time.Time) {
						_, buckets := SlotsOf(live, nil, now)
						use(live, take(buckets, "shop", now), now)
					}); err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
			if n, took := writes-before, time.Since(began); n != step.writes || took != step.takes {
				t.Errorf("%s: %d writes in %s, want %d in %s", step.what, n, took, step.writes, step.takes)
			}
		}
		if want := 3 + inBulk; int(w.slots()) != want {
			t.Errorf("%d slots were taken, want %d", w.slots(), want)
		}
	})
}

// waiting reports whether so many wait for a slot.
func waiting(s *Spender, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.changes[theIssuer]
	return b != nil && len(b.changes) == n
}

// An API server that loses requests and replies, a vendor that gives every kind of
// answer, two processes at once, processes that die at any call, and requests that
// are made again: no request is bought for twice, and everything that was bought is
// in the ledger or in the hands of a person.
func TestNothingIsBoughtTwiceAndNothingIsLost(t *testing.T) {
	placed, adopted, unfound := 0, 0, 0
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			d := &disturbed{t: t, random: rand.New(rand.NewPCG(seed, 1))}
			d.run()
			placed, adopted, unfound = placed+len(d.placed), adopted+d.adopted, unfound+d.unfound
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if placed == 0 || adopted+unfound == 0 {
		t.Errorf("%d orders were placed, %d adopted, %d not found, which shows too little", placed, adopted, unfound)
	}
}

// seeds is how many schedules are tried.
const seeds = 6

// disturbed is one schedule. It knows what the vendor really placed.
type disturbed struct {
	t      *testing.T
	w      *world
	mu     sync.Mutex
	random *rand.Rand
	placed []string // the CSR of each order that costs money
	// adopted and unfound are how many attempts were resolved either way.
	adopted, unfound int
}

func (d *disturbed) chance(of int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(of) == 0
}

// answer is the vendor's.
func (d *disturbed) answer(n int) regfish.OrderResult {
	d.mu.Lock()
	kind := d.random.IntN(12)
	if kind >= 6 {
		d.placed = append(d.placed, d.w.vendor.orders[n-1].CSR)
	}
	d.mu.Unlock()
	order := d.w.vendor.orders[n-1]
	c := regfish.Certificate{ID: numberedID(n), Status: regfish.StatusPending, CommonName: order.CommonName, DNSNames: order.DNSNames}
	if kind >= 6 {
		d.commit(c, order)
	}
	switch {
	case kind < 3:
		return answers(regfish.NotSent, regfish.KindTooMany, 429, "slow down")(n)
	case kind < 6:
		return answers(regfish.Rejected, regfish.KindUnauthorized, 401, "no")(n)
	case kind == 6: // placed, and the reply is lost
		return answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")(n)
	case kind == 7: // placed, and the process dies
		runtime.Goexit()
	}
	return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: c}
}

// commit makes the account have the order, some of them issued at once.
func (d *disturbed) commit(c regfish.Certificate, order regfish.OrderRequest) {
	if d.chance(2) {
		key := map[bool]*ecdsa.PrivateKey{true: keyA, false: keyB}[requestKey([]byte(order.CSR)) == preflighted(d.t, keyA, order.CommonName).KeySHA256]
		c.Status, c.CertificatePEMAvailable = regfish.StatusIssued, true
		if d.w.vendor.pem == nil {
			d.w.vendor.pem = map[string][]byte{}
		}
		now := d.w.clock.Now()
		d.w.vendor.pem[c.ID] = certificatePEM(leaf(d.t, key, now, now.Add(days(199)), order.DNSNames...))
	}
	d.w.vendor.account = append(d.w.vendor.account, c)
}

// write fails before or after the write was done, and sometimes the process dies.
func (d *disturbed) write(do func() error) error {
	if d.chance(40) {
		runtime.Goexit()
	}
	if d.chance(7) {
		return errServer
	}
	if err := do(); err != nil {
		return err
	}
	if d.chance(40) {
		runtime.Goexit()
	}
	if d.chance(7) {
		return errServer
	}
	return nil
}

func (d *disturbed) faults() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return d.write(func() error { return c.Create(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return d.write(func() error { return c.Patch(ctx, o, patch, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return d.write(func() error { return c.SubResource(sub).Patch(ctx, o, patch, opts...) })
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if d.chance(30) {
				return errServer
			}
			return c.Get(ctx, key, o, opts...)
		},
	}
}

func (d *disturbed) run() {
	// Two tenants want the same names; a third request shares one name with them.
	requests := []*cmapi.CertificateRequest{
		shopWWW(d.t), approved("blog", "www-1", "r2", csr(d.t, keyB, "www.example.com")), approved("blog", "all-1", "r3", csr(d.t, keyA, "www.example.com", "api.example.com")),
	}
	d.w = newWorld(d.t, readyIssuer(1000), requests[0], requests[1], requests[2])
	d.w.vendor.answer = d.answer
	for life := range 4 {
		processes := []*Spender{d.w.spender(fmt.Sprintf("one-%d", life), d.faults()), d.w.spender(fmt.Sprintf("two-%d", life), d.faults())}
		together(processes, func(s *Spender) {
			for range 2 {
				for _, cr := range requests {
					_, _, err := s.Spend(context.Background(), client.ObjectKeyFromObject(cr), cr.UID)
					if err != nil && !errors.Is(err, errServer) && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
						d.t.Errorf("error %v", err)
					}
				}
				for _, p := range d.w.purchases() {
					_, _ = s.Settle(context.Background(), &p)
				}
			}
		})
		// Both processes end, another looks for what they left open, and some requests are
		// made again with the same keys.
		d.look(life)
		d.w.clock.SetTime(d.w.clock.Now().Add(2 * time.Hour))
		for _, cr := range requests {
			if d.chance(2) {
				d.w.remove(cr)
				cr.UID, cr.ResourceVersion = cr.UID+"'", ""
				d.w.create(cr)
			}
		}
	}
	d.judge()
}

// look looks for every order whose outcome is unknown, for two hours. The process that
// looks may die, too.
func (d *disturbed) look(life int) {
	r := d.w.resolver(d.w.spender(fmt.Sprintf("three-%d", life), d.faults()))
	for range 9 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, p := range d.w.purchases() {
				if Unresolved(&p) {
					_, _, _, _ = r.Resolve(context.Background(), &p, time.Minute)
				}
			}
		}()
		<-done
		d.w.clock.SetTime(d.w.clock.Now().Add(settleTime / 2))
	}
}

// judge compares the ledger with what the vendor placed.
func (d *disturbed) judge() {
	ledger := d.w.purchases()
	bought, recorded, open := map[string]int{}, 0, 0
	for _, csr := range d.placed {
		if bought[csr]++; bought[csr] > 1 {
			d.t.Errorf("an order was placed twice: %v", describe(ledger))
		}
	}
	for _, p := range ledger {
		if phaseOf(&p) == phaseUnresolved {
			open++
		}
		if p.Spec.CertificateID != "" {
			recorded++
			if i := slices.IndexFunc(d.w.vendor.account, func(c regfish.Certificate) bool { return c.ID == p.Spec.CertificateID }); i < 0 {
				d.t.Errorf("regfish never named %s: %v", p.Spec.CertificateID, describe(ledger))
			}
		}
	}
	if missing := len(d.placed) - recorded; missing > open {
		d.t.Errorf("%d orders are in no record, and only %d purchases are open: %v", missing, open, describe(ledger))
	}
	for _, p := range ledger {
		for _, a := range p.Spec.Attempts {
			if a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionAdopted {
				d.adopted++
			}
			if a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionNotFound {
				d.unfound++
			}
		}
	}
}
