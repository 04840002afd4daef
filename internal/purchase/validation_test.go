// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// contender is a purchase of the name that wants the records, each as name=value.
func contender(name string, age time.Duration, wanted bool, records ...v1alpha1.DNSRecord) Contender {
	p := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-age))}}
	if len(records) > 0 {
		p.Status.DCV = &v1alpha1.DCVStatus{Records: records}
	}
	return Contender{Purchase: p, Wanted: wanted}
}

func cname(name, value string) v1alpha1.DNSRecord {
	return v1alpha1.DNSRecord{Name: name, Type: "CNAME", Value: value}
}

func TestTurn(t *testing.T) {
	a, b := cname("_a.", "1."), cname("_a.", "2.")
	ended := func(c Contender, status metav1.ConditionStatus) Contender {
		c.Purchase.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionIssued, Status: status}}
		return c
	}
	for name, tt := range map[string]struct {
		reason string
		me     Contender
		others []Contender
		mine   []v1alpha1.DNSRecord
		waits  string // for which purchase, and at which name
	}{
		"nobody else wants the name": {
			reason: "there is nothing to wait for",
			me:     contender("me", time.Hour, true, a), others: []Contender{contender("other", days(1), true, cname("_b.", "2."))},
			mine: []v1alpha1.DNSRecord{a},
		},
		"the older one is first": {
			reason: "it has waited longer",
			me:     contender("me", time.Hour, true, a), others: []Contender{contender("other", 2*time.Hour, true, b)},
			waits: "other at _a.",
		},
		"the younger one waits": {
			reason: "DNS holds one CNAME at a name",
			me:     contender("me", 2*time.Hour, true, a), others: []Contender{contender("other", time.Hour, true, b)},
			mine: []v1alpha1.DNSRecord{a},
		},
		"one that somebody waits for is before an older one that nobody wants": {
			reason: "nobody publishes the other's record",
			me:     contender("me", time.Hour, true, a), others: []Contender{contender("other", 2*time.Hour, false, b)},
			mine: []v1alpha1.DNSRecord{a},
		},
		"one that nobody wants is behind a younger one": {
			reason: "nobody publishes its record",
			me:     contender("me", 2*time.Hour, false, a), others: []Contender{contender("other", time.Hour, true, b)},
			waits: "other at _a.",
		},
		"of the same second the name decides": {
			reason: "the API server keeps seconds, and everybody has to agree",
			me:     contender("h-2", time.Hour, true, a), others: []Contender{contender("h-1", time.Hour, true, b)},
			waits: "h-1 at _a.",
		},
		"the same record is no contest": {
			reason: "one record serves both",
			me:     contender("me", time.Hour, true, a), others: []Contender{contender("other", 2*time.Hour, true, a)},
			mine: []v1alpha1.DNSRecord{a},
		},
		"one that was issued is passed over": {
			reason: "its record has served",
			me:     contender("me", time.Hour, true, a), others: []Contender{ended(contender("other", 2*time.Hour, true, b), metav1.ConditionTrue)},
			mine: []v1alpha1.DNSRecord{a},
		},
		"one that came to nothing is passed over": {
			reason: "its record will never serve",
			me:     contender("me", time.Hour, true, a), others: []Contender{ended(contender("other", 2*time.Hour, true, b), metav1.ConditionFalse)},
			mine: []v1alpha1.DNSRecord{a},
		},
		"one that is still open is waited for": {
			reason: "an unknown end is none",
			me:     contender("me", time.Hour, true, a), others: []Contender{ended(contender("other", 2*time.Hour, true, b), metav1.ConditionUnknown)},
			waits: "other at _a.",
		},
		"what is not contested is published meanwhile": {
			reason: "it is validated all the sooner",
			me:     contender("me", time.Hour, true, a, cname("_free.", "1.")), others: []Contender{contender("other", 2*time.Hour, true, b)},
			mine: []v1alpha1.DNSRecord{cname("_free.", "1.")}, waits: "other at _a.",
		},
		"the first name that is waited for is told": {
			reason: "one sentence names one name",
			me:     contender("me", time.Hour, true, cname("_b.", "1."), a), others: []Contender{contender("x", 2*time.Hour, true, b), contender("y", 3*time.Hour, true, cname("_b.", "2."))},
			waits: "y at _b.",
		},
		"without records there is no turn": {
			reason: "the vendor has named none yet",
			me:     contender("me", time.Hour, true), others: []Contender{contender("other", 2*time.Hour, true, b)},
		},
		"others without records are passed over": {
			reason: "they want nothing yet",
			me:     contender("me", time.Hour, true, a), others: []Contender{contender("other", 2*time.Hour, true)},
			mine: []v1alpha1.DNSRecord{a},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mine, other, where := Turn(tt.me.Purchase, append(tt.others, tt.me))
			if diff := cmp.Diff(tt.mine, mine); diff != "" {
				t.Errorf("%s: its records (-want +got):\n%s", tt.reason, diff)
			}
			waits := ""
			if other != nil {
				waits = other.Name + " at " + where
			}
			if waits != tt.waits {
				t.Errorf("%s: it waits for %q, want %q", tt.reason, waits, tt.waits)
			}
		})
	}
}

