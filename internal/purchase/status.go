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
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxMessage bounds the sentence of a status or condition, in bytes.
const maxMessage = 1024

// Observation is what is known of a purchase beyond its record and its last
// status. At most one of Vendor, NotFound and Unread is set.
type Observation struct {
	// Vendor is the vendor's answer; nil if it was not asked.
	Vendor *regfish.Certificate
	// NotFound says that the vendor does not know the id; Key names the Secret
	// whose key was used, for the message.
	NotFound bool
	Key      string
	// Unread is why the vendor could not be asked.
	Unread *IssuerProblem
	// WriterAlive says that the process that made the unresolved attempt may
	// still be sending it.
	WriterAlive bool
	// Search is what looking for an order whose outcome is unknown has come to; nil if
	// this process did not look yet.
	Search *Search
	// OtherCluster says that another cluster holds the purchase.
	OtherCluster bool
	// RequestLive says that the request of the last attempt is still to be served.
	RequestLive bool
	// Unwanted says that no order shows the purchase.
	Unwanted bool
	// MayShow decides whether a completion URL may be shown to people.
	MayShow func(completionURL string) bool
}

// looked reports whether the vendor was to be asked.
func (o Observation) looked() bool { return o.Vendor != nil || o.Unread != nil || o.NotFound }

// followed is the order that is followed although its key has not proved yet that it is
// the purchase's; nil if there is none.
func (o Observation) followed() *regfish.Certificate {
	if o.Search == nil || o.Search.Finding != Followed {
		return nil
	}
	return &o.Search.Found.Certificate
}

// followedID is the id of the order that is followed; empty if none is.
func (o Observation) followedID() string {
	if c := o.followed(); c != nil {
		return regfish.Sanitise(c.ID, maxID)
	}
	return ""
}

// Observe returns the status of p. It carries over what the present observation
// says nothing about.
func Observe(p *v1alpha1.RegfishPurchase, o Observation) v1alpha1.PurchaseStatus {
	s := *p.Status.DeepCopy()
	if o.Search != nil {
		o.Vendor = o.followed()
	}
	fresh := o.Search != nil || ofAnother(p)
	if fresh {
		s = v1alpha1.PurchaseStatus{Conditions: s.Conditions, BeneficiaryGoneSince: s.BeneficiaryGoneSince}
	}
	if o.Vendor != nil {
		mirror(&s, o.Vendor, openReissue(p) != nil, o.MayShow)
	}
	if o.OtherCluster {
		readOnly(&s, p)
	} else {
		place(&s, p, o)
		hold(&s, p, o)
		action(&s, o, fresh)
		issue(&s, p, o)
	}
	s.State = stateOf(s.Conditions, s.DCV, s.Vendor)
	s.Message = sentence(s.Conditions)
	if o.Unread != nil && p.Spec.CertificateID != "" && s.State != v1alpha1.StateIssued && s.State != v1alpha1.StateFailed {
		s.Message = bound(o.Unread.Message)
	}
	s.Reissues = 0
	for i := range p.Spec.Reissues {
		if taken(&p.Spec.Reissues[i]) {
			s.Reissues++
		}
	}
	if id := cmp.Or(p.Spec.CertificateID, o.followedID()); o.Unwanted && o.Unread == nil && id != "" && !resting(s.Conditions) {
		s.Message = bound(unwantedMessage(p, s, id))
	}
	arrange(s.Conditions)
	return s
}

// unwantedMessage is for a purchase that is paid for and that no request waits
// for any more: it goes on, and nobody publishes its records. While its key has not proved
// that the order with the id is its own, every order for the same names waits for it.
func unwantedMessage(p *v1alpha1.RegfishPurchase, s v1alpha1.PurchaseStatus, id string) string {
	if openReissue(p) != nil {
		return fmt.Sprintf("no request wants the reissue of %s any more, and nobody publishes its validation records: the next request of its Certificate does, and until then the certificate before it stands.", p.Spec.CertificateID)
	}
	until := ""
	if s.Vendor != nil && s.Vendor.CancellableUntil != nil {
		until = " by " + s.Vendor.CancellableUntil.UTC().Format(time.RFC3339)
	}
	again := fmt.Sprintf("Certificate %s/%s", p.Spec.Beneficiary.Namespace, p.Spec.Beneficiary.CertificateName)
	if p.Spec.Beneficiary.CertificateName == "" {
		again = fmt.Sprintf("CertificateRequest %s/%s with the same key", p.Spec.Beneficiary.Namespace, p.Spec.Beneficiary.RequestName)
	}
	if p.Spec.CertificateID == "" {
		return fmt.Sprintf("order %s may be this purchase's, no request wants it any more, and every other order for its names waits until it is issued or ended: cancel it at regfish%s, create %s again, or give the purchase up with the annotation %s: abandon.", id, until, again, v1alpha1.AnnotationResolve)
	}
	return fmt.Sprintf("no request wants order %s any more, and nobody publishes its validation records: cancel it at regfish%s, or create %s again.", id, until, again)
}

