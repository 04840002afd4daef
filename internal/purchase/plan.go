// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Step is what a decision leads to. Every decision names exactly one.
type Step int

const (
	// StepFollow: the purchase was made for this key and is on its way.
	StepFollow Step = iota + 1
	// StepDeliver: the purchase was made for this key and is issued.
	StepDeliver
	// StepWait: another purchase has to come to an end first.
	StepWait
	// StepQueue: to be bought, once something comes by itself.
	StepQueue
	// StepHold: a person must decide; a plan records it.
	StepHold
	// StepBuy: a new purchase.
	StepBuy
	// StepRenew: a new purchase that renews an earlier one.
	StepRenew
	// StepReissue: what is paid for is issued again.
	StepReissue
	// StepRetry: another attempt of a purchase that placed nothing.
	StepRetry
	// StepImport: the account has the certificate already; record it.
	StepImport
	// StepFail: the request can never be served as it is.
	StepFail
)

// Decision is one step and what to say about it.
type Decision struct {
	Step Step
	// Purchase that the step is about: followed, delivered, waited for, tried
	// again. Nil for a new purchase.
	Purchase *v1alpha1.RegfishPurchase
	// Source is the purchase that a new one renews.
	Source *v1alpha1.RegfishPurchase
	// Candidate that is imported.
	Candidate *Candidate
	// Licence is the plan on which a person decided that it may be so; nil if nobody
	// had to.
	Licence *v1alpha1.RegfishPurchase
	// Void is why what a person decided on the plan of a hold cannot be carried out;
	// empty if it can be, or nobody decided.
	Void string
	// Reason is the reason of Placed or, for StepHold, of Held.
	Reason string
	// Message is one sentence: what is waited for, and who has to act.
	Message string
	// questions are what a person is asked by the hold of a plan.
	questions []question
	// LookAgain is when the decision may change without any event; zero means
	// that an event will tell.
	LookAgain time.Duration
}

// Sends reports whether something is to be sent to regfish: an order or a reissue.
func (d Decision) Sends() bool {
	return d.Step == StepBuy || d.Step == StepRenew || d.Step == StepReissue || d.Step == StepRetry
}

// Bounds on what one Certificate may cost before a person is asked.
const (
	maxActions   = 3
	actionWindow = 24 * time.Hour
)

// wakeUp is when a decision that an event will change is made again all the same: an
// event can come before the cache shows who waits for it.
const wakeUp = time.Minute

// Back-off between attempts of one purchase.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// Plan decides what a request gets. The order of the questions is the order of
// cost: what is there is used before anything is waited for, and everything that
// can stop a purchase is asked before one is made. Everything that a person has to
// decide at that time is asked at once, so that one decision can cover it.
func Plan(f Facts) Decision {
	rules := []func(Facts) (Decision, bool){
		sameKey, keptApart, overrideRefused, otherCluster, unreadableRecord, oneOrderAtATime, waitForLineage, endpointChanged, bounds, issuerReady, readable, reissue, early, override, limit, unclaimed,
	}
	var holds []Decision
	next := f.pay()
	for _, rule := range rules {
		d, ok := rule(f)
		if ok && len(d.questions) > 0 {
			holds = append(holds, d)
		} else if ok {
			next = d
			break
		}
	}
	if len(holds) == 0 {
		return next
	}
	hold, l := f.ask(holds), f.licence()
	if l == nil {
		return hold
	}
	if d, ok := l.overrule(f, hold); ok {
		return d
	}
	if next.Step == StepBuy || next.Step == StepRenew || next.Step == StepReissue {
		next.Licence = l.plan
	}
	return next
}

