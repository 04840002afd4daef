// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"fmt"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// report shows what came of a decision, and says when to look again.
func (r *Reconciler) report(ctx context.Context, o *v1alpha1.RegfishOrder, in *input, out outcome) (reconcile.Result, error) {
	if out.decision.Step == 0 {
		return reconcile.Result{}, nil
	}
	// What waits in the queue, be it for the reminder of tomorrow, is woken no lower than it
	// waits, and before all that came after it. After a restart all begin lower than any event.
	result := reconcile.Result{RequeueAfter: max(0, out.decision.LookAgain), Priority: new(0)}
	if s := out.decision.Step; s == purchase.StepFollow || s == purchase.StepDeliver {
		result.Priority = new(whenWoken)
	}
	contenders, err := r.contenders(ctx, out.decision.Purchase)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := r.Clock.Now()
	status := purchase.OrderStatus(o.Status, purchase.OrderFacts{
		Want: in.facts.Want, Decision: out.decision, Now: in.facts.Now, Contenders: contenders, ReplacesNotAfter: in.facts.ReplacesNotAfter, Delivery: out.delivery,
	})
	if !equality.Semantic.DeepEqual(o.Status, status) {
		if o, err = r.show(ctx, o, status, in.request); err != nil {
			// The answer does not stand in the status.
			r.pauses.forget(client.ObjectKeyFromObject(in.order))
			return controller.Again(fmt.Errorf("show order: %w", err))
		}
	}
	if next := r.remind(o, in.request, now); next > 0 && (result.RequeueAfter == 0 || next < result.RequeueAfter) {
		result.RequeueAfter = next
	}
	return result, nil
}

// show writes the status of an order, which is the cache's, makes the events of what changed
// and returns the order as it is now.
func (r *Reconciler) show(ctx context.Context, o *v1alpha1.RegfishOrder, status v1alpha1.OrderStatus, cr *cmapi.CertificateRequest) (*v1alpha1.RegfishOrder, error) {
	after := o.DeepCopy()
	// The answer is decoded into it, and parts of it are the cache's.
	after.Status = *status.DeepCopy()
	if err := r.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, err
	}
	r.announce(ctx, o, after, cr)
	return after, nil
}

// announced are the transitions that make an event. A Warning asks somebody to
// act, and is repeated on the request and on the Certificate, where its owner looks. Of
// those that are waits somebody is reminded every day, because events are kept for an
// hour. One that automation may end is only told of if it has not ended for a while, or there
// would be Warnings for every certificate.
var announced = []struct {
	kind    string
	status  metav1.ConditionStatus
	reason  string
	warning bool
	wait    bool
}{
	{v1alpha1.ConditionPlaced, metav1.ConditionTrue, "", false, false},
	{v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonSlotAfterExpiry, true, true},
	{v1alpha1.ConditionHeld, metav1.ConditionTrue, "", true, true},
	{v1alpha1.ConditionActionRequired, metav1.ConditionTrue, "", true, true},
	{v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonCompleted, false, false},
	{v1alpha1.ConditionValidationPublished, metav1.ConditionFalse, v1alpha1.ReasonAwaitingDNS, true, true},
	{v1alpha1.ConditionValidationPublished, metav1.ConditionFalse, v1alpha1.ReasonAwaitingEmail, true, true},
	{v1alpha1.ConditionIssued, metav1.ConditionTrue, "", false, false},
	{v1alpha1.ConditionIssued, metav1.ConditionFalse, "", true, false},
}

// announce makes the events of what changed: one for each transition, none for a
// wait that goes on.
func (r *Reconciler) announce(ctx context.Context, before, after *v1alpha1.RegfishOrder, cr *cmapi.CertificateRequest) {
	for _, a := range announced {
		now := meta.FindStatusCondition(after.Status.Conditions, a.kind)
		if now == nil || now.Status != a.status || (a.reason != "" && now.Reason != a.reason) {
			continue
		}
		if was := meta.FindStatusCondition(before.Status.Conditions, a.kind); was != nil && was.Status == now.Status && was.Reason == now.Reason {
			continue
		}
		r.measure(after, cr, now)
		log.FromContext(ctx).Info("order changed", "condition", a.kind, "status", now.Status, "reason", now.Reason, "message", now.Message)
		first, name := r.patience(a.reason), client.ObjectKeyFromObject(after)
		if first > 0 {
			r.reminders.set(name, after.UID, a.kind, r.Clock.Now().Add(first))
			continue
		}
		r.event(after, cr, now, a.warning)
		if a.wait {
			r.reminders.set(name, after.UID, a.kind, r.Clock.Now().Add(day))
		}
	}
}

// measure counts how long the request waited since it was approved.
func (r *Reconciler) measure(o *v1alpha1.RegfishOrder, cr *cmapi.CertificateRequest, c *metav1.Condition) {
	approved := cmutil.GetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionApproved)
	if approved == nil || approved.LastTransitionTime == nil || c.Status != metav1.ConditionTrue {
		return
	}
	after := r.Clock.Now().Sub(approved.LastTransitionTime.Time)
	switch c.Type {
	case v1alpha1.ConditionPlaced:
		metrics.Ordered(o.Namespace, controller.IssuerOf(o), after)
	case v1alpha1.ConditionIssued:
		metrics.Issued(o.Namespace, controller.IssuerOf(o), after)
	}
}

// event makes the events of one condition.
func (r *Reconciler) event(o *v1alpha1.RegfishOrder, cr *cmapi.CertificateRequest, c *metav1.Condition, warning bool) {
	if !warning {
		r.Recorder.Eventf(o, nil, corev1.EventTypeNormal, c.Reason, c.Type, "%s", c.Message)
		return
	}
	about := []runtime.Object{o, cr}
	if owner := metav1.GetControllerOf(cr); owner != nil && owner.Kind == cmapi.CertificateKind {
		about = append(about, &cmapi.Certificate{
			TypeMeta:   metav1.TypeMeta{APIVersion: owner.APIVersion, Kind: owner.Kind},
			ObjectMeta: metav1.ObjectMeta{Namespace: cr.Namespace, Name: owner.Name, UID: owner.UID},
		})
	}
	for _, object := range about {
		r.Recorder.Eventf(object, nil, corev1.EventTypeWarning, c.Reason, c.Type, "%s", c.Message)
	}
}
