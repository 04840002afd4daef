// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// Delivery is how the hand-over of an issued certificate went. At most one of
// its fields is set beside the dates.
type Delivery struct {
	// Done says that the request has the certificate.
	Done bool
	// Refused is why the certificate may not be published.
	Refused string
	// Later is what the hand-over waits for.
	Later string
	// SerialNumber, NotBefore and NotAfter of the certificate, when Done.
	SerialNumber        string
	NotBefore, NotAfter *metav1.Time
}

// OrderFacts is what the status of an order is made of.
type OrderFacts struct {
	// Want is what is asked for; its issuer part may be empty.
	Want Want
	// Decision for the request, and Now is when it was made.
	Decision Decision
	Now      time.Time
	// Contenders are the purchases that want a record at a name of the decision's
	// purchase.
	Contenders []Contender
	// ReplacesNotAfter is when the certificate that the request is to replace expires.
	ReplacesNotAfter *metav1.Time
	// Delivery is set when the decision was to deliver.
	Delivery *Delivery
}

// OrderStatus returns the status of an order. It is computed anew from the facts
// every time; only transition times are carried over from before.
func OrderStatus(before v1alpha1.OrderStatus, f OrderFacts) v1alpha1.OrderStatus {
	d := f.Decision
	s := v1alpha1.OrderStatus{Conditions: before.DeepCopy().Conditions, CommonName: f.Want.Request.CommonName}
	c := conditions{}
	s.Plan = planOf(d, f.Want)
	p := d.Purchase
	// What belongs to another lineage is named and not shown: it may be another
	// tenant's.
	shown := p != nil && (serves(p, f.Want) || inLineage(p, f.Want, f.Now))
	if p != nil {
		s.PurchaseRef = &v1alpha1.PurchaseRef{Name: p.Name}
	}
	var ps v1alpha1.PurchaseStatus
	if shown {
		ps = p.Status
		if len(ps.Conditions) == 0 {
			ps = Observe(p, Observation{WriterAlive: true, RequestLive: true})
		}
		s.PurchaseRef.CertificateID = p.Spec.CertificateID
		s.Plan.SKU, s.Plan.ValidityDays = p.Spec.SKU, p.Spec.ValidityDays
		s.Vendor, s.CompletionURL = ps.Vendor, ps.CompletionURL
		s.ContractNotAfter = ps.ContractNotAfter
		if d.brings(p) {
			s.SerialNumber, s.NotBefore, s.NotAfter = ps.SerialNumber, ps.NotBefore, ps.NotAfter
		}
	}
	c.copy(ps.Conditions, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	c.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
	c.set(v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "the certificate is not there yet.")
	published(&s, c, f, shown)

	switch d.Step {
	case StepFollow, StepDeliver:
		c.copy(ps.Conditions, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonPlacing, "the order is being sent to regfish.")
		c.copy(ps.Conditions, v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
		if issued := meta.FindStatusCondition(ps.Conditions, v1alpha1.ConditionIssued); issued != nil {
			c.set(v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, issued.Message)
		}
		if f.Delivery != nil {
			deliver(&s, c, *f.Delivery)
		}
	case StepHold:
		c.set(v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonNotDecided, "nothing was sent.")
		c.set(v1alpha1.ConditionHeld, metav1.ConditionTrue, d.Reason, d.Message)
	case StepFail:
		if p != nil && p.Spec.CertificateID != "" {
			c.copy(ps.Conditions, v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonPurchased, "the order was placed.")
		} else {
			c.set(v1alpha1.ConditionPlaced, metav1.ConditionFalse, d.Reason, d.Message)
		}
		// Nobody is to set its records any more, in the place of those that others wait for.
		s.DCV, s.CompletionURL = nil, ""
		c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionUnknown, v1alpha1.ReasonRecordsPending, notServed)
		c.set(v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, d.Message)
	case StepBuy, StepRenew, StepReissue, StepRetry, StepImport:
		c.set(v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonNotDecided, d.Message)
	case StepWait, StepQueue:
		c.set(v1alpha1.ConditionPlaced, metav1.ConditionFalse, d.Reason, d.Message)
	}
	if lines(d.Reason) {
		s.ReplacesNotAfter = f.ReplacesNotAfter
	}
	c.apply(&s.Conditions)
	if s.State = stateOf(s.Conditions, nil, s.Vendor); s.State == v1alpha1.StateEnded {
		s.State = v1alpha1.StateFailed
	}
	s.Message = sentence(s.Conditions)
	if shown && d.Step == StepFollow {
		s.Message = cmp.Or(unfollowed(p, ps), s.Message)
	}
	return s
}

// Handed returns the status of an order whose request has its certificate, whatever the
// order said before: the process may have died between the two writes.
func Handed(before v1alpha1.OrderStatus, d Delivery) v1alpha1.OrderStatus {
	s := *before.DeepCopy()
	s.DCV, s.CompletionURL = nil, ""
	c := conditions{}
	c.set(v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonPurchased, "regfish took the order.")
	c.copy(before.Conditions, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	if c[v1alpha1.ConditionActionRequired].Status == metav1.ConditionTrue {
		c.set(v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonCompleted, "a person acted at regfish, and the order went on.")
	}
	c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionTrue, v1alpha1.ReasonPublished, "the names were validated.")
	deliver(&s, c, d)
	if placed := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionPlaced); placed != nil && placed.Status == metav1.ConditionTrue {
		c.set(placed.Type, placed.Status, placed.Reason, placed.Message)
	}
	c.apply(&s.Conditions)
	s.State = stateOf(s.Conditions, nil, s.Vendor)
	s.Message = sentence(s.Conditions)
	return s
}

