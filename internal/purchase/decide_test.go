// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

func TestDecide(t *testing.T) {
	const www = "www.example.com"
	lost := []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint")}
	spentBy := []change{unfound(2 * time.Hour), unfound(time.Hour), sentWith("fingerprint")}
	account := func(cs ...regfish.Certificate) func(*world) {
		return func(w *world) { w.vendor.account = cs }
	}
	for name, tt := range map[string]struct {
		reason string
		text   string
		number int32 // of the purchase; default 1
		record []change
		before func(*world)
		known  time.Duration // for how long this process has looked for the order
		asked  bool          // whether a person was asked
		void   string        // why it is not carried out; empty: it is
		says   string
		want   func(v1alpha1.RegfishPurchase) bool
	}{
		// adopt
		"adopt an order": {
			reason: "a person knows that it is it", text: "adopt:C1", record: lost, before: account(listed("C1", www)), says: "C1 is the order of this purchase",
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.CertificateID == "C1" && p.Spec.Attempts[0].Resolution.Result == v1alpha1.ResolutionAdopted && p.Spec.Attempts[0].Resolution.CertificateID == "C1"
			},
		},
		"adopt an order of an attempt whose process died": {
			reason: "the attempt gets an outcome too", text: "adopt:C1", record: []change{attempted("", time.Hour), sentWith("fingerprint")}, known: 2 * settleTime, before: account(listed("C1", www)),
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.CertificateID == "C1" && p.Spec.Attempts[0].Outcome.Result == v1alpha1.OutcomeUnknown
			},
		},
		"adopt an order with the bare name added": {
			reason: "authorities add it", text: "adopt:C1", record: lost, before: account(listed("C1", www, "example.com")), want: holds("C1"),
		},
		"adopt one that was there before the first attempt": {
			reason: "it would hide the order that may have been placed", text: "adopt:C1", record: append(lost[:len(lost):len(lost)], foundBefore("C1")),
			before: account(listed("C1", www)), void: "C1 was in the account before the first order of this purchase was sent.",
		},
		"adopt one that was there before the last attempt": {
			reason: "the first one may have placed it late", text: "adopt:C1", record: []change{unfound(2 * time.Hour), attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"), foundBefore("C1")},
			before: account(listed("C1", www)), want: holds("C1"),
		},
		"adopt one that was disproved": {
			reason: "its key was seen", text: "adopt:C1", record: append(lost[:len(lost):len(lost)], func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"C1"} }),
			before: account(listed("C1", www)), void: "another key than that of the purchase's signing request",
		},
		"adopt an order that came to nothing": {
			reason: "it is what became of the attempt, all the same", text: "adopt:C1", record: lost, want: holds("C1"),
			before: func(w *world) {
				c := listed("C1", www)
				c.Status = regfish.StatusCancelled
				w.vendor.account = []regfish.Certificate{c}
			},
		},
		"adopt while regfish does not answer": {
			reason: "the person is told, and it is looked for meanwhile", text: "adopt:C1", record: lost, void: "regfish could not be asked about C1: ",
			before: func(w *world) {
				w.issue("C1", nil, www)
				w.vendor.unread = &regfish.Error{Op: "download certificate", Kind: regfish.KindUnavailable, Status: 500}
			},
		},
		"adopt after as many attempts as are made without asking": {
			reason: "it came late", text: "adopt:C1", record: spentBy, before: account(listed("C1", www)), want: holds("C1"),
		},
		"adopt an issued one with its key": {
			reason: "it is proved", text: "adopt:C1", record: lost, want: holds("C1"),
			before: func(w *world) { w.issue("C1", certificatePEM(leaf(w.t, keyA, noon, inHalfAYear, www)), www) },
		},
		"adopt an issued one with another key": {
			reason: "it could never be handed out", text: "adopt:C1", record: lost, void: "another key than that of the purchase's signing request",
			before: func(w *world) { w.issue("C1", certificatePEM(leaf(w.t, keyB, noon, inHalfAYear, www)), www) },
		},
		"adopt an id that does not exist": {
			reason: "there is nothing to follow", text: "adopt:C1", record: lost, void: "the account has no C1.",
		},
		"adopt an order for other names": {
			reason: "it could never be handed out", text: "adopt:C1", record: lost, before: account(listed("C1", "api.example.com")), void: "the names of C1 are not those of the purchase.",
		},
		"adopt an order with a name more": {
			reason: "it could never be handed out", text: "adopt:C1", record: lost, before: account(listed("C1", www, "api.example.com")), void: "the names of C1",
		},
		"adopt an id that another purchase holds": {
			reason: "one id, one contract", text: "adopt:HELD", record: lost, before: account(listed("HELD", www)), void: "another purchase holds HELD.",
		},
		"adopt beside an id": {
			reason: "the id is set once", text: "adopt:C2", record: []change{placed("C1", time.Hour)}, before: account(listed("C2", www)), void: "the purchase holds C1 already.",
		},
		"adopt for a record that was never sent": {
			reason: "there is nothing to look for", text: "adopt:C1", before: account(listed("C1", www)), void: "no order was ever sent.",
		},
		"adopt while the order may be under way": {
			reason: "regfish may name another id for it", text: "adopt:C1", record: []change{attempted("", time.Hour)}, before: account(listed("C1", www)), void: "process writer may still be sending the order",
		},
		"adopt while there is no issuer": {
			reason: "nobody can be asked, and the person is told", text: "adopt:C1", record: append(lost[:len(lost):len(lost)], withIssuer("gone"), sentWith("another")), void: "there is no RegfishClusterIssuer gone",
		},

		// retry
		"retry the last attempt": {
			reason: "a person licenses one more", text: "retry:1", record: lost, says: "one more attempt after attempt 1",
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.Attempts[0].ReleaseTime != nil && phaseOf(&p) == phaseUnplaced && len(p.Spec.Attempts) == 1
			},
		},
		"retry an attempt whose process died": {
			reason: "a person licenses one more", text: "retry:1", record: []change{attempted("", time.Hour)}, known: 2 * settleTime,
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.Attempts[0].ReleaseTime != nil && p.Spec.Attempts[0].Outcome != nil && phaseOf(&p) == phaseUnplaced
			},
		},
		"retry with two attempts that are looked for": {
			reason: "nothing is looked for before the next is sent", text: "retry:2", record: append(lost[:len(lost):len(lost)], attempted("", time.Minute)), known: 2 * settleTime,
			want: func(p v1alpha1.RegfishPurchase) bool { return phaseOf(&p) == phaseUnplaced },
		},
		"retry while the order may be under way": {
			reason: "two orders would be", text: "retry:1", record: []change{attempted("", time.Hour)}, void: "process writer may still be sending the order of attempt 1",
		},
		"retry a moment after an earlier process of this pod began it": {
			reason: "regfish may be dealing with it", text: "retry:1", record: []change{attempted("", time.Second), byPod("pod")}, known: MinSettleTime - time.Second, void: "may still be sending the order of attempt 1",
		},
		"retry what an earlier process of this pod began": {
			reason: "it is gone", text: "retry:1", record: []change{attempted("", time.Hour), byPod("pod")}, known: MinSettleTime,
			want: func(p v1alpha1.RegfishPurchase) bool { return phaseOf(&p) == phaseUnplaced },
		},
		"retry while the process that sent the order may be there": {
			reason: "it may be frozen, and go on", text: "retry:1", record: []change{attempted("", time.Hour)}, known: MinSettleTime, void: "process writer may still be sending the order of attempt 1",
		},
		"retry after a person was asked": {
			reason: "that is what was asked", text: "retry:1", record: []change{attempted("", time.Hour)}, known: MinSettleTime, asked: true,
			want: func(p v1alpha1.RegfishPurchase) bool { return phaseOf(&p) == phaseUnplaced },
		},
		"retry after as many as are made without asking": {
			reason: "a person licenses one more", text: "retry:2", record: spentBy,
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.Attempts[0].ReleaseTime == nil && p.Spec.Attempts[1].ReleaseTime != nil && phaseOf(&p) == phaseUnplaced
			},
		},
		"retry after an order that was accepted without an id": {
			reason: "a person knows that it is none", text: "retry:1", record: []change{attempted(v1alpha1.OutcomeAccepted, time.Hour)},
			want: func(p v1alpha1.RegfishPurchase) bool { return phaseOf(&p) == phaseUnplaced },
		},
		"retry an earlier attempt": {
			reason: "a tool put an old annotation back", text: "retry:1", record: append(lost[:len(lost):len(lost)], released, attempted(v1alpha1.OutcomeUnknown, time.Minute)), void: "attempt 1 is not the last one, which is attempt 2.",
		},
		"retry a later attempt":                 {reason: "nobody can have seen it", text: "retry:2", record: lost, void: "attempt 2 is not the last one"},
		"retry what was released":               {reason: "a tool put the annotation back", text: "retry:1", record: append(lost[:len(lost):len(lost)], released), void: "no attempt waits to be licensed."},
		"retry what is tried again by itself":   {reason: "there is nothing to license", text: "retry:1", record: []change{unfound(time.Hour)}, void: "no attempt waits to be licensed."},
		"retry what was placed":                 {reason: "it is bought", text: "retry:1", record: []change{placed("C1", time.Hour)}, void: "no attempt waits to be licensed."},
		"retry what another purchase succeeded": {reason: "that one is the next attempt", text: "retry:1", record: append(lost[:len(lost):len(lost)], succeeded(2)), void: "can have no other attempt"},

		// abandon
		"abandon an order that is looked for": {
			reason: "a person has had enough", text: "abandon", record: lost, says: "Whether regfish took the order of attempt 1 is not known",
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.AbandonTime != nil && phaseOf(&p) == phaseAbandoned
			},
		},
		"abandon an order that is held for candidates": {
			reason: "the person is told what may have been bought", text: "abandon", record: lost, before: func(w *world) { account(listed("X1", www, "api.example.com"))(w) }, says: "These may be it: X1 (pending).",
			want: func(p v1alpha1.RegfishPurchase) bool { return p.Spec.AbandonTime != nil },
		},
		"abandon a placed order": {
			reason: "it never comes", text: "abandon", record: []change{placed("C1", time.Hour)}, says: "Order C1 stands at regfish: cancel it there",
			want: func(p v1alpha1.RegfishPurchase) bool {
				return p.Spec.AbandonTime != nil && p.Spec.CertificateID == "C1"
			},
		},
		"abandon a certificate that was refused": {
			reason: "it may never be published", text: "abandon", record: []change{placed("C1", time.Hour), issuedFor(monthAgo, inHalfAYear), heldFor(v1alpha1.ReasonCertificateRefused)},
			want: func(p v1alpha1.RegfishPurchase) bool { return p.Spec.AbandonTime != nil },
		},
		"abandon a certificate that is issued": {
			reason: "there is nothing to give up", text: "abandon", record: []change{placed("C1", time.Hour), issuedFor(monthAgo, inHalfAYear)}, void: "there is nothing to give up",
		},
		"abandon a record that was never sent": {
			reason: "there is nothing to give up", text: "abandon", void: "no order was ever sent, so there is nothing to give up.",
		},
		"abandon twice": {reason: "it is done", text: "abandon", record: append(lost[:len(lost):len(lost)], abandoned), void: "was given up at 2026-06-01T11:59:00Z"},
		"retry what was given up": {
			reason: "nothing is ever sent for it", text: "retry:1", record: append(lost[:len(lost):len(lost)], abandoned), void: "was given up",
		},

		// The rest.
		"purchase, on no plan": {reason: "a plan licenses a purchase", text: "purchase", record: lost, void: "this is no plan"},
		"nonsense":             {reason: "the person is told what there is", text: "please", record: lost, void: `"please" is none of adopt:<id>, retry:<attempt>, purchase and abandon.`},
	} {
		t.Run(name, func(t *testing.T) {
			other := record(t, 7, inNamespace("blog"), placed("HELD", days(3)))
			p := record(t, 1, append(tt.record, annotated(tt.text))...)
			w := newWorld(t, readyIssuer(50), &p, &other)
			if tt.before != nil {
				tt.before(w)
			}
			r := w.resolver(w.spender("one", none))
			if strings.Contains(name, "held for candidates") {
				w.look(r, p.Name)
			}
			current := w.purchases()[0]
			if tt.known > 0 {
				s := r.of(&current, w.clock.Now())
				if tt.asked {
					s.Finding = Undecided
				}
				w.clock.SetTime(w.clock.Now().Add(tt.known))
			}
			before := current.DeepCopy()
			a, err := r.Decide(t.Context(), &current)
			if err != nil || a == nil {
				t.Fatalf("%s: %v, %v", tt.reason, a, err)
			}
			if a.Void != (tt.void != "") || !strings.Contains(a.Message, tt.void) || !strings.Contains(a.Message, tt.says) {
				t.Errorf("%s: void %v: %q, want %q%q", tt.reason, a.Void, a.Message, tt.void, tt.says)
			}
			now := w.purchases()[0]
			if _, there := now.Annotations[v1alpha1.AnnotationResolve]; there {
				t.Error("the annotation is still there")
			}
			if tt.void == "" {
				if !tt.want(now) {
					t.Errorf("%s: %v", tt.reason, describe(w.purchases()))
				}
			} else if diff := cmp.Diff(before.Spec, now.Spec); diff != "" {
				t.Errorf("%s: the record changed:\n%s", tt.reason, diff)
			}
			if a, err := r.Decide(t.Context(), &now); a != nil || err != nil {
				t.Errorf("it is answered twice: %v, %v", a, err)
			}
			if w.vendor.sent() != 0 {
				t.Errorf("%d orders were placed", w.vendor.sent())
			}
		})
	}
}

