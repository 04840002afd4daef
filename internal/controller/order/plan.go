// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// plan is the plan of the request; nil if there is none.
func (in *input) plan() *v1alpha1.RegfishPurchase {
	if in.facts.Want.Endpoint == "" {
		return nil
	}
	name := purchase.PlanName(in.facts.Want)
	for i := range in.facts.Purchases {
		if in.facts.Purchases[i].Name == name {
			return &in.facts.Purchases[i]
		}
	}
	return nil
}

// decided is what a person decided on the plan; empty if nobody did.
func (in *input) decided() string {
	if plan := in.plan(); plan != nil {
		return plan.Annotations[v1alpha1.AnnotationResolve]
	}
	return ""
}

// keepPlan keeps a plan in the ledger for as long as the decision is to hold, and
// removes it otherwise. One that was decided on makes room for another if what was sent on
// it came to nothing: whatever is decided on it now buys nothing. A plan that another
// process just removed or made is left to the next decision.
func (r *Reconciler) keepPlan(ctx context.Context, in *input, d purchase.Decision) error {
	if in.facts.Want.Endpoint == "" {
		return nil
	}
	plan := in.plan()
	switch {
	case d.Step == purchase.StepHold && d.Reason != v1alpha1.ReasonAmbiguousOutcome:
		if plan != nil && in.facts.Used(plan) {
			if err := client.IgnoreNotFound(r.removePlan(ctx, plan)); err != nil {
				return err
			}
			plan = nil
		}
		return r.showPlan(ctx, in, plan, d)
	case plan == nil:
		// A hold of the purchase itself is shown and decided on there.
		return nil
	case in.decided() != "" && (d.Step == purchase.StepQueue || d.Step == purchase.StepWait):
		// What a person decided waits like any other purchase.
		return nil
	}
	if err := r.removePlan(ctx, plan); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.Purchase != nil && d.Purchase.Spec.PlanUID == plan.UID {
		r.Recorder.Eventf(d.Purchase, nil, corev1.EventTypeNormal, v1alpha1.EventDecided, "Resolve", "a person decided %q on RegfishPurchase %s, and this purchase was made on that.", in.decided(), plan.Name)
	}
	return nil
}

// removePlan removes the plan as it was read.
func (r *Reconciler) removePlan(ctx context.Context, plan *v1alpha1.RegfishPurchase) error {
	return r.Client.Delete(ctx, plan, client.Preconditions{UID: &plan.UID, ResourceVersion: &plan.ResourceVersion})
}

// showPlan makes the plan show what is held for. A decision that cannot be carried out
// is taken off it.
func (r *Reconciler) showPlan(ctx context.Context, in *input, plan *v1alpha1.RegfishPurchase, d purchase.Decision) error {
	if plan == nil {
		plan = purchase.New(in.facts.Want, r.Spender.Ledger, 0)
		if err := r.Client.Create(ctx, plan); err != nil {
			return fmt.Errorf("create plan: %w", err)
		}
	}
	plan = plan.DeepCopy()
	if d.Void != "" {
		before := plan.DeepCopy()
		delete(plan.Annotations, v1alpha1.AnnotationResolve)
		if err := r.Client.Patch(ctx, plan, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("take a decision off a plan: %w", err)
		}
		r.Recorder.Eventf(plan, nil, corev1.EventTypeWarning, v1alpha1.EventDecisionVoid, "Resolve", "%s", d.Void)
	}
	before := plan.DeepCopy()
	plan.Status = purchase.PlanStatus(plan.Status, d)
	if equality.Semantic.DeepEqual(before.Status, plan.Status) {
		return nil
	}
	return r.Client.Status().Patch(ctx, plan, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