// sameKey: a purchase for the same namespace, names and key serves the request
// for as long as it is on its way or fit to be handed out again. This is what
// makes every repetition of one request free.
func sameKey(f Facts) (Decision, bool) {
	// What was placed, or may have been, comes before what may be tried again: an older
	// purchase whose order a person found serves the key also beside a newer one.
	own := f.own()
	slices.SortStableFunc(own, func(a, b *v1alpha1.RegfishPurchase) int { return cmp.Compare(untried(a), untried(b)) })
	for _, p := range own {
		if !serves(p, f.Want) {
			continue
		}
		switch phaseOf(p) {
		case phasePlan, phaseForeign:
			// The one serves nobody, the other is for unreadableRecord.
		case phaseAbandoned:
			if _, uid := requestOf(p); uid == f.Want.Beneficiary.RequestUID {
				return Decision{Step: StepFail, Purchase: p, Reason: v1alpha1.ReasonAbandoned, Message: fmt.Sprintf("a person gave RegfishPurchase %s up, which was made for this request.", p.Name)}, true
			}
		case phasePlaced:
			if d, ok := boughtForKey(f, p); ok {
				return d, true
			}
		case phaseUnresolved:
			return Decision{Step: StepFollow, Purchase: p, Reason: v1alpha1.ReasonPlacing, Message: "being bought for this key.", LookAgain: wakeUp}, true
		case phaseSpent:
			if sameOrder(p, f.Want) {
				return Decision{Step: StepHold, Purchase: p, Reason: v1alpha1.ReasonAmbiguousOutcome, Message: spentMessage(p), LookAgain: wakeUp}, true
			}
		case phaseUnplaced:
			// What was decided then is what would be sent. If the issuer, or what it
			// buys, is another one now, a new purchase takes its place.
			if sameOrder(p, f.Want) {
				return retry(f, p), true
			}
		case phaseRefused:
			if a := lastAttempt(p); a != nil && a.Outcome.Final && p.Spec.Action != v1alpha1.ActionRenew && a.RequestUID == f.Want.Beneficiary.RequestUID {
				return Decision{Step: StepFail, Purchase: p, Reason: v1alpha1.ReasonRejected, Message: fmt.Sprintf("regfish refused the order (%s): change the Certificate, or what %s orders (spec.sku, wildcardSKU, organizationID, validityDays, dcv).", strings.TrimSuffix(a.Outcome.Message, "."), p.Spec.IssuerRef)}, true
			}
		}
	}
	return Decision{}, false
}

// untried is 0 for a purchase that was placed or may have been, and 1 for any other.
func untried(p *v1alpha1.RegfishPurchase) int {
	if ph := phaseOf(p); ph == phasePlaced || ph == phaseUnresolved {
		return 0
	}
	return 1
}

// boughtForKey: what was bought or reissued for the key is followed, handed out while it is fit to
// be, and fails the request that it was made for if it came to nothing.
func boughtForKey(f Facts, p *v1alpha1.RegfishPurchase) (Decision, bool) {
	r, _ := madeFor(p, f.Want)
	own := beneficiaryOf(p, r).RequestUID == f.Want.Beneficiary.RequestUID
	if _, last := requestOf(p); r == nil && last == f.Want.Beneficiary.RequestUID {
		own = true // a later attempt was made for it
	}
	what := "bought for this key."
	if r != nil {
		what = "reissued for this key."
	}
	reason, wait := v1alpha1.ReasonPurchased, time.Duration(0)
	if r != nil && r.End == nil {
		reason, wait = v1alpha1.ReasonReissued, earlyLook
	}
	// What regfish says now: a process may have ended between the end of a reissue and the
	// status that has its dates.
	t := f.termOf(p)
	switch {
	case r != nil && r.End == nil && f.stuck(p):
		return Decision{}, false
	case failed(p) && own:
		return Decision{Step: StepFail, Purchase: p, Reason: v1alpha1.ReasonFailed, Message: p.Status.Message}, true
	case failed(p):
		return Decision{}, false
	case !issued(p):
		return Decision{Step: StepFollow, Purchase: p, Reason: reason, Message: what, LookAgain: wait}, true
	case held(p) || own || f.awaited(p, r) || (f.Want.Reuse != v1alpha1.ReusePolicyNever && fresh(f, t.notBefore, t.notAfter)):
		return Decision{Step: StepDeliver, Purchase: p, Reason: reason, Message: what}, true
	}
	return Decision{}, false
}

// awaited reports whether the certificate of p, which the reissue made if there is one, was
// on its way when the request was made: it is what the request has waited for. Otherwise one
// that was made again meanwhile would be bought for once more. A reissue that came to nothing
// turns Issued to True again, and leaves a certificate that nobody waited for.
func (f Facts) awaited(p *v1alpha1.RegfishPurchase, r *v1alpha1.Reissue) bool {
	var came time.Time
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionIssued)
	switch {
	case r != nil && r.End != nil:
		came = r.End.Time.Time
	case r == nil && c != nil && len(p.Spec.Reissues) == 0:
		came = c.LastTransitionTime.Time
	}
	runOut := p.Status.NotAfter != nil && !f.Now.Before(p.Status.NotAfter.Time)
	return !came.IsZero() && !f.Asked.IsZero() && !came.Before(f.Asked) && f.Now.Sub(came).Abs() < awaitedFor && !runOut
}

