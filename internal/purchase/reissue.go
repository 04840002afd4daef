// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// A reissue is recorded on the purchase that holds the id. Of all reissues of a purchase
// at most one has not ended, and its result takes the id when it is issued: until then
// regfish serves the certificate before it.

// reissuesInOrder returns the reissues of p by their numbers.
func reissuesInOrder(p *v1alpha1.RegfishPurchase) []v1alpha1.Reissue {
	return slices.SortedFunc(slices.Values(p.Spec.Reissues), func(a, b v1alpha1.Reissue) int { return int(a.Number) - int(b.Number) })
}

// lastReissue returns the last reissue of p that fits; nil if none does.
func lastReissue(p *v1alpha1.RegfishPurchase, fits func(*v1alpha1.Reissue) bool) *v1alpha1.Reissue {
	var last *v1alpha1.Reissue
	for i := range p.Spec.Reissues {
		if r := &p.Spec.Reissues[i]; (last == nil || r.Number > last.Number) && fits(r) {
			last = r
		}
	}
	return last
}

// taken reports whether regfish took the reissue, or may have.
func taken(r *v1alpha1.Reissue) bool {
	switch {
	case r.Resolution != nil:
		return r.Resolution.Result != v1alpha1.ResolutionNotFound
	case r.Outcome == nil:
		return true
	}
	return r.Outcome.Result != v1alpha1.OutcomeRejected && r.Outcome.Result != v1alpha1.OutcomeNotSent
}

// inDoubt reports whether it is not known if regfish took the reissue.
func inDoubt(r *v1alpha1.Reissue) bool {
	return taken(r) && r.Resolution == nil && (r.Outcome == nil || r.Outcome.Result != v1alpha1.OutcomeAccepted)
}

// openReissue is the reissue of p that has not ended; nil if there is none.
func openReissue(p *v1alpha1.RegfishPurchase) *v1alpha1.Reissue {
	return lastReissue(p, func(r *v1alpha1.Reissue) bool { return taken(r) && r.End == nil })
}

// OpenReissue reports whether a reissue of p has not ended.
func OpenReissue(p *v1alpha1.RegfishPurchase) bool { return openReissue(p) != nil }

// served is the reissue whose certificate regfish serves for p; nil if that is the one
// of the order itself.
func served(p *v1alpha1.RegfishPurchase) *v1alpha1.Reissue {
	return lastReissue(p, func(r *v1alpha1.Reissue) bool { return r.End != nil && r.End.Result == v1alpha1.ReissueIssued })
}

// servedKey is the hash of the key of the certificate that regfish serves for p; empty if
// it is not known, because the certificate was bought elsewhere or reissued by others.
func servedKey(p *v1alpha1.RegfishPurchase) string {
	last := served(p)
	if lost := lastReissue(p, func(r *v1alpha1.Reissue) bool { return r.End != nil && r.End.Result == v1alpha1.ReissueReplaced }); lost != nil && (last == nil || lost.Number > last.Number) {
		return ""
	}
	if last != nil {
		return last.KeySHA256
	}
	return requestKey(p.Spec.Request)
}

// lastTaken is the last reissue that regfish took, or may have taken; nil if there is none.
func lastTaken(p *v1alpha1.RegfishPurchase) *v1alpha1.Reissue { return lastReissue(p, taken) }

// lastReissueFor is the last reissue that was made for the request of w; nil if there is
// none.
func lastReissueFor(p *v1alpha1.RegfishPurchase, w Want) *v1alpha1.Reissue {
	return lastReissue(p, func(r *v1alpha1.Reissue) bool { return r.Beneficiary.RequestUID == w.Beneficiary.RequestUID })
}

// lastBeneficiary is who p was last used for.
func lastBeneficiary(p *v1alpha1.RegfishPurchase) v1alpha1.Beneficiary {
	if r := lastTaken(p); r != nil {
		return r.Beneficiary
	}
	return p.Spec.Beneficiary
}

// IssuerOf is the issuer with whose key the certificate of p is read: the one that it was
// last reissued with, else the one that it was bought with, which may be gone by then.
func IssuerOf(p *v1alpha1.RegfishPurchase) v1alpha1.IssuerRef {
	if r := lastTaken(p); r != nil {
		return r.IssuerRef
	}
	return p.Spec.IssuerRef
}