// unfollowed is why the order of p cannot be followed just now, if its status says so: what
// the conditions say is from before, and may ask nobody to act.
func unfollowed(p *v1alpha1.RegfishPurchase, s v1alpha1.PurchaseStatus) string {
	if p.Spec.CertificateID == "" || s.Message == sentence(s.Conditions) || s.Message == bound(unwantedMessage(p, s, p.Spec.CertificateID)) {
		return ""
	}
	return s.Message
}

// mirror copies what the vendor says, bounded and sanitised: none of it is
// trusted to be short or printable. reissuing says that the records of a reissue are to be
// set: those of the order may stay after it was issued.
func mirror(s *v1alpha1.PurchaseStatus, c *regfish.Certificate, reissuing bool, mayShow func(string) bool) {
	s.Vendor = &v1alpha1.Vendor{
		Status:           regfish.Sanitise(c.Status, 64),
		OrderState:       regfish.Sanitise(c.OrderState, 64),
		PendingReason:    regfish.Sanitise(c.PendingReason, 64),
		PendingMessage:   regfish.Sanitise(c.PendingMessage, 256),
		Provider:         regfish.Sanitise(c.Provider, 64),
		CancellableUntil: metaTime(c.OrderCancellableUntil),
	}
	s.CompletionURL = ""
	if c.ActionRequired && c.CompletionURL != "" && mayShow != nil && mayShow(c.CompletionURL) {
		s.CompletionURL = c.CompletionURL
	}
	s.SerialNumber = serial(c.SerialNumber)
	s.NotBefore, s.NotAfter = metaTime(c.ValidFrom), metaTime(c.ValidUntil)
	s.ContractNotBefore, s.ContractNotAfter = metaTime(c.ContractValidFrom), metaTime(c.ContractValidUntil)
	s.DCV = nil
	if c.Reissue != nil {
		s.Vendor.ReissueStatus = regfish.Sanitise(c.Reissue.Status, 64)
	}
	v := c.Validation
	switch {
	case reissuing && c.Reissue.Active():
		v = c.Reissue.Validation
	case !pending(*c):
		v = nil
	}
	if v != nil {
		if records, emails := Records(*v), targets(*v); len(records)+len(emails) > 0 {
			s.DCV = &v1alpha1.DCVStatus{Method: v1alpha1.DCVMethodCNAME, Records: records, Emails: emails}
			if len(records) == 0 {
				s.DCV.Method = v1alpha1.DCVMethodEmail
			}
		}
	}
}

// serial is the serial number in the spelling that openssl and browsers agree on but
// for colons and case: the vendor's spelling is documented nowhere. What is no
// hexadecimal number stays as it is.
func serial(vendor string) string {
	s := regfish.Sanitise(vendor, 128)
	hex := strings.ToLower(strings.ReplaceAll(s, ":", ""))
	if strings.Trim(hex, "0123456789abcdef") != "" {
		return s
	}
	return strings.TrimLeft(hex, "0")
}

// maxRecords is the most validation records that a status shows.
const maxRecords = 250

