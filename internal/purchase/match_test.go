// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// listed is a certificate as a list shows it: pending, of the product, with the names.
func listed(id string, names ...string) regfish.Certificate {
	c := regfish.Certificate{ID: id, Status: regfish.StatusPending, Product: "RapidSSL"}
	if len(names) > 0 {
		c.CommonName, c.DNSNames = names[0], names[1:]
	}
	return c
}

func TestCouldBe(t *testing.T) {
	catalogue := []regfish.Product{{SKU: "RapidSSL"}, {SKU: "RapidSSLWildcard"}, {SKU: "SecureSite"}}
	www := "www.example.com"
	with := func(change func(*regfish.Certificate)) regfish.Certificate {
		c := listed("C1", www)
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		reason  string
		changes []change
		seen    regfish.Certificate
		held    []string
		want    bool
	}{
		"an order with the name": {reason: "this is what is looked for", seen: listed("C1", www), want: true},
		"an id that was in the account before the order was sent": {
			reason: "what was there before is the result of nothing that came later", seen: listed("C1", www),
			changes: []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].BaselineIDs = []string{"C0", "C1"} }},
		},
		"an id that was there before one of two attempts that are looked for": {
			reason: "it may be the result of the other", seen: listed("C1", www), want: true,
			changes: []change{attempted("", 0), func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[1].BaselineIDs = []string{"C1"} }},
		},
		"an id that was there before an attempt that is looked for, and came after one that was not found": {
			reason: "the one that was not found is not looked for any more", seen: listed("C1", www),
			changes: []change{func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Attempts = nil
				unfound(time.Minute)(p)
				attempted("", 0)(p)
				p.Spec.Attempts[1].BaselineIDs = []string{"C1"}
			}},
		},
		"an id that another purchase holds": {reason: "an answer or a key says whose it is", seen: listed("C1", www), held: []string{"C1"}},
		"an id beside one that another purchase holds": {
			reason: "only the id itself is held", seen: listed("C1", www), held: []string{"C2"}, want: true,
		},
		"an id that was disproved": {
			reason: "its key is another one, and stays so", seen: listed("C1", www),
			changes: []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"C1"} }},
		},
		"another product of the catalogue": {
			reason: "the order named another one", seen: with(func(c *regfish.Certificate) { c.Product = "SecureSite" }),
		},
		"the product in another spelling": {
			reason: "the vendor's spelling is not the catalogue's", seen: with(func(c *regfish.Certificate) { c.Product = "RAPIDSSL" }), want: true,
		},
		"a product that nobody knows": {
			reason: "it may be a spelling of the one that was ordered", seen: with(func(c *regfish.Certificate) { c.Product = "Rapid SSL (DigiCert)" }), want: true,
		},
		"no product": {
			reason: "nothing says that it is another one", seen: with(func(c *regfish.Certificate) { c.Product = "" }), want: true,
		},
		"a product spelled nearly as another one of the catalogue": {
			reason: "only the very name of another product says that it is that one", seen: with(func(c *regfish.Certificate) { c.Product = "RAPIDSSLWILDCARD" }), want: true,
		},
		"an organization": {
			reason: "it is null while an order is staged, and may be any other time", seen: with(func(c *regfish.Certificate) { c.OrganizationID = "hdl_1" }), want: true,
		},
		"the name among others, in another case, with a dot": {
			reason: "the common name is moved, and names are added", seen: listed("C1", "shop.example.org", "WWW.Example.com."), want: true,
		},
		"the bare name": {
			reason: "www and the bare name are added to each other, and one may take the other's place", seen: listed("C1", "example.com"), want: true,
		},
		"the name with www twice": {reason: "it is what an authority adds to a www name", seen: listed("C1", "www.www.example.com"), want: true},
		"another name":            {reason: "no rewriting makes one name of another", seen: listed("C1", "api.example.com")},
		"a wildcard for the name": {reason: "no rewriting makes a wildcard of a name", seen: listed("C1", "*.example.com")},
		"no name":                 {reason: "its names are asked for by its id before it is judged", seen: listed("C1")},
		"a cancelled order": {
			reason: "somebody may have cancelled the one that is looked for", seen: with(func(c *regfish.Certificate) { c.Status = regfish.StatusCancelled }), want: true,
		},
		"an issued one": {
			reason: "its key tells", seen: with(func(c *regfish.Certificate) { c.Status = regfish.StatusIssued }), want: true,
		},
	} {
		p := record(t, 1, append([]change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, tt.changes...)...)
		held := map[string]bool{}
		for _, id := range tt.held {
			held[id] = true
		}
		if got := couldBe(&p, tt.seen, held, catalogue); got != tt.want {
			t.Errorf("%s could be the order: %v, because %s", name, got, tt.reason)
		}
	}
}