// awaitedFor is for how long after it came a certificate counts as what a request has waited
// for. The one time is the API server's and the other one a controller's: where the two are
// far apart, a certificate that is due would be handed out to one request after another.
const awaitedFor = 7 * 24 * time.Hour

// sameOrder reports whether the order that p records is the one that w would place.
func sameOrder(p *v1alpha1.RegfishPurchase, w Want) bool {
	return p.Spec.IssuerRef == w.Issuer && strings.EqualFold(p.Spec.SKU, w.SKU) && p.Spec.OrganizationID == w.OrganizationID &&
		p.Spec.ValidityDays == w.ValidityDays && p.Spec.DCVMethod == w.DCVMethod && slices.Equal(p.Spec.DCVEmails, w.DCVEmails)
}

// retry: the last attempt bought nothing, so the next one may be made, after a
// pause that doubles from a minute to an hour. What stops a purchase stops an
// attempt too.
func retry(f Facts, p *v1alpha1.RegfishPurchase) Decision {
	last := lastAttempt(p)
	pause := backOff(len(p.Spec.Attempts))
	if all, _ := f.unheardForKey(); all >= maxSilent {
		pause = apart
	}
	for _, rule := range []func(Facts) (Decision, bool){unreadableRecord, endpointChanged, issuerReady} {
		if d, ok := rule(f); ok {
			if d.Purchase == nil {
				d.Purchase = p
			}
			return d
		}
	}
	wait := f.left(endOf(last), pause)
	if asked := last.Outcome; asked != nil && asked.RetryAfter != nil {
		wait = max(wait, f.left(asked.Time.Time, asked.RetryAfter.Sub(asked.Time.Time)))
	}
	if wait > 0 && last.ReleaseTime == nil {
		return f.afterLast(p, wait)
	}
	for _, rule := range []func(Facts) (Decision, bool){oneOrderAtATime, waitForPlaced, limit, unclaimed} {
		if d, ok := rule(f); ok {
			if d.Purchase == nil {
				d.Purchase = p
			}
			return d
		}
	}
	return Decision{Step: StepRetry, Purchase: p, Reason: v1alpha1.ReasonPlacing, Message: fmt.Sprintf("attempt %d placed no order, so the next one is made.", last.Number)}
}

// unheardForKey counts the attempts whose outcome was unknown of all purchases that placed
// nothing of what is ordered for this key, and returns the purchase that was tried last.
func (f Facts) unheardForKey() (all int, last *v1alpha1.RegfishPurchase) {
	for _, p := range f.own() {
		// What is under way is followed, and a person has given others up.
		ph := phaseOf(p)
		if (ph != phaseRefused && ph != phaseUnplaced) || lastAttempt(p) == nil || !serves(p, f.Want) || !sameOrder(p, f.Want) {
			continue
		}
		_, of := unheardOf(p)
		if all += of; last == nil || lastAttempt(p).Time.After(lastAttempt(last).Time.Time) {
			last = p
		}
	}
	return all, last
}

// keptApart keeps orders for one key apart of which nothing was heard, also where a request
// with another key has bought for the names since: what was tried before is not tried again
// then, and a new purchase would follow at once.
func keptApart(f Facts) (Decision, bool) {
	all, p := f.unheardForKey()
	if all < maxSilent {
		return Decision{}, false
	}
	last := lastAttempt(p)
	wait := f.left(endOf(last), apart)
	if wait <= 0 || last.ReleaseTime != nil {
		return Decision{}, false
	}
	return f.afterLast(p, wait), true
}

// afterLast waits before another attempt follows the last one of p.
func (f Facts) afterLast(p *v1alpha1.RegfishPurchase, wait time.Duration) Decision {
	last := lastAttempt(p)
	return Decision{
		Step: StepQueue, Purchase: p, Reason: reasonOf(last), LookAgain: wait,
		Message: fmt.Sprintf("%s; the next one follows at %s.", nothingPlaced(last), utc(f.Now.Add(wait))),
	}
}