// LastAction is when p was last acted for: when its last order or its last reissue was
// begun; zero if neither ever was.
func LastAction(p *v1alpha1.RegfishPurchase) time.Time {
	var last time.Time
	for _, a := range p.Spec.Attempts {
		if a.Time.After(last) {
			last = a.Time.Time
		}
	}
	for _, r := range p.Spec.Reissues {
		if r.Time.After(last) {
			last = r.Time.Time
		}
	}
	return last
}

// unfinishedSince is when the first of the reissues of p was begun after which none has come
// to an end; zero if there is none.
func unfinishedSince(p *v1alpha1.RegfishPurchase) time.Time {
	var since time.Time
	for _, r := range reissuesInOrder(p) {
		switch {
		case r.End != nil:
			since = time.Time{}
		case since.IsZero():
			since = r.Time.Time
		}
	}
	return since
}

// madeFor is what of p was made for the namespace, names and key of w, so that its
// certificate fits the request as it is. The reissue is nil if that is the order itself.
// While a reissue for another key is under way, nothing of p is handed out any more.
func madeFor(p *v1alpha1.RegfishPurchase, w Want) (r *v1alpha1.Reissue, ok bool) {
	if p.Spec.Beneficiary.Namespace != w.Beneficiary.Namespace || !sameNames(p, w) {
		return nil, false
	}
	if r := openReissue(p); r != nil {
		return r, r.KeySHA256 == w.Request.KeySHA256
	}
	return served(p), servedKey(p) == w.Request.KeySHA256
}

// serves reports whether something of p was made for the namespace, names and key of w.
func serves(p *v1alpha1.RegfishPurchase, w Want) bool {
	_, ok := madeFor(p, w)
	return ok
}

// Replaced is the hash of the certificate that was to be replaced by what was made for the
// key of w; empty if that is nothing.
func Replaced(p *v1alpha1.RegfishPurchase, w Want) string {
	if r, ok := madeFor(p, w); ok && r != nil {
		return r.Source.SHA256
	}
	return ""
}

// beneficiaryOf is who r was made for, or p itself without r.
func beneficiaryOf(p *v1alpha1.RegfishPurchase, r *v1alpha1.Reissue) v1alpha1.Beneficiary {
	if r != nil {
		return r.Beneficiary
	}
	return p.Spec.Beneficiary
}

// endOfReissue is when it was known that the reissue came to nothing, or when it was begun.
func endOfReissue(r *v1alpha1.Reissue) time.Time {
	switch {
	case r.End != nil:
		return r.End.Time.Time
	case r.Resolution != nil:
		return r.Resolution.Time.Time
	case r.Outcome != nil:
		return r.Outcome.Time.Time
	}
	return r.Time.Time
}

// comeToNothing says why the reissue brought no certificate.
func comeToNothing(r *v1alpha1.Reissue) string {
	switch {
	case r.End != nil:
		return r.End.Message
	case r.Resolution != nil:
		return strings.TrimSuffix(r.Outcome.Message, ".") + ", and " + r.Resolution.Message
	case r.Outcome != nil:
		return r.Outcome.Message
	}
	return "it is not known what became of it"
}

// reissueInDoubt is for a reissue of which it is not known whether regfish took it.
func reissueInDoubt(p *v1alpha1.RegfishPurchase, r *v1alpha1.Reissue) string {
	why := "its answer was not recorded"
	if r.Outcome != nil {
		why = strings.TrimSuffix(r.Outcome.Message, ".")
	}
	return fmt.Sprintf("regfish may or may not have taken reissue %d of %s, begun at %s (%s); the certificate is read until it shows, nobody has to act, and the certificate before it stands.", r.Number, p.Spec.CertificateID, utc(r.Time.Time), why)
}

// reissueCourse is what a reissue that is under way waits for.
func reissueCourse(s *v1alpha1.PurchaseStatus, p *v1alpha1.RegfishPurchase, r *v1alpha1.Reissue) string {
	if inDoubt(r) {
		return "no reissue is known to have been taken."
	}
	of := fmt.Sprintf("reissue %d of %s", r.Number, p.Spec.CertificateID)
	switch {
	case s.DCV != nil && len(s.DCV.Records) > 0:
		return "waits until the validation records of " + of + ", which your DNS automation or a person sets, are seen in DNS."
	case s.DCV != nil && len(s.DCV.Emails) > 0:
		return "waits until somebody follows the link in the mail that was sent to " + someOf(s.DCV.Emails) + "."
	}
	return vendorWorks
}
