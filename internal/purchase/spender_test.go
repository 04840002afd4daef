// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// shopWWW is the request that most tests spend for.
func shopWWW(t testing.TB) *cmapi.CertificateRequest {
	t.Helper()
	return approved(namespace, "www-1", "r1", csr(t, keyA, "www.example.com"))
}

// none is an API server without faults.
var none = interceptor.Funcs{}

func isPurchase(o client.Object) bool {
	_, ok := o.(*v1alpha1.RegfishPurchase)
	return ok
}

func conflict(o client.Object) error {
	return apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.Group, Resource: "regfishpurchases"}, o.GetName(), errors.New("the object has been modified"))
}

// tried is one attempt in the ledger.
type tried struct {
	Result  string
	Final   bool
	Status  int32
	Request string
}

func attempts(p v1alpha1.RegfishPurchase) []tried {
	var list []tried
	for _, a := range p.Spec.Attempts {
		tr := tried{Request: string(a.RequestUID)}
		if a.Outcome != nil {
			tr.Result, tr.Final, tr.Status = a.Outcome.Result, a.Outcome.Final, a.Outcome.HTTPStatus
		}
		list = append(list, tr)
	}
	return list
}

func TestSpendBuysOnce(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	w.vendor.account = []regfish.Certificate{{ID: "OLD", Status: regfish.StatusCancelled, CommonName: "example.com"}, {ID: "ELSE", Status: regfish.StatusIssued, CommonName: "example.org"}}
	s := w.spender("one", none)
	for range 5 {
		if d := w.spend(s, cr); d.Step != StepFollow {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
	}
	if d := w.spend(w.spender("two", none), cr); d.Step != StepFollow {
		t.Errorf("another process: step %d: %s", d.Step, d.Message)
	}
	want := []regfish.OrderRequest{{
		SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"}, CSR: string(cr.Spec.Request), DCVMethod: regfish.DCVMethodCNAME, ValidityDays: 199,
	}}
	if diff := cmp.Diff(want, w.vendor.orders); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	p := w.only()
	stamp := metav1.NewMicroTime(noon)
	attempt := v1alpha1.Attempt{
		Number: 1, Time: stamp, RequestName: "www-1", RequestUID: "r1", Writer: v1alpha1.Writer{PodUID: "pod", StartNonce: "one"}, ClusterUID: "cluster", KeyFingerprint: "fingerprint",
		BaselineIDs: []string{"OLD"}, Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted, HTTPStatus: 200, Time: stamp},
	}
	if diff := cmp.Diff([]v1alpha1.Attempt{attempt}, p.Spec.Attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if p.Spec.CertificateID != "ID0001" || p.Spec.Action != v1alpha1.ActionNew || p.Status.State != v1alpha1.StateProcessing || p.Status.Vendor == nil {
		t.Errorf("id %q, action %s, state %s, vendor %v", p.Spec.CertificateID, p.Spec.Action, p.Status.State, p.Status.Vendor)
	}
	if got := w.slots(); got != 1 {
		t.Errorf("%d slots are used, want 1", got)
	}
	if s.Flying(p.Name) {
		t.Error("the purchase is still marked as being worked on")
	}
}

// journal notes every write of a purchase, what is in it, and every order.
type journal struct{ lines []string }

func (j *journal) note(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) funcs() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if p, ok := o.(*v1alpha1.RegfishPurchase); ok {
				j.note("create %d %s", p.Spec.Number, strings.Join(describe([]v1alpha1.RegfishPurchase{*p}), ""))
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			data, err := patch.Data(o)
			if err != nil {
				return err
			}
			var fields struct {
				Metadata struct{ ResourceVersion string }
				Spec     map[string]any
			}
			if err := json.Unmarshal(data, &fields); err != nil {
				return err
			}
			names := slices.Sorted(maps.Keys(fields.Spec))
			guard := "unguarded"
			if fields.Metadata.ResourceVersion != "" {
				guard = "guarded"
			}
			j.note("patch %d %s %s", o.(*v1alpha1.RegfishPurchase).Spec.Number, guard, strings.Join(names, " and "))
			return c.Patch(ctx, o, patch, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			kind := "slot"
			if isPurchase(o) {
				kind = "status"
			}
			j.note("%s", kind)
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		},
	}
}

