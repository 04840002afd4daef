// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Every outcome is recorded as what it is, and decides what comes next.
func TestSpendRecordsTheOutcome(t *testing.T) {
	accepted := func(id string) func(int) regfish.OrderResult {
		return func(int) regfish.OrderResult {
			return regfish.OrderResult{Outcome: regfish.Accepted, Status: 201, Certificate: regfish.Certificate{ID: id, Status: regfish.StatusPending}}
		}
	}
	for name, tt := range map[string]struct {
		reason  string
		answer  func(int) regfish.OrderResult
		want    tried
		id      string
		now     verdict
		refusal string
		state   v1alpha1.State
		later   Step // what is decided an hour later
	}{
		"accepted": {
			reason: "it is bought", answer: accepted("C1"),
			want: tried{Result: v1alpha1.OutcomeAccepted, Status: 201}, id: "C1", now: follows(v1alpha1.ReasonPurchased), state: v1alpha1.StateProcessing, later: StepFollow,
		},
		"refused with 400": {
			reason: "only a changed request can succeed", answer: answers(regfish.Rejected, regfish.KindInvalid, 400, "common_name"),
			want: tried{Result: v1alpha1.OutcomeRejected, Final: true, Status: 400}, now: verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonRejected}, state: v1alpha1.StateEnded, later: StepFail,
		},
		"refused with 422": {
			reason: "only a changed request can succeed", answer: answers(regfish.Rejected, regfish.KindInvalid, 422, "csr"),
			want: tried{Result: v1alpha1.OutcomeRejected, Final: true, Status: 422}, now: verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonRejected}, state: v1alpha1.StateEnded, later: StepFail,
		},
		"refused with 401": {
			reason: "the issuer's owner has to mend the key", answer: answers(regfish.Rejected, regfish.KindUnauthorized, 401, "unknown key"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 401}, now: queued(v1alpha1.ReasonIssuerNotReady), refusal: v1alpha1.ReasonKeyRejected, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 403": {
			reason: "the issuer's owner has to mend the key's role", answer: answers(regfish.Rejected, regfish.KindForbidden, 403, "no role"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 403}, now: queued(v1alpha1.ReasonIssuerNotReady), refusal: v1alpha1.ReasonKeyForbidden, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 404": {
			reason: "nothing was bought", answer: answers(regfish.Rejected, regfish.KindNotFound, 404, "no such sku"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 404}, now: queued(v1alpha1.ReasonIssuerNotReady), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 409": {
			reason: "an organization is missing, which the issuer's owner has to mend", answer: answers(regfish.Rejected, regfish.KindConflict, 409, "organization"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 409}, now: queued(v1alpha1.ReasonIssuerNotReady), refusal: v1alpha1.ReasonOrganizationRequired, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"turned away with 429": {
			reason: "it was answered before an order was made", answer: answers(regfish.NotSent, regfish.KindTooMany, 429, "slow down"),
			want: tried{Result: v1alpha1.OutcomeNotSent, Status: 429}, now: queued(v1alpha1.ReasonVendorUnavailable), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"not connected": {
			reason: "no byte left", answer: answers(regfish.NotSent, regfish.KindTransport, 0, "connection was refused"),
			want: tried{Result: v1alpha1.OutcomeNotSent}, now: queued(v1alpha1.ReasonVendorUnavailable), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"no answer": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time"),
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"500": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindUnavailable, 500, "oops"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 500}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"200 that says nothing": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindUnreadable, 200, "web page"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 200}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"an outcome that nobody set": {
			reason: "in doubt it may have been placed", answer: func(int) regfish.OrderResult { return regfish.OrderResult{} },
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"a panic": {
			reason: "the order may have been sent before", answer: func(int) regfish.OrderResult { panic("a bug in the client") },
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"accepted with an id that no record can hold": {
			reason: "the API server would refuse it for ever", answer: accepted(strings.Repeat("x", 129)),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 201}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
		"accepted with the longest id that a record can hold": {
			reason: "it is an id", answer: accepted(strings.Repeat("x", 128)),
			want: tried{Result: v1alpha1.OutcomeAccepted, Status: 201}, id: strings.Repeat("x", 128), now: follows(v1alpha1.ReasonPurchased), state: v1alpha1.StateProcessing, later: StepFollow,
		},
		"accepted with an id that cannot be shown": {
			reason: "control characters are no part of an id", answer: accepted("C1\x1b[31m"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 201}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateResolving, later: StepFollow,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			w := newWorld(t, readyIssuer(50), cr)
			w.vendor.answer = tt.answer
			s := w.spender("one", none)
			d, refusal, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.now, verdictOf(d)); diff != "" {
				t.Errorf("%s: decision (-want +got):\n%s", tt.reason, diff)
			}
			p := w.only()
			tt.want.Request = "r1"
			if diff := cmp.Diff([]tried{tt.want}, attempts(p)); diff != "" {
				t.Errorf("%s: attempts (-want +got):\n%s", tt.reason, diff)
			}
			if p.Spec.CertificateID != tt.id || p.Status.State != tt.state {
				t.Errorf("%s: id %q, state %s (%s), want %q, %s", tt.reason, p.Spec.CertificateID, p.Status.State, p.Status.Message, tt.id, tt.state)
			}
			got := ""
			if refusal != nil {
				got = refusal.Reason
			}
			if got != tt.refusal {
				t.Errorf("%s: the issuer is blamed with %q, want %q", tt.reason, got, tt.refusal)
			}
			if message := p.Spec.Attempts[0].Outcome.Message; !printable(message, 512) || (message == "") != (tt.want.Result == v1alpha1.OutcomeAccepted || name == "an outcome that nobody set") {
				t.Errorf("the outcome says %q", message)
			}
			if s.Flying(p.Name) {
				t.Error("the purchase stays marked")
			}

			// An hour later, and with a vendor that accepts everything.
			facts, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			facts.Want.Request.KeySHA256 = requestKey(cr.Spec.Request)
			if later := Plan(facts); later.Step != tt.later {
				t.Errorf("%s: an hour later the decision is %d (%s), want %d", tt.reason, later.Step, later.Message, tt.later)
			}
			w.clock.SetTime(noon.Add(time.Hour))
			w.vendor.answer = nil
			w.spend(s, cr)
			want := 1
			if tt.later == StepRetry {
				want = 2
			}
			if name != "a panic" && w.vendor.sent() != want {
				t.Errorf("%s: %d orders were placed an hour later, want %d", tt.reason, w.vendor.sent(), want)
			}
		})
	}
}