// Records are the validation records of v in the one form that is shown and
// compared: absolute names in lower case with a trailing dot, no duplicates. The
// vendor writes them with and without the dot. A record that cannot stand in a
// status is left out.
func Records(v regfish.Validation) []v1alpha1.DNSRecord {
	var out []v1alpha1.DNSRecord
	seen := map[v1alpha1.DNSRecord]bool{}
	for _, r := range v.DNSRecords {
		rec := v1alpha1.DNSRecord{Name: absolute(r.Name), Type: strings.ToUpper(strings.TrimSpace(r.Type)), Value: absolute(r.Value)}
		if !isName(rec.Name, 255) || !isName(rec.Value, 512) || !isName(rec.Type, 16) || seen[rec] || len(out) == maxRecords {
			continue
		}
		seen[rec] = true
		out = append(out, rec)
	}
	return out
}

// maxTargets is the most mail addresses that a status shows.
const maxTargets = 50

// targets are the addresses that the certificate authority sent its mail to, without
// duplicates. What cannot be an address is left out.
func targets(v regfish.Validation) []string {
	var out []string
	for _, t := range v.EmailTargets {
		t = strings.TrimSpace(t)
		if !isName(t, 254) || !strings.Contains(t, "@") || slices.Contains(out, t) || len(out) == maxTargets {
			continue
		}
		out = append(out, t)
	}
	return out
}

// isName reports whether s can be a part of a DNS record: printable ASCII without
// blanks. Vendor text that is not has no place in a status that automation reads.
func isName(s string, most int) bool {
	return s != "" && s != "." && len(s) <= most && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

func absolute(name string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".") + "."
}

func place(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	last := lastAttempt(p)
	ph := phaseOf(p)
	if ph == phaseAbandoned && p.Spec.CertificateID != "" {
		// Whatever a person decided, the order stands.
		ph = phasePlaced
	}
	switch ph {
	case phasePlaced:
		placedAs(s, p, o)
	case phaseAbandoned:
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonAbandoned, givenUp(p))
	case phaseUnresolved:
		seek(s, p, o)
	case phaseUnplaced, phaseSpent:
		if !o.RequestLive {
			set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, reasonOf(last), "nothing was bought, and the request that wanted it is gone: "+nothingPlaced(last))
			return
		}
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, reasonOf(last), nothingPlaced(last))
	case phaseRefused:
		reason, message := v1alpha1.ReasonRejected, "nothing was ever sent."
		if last != nil {
			reason, message = reasonOf(last), "nothing was bought: "+last.Outcome.Message
		}
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, reason, message)
	default: // phasePlan, phaseForeign: hold says why.
		if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionPlaced) == nil {
			set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonNotDecided, "nothing was sent.")
		}
	}
}

// placedAs says that the order of p stands at regfish, and how that is known.
func placedAs(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	id, last := p.Spec.CertificateID, lastAttempt(p)
	reason, message := v1alpha1.ReasonPurchased, "regfish took the order and named it "+id+"."
	if p.Spec.Action == v1alpha1.ActionRenew {
		reason, message = v1alpha1.ReasonRenewed, fmt.Sprintf("regfish took the order as the renewal of %s and named it %s.", p.Spec.SourceCertificateID, id)
	}
	message = because(message, p.Spec.Reason)
	r := lastTaken(p)
	switch {
	case r != nil && inDoubt(r):
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, reissueInDoubt(p, r))
		return
	case r != nil:
		reason, message = v1alpha1.ReasonReissued, because(fmt.Sprintf("regfish took reissue %d of %s.", r.Number, id), r.Reason)
	case p.Spec.Action == v1alpha1.ActionImport:
		reason, message = v1alpha1.ReasonAdopted, id+" was in the account already and was taken into the ledger."
	case last != nil && last.Resolution != nil && last.Resolution.Result == v1alpha1.ResolutionAdopted:
		reason, message = v1alpha1.ReasonAdopted, fmt.Sprintf("the answer to attempt %d was lost, and its order was found in the account as %s: %s", last.Number, id, last.Resolution.Message)
	case !slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted }):
		reason, message = v1alpha1.ReasonAdopted, "a person decided that "+id+" is the order of this purchase."
	}
	if o.Unread != nil && o.Unread.Reason == v1alpha1.ReasonEndpointChanged {
		set(s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, o.Unread.Reason, o.Unread.Message)
		return
	}
	if before := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionPlaced); before != nil && before.Reason == v1alpha1.ReasonEndpointChanged && !o.looked() {
		return
	}
	set(s, v1alpha1.ConditionPlaced, metav1.ConditionTrue, reason, message)
}

