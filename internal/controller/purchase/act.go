// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// act does to the record what has to be done before anything is looked at: an attempt
// that was never sent is ended, the record of another cluster is taken over, and what a
// person decided is carried out. It reports whether it wrote, after which the record is
// read again. Nothing is done to the record of another version, and what was decided
// there waits for that version.
func (r *Reconciler) act(ctx context.Context, p *v1alpha1.RegfishPurchase) (bool, error) {
	if purchase.OfOtherVersion(p) {
		return false, nil
	}
	if settled, err := r.Spender.Settle(ctx, p); settled || err != nil {
		return settled, err
	}
	if purchase.OfOtherCluster(p, r.Spender.ClusterUID) {
		return r.takeOver(ctx, p)
	}
	answer, err := r.Resolver.Decide(ctx, p)
	if answer == nil || err != nil {
		return false, err
	}
	reason, severity := v1alpha1.EventDecided, corev1.EventTypeNormal
	if answer.Void {
		reason, severity = v1alpha1.EventDecisionVoid, corev1.EventTypeWarning
	}
	log.FromContext(ctx).Info("a person decided", "reason", reason, "message", answer.Message)
	r.Recorder.Eventf(p, nil, severity, reason, "Resolve", "%s", answer.Message)
	// A void decision that a tool puts back all the time keeps nothing from being looked at.
	return !answer.Void, nil
}

// takeOver takes the record of another cluster over, if the owner of its issuer says so.
func (r *Reconciler) takeOver(ctx context.Context, p *v1alpha1.RegfishPurchase) (bool, error) {
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, p.Spec.IssuerRef)
	if err != nil || issuer == nil {
		return false, err
	}
	from, err := r.Resolver.TakeOver(ctx, p, issuer)
	if err != nil || from == "" {
		return false, err
	}
	r.Recorder.Eventf(p, nil, corev1.EventTypeNormal, v1alpha1.EventDecided, "TakeOver", "the annotation on %s takes this purchase over from the cluster %s.", p.Spec.IssuerRef, from)
	return true, nil
}

// ofIssuer finds the purchases of other clusters that were made with an issuer, which
// its annotation may take over.
func (r *Reconciler) ofIssuer(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.RegfishPurchaseList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Spender.Ledger), client.MatchingFields{controller.PurchasesByIssuer: o.(v1alpha1.Issuer).Ref().String()}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(fmt.Errorf("list purchases: %w", err), "purchases are not woken by this event")
		return nil
	}
	var found []reconcile.Request
	for i := range list.Items {
		if purchase.OfOtherCluster(&list.Items[i], r.Spender.ClusterUID) {
			found = append(found, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return found
}
