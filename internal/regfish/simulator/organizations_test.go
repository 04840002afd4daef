// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestOrganizationsAsTheVendorShowsThem(t *testing.T) {
	// Every field of the vendor's page, in its order.
	const row = `{"id":%s,"organization":"Example GmbH","status":%q,"usable_for_ordering":true,"first_name":"Erika","last_name":"Mustermann",` +
		`"address":"Musterstraße 1","postal_code":"10115","city":"Berlin","country_code":"DE","phone":"+49.301234567","email":"erika@example.com"}`
	tests := map[string]struct {
		reason     string
		kind       simulator.FaultKind
		id, status string
		want       string
	}{
		"as documented":          {"Nothing is rewritten.", "", "hdl_1", "ready", fmt.Sprintf(row, `"hdl_1"`, "ready")},
		"a number for an id":     {"Older answers have one.", simulator.FaultOrganizationIDNumber, "17", "ready", fmt.Sprintf(row, "17", "ready")},
		"a number for a handle":  {"Something has to stand for it.", simulator.FaultOrganizationIDNumber, "hdl_1", "ready", fmt.Sprintf(row, "42", "ready")},
		"another word for ready": {"The vendor's fixture has it.", simulator.FaultOrganizationValidated, "hdl_1", "ready", fmt.Sprintf(row, `"hdl_1"`, "validated")},
		"no other word for the rest": {"It is a word for ready alone.", simulator.FaultOrganizationValidated, "hdl_1", "review",
			fmt.Sprintf(row, `"hdl_1"`, "review")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) {
				o.Organizations = []simulator.Organization{{ID: tc.id, Name: "Example GmbH", Status: tc.status, Usable: true}}
			})
			if tc.kind != "" {
				v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrganizations, Kind: tc.kind})
			}
			status, _, text := v.call(t, simulator.DefaultKey, http.MethodGet, "/tls/organization", "")
			if want := `{"code":0,"response":[` + tc.want + `],"success":true}`; status != http.StatusOK || text != want {
				t.Errorf("answer is %d\n%s\nwant\n%s\n%s", status, text, want, tc.reason)
			}
		})
	}
}

func TestOrganizationsThroughTheClient(t *testing.T) {
	ready := regfish.Organization{ID: "hdl_7K9QW3M2ZT8HJ", Name: "Example GmbH", Status: "ready", UsableForOrdering: true}
	incomplete := regfish.Organization{ID: "hdl_3F6NX8RB5WQ2C", Name: "Example Research GmbH", Status: "ready", UsableForOrdering: true}
	unusable := regfish.Organization{ID: "hdl_9D4TH7KM3VZ6P", Name: "Example Trading Ltd", Status: "pending"}
	expect := func(v *vendor, want ...regfish.Organization) {
		t.Helper()
		if got, err := v.client.Organizations(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("organizations are %+v, %v, want %+v", got, err, want)
		}
	}
	v := start(t)
	expect(v, ready, incomplete, unusable)
	if n := v.Calls()[string(simulator.EndpointOrganizations)]; n != 1 {
		t.Errorf("%d calls", n)
	}

	unusable.Status, unusable.UsableForOrdering = "ready", true
	added := regfish.Organization{ID: "hdl_1", Name: "Example AG", Status: "ready"}
	if err := errors.Join(
		v.SetOrganization(simulator.Organization{ID: unusable.ID, Name: unusable.Name, Status: "ready", Usable: true}),
		v.SetOrganization(simulator.Organization{ID: added.ID, Name: added.Name, Status: "ready"}),
	); err != nil {
		t.Fatal(err)
	}
	expect(v, ready, incomplete, unusable, added)
	expect(start(t), ready, incomplete, regfish.Organization{ID: unusable.ID, Name: unusable.Name, Status: "pending"}) // another simulator has its own
	for _, bad := range []simulator.Organization{{Name: "Example AG"}, {ID: "hdl_1"}} {
		if v.SetOrganization(bad) == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}

	none := start(t, func(o *simulator.Options) { o.Organizations = []simulator.Organization{} })
	expect(none)
	if _, _, text := none.call(t, simulator.DefaultKey, http.MethodGet, "/tls/organization", ""); text != `{"code":0,"response":[],"success":true}` {
		t.Errorf("no organizations are %s, want an empty list", text)
	}
}

