// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// ways counts orders whose outcome was unknown to the process that sent them, by what
// became of that.
type ways struct {
	// Adopted were found in the account, and the key of what was issued proved it.
	Adopted int `json:"adopted"`
	// Followed were found in the account, and named, and nobody wants their certificates,
	// so that none is issued that could prove it.
	Followed int `json:"followed"`
	// Absent were shown not to be in the account, so that the request was free to buy again.
	Absent int `json:"absent"`
	// Person are those that a person decided: adopted, bought again or given up.
	Person int `json:"person"`
	// Cancelled are those that a person cancelled at the vendor before it was known whose
	// they are. They are Held: no certificate will ever prove it.
	Cancelled int `json:"cancelled"`
	// Held wait for a person, and Open are none of all that.
	Held int `json:"held"`
	Open int `json:"open"`
}

func (a *ways) add(b ways) {
	a.Adopted += b.Adopted
	a.Followed += b.Followed
	a.Absent += b.Absent
	a.Person += b.Person
	a.Cancelled += b.Cancelled
	a.Held += b.Held
	a.Open += b.Open
}

func (a ways) all() int { return a.alone() + a.Person + a.Cancelled + a.Held + a.Open }

// alone is how many were resolved without a person.
func (a ways) alone() int { return a.Adopted + a.Followed + a.Absent }

// withoutPerson checks that at least 99 of 100 were resolved without a person, of those
// in which no person had a hand before.
func (a ways) withoutPerson(t *testing.T) {
	t.Helper()
	if open := a.all() - a.Person - a.Cancelled; a.alone()*100 < open*99 {
		t.Errorf("of %d orders whose outcome was unknown, %d were resolved without a person: %+v", open, a.alone(), a)
	}
}

// endsOf counts the orders of unknown outcome in the records that are left. Outside the
// bound each has to be one of those of which people know or need not.
func (w *world) endsOf(sold []simulator.Purchase, records []v1alpha1.RegfishPurchase) ways {
	var found ways
	for i := range records {
		p := &records[i]
		own := slices.DeleteFunc(slices.Clone(sold), func(s simulator.Purchase) bool { return s.KeyHash != keyOf(p.Spec.Request) })
		for _, a := range p.Spec.Attempts {
			resolved := a.Resolution
			switch {
			case resolved == nil && a.Outcome != nil && a.Outcome.Result != v1alpha1.OutcomeUnknown:
			case resolved != nil && resolved.Result == v1alpha1.ResolutionNotFound:
				found.Absent++
			case resolved != nil && resolved.Proved:
				found.Adopted++
			case resolved != nil, a.ReleaseTime != nil, p.Spec.AbandonTime != nil:
				found.Person++
			case meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld):
				if slices.ContainsFunc(own, func(s simulator.Purchase) bool { return w.cancelled[s.ID] }) {
					found.Cancelled++
				} else {
					found.Held++
				}
			case !w.wanted(p) && slices.ContainsFunc(own, func(s simulator.Purchase) bool { return told([]v1alpha1.RegfishPurchase{*p}, s.ID) }):
				found.Followed++
			default:
				found.Open++
				if w.plan.outside {
					w.violate("unresolved: nobody is told what became of attempt %d of %s", a.Number, p.Name)
				}
			}
		}
	}
	return found
}