// queued is the verdict that purchase 1 is tried again in a minute.
func queued(reason string) verdict {
	return verdict{Step: StepQueue, Purchase: 1, Reason: reason, LookAgain: time.Minute}
}

func TestSpendBoundsTheVendorsWords(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	w.vendor.answer = answers(regfish.Rejected, regfish.KindUnauthorized, 401, "no\x00 \x1b[31m\n"+strings.Repeat("ä", 10<<10))
	_, refusal, err := w.spender("one", none).Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
	if err != nil || refusal == nil {
		t.Fatal(err)
	}
	p := w.only()
	if got := p.Spec.Attempts[0].Outcome.Message; !printable(got, 512) || !strings.HasPrefix(got, "place order: HTTP 401 Unauthorized: no") {
		t.Errorf("the outcome says %q", got)
	}
	for _, fault := range faults(p.Status) {
		t.Error(fault)
	}
}

// An id that another purchase holds was not bought by this order, whatever the
// vendor says, and only a person can tell what was.
func TestSpendDoesNotTakeAnIDTwice(t *testing.T) {
	cr := shopWWW(t)
	other := record(t, 1, placed("C1", days(3)), inNamespace("blog"))
	other.Name, other.Spec.NamesHash = "0123456789abcdef-1", "0123456789abcdef"
	accepts := func(int) regfish.OrderResult {
		return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: regfish.Certificate{ID: "C1", Status: regfish.StatusPending}}
	}
	t.Run("at the same endpoint", func(t *testing.T) {
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), other.DeepCopy())
		w.vendor.answer = accepts
		w.spend(w.spender("one", none), cr)
		p := w.purchases()[1]
		if p.Spec.CertificateID != "" || phaseOf(&p) != phaseUnresolved || condition(p.Status.Conditions, v1alpha1.ConditionHeld) != "True/AmbiguousOutcome" {
			t.Errorf("id %q, phase %d, state %s", p.Spec.CertificateID, phaseOf(&p), p.Status.State)
		}
		if diff := cmp.Diff([]tried{{Result: v1alpha1.OutcomeAccepted, Status: 200, Request: "r1"}}, attempts(p)); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if !strings.Contains(p.Status.Message, "C1, which another purchase holds") {
			t.Errorf("it says %q", p.Status.Message)
		}
		if p.Status.Vendor != nil {
			t.Error("what the vendor says of another purchase's certificate is shown")
		}
		w.clock.SetTime(noon.Add(days(365)))
		w.spend(w.spender("two", none), cr)
		if got := w.vendor.sent(); got != 1 {
			t.Errorf("%d orders were placed", got)
		}
	})
	t.Run("at another endpoint", func(t *testing.T) {
		other := other.DeepCopy()
		other.Spec.Endpoint = "https://sandbox.example"
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), other)
		w.vendor.answer = accepts
		w.spend(w.spender("one", none), cr)
		if p := w.purchases()[1]; p.Spec.CertificateID != "C1" {
			t.Errorf("two vendors count alike, and the id is %q", p.Spec.CertificateID)
		}
	})
}

