// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxNamed is the most candidates that a message names.
const maxNamed = 5

// asOurs marks the condition of an order that is followed and not proved yet.
const asOurs = "it is followed as this purchase's"

// ofAnother reports whether the status of p may describe an order that was followed as the
// purchase's and is not any more. Nothing of that may be left: its records would be set and
// its page opened as if they were ours.
func ofAnother(p *v1alpha1.RegfishPurchase) bool {
	if p.Spec.CertificateID == "" {
		return phaseOf(p) != phaseUnresolved
	}
	placed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionPlaced)
	return placed != nil && strings.Contains(placed.Message, asOurs)
}

// seek says whether the order of p, whose outcome is unknown, stands at regfish.
func seek(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	before := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionPlaced)
	switch {
	case o.followed() != nil:
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonAdopted, fmt.Sprintf(
			"order %s was found in the account and has the names of attempt %d, whose answer was lost; %s, which its key has to prove once it is issued.",
			regfish.Sanitise(o.followed().ID, 64), lastUnresolved(p).Number, asOurs))
	case o.Search != nil:
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, unknownOutcome(p)+searchMessage(p, o.Search))
	case before != nil && (about(before, p) || before.Reason == v1alpha1.ReasonAdopted):
		// What an earlier process found out stands until this one has looked.
	case o.WriterAlive:
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonPlacing, "the order is being sent to regfish.")
	default:
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, unknownOutcome(p)+"; the account is looked at for it, and nobody has to act.")
	}
}

// Unresolved reports whether it is not known what became of an order of p.
func Unresolved(p *v1alpha1.RegfishPurchase) bool { return phaseOf(p) == phaseUnresolved }

// NotFoundLast reports whether the last order of p was looked for and not found.
func NotFoundLast(p *v1alpha1.RegfishPurchase) bool {
	a := lastAttempt(p)
	return a != nil && a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionNotFound
}

// about reports whether the condition is about the attempt of p that is looked for.
func about(c *metav1.Condition, p *v1alpha1.RegfishPurchase) bool {
	return strings.HasPrefix(c.Message, bound(unknownOutcome(p)))
}

// unknownOutcome begins every sentence about an order whose outcome is unknown.
func unknownOutcome(p *v1alpha1.RegfishPurchase) string {
	a := lastUnresolved(p)
	why := "the process that sent it ended before its answer was recorded"
	if a.Outcome != nil {
		why = cmp.Or(strings.TrimSuffix(regfish.Sanitise(a.Outcome.Message, 200), "."), "the answer cannot be understood")
	}
	return fmt.Sprintf("regfish may or may not have taken the order of attempt %d, begun at %s (%s)", a.Number, utc(a.Time.Time), why)
}

// searchMessage ends that sentence with what is waited for and who has to act.
func searchMessage(p *v1alpha1.RegfishPurchase, s *Search) string {
	switch {
	case s.Finding == Undecided && accepted(p):
		return ". " + decide(p)
	case s.Finding == Undecided && len(s.Candidates) > 0:
		return fmt.Sprintf(", and it cannot be told whether it is one of these orders of the account: %s. %s", named(s.Candidates), decide(p))
	case s.Finding == Undecided && s.Writer != "":
		return fmt.Sprintf(", and %s, which sent it, is still there after 24 hours. %s", s.Writer, decide(p))
	case s.Finding == Undecided:
		return fmt.Sprintf(", and for 24 hours no list of the account could show that there is none: %s. %s", s.Gap, decide(p))
	case s.Gap != "":
		return fmt.Sprintf("; no list of the account could show yet whether it was placed (%s). It is looked at again by itself, and a person is asked if that goes on until %s.", s.Gap, utc(s.Blind.Add(blindFor)))
	case len(s.Candidates) > 0:
		return fmt.Sprintf("; order %s may be it, and the account is looked at until %s to tell (%d of %d looks done), and nobody has to act.", named(s.Candidates), utc(s.Until), min(s.Readings, looks), looks)
	case s.Writer != "" && s.Counted >= looks:
		return fmt.Sprintf("; no order is found, and it counts as never placed once %s, which sent it, is gone. Nothing has to be done; a person is asked if that takes until %s.", s.Writer, utc(s.Begun.Add(blindFor)))
	}
	return fmt.Sprintf("; the account is looked at until %s (%d of %d looks done), and nobody has to act.", utc(s.Until), min(s.Counted, looks), looks)
}

// decide says how a person decides what is to become of p.
func decide(p *v1alpha1.RegfishPurchase) string {
	return fmt.Sprintf("A person has to decide, and to annotate RegfishPurchase %s with %s=adopt:<id> if an order in the account is it, retry:%d to order once more, or abandon. Nothing is bought meanwhile.",
		p.Name, v1alpha1.AnnotationResolve, lastAttempt(p).Number)
}

// named names the candidates, not too many of them.
func named(candidates []Candidate) string {
	var names []string
	for _, c := range candidates[:min(len(candidates), maxNamed)] {
		status := regfish.Sanitise(c.Certificate.Status, 32)
		if c.Gone {
			status += ", not in the account any more"
		}
		names = append(names, fmt.Sprintf("%s (%s)", regfish.Sanitise(c.Certificate.ID, 64), status))
	}
	if more := len(candidates) - maxNamed; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// nothingPlaced says on what grounds it is known that the attempt placed no order.
func nothingPlaced(a *v1alpha1.Attempt) string {
	why := strings.TrimSuffix(a.Outcome.Message, ".")
	if a.ReleaseTime != nil {
		return fmt.Sprintf("attempt %d was not answered (%s), and a person licensed another one", a.Number, why)
	}
	if a.Resolution != nil {
		return fmt.Sprintf("attempt %d was not answered (%s) and placed no order: %s", a.Number, why, strings.TrimSuffix(a.Resolution.Message, "."))
	}
	return fmt.Sprintf("attempt %d placed no order: %s", a.Number, why)
}

// spentMessage is for a purchase whose attempts are as many as are made without asking.
func spentMessage(p *v1alpha1.RegfishPurchase) string {
	return fmt.Sprintf("%s. No more than %d attempts that get no answer, or %d that fail at regfish, are made without asking. A person has to decide, and to annotate RegfishPurchase %s with %s=retry:%d to order once more, or abandon.",
		nothingPlaced(lastAttempt(p)), maxSilent, maxUnheard, p.Name, v1alpha1.AnnotationResolve, lastAttempt(p).Number)
}

// givenUp is for a purchase that a person gave up.
func givenUp(p *v1alpha1.RegfishPurchase) string {
	message := fmt.Sprintf("a person gave this purchase up at %s, and nothing is sent for it any more.", utc(p.Spec.AbandonTime.Time))
	switch {
	case p.Spec.CertificateID != "":
		message += fmt.Sprintf(" Order %s stands at regfish: cancel it there if nobody needs it.", p.Spec.CertificateID)
	case lastUnresolved(p) != nil:
		message += fmt.Sprintf(" Whether regfish took the order of attempt %d is not known: cancel it there if it shows in the account.", lastUnresolved(p).Number)
	}
	return message
}

// endOf is when it was known that the attempt placed nothing.
func endOf(a *v1alpha1.Attempt) time.Time {
	if a.ReleaseTime != nil {
		return a.ReleaseTime.Time
	}
	if a.Resolution != nil {
		return a.Resolution.Time.Time
	}
	return a.Outcome.Time.Time
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
