// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
)

// product is an entry of the catalogue, and what an order of it has to heed.
type product struct {
	sku, name    string
	level        string // dv or ov
	recommended  bool
	wildcard     bool // takes wildcards
	wildcardOnly bool // takes nothing else for a common name
}

// ov tells whether a certificate names an organization, so that an order needs
// one.
func (p product) ov() bool { return p.level == "ov" }

// catalogue lists the SKUs of the order page
// (https://regfish.com/docs/reference/create-certificate).
//
// Invented: the names of all but SecureSite; all of RapidSSLWildcard,
// QuickSSLPremium, TrueBusinessID and SSLWebServer but their SKUs, because the
// vendor shows entries of RapidSSL, SSL123 and SecureSite alone; and which
// products take wildcards.
var catalogue = []product{
	{sku: "RapidSSL", name: "RapidSSL", level: "dv", recommended: true},
	{sku: "RapidSSLWildcard", name: "RapidSSL Wildcard", level: "dv", wildcard: true, wildcardOnly: true},
	{sku: "QuickSSLPremium", name: "GeoTrust QuickSSL Premium", level: "dv"},
	{sku: "SSL123", name: "Thawte SSL123", level: "dv"},
	{sku: "TrueBusinessID", name: "GeoTrust True BusinessID", level: "ov", wildcard: true},
	{sku: "SecureSite", name: "Secure Site", level: "ov", wildcard: true},
	{sku: "SSLWebServer", name: "Thawte SSL Web Server", level: "ov", wildcard: true},
}

// productOf finds a SKU. Invented: that its case matters; the vendor's client
// always sends the catalogue's spelling.
func productOf(sku string) (product, bool) {
	for _, p := range catalogue {
		if p.sku == sku {
			return p, true
		}
	}
	return product{}, false
}

// productView is a product as the vendor shows it.
type productView struct {
	SKU                  string `json:"sku"`
	Name                 string `json:"name"`
	Type                 string `json:"type"`
	CA                   string `json:"ca"`
	Recommended          bool   `json:"recommended"`
	ValidationLevel      string `json:"validation_level,omitempty"`
	OrganizationRequired *bool  `json:"organization_required,omitempty"`
}

func (s *Server) listProducts(_ *http.Request, _ int, faults []Fault) reply {
	var views []productView
	for _, p := range catalogue {
		required := p.ov()
		v := productView{SKU: p.sku, Name: p.name, Type: p.level, CA: "digicert", Recommended: p.recommended,
			ValidationLevel: p.level, OrganizationRequired: &required}
		if has(faults, FaultTypeInCapitals) {
			v.Type = strings.ToUpper(v.Type)
		}
		if has(faults, FaultNoValidationLevel) {
			v.ValidationLevel = ""
		}
		if has(faults, FaultNoOrganizationRequired) {
			v.OrganizationRequired = nil
		}
		views = append(views, v)
	}
	return accept(views)
}
