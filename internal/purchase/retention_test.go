// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// What may still be needed is not removed: what runs, what may have bought something that
// nobody knows of, and what this version cannot judge.
func TestExpires(t *testing.T) {
	const retention = 24 * time.Hour
	givenUp := func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = new(metav1.NewMicroTime(noon)) }
	ended := func(p *v1alpha1.RegfishPurchase) { cameToNothing(p); issuedAt(noon)(p) }
	year := noon.Add(days(365))
	for name, tt := range map[string]struct {
		reason  string
		changes []change
		want    time.Time // zero: kept
	}{
		"a plan":                         {reason: "its order removes it", changes: []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.Number = 0 }, ended}},
		"a record of another version":    {reason: "it may mean anything", changes: []change{refusedForGood, ended, func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion++ }}},
		"an unknown outcome":             {reason: "something may have been bought", changes: []change{attempted(v1alpha1.OutcomeUnknown, days(90)), ended}},
		"an order on its way":            {reason: "it is paid for", changes: []change{placed("C1", days(90))}},
		"what was never placed":          {reason: "nothing was bought", changes: []change{refusedForGood, ended}, want: noon.Add(days(30))},
		"a certificate":                  {reason: "it is looked up for some time after", changes: []change{placed("C1", 0), issuedFor(noon, noon.Add(days(199))), paidFor(noon, year)}, want: year.Add(retention)},
		"a reissue on its way":           {reason: "the certificate is about to be another one", changes: []change{placed("C1", 0), issuedFor(noon, noon.Add(days(199))), paidFor(noon, year), reissuedFor(t, keyB, "r1", time.Hour)}},
		"what was given up unplaced":     {reason: "nothing is known to have been bought", changes: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), givenUp}, want: noon.Add(days(30))},
		"what was given up and is there": {reason: "its order stands", changes: []change{placed("C1", 0), issuedFor(noon, noon.Add(days(199))), paidFor(noon, year), givenUp}, want: year.Add(retention)},
	} {
		p := record(t, 1, tt.changes...)
		if got := Expires(&p, retention); !got.Equal(tt.want) {
			t.Errorf("%s: %s: removed at %s, want %s", name, tt.reason, got, tt.want)
		}
	}
}
