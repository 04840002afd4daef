// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(s string) *time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return &t
}

var bonus = 7

// These are what testdata/certificate.json and testdata/certificates.json say.
var (
	ordered = Certificate{
		ID: "ABCDEFGHJKM23", Status: StatusPending, CommonName: "example.com", DNSNames: []string{"www.example.com"},
		Product: "RapidSSL", Provider: "digicert", OrderState: "PENDING",
		PendingReason: "validation_pending", PendingMessage: "The TLS certificate order is waiting for domain validation.",
		ValidityDays: 199,
		Validation: &Validation{Method: DCVMethodCNAME, DNSRecords: []DNSRecord{
			{Name: "_dnsauth.example.com.", Type: "CNAME", Value: "0123456789abcdef.dcv.digicert.com."},
		}},
	}
	issued = Certificate{
		ID: "7K9QW3M2ZT8HJ", Status: StatusIssued, CommonName: "www.example.com", DNSNames: []string{"www.example.com", "Example.com."},
		Product: "SecureSite", Provider: "digicert", OrderState: "ISSUED",
		PendingReason: "organization_required", PendingMessage: "Organization or contact details are needed.",
		CompletionURL:  "https://dash.regfish.com/my/certs/7K9QW3M2ZT8HJ/complete",
		OrganizationID: "hdl_7K9QW3M2ZT8HJ",
		Organization:   &Organization{ID: "hdl_7K9QW3M2ZT8HJ", Name: "Example GmbH", Status: "validated", UsableForOrdering: true},
		ValidityDays:   199, RenewalBonusDays: &bonus, CertificatePEMAvailable: true, SerialNumber: "0A:1B",
		ValidFrom: at("2026-03-18T10:00:00Z"), ValidUntil: at("2026-10-10T10:00:00Z"),
		ContractValidFrom: at("2026-03-18T10:00:00Z"), ContractValidUntil: at("2027-03-18T10:00:00Z"),
		LastStatusCheck:  at("2026-03-18T10:00:00Z"),
		RenewalSupported: true, ReissueSupported: true,
		RevocationScope: "certificate", RevocationPendingScope: "order",
		OrderCancellable: true, OrderCancellationMode: "revoke_issued", OrderCancellableUntil: at("2026-03-20T10:00:00Z"),
		Validation: &Validation{Method: DCVMethodEmail, EmailTargets: []string{"admin@example.com"}},
		Reissue: &Reissue{ID: "42", Status: "processing", CommonName: "www.example.com", DNSNames: []string{"www.example.com"},
			OrderState: "PENDING", RequestedAt: at("2026-04-01T00:00:00Z")},
	}
	staged = Certificate{
		ID: "OVPENDING", Status: StatusPending, CommonName: "example.org", Product: "SecureSite", ActionRequired: true,
		OrganizationID: "42", Organization: &Organization{ID: "42", Name: "Example GmbH"},
	}
)

func TestCertificateNames(t *testing.T) {
	tests := map[string]struct {
		reason string
		cert   Certificate
		want   []string
	}{
		"common name outside the DNS names": {
			reason: "This is how the vendor's page shows it.",
			cert:   Certificate{CommonName: "example.com", DNSNames: []string{"www.example.com"}},
			want:   []string{"example.com", "www.example.com"},
		},
		"common name among the DNS names": {
			reason: "This is how the vendor's client expects it.",
			cert:   Certificate{CommonName: "example.com", DNSNames: []string{"www.example.com", "example.com"}},
			want:   []string{"example.com", "www.example.com"},
		},
		"other spellings of one name": {
			reason: "Case, a trailing dot and blanks do not make another name.",
			cert:   Certificate{CommonName: "Example.COM.", DNSNames: []string{" example.com", "EXAMPLE.com."}},
			want:   []string{"example.com"},
		},
		"a wildcard": {
			reason: "It is a name like any other.",
			cert:   Certificate{CommonName: "*.example.com", DNSNames: []string{"example.com"}},
			want:   []string{"*.example.com", "example.com"},
		},
		"no names": {
			reason: "A staged order may have none; an empty name would match an empty name elsewhere.",
			cert:   Certificate{DNSNames: []string{"", ".", " "}},
			want:   []string{},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tc.cert.DNSNames)
			if got := tc.cert.Names(); !slices.Equal(got, tc.want) {
				t.Errorf("Names() = %q, want %q. %s", got, tc.want, tc.reason)
			}
			if !slices.Equal(before, tc.cert.DNSNames) {
				t.Error("Names() changed the certificate")
			}
		})
	}
}

