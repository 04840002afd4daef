// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"slices"
	"strings"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// An order has no reference of ours, so one whose answer was lost can only be looked
// for by what the account says of its certificates, and the vendor rewrites that: it
// spells products its own way, leaves the organization out while an order is staged,
// moves the common name and adds names. Being equal may therefore choose a candidate,
// and being different never rules one out: a lost order that is ruled out is bought
// again.

// couldBe reports whether the certificate may be the result of an attempt of p whose
// outcome is unknown. What is ruled out is ruled out by a fact: it was there before,
// another purchase holds it, its key is another one, it is another product of the
// catalogue by that product's very name, or it has no name in common, www or not.
//
// held are the ids that other purchases hold by an answer or by proof, and catalogue
// the products of the account, nil if they are not known.
func couldBe(p *v1alpha1.RegfishPurchase, c regfish.Certificate, held map[string]bool, catalogue []regfish.Product) bool {
	return !held[c.ID] && !knownBefore(p, c.ID) && !otherProduct(p, c, catalogue) && pki.ShareCanonical(c.Names(), exactNames(p))
}

// knownBefore reports whether the id is the result of no attempt of p by what its
// record says: it was in the account before, or its key is another one.
func knownBefore(p *v1alpha1.RegfishPurchase, id string) bool {
	return inBaseline(p, id) || disproved(p, id)
}

// otherProduct reports whether the certificate is named exactly as another product of
// the catalogue. A name that only looks like another product's is a spelling.
func otherProduct(p *v1alpha1.RegfishPurchase, c regfish.Certificate, catalogue []regfish.Product) bool {
	return !strings.EqualFold(c.Product, p.Spec.SKU) && slices.ContainsFunc(catalogue, func(other regfish.Product) bool {
		return other.SKU == c.Product && !strings.EqualFold(other.SKU, p.Spec.SKU)
	})
}

// disproved reports whether an attempt of p found the certificate to have another key.
func disproved(p *v1alpha1.RegfishPurchase, id string) bool {
	return slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return slices.Contains(a.DisprovedIDs, id) })
}

func exactNames(p *v1alpha1.RegfishPurchase) []string {
	return pki.ExactNames(p.Spec.CommonName, p.Spec.DNSNames)
}

// fits reports whether the names are those of p, with none missing and none added but
// those that a certificate authority adds by itself.
func fits(p *v1alpha1.RegfishPurchase, names []string) bool {
	return pki.Covers(names, exactNames(p)) && len(pki.Foreign(names, exactNames(p))) == 0
}

// choose returns the one candidate that may be followed as the order of p before its
// key can prove it: the only one still under way whose names fit. If names were added
// to one and another has exactly the names that were ordered, that other one is it.
func choose(p *v1alpha1.RegfishPurchase, candidates []Candidate) *Candidate {
	var equal, fitting []*Candidate
	for i := range candidates {
		c := &candidates[i]
		names := pki.ExactNames("", c.Certificate.Names())
		// A certificate that can be read proves what it is, or that it is not known.
		if c.Gone || c.Leaf != nil || ended(c.Certificate) || !fits(p, names) {
			continue
		}
		fitting = append(fitting, c)
		if slices.Equal(names, exactNames(p)) {
			equal = append(equal, c)
		}
	}
	switch {
	case len(equal) == 1:
		return equal[0]
	case len(equal) == 0 && len(fitting) == 1:
		return fitting[0]
	}
	return nil
}

// ended reports whether the vendor says that the certificate came to nothing or is over.
func ended(c regfish.Certificate) bool {
	return !pending(c) && c.Status != regfish.StatusIssued
}

// closed reports whether the vendor says that the order came to nothing, after which
// nothing is issued for it any more. A certificate that has run out does not say so: what
// was paid for may go on, and a reissue with it.
func closed(c regfish.Certificate) bool { return ended(c) && c.Status != regfish.StatusExpired }
