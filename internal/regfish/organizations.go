// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"encoding/json"
	"net/http"
)

// Organization is whom an OV certificate is issued to: an entry of the account,
// or the summary of the one bound to an order.
type Organization struct {
	ID   string `json:"id"`   // empty for null
	Name string `json:"name"` // what an entry of the account calls organization
	// Status is ready or validated, as far as it was seen; the vendor publishes
	// no list.
	Status string `json:"status"`
	// UsableForOrdering, and not Status, tells whether an order may name it.
	UsableForOrdering bool `json:"usable_for_ordering"`
}

// Organizations returns the organizations of the account, usable or not. See
// https://regfish.com/docs/recipes/tls-ov-order-with-console-completion.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	var organizations []Organization
	err := c.do(ctx, call{op: "list organizations", method: http.MethodGet, path: []string{"tls", "organization"}},
		maxAnswerBytes, all(c, &organizations))
	if err != nil {
		return nil, err
	}
	return organizations, nil
}

// UnmarshalJSON accepts the id as a string, a number or null, and the name under
// both of its keys.
func (o *Organization) UnmarshalJSON(data []byte) error {
	type plain Organization
	wire := struct {
		*plain
		ID      text `json:"id"`
		Company any  `json:"organization"` // a certificate must not become unreadable by it
	}{plain: (*plain)(o)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	o.ID = string(wire.ID)
	if company, ok := wire.Company.(string); ok && company != "" {
		o.Name = company
	}
	return nil
}