// backOff is the pause after so many tries that came to nothing.
func backOff(tries int) time.Duration {
	if tries > 6 {
		return lastRetry
	}
	return min(lastRetry, firstRetry<<(tries-1))
}

// left is what is left of a pause that began then. A time that is ahead by more than the
// pause was written by a clock that was wrong, and is not waited for: that could take years.
func (f Facts) left(begun time.Time, pause time.Duration) time.Duration {
	if begun.Sub(f.Now) > pause {
		return 0
	}
	return max(0, begun.Add(pause).Sub(f.Now))
}

// unreadableRecord: a record of another version may mean anything.
func unreadableRecord(f Facts) (Decision, bool) {
	for _, p := range numbered(f.Purchases) {
		if phaseOf(p) == phaseForeign {
			return Decision{
				Step: StepWait, Purchase: p, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: wakeUp,
				Message: fmt.Sprintf("RegfishPurchase %s was written by another version of this controller and cannot be judged; install the newer version again.", p.Name),
			}, true
		}
	}
	return Decision{}, false
}

// oneOrderAtATime: while it is not known whether an order for these names was
// placed, no other one is sent, whoever it is for: the two could not be told
// apart afterwards.
func oneOrderAtATime(f Facts) (Decision, bool) {
	for _, p := range f.own() {
		if phaseOf(p) != phaseUnresolved {
			continue
		}
		message := "an order for the same names is being placed, and its outcome has to be known first. Its message says who has to act, if anybody has to."
		if held(p) {
			message = "it cannot be told whether an order for the same names was placed, and a person has to decide that there first."
		}
		return Decision{
			Step: StepWait, Purchase: p, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: wakeUp,
			Message: fmt.Sprintf("waits for RegfishPurchase %s: %s", p.Name, message),
		}, true
	}
	return Decision{}, false
}

// waitForPlaced is waitForLineage for another attempt: two purchases that were not placed
// would wait for each other, so it waits for what was placed only, such as an older order
// of another key that a person found meanwhile.
func waitForPlaced(f Facts) (Decision, bool) {
	f.Purchases = slices.DeleteFunc(slices.Clone(f.Purchases), func(p v1alpha1.RegfishPurchase) bool { return phaseOf(&p) != phasePlaced })
	return waitForLineage(f)
}

// waitForLineage: while a purchase or a reissue for the same Certificate is on its way, a
// request with another key waits for it instead of buying beside it.
func waitForLineage(f Facts) (Decision, bool) {
	for _, p := range f.lineage() {
		if !onItsWay(f, p) || f.stuck(p) {
			continue
		}
		id := p.Spec.CertificateID
		if id == "" {
			id = "RegfishPurchase " + p.Name
		}
		did, then := "bought", "nothing else is bought before it has come to an end"
		if openReissue(p) != nil {
			did, then = "reissued", "it is reissued for this one then"
		}
		return Decision{
			Step: StepWait, Purchase: p, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: wakeUp,
			Message: strings.TrimSuffix(fmt.Sprintf("waits for %s, %s for an earlier key of this Certificate; %s: %s", id, did, then, p.Status.Message), ": "),
		}, true
	}
	return Decision{}, false
}

// endpointChanged: while an order for the same Certificate and names stands at another
// endpoint, nothing is bought at this one. An edit of the issuer's url must not buy
// everything that is pending a second time.
func endpointChanged(f Facts) (Decision, bool) {
	for _, p := range numbered(f.Elsewhere) {
		// The same key is served by what was bought for it, whatever the issuer buys now.
		if !(inLineage(p, f.Want, f.Now) || serves(p, f.Want)) || (!onItsWay(f, p) && phaseOf(p) != phaseUnresolved) {
			continue
		}
		return Decision{
			Step: StepQueue, Purchase: p, Reason: v1alpha1.ReasonEndpointChanged, LookAgain: wakeUp,
			Message: fmt.Sprintf("RegfishPurchase %s for this Certificate was begun at %s, and spec.url of %s is %s now: set spec.url back, or finish or cancel that order at regfish.",
				p.Name, p.Spec.Endpoint, f.Want.Issuer, f.Want.Endpoint),
		}, true
	}
	return Decision{}, false
}

