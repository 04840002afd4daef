// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	cmpki "github.com/cert-manager/cert-manager/pkg/util/pki"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// A purchased term usually outlives one certificate, and cert-manager asks for another
// one often: for a new key, after a lost Secret, before the old one ends. The purchases of
// one Certificate, whose names, product and organization are the same, are its lineage.
// What is still paid for in it is used before anything is bought.

const (
	// gap is how much longer than the certificate its contract has to run for a reissue
	// to gain time. It is the vendor's own rule, from the source of its client
	// (https://github.com/regfish/certbro).
	gap = 24 * time.Hour
	// leastTerm is the part of a term that has to be left for a reissue that is not due.
	leastTerm = 10
	// earlyLook is how often it is looked whether a purchase still has to wait, and
	// stuckFor is after how long something unfinished does not stop a Certificate that
	// is about to run out: cert-manager makes no new request meanwhile.
	earlyLook = 10 * time.Minute
	stuckFor  = 24 * time.Hour
	// lastDays before its end a certificate is about to run out; less for short ones.
	lastDays = 7 * 24 * time.Hour
	// announcedFor is for how long a renewal that was announced may still be made. What is
	// made later sends nothing: its order may leave within the write window only.
	announcedFor = 24 * time.Hour
	// goneFor is how long a Certificate has to be gone before one of another name goes on
	// with its purchases.
	goneFor = 24 * time.Hour
)

// Source is what regfish says now of a certificate that may be reissued or renewed.
type Source struct {
	Certificate regfish.Certificate
	// NotFound says that regfish does not know the id.
	NotFound bool
	// Problem is why it could not be asked; nil if it could.
	Problem *IssuerProblem
}

// inLineage reports whether p was last used for the Certificate of w: the same
// Certificate by name, so that what is re-created goes on, with the same names, product
// and organization. Any issuer counts: moving a Certificate to another issuer of the same
// endpoint buys nothing. A request without a Certificate is a lineage of its own.
func inLineage(p *v1alpha1.RegfishPurchase, w Want, now time.Time) bool {
	a, b := lastBeneficiary(p), w.Beneficiary
	if a.Namespace != b.Namespace || !sameNames(p, w) {
		return false
	}
	if a.CertificateName != b.CertificateName && !inherits(p, w, now) {
		return false
	}
	if a.CertificateName == "" && a.RequestUID != b.RequestUID {
		return false
	}
	// Without an issuer it is not known what would be bought.
	return w.SKU == "" || (strings.EqualFold(p.Spec.SKU, w.SKU) && p.Spec.OrganizationID == w.OrganizationID)
}

// inherits reports whether the Certificate of w goes on with p, although p was used for
// one of another name: that one has been gone for a day, and has left a key of the same
// kind, so that it was not one of two that are meant to stand side by side.
func inherits(p *v1alpha1.RegfishPurchase, w Want, now time.Time) bool {
	gone := p.Status.BeneficiaryGoneSince
	return gone != nil && now.Sub(gone.Time) >= goneFor && w.Beneficiary.CertificateName != "" &&
		lastBeneficiary(p).CertificateName != "" && keyAlgorithm(p) == w.Request.KeyAlgorithm
}

// lineage returns the purchases that this cluster holds for the Certificate, newest first.
func (f Facts) lineage() []*v1alpha1.RegfishPurchase {
	return slices.DeleteFunc(f.own(), func(p *v1alpha1.RegfishPurchase) bool { return !inLineage(p, f.Want, f.Now) })
}

// sources are the purchases of the lineage from which something may still be got, newest
// first. What is older than a purchase that a person licensed is left alone: the person
// decided to do without it.
func (f Facts) sources() []*v1alpha1.RegfishPurchase {
	if f.Want.Reuse == v1alpha1.ReusePolicyNever || f.Want.SKU == "" {
		return nil
	}
	var found []*v1alpha1.RegfishPurchase
	for _, p := range f.lineage() {
		if phaseOf(p) == phasePlaced && wasIssued(p) && !f.stuck(p) {
			found = append(found, p)
		}
		if p.Spec.PlanUID != "" {
			break
		}
	}
	return found
}

