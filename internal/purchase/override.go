// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// An annotation of a request is the word of whoever may create Certificates, who need not
// be whoever pays. It counts only where the issuer allows it, and only for what no purchase
// of the ledger holds: otherwise one tenant could have the certificate of another one
// reissued for a key of their own.

// override puts what the annotations of the request ask for into w, or returns why it is
// refused. What was already done for the same Certificate is not asked for any more: the
// annotation stays where it is, and must not stop a renewal years later.
func (g *Gatherer) override(ctx context.Context, cr *cmapi.CertificateRequest, issuer v1alpha1.Issuer, w *Want) (refused string, err error) {
	id, asked := cr.Annotations[v1alpha1.AnnotationSourceCertificateID]
	if !asked {
		return "", nil
	}
	if !recordable(id) {
		return refuseOverride("%q is no id of a certificate.", regfish.Sanitise(id, 64)), nil
	}
	held, err := g.list(ctx, g.Live, client.MatchingFields{FieldCertificateID: id})
	if err != nil {
		return "", err
	}
	held = slices.DeleteFunc(held, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.Endpoint != w.Endpoint })
	if slices.ContainsFunc(held, func(p v1alpha1.RegfishPurchase) bool {
		b := p.Spec.Beneficiary
		return b.CertificateName != "" && b.Namespace == w.Beneficiary.Namespace && b.CertificateName == w.Beneficiary.CertificateName
	}) {
		return "", nil
	}
	spec := issuer.GetSpec()
	switch {
	case !slices.Contains(spec.AllowedOverrides, v1alpha1.OverrideSourceCertificateID):
		return refuseOverride("%s does not allow it; its owner can, with %s in spec.allowedOverrides.", w.Issuer, v1alpha1.OverrideSourceCertificateID), nil
	case spec.ReusePolicy == v1alpha1.ReusePolicyNever:
		return refuseOverride("spec.reusePolicy of %s is Never.", w.Issuer), nil
	case len(held) > 0:
		return refuseOverride("another purchase holds %s.", id), nil
	}
	w.Source = id
	return "", nil
}

func refuseOverride(format string, args ...any) string {
	return fmt.Sprintf("annotation %s: %s Correct it on the Certificate, or remove it to have a certificate ordered.", v1alpha1.AnnotationSourceCertificateID, fmt.Sprintf(format, args...))
}

// overrideRefused: nothing is bought in the place of what was asked for. Once the
// Certificate has purchases the annotation does not count.
func overrideRefused(f Facts) (Decision, bool) {
	if f.Override == "" || len(f.lineage()) > 0 {
		return Decision{}, false
	}
	return Decision{Step: StepFail, Reason: v1alpha1.ReasonOverrideRefused, Message: f.Override}, true
}

// override: what the request names is imported instead of a first order, and reissued for
// the request's key by the rules for what is paid for. It takes no slot of the limit.
func override(f Facts) (Decision, bool) {
	id := f.Want.Source
	if id == "" || len(f.lineage()) > 0 {
		return Decision{}, false
	}
	if f.Baseline == nil {
		return Decision{Step: StepBuy, Reason: v1alpha1.ReasonPlacing, Message: fmt.Sprintf("an annotation asks for %s to be used, which regfish is asked about.", id)}, true
	}
	c, why := f.adoptable(id)
	switch {
	case c != nil && c.Of != "":
		return Decision{Step: StepWait, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: f.unhurried(), Message: fmt.Sprintf("waits for RegfishPurchase %s: order %s may be its, and that has to be known first.", c.Of, id)}, true
	case why != "":
		f.Override = refuseOverride("%s", why)
		return overrideRefused(f)
	case c.Leaf == nil:
		return Decision{Step: StepQueue, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: earlyLook, Message: fmt.Sprintf("an annotation asks for %s to be used, and regfish does not deliver it yet.", id)}, true
	}
	return Decision{Step: StepImport, Candidate: c, Reason: v1alpha1.ReasonAdopted, Message: fmt.Sprintf("an annotation asks for %s to be used.", id)}, true
}

// named is the certificate of the account that somebody asked to be used; empty if there
// is none.
func (f Facts) named() string {
	if l := f.licence(); l != nil && l.verb == verbAdopt {
		return l.id
	}
	return f.Want.Source
}

// unfitToReissue says why c, which this ledger does not hold, cannot be reissued for the
// request; empty if it can.
func (f Facts) unfitToReissue(c regfish.Certificate) string {
	p := New(f.Want, "", 1)
	p.Spec.CertificateID = c.ID
	f.Sources = map[string]Source{c.ID: {Certificate: c}}
	t := f.termOf(p)
	gains, _ := f.worthwhile(t)
	switch {
	case f.Want.Reuse == v1alpha1.ReusePolicyNever:
		return fmt.Sprintf("spec.reusePolicy of %s is Never", f.Want.Issuer)
	case !t.reissuable:
		return "regfish offers no reissue"
	case !gains:
		return "its contract ends at " + utc(t.contract) + ", and the certificate at " + utc(t.notAfter)
	}
	return ""
}
