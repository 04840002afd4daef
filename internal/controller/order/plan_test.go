// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// A person decided to buy, and the renewal that was made on that was refused, so that
// somebody is asked again. A decision on the same plan would never count: it is another
// plan that asks.
func TestPlanThatWasUsedMakesRoomForAnother(t *testing.T) {
	cr, o, p, issuer := issuedFor(t)
	csr, problems := purchase.Preflight(cr)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := purchase.Want{Beneficiary: p.Spec.Beneficiary, Issuer: p.Spec.IssuerRef, Endpoint: p.Spec.Endpoint, Request: csr, SKU: p.Spec.SKU, DCVMethod: p.Spec.DCVMethod}
	plan := purchase.New(want, "ledger", 0)
	plan.UID = "plan-1"
	metav1.SetMetaDataAnnotation(&plan.ObjectMeta, v1alpha1.AnnotationResolve, "purchase")
	renewal := purchase.New(want, "ledger", 2)
	renewal.Spec.Action, renewal.Spec.SourceCertificateID, renewal.Spec.PlanUID = v1alpha1.ActionRenew, "C1", plan.UID
	r, api := reconciler(t, nil, clocktesting.NewFakePassiveClock(noon), interceptor.Funcs{}, cr, o, p, issuer, plan, renewal)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(plan), plan); err != nil {
		t.Fatal(err)
	}
	hold := purchase.Decision{Step: purchase.StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, Message: "a person has to decide."}
	for _, used := range []bool{false, true} {
		in := &input{order: o, request: cr, facts: purchase.Facts{Want: want, Purchases: []v1alpha1.RegfishPurchase{*plan, *p}}}
		if used {
			in.facts.Purchases = append(in.facts.Purchases, *renewal)
		}
		if err := r.keepPlan(t.Context(), in, hold); err != nil {
			t.Fatal(err)
		}
		var now v1alpha1.RegfishPurchase
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(plan), &now); err != nil {
			t.Fatal(err)
		}
		if stays := now.UID == "plan-1"; stays == used || (now.Annotations[v1alpha1.AnnotationResolve] != "") == used || now.Status.Message != hold.Message {
			t.Errorf("used %v: the plan has the UID %q and the annotations %v, and says %q", used, now.UID, now.Annotations, now.Status.Message)
		}
		*plan = now
	}
}
