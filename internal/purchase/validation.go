// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"slices"
	"strings"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// Contender is a purchase that wants a validation record.
type Contender struct {
	Purchase *v1alpha1.RegfishPurchase
	// Wanted says that an order shows the purchase, so that somebody publishes its
	// record.
	Wanted bool
}

// Turn returns the records of p that may be published now, and the purchase that
// the others wait for. Two purchases can want different CNAME targets at one
// name, and DNS can hold one: the name belongs to those that somebody waits for
// first, then to the oldest, and passes on when its owner is issued or ended. The
// order is the same at every name, so two purchases never wait for each other.
func Turn(p *v1alpha1.RegfishPurchase, contenders []Contender) (mine []v1alpha1.DNSRecord, waitsFor *v1alpha1.RegfishPurchase, at string) {
	if p.Status.DCV == nil {
		return nil, nil, ""
	}
	queue := slices.Clone(contenders)
	slices.SortFunc(queue, func(a, b Contender) int {
		switch {
		case a.Wanted && !b.Wanted:
			return -1
		case b.Wanted && !a.Wanted:
			return 1
		}
		if c := a.Purchase.CreationTimestamp.Compare(b.Purchase.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Purchase.Name, b.Purchase.Name)
	})
	for _, r := range p.Status.DCV.Records {
		first := p
		for _, c := range queue {
			if c.Purchase.Name == p.Name {
				break
			}
			if Resting(c.Purchase) || c.Purchase.Status.DCV == nil {
				continue
			}
			if slices.ContainsFunc(c.Purchase.Status.DCV.Records, func(o v1alpha1.DNSRecord) bool {
				return o.Name == r.Name && o.Type == r.Type && o.Value != r.Value
			}) {
				first = c.Purchase
				break
			}
		}
		if first == p {
			mine = append(mine, r)
		} else if waitsFor == nil {
			waitsFor, at = first, r.Name
		}
	}
	return mine, waitsFor, at
}
