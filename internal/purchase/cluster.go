// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// A ledger that was copied, or restored from a backup, is in two clusters, and both
// would act on it. So a record belongs to the cluster that sent its last order, until a
// person says that another one takes it over.

// holder is the cluster that may act on p: the last one that took it over, else the one
// that sent its last order. An Import, which was never sent, is anybody's until one has it
// reissued.
func holder(p *v1alpha1.RegfishPurchase) types.UID {
	var last v1alpha1.Takeover
	for _, t := range p.Spec.Takeovers {
		if t.Number > last.Number {
			last = t
		}
	}
	if last.ClusterUID != "" {
		return last.ClusterUID
	}
	if a := lastAttempt(p); a != nil {
		return a.ClusterUID
	}
	if r := lastReissue(p, func(*v1alpha1.Reissue) bool { return true }); r != nil {
		return r.ClusterUID
	}
	return ""
}

// OfOtherCluster reports whether another cluster than the given one holds p, which is
// then only read.
func OfOtherCluster(p *v1alpha1.RegfishPurchase, cluster types.UID) bool {
	h := holder(p)
	return h != "" && cluster != "" && h != cluster
}

// own returns the numbered purchases that this cluster holds, newest first.
func (f Facts) own() []*v1alpha1.RegfishPurchase {
	return slices.DeleteFunc(numbered(f.Purchases), func(p *v1alpha1.RegfishPurchase) bool { return OfOtherCluster(p, f.Cluster) })
}

// otherCluster: where another cluster made the last purchase for the names, nothing is
// bought beside it.
func otherCluster(f Facts) (Decision, bool) {
	p := newest(f.Purchases)
	if p == nil || !OfOtherCluster(p, f.Cluster) {
		return Decision{}, false
	}
	return Decision{
		Step: StepHold, Purchase: p, Reason: v1alpha1.ReasonOtherCluster, LookAgain: wakeUp,
		questions: []question{{
			cause:  fmt.Sprintf("the cluster %s made RegfishPurchase %s for the same names and holds it.", holder(p), p.Name),
			advice: "If that cluster does not run any more, its purchases are taken over with an annotation on their issuer, which that purchase names.",
			verbs:  "purchase to buy without regard to it",
		}},
	}, true
}

// readOnly is the status of a purchase that another cluster holds.
func readOnly(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase) {
	message := fmt.Sprintf("the cluster %s made this purchase and holds it, so it is not touched here. If that cluster does not run any more, take its purchases over: annotate %s with %s=%s.",
		holder(p), p.Spec.IssuerRef, v1alpha1.AnnotationTakeover, holder(p))
	if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionPlaced) == nil {
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, message)
	}
	set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonOtherCluster, message)
	if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionActionRequired) == nil {
		set(s, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	}
	if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionIssued) == nil {
		set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, message)
	}
}

// TakeOver records that this cluster holds p from now on, if the issuer's owner says so.
// It returns the cluster that held it, empty if nothing changed.
func (r *Resolver) TakeOver(ctx context.Context, p *v1alpha1.RegfishPurchase, issuer v1alpha1.Issuer) (types.UID, error) {
	from := holder(p)
	if !TakesOver(issuer, from) {
		return "", nil
	}
	return from, r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
		number := int32(1)
		for _, t := range p.Spec.Takeovers {
			number = max(number, t.Number+1)
		}
		p.Spec.Takeovers = append(p.Spec.Takeovers, v1alpha1.Takeover{Number: number, ClusterUID: r.Spender.ClusterUID, Time: metav1.NewMicroTime(r.Spender.Clock.Now())})
	})
}

// TakesOver reports whether the issuer's owner says that this cluster takes over what
// the cluster, or the ledger's namespace, of the UID holds. Each is named by its UID, so
// that an annotation that a tool keeps in place takes nothing else some day.
func TakesOver(issuer v1alpha1.Issuer, uid types.UID) bool {
	return uid != "" && slices.ContainsFunc(strings.Split(issuer.GetAnnotations()[v1alpha1.AnnotationTakeover], ","), func(named string) bool {
		return strings.TrimSpace(named) == string(uid)
	})
}
