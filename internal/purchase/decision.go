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

// question is one thing that a person is asked before anything is bought.
type question struct {
	// cause is what is held for. A decision covers it only if the plan showed it, so it
	// says all that matters, in few words, and nothing that changes by itself.
	cause string
	// advice helps a person to find out what to decide.
	advice string
	// verbs say what can be decided.
	verbs string
}

// maxCause bounds one cause, in bytes, so that a message shows all causes whole.
const maxCause = 320

// ask puts everything that is held for into one hold: what is decided on it covers
// all that it shows. It is held for the first of the reasons, and looked at again as
// soon as the first of them may be gone.
func (f Facts) ask(holds []Decision) Decision {
	hold := holds[0]
	hold.questions = nil
	var causes, advice []string
	for _, d := range holds {
		if hold.LookAgain == 0 || d.LookAgain > 0 && d.LookAgain < hold.LookAgain {
			hold.LookAgain = d.LookAgain
		}
		for _, q := range d.questions {
			q.cause = regfish.Sanitise(q.cause, maxCause)
			if slices.Contains(causes, q.cause) {
				continue
			}
			hold.questions = append(hold.questions, q)
			causes, advice = append(causes, q.cause), append(advice, q.advice)
		}
	}
	if shown := f.shown(); f.Baseline == nil && shown != nil && hold.covered(shown) {
		// The account was not asked this time. What it showed before stays shown, or
		// whoever decides now would have to decide once more after it was asked.
		hold.Reason, hold.Message = shown.Reason, shown.Message
		return hold
	}
	// What is in the account is asked about last, and can be decided in more ways.
	verbs := hold.questions[len(hold.questions)-1].verbs
	parts := append(causes, fmt.Sprintf("A person has to decide, and to annotate RegfishPurchase %s with %s=%s.", PlanName(f.Want), v1alpha1.AnnotationResolve, verbs))
	hold.Message = bound(strings.Join(append(parts, advice...), " "))
	return hold
}

// plan returns the plan of the request; nil if there is none.
func (f Facts) plan() *v1alpha1.RegfishPurchase {
	name := PlanName(f.Want)
	i := slices.IndexFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool { return p.Name == name && phaseOf(&p) == phasePlan })
	if i < 0 {
		return nil
	}
	return &f.Purchases[i]
}

// shown is what the plan of the request shows; nil if that is nothing. A plan that was
// written with its annotation shows nothing.
func (f Facts) shown() *metav1.Condition {
	plan := f.plan()
	if plan == nil || !held(plan) {
		return nil
	}
	return meta.FindStatusCondition(plan.Status.Conditions, v1alpha1.ConditionHeld)
}

// covered reports whether all that is held for was shown.
func (d Decision) covered(shown *metav1.Condition) bool {
	return !slices.ContainsFunc(d.questions, func(q question) bool { return !strings.Contains(shown.Message, q.cause) })
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
	plan := f.plan()
	if plan == nil {
		return nil
	}
	d, _ := decisionOn(plan)
	if d == nil || f.Used(plan) {
		return nil
	}
	return &licence{plan, *d}
}

// Used reports whether what a person decided on the plan was acted on, whatever came of
// that. Nothing that is decided on it from then on counts, so it must not be what asks.
func (f Facts) Used(plan *v1alpha1.RegfishPurchase) bool {
	return plan.UID != "" && slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool {
		return p.Spec.PlanUID == plan.UID || slices.ContainsFunc(p.Spec.Reissues, func(r v1alpha1.Reissue) bool { return r.PlanUID == plan.UID })
	})
}

// covers reports whether a person saw what the decision is about: all that is held for,
// if something is to be bought, and any of it, if it is to be an order that the person
// names. A person decided on what was shown and on nothing else.
func (l *licence) covers(f Facts, hold Decision) bool {
	shown := f.shown()
	if shown == nil {
		return false
	}
	if l.verb == verbAdopt {
		return slices.ContainsFunc(hold.questions, func(q question) bool { return strings.Contains(shown.Message, q.cause) })
	}
	return hold.covered(shown)
}

// overrule returns what a hold becomes by what a person decided on its plan. It reports
// whether that is an answer; if it is not, the hold is waived and the other rules decide.
func (l *licence) overrule(f Facts, hold Decision) (Decision, bool) {
	switch {
	case !l.covers(f, hold):
		hold.Void = "what is held for changed since: " + hold.Message
	case l.verb == verbPurchase:
		return Decision{}, false
	case l.verb != verbAdopt:
		hold.Void = fmt.Sprintf("%s says nothing on a plan; adopt:<id> and purchase do.", l.verb)
	case f.Baseline == nil:
		return Decision{Step: StepBuy, Licence: l.plan, Reason: v1alpha1.ReasonPlacing, Message: fmt.Sprintf("a person decided to use %s, which regfish is asked about.", l.id)}, true
	default:
		c, why := f.adoptable(l.id)
		if why == "" {
			return Decision{Step: StepImport, Candidate: c, Licence: l.plan, Reason: v1alpha1.ReasonAdopted, Message: fmt.Sprintf("a person decided to use %s.", l.id)}, true
		}
		hold.Void = why
	}
	return hold, true
}

// adoptable returns the certificate of the account with the id, nil if none is unclaimed,
// and why the request cannot be served by it, as it is or by a reissue for its key; empty
// if it can.
func (f Facts) adoptable(id string) (*Candidate, string) {
	b, w := f.Baseline, f.Want
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
	}
	switch {
	case c.Of != "":
		return c, fmt.Sprintf("%s may be the order of RegfishPurchase %s, and that has to be known first.", id, c.Of)
	case ended(c.Certificate):
		return c, fmt.Sprintf("regfish says that %s is %s.", id, regfish.Sanitise(c.Certificate.Status, 32))
	case revoked(c.Certificate):
		return c, fmt.Sprintf("regfish says that %s is revoked.", id)
	case !pki.Covers(names, w.Request.DNSNames) || len(pki.Foreign(names, w.Request.DNSNames)) > 0:
		return c, fmt.Sprintf("the names of %s are not those of the request.", id)
	case c.forOtherKey(w):
		if why := f.unfitToReissue(c.Certificate); why != "" {
			return c, fmt.Sprintf("%s was issued for another key than the request's, and cannot be reissued for that: %s.", id, why)
		}
	}
	return c, ""
}

// forOtherKey reports whether the certificate was issued for another key than that of w.
func (c *Candidate) forOtherKey(w Want) bool {
	if c.Leaf == nil {
		return false
	}
	sum, err := pki.KeySHA256(c.Leaf.PublicKey)
	return err != nil || sum != w.Request.KeySHA256
}

// foreign reports whether a person saw the id in the account and had another certificate
// bought all the same, in the namespace and for the names of the request. What is not
// theirs may be what another request has lost.
func (f Facts) foreign(id string) bool {
	return slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool {
		return p.Spec.Beneficiary.Namespace == f.Want.Beneficiary.Namespace && sameNames(&p, f.Want) && waived(&p, id)
	})
}

// waived reports whether a person licensed p although the id was in the account.
func waived(p *v1alpha1.RegfishPurchase, id string) bool {
	return p.Spec.PlanUID != "" && slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return slices.Contains(a.BaselineIDs, id) })
}