// What was bought is recorded whatever the API server does meanwhile.
func TestSpendRecordsUntilItIsDurable(t *testing.T) {
	sentYet := func(w *world) bool { return w.vendor.sent() > 0 }
	for name, faulty := range map[string]func(w *world) interceptor.Funcs{
		"reading fails": func(w *world) interceptor.Funcs {
			left := 3
			return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if isPurchase(o) && sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return c.Get(ctx, key, o, opts...)
			}}
		},
		"looking for the id fails": func(w *world) interceptor.Funcs {
			left := 3
			return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return c.List(ctx, list, opts...)
			}}
		},
		"writing fails": func(w *world) interceptor.Funcs {
			left := 10
			return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return c.Patch(ctx, o, patch, opts...)
			}}
		},
		"writing conflicts": func(w *world) interceptor.Funcs {
			left := 20
			return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if sentYet(w) && left > 0 {
					left--
					return conflict(o)
				}
				return c.Patch(ctx, o, patch, opts...)
			}}
		},
		"the reply to the write is lost": func(w *world) interceptor.Funcs {
			left := 2
			return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				err := c.Patch(ctx, o, patch, opts...)
				if sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return err
			}}
		},
		"somebody writes a label meanwhile": func(w *world) interceptor.Funcs {
			touch := once(func() {
				p := w.only()
				p.Labels["touched"] = "yes"
				if err := w.api.Update(context.Background(), &p); err != nil {
					w.t.Error(err)
				}
			})
			return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if sentYet(w) {
					touch()
				}
				return c.Patch(ctx, o, patch, opts...)
			}}
		},
		"the purchase is deleted": func(w *world) interceptor.Funcs {
			w.vendor.before = once(func() { p := w.only(); w.remove(&p) })
			return none
		},
		"the purchase is deleted between read and write": func(w *world) interceptor.Funcs {
			remove := once(func() { p := w.only(); w.remove(&p) })
			return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if sentYet(w) {
					remove()
				}
				return c.Patch(ctx, o, patch, opts...)
			}}
		},
		"the purchase is deleted and making it again fails": func(w *world) interceptor.Funcs {
			w.vendor.before = once(func() { p := w.only(); w.remove(&p) })
			left := 3
			return interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return c.Create(ctx, o, opts...)
			}}
		},
		"the purchase is deleted and the reply to making it again is lost": func(w *world) interceptor.Funcs {
			w.vendor.before = once(func() { p := w.only(); w.remove(&p) })
			left := 1
			return interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				err := c.Create(ctx, o, opts...)
				if sentYet(w) && left > 0 {
					left--
					return errServer
				}
				return err
			}}
		},
	} {
		for outcome, answer := range map[string]func(int) regfish.OrderResult{
			"accepted": nil, "refused": answers(regfish.Rejected, regfish.KindInvalid, 400, "no"), "unknown": answers(regfish.Unknown, regfish.KindTransport, 0, "no answer"),
		} {
			t.Run(name+", "+outcome, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cr := shopWWW(t)
					w := newWorld(t, readyIssuer(50), cr)
					w.vendor.answer = answer
					s := w.spender("one", faulty(w))
					ctx, stop := context.WithCancel(t.Context())
					before := w.vendor.before
					w.vendor.before = func() {
						stop() // A process that is to end records all the same.
						if before != nil {
							before()
						}
					}
					if _, _, err := s.Spend(ctx, client.ObjectKeyFromObject(cr), cr.UID); err != nil {
						t.Fatal(err)
					}
					p := w.only()
					want, id := map[string]tried{
						"accepted": {Result: v1alpha1.OutcomeAccepted, Status: 200, Request: "r1"},
						"refused":  {Result: v1alpha1.OutcomeRejected, Final: true, Status: 400, Request: "r1"},
						"unknown":  {Result: v1alpha1.OutcomeUnknown, Request: "r1"},
					}[outcome], ""
					if outcome == "accepted" {
						id = "ID0001"
					}
					if diff := cmp.Diff([]tried{want}, attempts(p)); diff != "" {
						t.Errorf("attempts (-want +got):\n%s", diff)
					}
					if p.Spec.CertificateID != id || p.Spec.SKU != "RapidSSL" || p.Labels[v1alpha1.LabelNamespace] != namespace {
						t.Errorf("recorded: id %q, %+v", p.Spec.CertificateID, p.ObjectMeta)
					}
					if got := w.vendor.sent(); got != 1 {
						t.Errorf("%d orders were placed", got)
					}
					if s.Flying(p.Name) {
						t.Error("the purchase stays marked")
					}
				})
			})
		}
	}
}