// because adds to a sentence the one in which it was decided.
func because(message, reason string) string {
	if reason == "" {
		return message
	}
	return message + " Why: " + reason
}

// reasonOf is the reason of Placed for an attempt that bought nothing.
func reasonOf(a *v1alpha1.Attempt) string {
	switch {
	case a.Outcome.Final:
		return v1alpha1.ReasonRejected
	case a.Outcome.Result == v1alpha1.OutcomeRejected:
		return v1alpha1.ReasonIssuerNotReady
	}
	return v1alpha1.ReasonVendorUnavailable
}

func hold(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	before := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionHeld)
	switch phaseOf(p) {
	case phaseForeign:
		set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonUnknownRecord, "this record was written by another version of the controller; install the newer version again.")
		return
	case phasePlan:
		// Whoever makes a plan writes why.
		return
	case phaseUnplaced, phaseRefused, phaseAbandoned:
		// Nothing was bought, or a person decided, so there is nothing to decide.
	case phaseSpent:
		if o.RequestLive {
			set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonAmbiguousOutcome, spentMessage(p))
			return
		}
	case phaseUnresolved:
		if holdUnresolved(s, p, o, before) {
			return
		}
	case phasePlaced:
		if holdPlaced(s, p, o, before) {
			return
		}
	}
	set(s, v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
}

// holdUnresolved holds a purchase of which it cannot be told whether its order was placed, and
// reports whether it did or the hold stands.
func holdUnresolved(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation, before *metav1.Condition) bool {
	switch {
	case o.Search != nil && o.Search.Finding == Undecided:
		set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonAmbiguousOutcome, unknownOutcome(p)+searchMessage(p, o.Search))
		return true
	case (o.Search == nil || o.Search.Finding == Searching) && before != nil && before.Status == metav1.ConditionTrue && about(before, p):
		// A process that has just started did not look yet, or not as often.
		return true
	case o.Search == nil && accepted(p):
		set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonAmbiguousOutcome, unknownOutcome(p)+". "+decide(p))
		return true
	}
	return false
}

// holdPlaced holds a purchase whose order stands and cannot be followed, or whose certificate
// may not be published, and reports whether it did or the hold stands.
func holdPlaced(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation, before *metav1.Condition) bool {
	if o.NotFound {
		set(s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonNotFoundAtVendor,
			fmt.Sprintf("regfish does not know %s, which it named itself: the key in %s may belong to another account, and then the issuer's owner has to put a key of the right one there. Nothing is bought again; this clears itself once the id is found.", p.Spec.CertificateID, o.Key))
		return true
	}
	if o.Vendor == nil && before != nil && before.Status == metav1.ConditionTrue {
		return true
	}
	// A refused certificate stays refused until a delivery passes.
	if before != nil && before.Status == metav1.ConditionTrue && before.Reason == v1alpha1.ReasonCertificateRefused {
		return true
	}
	return false
}

