// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// How often an issuer is looked at again.
const (
	againWhileNotReady = time.Minute
	againWhileReady    = 10 * time.Minute
)

// maxMessage bounds the message of Ready, in bytes.
const maxMessage = 1024

// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishissuers;regfishclusterissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=certmanager.regfish.com,resources=regfishissuers/status;regfishclusterissuers/status,verbs=patch

// Options of a Reconciler.
type Options struct {
	// Client reads the cache and writes status.
	Client client.Client
	// Connect returns a client of the vendor, or a *credentials.Problem.
	Connect func(context.Context, v1alpha1.Issuer) (Vendor, error)
	// Ledger is the ledger of this controller.
	Ledger v1alpha1.Ledger
	// Clock tells the time.
	Clock clock.PassiveClock
	// Concurrency is how many issuers are looked at once.
	Concurrency int
}

// Reconciler checks the issuers of one kind.
type Reconciler struct {
	Options
	kind string
}

// New returns a Reconciler for the given kind of issuer.
func New(kind string, o Options) *Reconciler { return &Reconciler{Options: o, kind: kind} }

// Register adds the reconciler to the manager. Changes of status do not wake it:
// it would answer its own writes and those of every purchase. An annotation does,
// so that whoever has mended a Secret need not wait for the next look.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	object := client.Object(&v1alpha1.RegfishIssuer{})
	if r.kind == v1alpha1.KindClusterIssuer {
		object = &v1alpha1.RegfishClusterIssuer{}
	}
	notReady := handler.Funcs{UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		// Whoever had an order refused makes the issuer not Ready; that is not to stand
		// until the next look at an issuer that was Ready.
		if ready(e.ObjectOld) && !ready(e.ObjectNew) {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.ObjectNew)}, againWhileNotReady)
		}
	}}
	return ctrl.NewControllerManagedBy(mgr).
		Named(strings.ToLower(r.kind)).
		For(object, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(object, notReady).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: r.Concurrency}).
		Complete(r)
}

func ready(o client.Object) bool {
	return meta.IsStatusConditionTrue(o.(v1alpha1.Issuer).GetStatus().Conditions, v1alpha1.ConditionReady)
}

// Reconcile looks at one issuer.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, v1alpha1.IssuerRef{Kind: r.kind, Namespace: req.Namespace, Name: req.Name})
	if err != nil || issuer == nil || !issuer.GetDeletionTimestamp().IsZero() {
		return reconcile.Result{}, err
	}
	findings, err := check(ctx, r.Connect, issuer)
	if regfish.KindOf(err) == regfish.KindNotNow {
		// What this side holds back says nothing about an issuer that was Ready.
		if ready(issuer) {
			return reconcile.Result{RequeueAfter: regfish.RetryAfter(err)}, nil
		}
		findings.Problem, err = vendorProblem(issuer, err, ""), nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	var made v1alpha1.RegfishPurchaseList
	if err := r.Client.List(ctx, &made, client.InNamespace(r.Ledger.Namespace), client.MatchingFields{controller.PurchasesByIssuer: issuer.Ref().String()}, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("list purchases: %w", err)
	}
	queued, err := waiting(ctx, r.Client, issuer.Ref())
	if err != nil {
		return reconcile.Result{}, err
	}
	before := issuer.DeepCopyObject().(client.Object)
	*issuer.GetStatus() = status(issuer, findings, r.Ledger, made.Items, queued, r.Clock.Now())
	if !equality.Semantic.DeepEqual(before, issuer) {
		if err := r.Client.Status().Patch(ctx, issuer, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	return reconcile.Result{RequeueAfter: again(issuer)}, nil
}

// again is the pause until the next look, spread so that many issuers do not ask
// at once.
func again(issuer v1alpha1.Issuer) time.Duration {
	pause := againWhileNotReady
	if meta.IsStatusConditionTrue(issuer.GetStatus().Conditions, v1alpha1.ConditionReady) {
		pause = againWhileReady
	}
	return pause - controller.Spread(issuer.GetNamespace()+"/"+issuer.GetName(), pause/5)
}

// status is the status of an issuer after a look at it.
func status(issuer v1alpha1.Issuer, f Findings, ledger v1alpha1.Ledger, made []v1alpha1.RegfishPurchase, queued int32, now time.Time) v1alpha1.IssuerStatus {
	s := *issuer.GetStatus()
	s.Conditions = append([]metav1.Condition(nil), s.Conditions...)
	if s.Ledger == nil || purchase.TakesOver(issuer, s.Ledger.NamespaceUID) {
		s.Ledger = &ledger
	}
	s.Product = known(s.Product, f.Product, issuer.GetSpec().SKU)
	s.WildcardProduct = known(s.WildcardProduct, f.Wildcard, issuer.GetSpec().WildcardSKU)
	// The use of the limit is rebuilt from the ledger before the issuer is Ready:
	// a re-created or restored issuer has forgotten it.
	slots, buckets := purchase.SlotsOf(issuer, made, now)
	s.Purchases = purchase.UsageOf(slots, buckets, queued)
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: issuer.GetGeneration()}
	switch {
	case *s.Ledger != ledger:
		c.Reason = v1alpha1.ReasonLedgerElsewhere
		c.Message = fmt.Sprintf("the purchases of this issuer are recorded in namespace %s (uid %s), and this controller records in %s (uid %s): another installation serves it. Remove one of the two; if that one is gone, copy its purchases here and annotate the issuer with %s=%s.",
			s.Ledger.Namespace, s.Ledger.NamespaceUID, ledger.Namespace, ledger.NamespaceUID, v1alpha1.AnnotationTakeover, s.Ledger.NamespaceUID)
	case f.Problem != nil:
		c.Reason, c.Message = f.Problem.Reason, f.Problem.Message
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonChecked
		c.Message = checked(s, issuer.GetSpec().OrganizationID, slots, now)
	}
	c.Message = regfish.Sanitise(c.Message, maxMessage)
	meta.SetStatusCondition(&s.Conditions, c)
	return s
}

// known is what is known of a product: what was found now, or, where the catalogue could not
// be read, what was found earlier for the same SKU.
func known(before, now *v1alpha1.Product, sku string) *v1alpha1.Product {
	if now == nil && before != nil && strings.EqualFold(before.SKU, sku) {
		return before
	}
	return now
}

// checked is what is said of an issuer that is Ready.
func checked(s v1alpha1.IssuerStatus, organization string, slots purchase.Slots, now time.Time) string {
	message := fmt.Sprintf("regfish accepts the key and offers %s.", offered(s, organization))
	if queue := purchase.QueueSentence(slots, s.Purchases.Queued, now); queue != "" {
		message += " " + strings.ToUpper(queue[:1]) + queue[1:]
	}
	return message
}

// offered names the products of an issuer that is Ready, and whom they are ordered for.
func offered(s v1alpha1.IssuerStatus, organization string) string {
	offer := describe(*s.Product, organization)
	if s.WildcardProduct != nil && s.WildcardProduct.SKU != s.Product.SKU {
		offer += ", and for wildcards " + describe(*s.WildcardProduct, organization)
	}
	return offer
}

func describe(p v1alpha1.Product, organization string) string {
	if organization != "" && purchase.TakesOrganization(p) {
		return p.SKU + " for organization " + organization
	}
	return p.SKU
}