// A process that dies while the order is under way says nothing. Its attempt
// stays open, and nobody but a person decides what became of it.
func TestCrashLeavesAnOpenAttempt(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.spender("one", none)
	w.vendor.answer = func(int) regfish.OrderResult { runtime.Goexit(); return regfish.OrderResult{} }
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = s.Spend(context.Background(), client.ObjectKeyFromObject(cr), cr.UID)
	}()
	<-gone
	w.vendor.answer = nil
	p := w.only()
	if diff := cmp.Diff([]tried{{Request: "r1"}}, attempts(p)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	for name, process := range map[string]*Spender{"the process itself": s, "the next process": w.spender("two", none)} {
		if settled, err := process.Settle(t.Context(), &p); settled || err != nil {
			t.Errorf("%s settles an order that was sent: %v, %v", name, settled, err)
		}
	}
	w.clock.SetTime(noon.Add(days(30)))
	next := w.spender("two", none)
	if d := w.spend(next, cr); d.Step != StepFollow {
		t.Errorf("the same request: step %d", d.Step)
	}
	other := approved("blog", "www-1", "r2", csr(t, keyB, "www.example.com"))
	w.create(other)
	if d := w.spend(next, other); d.Step != StepWait {
		t.Errorf("another request for the same names: step %d", d.Step)
	}
	if got := w.vendor.sent(); got != 1 {
		t.Errorf("%d orders were placed", got)
	}
	if status := Observe(&p, Observation{RequestLive: true}); status.State != v1alpha1.StateResolving {
		t.Errorf("state %s", status.State)
	}
}

