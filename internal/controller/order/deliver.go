// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Pauses between attempts to fetch a certificate, and for how long a delivery
// that cannot be read is fetched again before a person is asked.
const (
	firstFetch  = 5 * time.Second
	lastFetch   = 5 * time.Minute
	fetchFor    = time.Hour
	refusedLook = time.Hour
)

// justNow is for how long regfish's word that a certificate is issued is good enough to fetch
// it. Asking once more would be a third of all calls that a certificate takes. It is only good
// enough for what was ordered or reissued within justOrdered: what is older may have been
// revoked before this ledger was told that it is issued (after an outage, a restore or an
// import), and what told may have been a row of a list, which need not say so.
const (
	justNow     = time.Minute
	justOrdered = time.Hour
)

// deliver fetches the certificate of p, checks it, and hands it to the request.
// It returns how that went and when to try again.
func (r *Reconciler) deliver(ctx context.Context, in *input, p *v1alpha1.RegfishPurchase) (*purchase.Delivery, time.Duration, error) {
	issuedAt := r.Clock.Now()
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionIssued); c != nil {
		issuedAt = c.LastTransitionTime.Time
	}
	ctx = poller.AfterOrders(ctx)
	since := r.Clock.Now().Sub(issuedAt)
	pause := min(lastFetch, max(firstFetch, since/4))
	vendor, issuer, err := r.seller(ctx, p)
	var problem *credentials.Problem
	if errors.As(err, &problem) {
		return later("the certificate is issued and cannot be fetched", problem, pause)
	}
	if err != nil {
		return nil, 0, err
	}
	if !r.justIssued(p) {
		now, err := vendor.Certificate(ctx, p.Spec.CertificateID)
		if err != nil {
			d, pause, _ := later("the certificate is issued and cannot be fetched", err, pause)
			return d, pause, r.missed(ctx, issuer, p, err)
		}
		if !purchase.Usable(now) {
			// What the vendor says has changed since the purchase was looked at: the
			// ledger is told, and the next decision is made on that.
			return &purchase.Delivery{Later: "regfish does not say any more that the certificate is issued; it goes on being asked."}, pause, r.tell(ctx, p, now)
		}
	}
	delivery, err := vendor.Download(ctx, p.Spec.CertificateID)
	switch kind := regfish.KindOf(err); {
	case kind == regfish.KindUnreadable && since > fetchFor:
		return r.refuse(ctx, p, fmt.Sprintf("regfish delivers nothing for %s that can be read as a certificate: %v. Ask regfish about it; it is fetched again every hour, and nothing is bought again.", p.Spec.CertificateID, err))
	case err != nil:
		return later("the certificate is issued and is fetched again", err, pause)
	}
	bundle, err := pki.Gate(delivery, r.expect(in, p))
	var refusal *pki.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Class.Wait():
		return &purchase.Delivery{Later: refusal.Message}, min(refusedLook, max(time.Second, refusal.ValidFrom.Sub(r.Clock.Now())+time.Second)), nil
	case errors.As(err, &refusal) && refusal.Class.Refetch() && since <= fetchFor:
		return &purchase.Delivery{Later: "what regfish delivers cannot be read and is fetched again: " + refusal.Message}, pause, nil
	case err != nil:
		return r.refuse(ctx, p, fmt.Sprintf("regfish delivers a certificate for %s that may not be published: %s. Ask regfish about it; it is fetched again every hour, and nothing is bought again.", p.Spec.CertificateID, strings.TrimSuffix(err.Error(), ".")))
	}
	if err := r.publish(ctx, in, bundle); err != nil {
		return nil, 0, err
	}
	return done(bundle.Leaf), 0, r.clear(ctx, p, bundle)
}

// justIssued reports whether regfish said a moment ago that what was ordered not long ago is
// issued.
func (r *Reconciler) justIssued(p *v1alpha1.RegfishPurchase) bool {
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionIssued)
	within := func(t time.Time, most time.Duration) bool {
		since := r.Clock.Now().Sub(t)
		return since >= 0 && since <= most
	}
	return c != nil && c.Status == metav1.ConditionTrue && within(c.LastTransitionTime.Time, justNow) && within(purchase.LastAction(p), justOrdered)
}

// seller connects to where p was bought, with the key of the issuer that it was last bought
// or reissued with: the request may name another one by now, of another account.
func (r *Reconciler) seller(ctx context.Context, p *v1alpha1.RegfishPurchase) (purchase.Vendor, v1alpha1.Issuer, error) {
	with := purchase.IssuerOf(p)
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, with)
	if err != nil {
		return nil, nil, err
	}
	if issuer == nil {
		return nil, nil, &credentials.Problem{Message: fmt.Sprintf("there is no %s, which %s was bought with; create it again.", with, p.Spec.CertificateID)}
	}
	if endpoint, err := r.Spender.Endpoint(issuer); err != nil {
		return nil, nil, err
	} else if endpoint != p.Spec.Endpoint {
		return nil, nil, &credentials.Problem{Message: fmt.Sprintf("%s was bought at %s, and spec.url of %s is %s now; set spec.url back.", p.Spec.CertificateID, p.Spec.Endpoint, with, endpoint)}
	}
	vendor, err := r.Spender.Connect(ctx, issuer)
	return vendor, issuer, err
}

