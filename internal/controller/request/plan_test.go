// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package request

import (
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
)

var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// approved is a request of an issuer of ours that was made a minute before noon.
func approved() *cmapi.CertificateRequest {
	return &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www-1", UID: "r1", CreationTimestamp: metav1.NewTime(noon.Add(-time.Minute))},
		Spec:       cmapi.CertificateRequestSpec{IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}},
		Status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{
			{Type: cmapi.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue, Reason: "Approved"},
		}},
	}
}

// orderOf is the order of the request, in the given state.
func orderOf(cr *cmapi.CertificateRequest, state v1alpha1.State) *v1alpha1.RegfishOrder {
	return &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: cr.Namespace, Name: cr.Name, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cr, cmapi.SchemeGroupVersion.WithKind("CertificateRequest"))}},
		Spec:       v1alpha1.OrderSpec{RequestRef: v1alpha1.RequestRef{Name: cr.Name, UID: cr.UID}},
		Status: v1alpha1.OrderStatus{State: state, Message: "what the order says.", Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionActionRequired, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotRequired, Message: "nobody."},
		}},
	}
}

func TestPlan(t *testing.T) {
	condition := func(kind cmapi.CertificateRequestConditionType, status cmmeta.ConditionStatus, reason string) func(*facts) {
		return func(f *facts) {
			f.request.Status.Conditions = append(f.request.Status.Conditions, cmapi.CertificateRequestCondition{Type: kind, Status: status, Reason: reason})
		}
	}
	denied := condition(cmapi.CertificateRequestConditionDenied, cmmeta.ConditionTrue, "Denied")
	undecided := func(f *facts) { f.request.Status.Conditions = nil }
	made := func(before time.Duration) func(*facts) {
		return func(f *facts) { f.request.CreationTimestamp = metav1.NewTime(noon.Add(-before)) }
	}
	ofKind := func(kind string) func(*facts) { return func(f *facts) { f.request.Spec.IssuerRef.Kind = kind } }
	ordered := func(state v1alpha1.State, changes ...func(*v1alpha1.RegfishOrder)) func(*facts) {
		return func(f *facts) {
			f.order = orderOf(f.request, state)
			for _, change := range changes {
				change(f.order)
			}
		}
	}
	// expectation is an answer without the words.
	type expectation struct {
		Step    step
		Reason  string
		Invalid bool
		Look    time.Duration
		Action  string
	}
	for name, tt := range map[string]struct {
		reason string
		given  []func(*facts)
		want   expectation
		says   string
	}{
		"a request of another group": {
			reason: "it is another issuer's", given: []func(*facts){func(f *facts) { f.request.Spec.IssuerRef.Group = "cert-manager.io" }},
			want: expectation{Step: stepNone},
		},
		"a request without a group": {
			reason: "cert-manager means its own", given: []func(*facts){func(f *facts) { f.request.Spec.IssuerRef.Group = "" }},
			want: expectation{Step: stepNone},
		},
		"a request that is being deleted": {
			reason: "nobody waits for an answer", given: []func(*facts){func(f *facts) { n := metav1.NewTime(noon); f.request.DeletionTimestamp = &n }},
			want: expectation{Step: stepNone},
		},
		"a request that was issued": {
			reason: "it was answered for good", given: []func(*facts){condition(cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued)},
			want: expectation{Step: stepNone},
		},
		"a request that failed": {
			reason: "it was answered for good", given: []func(*facts){condition(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed), ordered(v1alpha1.StateIssued)},
			want: expectation{Step: stepNone},
		},
		"a request that was answered Denied": {
			reason: "it was answered for good", given: []func(*facts){denied, condition(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonDenied)},
			want: expectation{Step: stepNone},
		},
		"a request with a certificate": {
			reason: "it was answered for good", given: []func(*facts){func(f *facts) { f.request.Status.Certificate = []byte("x") }},
			want: expectation{Step: stepNone},
		},
		"a request that was denied": {
			reason: "whoever denied it expects an answer", given: []func(*facts){undecided, denied},
			want: expectation{Step: stepNone, Reason: "Denied"}, says: "denied",
		},
		"a request that was approved and denied": {
			reason: "a denial wins", given: []func(*facts){denied, ordered(v1alpha1.StateProcessing)},
			want: expectation{Step: stepNone, Reason: "Denied"},
		},
		"a request that was denied for an unknown kind": {
			reason: "the denial is the answer, not the kind", given: []func(*facts){undecided, denied, ofKind("Other")},
			want: expectation{Step: stepNone, Reason: "Denied"},
		},
		"a request that nobody decided on yet": {
			reason: "nothing is written before approval", given: []func(*facts){undecided, made(2*time.Minute - time.Second)},
			want: expectation{Step: stepNone, Look: time.Second},
		},
		"a request that nobody decided on for two minutes": {
			reason: "an event tells what is probably missing, and still nothing is written", given: []func(*facts){undecided, made(2 * time.Minute)},
			want: expectation{Step: stepMissing}, says: `"approve" on signers "regfishclusterissuers.certmanager.regfish.com/*"`,
		},
		"a request for a RegfishIssuer that nobody decided on": {
			reason: "the signer's name has its kind", given: []func(*facts){undecided, made(time.Hour), ofKind(v1alpha1.KindIssuer)},
			want: expectation{Step: stepMissing}, says: `"regfishissuers.certmanager.regfish.com/*"`,
		},
		"a request without a kind that nobody decided on": {
			reason: "the signer's name is that of the kind that is meant", given: []func(*facts){undecided, made(time.Hour), ofKind("")},
			want: expectation{Step: stepMissing}, says: `"regfishissuers.certmanager.regfish.com/*"`,
		},
		"a request of an unknown kind that nobody decided on": {
			reason: "no approver can know the kind", given: []func(*facts){undecided, made(time.Hour), ofKind("RegfishIsuer")},
			want: expectation{Step: stepMissing}, says: `spec.issuerRef.kind "RegfishIsuer" is no kind of certmanager.regfish.com; use RegfishIssuer or RegfishClusterIssuer`,
		},
		"an approval that was taken back": {
			reason: "only True is an approval", given: []func(*facts){func(f *facts) { f.request.Status.Conditions[0].Status = cmmeta.ConditionFalse }, ordered(v1alpha1.StateProcessing)},
			want: expectation{Step: stepNone, Look: time.Minute},
		},
		"an unknown kind": {
			reason: "only the requester can change it", given: []func(*facts){ofKind("RegfishIsuer")},
			want: expectation{Step: stepNone, Reason: "Failed", Invalid: true}, says: `spec.issuerRef.kind "RegfishIsuer"`,
		},
		"a request that cannot be bought for": {
			reason: "only the requester can change it, and is told everything at once",
			given: []func(*facts){func(f *facts) {
				f.problems = []pki.Problem{{Field: "spec.isCA", Message: "remove it"}, {Field: "spec.request", Message: "no DNS name"}}
			}},
			want: expectation{Step: stepNone, Reason: "Failed", Invalid: true}, says: "spec.isCA: remove it spec.request: no DNS name",
		},
		"a request that cannot be bought for, with an order": {
			reason: "no order serves it", given: []func(*facts){ordered(v1alpha1.StateProcessing), func(f *facts) { f.problems = []pki.Problem{{Field: "spec.isCA", Message: "remove it"}} }},
			want: expectation{Step: stepNone, Reason: "Failed", Invalid: true},
		},
		"a request without an order": {
			reason: "it is Pending at once, on which temporary certificates depend",
			want:   expectation{Step: stepCreate, Reason: "Pending"}, says: "RegfishOrder www-1",
		},
		"a request for a RegfishIssuer": {
			reason: "it is one of our kinds", given: []func(*facts){ofKind(v1alpha1.KindIssuer)},
			want: expectation{Step: stepCreate, Reason: "Pending"},
		},
		"a request without a kind": {
			reason: "the namespaced kind is meant", given: []func(*facts){ofKind("")},
			want: expectation{Step: stepCreate, Reason: "Pending"},
		},
		"an order of an earlier request": {
			reason: "it says nothing about this one", given: []func(*facts){ordered(v1alpha1.StateFailed, func(o *v1alpha1.RegfishOrder) { o.Spec.RequestRef.UID = "r0" })},
			want: expectation{Step: stepReplace, Reason: "Pending"}, says: "belongs to an earlier request",
		},
		"an order that an earlier request controls": {
			reason: "whoever forged it does not control it", given: []func(*facts){ordered(v1alpha1.StateFailed, func(o *v1alpha1.RegfishOrder) { o.OwnerReferences[0].UID = "r0" })},
			want: expectation{Step: stepReplace, Reason: "Pending"},
		},
		"an order that nothing controls": {
			reason: "it would not go with its request", given: []func(*facts){ordered(v1alpha1.StateFailed, func(o *v1alpha1.RegfishOrder) { o.OwnerReferences = nil })},
			want: expectation{Step: stepReplace, Reason: "Pending"},
		},
		"an order that is being deleted": {
			reason: "a new one follows, so what it says does not count", given: []func(*facts){ordered(v1alpha1.StateFailed, func(o *v1alpha1.RegfishOrder) { n := metav1.NewTime(noon); o.DeletionTimestamp = &n })},
			want: expectation{Step: stepNone, Reason: "Pending"}, says: "being deleted",
		},
		"an order that nobody looked at yet": {
			reason: "what stands on the request is true", given: []func(*facts){ordered("")},
			want: expectation{Step: stepNone},
		},
		"an order that waits": {
			reason: "the sentence is the request's too", given: []func(*facts){ordered(v1alpha1.StateQueued)},
			want: expectation{Step: stepNone, Reason: "Pending", Action: "False/NotRequired"}, says: "what the order says.",
		},
		"an order that is held": {
			reason: "a request is never failed while a person may decide", given: []func(*facts){ordered(v1alpha1.StateHeld)},
			want: expectation{Step: stepNone, Reason: "Pending", Action: "False/NotRequired"},
		},
		"an order that somebody has to complete": {
			reason: "the page can be read from the request alone",
			given: []func(*facts){ordered(v1alpha1.StateActionRequired, func(o *v1alpha1.RegfishOrder) {
				o.Status.Conditions[0].Status, o.Status.Conditions[0].Reason = metav1.ConditionTrue, "OrganizationRequired"
			})},
			want: expectation{Step: stepNone, Reason: "Pending", Action: "True/OrganizationRequired"},
		},
		"an order that says issued": {
			reason: "the request is Ready when it has the certificate, which the order controller hands it", given: []func(*facts){ordered(v1alpha1.StateIssued)},
			want: expectation{Step: stepNone, Reason: "Pending", Action: "False/NotRequired"},
		},
		"an order that failed": {
			reason: "cert-manager makes another request", given: []func(*facts){ordered(v1alpha1.StateFailed)},
			want: expectation{Step: stepNone, Reason: "Failed", Action: "False/NotRequired"}, says: "what the order says.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{now: noon, request: approved()}
			for _, given := range tt.given {
				given(&f)
			}
			before := f.request.DeepCopy()
			a := plan(f)
			got := expectation{Step: a.step, Reason: a.reason, Invalid: a.invalid, Look: a.lookAgain}
			if a.action != nil {
				got.Action = string(a.action.Status) + "/" + a.action.Reason
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: plan (-want +got):\n%s", tt.reason, diff)
			}
			if !strings.Contains(a.message, tt.says) {
				t.Errorf("it says %q, not %q", a.message, tt.says)
			}
			if a.reason != "" && a.message == "" {
				t.Error("nothing is said")
			}
			if diff := cmp.Diff(before, f.request); diff != "" {
				t.Errorf("the request was changed:\n%s", diff)
			}
		})
	}
}

// Before approval nothing is written, whatever stands there.
func TestPlanWritesNothingBeforeApproval(t *testing.T) {
	for _, age := range []time.Duration{0, time.Minute, 2 * time.Minute, 24 * time.Hour} {
		for _, state := range []v1alpha1.State{"", v1alpha1.StateFailed, v1alpha1.StateIssued} {
			f := facts{now: noon, request: approved(), problems: []pki.Problem{{Field: "spec.isCA", Message: "remove it"}}}
			f.request.Status.Conditions, f.request.CreationTimestamp = nil, metav1.NewTime(noon.Add(-age))
			f.order = orderOf(f.request, state)
			if a := plan(f); a.reason != "" || a.step == stepCreate || a.step == stepReplace {
				t.Errorf("after %s with an order %q: step %d, reason %s", age, state, a.step, a.reason)
			}
		}
	}
}