// An intent whose write was not seen to succeed is not sent. If it is in the
// ledger all the same, its process knows that it was not.
func TestSettle(t *testing.T) {
	for name, step := range map[string]string{"the first attempt": "create", "another attempt": "patch"} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			objects := []client.Object{readyIssuer(50), cr}
			before := 0
			if step == "patch" {
				p := record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour))
				p.Spec.Request = cr.Spec.Request
				objects, before = append(objects, &p), 1
			}
			w := newWorld(t, objects...)
			lost := true
			reply := func(err error) error {
				if err == nil && lost {
					return errServer
				}
				return err
			}
			s := w.spender("one", interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					return reply(c.Create(ctx, o, opts...))
				},
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
					return reply(c.Patch(ctx, o, patch, opts...))
				},
			})
			if _, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID); !errors.Is(err, errServer) {
				t.Fatalf("error %v", err)
			}
			lost = false
			open := w.only()
			if len(open.Spec.Attempts) != before+1 || open.Spec.Attempts[before].Outcome != nil || w.vendor.sent() != 0 || w.slots() != 0 {
				t.Fatalf("%v, %d orders, %d slots", describe(w.purchases()), w.vendor.sent(), w.slots())
			}
			if d := w.spend(s, cr); d.Step != StepFollow {
				t.Errorf("before it is settled: step %d", d.Step)
			}

			if settled, err := w.spender("two", none).Settle(t.Context(), &open); settled || err != nil {
				t.Errorf("another process settles it: %v, %v", settled, err)
			}
			stale := open.DeepCopy()
			if settled, err := s.Settle(t.Context(), &open); !settled || err != nil {
				t.Fatalf("its process does not settle it: %v, %v", settled, err)
			}
			if got := w.only().Spec.Attempts[before].Outcome; got == nil || got.Result != v1alpha1.OutcomeNotSent {
				t.Fatalf("the outcome is %+v", got)
			}
			if settled, err := s.Settle(t.Context(), stale); !apierrors.IsConflict(err) {
				t.Errorf("a stale record is settled: %v, %v", settled, err)
			}
			p := w.only()
			if settled, err := s.Settle(t.Context(), &p); settled || err != nil {
				t.Errorf("what is settled is settled again: %v, %v", settled, err)
			}

			w.clock.SetTime(noon.Add(time.Hour))
			w.vendor.before = func() {
				p := w.only()
				if settled, err := s.Settle(t.Context(), &p); settled || err != nil {
					t.Errorf("an order that is being sent is settled: %v, %v", settled, err)
				}
			}
			w.spend(s, cr)
			w.spend(s, cr)
			if got := w.vendor.sent(); got != 1 {
				t.Errorf("%d orders were placed, want 1", got)
			}
		})
	}
}

// An outcome is set once: whoever comes later found the attempt ended.
func TestRecordKeepsTheFirstOutcome(t *testing.T) {
	ended := record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour), attempted("", time.Minute))
	w := newWorld(t, &ended)
	s := w.spender("one", none)
	for _, number := range []int32{1, 2, 2} {
		p := w.only()
		late := v1alpha1.Outcome{Result: v1alpha1.OutcomeRejected, Time: metav1.NewMicroTime(w.clock.Now())}
		if err := s.rewrite(t.Context(), &p, true, func(live *v1alpha1.RegfishPurchase) error {
			return s.recordOn(t.Context(), live, &p, number, late, regfish.OrderResult{Outcome: regfish.Rejected})
		}); err != nil {
			t.Fatal(err)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	p := w.only()
	if diff := cmp.Diff([]tried{{Result: v1alpha1.OutcomeNotSent, Request: "r1"}, {Result: v1alpha1.OutcomeRejected, Request: "r1"}}, attempts(p)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if got := p.Spec.Attempts[1].Outcome.Time; !got.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("the outcome is of %s", got)
	}
}