func TestCertificateDecoding(t *testing.T) {
	tests := map[string]struct {
		reason string
		json   string
		want   Certificate
		err    bool
	}{
		"an id and nothing else": {
			reason: "Every other field may be absent.",
			json:   `{"id":"A"}`, want: Certificate{ID: "A"},
		},
		"null for everything": {
			reason: "Nullability is undocumented, field by field.",
			json: `{"id":"A","status":null,"common_name":null,"dns_names":null,"organization_id":null,"organization":null,
				"validity_days":null,"renewal_bonus_days":null,"valid_from":null,"validation":null,"reissue":null,
				"action_required":null,"order_cancellable_until":null,"completion_url":null}`,
			want: Certificate{ID: "A"},
		},
		"fields that nobody knows": {
			reason: "The vendor may add fields.",
			json:   `{"id":"A","price":{"amount":"9.90"},"tags":[1,2]}`, want: Certificate{ID: "A"},
		},
		"a status that nobody knows": {
			reason: "The list of states is not published.",
			json:   `{"id":"A","status":"revoked_maybe"}`, want: Certificate{ID: "A", Status: "revoked_maybe"},
		},
		"a numeric organization id": {
			reason: "Older answers have one; a large number must keep its digits.",
			json:   `{"id":"A","organization_id":12345678901234567890}`, want: Certificate{ID: "A", OrganizationID: "12345678901234567890"},
		},
		"a date with an offset": {
			reason: "It is one moment, shown in UTC.",
			json:   `{"id":"A","valid_until":"2026-10-10T12:00:00+02:00"}`, want: Certificate{ID: "A", ValidUntil: at("2026-10-10T10:00:00Z")},
		},
		"several validation records": {
			reason: "There may be one for each domain.",
			json: `{"id":"A","validation":{"method":"dns-cname-token","dns_records":[
				{"name":"_dnsauth.a.com","type":"CNAME","value":"_x.dcv.digicert.com"},
				{"name":"_dnsauth.b.com","type":"CNAME","value":"_y.dcv.digicert.com"}]}}`,
			want: Certificate{ID: "A", Validation: &Validation{Method: DCVMethodCNAME, DNSRecords: []DNSRecord{
				{"_dnsauth.a.com", "CNAME", "_x.dcv.digicert.com"}, {"_dnsauth.b.com", "CNAME", "_y.dcv.digicert.com"},
			}}},
		},
		"names that are not a list": {
			reason: "A guess at what was bought is worse than an error.",
			json:   `{"id":"A","dns_names":"example.com"}`, err: true,
		},
		"a status that is a number": {
			reason: "A guess at the state is worse than an error.",
			json:   `{"id":"A","status":1}`, err: true,
		},
		"an organization id that is an object": {
			reason: "It is none of the known forms.",
			json:   `{"id":"A","organization_id":{}}`, err: true,
		},
		"a date that is a number": {
			reason: "It could be seconds or milliseconds.",
			json:   `{"id":"A","valid_until":1791626400}`, err: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got Certificate
			err := json.Unmarshal([]byte(tc.json), &got)
			if (err != nil) != tc.err {
				t.Fatalf("error is %v, want one: %t. %s", err, tc.err, tc.reason)
			}
			if !tc.err && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %s\nwant %s\n%s", show(got), show(tc.want), tc.reason)
			}
		})
	}
}

func show(v any) string {
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}

// FuzzCertificate holds against any input that decodes: nothing of it is lost
// when it is encoded and decoded again, dates are real ones, and the names are in
// canonical form and cover exactly what was sent.
func FuzzCertificate(f *testing.F) {
	var list struct{ Response []json.RawMessage }
	if err := json.Unmarshal([]byte(fixture(f, "certificates.json")), &list); err != nil {
		f.Fatal(err)
	}
	for _, row := range list.Response {
		f.Add([]byte(row))
	}
	f.Add([]byte(`{"id":"A","organization_id":1e400,"reissue":{"id":-1},"valid_from":"9999-12-31T23:59:59-10:00"}`))
	f.Add([]byte(`{"ID":"a","common_name":"*.ÄB.","dns_names":["\ud800",null,"."]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var cert Certificate
		if json.Unmarshal(data, &cert) != nil {
			return
		}
		encoded, err := json.Marshal(cert)
		if err != nil {
			t.Fatalf("decoded %s, but cannot encode it: %v", data, err)
		}
		var again Certificate
		if err := json.Unmarshal(encoded, &again); err != nil || !reflect.DeepEqual(again, cert) {
			t.Fatalf("decoded %s to %s, then to %s, %v", data, show(cert), show(again), err)
		}
		for _, date := range []*time.Time{cert.ValidFrom, cert.ValidUntil, cert.ContractValidFrom,
			cert.ContractValidUntil, cert.LastStatusCheck, cert.OrderCancellableUntil} {
			if date != nil && (date.IsZero() || date.Location() != time.UTC) {
				t.Errorf("date %v of %s is zero or not in UTC", date, data)
			}
		}
		names := cert.Names()
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("names %q are not sorted or not unique", names)
		}
		have := map[string]bool{}
		for _, name := range names {
			if name == "" || name != strings.ToLower(name) {
				t.Errorf("name %q is not in lower case or empty", name)
			}
			have[name] = true
		}
		for _, name := range append(cert.DNSNames, cert.CommonName) {
			name = strings.TrimSuffix(strings.TrimSpace(strings.ToLower(name)), ".")
			if name != "" && !have[name] {
				t.Errorf("name %q is missing in %q", name, names)
			}
		}
	})
}
