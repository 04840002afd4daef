// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// What was decided on must not have changed when it is acted on. Each change is
// made while the account is listed, after everything was read.
func TestSpendSendsNothingOnWhatChanged(t *testing.T) {
	earlier := func() v1alpha1.RegfishPurchase {
		return record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))))
	}
	unplaced := func() v1alpha1.RegfishPurchase { return record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour)) }
	touch := func(w *world) {
		p := w.purchases()[0]
		p.Labels = map[string]string{"touched": "yes"}
		if err := w.api.Update(context.Background(), &p); err != nil {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		ledger []v1alpha1.RegfishPurchase
		change func(*world)
		want   func(error) bool
		after  int // purchases in the ledger
	}{
		"another process created the first purchase": {
			change: func(w *world) { p := record(t, 1, placed("C1", 0)); w.create(&p) },
			want:   apierrors.IsAlreadyExists, after: 1,
		},
		"another process created the next purchase": {
			ledger: []v1alpha1.RegfishPurchase{func() v1alpha1.RegfishPurchase { p := earlier(); succeeded(2)(&p); return p }()},
			change: func(w *world) { p := record(t, 2, placed("C1", 0)); w.create(&p) },
			want:   apierrors.IsAlreadyExists, after: 2,
		},
		"the newest purchase changed":         {ledger: []v1alpha1.RegfishPurchase{earlier()}, change: touch, want: apierrors.IsConflict, after: 1},
		"the newest purchase was deleted":     {ledger: []v1alpha1.RegfishPurchase{earlier()}, change: func(w *world) { p := w.purchases()[0]; w.remove(&p) }, want: apierrors.IsNotFound},
		"the purchase to be tried changed":    {ledger: []v1alpha1.RegfishPurchase{unplaced()}, change: touch, want: apierrors.IsConflict, after: 1},
		"the purchase to be tried is gone":    {ledger: []v1alpha1.RegfishPurchase{unplaced()}, change: func(w *world) { p := w.purchases()[0]; w.remove(&p) }, want: apierrors.IsNotFound},
		"the issuer is gone, slots and all":   {change: func(w *world) { w.remove(readyIssuer(1)) }, want: func(err error) bool { return err != nil }},
		"the process is told to stop by then": {change: func(w *world) { w.t.(*stoppable).stop() }, want: func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			issuer := readyIssuer(50)
			issuer.Spec.ReusePolicy = v1alpha1.ReusePolicyNever
			objects := []client.Object{issuer, cr}
			for i := range tt.ledger {
				objects = append(objects, tt.ledger[i].DeepCopy())
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			w := newWorld(t, objects...)
			w.t = &stoppable{t, stop}
			w.vendor.listing = once(func() { tt.change(w) })
			s := w.spender("one", none)
			d, _, err := s.Spend(ctx, client.ObjectKeyFromObject(cr), cr.UID)
			if !tt.want(err) {
				t.Errorf("step %d, error %v", d.Step, err)
			}
			if got := w.vendor.sent(); got != 0 {
				t.Errorf("%d orders were placed", got)
			}
			if all := w.purchases(); len(all) != tt.after {
				t.Errorf("the ledger: %v", describe(all))
			}
			if name != "the issuer is gone, slots and all" && w.slots() != 0 {
				t.Errorf("%d slots are used for nothing", w.slots())
			}
			if name := Name(wanted(t).NamesHash(), 1); s.Flying(name) || s.Flying(Name(wanted(t).NamesHash(), 2)) {
				t.Error("a purchase stays marked")
			}
		})
	}
}

// stoppable carries a test's context to where it is cancelled.
type stoppable struct {
	testing.TB
	stop func()
}