// missed records what it means that the vendor did not show a certificate that it
// issued: the key may be of another account, or not be accepted any more.
func (r *Reconciler) missed(ctx context.Context, issuer v1alpha1.Issuer, p *v1alpha1.RegfishPurchase, err error) error {
	if regfish.KindOf(err) == regfish.KindNotFound {
		return r.patch(ctx, p, purchase.Observe(p, purchase.Observation{
			NotFound: true, RequestLive: true, Key: fmt.Sprintf("Secret %q of %s", issuer.GetSpec().APIKeySecretRef.Name, issuer.Ref()),
		}))
	}
	if problem := credentials.KeyProblem(issuer, err, "read certificates"); problem != nil {
		return r.blame(ctx, issuer, *problem)
	}
	return nil
}

// later says what the hand-over waits for, and leaves the vendor alone for as long as it
// asked for; the error is no error of ours.
func later(what string, err error, pause time.Duration) (*purchase.Delivery, time.Duration, error) {
	return &purchase.Delivery{Later: what + ": " + err.Error()}, max(pause, regfish.RetryAfter(err)), nil
}

// expect is what the certificate has to be. What this ledger ordered itself cannot
// be older than the order; what was imported can. A reissue is not the certificate before
// it, which regfish may serve for a while longer.
func (r *Reconciler) expect(in *input, p *v1alpha1.RegfishPurchase) pki.Expect {
	e := pki.Expect{Request: in.csr, Now: r.Clock.Now(), NotThis: purchase.Replaced(p, in.facts.Want)}
	if first := purchase.FirstIntent(p); !first.IsZero() {
		e.NotBefore = first.Add(-pki.MaxBackdate)
	}
	return e
}

func done(leaf *x509.Certificate) *purchase.Delivery {
	notBefore, notAfter := metav1.NewTime(leaf.NotBefore), metav1.NewTime(leaf.NotAfter)
	return &purchase.Delivery{Done: true, SerialNumber: fmt.Sprintf("%x", leaf.SerialNumber), NotBefore: &notBefore, NotAfter: &notAfter}
}

// publish hands the certificate to the request and makes it Ready, in one write
// that fails if the request changed since it was read.
func (r *Reconciler) publish(ctx context.Context, in *input, b *pki.Bundle) error {
	before := in.request.DeepCopy()
	cr := in.request.DeepCopy()
	cr.Status.Certificate, cr.Status.CA = b.Certificate, b.CA
	cmutil.SetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued, "regfish issued the certificate, and it was verified.")
	// What the order says now does not reach a request that is answered.
	const action = cmapi.CertificateRequestConditionType(v1alpha1.ConditionActionRequired)
	if c := cmutil.GetCertificateRequestCondition(cr, action); c != nil && c.Status == cmmeta.ConditionTrue {
		cmutil.SetCertificateRequestCondition(cr, action, cmmeta.ConditionFalse, v1alpha1.ReasonCompleted, "a person acted at regfish, and the order went on.")
	}
	if err := r.Client.Status().Patch(ctx, cr, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("hand the certificate to the request: %w", err)
	}
	return nil
}

// refuse records that the certificate may not be published. It is looked at again
// from time to time: regfish may mend what it delivers. It is never bought again.
func (r *Reconciler) refuse(ctx context.Context, p *v1alpha1.RegfishPurchase, message string) (*purchase.Delivery, time.Duration, error) {
	return &purchase.Delivery{Refused: message}, refusedLook, r.patch(ctx, p, purchase.Refuse(p, message))
}

// clear takes a refusal back after a delivery passed, and completes the dates that
// the vendor did not give.
func (r *Reconciler) clear(ctx context.Context, p *v1alpha1.RegfishPurchase, b *pki.Bundle) error {
	s := p.Status
	if meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionHeld) {
		s = purchase.Refuse(p, "")
	}
	if s.NotBefore == nil || s.NotAfter == nil {
		d := done(b.Leaf)
		s.NotBefore, s.NotAfter = d.NotBefore, d.NotAfter
	}
	return r.patch(ctx, p, s)
}

// tell records what the vendor says of p now. Nothing that it says of an order that came
// to nothing is a page to finish it at.
func (r *Reconciler) tell(ctx context.Context, p *v1alpha1.RegfishPurchase, c regfish.Certificate) error {
	return r.patch(ctx, p, purchase.Observe(p, purchase.Observation{Vendor: &c, RequestLive: true, MayShow: func(string) bool { return false }}))
}

func (r *Reconciler) patch(ctx context.Context, p *v1alpha1.RegfishPurchase, s v1alpha1.PurchaseStatus) error {
	if equality.Semantic.DeepEqual(p.Status, s) {
		return nil
	}
	before := p.DeepCopy()
	p = p.DeepCopy()
	// Parts of it may be the cache's, and the answer is decoded into it.
	p.Status = *s.DeepCopy()
	return r.Client.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