// onItsWay reports whether p may still come to something: it was placed and has
// not ended, or it was not placed and its request still wants it.
func onItsWay(f Facts, p *v1alpha1.RegfishPurchase) bool {
	switch phaseOf(p) {
	case phaseUnplaced, phaseSpent:
		_, uid := requestOf(p)
		return uid != f.Want.Beneficiary.RequestUID && f.Live[uid]
	case phasePlaced:
		return !failed(p) && (!issued(p) || (held(p) && running(p, f.Now)))
	default:
		return false
	}
}

// bounds: a Certificate that is bought again and again, or whose last order came
// to nothing, is a question for a person.
func bounds(f Facts) (Decision, bool) {
	var placed []time.Time
	var last *v1alpha1.RegfishPurchase
	for _, p := range f.own() {
		if ph := phaseOf(p); !inBounds(p, f.Want, f.Now) || (ph != phasePlaced && ph != phaseAbandoned) {
			continue
		}
		if last == nil {
			last = p
		}
		for _, a := range p.Spec.Attempts {
			if gotOrder(&a) && f.Now.Sub(a.Time.Time) < actionWindow {
				placed = append(placed, a.Time.Time)
			}
		}
		for _, r := range p.Spec.Reissues {
			if taken(&r) && f.Now.Sub(r.Time.Time) < actionWindow {
				placed = append(placed, r.Time.Time)
			}
		}
	}
	if len(placed) >= maxActions {
		slices.SortFunc(placed, time.Time.Compare)
		return Decision{
			Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: placed[len(placed)-maxActions].Add(actionWindow).Sub(f.Now),
			questions: []question{{
				// Those that only age change nothing in what is asked.
				cause:  fmt.Sprintf("%d or more certificates were bought or reissued for these names within 24 hours (the last at %s), so nothing is sent until fewer of them are younger than a day.", maxActions, joinTimes(placed)),
				advice: "The usual causes are two writers of one Secret, and a renewBefore that is as long as the certificate lives.",
				verbs:  "purchase to buy before that",
			}},
		}, true
	}
	switch {
	case last != nil && phaseOf(last) == phaseAbandoned:
		return Decision{
			Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp,
			questions: []question{{
				cause: fmt.Sprintf("a person gave the last purchase for these names up, RegfishPurchase %s.", last.Name),
				verbs: "purchase to buy anew",
			}},
		}, true
	case last != nil && failed(last) && !wasIssued(last):
		return Decision{
			Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp,
			questions: []question{{
				cause:  fmt.Sprintf("the last order for these names, %s, was placed and ended without a certificate.", last.Spec.CertificateID),
				advice: fmt.Sprintf("Find out why at regfish (%s).", strings.TrimSuffix(regfish.Sanitise(last.Status.Message, 400), ".")),
				verbs:  "purchase to buy anew",
			}},
		}, true
	}
	return Decision{}, false
}

func joinTimes(ts []time.Time) string {
	var s []string
	for _, t := range ts[max(0, len(ts)-maxActions):] {
		s = append(s, t.UTC().Format("15:04:05Z"))
	}
	return strings.Join(s, ", ")
}

// issuerReady: nothing is bought with an issuer that is not Ready.
func issuerReady(f Facts) (Decision, bool) {
	if f.Issuer == nil {
		return Decision{}, false
	}
	return Decision{Step: StepQueue, Reason: f.Issuer.Reason, Message: f.Issuer.Message}, true
}