func TestChoose(t *testing.T) {
	const www, api, bare = "www.example.com", "api.example.com", "example.com"
	status := func(status string, c regfish.Certificate) regfish.Certificate {
		c.Status = status
		return c
	}
	for name, tt := range map[string]struct {
		reason string
		names  []string // ordered; default: www
		seen   []regfish.Certificate
		want   string
	}{
		"nothing":                        {reason: "there is nothing to choose"},
		"the only one with the names":    {reason: "it is followed so that validation goes on", seen: []regfish.Certificate{listed("C1", www)}, want: "C1"},
		"two with the names":             {reason: "nothing but a key tells them apart", seen: []regfish.Certificate{listed("C1", www), listed("C2", www)}},
		"one with the bare name added":   {reason: "authorities add it", seen: []regfish.Certificate{listed("C1", www, bare)}, want: "C1"},
		"two with the bare name added":   {reason: "nothing but a key tells them apart", seen: []regfish.Certificate{listed("C1", www, bare), listed("C2", www, bare)}},
		"one with the bare name instead": {reason: "it does not cover what was ordered", seen: []regfish.Certificate{listed("C1", bare)}},
		"one with another name added":    {reason: "no authority adds it, so it is somebody else's", seen: []regfish.Certificate{listed("C1", www, api)}},
		"one with a name missing":        {reason: "it does not cover what was ordered", names: []string{www, api}, seen: []regfish.Certificate{listed("C1", www)}},
		"the names in another order":     {reason: "the common name is moved", names: []string{www, api}, seen: []regfish.Certificate{listed("C1", api, www)}, want: "C1"},
		"exactly the names beside some with a name added": {
			reason: "being equal may choose", seen: []regfish.Certificate{listed("C1", www, bare), listed("C2", www), listed("C3", www, bare)}, want: "C2",
		},
		"the one under way beside a cancelled one": {
			reason: "a cancelled order has no validation to go on with", seen: []regfish.Certificate{status(regfish.StatusCancelled, listed("C1", www)), listed("C2", www)}, want: "C2",
		},
		"a cancelled one alone": {
			reason: "no key will ever prove it", seen: []regfish.Certificate{status(regfish.StatusOrderCancelled, listed("C1", www))},
		},
		"one that is issued and not delivered yet": {
			reason: "the file comes later than the word", seen: []regfish.Certificate{status(regfish.StatusIssued, listed("C1", www))}, want: "C1",
		},
		"one with a status that nobody knows": {
			reason: "what is not known to be an end goes on", seen: []regfish.Certificate{status("contemplating", listed("C1", www))}, want: "C1",
		},
	} {
		changes := []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}
		if tt.names != nil {
			changes = append(changes, forNames(t, tt.names...))
		}
		p := record(t, 1, changes...)
		var candidates []Candidate
		for _, c := range tt.seen {
			candidates = append(candidates, Candidate{Certificate: c})
		}
		got := ""
		if c := choose(&p, candidates); c != nil {
			got = c.Certificate.ID
		}
		if got != tt.want {
			t.Errorf("%s: %q is followed, want %q, because %s", name, got, tt.want, tt.reason)
		}
	}
}