// foundBefore says that the last attempt found the id in the account.
func foundBefore(id string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Attempts[len(p.Spec.Attempts)-1].BaselineIDs = []string{id}
	}
}

// byPod says that a process of the pod made the last attempt.
func byPod(uid types.UID) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[len(p.Spec.Attempts)-1].Writer.PodUID = uid }
}

func holds(id string) func(v1alpha1.RegfishPurchase) bool {
	return func(p v1alpha1.RegfishPurchase) bool { return p.Spec.CertificateID == id && phaseOf(&p) == phasePlaced }
}

// The decision and its removal are one write, which fails if the record changed.
func TestDecisionIsConsumedInOneWrite(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), annotated("retry:1"))
	w := newWorld(t, readyIssuer(50), &p)
	stale := w.only()
	now := w.only()
	now.Labels["touched"] = "yes"
	if err := w.api.Update(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	r := w.resolver(w.spender("one", j.funcs()))
	if _, err := r.Decide(t.Context(), &stale); !apierrors.IsConflict(err) {
		t.Errorf("error %v", err)
	}
	if now = w.only(); now.Spec.Attempts[0].ReleaseTime != nil || now.Annotations[v1alpha1.AnnotationResolve] == "" {
		t.Errorf("%+v", now)
	}
	j.lines = nil
	if a, err := r.Decide(t.Context(), &now); err != nil || a.Void {
		t.Errorf("%v, %v", a, err)
	}
	if diff := cmp.Diff([]string{"patch 1 guarded attempts"}, j.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the API server does not answer leaves the decision where it is.
func TestDecisionWaitsForAnAnswer(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"), annotated("adopt:C1"))
	w := newWorld(t, readyIssuer(50), &p)
	now := w.only()
	broken := w.spender("one", interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errServer
	}})
	if a, err := w.resolver(broken).Decide(t.Context(), &now); a != nil || !errors.Is(err, errServer) {
		t.Errorf("%v, %v", a, err)
	}
	if now = w.only(); now.Annotations[v1alpha1.AnnotationResolve] == "" || now.Spec.CertificateID != "" {
		t.Errorf("%+v", now)
	}
}

