// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

const (
	// DefaultRetention is for how long a purchase is kept after what was paid for has
	// ended: a year and the time to ask about it.
	DefaultRetention = 400 * 24 * time.Hour
	// unplacedRetention is for how long one is kept that placed nothing.
	unplacedRetention = 30 * 24 * time.Hour
	// unknownTerm is taken for the term of a certificate of which no contract is known.
	unknownTerm = 365 * 24 * time.Hour
)

// Expires is when p is removed from the ledger; the zero time if that is not known yet.
// What may still come to something, or may have bought something that nobody knows of, is
// never removed, and neither is what another version or another cluster holds. A zero
// retention is DefaultRetention.
func Expires(p *v1alpha1.RegfishPurchase, retention time.Duration) time.Time {
	retention = cmp.Or(retention, DefaultRetention)
	rested := time.Time{}
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionIssued); c != nil && openReissue(p) == nil && resting(p.Status.Conditions) {
		rested = c.LastTransitionTime.Time
	}
	switch phaseOf(p) {
	case phaseRefused, phaseUnplaced, phaseSpent:
		if rested.IsZero() {
			return rested
		}
		return rested.Add(unplacedRetention)
	case phaseAbandoned:
		if e := end(p); p.Spec.CertificateID != "" && e != nil && e.After(p.Spec.AbandonTime.Time) {
			// Its order stands.
			return e.Add(retention)
		}
		return p.Spec.AbandonTime.Add(max(retention, unplacedRetention))
	case phasePlaced:
		switch {
		case rested.IsZero():
			return rested
		case p.Status.ContractNotAfter != nil:
			return p.Status.ContractNotAfter.Add(retention)
		case p.Status.NotAfter != nil:
			return p.Status.NotAfter.Add(unknownTerm + retention)
		}
		return rested.Add(unknownTerm + retention)
	case phasePlan, phaseForeign, phaseUnresolved:
	}
	return time.Time{}
}

// PaidFor reports whether p may still be used for a Certificate: what was paid for goes on.
func PaidFor(p *v1alpha1.RegfishPurchase, now time.Time) bool {
	return phaseOf(p) == phasePlaced && wasIssued(p) && running(p, now)
}

// LastBeneficiary is who p was last used for.
func LastBeneficiary(p *v1alpha1.RegfishPurchase) v1alpha1.Beneficiary { return lastBeneficiary(p) }
