// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import "net/http"

// catalogue lists the DV products among the SKUs of the order page
// (https://regfish.com/docs/reference/create-certificate).
//
// Invented: all of RapidSSLWildcard and QuickSSLPremium but their SKUs, and the
// names of all; the vendor shows entries of RapidSSL and SSL123 alone.
var catalogue = []product{
	{SKU: "RapidSSL", Name: "RapidSSL", Type: "dv", CA: "digicert", Recommended: true, ValidationLevel: "dv"},
	{SKU: "RapidSSLWildcard", Name: "RapidSSL Wildcard", Type: "dv", CA: "digicert", ValidationLevel: "dv", wildcard: true},
	{SKU: "QuickSSLPremium", Name: "GeoTrust QuickSSL Premium", Type: "dv", CA: "digicert", ValidationLevel: "dv"},
	{SKU: "SSL123", Name: "Thawte SSL123", Type: "dv", CA: "digicert", ValidationLevel: "dv"},
}

type product struct {
	SKU                  string `json:"sku"`
	Name                 string `json:"name"`
	Type                 string `json:"type"`
	CA                   string `json:"ca"`
	Recommended          bool   `json:"recommended"`
	ValidationLevel      string `json:"validation_level"`
	OrganizationRequired bool   `json:"organization_required"`

	wildcard bool
}

// productOf finds a SKU. Invented: that its case matters; the vendor's client
// always sends the catalogue's spelling.
func productOf(sku string) (product, bool) {
	for _, p := range catalogue {
		if p.SKU == sku {
			return p, true
		}
	}
	return product{}, false
}

func (s *Server) listProducts(*http.Request, int, []Fault) reply { return accept(catalogue) }

// listOrganizations answers that there are none: only OV products need them.
func (s *Server) listOrganizations(*http.Request, int, []Fault) reply { return accept([]any{}) }
