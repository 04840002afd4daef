// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// stagedAnswer is what the vendor documents of an order that a person has to
// complete, with the host and the id of an order.
const stagedAnswer = `{"success":true,"code":0,"response":{"id":"%[2]s","status":"pending","common_name":"www.example.com","product":"SecureSite",` +
	`"provider":"digicert","dns_names":["api.example.com"],"order_state":"ACTION_REQUIRED","action_required":true,"pending_reason":"organization_required",` +
	`"pending_message":"Organization or contact details are needed before the TLS certificate order can be submitted.",` +
	`"completion_url":"%[1]s/my/certs/%[2]s/complete","organization_id":null,"validity_days":199,"certificate_pem_available":false}}`

func TestAStagedOrderHasTheDocumentedShape(t *testing.T) {
	tests := map[string]struct {
		reason  string
		console string
		want    string // empty: the API's own
	}{
		"by default":           {reason: "The page is where the API is, so that a client that checks the host shows it."},
		"with another console": {reason: "The vendor's own is at another host, too.", console: "https://dash.regfish.com", want: "https://dash.regfish.com"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.ConsoleURL = tc.console })
			if tc.want == "" {
				tc.want = v.url
			}
			status, _, text := v.post(t, requestOV(t, "SecureSite", simulator.OrganizationIncomplete, "www.example.com", "api.example.com"))
			if want := fmt.Sprintf(stagedAnswer, tc.want, v.Purchases()[0].ID); status != http.StatusOK || text != want {
				t.Errorf("answer is %d\n%s\nwant\n%s\n%s", status, text, want, tc.reason)
			}
		})
	}
}

func TestAStagedOrderThroughTheClient(t *testing.T) {
	// Every way to complete an order leads to the same.
	ways := map[string]func(t *testing.T, v *vendor, cert regfish.Certificate){
		"by the page": func(t *testing.T, v *vendor, cert regfish.Certificate) {
			path, ok := strings.CutPrefix(cert.CompletionURL, v.url)
			if !ok {
				t.Fatalf("completion URL is %s, want one at %s", cert.CompletionURL, v.url)
			}
			if status, header, _ := v.call(t, "", http.MethodPost, path, ""); status != http.StatusSeeOther || header.Get("Location") != path {
				t.Errorf("%d, sent on to %q, want back to the page", status, header.Get("Location"))
			}
		},
		"by the method": func(t *testing.T, v *vendor, cert regfish.Certificate) {
			if err := v.Complete(cert.ID); err != nil {
				t.Fatal(err)
			}
		},
		"from outside the process": func(t *testing.T, v *vendor, cert regfish.Certificate) {
			if status, _, text := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+cert.ID+"/complete", ""); status != http.StatusOK {
				t.Fatalf("%d %s", status, text)
			}
		},
	}
	for name, complete := range ways {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.IssueDelay = time.Hour })
			cert := v.stage(t, "www.example.com", "api.example.com")
			v.clock.advance(30 * 24 * time.Hour) // people take their time
			for range 3 {
				if got := v.get(t, cert.ID); !got.ActionRequired || got.OrderState != "ACTION_REQUIRED" || got.PendingReason != "organization_required" ||
					got.Validation != nil || got.OrganizationID != "" || got.Organization != nil {
					t.Fatalf("before completion: %+v", got)
				}
			}
			if _, err := v.client.Download(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindConflict {
				t.Errorf("download of a staged order: %v, want 409", err)
			}

			complete(t, v, cert)
			got := v.get(t, cert.ID)
			if got.ActionRequired || got.Status != regfish.StatusPending || got.OrderState != "PENDING_APPROVAL" || got.CompletionURL != "" ||
				got.PendingReason != "validation_pending" || got.Validation != nil {
				t.Errorf("right after completion: %+v, want it with the CA and nothing to validate yet", got)
			}
			organization := &regfish.Organization{ID: simulator.OrganizationIncomplete, Name: "Example Research GmbH", Status: "ready", UsableForOrdering: true}
			if got.OrganizationID != organization.ID || got.Organization == nil || *got.Organization != *organization {
				t.Errorf("it is bound to %q, %+v, want %+v", got.OrganizationID, got.Organization, organization)
			}
			got = v.list(t)[0] // the second read
			if got.Validation == nil || len(got.Validation.DNSRecords) != 1 || got.Validation.DNSRecords[0].Name != "_dnsauth.example.com." {
				t.Fatalf("one read later: %+v, want what is to be validated", got.Validation)
			}
			v.publish(got)
			if pending := v.get(t, cert.ID); pending.Status != regfish.StatusPending || pending.OrderState != "PENDING_APPROVAL" {
				t.Errorf("while the CA looks at the organization: %s, %s", pending.Status, pending.OrderState)
			}
			v.clock.advance(time.Hour)
			issued := v.get(t, cert.ID)
			if issued.Status != regfish.StatusIssued || issued.ID != cert.ID || issued.OrderState != "ISSUED" || issued.PendingReason != "" || issued.CompletionURL != "" {
				t.Fatalf("after the delay: %+v, want issued", issued)
			}
			data, err := v.client.Download(t.Context(), cert.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.verify(t, data, "api.example.com"); err != nil {
				t.Error(err)
			}
			if n := len(v.Purchases()); n != 1 {
				t.Errorf("%d sales, want one", n)
			}
		})
	}
}

