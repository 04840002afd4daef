// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func requestByEmail(t testing.TB, addresses []string, names ...string) regfish.OrderRequest {
	t.Helper()
	r := request(t, names...)
	r.DCVMethod, r.DCVEmails = regfish.DCVMethodEmail, addresses
	return r
}

func TestAnOrderByEmailHasTheDocumentedShape(t *testing.T) {
	v := start(t)
	status, _, text := v.post(t, requestByEmail(t, []string{"admin@example.com", "hostmaster@example.com"}, "www.example.com"))
	want := `{"success":true,"code":0,"response":{"id":"ABCDEFGHJKM23","status":"pending","common_name":"www.example.com","product":"RapidSSL",` +
		`"provider":"digicert","dns_names":[],"order_state":"PENDING","action_required":false,"pending_reason":"validation_pending",` +
		`"pending_message":"The TLS certificate order is waiting for domain validation.","completion_url":"","organization_id":null,"validity_days":199,` +
		`"certificate_pem_available":false,"validation":{"method":"email","email_targets":["admin@example.com","hostmaster@example.com"]}}}`
	if got := anyOrder(text); status != http.StatusOK || got != want {
		t.Errorf("answer is %d\n%s\nwant\n%s", status, got, want)
	}
	if sold := v.Purchases()[0]; sold.DCVMethod != "email" || !slices.Equal(sold.DCVEmails, []string{"admin@example.com", "hostmaster@example.com"}) {
		t.Errorf("the ledger has %+v", sold)
	}
}

func TestAnOrderByEmailBecomesACertificate(t *testing.T) {
	ways := map[string]func(v *vendor, id string) bool{
		"by the method": func(v *vendor, id string) bool { return v.ConfirmEmail(id) == nil },
		"from outside the process": func(v *vendor, id string) bool {
			status, _, _ := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+id+"/confirm-email", "")
			return status == http.StatusOK
		},
	}
	for name, confirm := range ways {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.IssueDelay = time.Minute })
			result := v.client.Order(t.Context(), requestByEmail(t, nil, "www.example.com", "example.org", "api.example.com"), yes)
			if result.Outcome != regfish.Accepted {
				t.Fatalf("outcome is %v: %v", result.Outcome, result.Err)
			}
			cert := result.Certificate
			want := []string{
				"admin@example.com", "administrator@example.com", "hostmaster@example.com", "postmaster@example.com", "webmaster@example.com",
				"admin@example.org", "administrator@example.org", "hostmaster@example.org", "postmaster@example.org", "webmaster@example.org",
			}
			if cert.Validation == nil || cert.Validation.Method != regfish.DCVMethodEmail || !slices.Equal(cert.Validation.EmailTargets, want) || cert.Validation.DNSRecords != nil {
				t.Errorf("validation is %+v, want %q", cert.Validation, want)
			}
			v.clock.advance(24 * time.Hour)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
				t.Fatalf("before anybody confirmed: status is %s", got.Status)
			}
			if !confirm(v, cert.ID) {
				t.Fatal("not confirmed")
			}
			if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
				t.Errorf("before the delay is over: status is %s", got.Status)
			}
			v.clock.advance(time.Minute)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
				t.Fatalf("status is %s", got.Status)
			}
			data, err := v.client.Download(t.Context(), cert.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.verify(t, data, "example.org"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStagedOrderByEmail(t *testing.T) {
	v := start(t)
	order := requestOV(t, "SecureSite", simulator.OrganizationIncomplete, "www.example.com")
	order.DCVMethod, order.DCVEmails = regfish.DCVMethodEmail, []string{"admin@example.com"}
	cert := v.client.Order(t.Context(), order, yes).Certificate
	if !cert.ActionRequired || cert.Validation != nil {
		t.Fatalf("ordered %+v", cert)
	}
	if v.ConfirmEmail(cert.ID) == nil {
		t.Error("an e-mail was confirmed that the CA never sent")
	}
	if err := v.Complete(cert.ID); err != nil {
		t.Fatal(err)
	}
	v.get(t, cert.ID)
	if got := v.get(t, cert.ID); got.Validation == nil || !slices.Equal(got.Validation.EmailTargets, order.DCVEmails) {
		t.Errorf("validation is %+v", got.Validation)
	}
	if err := v.ConfirmEmail(cert.ID); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestOrdersThatNoEmailConfirms(t *testing.T) {
	tests := map[string]func(v *vendor) (id string){
		"an unknown one":        func(*vendor) string { return "AAAAAAAAAAAAA" },
		"one by CNAME":          func(v *vendor) string { return v.order(t, "www.example.com").ID },
		"one that was rejected": func(v *vendor) string { return v.byEmailAs(t, "rejected") },
		"one that was issued":   func(v *vendor) string { return v.byEmailAs(t, "issued") },
		"one that was left alone": func(v *vendor) string {
			id := v.byEmailAs(t, "")
			v.clock.advance(24 * time.Hour)
			return id
		},
	}
	for name, order := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.OrderLifetime = 24 * time.Hour })
			id := order(v)
			if v.ConfirmEmail(id) == nil {
				t.Error("confirmed")
			}
			if status, _, _ := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+id+"/confirm-email", ""); status != http.StatusBadRequest {
				t.Errorf("from outside: %d, want 400", status)
			}
		})
	}
}

// byEmailAs orders a certificate by e-mail, sets the status and returns the id.
func (v *vendor) byEmailAs(t *testing.T, status string) string {
	t.Helper()
	result := v.client.Order(t.Context(), requestByEmail(t, nil, "www.example.com"), yes)
	if err := v.SetStatus(result.Certificate.ID, status); err != nil {
		t.Fatal(err)
	}
	return result.Certificate.ID
}

func TestAddressesWithoutTheMethodAreOfNoConsequence(t *testing.T) {
	v := start(t)
	order := request(t, "www.example.com")
	order.DCVEmails = []string{"admin@example.com"}
	cert := v.client.Order(t.Context(), order, yes).Certificate
	if cert.Validation == nil || cert.Validation.Method != regfish.DCVMethodCNAME || cert.Validation.EmailTargets != nil {
		t.Errorf("validation is %+v", cert.Validation)
	}
}
