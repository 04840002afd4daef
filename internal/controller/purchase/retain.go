// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// certificateEvery is how often it is looked whether the Certificate of a purchase that is
// paid for still exists.
const certificateEvery = 6 * time.Hour

// longestSleep is the longest time after which a purchase at rest is looked at again.
const longestSleep = 30 * 24 * time.Hour

// retain removes p when its time is over, and notes whether its Certificate is gone. It
// returns when to do so again, 0 if never. What is removed bought nothing or is over, so
// whatever repeats it, or fails in the middle, costs nothing.
func (r *Reconciler) retain(ctx context.Context, p *v1alpha1.RegfishPurchase, known time.Duration) (time.Duration, error) {
	if purchase.OfOtherVersion(p) || purchase.OfOtherCluster(p, r.Spender.ClusterUID) {
		return 0, nil
	}
	now := r.Clock.Now()
	next := time.Duration(0)
	if expires := purchase.Expires(p, r.Retention); !expires.IsZero() {
		left := expires.Sub(now)
		if left <= 0 {
			uid, version := p.UID, p.ResourceVersion
			log.FromContext(ctx).Info("the purchase is removed from the ledger", "state", p.Status.State, "certificateID", p.Spec.CertificateID, "expired", expires)
			return 0, client.IgnoreNotFound(r.Client.Delete(ctx, p, client.Preconditions{UID: &uid, ResourceVersion: &version}))
		}
		next = min(left, longestSleep)
	}
	if !purchase.Resting(p) || !purchase.PaidFor(p, now) || purchase.LastBeneficiary(p).CertificateName == "" {
		return next, nil
	}
	// All at once would be a burst after every start.
	if wait := controller.Spread(p.Name, certificateEvery) - known; wait > 0 {
		return wait, nil
	}
	return certificateEvery, r.beneficiary(ctx, p, now)
}

// beneficiary notes since when the Certificate that p was last used for has been gone.
func (r *Reconciler) beneficiary(ctx context.Context, p *v1alpha1.RegfishPurchase, now time.Time) error {
	b := purchase.LastBeneficiary(p)
	there, err := r.Spender.Exists(ctx, b)
	if err != nil {
		return err
	}
	gone := !there
	if gone == (p.Status.BeneficiaryGoneSince != nil) {
		return nil
	}
	before := p.DeepCopy()
	p = p.DeepCopy()
	p.Status.BeneficiaryGoneSince = nil
	if gone {
		p.Status.BeneficiaryGoneSince = new(metav1.NewTime(now.UTC().Truncate(time.Second)))
		r.Recorder.Eventf(p, nil, corev1.EventTypeNormal, v1alpha1.EventCertificateGone, "Follow", "Certificate %s/%s is gone, and %s is paid for: it is used when that Certificate is created again, and after a day by another one with the same names.", b.Namespace, b.CertificateName, p.Spec.CertificateID)
	}
	return r.Client.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