func TestValidationLag(t *testing.T) {
	for lag, hidden := range map[int]int{-1: 0, 0: 1, 1: 1, 3: 3} {
		t.Run(fmt.Sprint(lag), func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.ValidationLag = lag })
			cert := v.stage(t, "www.example.com")
			v.get(t, cert.ID) // reads before the completion do not count
			if err := v.Complete(cert.ID); err != nil {
				t.Fatal(err)
			}
			reads := 0
			for v.get(t, cert.ID).Validation == nil {
				if reads++; reads > hidden {
					t.Fatalf("nothing to validate after %d reads, want %d", reads, hidden)
				}
			}
			if reads != hidden {
				t.Errorf("the validation appeared after %d reads, want %d", reads, hidden)
			}
			if v.get(t, cert.ID).Validation == nil {
				t.Error("the validation is gone again")
			}
		})
	}
}

func TestOrdersThatAreNotStagedShowAtOnceWhatTheyWaitFor(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.ValidationLag = 5 })
	for _, sku := range []string{"RapidSSL", "SecureSite"} {
		result := v.client.Order(t.Context(), requestOV(t, sku, simulator.OrganizationReady, "www.example.com"), yes)
		if result.Certificate.Validation == nil || v.get(t, result.Certificate.ID).Validation == nil {
			t.Errorf("%s: %+v", sku, result.Certificate)
		}
	}
}

func TestTheOrganizationOfACompletedOrder(t *testing.T) {
	spare := simulator.Organization{ID: "hdl_1", Name: "Spare AG", Status: "ready", Usable: true}
	unusable := simulator.Organization{ID: "hdl_2", Name: "Unusable Ltd", Status: "pending"}
	tests := map[string]struct {
		reason  string
		have    []simulator.Organization
		ordered string
		want    string // its name
		count   int    // of organizations afterwards
	}{
		"the one that was named":                          {"The person completes its details.", []simulator.Organization{spare, unusable}, "hdl_2", "Unusable Ltd", 2},
		"the first usable, if none is named":              {"The person takes what is there.", []simulator.Organization{unusable, spare}, "", "Spare AG", 2},
		"the first usable, if the named one is not there": {"The person takes what is there.", []simulator.Organization{unusable, spare}, "hdl_3", "Spare AG", 2},
		"a new one, if none is usable":                    {"The person fills in the details.", []simulator.Organization{unusable}, "", "Example GmbH", 2},
		"a new one, if there is none":                     {"The person fills in the details.", []simulator.Organization{}, "", "Example GmbH", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) {
				o.Organizations, o.MissingOrganization, o.ValidationLag = tc.have, simulator.Stage, -1
			})
			cert := v.client.Order(t.Context(), requestOV(t, "SecureSite", tc.ordered, "www.example.com"), yes).Certificate
			if page := v.page(t, cert.ID, http.StatusOK); !strings.Contains(page, "details of "+tc.want+" are complete") {
				t.Errorf("page is %s, want it to name %s", page, tc.want)
			}
			if err := v.Complete(cert.ID); err != nil {
				t.Fatal(err)
			}
			got := v.get(t, cert.ID)
			if got.Organization == nil || got.Organization.Name != tc.want || got.Organization.Status != "ready" || !got.Organization.UsableForOrdering || got.Organization.ID != got.OrganizationID {
				t.Errorf("it is bound to %q, %+v, want %s, ready. %s", got.OrganizationID, got.Organization, tc.want, tc.reason)
			}
			organizations, err := v.client.Organizations(t.Context())
			if err != nil || len(organizations) != tc.count ||
				!slices.ContainsFunc(organizations, func(o regfish.Organization) bool { return o.ID == got.OrganizationID }) {
				t.Errorf("organizations are %+v, %v, want %d and the bound one among them", organizations, err, tc.count)
			}
		})
	}
}