// The order of the writes is what makes a crash at any point harmless: the slot,
// the announcement on the purchase before, the intent, and only then the order;
// after it the outcome and the id in one write.
func TestSpendWritesBeforeItSends(t *testing.T) {
	cr := shopWWW(t)
	earlier := record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))))
	w := newWorld(t, readyIssuer(50), cr, &earlier)
	j := &journal{}
	s := w.spender("one", j.funcs())
	s.Leader = func(context.Context) error { j.note("leader"); return nil }
	w.vendor.before = func() { j.note("order") }
	w.spend(s, cr)
	want := []string{
		"slot", "patch 1 guarded successors", `create 2 2 New "" [1 r1 by one: open]`, "leader", "order", "patch 2 guarded attempts and certificateID", "status",
	}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := w.purchases()[0].Spec.Successors; len(got) != 1 || got[0].Number != 2 || got[0].RequestUID != "r1" || got[0].Action != v1alpha1.ActionNew {
		t.Errorf("announced: %+v", got)
	}
}

// An attempt is guarded by the record that it is added to.
func TestSpendTriesAgain(t *testing.T) {
	cr := shopWWW(t)
	p := record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour))
	p.Spec.Request = cr.Spec.Request
	w := newWorld(t, readyIssuer(50), cr, &p)
	j := &journal{}
	w.vendor.before = func() { j.note("order") }
	if d := w.spend(w.spender("one", j.funcs()), cr); d.Step != StepFollow {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	want := []string{"slot", "patch 1 guarded attempts", "order", "patch 1 guarded attempts and certificateID", "status"}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]tried{{Result: v1alpha1.OutcomeNotSent, Request: "r1"}, {Result: v1alpha1.OutcomeAccepted, Status: 200, Request: "r1"}}, attempts(w.only())); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

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
			objects := []client.Object{readyIssuer(50), cr}
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
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 401}, now: queued(time.Minute), refusal: v1alpha1.ReasonKeyRejected, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 403": {
			reason: "the issuer's owner has to mend the key's role", answer: answers(regfish.Rejected, regfish.KindForbidden, 403, "no role"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 403}, now: queued(time.Minute), refusal: v1alpha1.ReasonKeyForbidden, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 404": {
			reason: "nothing was bought", answer: answers(regfish.Rejected, regfish.KindNotFound, 404, "no such sku"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 404}, now: queued(time.Minute), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"refused with 409": {
			reason: "an organization is missing, which the issuer's owner has to mend", answer: answers(regfish.Rejected, regfish.KindConflict, 409, "organization"),
			want: tried{Result: v1alpha1.OutcomeRejected, Status: 409}, now: queued(time.Minute), refusal: v1alpha1.ReasonOrganizationRequired, state: v1alpha1.StateQueued, later: StepRetry,
		},
		"turned away with 429": {
			reason: "it was answered before an order was made", answer: answers(regfish.NotSent, regfish.KindTooMany, 429, "slow down"),
			want: tried{Result: v1alpha1.OutcomeNotSent, Status: 429}, now: queued(time.Minute), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"not connected": {
			reason: "no byte left", answer: answers(regfish.NotSent, regfish.KindTransport, 0, "connection was refused"),
			want: tried{Result: v1alpha1.OutcomeNotSent}, now: queued(time.Minute), state: v1alpha1.StateQueued, later: StepRetry,
		},
		"no answer": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time"),
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"500": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindUnavailable, 500, "oops"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 500}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"200 that says nothing": {
			reason: "it may have been placed", answer: answers(regfish.Unknown, regfish.KindUnreadable, 200, "web page"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 200}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"an outcome that nobody set": {
			reason: "in doubt it may have been placed", answer: func(int) regfish.OrderResult { return regfish.OrderResult{} },
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"a panic": {
			reason: "the order may have been sent before", answer: func(int) regfish.OrderResult { panic("a bug in the client") },
			want: tried{Result: v1alpha1.OutcomeUnknown}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"accepted with an id that no record can hold": {
			reason: "the API server would refuse it for ever", answer: accepted(strings.Repeat("x", 129)),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 201}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
		},
		"accepted with the longest id that a record can hold": {
			reason: "it is an id", answer: accepted(strings.Repeat("x", 128)),
			want: tried{Result: v1alpha1.OutcomeAccepted, Status: 201}, id: strings.Repeat("x", 128), now: follows(v1alpha1.ReasonPurchased), state: v1alpha1.StateProcessing, later: StepFollow,
		},
		"accepted with an id that cannot be shown": {
			reason: "control characters are no part of an id", answer: accepted("C1\x1b[31m"),
			want: tried{Result: v1alpha1.OutcomeUnknown, Status: 201}, now: follows(v1alpha1.ReasonPlacing), state: v1alpha1.StateHeld, later: StepFollow,
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

func queued(pause time.Duration) verdict {
	return verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: pause}
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
			left := 100
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
	if status := Observe(&p, Observation{Now: noon, RequestLive: true}); status.State != v1alpha1.StateHeld {
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
	}{
		"the account cannot be listed": {
			given: func(w *world, _ *Spender) {
				w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTransport, Message: "no answer in time"}
			},
			step: StepQueue, says: "no answer in time",
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
		if tt.step == StepQueue && d.LookAgain == 0 {
			t.Errorf("%s: nobody is told when to look again", name)
		}
		if w.vendor.sent() != 0 || len(w.purchases()) != 0 || w.slots() != 0 {
			t.Errorf("%s: %d orders, ledger %v, %d slots", name, w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// What the account has already is recorded instead of being bought.
func TestSpendImports(t *testing.T) {
	cr := shopWWW(t)
	begin, end := noon.Add(-days(1)), noon.Add(days(198))
	row := issuedAtVendor("X1", begin, end, "www.example.com")
	t.Run("a certificate of this key", func(t *testing.T) {
		w := newWorld(t, readyIssuer(0), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		// Not even a limit of 0 matters, but for finding it out nothing is asked.
		if d := w.spend(w.spender("one", none), cr); d.Step != StepQueue {
			t.Errorf("step %d", d.Step)
		}
		w = newWorld(t, readyIssuer(50), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		s := w.spender("one", none)
		for range 2 {
			if d := w.spend(s, cr); d.Step != StepFollow || d.Purchase.Spec.CertificateID != "X1" {
				t.Errorf("step %d: %s", d.Step, d.Message)
			}
		}
		p := w.only()
		if p.Spec.Action != v1alpha1.ActionImport || p.Spec.CertificateID != "X1" || len(p.Spec.Attempts) != 0 || w.vendor.sent() != 0 || w.slots() != 0 {
			t.Errorf("%v, %d orders, %d slots", describe([]v1alpha1.RegfishPurchase{p}), w.vendor.sent(), w.slots())
		}
	})
	t.Run("what an earlier request was given, for the key of that request", func(t *testing.T) {
		certificate := certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))
		before := approved(namespace, "www-0", "r0", csr(t, keyB, "www.example.com"))
		before.Status.Certificate = certificate
		stranger := approved(namespace, "other-0", "r8", csr(t, keyB, "www.example.com"))
		stranger.Status.Certificate = certificate
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), before, stranger)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificate}
		d := w.spend(w.spender("one", none), cr)
		p := w.only()
		if d.Step != StepWait || p.Spec.Action != v1alpha1.ActionImport || string(p.Spec.Request) != string(before.Spec.Request) {
			t.Errorf("step %d (%s), %v", d.Step, d.Message, describe([]v1alpha1.RegfishPurchase{p}))
		}
		if got := w.vendor.sent(); got != 0 {
			t.Errorf("%d orders were placed", got)
		}
	})
	t.Run("not what a request of another Certificate was given", func(t *testing.T) {
		certificate := certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))
		stranger := approved(namespace, "other-0", "r8", csr(t, keyB, "www.example.com"))
		stranger.Status.Certificate = certificate
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), stranger)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificate}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepHold || d.Reason != v1alpha1.ReasonUnclaimedOrder {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
		if len(w.purchases()) != 0 || w.vendor.sent() != 0 {
			t.Errorf("%d orders, %v", w.vendor.sent(), describe(w.purchases()))
		}
	})
	t.Run("not what another purchase holds", func(t *testing.T) {
		holds := record(t, 1, inNamespace("blog"), placed("X1", days(1)), issuedFor(begin, end))
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), &holds)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
		if got := w.purchases(); len(got) != 2 || got[1].Spec.Action != v1alpha1.ActionNew || w.vendor.sent() != 1 {
			t.Errorf("%d orders, %v", w.vendor.sent(), describe(got))
		}
	})
	t.Run("a row without names is read by its id", func(t *testing.T) {
		w := newWorld(t, readyIssuer(50), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{{ID: "X1", Status: regfish.StatusPending}}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepHold || !strings.Contains(d.Message, "X1") {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
	})
}

// An order of this ledger that regfish lists before its answer came is not
// somebody else's.
func TestSpendKnowsItsOwnOrdersInFlight(t *testing.T) {
	first, second := shopWWW(t), approved(namespace, "all-1", "r2", csr(t, keyB, "www.example.com", "api.example.com"))
	w := newWorld(t, readyIssuer(50), first, second)
	s := w.spender("one", none)
	w.vendor.account = []regfish.Certificate{issuedAtVendor("OLD", noon.Add(-days(30)), noon.Add(days(169)), "www.example.com", "shop.example.com")}
	w.vendor.before = once(func() {
		w.vendor.account = append(w.vendor.account, regfish.Certificate{ID: "ID0001", Status: regfish.StatusPending, CommonName: "www.example.com"})
		d := w.spend(s, second)
		if d.Step != StepWait || d.LookAgain == 0 || !strings.Contains(d.Message, w.only().Name) {
			t.Errorf("step %d, look again after %s: %s", d.Step, d.LookAgain, d.Message)
		}
	})
	w.spend(s, first)
	if d := w.spend(s, second); d.Step != StepFollow {
		t.Errorf("after the answer: step %d: %s", d.Step, d.Message)
	}
	if got := w.vendor.sent(); got != 2 {
		t.Errorf("%d orders were placed, want 2", got)
	}
}

// A purchase that was announced and never made is made by whoever finds that.
func TestSpendMakesWhatWasAnnounced(t *testing.T) {
	cr := shopWWW(t)
	for name, before := range map[string]v1alpha1.RegfishPurchase{
		"after one that ended":                   record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))), succeeded(2)),
		"after one of this key that placed none": record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour), succeeded(2)),
	} {
		before.Spec.Request = map[bool][]byte{true: cr.Spec.Request, false: before.Spec.Request}[before.Spec.CertificateID == ""]
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), &before)
		if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
			t.Errorf("%s: step %d: %s", name, d.Step, d.Message)
		}
		all := w.purchases()
		if len(all) != 2 || all[1].Spec.Number != 2 || all[1].Spec.CertificateID != "ID0001" || len(all[0].Spec.Successors) != 1 || w.vendor.sent() != 1 {
			t.Errorf("%s: %v, %d orders", name, describe(all), w.vendor.sent())
		}
	}
}

