// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Answer is what came of a decision, for the person who made it.
type Answer struct {
	// Void says that it was not carried out.
	Void bool
	// Message says what was done, or why nothing was.
	Message string
}

func void(format string, args ...any) *Answer {
	return &Answer{Void: true, Message: fmt.Sprintf(format, args...)}
}

// Decide carries out what a person decided on p, and removes the annotation in the same
// write, so that it is carried out once. It returns nil if nobody decided, and where the
// decision is for whoever decides on the request: purchase and adopt on a plan. Nobody
// decides on the record of another version, which may mean anything. An error leaves the
// annotation where it is.
func (r *Resolver) Decide(ctx context.Context, p *v1alpha1.RegfishPurchase) (*Answer, error) {
	if phaseOf(p) == phaseForeign {
		return nil, nil
	}
	d, why := decisionOn(p)
	var change func(*v1alpha1.RegfishPurchase)
	var answer *Answer
	var err error
	switch {
	case why != "":
		answer = void("%s", why)
	case d == nil || (IsPlan(p) && (d.verb == verbPurchase || d.verb == verbAdopt)):
		return nil, nil
	case IsPlan(p):
		answer = void("%s says nothing on a plan; adopt:<id> and purchase do.", d.verb)
	case p.Spec.AbandonTime != nil:
		answer = void("the purchase was given up at %s.", utc(p.Spec.AbandonTime.Time))
	case d.verb == verbAdopt:
		change, answer, err = r.adopt(ctx, p, d.id)
	case d.verb == verbRetry:
		change, answer, err = r.retry(ctx, p, d.attempt)
	case d.verb == verbAbandon:
		change, answer = r.abandon(p)
	default:
		answer = void("purchase licenses what a plan stands for, and this is no plan.")
	}
	switch kind := regfish.KindOf(err); {
	case kind != regfish.KindNone:
		// Whoever decided is told. Tried again here, it would keep the order from being
		// looked for in the meantime.
		answer = void("regfish could not be asked about %s: %v.", d.id, err)
	case err != nil:
		return nil, err
	}
	return answer, r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
		delete(p.Annotations, v1alpha1.AnnotationResolve)
		if change != nil {
			change(p)
		}
	})
}