// action says whether a person has to act at regfish. fresh says that what stood there may be
// of another order.
func action(s *v1alpha1.PurchaseStatus, o Observation, fresh bool) {
	before := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionActionRequired)
	switch {
	case o.Vendor == nil:
		if before == nil || fresh {
			set(s, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
		}
	case o.Vendor.ActionRequired && pending(*o.Vendor):
		where := "at " + s.CompletionURL
		switch {
		case s.CompletionURL != "":
		case o.Vendor.CompletionURL == "":
			where = "in the regfish console (regfish named no page)"
		default:
			where = "in the regfish console (the page that regfish named is withheld, because its host is neither under the endpoint's domain nor in --console-hosts)"
		}
		// The page comes last, with nothing after it that would be copied with it.
		message := "a person has to complete order " + regfish.Sanitise(o.Vendor.ID, 64)
		if s.Vendor.PendingMessage != "" {
			message += " (" + strings.TrimSuffix(s.Vendor.PendingMessage, ".") + ")"
		}
		if o.followed() != nil {
			message += " (found in the account; it is not proved yet that the order is this purchase's)"
		}
		message += " " + where
		set(s, v1alpha1.ConditionActionRequired, metav1.ConditionTrue, camelCase(o.Vendor.PendingReason), message)
	case before != nil && (before.Status == metav1.ConditionTrue || before.Reason == v1alpha1.ReasonCompleted) && (pending(*o.Vendor) || o.Vendor.Status == regfish.StatusIssued):
		set(s, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonCompleted, "a person acted at regfish, and the order goes on.")
	default:
		set(s, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	}
}

// camelCase turns the vendor's pending_reason into a condition reason. Anything
// that is no word of letters, digits and underscores becomes the general reason.
func camelCase(reason string) string {
	var b strings.Builder
	for _, part := range strings.Split(reason, "_") {
		for i, r := range part {
			switch {
			case r >= 'a' && r <= 'z' && i == 0:
				b.WriteRune(r - 'a' + 'A')
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9' && b.Len() > 0:
				b.WriteRune(r)
			default:
				return v1alpha1.ReasonCompletionRequired
			}
		}
	}
	if b.Len() == 0 || b.Len() > 64 {
		return v1alpha1.ReasonCompletionRequired
	}
	return b.String()
}

func issue(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	if phaseOf(p) == phasePlaced {
		issuePlaced(s, p, o)
		return
	}
	status, reason, message := metav1.ConditionUnknown, v1alpha1.ReasonPending, "no order is known to have been placed."
	switch phaseOf(p) {
	case phaseAbandoned:
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonFailed, givenUp(p)
	case phaseRefused:
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonFailed, "no order was placed."
	case phaseUnresolved:
		if o.followed() != nil {
			message = course(s, o.followed().ID)
		}
	case phaseUnplaced, phaseSpent:
		if !o.RequestLive {
			status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonFailed, "no order was placed, and nobody wants it any more."
		}
	case phasePlan, phaseForeign, phasePlaced:
	}
	set(s, v1alpha1.ConditionIssued, status, reason, message)
}

// issuePlaced says whether the certificate of an order that stands at regfish was issued.
func issuePlaced(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, o Observation) {
	v := o.Vendor
	if r := openReissue(p); r != nil && (v == nil || !closed(*v)) {
		set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, reissueCourse(s, p, r))
		return
	}
	if v == nil {
		// Only the vendor's word ends what was placed: what an earlier status says may be
		// of the time before.
		if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionIssued) == nil || s.Vendor == nil {
			set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "regfish was not asked yet.")
		}
		return
	}
	switch v.Status {
	case regfish.StatusExpired:
		set(s, v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, fmt.Sprintf("regfish says that certificate %s has expired.", p.Spec.CertificateID))
	case regfish.StatusIssued:
		if revoked(*v) {
			set(s, v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, fmt.Sprintf("regfish says that certificate %s is revoked, or about to be.", p.Spec.CertificateID))
			return
		}
		if v.CertificatePEMAvailable {
			set(s, v1alpha1.ConditionIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued, "regfish says that the certificate is issued.")
			return
		}
		set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "regfish says that the certificate is issued and does not deliver it yet.")
	case regfish.StatusCancelled, regfish.StatusOrderCancelled, regfish.StatusRejected:
		message := fmt.Sprintf("regfish says that order %s was %s", p.Spec.CertificateID, strings.TrimPrefix(v.Status, "order_"))
		if s.Vendor.PendingMessage != "" {
			message += ": " + s.Vendor.PendingMessage
		}
		set(s, v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, message)
	case regfish.StatusPending:
		set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, course(s, p.Spec.CertificateID))
	default:
		set(s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, fmt.Sprintf("regfish gives order %s the status %q, which this version does not know; it goes on asking.", p.Spec.CertificateID, s.Vendor.Status))
	}
}

// orderPendingApproval is the order_state of an order whose organization the certificate
// authority still has to check (a value that the vendor's own client knows). It only
// changes what is said.
const orderPendingApproval = "PENDING_APPROVAL"

// course is what an order that is under way waits for.
func course(s *v1alpha1.PurchaseStatus, id string) string {
	if meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionActionRequired) {
		return "waits until a person has completed order " + regfish.Sanitise(id, 64) + "."
	}
	var waits []string
	if s.DCV != nil && len(s.DCV.Records) > 0 {
		waits = append(waits, "until the validation records of order "+regfish.Sanitise(id, 64)+", which your DNS automation or a person sets, are seen in DNS")
	}
	if s.DCV != nil && len(s.DCV.Emails) > 0 {
		waits = append(waits, "until somebody follows the link in the mail that was sent to "+someOf(s.DCV.Emails))
	}
	if s.Vendor.OrderState == orderPendingApproval {
		waits = append(waits, "until the certificate authority has checked the organization, which may take days")
	}
	if len(waits) == 0 {
		return vendorWorks
	}
	return "waits " + strings.Join(waits, ", and ") + "."
}