// notServed is why an order shows no records.
const notServed = "no records are published for a request that is not served any more."

// Denied returns the status of an order whose request was denied after it was approved.
// What was bought goes on, and nobody is asked to act for it here any more.
func Denied(before v1alpha1.OrderStatus) v1alpha1.OrderStatus {
	return unserved(before, "the request was denied.")
}

// Failed returns the status of an order whose request was answered with a failure,
// whatever the order says: another process may have shown what it knew of an earlier
// time, and what an answered request shows is not looked at again.
func Failed(before v1alpha1.OrderStatus, message string) v1alpha1.OrderStatus {
	return unserved(before, message)
}

func unserved(before v1alpha1.OrderStatus, message string) v1alpha1.OrderStatus {
	s := *before.DeepCopy()
	s.DCV, s.CompletionURL = nil, ""
	c := conditions{}
	c.copy(before.Conditions, v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonNotDecided, "nothing was sent.")
	c.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
	c.set(v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionUnknown, v1alpha1.ReasonRecordsPending, notServed)
	c.set(v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, message)
	c.apply(&s.Conditions)
	s.State, s.Message = v1alpha1.StateFailed, bound(message)
	return s
}

// published says whose turn it is to publish which records.
func published(s *v1alpha1.OrderStatus, c conditions, f OrderFacts, shown bool) {
	p := f.Decision.Purchase
	if !shown || p.Status.DCV == nil {
		if shown && issued(p) {
			c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionTrue, v1alpha1.ReasonPublished, "the names were validated.")
			return
		}
		c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionUnknown, v1alpha1.ReasonRecordsPending, "regfish has named no validation records yet.")
		return
	}
	mine, other, at := Turn(p, f.Contenders)
	s.DCV = &v1alpha1.DCVStatus{Method: p.Status.DCV.Method, Records: mine, Emails: p.Status.DCV.Emails}
	if other != nil {
		c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionFalse, v1alpha1.ReasonWaitingForName,
			fmt.Sprintf("waits for the name %s, where purchase %s needs another record first; its turn comes when that one is issued or ended.", at, other.Name))
		return
	}
	if len(mine) == 0 && len(s.DCV.Emails) > 0 {
		c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionFalse, v1alpha1.ReasonAwaitingEmail,
			fmt.Sprintf("the certificate authority sent a mail to %s: somebody who reads it has to follow the link in it.", someOf(s.DCV.Emails)))
		return
	}
	if len(mine) == 0 {
		c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionUnknown, v1alpha1.ReasonRecordsPending, "regfish has named no validation records yet.")
		return
	}
	first := mine[0]
	more := ""
	if len(mine) > 1 {
		more = fmt.Sprintf(", and %d more in status.dcv.records", len(mine)-1)
	}
	c.set(v1alpha1.ConditionValidationPublished, metav1.ConditionFalse, v1alpha1.ReasonAwaitingDNS,
		fmt.Sprintf("set %s %s %s in DNS%s: your DNS automation or a person has to do it; this controller does not (dcv.publisher: %s).",
			first.Name, first.Type, first.Value, more, f.Want.Publisher))
}