// The request is looked at once more after the intent was written. What it says
// then is an attempt that was not sent, and no person has to decide anything.
func TestSpendSendsNothingForARequestThatIsGone(t *testing.T) {
	update := func(w *world, change func(*cmapi.CertificateRequest)) {
		var cr cmapi.CertificateRequest
		if err := w.api.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: "www-1"}, &cr); err != nil {
			t.Error(err)
			return
		}
		change(&cr)
		if err := w.api.Status().Update(context.Background(), &cr); err != nil {
			t.Error(err)
		}
	}
	because := func(kind cmapi.CertificateRequestConditionType, status cmmeta.ConditionStatus, reason string) func(*world) {
		return func(w *world) {
			update(w, func(cr *cmapi.CertificateRequest) {
				cr.Status.Conditions = append(cr.Status.Conditions, cmapi.CertificateRequestCondition{Type: kind, Status: status, Reason: reason})
			})
		}
	}
	for name, change := range map[string]func(*world){
		"deleted": func(w *world) { w.remove(shopWWW(t)) },
		"created again": func(w *world) {
			again := shopWWW(t)
			w.remove(again)
			again.UID = "r2"
			w.create(again)
		},
		"denied":        because(cmapi.CertificateRequestConditionDenied, cmmeta.ConditionTrue, "Denied"),
		"failed":        because(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed),
		"found invalid": because(cmapi.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, "Invalid"),
		"no longer approved": func(w *world) {
			update(w, func(cr *cmapi.CertificateRequest) { cr.Status.Conditions = nil })
		},
		"answered": func(w *world) {
			update(w, func(cr *cmapi.CertificateRequest) { cr.Status.Certificate = []byte("certificate") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			w := newWorld(t, readyIssuer(50), cr)
			s := w.spender("one", interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				err := c.Create(ctx, o, opts...)
				change(w)
				return err
			}})
			w.spend(s, cr)
			if got := w.vendor.sent(); got != 0 {
				t.Errorf("%d orders were placed", got)
			}
			p := w.only()
			if diff := cmp.Diff([]tried{{Result: v1alpha1.OutcomeNotSent, Request: "r1"}}, attempts(p)); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			if p.Status.State == v1alpha1.StateHeld || phaseOf(&p) != phaseUnplaced {
				t.Errorf("state %s: %s", p.Status.State, p.Status.Message)
			}
		})
	}
}

func TestSpendSendsNothingWithoutTheLease(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.spender("one", none)
	s.Leader = func(context.Context) error {
		if len(w.purchases()) != 1 {
			t.Error("the lease is asked for before the intent was written, and may be lost while it is")
		}
		return errors.New("held by another process")
	}
	w.spend(s, cr)
	if got := w.vendor.sent(); got != 0 {
		t.Errorf("%d orders were placed", got)
	}
	p := w.only()
	if diff := cmp.Diff([]tried{{Result: v1alpha1.OutcomeNotSent, Request: "r1"}}, attempts(p)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if got := p.Spec.Attempts[0].Outcome.Message; !strings.Contains(got, "not the leader") {
		t.Errorf("the outcome says %q", got)
	}
}

// A process that was frozen after it wrote the intent finds that it may not send.
func TestSpendSendsNothingAfterTheWindow(t *testing.T) {
	for name, tt := range map[string]struct {
		frozen time.Duration
		where  string
		sent   int
	}{
		"while it connects, for as long as the window":    {WriteWindow, "order", 1},
		"while it connects, for longer":                   {WriteWindow + time.Microsecond, "order", 0},
		"while the intent is written":                     {WriteWindow + time.Microsecond, "create", 0},
		"while the lease is read":                         {WriteWindow + time.Microsecond, "leader", 0},
		"before anything was written":                     {time.Hour, "list", 1},
		"while the clock is set back":                     {-time.Hour, "order", 1},
		"with the intent in the future by a clock's jump": {-WriteWindow - time.Second, "create", 1},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			w := newWorld(t, readyIssuer(50), cr)
			freeze := func(where string) {
				if where == tt.where {
					w.clock.SetTime(w.clock.Now().Add(tt.frozen))
				}
			}
			s := w.spender("one", interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				freeze("create")
				return c.Create(ctx, o, opts...)
			}})
			s.Leader = func(context.Context) error { freeze("leader"); return nil }
			w.vendor.before = func() { freeze("order") }
			w.vendor.listing = func() { freeze("list") }
			w.spend(s, cr)
			if got := w.vendor.sent(); got != tt.sent {
				t.Errorf("%d orders were placed, want %d", got, tt.sent)
			}
			want := v1alpha1.OutcomeAccepted
			if tt.sent == 0 {
				want = v1alpha1.OutcomeNotSent
			}
			if p := w.only(); attempts(p)[0].Result != want {
				t.Errorf("the outcome is %+v", attempts(p))
			}
		})
	}
}

