// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"net/http"
	"reflect"
	"testing"
)

func TestProducts(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, fixture(t, "products.json")))
	got, err := client.Products(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Product{
		{SKU: "RapidSSL", Name: "RapidSSL", Type: "dv", CA: "digicert", Recommended: true, ValidationLevel: "dv"},
		{SKU: "SecureSite", Name: "Secure Site", Type: "OV", CA: "digicert", OrganizationRequired: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, want %s", show(got), show(want))
	}
	if got[0].Level() != "dv" || got[1].Level() != "ov" {
		t.Errorf("levels are %q and %q, want dv and ov: the vendor's spelling varies, and one of the two fields may be missing",
			got[0].Level(), got[1].Level())
	}
}

func TestProductsReturnsNothingBesideAnError(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, `{"response":[{"sku":"RapidSSL"}],"success":false}`))
	if got, err := client.Products(t.Context()); KindOf(err) != KindUnreadable || got != nil {
		t.Errorf("got %v, %v, want an error alone: half a catalogue would make products unknown", got, err)
	}
}