func TestSpendStopsAtTheLimit(t *testing.T) {
	cr := shopWWW(t)
	unplaced := record(t, 1, attempted(v1alpha1.OutcomeNotSent, days(2)))
	unplaced.Spec.Request = cr.Spec.Request
	for name, ledgered := range map[string][]client.Object{"a new purchase": nil, "another attempt": {&unplaced}} {
		w := newWorld(t, append([]client.Object{readyIssuer(1), cr.DeepCopy()}, ledgered...)...)
		// The last slot goes to another process while the account is listed.
		w.vendor.listing = once(func() {
			var issuer v1alpha1.RegfishClusterIssuer
			if err := w.api.Get(t.Context(), client.ObjectKey{Name: theIssuer.Name}, &issuer); err != nil {
				t.Error(err)
			}
			issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Count: 1, Window: []v1alpha1.PurchaseBucket{used(0, "blog", 1)}}
			if err := w.api.Status().Update(t.Context(), &issuer); err != nil {
				t.Error(err)
			}
		})
		d := w.spend(w.spender("one", none), cr)
		want := verdict{Step: StepQueue, Purchase: int32(len(ledgered)), Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: 25 * time.Hour} //nolint:gosec // small
		if diff := cmp.Diff(want, verdictOf(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := w.purchases(); len(got) != len(ledgered) || w.vendor.sent() != 0 || w.slots() != 1 {
			t.Errorf("%s: %v, %d orders, %d slots", name, describe(got), w.vendor.sent(), w.slots())
		}
	}
}

// Other processes write the issuer's status too.
func TestSpendTakesASlotThroughConflicts(t *testing.T) {
	for conflicts, sent := range map[int]int{0: 1, 4: 1, 5: 0} {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		left := conflicts
		s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if !isPurchase(o) && left > 0 {
				left--
				return conflict(o)
			}
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		}})
		_, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
		if (err != nil) != (sent == 0) || w.vendor.sent() != sent || len(w.purchases()) != sent || int(w.slots()) != sent {
			t.Errorf("after %d conflicts: error %v, %d orders, %v, %d slots", conflicts, err, w.vendor.sent(), describe(w.purchases()), w.slots())
		}
	}
}

