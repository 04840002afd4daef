// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestSetStatus(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	for _, status := range []string{"cancelled", "order_cancelled", "rejected", "unknown", "quantum"} {
		if err := v.SetStatus(cert.ID, status); err != nil {
			t.Fatal(err)
		}
		v.publish(cert)
		if got := v.get(t, cert.ID); got.Status != status || got.OrderState != strings.ToUpper(status) || got.CertificatePEMAvailable || got.ValidFrom != nil {
			t.Errorf("got %s, %s, issued %v, want %s and no certificate", got.Status, got.OrderState, got.ValidFrom, status)
		}
		if _, err := v.client.Download(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindConflict {
			t.Errorf("%s: download says %v", status, err)
		}
	}
	if err := v.SetStatus(cert.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("things do not take their course again: %s", got.Status)
	}
	if err := v.SetStatus(cert.ID, "cancelled"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.client.Download(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindConflict || v.get(t, cert.ID).CertificatePEMAvailable {
		t.Errorf("cancelled after it was issued: download says %v", err)
	}
	other := v.order(t, "www.example.org")
	if err := v.SetStatus(other.ID, "issued"); err != nil {
		t.Fatal(err)
	}
	if data, err := v.client.Download(t.Context(), other.ID); err != nil || v.verify(t, data, "www.example.org") != nil {
		t.Errorf("issued by order: %v", err)
	}
	if err := v.SetStatus("nobody", "issued"); err == nil {
		t.Error("an unknown id has a status")
	}
}

func TestSetState(t *testing.T) {
	const words = "The CA asks for a document."
	tests := map[string]struct {
		reason string
		staged bool
		set    simulator.State
		want   regfish.Certificate // the fields that a state has, and whether somebody has to act
	}{
		"with the CA": {
			reason: "A DV order can be there, too.", set: simulator.State{OrderState: "PENDING_APPROVAL"},
			want: regfish.Certificate{Status: "pending", OrderState: "PENDING_APPROVAL", PendingReason: "validation_pending", PendingMessage: "The TLS certificate order is waiting for domain validation."},
		},
		"another reason to wait": {
			reason: "The list of reasons is not published.", set: simulator.State{PendingReason: "document_review", PendingMessage: words},
			want: regfish.Certificate{Status: "pending", OrderState: "PENDING", PendingReason: "document_review", PendingMessage: words},
		},
		"another reason to act": {
			reason: "The list of reasons is not published.", staged: true, set: simulator.State{PendingReason: "contact_required", PendingMessage: words},
			want: regfish.Certificate{Status: "pending", OrderState: "ACTION_REQUIRED", PendingReason: "contact_required", PendingMessage: words, ActionRequired: true},
		},
		"pending, said aloud": {
			reason: "It is what is reported anyway.", staged: true, set: simulator.State{Status: "pending", PendingMessage: words},
			want: regfish.Certificate{Status: "pending", OrderState: "ACTION_REQUIRED", PendingReason: "organization_required", PendingMessage: words, ActionRequired: true},
		},
		"rejected, with words": {
			reason: "A person wants to know why.", staged: true, set: simulator.State{Status: "rejected", PendingMessage: words},
			want: regfish.Certificate{Status: "rejected", OrderState: "REJECTED", PendingMessage: words},
		},
		"cancelled, with a state of its own": {
			reason: "The states of orders are not published.", set: simulator.State{Status: "cancelled", OrderState: "CANCELED"},
			want: regfish.Certificate{Status: "cancelled", OrderState: "CANCELED"},
		},
		"expired": {
			reason: "An order can expire without ever having been issued.", set: simulator.State{Status: "expired"},
			want: regfish.Certificate{Status: "expired", OrderState: "ISSUED"},
		},
		"a status that nobody has seen": {
			reason: "The list of states is not published.", staged: true, set: simulator.State{Status: "revoked_maybe", PendingReason: "why"},
			want: regfish.Certificate{Status: "revoked_maybe", OrderState: "REVOKED_MAYBE", PendingReason: "why"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			order := v.order
			if tc.staged {
				order = v.stage
			}
			before := order(t, "www.example.com")
			expect := func(got, want regfish.Certificate) {
				t.Helper()
				if got.Status != want.Status || got.OrderState != want.OrderState || got.PendingReason != want.PendingReason ||
					got.PendingMessage != want.PendingMessage || got.ActionRequired != want.ActionRequired || got.CertificatePEMAvailable {
					t.Errorf("got %+v, want %+v. %s", got, want, tc.reason)
				}
			}
			if err := v.SetState(before.ID, tc.set); err != nil {
				t.Fatal(err)
			}
			expect(v.get(t, before.ID), tc.want)
			if err := v.SetState(before.ID, simulator.State{}); err != nil {
				t.Fatal(err)
			}
			expect(v.get(t, before.ID), before)

			body, err := json.Marshal(tc.set)
			if err != nil {
				t.Fatal(err)
			}
			if status, _, text := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+before.ID+"/status", string(body)); status != http.StatusOK {
				t.Fatalf("from outside the process: %d %s", status, text)
			}
			expect(v.get(t, before.ID), tc.want)
		})
	}
}