// Whatever purchases want whatever records: at each name at most one value is
// published, somebody publishes at each contested name, nobody waits in a circle,
// and when the owners end one after another, everybody's turn comes.
func TestTurnComesToEverybody(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var all []Contender
		for i := range 1 + random.IntN(7) {
			var records []v1alpha1.DNSRecord
			for n := range 5 {
				// A purchase wants one record at a name.
				if random.IntN(2) == 0 {
					records = append(records, cname(fmt.Sprintf("_%d.", n), fmt.Sprintf("%d.", random.IntN(3))))
				}
			}
			all = append(all, contender(fmt.Sprintf("p%d", i), time.Duration(random.IntN(3))*time.Hour, random.IntN(3) > 0, records...))
		}
		for round := 0; ; round++ {
			if round > len(all) {
				t.Fatalf("somebody waits for ever: %s", told(all))
			}
			published := map[string]string{}
			wanted := map[string]bool{}
			waits := map[string]string{}
			var served []*v1alpha1.RegfishPurchase
			for _, c := range all {
				if Resting(c.Purchase) {
					continue
				}
				shuffled := slices.Clone(all) // a list has no order
				random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				mine, other, _ := Turn(c.Purchase, shuffled)
				for _, r := range mine {
					if value, taken := published[r.Name]; taken && value != r.Value {
						t.Fatalf("%s is published as %s and %s: %s", r.Name, value, r.Value, told(all))
					}
					published[r.Name] = r.Value
				}
				if c.Purchase.Status.DCV != nil {
					for _, r := range c.Purchase.Status.DCV.Records {
						wanted[r.Name] = true
					}
				}
				if other != nil {
					waits[c.Purchase.Name] = other.Name
				} else {
					served = append(served, c.Purchase)
				}
			}
			for name := range wanted {
				if published[name] == "" {
					t.Fatalf("nobody publishes at %s: %s", name, told(all))
				}
			}
			for name := range waits {
				seen := map[string]bool{}
				for at := name; at != ""; at = waits[at] {
					if seen[at] {
						t.Fatalf("%s waits for itself: %s", name, told(all))
					}
					seen[at] = true
				}
			}
			if len(waits) == 0 {
				break
			}
			if len(served) == 0 {
				t.Fatalf("everybody waits: %s", told(all))
			}
			for _, p := range served {
				p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionIssued, Status: metav1.ConditionTrue}}
			}
		}
	}
}

func told(all []Contender) string {
	s := ""
	for _, c := range all {
		s += fmt.Sprintf("\n%s wanted %v, created %s, resting %v", c.Purchase.Name, c.Wanted, c.Purchase.CreationTimestamp.UTC(), Resting(c.Purchase))
		if c.Purchase.Status.DCV != nil {
			s += fmt.Sprint(" ", c.Purchase.Status.DCV.Records)
		}
	}
	return s
}