// A slot that is given back is the one that was taken, and no other namespace's.
func TestGiveBack(t *testing.T) {
	issuer := readyIssuer(50)
	issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Count: 5, Window: []v1alpha1.PurchaseBucket{used(1, "shop", 2), used(0, "blog", 3)}}
	w := newWorld(t, issuer, shopWWW(t))
	w.vendor.listing = once(func() { p := record(t, 1, placed("C1", 0)); w.create(&p) })
	if _, _, err := w.spender("one", none).Spend(t.Context(), client.ObjectKey{Namespace: namespace, Name: "www-1"}, "r1"); !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	var got v1alpha1.RegfishClusterIssuer
	if err := w.api.Get(t.Context(), client.ObjectKey{Name: theIssuer.Name}, &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int32{}
	for _, b := range got.Status.Purchases.Window {
		counts[b.Namespace+" "+b.Hour.UTC().Format("15")] += b.Count
	}
	if diff := cmp.Diff(map[string]int32{"shop 11": 2, "shop 12": 0, "blog 12": 3}, counts); diff != "" || got.Status.Purchases.Count != 5 {
		t.Errorf("count %d (-want +got):\n%s", got.Status.Purchases.Count, diff)
	}
}

// Nothing is worked on twice by one process, and what is turned away keeps no slot.
func TestSpendWorksOnAPurchaseOnce(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.spender("one", none)
	w.vendor.before = once(func() {
		p := w.only()
		w.remove(&p) // by hand, while its order is in flight
		for range 3 {
			if d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID); err == nil {
				t.Errorf("step %d: %s", d.Step, d.Message)
			}
		}
	})
	w.spend(s, cr)
	if p := w.only(); p.Spec.CertificateID != "ID0001" || w.vendor.sent() != 1 || w.slots() != 1 {
		t.Errorf("%v, %d orders, %d slots", describe([]v1alpha1.RegfishPurchase{p}), w.vendor.sent(), w.slots())
	}
}

