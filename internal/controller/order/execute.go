// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// outcome is what came of a decision.
type outcome struct {
	// decision that was acted on: the spender decides again, on what it reads
	// live. A zero step leaves the status alone.
	decision purchase.Decision
	delivery *purchase.Delivery
}

// execute takes the one step of a decision.
func (r *Reconciler) execute(ctx context.Context, in *input, d purchase.Decision) (outcome, error) {
	out := outcome{decision: d}
	var err error
	switch d.Step {
	case purchase.StepBuy, purchase.StepRenew, purchase.StepReissue, purchase.StepRetry:
		if out, err = r.spend(ctx, in); err != nil {
			return outcome{}, err
		}
	case purchase.StepDeliver:
		out.delivery, out.decision.LookAgain, err = r.deliver(ctx, in, d.Purchase)
		if err != nil {
			return outcome{}, err
		}
		if !out.delivery.Done {
			// What is written about it wakes this controller, and may read otherwise after
			// every fetch.
			r.pauses.set(client.ObjectKeyFromObject(in.order), pause{in.order.UID, in.asks(d), r.Clock.Now().Add(out.decision.LookAgain)})
		}
	case purchase.StepFollow, purchase.StepWait, purchase.StepQueue, purchase.StepHold, purchase.StepFail, purchase.StepImport:
	}
	if out.decision.Step == 0 {
		return out, nil
	}
	return out, r.keepPlan(ctx, in, out.decision)
}

// asks is what a decision asks the vendor; empty if it asks nothing.
func (in *input) asks(d purchase.Decision) string {
	switch {
	case d.Sends():
		return in.sending()
	case d.Step == purchase.StepDeliver:
		return "deliver " + d.Purchase.Spec.CertificateID
	}
	return ""
}

// sending is what an order asks. A new decision of a person makes it another question.
func (in *input) sending() string { return "send " + in.decided() }

// spend has the spender decide again and buy.
func (r *Reconciler) spend(ctx context.Context, in *input) (outcome, error) {
	d, problem, err := r.Spender.Spend(ctx, client.ObjectKeyFromObject(in.request), in.request.UID)
	switch {
	case errors.Is(err, purchase.ErrGone):
		return outcome{}, nil
	case err != nil:
		return outcome{}, err
	}
	if problem != nil {
		if err := r.blame(ctx, in.issuer, *problem); err != nil {
			return outcome{}, err
		}
	}
	switch d.Step {
	case purchase.StepHold, purchase.StepQueue, purchase.StepWait:
		// A decision about a purchase was made on the ledger, whose events tell when it
		// changes. One without was made on what the vendor said. Whoever decided in vain
		// decides again, and is not kept waiting for having decided the same.
		if d.LookAgain > 0 && d.Purchase == nil && d.Void == "" {
			r.pauses.set(client.ObjectKeyFromObject(in.order), pause{in.order.UID, in.sending(), r.Clock.Now().Add(d.LookAgain)})
		}
	case purchase.StepBuy, purchase.StepRenew, purchase.StepReissue, purchase.StepRetry, purchase.StepImport, purchase.StepFollow, purchase.StepDeliver, purchase.StepFail:
	}
	return outcome{decision: d}, nil
}

// blame makes the issuer not Ready after the vendor refused an order for what its
// owner has to mend. The issuer's own check makes it Ready again.
func (r *Reconciler) blame(ctx context.Context, issuer v1alpha1.Issuer, problem credentials.Problem) error {
	live, err := purchase.LookUpIssuer(ctx, r.Spender.Live, issuer.Ref())
	if err != nil || live == nil {
		return err
	}
	before := live.DeepCopyObject().(client.Object)
	meta.SetStatusCondition(&live.GetStatus().Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: live.GetGeneration(),
		Reason: problem.Reason, Message: regfish.Sanitise(problem.Message, 1024),
	})
	return r.Client.Status().Patch(ctx, live, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
