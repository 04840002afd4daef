// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// sentWith makes all attempts so far be sent with the key.
func sentWith(fingerprint string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		for i := range p.Spec.Attempts {
			p.Spec.Attempts[i].KeyFingerprint = fingerprint
		}
	}
}

func TestGap(t *testing.T) {
	const settle = 30 * time.Minute
	// held is an id of the ledger that was obtained with the key that many hours ago.
	held := func(id, key string, before time.Duration, changes ...change) v1alpha1.RegfishPurchase {
		return record(t, 2, append([]change{placed(id, before), sentWith(key)}, changes...)...)
	}
	over := func(p *v1alpha1.RegfishPurchase) { issuedFor(noon.Add(-days(30)), noon.Add(-time.Hour))(p) }
	for name, tt := range map[string]struct {
		reason   string
		ids      []string
		key      string
		attempts []change
		ledger   []v1alpha1.RegfishPurchase
		says     string // empty: it is evidence
	}{
		"an empty list of the same key": {reason: "it is all that there is", key: "k1"},
		"an empty list of another key": {
			reason: "it may be another account's", key: "k2", says: "was made with another API key than attempt 1",
		},
		"a list of another key with an id that was obtained with this one": {
			reason: "it is the same account", key: "k2", ids: []string{"C1"}, ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour)},
		},
		"a list of another key with an id that was obtained with that one": {
			reason: "it shows nothing about the account of the order", key: "k2", ids: []string{"C1"}, ledger: []v1alpha1.RegfishPurchase{held("C1", "k2", time.Hour)}, says: "another API key",
		},
		"a list that lacks an id of the ledger": {
			reason: "it was cut short", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour)}, says: "lacks C1",
		},
		"a list that lacks one id of several": {
			reason: "it was cut short", key: "k1", ids: []string{"C1", "C3"},
			ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour), held("C2", "k1", days(2)), held("C3", "k1", time.Hour)}, says: "lacks C2",
		},
		"a list that lacks an id that is younger than a list may lag": {
			reason: "it may not be there yet", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", settle)},
		},
		"a list that lacks an id that was obtained with another key": {
			reason: "it may be in another account", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k2", time.Hour)},
		},
		"a list that lacks an id of another endpoint": {
			reason: "it is another vendor's", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour, elsewhere)},
		},
		"a list that lacks what is over": {
			reason: "the vendor may leave it out", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", days(30), over)},
		},
		"a list that lacks what is expired while its contract runs": {
			reason: "the contract is what was paid for", key: "k1",
			ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", days(30), over, func(p *v1alpha1.RegfishPurchase) { p.Status.ContractNotAfter = at(noon.Add(time.Hour)) })}, says: "lacks C1",
		},
		"a list that lacks what is valid although its contract is over": {
			reason: "the certificate runs", key: "k1",
			ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", days(30), issuedFor(monthAgo, inHalfAYear), func(p *v1alpha1.RegfishPurchase) { p.Status.ContractNotAfter = at(noon.Add(-time.Hour)) })}, says: "lacks C1",
		},
		"a list that lacks what was cancelled": {
			reason: "the vendor may leave it out", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour, cameToNothing)},
		},
		"a list that lacks an order of the ledger that is pending": {
			reason: "nothing says that it ended", key: "k1", ledger: []v1alpha1.RegfishPurchase{held("C1", "k1", time.Hour, stands(v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits."))}, says: "lacks C1",
		},
		"a list that lacks what was adopted with the key": {
			reason: "it was obtained with it too", key: "k1",
			ledger: []v1alpha1.RegfishPurchase{record(t, 2, attempted(v1alpha1.OutcomeUnknown, time.Hour), proved("C1"), sentWith("k1"))}, says: "lacks C1",
		},
		"a list that lacks what a person adopted": {
			reason: "it may have been read in another account", key: "k1",
			ledger: []v1alpha1.RegfishPurchase{record(t, 2, attempted(v1alpha1.OutcomeUnknown, time.Hour), adopted("C1"), sentWith("k1"))},
		},
		"a list that lacks what was imported": {
			reason: "nobody knows with which key", key: "k1", ledger: []v1alpha1.RegfishPurchase{record(t, 2, imported("C1"))},
		},
		"a list of the key of one of two attempts": {
			reason: "the other may have gone to another account", key: "k1", attempts: []change{attempted("", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[1].KeyFingerprint = "k2" }},
			says: "another API key than attempt 2",
		},
		"a list of the key of the one attempt that is looked for": {
			reason: "the other one is known to have placed nothing", key: "k2", attempts: []change{func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Attempts = nil
				unfound(time.Hour)(p)
				sentWith("k1")(p)
				attempted("", time.Minute)(p)
				p.Spec.Attempts[1].KeyFingerprint = "k2"
			}},
		},
	} {
		p := record(t, 1, append([]change{attempted(v1alpha1.OutcomeUnknown, time.Minute), sentWith("k1")}, tt.attempts...)...)
		list := reading{ids: map[string]bool{}, fingerprint: tt.key}
		for _, id := range tt.ids {
			list.ids[id] = true
		}
		if got, _ := list.gap(&p, append(tt.ledger, p), settle, noon); (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s: the gap is %q, want %q, because %s", name, got, tt.says, tt.reason)
		}
	}
}
