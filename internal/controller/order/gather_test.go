// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"slices"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// At one name there is room for one CNAME. An order that does not know of another purchase
// there shows its own record at once, DNS automation sets the one over the other, and one of
// them waits for good.
func TestContendersAreAllThatWantARecordAtAName(t *testing.T) {
	at := func(names ...string) *v1alpha1.DCVStatus {
		dcv := &v1alpha1.DCVStatus{Method: v1alpha1.DCVMethodCNAME}
		for _, name := range names {
			dcv.Records = append(dcv.Records, v1alpha1.DNSRecord{Name: name, Type: "CNAME", Value: "of." + name})
		}
		return dcv
	}
	for name, tt := range map[string]struct {
		reason string
		mine   *v1alpha1.DCVStatus
		other  *v1alpha1.DCVStatus
		wanted bool
		want   []string
	}{
		"nothing is asked for": {reason: "there is no turn to wait for", mine: nil, other: at("_a.")},
		"alone":                {reason: "whether it is wanted does not matter then", mine: at("_a."), other: at("_b.")},
		"alone at two names":   {reason: "it is one purchase", mine: at("_a.", "_b."), other: at("_c.")},
		"another at one name":  {reason: "one of them has to wait", mine: at("_a.", "_b."), other: at("_b."), wanted: true, want: []string{"mine", "other, wanted"}},
		"another, not wanted":  {reason: "its records are not shown, and it has no turn", mine: at("_a."), other: at("_a."), want: []string{"mine", "other"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, o, mine, _ := issuedFor(t)
			mine.Status = purchase.Observe(mine, purchase.Observation{RequestLive: true, Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}})
			other := mine.DeepCopy()
			other.Name = "other"
			mine.Status.DCV, other.Status.DCV = tt.mine, tt.other
			if tt.wanted {
				o.Status.PurchaseRef = &v1alpha1.PurchaseRef{Name: other.Name}
				o.Status.Vendor = &v1alpha1.Vendor{}
			}
			r, api := reconciler(t, nil, clocktesting.NewFakePassiveClock(noon), interceptor.Funcs{}, o, mine, other)
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(mine), mine); err != nil {
				t.Fatal(err)
			}
			found, err := r.contenders(t.Context(), mine)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range found {
				name := c.Purchase.Name
				if name == mine.Name {
					name = "mine"
				}
				if c.Wanted {
					name += ", wanted"
				}
				got = append(got, name)
			}
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("%s: contenders %q, want %q", tt.reason, got, tt.want)
			}
		})
	}
}