// A record of another version may mean anything: what was decided on it waits for that
// version.
func TestRecordOfAnotherVersionIsNotDecidedOn(t *testing.T) {
	for _, text := range []string{"abandon", "retry:1", "adopt:C1", "nonsense"} {
		p := record(t, 1, unfound(time.Hour), sentWith("fingerprint"), annotated(text))
		p.Spec.RecordVersion++
		w := newWorld(t, readyIssuer(50), &p)
		w.vendor.account = []regfish.Certificate{listed("C1", "www.example.com")}
		r := w.resolver(w.spender("one", none))
		now := w.only()
		if a, err := r.Decide(t.Context(), &now); a != nil || err != nil {
			t.Errorf("%q: %v, %v", text, a, err)
		}
		if next, err := r.Watch(t.Context(), &now); next != 0 || err != nil {
			t.Errorf("it is watched: %s, %v", next, err)
		}
		if diff := cmp.Diff(p.Spec, w.only().Spec); diff != "" || w.only().Annotations[v1alpha1.AnnotationResolve] != text {
			t.Errorf("%q: the record changed:\n%s", text, diff)
		}
	}
}

// On a plan, adopt and purchase are for whoever decides on the request.
func TestDecideLeavesPlansAlone(t *testing.T) {
	for text, void := range map[string]bool{"purchase": false, "adopt:C1": false, "retry:1": true, "abandon": true, "nonsense": true} {
		p := record(t, 0, annotated(text))
		w := newWorld(t, readyIssuer(50), &p)
		now := w.only()
		a, err := w.resolver(w.spender("one", none)).Decide(t.Context(), &now)
		now = w.only()
		if err != nil || (a != nil) != void || (now.Annotations[v1alpha1.AnnotationResolve] == "") != void {
			t.Errorf("%q on a plan: %v, %v", text, a, err)
		}
	}
}

