// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// reading is a list of the account that was read to its end.
type reading struct {
	// ids of everything in it.
	ids map[string]bool
	// fingerprint of the key that it was made with.
	fingerprint string
}

// gap returns why the reading does not show that an order of p is not there; empty if
// it does; strange says that it may be of another account altogether. That an id is missing in a list says nothing if the list is of another
// account or was cut short, and neither of the two can be told from the list itself:
// the vendor documents no pages and names no account. So the list has to be made with
// the key that the order was sent with, or contain something that was obtained with
// that key; and it has to contain everything that this ledger obtained with it, as long
// as it runs and is no younger than what a list may lag behind.
func (r reading) gap(p *v1alpha1.RegfishPurchase, ledger []v1alpha1.RegfishPurchase, settle time.Duration, now time.Time) (gap string, strange bool) {
	for _, a := range p.Spec.Attempts {
		if !unresolved(a) {
			continue
		}
		same := r.fingerprint == a.KeyFingerprint
		for i := range ledger {
			other := &ledger[i]
			obtained, ok := obtainedWith(other, a.KeyFingerprint)
			switch {
			case !ok || other.Spec.Endpoint != p.Spec.Endpoint:
			case r.ids[other.Spec.CertificateID]:
				same = true
			case now.Sub(obtained) > settle && runs(other, now):
				gap = fmt.Sprintf("the list lacks %s, which the ledger holds", other.Spec.CertificateID)
			}
		}
		if !same {
			return fmt.Sprintf("the list was made with another API key than attempt %d, and nothing in it shows that it is of the same account", a.Number), true
		}
	}
	return gap, false
}

// obtainedWith returns when p obtained its id, if it is known that it did so with the key:
// regfish answered with it to an order that was sent with the key, or the certificate's own
// key proves it. What a person adopted may have been read in another account.
func obtainedWith(p *v1alpha1.RegfishPurchase, fingerprint string) (time.Time, bool) {
	i := slices.IndexFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool {
		return a.KeyFingerprint == fingerprint &&
			((a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted) || (a.Resolution != nil && a.Resolution.Proved && a.Resolution.CertificateID == p.Spec.CertificateID))
	})
	if i < 0 || p.Spec.CertificateID == "" {
		return time.Time{}, false
	}
	return p.Spec.Attempts[i].Time.Time, true
}

// runs reports whether the certificate of p, or what was paid for it, has not ended as
// far as is known. What the vendor ended may be missing in its list.
func runs(p *v1alpha1.RegfishPurchase, now time.Time) bool {
	if failed(p) {
		return false
	}
	after := func(t *metav1.Time) bool { return t != nil && t.After(now) }
	known := p.Status.NotAfter != nil || p.Status.ContractNotAfter != nil
	return !known || after(p.Status.NotAfter) || after(p.Status.ContractNotAfter)
}