func TestTheNextOrderOfAnIncompleteOrganizationIsStagedToo(t *testing.T) {
	v := start(t)
	if err := v.Complete(v.stage(t, "www.example.com").ID); err != nil {
		t.Fatal(err)
	}
	v.stage(t, "www.example.com")
}

func TestNobodyLooksForTheRecordOfAStagedOrder(t *testing.T) {
	var lookups atomic.Int32
	v := start(t, func(o *simulator.Options) {
		o.OrderLifetime, o.ValidationLag = 24*time.Hour, -1
		o.Resolver = func(context.Context, string) (string, error) { lookups.Add(1); return "", nil }
	})
	expect := func(want int32, when string) {
		t.Helper()
		lookups.Store(0)
		v.list(t)
		if got := lookups.Load(); got != want {
			t.Errorf("%d look-ups while an order %s, want %d", got, when, want)
		}
	}
	cert := v.stage(t, "www.example.com")
	expect(0, "is staged")
	if err := v.Complete(cert.ID); err != nil {
		t.Fatal(err)
	}
	expect(1, "is completed")
	v.clock.advance(24 * time.Hour)
	expect(0, "is cancelled")
}

func TestARecordOfACompletedOrderIsSeenThoughNobodyAsksWhileItStands(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.ValidationLag = -1 })
	r := v.get(t, v.completed(t)).Validation.DNSRecords[0]
	v.SetRecord(r.Name, r.Type, r.Value)
	v.RemoveRecord(r.Name, r.Type)
	if got := v.list(t)[0]; got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestOrdersThatCannotBeCompleted(t *testing.T) {
	tests := map[string]func(t *testing.T, v *vendor) (id string){
		"an unknown one":          func(*testing.T, *vendor) string { return "AAAAAAAAAAAAA" },
		"one that is not staged":  func(t *testing.T, v *vendor) string { return v.order(t, "www.example.com").ID },
		"one that was completed":  func(t *testing.T, v *vendor) string { return v.completed(t) },
		"one that was cancelled":  func(t *testing.T, v *vendor) string { return v.stagedAs(t, "cancelled") },
		"one that was rejected":   func(t *testing.T, v *vendor) string { return v.stagedAs(t, "rejected") },
		"one that is in no state": func(t *testing.T, v *vendor) string { return v.stagedAs(t, "quantum") },
		"one that was issued":     func(t *testing.T, v *vendor) string { return v.stagedAs(t, "issued") },
		"one that was left alone": func(t *testing.T, v *vendor) string {
			id := v.stage(t, "www.example.com").ID
			v.clock.advance(24 * time.Hour)
			return id
		},
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.OrderLifetime = 24 * time.Hour })
			id := make(t, v)
			before := v.list(t)
			if err := v.Complete(id); err == nil {
				t.Error("completed")
			}
			if status, _, text := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+id+"/complete", ""); status != http.StatusBadRequest {
				t.Errorf("from outside: %d %s, want 400", status, text)
			}
			want := http.StatusConflict
			if len(before) == 0 {
				want = http.StatusNotFound
			}
			if status, _, _ := v.call(t, "", http.MethodPost, "/my/certs/"+id+"/complete", ""); status != want {
				t.Errorf("by the page: %d, want %d", status, want)
			}
			for i, got := range v.list(t) {
				if got.Status != before[i].Status || got.OrderState != before[i].OrderState || got.OrganizationID != before[i].OrganizationID {
					t.Errorf("it became %+v", got)
				}
			}
		})
	}
}

// completed orders a certificate, completes the order and returns its id.
func (v *vendor) completed(t *testing.T) string {
	t.Helper()
	cert := v.stage(t, "www.example.com")
	if err := v.Complete(cert.ID); err != nil {
		t.Fatal(err)
	}
	return cert.ID
}

// stagedAs orders a certificate, sets the status of the staged order and returns
// its id.
func (v *vendor) stagedAs(t *testing.T, status string) string {
	t.Helper()
	cert := v.stage(t, "www.example.com")
	if err := v.SetStatus(cert.ID, status); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); got.Status != status || got.ActionRequired || got.CompletionURL != "" {
		t.Fatalf("got %+v, want %s, and nobody to act", got, status)
	}
	return cert.ID
}