// deliver says how the hand-over went.
func deliver(s *v1alpha1.OrderStatus, c conditions, d Delivery) {
	switch {
	case d.Done:
		s.SerialNumber, s.NotBefore, s.NotAfter = d.SerialNumber, d.NotBefore, d.NotAfter
		c.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
		c.set(v1alpha1.ConditionIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued, "the certificate was verified and handed to the request.")
	case d.Refused != "":
		c.set(v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonCertificateRefused, d.Refused)
	case d.Later != "":
		c.set(v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, d.Later)
	}
}

// brings reports whether what the status of p says of a certificate is about the one that
// the decision leads to, and not about one that is to be replaced.
func (d Decision) brings(p *v1alpha1.RegfishPurchase) bool {
	return (d.Step == StepFollow || d.Step == StepDeliver || d.Step == StepFail) && openReissue(p) == nil
}

// planOf says what was decided and why. What is under way shows why it was begun.
func planOf(d Decision, w Want) *v1alpha1.Plan {
	plan := &v1alpha1.Plan{Action: v1alpha1.ActionNew, SKU: w.SKU, ValidityDays: w.ValidityDays, Reason: bound(d.Message)}
	p := d.Purchase
	var r *v1alpha1.Reissue
	if p != nil {
		r, _ = madeFor(p, w)
	}
	switch {
	case d.Step == StepReissue:
		plan.Action, plan.SourceCertificateID = v1alpha1.ActionReissue, p.Spec.CertificateID
	case d.Step == StepRenew:
		plan.Action, plan.SourceCertificateID = v1alpha1.ActionRenew, d.Source.Spec.CertificateID
	case d.Step == StepImport:
		plan.Action = v1alpha1.ActionImport
	case p == nil, d.Step != StepFollow && d.Step != StepDeliver && d.Step != StepFail && d.Step != StepRetry:
	case d.Step == StepDeliver && beneficiaryOf(p, r).RequestUID != w.Beneficiary.RequestUID && p.Spec.Action != v1alpha1.ActionImport:
		plan.Action = v1alpha1.ActionHandOut
	case r != nil:
		plan.Action, plan.SourceCertificateID, plan.Reason = v1alpha1.ActionReissue, p.Spec.CertificateID, cmp.Or(r.Reason, plan.Reason)
	default:
		plan.Action, plan.SourceCertificateID, plan.Reason = p.Spec.Action, p.Spec.SourceCertificateID, cmp.Or(p.Spec.Reason, plan.Reason)
	}
	return plan
}

// conditions are the conditions a status is to have, by type. The last word on a type
// counts, and only that is written: a condition that changes on the way to what it was
// would lose the time since when it is so, and make a write of every look.
type conditions map[string]metav1.Condition

func (c conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	c[kind] = metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bound(message)}
}

// copy takes a condition over from another object, or the given one if that has
// none.
func (c conditions) copy(from []metav1.Condition, kind string, status metav1.ConditionStatus, reason, message string) {
	if found := meta.FindStatusCondition(from, kind); found != nil {
		status, reason, message = found.Status, found.Reason, found.Message
	}
	c.set(kind, status, reason, message)
}

// apply writes them, in the order in which people read them.
func (c conditions) apply(list *[]metav1.Condition) {
	for _, condition := range c {
		meta.SetStatusCondition(list, condition)
	}
	arrange(*list)
}