// Whoever ends the process waits for the order that is under way, and a stop in
// the middle of the intent's write does not leave it half done.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		ctx, stop := context.WithCancel(t.Context())
		s := w.spender("one", interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			stop()
			if err := ctx.Err(); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		}})
		answer := make(chan struct{})
		w.vendor.before = func() { <-answer }
		go func() { _, _, _ = s.Spend(ctx, client.ObjectKeyFromObject(cr), cr.UID) }()
		synctest.Wait()
		ended := false
		go func() { s.Wait(); ended = true }()
		synctest.Wait()
		if ended {
			t.Fatal("the process would end with an order under way")
		}
		close(answer)
		synctest.Wait()
		if p := w.only(); !ended || p.Spec.CertificateID != "ID0001" {
			t.Errorf("ended %v with %v", ended, describe([]v1alpha1.RegfishPurchase{p}))
		}
	})
}

// The status is a convenience: a purchase whose status cannot be written is
// bought all the same.
func TestSpendWithoutAStatus(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.spender("one", interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		if isPurchase(o) {
			return errServer
		}
		return c.SubResource(sub).Patch(ctx, o, patch, opts...)
	}})
	if d := w.spend(s, cr); d.Step != StepFollow {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	p := w.only()
	if p.Spec.CertificateID != "ID0001" {
		t.Errorf("%v", describe([]v1alpha1.RegfishPurchase{p}))
	}
	if p.Status = Observe(&p, Observation{Now: noon}); Resting(&p) {
		t.Errorf("nobody looks at it again: %s", p.Status.Message)
	}
}

// The page that a person completes the order at is shown only if that is allowed.
func TestSpendShowsThePageOnlyIfItMay(t *testing.T) {
	for name, tt := range map[string]struct {
		may  func(v1alpha1.Issuer, string) bool
		want string
	}{
		"nobody decides": {nil, ""},
		"it may not":     {func(v1alpha1.Issuer, string) bool { return false }, ""},
		"it may": {func(i v1alpha1.Issuer, page string) bool {
			return i.GetName() == theIssuer.Name && page == "https://regfish.com/1"
		}, "https://regfish.com/1"},
	} {
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr)
		w.vendor.answer = func(int) regfish.OrderResult {
			return regfish.OrderResult{Outcome: regfish.Accepted, Certificate: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, ActionRequired: true, CompletionURL: "https://regfish.com/1"}}
		}
		s := w.spender("one", none)
		s.MayShow = tt.may
		w.spend(s, cr)
		if p := w.only(); p.Status.CompletionURL != tt.want || p.Status.State != v1alpha1.StateActionRequired {
			t.Errorf("%s: page %q, state %s", name, p.Status.CompletionURL, p.Status.State)
		}
	}
}