func TestOrdersForOrganizations(t *testing.T) {
	const (
		refused = "refused"
		staged  = "staged"
		bound   = "bound"
		free    = "without an organization"
	)
	tests := map[string]struct {
		reason       string
		sku          string
		organization string
		refuse       string // when a missing organization is refused
		stage        string // when an order without one is staged
	}{
		"a ready one": {
			reason: "Nothing is missing.", sku: "SecureSite", organization: simulator.OrganizationReady, refuse: bound, stage: bound,
		},
		"one whose details are incomplete": {
			reason: "The vendor documents that an order may be staged although it names a usable one.", sku: "SecureSite", organization: simulator.OrganizationIncomplete, refuse: staged, stage: staged,
		},
		"one that is not usable":            {reason: "It is as if it were missing.", sku: "SecureSite", organization: simulator.OrganizationUnusable, refuse: refused, stage: staged},
		"one that nobody knows":             {reason: "It is missing.", sku: "SecureSite", organization: "hdl_AAAAAAAAAAAAA", refuse: refused, stage: staged},
		"none":                              {reason: "It is missing.", sku: "SecureSite", refuse: refused, stage: staged},
		"none for GeoTrust's product":       {reason: "All OV products need one.", sku: "TrueBusinessID", refuse: refused, stage: staged},
		"none for Thawte's product":         {reason: "All OV products need one.", sku: "SSLWebServer", refuse: refused, stage: staged},
		"none for a DV product":             {reason: "It needs none.", sku: "RapidSSL", refuse: free, stage: free},
		"a ready one for a DV product":      {reason: "It does no harm.", sku: "RapidSSL", organization: simulator.OrganizationReady, refuse: bound, stage: bound},
		"an unknown one for a DV product":   {reason: "What is named has to be there.", sku: "RapidSSL", organization: "hdl_AAAAAAAAAAAAA", refuse: refused, stage: staged},
		"an unusable one for a DV product":  {reason: "What is named has to be usable.", sku: "RapidSSL", organization: simulator.OrganizationUnusable, refuse: refused, stage: staged},
		"the id of one in another spelling": {reason: "Ids have a case.", sku: "SecureSite", organization: "HDL_7k9qw3m2zt8hj", refuse: refused, stage: staged},
	}
	for name, tc := range tests {
		for missing, want := range map[simulator.MissingOrganization]string{"": tc.refuse, simulator.Refuse409: tc.refuse, simulator.Stage: tc.stage} {
			t.Run(fmt.Sprintf("%s, %s", name, missing), func(t *testing.T) {
				v := start(t, func(o *simulator.Options) { o.MissingOrganization = missing })
				result := v.client.Order(t.Context(), requestOV(t, tc.sku, tc.organization, "www.example.com"), yes)
				cert := result.Certificate
				var got string
				switch {
				case result.Outcome == regfish.Rejected && result.Status == http.StatusConflict:
					got = refused
				case result.Outcome != regfish.Accepted:
					t.Fatalf("outcome is %v: %v", result.Outcome, result.Err)
				case cert.ActionRequired && cert.OrganizationID == "" && cert.Organization == nil && cert.Validation == nil:
					got = staged
				case !cert.ActionRequired && cert.OrganizationID == tc.organization && cert.Organization != nil && cert.Validation != nil:
					got = bound
				case !cert.ActionRequired && cert.OrganizationID == "" && cert.Organization == nil && cert.Validation != nil:
					got = free
				}
				if got != want {
					t.Errorf("the order is %q (%+v), want %q. %s", got, cert, want, tc.reason)
				}
				sold := v.Purchases()
				if (len(sold) == 1) != (want != refused) {
					t.Errorf("%d sales of an order that is %s", len(sold), want)
				}
				if len(sold) == 1 && sold[0].OrganizationID != tc.organization {
					t.Errorf("the ledger has the organization %q, want what was sent", sold[0].OrganizationID)
				}
			})
		}
	}
}