// One decision, one order: whatever puts the annotation back, and however often.
func TestRetrySpendsOnce(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	r := w.resolver(s)
	w.vendor.answer = answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")
	for range 5 {
		p := w.only()
		annotated("retry:1")(&p)
		if err := w.api.Update(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Decide(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		w.spend(s, cr)
	}
	if p := w.only(); w.vendor.sent() != 2 || len(p.Spec.Attempts) != 2 || w.slots() != 2 {
		t.Errorf("%d orders, %v, %d slots", w.vendor.sent(), describe(w.purchases()), w.slots())
	}
}

// A plan licenses one purchase, which records it.
func TestPurchaseOnAPlanSpendsOnce(t *testing.T) {
	cr := shopWWW(t)
	earlier := record(t, 1, forKey(t, keyB), placed("C1", time.Hour), cameToNothing)
	w := newWorld(t, readyIssuer(50), cr, &earlier)
	s := w.spender("one", none)
	facts, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon)
	if err != nil {
		t.Fatal(err)
	}
	facts.Want.Request.KeySHA256 = requestKey(cr.Spec.Request)
	plan := planned(t, facts, "purchase")
	status := plan.Status
	w.create(&plan)
	plan.Status = status
	if err := w.api.Status().Update(t.Context(), &plan); err != nil {
		t.Fatal(err)
	}
	w.vendor.answer = answers(regfish.NotSent, regfish.KindTransport, 0, "connection was refused")
	for range 3 {
		w.spend(s, cr)
	}
	all := w.purchases()
	if w.vendor.sent() != 1 || len(all) != 3 || all[2].Spec.PlanUID != "plan-1" || all[2].Spec.Number != 2 {
		t.Errorf("%d orders, %v", w.vendor.sent(), describe(all))
	}
	// The purchase ends without an order, and the plan that a tool puts back does not
	// license another one.
	w.remove(cr)
	again := approved(namespace, "www-2", "r2", csr(t, newKey(), "www.example.com"))
	w.create(again)
	w.clock.SetTime(noon.Add(days(1)))
	w.vendor.answer = nil
	if d := w.spend(s, again); d.Step != StepHold || w.vendor.sent() != 1 {
		t.Errorf("step %d: %s; %d orders", d.Step, d.Message, w.vendor.sent())
	}
}

// What a person adopts on a plan is imported, and costs nothing.
func TestAdoptOnAPlanImports(t *testing.T) {
	for id, imported := range map[string]bool{"X1": true, "X2": false} {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		w.vendor.account = []regfish.Certificate{listed("X1", "www.example.com")}
		s := w.spender("one", none)
		hold := w.spend(s, cr)
		if hold.Step != StepHold {
			t.Fatalf("step %d: %s", hold.Step, hold.Message)
		}
		facts, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon)
		if err != nil {
			t.Fatal(err)
		}
		facts.Want.Request.KeySHA256 = requestKey(cr.Spec.Request)
		plan := New(facts.Want, ledger, 0)
		plan.UID = "plan-1"
		annotated("adopt:" + id)(plan)
		w.create(plan)
		plan.Status = PlanStatus(plan.Status, hold)
		if err := w.api.Status().Update(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			d := w.spend(s, cr)
			if imported != (d.Step == StepFollow) || imported == (d.Void != "") {
				t.Errorf("%s: step %d, void %q", id, d.Step, d.Void)
			}
		}
		all := w.purchases()
		if w.vendor.sent() != 0 || w.slots() != 0 || imported != (len(all) == 2) {
			t.Errorf("%s: %d orders, %v, %d slots", id, w.vendor.sent(), describe(all), w.slots())
		}
		if imported && (all[1].Spec.Action != v1alpha1.ActionImport || all[1].Spec.CertificateID != "X1" || all[1].Spec.PlanUID != "plan-1") {
			t.Errorf("%v", describe(all))
		}
	}
}