// unclaimed: a certificate or order in the account that shares a name and is in
// no record is never ignored. After a restore it is what this cluster paid for.
func unclaimed(f Facts) (Decision, bool) {
	if f.Baseline == nil {
		return Decision{}, false
	}
	// What can be taken is looked for before what has to be asked about.
	for i := range f.Baseline.Unclaimed {
		c := &f.Baseline.Unclaimed[i]
		if c.Leaf == nil {
			continue
		}
		sum, err := pki.KeySHA256(c.Leaf.PublicKey)
		names := pki.CertificateNames(c.Leaf)
		if !pki.Covers(names, f.Want.Request.DNSNames) || len(pki.Foreign(names, f.Want.Request.DNSNames)) > 0 {
			// It could not be handed to this request.
			continue
		}
		ours := err == nil && sum == f.Want.Request.KeySHA256
		switch {
		case ours && !revoked(c.Certificate) && fresh(f, c.Leaf.NotBefore, c.Leaf.NotAfter):
			return Decision{Step: StepImport, Candidate: c, Reason: v1alpha1.ReasonAdopted, Message: fmt.Sprintf("the account already has %s for this key, so nothing is bought.", c.Certificate.ID)}, true
		case c.Earlier != nil:
			return Decision{Step: StepImport, Candidate: c, Reason: v1alpha1.ReasonAdopted, Message: fmt.Sprintf("%s was handed to an earlier request of this Certificate and is taken into the ledger again.", c.Certificate.ID)}, true
		}
	}
	var asked []Candidate
	for _, c := range f.Baseline.Unclaimed {
		switch {
		case ended(c.Certificate), f.foreign(c.Certificate.ID):
			// It came to nothing, or is over, or a person knows whose it is.
		case c.Of != "":
			return Decision{
				Step: StepWait, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: f.unhurried(),
				Message: fmt.Sprintf("waits for RegfishPurchase %s: order %s, which shares a name with this request, may be its, and that has to be known first; that purchase says who has to act.", c.Of, regfish.Sanitise(c.Certificate.ID, 64)),
			}, true
		case pending(c.Certificate), supersedes(f, &c):
			asked = append(asked, c)
		}
	}
	if len(asked) == 0 {
		return Decision{}, false
	}
	// Two lists of one account may have different orders.
	slices.SortFunc(asked, func(a, b Candidate) int { return strings.Compare(a.Certificate.ID, b.Certificate.ID) })
	return Decision{
		Step: StepHold, Reason: v1alpha1.ReasonUnclaimedOrder, LookAgain: lastRetry,
		questions: []question{{
			cause:  fmt.Sprintf("the account has orders or certificates for the names of this request that are in no record of this ledger and may have been bought for it: %s.", named(asked)),
			advice: "Find out whose they are, before another one is paid for; what is nobody's can be cancelled at regfish. It is looked at again every hour.",
			verbs:  "adopt:<id> to use one, or purchase to buy all the same and never ask about them again",
		}},
	}, true
}

// unhurried is the pause of a wait that no event ends, and each look at which reads the
// whole account: a tenth of how long the request has waited, within bounds.
func (f Facts) unhurried() time.Duration {
	if f.Asked.IsZero() {
		return wakeUp
	}
	return min(earlyLook, max(wakeUp, f.Now.Sub(f.Asked)/10))
}

// supersedes reports whether the issued candidate may be the outcome of a
// purchase that this ledger lost: it is for exactly the wanted names, what was
// paid for is still running, and it does not begin before the newest contract the
// ledger knows, or, without one, before the Certificate was created, which is not the
// authority's date: authorities date certificates back, some to the midnight before.
func supersedes(f Facts, c *Candidate) bool {
	names := c.Certificate.Names()
	if c.Leaf != nil {
		names = pki.CertificateNames(c.Leaf)
	}
	if !pki.Covers(names, f.Want.Request.DNSNames) || len(pki.Foreign(names, f.Want.Request.DNSNames)) > 0 {
		return false
	}
	begin, end := c.Certificate.ContractValidFrom, c.Certificate.ContractValidUntil
	if begin == nil {
		begin = c.Certificate.ValidFrom
	}
	if end == nil {
		end = c.Certificate.ValidUntil
	}
	if c.Leaf != nil && begin == nil {
		begin = &c.Leaf.NotBefore
	}
	if c.Leaf != nil && end == nil {
		end = &c.Leaf.NotAfter
	}
	if end != nil && !end.After(f.Now) {
		return false
	}
	var newest time.Time
	for _, p := range numbered(f.Purchases) {
		if !sameNames(p, f.Want) {
			continue
		}
		for _, t := range []*metav1.Time{p.Status.ContractNotBefore, p.Status.NotBefore} {
			if t != nil && t.After(newest) {
				newest = t.Time
			}
		}
	}
	if newest.IsZero() && f.Certificate != nil {
		newest = f.Certificate.CreationTimestamp.Add(-pki.MaxBackdate)
	}
	// Without a begin nothing excludes it.
	return begin == nil || !begin.Before(newest)
}

// fresh reports whether a certificate with these dates may be handed out again: it is not
// due to be replaced.
func fresh(f Facts, notBefore, notAfter time.Time) bool {
	if notBefore.IsZero() || notAfter.IsZero() {
		// The dates are only known once the certificate was fetched.
		return true
	}
	at := f.due(notBefore, notAfter)
	if at.IsZero() {
		// cert-manager never renews it: it serves for as long as it lives.
		at = notAfter
	}
	return f.Now.Before(at)
}