func TestSpendDoesNotSpendForWhatIsNotToBeServed(t *testing.T) {
	for name, change := range map[string]func(*cmapi.CertificateRequest){
		"another request of the name":    func(cr *cmapi.CertificateRequest) { cr.UID = "r9" },
		"a request that nobody approved": func(cr *cmapi.CertificateRequest) { cr.Status.Conditions = nil },
		"a request that is approved and denied": func(cr *cmapi.CertificateRequest) {
			cr.Status.Conditions = append(cr.Status.Conditions, cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionDenied, Status: cmmeta.ConditionTrue})
		},
		"a request with a certificate": func(cr *cmapi.CertificateRequest) { cr.Status.Certificate = []byte("x") },
		"a request that is being deleted": func(cr *cmapi.CertificateRequest) {
			cr.Finalizers, cr.DeletionTimestamp = []string{"test/finalizer"}, at(noon)
		},
		"a request that cannot be bought for": func(cr *cmapi.CertificateRequest) { cr.Spec.IsCA = true },
		"a request whose CSR is nonsense":     func(cr *cmapi.CertificateRequest) { cr.Spec.Request = []byte("nonsense") },
		"a request of another name":           func(cr *cmapi.CertificateRequest) { cr.Name = "www-2" },
	} {
		cr := shopWWW(t)
		key, uid := client.ObjectKeyFromObject(cr), cr.UID
		change(cr)
		w := newWorld(t, readyIssuer(50), cr)
		if _, _, err := w.spender("one", none).Spend(t.Context(), key, uid); !errors.Is(err, ErrGone) {
			t.Errorf("%s: error %v", name, err)
		}
		if w.vendor.sent() != 0 || len(w.purchases()) != 0 || w.slots() != 0 {
			t.Errorf("%s: %d orders, ledger %v, %d slots", name, w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// Whatever cannot be found out keeps anything from being bought.
func TestSpendSendsNothingWhileSomethingIsUnknown(t *testing.T) {
	issued := issuedAtVendor("X1", noon.Add(-days(1)), noon.Add(days(198)), "www.example.com")
	for name, tt := range map[string]struct {
		given func(*world, *Spender)
		step  Step // 0: an error
		says  string
		look  time.Duration // 0: a minute
	}{
		"the account cannot be listed": {
			given: func(w *world, _ *Spender) {
				w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTransport, Message: "no answer in time"}
			},
			step: StepQueue, says: "no answer in time",
		},
		"the vendor asks to be left alone": {
			given: func(w *world, _ *Spender) {
				w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTooMany, Status: 429, RetryAfter: 17 * time.Minute}
			},
			step: StepQueue, says: "429", look: 17 * time.Minute,
		},
		"a row without names cannot be read": {
			given: func(w *world, _ *Spender) {
				w.vendor.account = []regfish.Certificate{{ID: "X1", Status: regfish.StatusPending}}
				w.vendor.listing = once(func() { w.vendor.account = nil })
			},
			step: StepQueue, says: "read X1",
		},
		"a certificate cannot be downloaded": {
			given: func(w *world, _ *Spender) {
				w.vendor.account = []regfish.Certificate{issued}
				w.vendor.unread = &regfish.Error{Op: "download certificate", Kind: regfish.KindUnavailable, Status: 503}
			},
			step: StepQueue, says: "download X1",
		},
		"the key cannot be read": {
			given: func(_ *world, s *Spender) {
				s.Connect = func(context.Context, v1alpha1.Issuer) (Vendor, error) { return nil, errors.New("no Secret") }
			},
			step: StepQueue, says: "no Secret",
		},
		"the API server does not list purchases": {
			given: func(w *world, s *Spender) {
				s.Live = interceptor.NewClient(w.api, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					return errServer
				}})
			},
		},
		"the API server cannot tell who holds an id": {
			given: func(w *world, s *Spender) {
				w.vendor.account = []regfish.Certificate{issued}
				calls := 0
				s.Live = interceptor.NewClient(w.api, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if calls++; calls > 1 {
						return errServer
					}
					return c.List(ctx, list, opts...)
				}})
			},
		},
		"the API server does not take a slot": {
			given: func(w *world, s *Spender) {
				s.Client = interceptor.NewClient(w.api, interceptor.Funcs{SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
					return errServer
				}})
			},
		},
	} {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		s := w.spender("one", none)
		tt.given(w, s)
		d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
		if d.Step != tt.step || (tt.step == 0) != errors.Is(err, errServer) || !strings.Contains(d.Message, tt.says) {
			t.Errorf("%s: step %d (%s), error %v", name, d.Step, d.Message, err)
		}
		if tt.look == 0 {
			tt.look = time.Minute
		}
		if tt.step == StepQueue && d.LookAgain != tt.look {
			t.Errorf("%s: it is looked at again after %s, want %s", name, d.LookAgain, tt.look)
		}
		if w.vendor.sent() != 0 || len(w.purchases()) != 0 || w.slots() != 0 {
			t.Errorf("%s: %d orders, ledger %v, %d slots", name, w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// A wall clock that stands still or is set back does not keep the window open.
func TestSpendMeasuresTheWindowByBothClocks(t *testing.T) {
	for name, tt := range map[string]struct {
		frozen time.Duration
		sent   int
	}{
		"for as long as the window": {WriteWindow, 1}, "for longer": {WriteWindow + time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cr := shopWWW(t)
				w := newWorld(t, readyIssuer(50), cr)
				w.vendor.before = func() {
					<-time.After(tt.frozen)
					w.clock.SetTime(noon.Add(-time.Hour))
				}
				w.spend(w.spender("one", none), cr)
				if got := w.vendor.sent(); got != tt.sent {
					t.Errorf("frozen %s, %d orders were placed, want %d", name, got, tt.sent)
				}
			})
		})
	}
}