// One that was issued for another key is imported, too, if it can be issued for the
// request's.
func TestAdoptOnAPlanHasItReissued(t *testing.T) {
	begin, end := noon.Add(-days(10)), noon.Add(days(189))
	for name, tt := range map[string]struct {
		change func(*regfish.Certificate)
		void   string
	}{
		"paid for": {change: func(*regfish.Certificate) {}},
		"not offered for a reissue": {
			change: func(c *regfish.Certificate) { c.ReissueSupported = false },
			void:   "X1 was issued for another key than the request's, and cannot be reissued for that: regfish offers no reissue.",
		},
		"about to end": {
			change: func(c *regfish.Certificate) {
				c.ContractValidUntil, c.ValidUntil = new(noon.Add(days(2))), new(noon.Add(days(2)))
			},
			void: "its contract ends at 2026-06-03T12:00:00Z, and the certificate at 2026-06-03T12:00:00Z.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			w := newWorld(t, readyIssuer(50), cr)
			row := sold("X1", begin, end)
			tt.change(&row)
			w.vendor.account = []regfish.Certificate{row}
			w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))}
			s := w.spender("one", none)
			hold := w.spend(s, cr)
			facts, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon)
			if err != nil {
				t.Fatal(err)
			}
			plan := New(facts.Want, ledger, 0)
			plan.UID = "plan-1"
			annotated("adopt:X1")(plan)
			w.create(plan)
			plan.Status = PlanStatus(plan.Status, hold)
			if err := w.api.Status().Update(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				d := w.spend(s, cr)
				if tt.void == "" && d.Step != StepWait || !strings.Contains(d.Void, tt.void) || (tt.void == "") != (d.Void == "") {
					t.Errorf("step %d (%s), void %q", d.Step, d.Message, d.Void)
				}
			}
			all := w.purchases()
			if w.vendor.sent() != 0 || (tt.void == "") != (len(all) == 2) {
				t.Errorf("%d orders, %v", w.vendor.sent(), describe(all))
			}
			if len(all) == 2 && (all[1].Spec.CertificateID != "X1" || len(all[1].Spec.Request) > 0 || all[1].Spec.PlanUID != "plan-1") {
				t.Errorf("%v", describe(all))
			}
		})
	}
}

