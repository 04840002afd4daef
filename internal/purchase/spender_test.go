// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

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
	w.vendor.account = []regfish.Certificate{sold("C0", noon.Add(-days(180)), noon.Add(days(19)))}
	j := &journal{}
	s := w.spender("one", j.funcs())
	s.Leader = func(context.Context) error { j.note("leader"); return nil }
	w.vendor.before = func() { j.note("order") }
	w.spend(s, cr)
	want := []string{
		"slot", "patch 1 guarded successors", `create 2 2 Renew "" [1 r1 by one: open]`, "leader", "order", "patch 2 guarded attempts and certificateID", "status",
	}
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := w.purchases()[0].Spec.Successors; len(got) != 1 || got[0].Number != 2 || got[0].RequestUID != "r1" || got[0].Action != v1alpha1.ActionRenew {
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

// A purchase that was announced and never made is made by whoever finds that.
func TestSpendMakesWhatWasAnnounced(t *testing.T) {
	cr := shopWWW(t)
	for name, before := range map[string]v1alpha1.RegfishPurchase{
		"after one that ended":                   record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))), succeeded(2)),
		"after one of this key that placed none": record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour), succeeded(2)),
	} {
		before.Spec.Request = map[bool][]byte{true: cr.Spec.Request, false: before.Spec.Request}[before.Spec.CertificateID == ""]
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), &before)
		if before.Spec.CertificateID != "" {
			w.vendor.account = []regfish.Certificate{sold("C0", noon.Add(-days(180)), noon.Add(days(19)))}
		}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
			t.Errorf("%s: step %d: %s", name, d.Step, d.Message)
		}
		all := w.purchases()
		if len(all) != 2 || all[1].Spec.Number != 2 || all[1].Spec.CertificateID != "ID0001" || len(all[0].Spec.Successors) != 1 || w.vendor.sent() != 1 {
			t.Errorf("%s: %v, %d orders", name, describe(all), w.vendor.sent())
		}
	}
}

// The number of what was announced and is removed from the ledger is the next one again. A
// renewal is announced under it all the same, in a way that the CRD's rules let pass.
func TestSpendAnnouncesARenewalUnderANumberThatWasAnnounced(t *testing.T) {
	cr := shopWWW(t)
	for _, action := range []string{v1alpha1.ActionNew, v1alpha1.ActionRenew} {
		before := record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))), succeeded(2))
		before.Spec.Successors[0].Action = action
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), &before)
		w.vendor.account = []regfish.Certificate{sold("C0", noon.Add(-days(180)), noon.Add(days(19)))}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
			t.Errorf("%s: step %d: %s", action, d.Step, d.Message)
		}
		got := w.purchases()[0].Spec.Successors
		if len(got) != 1 || got[0].Action != v1alpha1.ActionRenew || got[0].RequestUID != "r1" || !got[0].Time.Time.Equal(noon) {
			t.Errorf("%s: announced: %+v", action, got)
		}
	}
}

// A record has room for 50 announcements. Where fifty renewals were refused, for what the
// Certificate asks for, the next one is made all the same.
func TestSpendRenewsWhatWasRenewedInVainManyTimes(t *testing.T) {
	cr := shopWWW(t)
	source := record(t, 1, forKey(t, keyB), placed("C0", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))))
	for n := range int32(50) {
		source.Spec.Successors = append(source.Spec.Successors, v1alpha1.Successor{Number: n + 2, Action: v1alpha1.ActionRenew, RequestUID: "r9", Time: metav1.NewMicroTime(noon.Add(-days(1)))})
	}
	last := record(t, 51, forKey(t, keyB), renewed("C0"), refusedForGood)
	w := newWorld(t, readyIssuer(50), cr, &source, &last)
	w.vendor.account = []regfish.Certificate{sold("C0", noon.Add(-days(180)), noon.Add(days(19)))}
	if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	all := w.purchases()
	if n := len(all[0].Spec.Successors); n > 50 {
		t.Errorf("%d successors, which the API server does not take", n)
	}
	if p := all[len(all)-1]; p.Spec.Number != 52 || p.Spec.SourceCertificateID != "C0" || len(all[1].Spec.Successors) != 1 {
		t.Errorf("%v", describe(all))
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
	if p.Status = Observe(&p, Observation{}); Resting(&p) {
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