func TestAMissingOrganizationIsRefusedInTheVendorsWords(t *testing.T) {
	v := start(t)
	const words = "The TLS certificate order cannot be submitted in its current state, for example because the renewal is invalid or a usable CA organization is missing"
	want := `{"error":"` + words + `","message":"` + words + `","success":false}`
	if status, _, text := v.post(t, requestOV(t, "SecureSite", "", "www.example.com")); status != http.StatusConflict || text != want {
		t.Errorf("answer is %d %s, want 409 %s", status, text, want)
	}
}

func TestNewRefusesAnUnknownAnswerToMissingOrganizations(t *testing.T) {
	if _, err := simulator.New(simulator.Options{MissingOrganization: "stage"}); err == nil {
		t.Error("accepted: a test with it would not get what it asks for")
	}
}

func TestAnOVOrderThatNothingIsMissingFrom(t *testing.T) {
	v := start(t)
	status, _, text := v.post(t, requestOV(t, "SecureSite", simulator.OrganizationReady, "www.example.com"))
	want := `{"success":true,"code":0,"response":{"id":"ABCDEFGHJKM23","status":"pending","common_name":"www.example.com","product":"SecureSite",` +
		`"provider":"digicert","dns_names":[],"order_state":"PENDING_APPROVAL","action_required":false,"pending_reason":"validation_pending",` +
		`"pending_message":"The TLS certificate order is waiting for domain validation.","completion_url":"","organization_id":"hdl_7K9QW3M2ZT8HJ",` +
		`"organization":{"id":"hdl_7K9QW3M2ZT8HJ","name":"Example GmbH","status":"ready","usable_for_ordering":true},"validity_days":199,` +
		`"certificate_pem_available":false,"validation":{"method":"dns-cname-token","dns_records":[{"name":"_dnsauth.example.com.","type":"CNAME",` +
		`"value":"0123456789abcdef.dcv.digicert.com."}]}}}`
	if got := anyOrder(text); status != http.StatusOK || got != want {
		t.Errorf("answer is %d\n%s\nwant\n%s", status, got, want)
	}
	cert := v.list(t)[0]
	v.publish(cert)
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued || got.OrganizationID != simulator.OrganizationReady {
		t.Errorf("status is %s for %q", got.Status, got.OrganizationID)
	}
	data, err := v.client.Download(t.Context(), cert.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.verify(t, data, "www.example.com"); err != nil {
		t.Error(err)
	}
	if subject := chain(t, data)[0].Subject.String(); subject != "CN=www.example.com,O=Example GmbH" {
		t.Errorf("subject is %s, want the organization in it", subject)
	}
}

func TestAnOrderKeepsTheOrganizationItWasBoundTo(t *testing.T) {
	v := start(t)
	cert := v.client.Order(t.Context(), requestOV(t, "SecureSite", simulator.OrganizationReady, "www.example.com"), yes).Certificate
	if err := v.SetOrganization(simulator.Organization{ID: simulator.OrganizationReady, Name: "Renamed AG", Status: "pending"}); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); got.Organization == nil || *got.Organization != *cert.Organization {
		t.Errorf("it is bound to %+v, want %+v", got.Organization, cert.Organization)
	}
}

func TestADVCertificateNamesNoOrganization(t *testing.T) {
	v := start(t)
	result := v.client.Order(t.Context(), requestOV(t, "RapidSSL", simulator.OrganizationReady, "www.example.com"), yes)
	if state := result.Certificate.OrderState; state != "PENDING" {
		t.Errorf("order state is %s: no CA looks at its organization", state)
	}
	v.publish(result.Certificate)
	data, err := v.client.Download(t.Context(), result.Certificate.ID)
	if err != nil {
		t.Fatal(err)
	}
	if subject := chain(t, data)[0].Subject.String(); subject != "CN=www.example.com" {
		t.Errorf("subject is %s", subject)
	}
}