func TestStatesThatAreRefused(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	if v.SetState("AAAAAAAAAAAAA", simulator.State{}) == nil {
		t.Error("an unknown id has a state")
	}
	for name, call := range map[string][2]string{
		"an unknown id":   {"AAAAAAAAAAAAA", `{"status":"rejected"}`},
		"a misspelt word": {cert.ID, `{"pending_message":"waits"}`},
		"broken JSON":     {cert.ID, `{`},
	} {
		if status, _, text := v.call(t, "", http.MethodPost, "/_simulator/certificates/"+call[0]+"/status", call[1]); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s, want 400", name, status, text)
		}
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
		t.Errorf("status is %s", got.Status)
	}
}

func TestAStagedOrderThatIsIssuedWhateverItWaitsFor(t *testing.T) {
	v := start(t)
	cert := v.stage(t, "www.example.com")
	if err := v.SetStatus(cert.ID, "issued"); err != nil {
		t.Fatal(err)
	}
	data, err := v.client.Download(t.Context(), cert.ID)
	if err != nil || v.verify(t, data, "www.example.com") != nil {
		t.Errorf("download: %v", err)
	}
	if got := v.get(t, cert.ID); got.ActionRequired || got.OrganizationID != "" {
		t.Errorf("got %+v, want nobody to act, and no organization because none was bound", got)
	}
}

func TestOrdersThatAreLeftAloneAreCancelled(t *testing.T) {
	const lifetime = 30 * 24 * time.Hour
	tests := map[string]struct {
		reason string
		order  func(t *testing.T, v *vendor) regfish.Certificate
		want   string // its status when the time is over
	}{
		"a staged one":    {"Nobody completed it.", func(t *testing.T, v *vendor) regfish.Certificate { return v.stage(t, "www.example.com") }, "order_cancelled"},
		"a pending one":   {"Nobody validated it.", func(t *testing.T, v *vendor) regfish.Certificate { return v.order(t, "www.example.com") }, "order_cancelled"},
		"a completed one": {"Nobody validated it.", func(t *testing.T, v *vendor) regfish.Certificate { return v.get(t, v.completed(t)) }, "order_cancelled"},
		"an issued one": {"It is done.", func(t *testing.T, v *vendor) regfish.Certificate {
			cert := v.order(t, "www.example.com")
			v.publish(cert)
			return cert
		}, "issued"},
		"one that was validated and is not issued": {"It is the CA's turn.", func(t *testing.T, v *vendor) regfish.Certificate {
			v.SetIssueDelay(2 * lifetime)
			cert := v.order(t, "www.example.com")
			v.publish(cert)
			return cert
		}, "pending"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.OrderLifetime, o.ValidationLag = lifetime, -1 })
			cert := tc.order(t, v)
			before := v.get(t, cert.ID).Status
			v.clock.advance(lifetime - 1)
			if got := v.get(t, cert.ID); got.Status != before {
				t.Errorf("a moment before its time is over: %s, want %s", got.Status, before)
			}
			v.clock.advance(1)
			got := v.get(t, cert.ID)
			if got.Status != tc.want || tc.want == "order_cancelled" && (got.ActionRequired || got.CompletionURL != "" || got.OrderState != "ORDER_CANCELLED") {
				t.Errorf("when its time is over: %+v, want %s. %s", got, tc.want, tc.reason)
			}
			if cert.Validation != nil {
				v.publish(cert)
			}
			if got := v.get(t, cert.ID); got.Status != tc.want {
				t.Errorf("when its record comes too late: %s, want %s", got.Status, tc.want)
			}
			if n := len(v.Purchases()); n != 1 {
				t.Errorf("%d sales", n)
			}
		})
	}
}

func TestOrdersWaitForeverByDefault(t *testing.T) {
	v := start(t)
	a, b := v.stage(t, "www.example.com"), v.order(t, "www.example.com")
	v.clock.advance(5 * 365 * 24 * time.Hour)
	if a, b := v.get(t, a.ID), v.get(t, b.ID); !a.ActionRequired || b.Status != regfish.StatusPending {
		t.Errorf("after five years: %+v and %+v", a, b)
	}
}