// toAsk are the sources that regfish is asked about: the newest one, which may be renewed,
// and those that are paid for.
func (f Facts) toAsk() []*v1alpha1.RegfishPurchase {
	all := f.sources()
	for i := len(all) - 1; i > 0; i-- {
		if !running(all[i], f.Now) {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// term is what is known of a certificate and of what was paid for it, from regfish if it
// was asked, from the record otherwise.
type term struct {
	notBefore, notAfter     time.Time
	contractBegin, contract time.Time
	ask                     bool // regfish was not asked yet
	reissuable, renewable   bool
	revoked                 bool
}

func (f Facts) termOf(p *v1alpha1.RegfishPurchase) term {
	s := p.Status
	t := term{
		notBefore: timeOf(s.NotBefore), notAfter: timeOf(s.NotAfter), contractBegin: timeOf(s.ContractNotBefore), contract: timeOf(s.ContractNotAfter),
		ask: true, reissuable: true, renewable: true,
	}
	if source, ok := f.Sources[p.Spec.CertificateID]; ok && source.Problem == nil && !source.NotFound {
		c := source.Certificate
		for _, known := range []struct {
			to   *time.Time
			from *time.Time
		}{{&t.notBefore, c.ValidFrom}, {&t.notAfter, c.ValidUntil}, {&t.contractBegin, c.ContractValidFrom}, {&t.contract, c.ContractValidUntil}} {
			if known.from != nil {
				*known.to = *known.from
			}
		}
		t.ask = false
		t.revoked = revoked(c)
		t.renewable = c.RenewalSupported
		t.reissuable = c.ReissueSupported && c.RevocationPendingScope == "" && (c.RevocationScope == "" || c.RevocationScope == scopeCertificate)
	} else if ok {
		t.reissuable, t.renewable = false, false
	}
	if t.contract.IsZero() {
		t.contractBegin, t.contract = t.notBefore, t.notAfter
	}
	if t.contractBegin.IsZero() {
		t.contractBegin = t.notBefore
	}
	return t
}

// scopeCertificate is the scope of a revocation that leaves the order: its certificate may
// be reissued, says https://regfish.com/docs/reference/reissue-certificate. The word is
// from the fixtures of the vendor's client.
const scopeCertificate = "certificate"

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// due is when the certificate is due to be replaced by another one: a margin before
// cert-manager renews it. Without the margin, half a second of difference between two
// clocks would decide what a request gets. The zero time means never. A request without a
// Certificate is due while a third of the lifetime is left.
func (f Facts) due(notBefore, notAfter time.Time) time.Time {
	lifetime := notAfter.Sub(notBefore)
	if f.Certificate == nil {
		return notAfter.Add(-lifetime / 3)
	}
	spec := f.Certificate.Spec
	renewal, err := cmpki.RenewalTime(notBefore, notAfter, spec.RenewBefore, spec.RenewBeforePercentage, spec.Renewal)
	if err != nil || renewal == nil {
		return time.Time{}
	}
	return renewal.Add(-max(time.Hour, lifetime/100))
}

// worthwhile reports whether a reissue at this time gains something, and in which case not
// whether that is as if the certificate were due.
func (f Facts) worthwhile(t term) (reissue, isDue bool) {
	at := f.due(t.notBefore, t.notAfter)
	// What has run out is due, whatever cert-manager thinks of it.
	isDue = !at.IsZero() && !f.Now.Before(at) || !f.Now.Before(t.notAfter)
	if !isDue {
		full := t.contract.Sub(t.contractBegin)
		if left := t.contract.Sub(f.Now); left >= full/leastTerm {
			return true, false
		}
		isDue = true
	}
	return t.contract.Sub(t.notAfter) > gap && t.contract.After(f.Now), isDue
}

// readable: while a certificate of the lineage that is paid for cannot be read, nothing is
// bought in its place: a wrong key must not make all that was bought be forgotten.
func readable(f Facts) (Decision, bool) {
	for _, p := range f.sources() {
		source, ok := f.Sources[p.Spec.CertificateID]
		if !ok || !running(p, f.Now) {
			continue
		}
		if source.Problem != nil {
			return Decision{Step: StepQueue, Reason: source.Problem.Reason, Message: source.Problem.Message, LookAgain: firstRetry}, true
		}
		if source.NotFound {
			return Decision{
				Step: StepHold, Reason: v1alpha1.ReasonNotFoundAtVendor, LookAgain: earlyLook,
				questions: []question{{
					cause:  fmt.Sprintf("regfish does not know %s, which is paid for until %s and could be reissued for this request: the API key of %s may belong to another account.", p.Spec.CertificateID, utc(timeOf(end(p))), f.Want.Issuer),
					advice: "It clears itself once the id is found.",
					verbs:  "purchase to buy without regard to it",
				}},
			}, true
		}
	}
	return Decision{}, false
}

// reissue: what is paid for is issued again for the key of the request, if that gains
// something.
func reissue(f Facts) (Decision, bool) {
	for i, p := range f.sources() {
		t := f.termOf(p)
		gains, isDue := f.worthwhile(t)
		// Before it is asked what may be reissued: the answer may be no for as long as a
		// reissue runs. The newest is what would be renewed.
		if d, ok := vendorReissues(f, p); ok && (gains || i == 0) {
			return d, true
		}
		if !gains || !t.reissuable || renewing(f, p) || len(p.Spec.Reissues) >= maxReissues {
			continue
		}
		again, pause := f.mayReissue(p)
		if !again {
			continue
		}
		why := "is reissued for the new key"
		if servedKey(p) == f.Want.Request.KeySHA256 {
			why = "is reissued for the same key"
		}
		if isDue {
			why = fmt.Sprintf("is reissued, because the certificate ends at %s and is due", utc(t.notAfter))
		}
		d := Decision{Step: StepReissue, Purchase: p, Reason: v1alpha1.ReasonPlacing, Message: fmt.Sprintf("%s is paid for until %s and %s, which costs nothing.", p.Spec.CertificateID, utc(t.contract), why)}
		if pause > 0 {
			last := lastReissueFor(p, f.Want)
			d.Step, d.Reason, d.LookAgain = StepQueue, v1alpha1.ReasonVendorUnavailable, pause
			d.Message = fmt.Sprintf("reissue %d of %s came to nothing (%s); the next one follows at %s.", last.Number, p.Spec.CertificateID, strings.TrimSuffix(comeToNothing(last), "."), utc(f.Now.Add(pause)))
		}
		return d, true
	}
	return Decision{}, false
}

// maxReissues is the most reissues that a purchase can record.
const maxReissues = 500

// vendorReissues: a reissue that regfish is working on and that this ledger did not ask for
// comes to an end first, as one of this ledger does.
func vendorReissues(f Facts, p *v1alpha1.RegfishPurchase) (Decision, bool) {
	source, ok := f.Sources[p.Spec.CertificateID]
	r := source.Certificate.Reissue
	if !ok || !r.Active() || !f.termOf(p).contract.After(f.Now) {
		return Decision{}, false
	}
	if r.RequestedAt != nil && f.overdue(p, *r.RequestedAt) {
		return Decision{}, false
	}
	return Decision{
		Step: StepQueue, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: firstRetry,
		Message: fmt.Sprintf("waits until regfish has finished reissue %s of %s, which was not asked for here: whoever asked for it has to validate its names, or to cancel it at regfish.", regfish.Sanitise(r.ID, 64), p.Spec.CertificateID),
	}, true
}

// mayReissue reports whether the certificate of p may be reissued for the request, and
// after which pause. One that regfish refused or that failed is not asked for again for
// the same request: it falls back, once.
func (f Facts) mayReissue(p *v1alpha1.RegfishPurchase) (may bool, pause time.Duration) {
	tries := 0
	for _, r := range reissuesInOrder(p) {
		if r.Beneficiary.RequestUID != f.Want.Beneficiary.RequestUID {
			continue
		}
		tries++
		switch {
		case r.End != nil && r.End.Result == v1alpha1.ReissueFailed, turnedDown(&r) && !f.reissuedSince(p, &r):
			return false, 0
		}
	}
	last := lastReissueFor(p, f.Want)
	if last == nil {
		return true, 0
	}
	return true, f.left(endOfReissue(last), backOff(tries))
}

// turnedDown reports whether regfish refused the reissue for what the certificate is, or for
// what was sent: which statuses a reissue is refused with is documented nowhere. That the
// request itself is at fault shows when an order for it is refused, too, which costs nothing.
// To fail it now would fail every request until the contract ends.
func turnedDown(r *v1alpha1.Reissue) bool {
	return r.Outcome != nil && r.Outcome.Result == v1alpha1.OutcomeRejected && (r.Outcome.Final || r.Outcome.HTTPStatus == 404 || r.Outcome.HTTPStatus == 409)
}

// reissuedSince reports whether regfish shows another reissue than before r was refused:
// that one may have been why.
func (f Facts) reissuedSince(p *v1alpha1.RegfishPurchase, r *v1alpha1.Reissue) bool {
	source, ok := f.Sources[p.Spec.CertificateID]
	return ok && source.Certificate.Reissue != nil && source.Certificate.Reissue.ID != r.Source.ReissueID
}

// renewing reports whether the certificate of p is being renewed, or announced to be: it
// gets no reissue until that came to nothing.
func renewing(f Facts, p *v1alpha1.RegfishPurchase) bool {
	if slices.ContainsFunc(p.Spec.Successors, func(s v1alpha1.Successor) bool {
		// Only the next number can still be created, and not after long: what was made and
		// came to nothing is removed some day, and its number is the next one again.
		return s.Action == v1alpha1.ActionRenew && s.Number == nextNumber(f.Purchases) && f.Now.Sub(s.Time.Time) < announcedFor
	}) {
		return true
	}
	return slices.ContainsFunc(f.Purchases, func(o v1alpha1.RegfishPurchase) bool {
		ph := phaseOf(&o)
		return o.Spec.Action == v1alpha1.ActionRenew && o.Spec.SourceCertificateID == p.Spec.CertificateID && (ph == phaseUnresolved || ph == phasePlaced && !failed(&o))
	})
}

// renewal returns the purchase whose certificate a new one is to renew; nil if none can be.
func (f Facts) renewal() *v1alpha1.RegfishPurchase {
	all := f.sources()
	if len(all) == 0 {
		return nil
	}
	p := all[0]
	if !f.termOf(p).renewable || slices.ContainsFunc(f.Purchases, func(o v1alpha1.RegfishPurchase) bool {
		return o.Spec.SourceCertificateID == p.Spec.CertificateID && f.renewalRefused(&o)
	}) {
		return nil
	}
	return p
}

// renewalRefused reports whether o is a renewal that regfish refused and would refuse again:
// for what it renews, or, as just this order was sent for this very key, for one of the two,
// which an order that renews nothing tells. Otherwise each request would fail until the
// contract ends. What was mended since is renewed: regfish may add what is left of the term.
func (f Facts) renewalRefused(o *v1alpha1.RegfishPurchase) bool {
	a := lastAttempt(o)
	return sourceRefused(o) || (o.Spec.Action == v1alpha1.ActionRenew && a != nil && a.Outcome != nil && a.Outcome.Final && serves(o, f.Want) && sameOrder(o, f.Want))
}

// sourceRefused reports whether regfish refused an order because of the certificate that
// it renews: it knows none of that id, or cannot renew it as it is.
func sourceRefused(p *v1alpha1.RegfishPurchase) bool {
	a := lastAttempt(p)
	return p.Spec.Action == v1alpha1.ActionRenew && p.Spec.CertificateID == "" && a != nil && a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeRejected &&
		(a.Outcome.HTTPStatus == 404 || a.Outcome.HTTPStatus == 409)
}

// early: what would have to be bought because a certificate is due waits while more than
// half of that certificate's lifetime is left. A renewBefore that is nearly as long as the
// certificate lives would buy all the time otherwise.
func early(f Facts) (Decision, bool) {
	if f.Certificate == nil || !ready(f.Certificate) {
		return Decision{}, false
	}
	p := f.inUse()
	if p == nil {
		return Decision{}, false
	}
	t := f.termOf(p)
	half := t.notBefore.Add(t.notAfter.Sub(t.notBefore) / 2)
	if _, isDue := f.worthwhile(t); !isDue || t.revoked || !f.Now.Before(half) {
		return Decision{}, false
	}
	return Decision{
		Step: StepQueue, Reason: v1alpha1.ReasonRenewalEarly, LookAgain: min(earlyLook, half.Sub(f.Now)),
		Message: fmt.Sprintf("%s can only be replaced by a purchase and lives until %s, so nothing is bought before half of its lifetime is over at %s, or the Certificate is not Ready: spec.renewBefore is longer than it has to be.",
			p.Spec.CertificateID, utc(t.notAfter), utc(half)),
	}, true
}

// inUse is the newest purchase of the lineage whose certificate is in use; nil if there is
// none.
func (f Facts) inUse() *v1alpha1.RegfishPurchase {
	for _, p := range f.lineage() {
		if phaseOf(p) == phasePlaced && wasIssued(p) && !failed(p) && p.Status.NotBefore != nil && p.Status.NotAfter != nil {
			return p
		}
	}
	return nil
}

// ready reports whether cert-manager says that the Certificate is Ready.
func ready(c *cmapi.Certificate) bool {
	return apiutil.CertificateHasCondition(c, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue})
}

// stuck reports whether a reissue of p has been unfinished for so long that the Certificate
// must not wait for it any more: it is not Ready, or about to run out.
func (f Facts) stuck(p *v1alpha1.RegfishPurchase) bool {
	begun := unfinishedSince(p)
	return !begun.IsZero() && f.overdue(p, begun)
}

// overdue reports whether what was begun then for the certificate of p has been unfinished
// for so long.
func (f Facts) overdue(p *v1alpha1.RegfishPurchase, begun time.Time) bool {
	if f.Now.Sub(begun) < stuckFor || f.Certificate == nil {
		return false
	}
	if !ready(f.Certificate) || p.Status.NotBefore == nil || p.Status.NotAfter == nil {
		return true
	}
	left, lifetime := p.Status.NotAfter.Sub(f.Now), p.Status.NotAfter.Sub(p.Status.NotBefore.Time)
	return left < min(lastDays, lifetime/10)
}

// pay is what a request gets that nothing else serves: what a certificate in the lineage is
// renewed by, if one can be, else a new one.
func (f Facts) pay() Decision {
	d := Decision{Step: StepBuy, Reason: v1alpha1.ReasonPlacing, Message: "nothing that was bought for this Certificate can be used, so a new certificate is ordered."}
	switch {
	case len(f.lineage()) == 0:
		d.Message = "nothing was bought for this Certificate yet, so a certificate is ordered."
	case f.Want.Reuse == v1alpha1.ReusePolicyNever:
		d.Message = fmt.Sprintf("spec.reusePolicy of %s is Never, so a new certificate is ordered.", f.Want.Issuer)
	}
	all := f.sources()
	if len(all) == 0 {
		return d
	}
	why := f.whyNoReissue(all[0])
	if p := f.renewal(); p != nil {
		d.Step, d.Source = StepRenew, p
		d.Message = fmt.Sprintf("%s cannot be reissued (%s), so it is renewed, which buys a new term.", p.Spec.CertificateID, why)
		return d
	}
	d.Message = fmt.Sprintf("%s can neither be reissued (%s) nor renewed (%s), so a new certificate is ordered.", all[0].Spec.CertificateID, why, f.whyNoRenewal(all[0]))
	return d
}

// whyNoReissue says why the certificate of p is not reissued for the request.
func (f Facts) whyNoReissue(p *v1alpha1.RegfishPurchase) string {
	t := f.termOf(p)
	gains, _ := f.worthwhile(t)
	last := lastReissueFor(p, f.Want)
	switch {
	case !t.contract.After(f.Now):
		return "its contract ended at " + utc(t.contract)
	case last != nil && (turnedDown(last) || last.End != nil):
		return "reissue " + fmt.Sprint(last.Number) + " came to nothing: " + strings.TrimSuffix(regfish.Sanitise(comeToNothing(last), 160), ".")
	case !gains:
		return "its contract ends at " + utc(t.contract) + ", and the certificate at " + utc(t.notAfter)
	case !t.reissuable:
		return "regfish offers no reissue"
	}
	return "it is about to be renewed"
}

func (f Facts) whyNoRenewal(p *v1alpha1.RegfishPurchase) string {
	for i := range f.Purchases {
		if o := &f.Purchases[i]; o.Spec.SourceCertificateID == p.Spec.CertificateID && f.renewalRefused(o) {
			return "refused: " + strings.TrimSuffix(regfish.Sanitise(lastAttempt(o).Outcome.Message, 160), ".")
		}
	}
	return "regfish offers no renewal"
}

// running reports whether what was paid for p goes on.
func running(p *v1alpha1.RegfishPurchase, now time.Time) bool {
	e := end(p)
	return e == nil || e.After(now)
}

// end is when what was paid for p ends; nil if that is not known.
func end(p *v1alpha1.RegfishPurchase) *metav1.Time {
	if p.Status.ContractNotAfter != nil {
		return p.Status.ContractNotAfter
	}
	return p.Status.NotAfter
}

// keyAlgorithm is that of the key that p was last used for; empty if it cannot be read.
func keyAlgorithm(p *v1alpha1.RegfishPurchase) string {
	if r := lastTaken(p); r != nil {
		return r.KeyAlgorithm
	}
	request, problems := pki.Preflight(pki.Spec{CSR: p.Spec.Request})
	if len(problems) > 0 {
		return ""
	}
	return request.KeyAlgorithm
}
