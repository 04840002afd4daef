// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestCatalogue(t *testing.T) {
	v := start(t)
	products, err := v.client.Products(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"RapidSSL": "dv", "RapidSSLWildcard": "dv", "QuickSSLPremium": "dv", "SSL123": "dv",
		"TrueBusinessID": "ov", "SecureSite": "ov", "SSLWebServer": "ov",
	}
	levels := map[string]string{}
	for _, p := range products {
		if p.Name == "" || p.CA != "digicert" || p.Type != p.ValidationLevel || p.OrganizationRequired != (p.Type == "ov") || p.Recommended != (p.SKU == "RapidSSL") {
			t.Errorf("product is %+v", p)
		}
		levels[p.SKU] = p.Level()
	}
	if !reflect.DeepEqual(levels, want) {
		t.Errorf("products are %v, want the vendor's list %v", levels, want)
	}
}

func TestCatalogueFaults(t *testing.T) {
	const row = `{"sku":"SecureSite","name":"Secure Site","type":"ov","ca":"digicert","recommended":false,"validation_level":"ov","organization_required":true}`
	tests := map[string]struct {
		reason string
		kinds  []simulator.FaultKind
		want   string
	}{
		"as documented":        {"Nothing is rewritten.", nil, row},
		"the type in capitals": {"The vendor's recipe writes it so.", []simulator.FaultKind{simulator.FaultTypeInCapitals}, strings.Replace(row, `"type":"ov"`, `"type":"OV"`, 1)},
		"no level":             {"It may be absent.", []simulator.FaultKind{simulator.FaultNoValidationLevel}, strings.Replace(row, `"validation_level":"ov",`, ``, 1)},
		"no word on organizations": {"It may be absent.", []simulator.FaultKind{simulator.FaultNoOrganizationRequired},
			strings.Replace(row, `,"organization_required":true`, ``, 1)},
		"all at once": {"They do not depend on each other.",
			[]simulator.FaultKind{simulator.FaultTypeInCapitals, simulator.FaultNoValidationLevel, simulator.FaultNoOrganizationRequired},
			`{"sku":"SecureSite","name":"Secure Site","type":"OV","ca":"digicert","recommended":false}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			for _, kind := range tc.kinds {
				v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointProducts, Kind: kind, Times: -1})
			}
			for range 2 { // the whole life of a simulator, if a test wants that
				if _, _, text := v.call(t, simulator.DefaultKey, http.MethodGet, "/tls/products", ""); !strings.Contains(text, tc.want) {
					t.Errorf("products are %s, want among them %s. %s", text, tc.want, tc.reason)
				}
			}
			products, err := v.client.Products(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(products, func(p regfish.Product) bool { return p.SKU == "SecureSite" }); i < 0 || products[i].Level() != "ov" {
				t.Errorf("products are %+v: the level is the same, however it is written", products)
			}
		})
	}
}