func TestTakeOver(t *testing.T) {
	p := record(t, 1, placed("C1", time.Hour))
	p.Spec.Attempts[0].ClusterUID = "there"
	w := newWorld(t, readyIssuer(50), &p)
	r := w.resolver(w.spender("one", none))
	issuer := readyIssuer(50)
	for _, named := range []string{"", "elsewhere", "there"} {
		metav1.SetMetaDataAnnotation(&issuer.ObjectMeta, v1alpha1.AnnotationTakeover, named)
		now := w.only()
		from, err := r.TakeOver(t.Context(), &now, issuer)
		now = w.only()
		if err != nil || (from == "there") != (named == "there") || OfOtherCluster(&now, "cluster") == (named == "there") {
			t.Errorf("annotated %q: taken from %q, %v, takeovers %+v", named, from, err, now.Spec.Takeovers)
		}
	}
	// The annotation may stay where it is.
	now := w.only()
	if from, err := r.TakeOver(t.Context(), &now, issuer); from != "" || err != nil || len(w.only().Spec.Takeovers) != 1 {
		t.Errorf("taken from %q, %v", from, err)
	}
}

// Where the account is listed anyway, what appeared beside a purchase is shown; it goes
// when it is cancelled, and is never used.
func TestDuplicateIsReported(t *testing.T) {
	const www = "www.example.com"
	marked := func(w *world, name string) bool {
		var p v1alpha1.RegfishPurchase
		if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: ledger, Name: name}, &p); err != nil {
			t.Fatal(err)
		}
		return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionDuplicateFound)
	}
	bought := func() v1alpha1.RegfishPurchase {
		return record(t, 1, unfound(time.Hour), placed("C1", time.Hour), sentWith("fingerprint"))
	}
	t.Run("by looking for it", func(t *testing.T) {
		p := bought()
		w := newWorld(t, readyIssuer(50), &p)
		s := w.spender("one", none)
		warned := 0
		s.Warn = func(_ *v1alpha1.RegfishPurchase, c metav1.Condition) {
			if c.Type == v1alpha1.ConditionDuplicateFound && strings.Contains(c.Message, "X1") {
				warned++
			}
		}
		r := w.resolver(s)
		lists := w.lists()
		w.vendor.account = []regfish.Certificate{listed("C1", www)}
		watch := func() time.Duration {
			now := w.only()
			next, err := r.Watch(t.Context(), &now)
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		next := watch()
		w.clock.SetTime(w.clock.Now().Add(next))
		watch()
		if marked(w, p.Name) || lists() != 1 {
			t.Error("nothing appeared, and it is reported")
		}
		w.vendor.account = append(w.vendor.account, listed("X1", www))
		w.clock.SetTime(w.clock.Now().Add(2 * settleTime))
		watch()
		w.clock.SetTime(w.clock.Now().Add(2 * settleTime))
		watch()
		if !marked(w, p.Name) || warned != 1 {
			t.Errorf("it is not reported once, but %d times", warned)
		}
		w.vendor.account[1].Status = regfish.StatusCancelled
		w.clock.SetTime(w.clock.Now().Add(2 * settleTime))
		watch()
		if marked(w, p.Name) {
			t.Error("it was cancelled, and is reported still")
		}
		n := 0
		for ; watch() > 0; n++ {
			w.clock.SetTime(w.clock.Now().Add(2 * settleTime))
		}
		if n < 60 || n > 75 {
			t.Errorf("the account is read %d times more", n)
		}
		if now := w.only(); now.Spec.CertificateID != "C1" {
			t.Errorf("%v", describe(w.purchases()))
		}
	})
	t.Run("not for a purchase that was answered", func(t *testing.T) {
		p := record(t, 1, placed("C1", time.Hour), sentWith("fingerprint"))
		w := newWorld(t, readyIssuer(50), &p)
		if next, err := w.resolver(w.spender("one", none)).Watch(t.Context(), &p); next != 0 || err != nil {
			t.Errorf("it is watched: %s, %v", next, err)
		}
	})
	t.Run("for one that was given up without knowing", func(t *testing.T) {
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"), abandoned)
		w := newWorld(t, readyIssuer(50), &p)
		w.vendor.account = []regfish.Certificate{listed("X1", www)}
		r := w.resolver(w.spender("one", none))
		for range 2 {
			now := w.only()
			next, err := r.Watch(t.Context(), &now)
			if next == 0 || err != nil {
				t.Fatalf("it is not watched: %s, %v", next, err)
			}
			w.clock.SetTime(w.clock.Now().Add(next))
		}
		if !marked(w, p.Name) {
			t.Error("it is not reported")
		}
	})
	t.Run("not for one that was given up and never sent", func(t *testing.T) {
		p := record(t, 1, abandoned)
		w := newWorld(t, readyIssuer(50), &p)
		if next, err := w.resolver(w.spender("one", none)).Watch(t.Context(), &p); next != 0 || err != nil {
			t.Errorf("it is watched: %s, %v", next, err)
		}
	})
	t.Run("as what it was chosen from", func(t *testing.T) {
		for name, row := range map[string]regfish.Certificate{
			"listed with its names":    listed("X1", www),
			"listed without its names": {ID: "X1", Status: regfish.StatusPending},
		} {
			p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"), adopted("C1"))
			w := newWorld(t, readyIssuer(50), &p)
			w.vendor.account = []regfish.Certificate{listed("C1", www), row}
			r := w.resolver(w.spender("one", none))
			next, err := r.Watch(t.Context(), &p)
			if next == 0 || next > lookAgain || err != nil {
				t.Fatalf("%s: a process that has just begun watches after %s: %v", name, next, err)
			}
			w.clock.SetTime(w.clock.Now().Add(next))
			if _, err := r.Watch(t.Context(), &p); err != nil || !marked(w, p.Name) {
				t.Errorf("%s: it is not reported: %v", name, err)
			}
		}
	})
	t.Run("by looking for another order", func(t *testing.T) {
		p, other := bought(), record(t, 2, forNames(t, "api.example.com"), attempted(v1alpha1.OutcomeUnknown, time.Minute), sentWith("fingerprint"))
		w := newWorld(t, readyIssuer(50), &p, &other)
		w.vendor.account = []regfish.Certificate{listed("C1", www), listed("X1", www)}
		w.look(w.resolver(w.spender("one", none)), other.Name)
		if !marked(w, p.Name) || marked(w, other.Name) {
			t.Error("it is not reported where it belongs")
		}
	})
	t.Run("by listing before the next order", func(t *testing.T) {
		cr := shopWWW(t)
		p := bought()
		p.Spec.Request, p.Spec.Beneficiary.Namespace = csr(t, keyB, www), "blog"
		w := newWorld(t, readyIssuer(50), cr, &p)
		w.vendor.account = []regfish.Certificate{listed("C1", www), listed("X1", www)}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepHold || d.Reason != v1alpha1.ReasonUnclaimedOrder {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
		if !marked(w, p.Name) {
			t.Error("it is not reported")
		}
	})
	t.Run("by an answer that came after another id", func(t *testing.T) {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		s := w.spender("one", none)
		w.vendor.before = once(func() {
			p := w.only()
			p.Spec.CertificateID = "C9"
			if err := w.api.Update(context.Background(), &p); err != nil {
				t.Error(err)
			}
		})
		w.spend(s, cr)
		p := w.only()
		if o := p.Spec.Attempts[0].Outcome; p.Spec.CertificateID != "C9" || o.Message != "regfish named the order ID0001, and the purchase holds C9 already" {
			t.Errorf("%v, outcome %+v", describe(w.purchases()), o)
		}
		r := w.resolver(s)
		for range 2 {
			now := w.only()
			next, err := r.Watch(t.Context(), &now)
			if next == 0 || err != nil {
				t.Fatalf("it is not watched: %s, %v", next, err)
			}
			w.clock.SetTime(w.clock.Now().Add(next))
		}
		if !marked(w, p.Name) {
			t.Error("it is not reported")
		}
	})
	t.Run("not when its key is another one", func(t *testing.T) {
		p := bought()
		w := newWorld(t, readyIssuer(50), &p)
		w.issue("X1", certificatePEM(leaf(t, keyB, noon, inHalfAYear, www)), www)
		r := w.resolver(w.spender("one", none))
		for range 2 {
			now := w.only()
			next, err := r.Watch(t.Context(), &now)
			if err != nil {
				t.Fatal(err)
			}
			w.clock.SetTime(w.clock.Now().Add(next))
		}
		if marked(w, p.Name) {
			t.Error("somebody else's certificate is reported")
		}
	})
}