const vendorWorks = "waits for regfish and the certificate authority; nobody has to act."

// someOf lists the first three.
func someOf(all []string) string {
	if len(all) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}

// pending reports whether nothing final was said about the certificate; an
// unknown status is not final.
func pending(c regfish.Certificate) bool {
	switch c.Status {
	case regfish.StatusIssued, regfish.StatusExpired, regfish.StatusCancelled, regfish.StatusOrderCancelled, regfish.StatusRejected:
		return false
	}
	return true
}

// revoked reports whether a revocation is done or under way.
func revoked(c regfish.Certificate) bool {
	return c.RevocationScope != "" || c.RevocationPendingScope != ""
}

// Usable reports whether a certificate that the vendor holds may be handed out:
// issued, deliverable, with no revocation done or under way.
func Usable(c regfish.Certificate) bool {
	return c.Status == regfish.StatusIssued && c.CertificatePEMAvailable && !revoked(c)
}

// issued reports whether there is a certificate to be had: none is while a reissue is under
// way, whatever an earlier look has left in the status.
func issued(p *v1alpha1.RegfishPurchase) bool {
	return openReissue(p) == nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionIssued)
}

func failed(p *v1alpha1.RegfishPurchase) bool {
	return openReissue(p) == nil && meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionIssued)
}

// wasIssued reports whether there was a certificate once, whatever became of it.
func wasIssued(p *v1alpha1.RegfishPurchase) bool {
	return p.Status.SerialNumber != "" || p.Status.NotAfter != nil || (p.Status.Vendor != nil && p.Status.Vendor.Status == regfish.StatusExpired)
}

func held(p *v1alpha1.RegfishPurchase) bool {
	return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld)
}

// Resting reports whether nothing more is expected from the vendor. An id that it does not
// know is asked for until it does, whatever is known of its certificate.
func Resting(p *v1alpha1.RegfishPurchase) bool {
	return openReissue(p) == nil && resting(p.Status.Conditions) && !lost(p)
}

// lost reports whether the vendor did not know the id when it was asked last.
func lost(p *v1alpha1.RegfishPurchase) bool {
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHeld)
	return c != nil && c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonNotFoundAtVendor
}

func resting(conditions []metav1.Condition) bool {
	issued := meta.FindStatusCondition(conditions, v1alpha1.ConditionIssued)
	return issued != nil && issued.Status != metav1.ConditionUnknown
}

// Refuse returns the status of p after its certificate was refused, or, with an
// empty message, after one was accepted.
func Refuse(p *v1alpha1.RegfishPurchase, message string) v1alpha1.PurchaseStatus {
	s := *p.Status.DeepCopy()
	if message == "" {
		set(&s, v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonNotHeld, "nobody has to decide.")
	} else {
		set(&s, v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonCertificateRefused, message)
	}
	s.State = stateOf(s.Conditions, s.DCV, s.Vendor)
	s.Message = sentence(s.Conditions)
	return s
}

// PlanStatus is the status of a plan: held, and why.
func PlanStatus(before v1alpha1.PurchaseStatus, d Decision) v1alpha1.PurchaseStatus {
	s := *before.DeepCopy()
	set(&s, v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonNotDecided, "nothing was sent.")
	set(&s, v1alpha1.ConditionHeld, metav1.ConditionTrue, d.Reason, d.Message)
	set(&s, v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonNotRequired, "nobody has to act at regfish.")
	set(&s, v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "no order is known to have been placed.")
	s.State = stateOf(s.Conditions, nil, nil)
	s.Message = sentence(s.Conditions)
	return s
}

func set(s *v1alpha1.PurchaseStatus, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bound(message)})
}

// bound keeps a message printable and within what every reader shows.
func bound(message string) string { return regfish.Sanitise(message, maxMessage) }

func metaTime(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	m := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &m
}