// adopt records an id that a person found, if it can be the order of p.
func (r *Resolver) adopt(ctx context.Context, p *v1alpha1.RegfishPurchase, id string) (func(*v1alpha1.RegfishPurchase), *Answer, error) {
	if p.Spec.CertificateID != "" {
		return nil, void("the purchase holds %s already.", p.Spec.CertificateID), nil
	}
	if len(p.Spec.Attempts) == 0 {
		return nil, void("no order was ever sent."), nil
	}
	if slices.Contains(firstAttempt(p).BaselineIDs, id) {
		// To take it for the order would hide the order that may have been placed.
		return nil, void("%s was in the account before the first order of this purchase was sent.", id), nil
	}
	if who, err := r.sending(ctx, p); err != nil || who != "" {
		// Its answer would come to a purchase that has an id already.
		return nil, void("%s may still be sending the order, and regfish its answer; decide again when it is gone, or when the purchase is held.", who), err
	}
	if held, err := r.Spender.claimed(ctx, p.Spec.Endpoint, id); err != nil || held {
		return nil, void("another purchase holds %s.", id), err
	}
	vendor, _, gap, err := r.connect(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if gap != "" {
		return nil, void("regfish cannot be asked about %s: %s.", id, gap), nil
	}
	c, err := vendor.Certificate(ctx, id)
	if regfish.KindOf(err) == regfish.KindNotFound {
		return nil, void("the account has no %s.", id), nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", id, err)
	}
	leaf, err := leafOf(ctx, vendor, c)
	if err != nil {
		return nil, nil, err
	}
	names := c.Names()
	if leaf != nil {
		names = pki.CertificateNames(leaf)
	}
	switch {
	case disproves(p, leaf), disproved(p, id):
		return nil, void("%s was issued for another key than that of the purchase's signing request, so it is not its order: abandon the purchase first, and adopt it on the plan of the next request, which has it reissued.", id), nil
	case !fits(p, names):
		return nil, void("the names of %s are not those of the purchase.", id), nil
	}
	at := metav1.NewMicroTime(r.Spender.Clock.Now())
	return func(p *v1alpha1.RegfishPurchase) {
		if a := lastUnresolved(p); a != nil {
			resolve(a, v1alpha1.Resolution{Result: v1alpha1.ResolutionAdopted, CertificateID: id, Message: "a person decided that it is the order.", Time: at})
		}
		p.Spec.CertificateID = id
	}, &Answer{Message: fmt.Sprintf("a person decided that %s is the order of this purchase.", id)}, nil
}

// retry licenses one more attempt, after the one that the person names: what was decided
// on an earlier one, and is put back by a tool, is void.
func (r *Resolver) retry(ctx context.Context, p *v1alpha1.RegfishPurchase, number int32) (func(*v1alpha1.RegfishPurchase), *Answer, error) {
	ph := phaseOf(p)
	switch {
	case ph != phaseUnresolved && ph != phaseSpent:
		return nil, void("no attempt waits to be licensed."), nil
	case lastAttempt(p).Number != number:
		return nil, void("attempt %d is not the last one, which is attempt %d.", number, lastAttempt(p).Number), nil
	case lastAttempt(p).Number >= maxAttempts || len(p.Spec.Successors) > 0:
		return nil, void("the purchase can have no other attempt."), nil
	}
	if who, err := r.sending(ctx, p); err != nil || who != "" {
		return nil, void("%s may still be sending the order of attempt %d; decide again when it is gone, or when the purchase is held.", who, number), err
	}
	at := metav1.NewMicroTime(r.Spender.Clock.Now())
	return func(p *v1alpha1.RegfishPurchase) {
		release := func(a *v1alpha1.Attempt) {
			heard(a, at)
			a.ReleaseTime = &at
		}
		for a := lastUnresolved(p); a != nil; a = lastUnresolved(p) {
			release(a)
		}
		if a := lastAttempt(p); a.ReleaseTime == nil {
			release(a)
		}
	}, &Answer{Message: fmt.Sprintf("a person licensed one more attempt after attempt %d.", number)}, nil
}

// sending returns who may still be sending an order of p; empty if nobody can be, or if
// a person was asked to decide although somebody may be. How long it is known is counted
// by this process: the time of the attempt is another one's.
func (r *Resolver) sending(ctx context.Context, p *v1alpha1.RegfishPurchase) (string, error) {
	a := pendingAttempt(p)
	if a == nil || !unresolved(*a) {
		return "", nil
	}
	now := r.Spender.Clock.Now()
	s := r.of(p, now)
	switch known := now.Sub(s.Begun); {
	case known < r.Spender.Times.MinSettleTime():
		return fmt.Sprintf("process %s", a.Writer.StartNonce), nil
	case s.Finding == Undecided:
		return "", nil
	default:
		return r.writer(ctx, p, known)
	}
}

// abandon gives the purchase up. It names what may have been bought by it.
func (r *Resolver) abandon(p *v1alpha1.RegfishPurchase) (func(*v1alpha1.RegfishPurchase), *Answer) {
	switch {
	case issued(p) && !held(p):
		return nil, void("the certificate is issued and was not refused, so there is nothing to give up.")
	case p.Spec.CertificateID == "" && len(p.Spec.Attempts) == 0:
		return nil, void("no order was ever sent, so there is nothing to give up.")
	}
	at := metav1.NewMicroTime(r.Spender.Clock.Now())
	given := p.DeepCopy()
	given.Spec.AbandonTime = &at
	message := givenUp(given)
	if candidates := r.remembered(p); len(candidates) > 0 {
		message += fmt.Sprintf(" These may be it: %s.", named(candidates))
	}
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = &at }, &Answer{Message: message}
}

// remembered are the candidates that this process found for p.
func (r *Resolver) remembered(p *v1alpha1.RegfishPurchase) []Candidate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.searches[p.Name]; ok {
		return s.Candidates
	}
	return nil
}
