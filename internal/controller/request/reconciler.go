// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"fmt"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxMessage bounds the message of a condition, in bytes.
const maxMessage = 1024

// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests,verbs=get;list;watch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests/status,verbs=patch
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishorders,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create

// Options of a Reconciler.
type Options struct {
	// Client reads the cache and writes.
	Client client.Client
	// Clock tells the time.
	Clock clock.PassiveClock
	// Concurrency is how many requests are answered at once.
	Concurrency int
}

// Reconciler answers CertificateRequests.
type Reconciler struct{ Options }

// New returns a Reconciler.
func New(o Options) *Reconciler { return &Reconciler{o} }

// Register adds the reconciler to the manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("certificaterequest").
		For(&cmapi.CertificateRequest{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return o.(*cmapi.CertificateRequest).Spec.IssuerRef.Group == v1alpha1.Group
		}))).
		Owns(&v1alpha1.RegfishOrder{}).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: r.Concurrency}).
		Complete(controller.Patient(r))
}

// Reconcile answers one request.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	// It is the cache's, as its order is: whoever changes them copies them.
	var cr cmapi.CertificateRequest
	if err := r.Client.Get(ctx, req.NamespacedName, &cr, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	f, err := r.gather(ctx, &cr)
	if err != nil {
		return reconcile.Result{}, err
	}
	a := plan(f)
	failed := r.execute(ctx, f, a)
	if failed != nil && a.step == stepCreate && !apierrors.IsAlreadyExists(failed) {
		// A quota or an admission webhook. The sentence has to stay the same however the
		// error is worded: a write wakes this controller, past its back-off.
		a.message = fmt.Sprintf("the API server does not let RegfishOrder %s be created; the controller's log says why.", cr.Name)
	}
	if err := r.report(ctx, &cr, a); err != nil {
		return controller.Again(err)
	}
	if failed != nil {
		return controller.Again(failed)
	}
	return reconcile.Result{RequeueAfter: a.lookAgain}, nil
}

func (r *Reconciler) gather(ctx context.Context, cr *cmapi.CertificateRequest) (facts, error) {
	f := facts{now: r.Clock.Now(), request: cr}
	if cr.Spec.IssuerRef.Group != v1alpha1.Group || !cmutil.CertificateRequestIsApproved(cr) || finished(cr) {
		return f, nil
	}
	f.problems = purchase.Problems(cr)
	var order v1alpha1.RegfishOrder
	switch err := r.Client.Get(ctx, client.ObjectKeyFromObject(cr), &order, client.UnsafeDisableDeepCopy); {
	case err == nil:
		f.order = &order
	case !apierrors.IsNotFound(err):
		return facts{}, fmt.Errorf("read order: %w", err)
	}
	return f, nil
}

func (r *Reconciler) execute(ctx context.Context, f facts, a answer) error {
	switch a.step {
	case stepCreate:
		return r.create(ctx, f.request)
	case stepReplace:
		uid, version := f.order.UID, f.order.ResourceVersion
		return r.Client.Delete(ctx, f.order, client.Preconditions{UID: &uid, ResourceVersion: &version})
	case stepMissing:
		return r.tell(ctx, f.request, a.message, f.now)
	case stepNone:
	}
	return nil
}

// create makes the order of a request. It has the request's name, so that there
// is one, and goes with it.
func (r *Reconciler) create(ctx context.Context, cr *cmapi.CertificateRequest) error {
	order := &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: cr.Namespace, Name: cr.Name},
		Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: cr.Name, UID: cr.UID},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: purchase.IssuerRefOf(cr).Kind, Name: cr.Spec.IssuerRef.Name},
		},
	}
	// Blocking the deletion of the request would need a permission on it, where the
	// API server checks that, and is good for nothing.
	if err := controllerutil.SetControllerReference(cr, order, r.Client.Scheme(), controllerutil.WithBlockOwnerDeletion(false)); err != nil {
		return fmt.Errorf("own order: %w", err)
	}
	if err := r.Client.Create(ctx, order); err != nil {
		return fmt.Errorf("create order: %w", err)
	}
	return nil
}

// tell makes the one event that is made before approval. Its name is fixed, so
// that a restart does not make it again.
func (r *Reconciler) tell(ctx context.Context, cr *cmapi.CertificateRequest, message string, now time.Time) error {
	stamp := metav1.NewTime(now)
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: cr.Namespace, Name: fmt.Sprintf("%.200s.%.8s.approval-missing", cr.Name, cr.UID)},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: cmapi.SchemeGroupVersion.String(), Kind: cmapi.CertificateRequestKind,
			Namespace: cr.Namespace, Name: cr.Name, UID: cr.UID, ResourceVersion: cr.ResourceVersion,
		},
		Type: corev1.EventTypeWarning, Reason: v1alpha1.EventApprovalMissing, Message: message,
		Source: corev1.EventSource{Component: controller.Component}, ReportingController: controller.Component,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
	}
	if err := r.Client.Create(ctx, event); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create event: %w", err)
	}
	return nil
}

// report writes the answer onto the request, if it changed anything.
func (r *Reconciler) report(ctx context.Context, cr *cmapi.CertificateRequest, a answer) error {
	if a.reason == "" {
		return nil
	}
	answered := &cmapi.CertificateRequest{ObjectMeta: cr.ObjectMeta, Status: *cr.Status.DeepCopy()}
	message := regfish.Sanitise(a.message, maxMessage)
	cmutil.SetCertificateRequestCondition(answered, cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, a.reason, message)
	if a.reason != cmapi.CertificateRequestReasonPending {
		stamp := metav1.NewTime(r.Clock.Now())
		answered.Status.FailureTime = &stamp
	}
	if a.invalid {
		cmutil.SetCertificateRequestCondition(answered, cmapi.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, a.reason, message)
	}
	const action = cmapi.CertificateRequestConditionType(v1alpha1.ConditionActionRequired)
	// Where nobody ever had to act, the condition stays away.
	if c := a.action; c != nil && (c.Status == metav1.ConditionTrue || cmutil.GetCertificateRequestCondition(answered, action) != nil) {
		cmutil.SetCertificateRequestCondition(answered, action, cmmeta.ConditionStatus(c.Status), c.Reason, c.Message)
	}
	if equality.Semantic.DeepEqual(cr.Status, answered.Status) {
		return nil
	}
	// The API server's answer is decoded into it.
	after := cr.DeepCopy()
	after.Status = answered.Status
	if err := r.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(cr, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("answer request: %w", err)
	}
	return nil
}
