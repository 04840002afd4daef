// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"net/http"
	"strings"
)

// Product is an entry of the vendor's catalogue.
type Product struct {
	SKU                  string `json:"sku"`
	Name                 string `json:"name"`
	Type                 string `json:"type"` // dv or OV: the case varies
	CA                   string `json:"ca"`
	Recommended          bool   `json:"recommended"`
	ValidationLevel      string `json:"validation_level"` // may be empty; then Type says it
	OrganizationRequired bool   `json:"organization_required"`
}

// Level returns the validation level in lower case: dv, ov or ev.
func (p Product) Level() string {
	if p.ValidationLevel != "" {
		return strings.ToLower(p.ValidationLevel)
	}
	return strings.ToLower(p.Type)
}

// Products returns the catalogue. See
// https://regfish.com/docs/recipes/tls-ov-order-with-console-completion.
func (c *Client) Products(ctx context.Context) ([]Product, error) {
	var products []Product
	err := c.do(ctx, call{op: "list products", method: http.MethodGet, path: []string{"tls", "products"}},
		maxAnswerBytes, all(c, &products))
	if err != nil {
		return nil, err
	}
	return products, nil
}
