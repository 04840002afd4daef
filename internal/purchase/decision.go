// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// verb is what a person wants of a purchase.
type verb string

const (
	verbAdopt    verb = "adopt"
	verbRetry    verb = "retry"
	verbPurchase verb = "purchase"
	verbAbandon  verb = "abandon"
)

// decision is what a person wrote into the annotation.
type decision struct {
	verb verb
	// id that is adopted.
	id string
	// attempt that another one may follow.
	attempt int32
}

// decisionOn returns what a person decided on p; nil if nobody did. The message says
// why it cannot be understood.
func decisionOn(p *v1alpha1.RegfishPurchase) (d *decision, why string) {
	text, ok := p.Annotations[v1alpha1.AnnotationResolve]
	if !ok {
		return nil, ""
	}
	name, argument, has := strings.Cut(strings.TrimSpace(text), ":")
	d = &decision{verb: verb(name)}
	switch {
	case d.verb == verbAdopt && recordable(argument):
		d.id = argument
		return d, ""
	case d.verb == verbRetry && has:
		if n, err := strconv.ParseInt(argument, 10, 32); err == nil && n > 0 {
			d.attempt = int32(n)
			return d, ""
		}
	case (d.verb == verbPurchase || d.verb == verbAbandon) && !has:
		return d, ""
	}
	return nil, fmt.Sprintf("%q is none of adopt:<id>, retry:<attempt>, purchase and abandon.", regfish.Sanitise(text, 64))
}

// licence is a plan on which a person decided.
type licence struct {
	plan *v1alpha1.RegfishPurchase
	decision
}

// licence returns what a person decided on the plan of the request, nil if nobody did.
// A plan licenses one purchase: the UID of one that was used stands in the record of
// that purchase, so a plan that is put back, or a decision that is read again after a
// crash, buys nothing.
func (f Facts) licence() *licence {
	name := PlanName(f.Want)
	i := slices.IndexFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool { return p.Name == name && IsPlan(&p) })
	if i < 0 {
		return nil
	}
	plan := &f.Purchases[i]
	d, _ := decisionOn(plan)
	if d == nil || slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool { return plan.UID != "" && p.Spec.PlanUID == plan.UID }) {
		return nil
	}
	return &licence{plan, *d}
}

// covers reports whether the hold is the one that the plan shows. A person decided on
// what was shown and on nothing else: a plan that was written with its annotation, or
// whose cause became another one, licenses nothing.
func (l *licence) covers(hold Decision) bool {
	shown := meta.FindStatusCondition(l.plan.Status.Conditions, v1alpha1.ConditionHeld)
	return shown != nil && shown.Status == metav1.ConditionTrue && shown.Reason == hold.Reason && shown.Message == bound(hold.Message)
}

// overrule returns what a hold becomes by what a person decided on its plan. It reports
// whether that is an answer; if it is not, the hold is waived and the other rules decide.
func (l *licence) overrule(f Facts, hold Decision) (Decision, bool) {
	switch {
	case !l.covers(hold):
		hold.Void = "what is held for changed since: " + hold.Message
	case l.verb == verbPurchase:
		return Decision{}, false
	case l.verb != verbAdopt:
		hold.Void = fmt.Sprintf("%s says nothing on a plan; adopt:<id> and purchase do.", l.verb)
	case f.Baseline == nil:
		return Decision{Step: StepBuy, Licence: l.plan, Reason: v1alpha1.ReasonPlacing, Message: fmt.Sprintf("a person decided to use %s, which regfish is asked about.", l.id)}, true
	default:
		c, why := f.Baseline.adoptable(f.Want, l.id)
		if c != nil {
			return Decision{Step: StepImport, Candidate: c, Licence: l.plan, Reason: v1alpha1.ReasonAdopted, Message: fmt.Sprintf("a person decided to use %s.", l.id)}, true
		}
		hold.Void = why
	}
	return hold, true
}

// adoptable returns the certificate of the account that a person wants to be used, or
// why it cannot be.
func (b *Baseline) adoptable(w Want, id string) (*Candidate, string) {
	i := slices.IndexFunc(b.Unclaimed, func(c Candidate) bool { return c.Certificate.ID == id })
	switch {
	case i < 0 && slices.Contains(b.IDs, id):
		return nil, fmt.Sprintf("another purchase holds %s.", id)
	case i < 0:
		return nil, fmt.Sprintf("the account has no %s with a name of the request.", id)
	}
	c := &b.Unclaimed[i]
	names := c.Certificate.Names()
	if c.Leaf != nil {
		names = pki.CertificateNames(c.Leaf)
		if sum, err := pki.KeySHA256(c.Leaf.PublicKey); err != nil || sum != w.Request.KeySHA256 {
			return nil, fmt.Sprintf("%s was issued for another key than the request's, and this version cannot have it issued again.", id)
		}
	}
	switch {
	case ended(c.Certificate):
		return nil, fmt.Sprintf("regfish says that %s is %s.", id, regfish.Sanitise(c.Certificate.Status, 32))
	case !pki.Covers(names, w.Request.DNSNames) || len(pki.Foreign(names, w.Request.DNSNames)) > 0:
		return nil, fmt.Sprintf("the names of %s are not those of the request.", id)
	}
	return c, ""
}

// howToDecide ends the sentence of a hold with a plan.
func howToDecide(w Want, verbs string) string {
	return fmt.Sprintf("A person has to decide, with the annotation %s on RegfishPurchase %s: %s.", v1alpha1.AnnotationResolve, PlanName(w), verbs)
}

// foreign reports whether a person saw the id in the account and had another
// certificate bought all the same.
func (f Facts) foreign(id string) bool {
	return slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool {
		return p.Spec.PlanUID != "" && slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return slices.Contains(a.BaselineIDs, id) })
	})
}
