// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestOrganizations(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, fixture(t, "organizations.json")))
	got, err := client.Organizations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Organization{
		{ID: "hdl_7K9QW3M2ZT8HJ", Name: "Example GmbH", Status: "ready", UsableForOrdering: true},
		{ID: "42", Name: "Example AG", Status: "validated"},
		{Name: "Example OHG"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, want %s", show(got), show(want))
	}
}

func TestOrganizationDecoding(t *testing.T) {
	tests := map[string]struct {
		reason string
		json   string
		want   Organization
		err    bool
	}{
		"nothing":                    {reason: "Every field may be absent.", json: `{}`},
		"both keys for the name":     {reason: "The one of the account's entries is the documented one.", json: `{"name":"b","organization":"a"}`, want: Organization{Name: "a"}},
		"an empty name and a name":   {reason: "An empty name says nothing.", json: `{"organization":"","name":"b"}`, want: Organization{Name: "b"}},
		"a large number for the id":  {reason: "It must keep its digits: an order names it.", json: `{"id":12345678901234567890}`, want: Organization{ID: "12345678901234567890"}},
		"fields that nobody knows":   {reason: "The vendor may add fields.", json: `{"id":"hdl_1","vat":{"id":1}}`, want: Organization{ID: "hdl_1"}},
		"an object for the name":     {reason: "A certificate that is paid for must not become unreadable by it.", json: `{"id":"hdl_1","organization":{},"name":"b"}`, want: Organization{ID: "hdl_1", Name: "b"}},
		"a status that nobody knows": {reason: "The list of states is not published.", json: `{"status":"in_review"}`, want: Organization{Status: "in_review"}},
		"an object for the id":       {reason: "It is none of the known forms.", json: `{"id":{}}`, err: true},
		"a word for usable":          {reason: "A guess at whether it can be ordered for is worse than an error.", json: `{"usable_for_ordering":"yes"}`, err: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got Organization
			err := json.Unmarshal([]byte(tc.json), &got)
			if (err != nil) != tc.err {
				t.Fatalf("error is %v, want one: %t. %s", err, tc.err, tc.reason)
			}
			if !tc.err && got != tc.want {
				t.Errorf("got %+v, want %+v. %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestOrganizationsReturnsNothingBesideAnError(t *testing.T) {
	tests := map[string]struct {
		reason string
		body   string
	}{
		"a refusal with 200":      {"Half a list would hide the organization that somebody has chosen.", `{"response":[{"id":"hdl_1"}],"success":false}`},
		"null for the list":       {"It does not say that there are none.", `{"success":true,"response":null}`},
		"an organization too big": {"Every value is bounded.", `{"success":true,"response":[{"id":"hdl_1"},{"id":"` + strings.Repeat("x", maxValueBytes) + `"}]}`},
		"more than can be":        {"The answer is bounded.", `{"success":true,"response":[{"id":"hdl_1"}` + strings.Repeat(`,{"id":"`+strings.Repeat("x", 64<<10)+`"}`, 65) + `]}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answer(http.StatusOK, jsonType, tc.body))
			if got, err := client.Organizations(t.Context()); KindOf(err) != KindUnreadable || got != nil {
				t.Errorf("got %v, %v, want an error alone. %s", got, err, tc.reason)
			}
		})
	}
}
