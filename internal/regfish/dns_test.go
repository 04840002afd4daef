// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"
)

func TestRecords(t *testing.T) {
	tests := map[string]struct {
		reason string
		status int
		body   string
		want   []Record
		kind   Kind
	}{
		"a zone with records": {
			reason: "All fields of a record.", status: 200,
			body: `{"success":true,"code":0,"response":[{"id":3236253,"name":"a.example.com.","type":"CNAME","data":"b.example.com.","ttl":60,
				"annotation":"note","auto":false,"active":true,"ts_created":1,"ts_updated":2},
				{"id":3236254,"name":"example.com.","type":"MX","data":"mx.example.com.","ttl":3600,"priority":10},
				{"id":3236255,"name":"example.com.","type":"CAA","data":"digicert.com","ttl":3600,"tag":"issue","flags":128,"annotation":null}]}`,
			want: []Record{
				{ID: 3236253, Name: "a.example.com.", Type: "CNAME", Data: "b.example.com.", TTL: 60, Annotation: "note", Active: true, Created: 1, Updated: 2},
				{ID: 3236254, Name: "example.com.", Type: "MX", Data: "mx.example.com.", TTL: 3600, Priority: 10},
				{ID: 3236255, Name: "example.com.", Type: "CAA", Data: "digicert.com", TTL: 3600, Tag: "issue", Flags: 128},
			},
		},
		"an empty zone":                     {reason: "The vendor answers with an empty array.", status: 200, body: `{"success":true,"response":[]}`},
		"a foreign zone, in an envelope":    {reason: "Recorded from the vendor.", status: 200, body: fixture(t, "zone-foreign.json"), kind: KindZoneNotFound},
		"a foreign zone, in a status":       {reason: "The vendor's client expects it.", status: 404, body: fixture(t, "error.json"), kind: KindZoneNotFound},
		"a foreign zone, as an error":       {reason: "Reported by an integrator.", status: 500, body: fixture(t, "error.json"), kind: KindZoneNotFound},
		"a vendor that is down":             {reason: "It says nothing about the zone.", status: 502, body: fixture(t, "error.json"), kind: KindUnavailable},
		"a key that may not":                {reason: "It says nothing about the zone.", status: 403, body: fixture(t, "error.json"), kind: KindForbidden},
		"another failure in an envelope":    {reason: "It says nothing about the zone.", status: 200, body: `{"success":false,"code":1}`, kind: KindUnreadable},
		"success with the code of a record": {reason: "Only success decides.", status: 200, body: `{"success":true,"code":15001,"response":[]}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answer(tc.status, jsonType, tc.body))
			got, err := client.Records(t.Context(), "example.com")
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %s, want %s. %s", show(got), show(tc.want), tc.reason)
			}
		})
	}
}

func TestCreateRecord(t *testing.T) {
	request := Record{Name: "_dnsauth.example.com", Type: "CNAME", Data: "0123456789abcdef.dcv.digicert.com.", TTL: 60, Annotation: "note"}
	absolute := request
	absolute.Name += "."
	withID := absolute
	withID.ID, withID.Active = 3236253, true
	tests := map[string]struct {
		reason string
		status int
		body   string
		want   Record
		kind   Kind
	}{
		"a new record":              {reason: "Recorded from the vendor, which does not repeat the annotation.", status: 200, body: fixture(t, "record-created.json"), want: withID},
		"an answer without an id":   {reason: "The vendor's client expects it.", status: 200, body: `{"success":true,"response":{"name":"_dnsauth.example.com."}}`, want: absolute},
		"an answer without a body":  {reason: "Success is enough.", status: 200, body: `{"success":true}`, want: absolute},
		"a record that is there":    {reason: "Recorded from the vendor: what was wanted is the case.", status: 417, body: fixture(t, "record-exists.json"), want: absolute},
		"the same with 200":         {reason: "The vendor sends failures with 200, too.", status: 200, body: fixture(t, "record-exists.json"), want: absolute},
		"a foreign zone":            {reason: "The record can never be created.", status: 404, body: fixture(t, "error.json"), kind: KindZoneNotFound},
		"a foreign zone with 200":   {reason: "The record can never be created.", status: 200, body: fixture(t, "zone-foreign.json"), kind: KindZoneNotFound},
		"a record the vendor hates": {reason: "The vendor does not say what it hates.", status: 400, body: fixture(t, "error.json"), kind: KindInvalid},
		"a vendor that is down":     {reason: "Nothing was created for sure.", status: 500, body: fixture(t, "error.json"), kind: KindUnavailable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var sent map[string]any
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if err := json.Unmarshal(body, &sent); err != nil {
					t.Error(err)
				}
				answer(tc.status, jsonType, tc.body)(w, r)
			})
			got, err := client.CreateRecord(t.Context(), request)
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v. %s", got, tc.want, tc.reason)
			}
			want := map[string]any{"name": "_dnsauth.example.com.", "type": "CNAME", "data": "0123456789abcdef.dcv.digicert.com.", "ttl": 60.0, "annotation": "note"}
			if !reflect.DeepEqual(sent, want) {
				t.Errorf("sent %v, want %v", sent, want)
			}
		})
	}
}

func TestDeleteRecord(t *testing.T) {
	tests := map[string]struct {
		reason string
		status int
		body   string
		kind   Kind
	}{
		"a record":              {reason: "Recorded from the vendor, which says so in the field error.", status: 200, body: fixture(t, "record-deleted.json")},
		"a short answer":        {reason: "The vendor's client expects it.", status: 200, body: `{"success":true}`},
		"a record that is gone": {reason: "What was wanted is the case.", status: 404, body: fixture(t, "error.json")},
		"the same with 200":     {reason: "The vendor sends failures with 200, too.", status: 200, body: fixture(t, "zone-foreign.json")},
		"a key that may not":    {reason: "The record is still there.", status: 401, body: fixture(t, "error.json"), kind: KindUnauthorized},
		"another failure":       {reason: "The record may still be there.", status: 200, body: `{"success":false}`, kind: KindUnreadable},
		"a vendor that is down": {reason: "The record may still be there.", status: 500, body: fixture(t, "error.json"), kind: KindUnavailable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answer(tc.status, jsonType, tc.body))
			err := client.DeleteRecord(t.Context(), 3236253)
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
		})
	}
}
