// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestEveryAnswerToAnOrder is the table of what the vendor can answer to an order, and
// of what comes of it: for the account, for the record, for the issuer and for whoever
// reads the request. The first seven statuses are those of the vendor's page, the others
// may come from it, or from what stands between.
func TestEveryAnswerToAnOrder(t *testing.T) {
	tests := []struct {
		name  string
		fault simulator.Fault // the zero fault: the vendor's proper answer
		// billed is how many orders the vendor bills.
		billed int
		// result and status are what the attempt records.
		result string
		status int32
		// state, placed and held are the order's state, and Placed and Held as Status/Reason.
		state        v1alpha1.State
		placed, held string
		// issuer is the reason of the issuer's Ready that the answer leads to.
		issuer string
		// request is the reason of the request's Ready, and says is in its message.
		request string
		says    []string
		// after is the pause after which the order is sent again by itself. Without it
		// something else has to happen first: a look at the issuer, the end of the order,
		// a decision.
		after time.Duration
	}{
		{
			name: "200 with an order", billed: 1,
			result: v1alpha1.OutcomeAccepted, status: 200, state: v1alpha1.StateValidating, placed: "True/Purchased", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"set _dnsauth.", "CNAME", "in DNS", "your DNS automation or a person has to"},
		},
		{
			name:   "400",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Message: "Invalid request payload, TLS product, or CSR"},
			result: v1alpha1.OutcomeRejected, status: 400, state: v1alpha1.StateFailed, placed: "False/Rejected", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonFailed, says: []string{"regfish refused the order", "Invalid request payload, TLS product, or CSR", "change the Certificate"},
		},
		{
			name:   "401",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 401, Message: "Unauthorized"},
			result: v1alpha1.OutcomeRejected, status: 401, state: v1alpha1.StateQueued, placed: "False/IssuerNotReady", held: "False/NotHeld",
			issuer: v1alpha1.ReasonKeyRejected, request: cmapi.CertificateRequestReasonPending, says: []string{"is not ready (KeyRejected)", `API key in Secret "regfish-api"`, "put a valid key there"},
		},
		{
			name:   "404",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 404, Message: "Renewal source TLS certificate not found"},
			result: v1alpha1.OutcomeRejected, status: 404, state: v1alpha1.StateQueued, placed: "False/IssuerNotReady", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"attempt 1 placed no order", "HTTP 404 Not Found: Renewal source"}, after: time.Minute,
		},
		{
			name:   "409",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 409, Message: "a usable CA organization is missing"},
			result: v1alpha1.OutcomeRejected, status: 409, state: v1alpha1.StateQueued, placed: "False/IssuerNotReady", held: "False/NotHeld",
			issuer: v1alpha1.ReasonOrganizationRequired, request: cmapi.CertificateRequestReasonPending, says: []string{"is not ready (OrganizationRequired)", "a usable CA organization is missing"},
		},
		{
			name:   "500 without an order",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 500, Message: "Unexpected error"},
			result: v1alpha1.OutcomeUnknown, status: 500, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "HTTP 500", "Unexpected error"},
		},
		{
			name:  "502 after the order was made",
			fault: simulator.Fault{Kind: simulator.FaultStatus, Status: 502, Message: "Upstream TLS provider error", AfterCommit: true}, billed: 1,
			result: v1alpha1.OutcomeUnknown, status: 502, state: v1alpha1.StateValidating, placed: "True/Adopted", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"set _dnsauth.", "in DNS"},
		},
		{
			name:   "403",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Message: "Forbidden"},
			result: v1alpha1.OutcomeRejected, status: 403, state: v1alpha1.StateQueued, placed: "False/IssuerNotReady", held: "False/NotHeld",
			issuer: v1alpha1.ReasonKeyForbidden, request: cmapi.CertificateRequestReasonPending, says: []string{"is not ready (KeyForbidden)", "order certificates", "give the key a role that may"},
		},
		{
			name:   "405",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 405, Message: "Method not allowed"},
			result: v1alpha1.OutcomeUnknown, status: 405, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "HTTP 405"},
		},
		{
			name:   "422",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 422, Message: "common_name is no domain"},
			result: v1alpha1.OutcomeRejected, status: 422, state: v1alpha1.StateFailed, placed: "False/Rejected", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonFailed, says: []string{"regfish refused the order", "common_name is no domain"},
		},
		{
			name:   "429",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 429, Message: "Too many requests"},
			result: v1alpha1.OutcomeNotSent, status: 429, state: v1alpha1.StateQueued, placed: "False/VendorUnavailable", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"attempt 1 placed no order", "HTTP 429"}, after: time.Minute,
		},
		{
			name:   "503",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 503, Message: "Service unavailable"},
			result: v1alpha1.OutcomeUnknown, status: 503, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "HTTP 503"},
		},
		{
			name:   "200 that says it was no success",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 200, Message: "Something went wrong"},
			result: v1alpha1.OutcomeUnknown, status: 200, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "Something went wrong"},
		},
		{
			name:  "200 with a web page",
			fault: simulator.Fault{Kind: simulator.FaultHTML, AfterCommit: true}, billed: 1,
			result: v1alpha1.OutcomeUnknown, status: 200, state: v1alpha1.StateValidating, placed: "True/Adopted", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"set _dnsauth.", "in DNS"},
		},
		{
			name:   "400 of a proxy, without the vendor's words",
			fault:  simulator.Fault{Kind: simulator.FaultHTML, Status: 400},
			result: v1alpha1.OutcomeUnknown, status: 400, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "HTTP 400"},
		},
		{
			name:   "302",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 302},
			result: v1alpha1.OutcomeUnknown, status: 302, state: v1alpha1.StateResolving, placed: "Unknown/OutcomeUnknown", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, says: []string{"regfish may or may not have taken the order of attempt 1", "nobody has to act", "HTTP 302"},
		},
		// Last: what it asks for holds for all that is called with the key.
		{
			name:   "429 that asks for two hours",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 429, RetryAfter: "7200"},
			result: v1alpha1.OutcomeNotSent, status: 429, state: v1alpha1.StateQueued, placed: "False/VendorUnavailable", held: "False/NotHeld",
			issuer: v1alpha1.ReasonChecked, request: cmapi.CertificateRequestReasonPending, after: 2 * time.Hour,
		},
	}
	w := newWorld(t)
	w.run()
	seen := map[int]bool{}
	for i, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := w.in(t)
			name := fmt.Sprintf("answer-%d", i)
			issuer := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}, Spec: w.spec}
			w.create(issuer)
			w.issuerSays(issuer, v1alpha1.ReasonChecked)
			before := len(w.vendor.Purchases())
			if tc.fault.Kind != "" {
				tc.fault.Endpoint = simulator.EndpointOrder
				w.vendor.InjectFault(tc.fault)
				seen[tc.fault.Status] = true
			}
			begun := time.Now()
			cr := w.request(name, testenv.WithIssuer(v1alpha1.KindIssuer, name), testenv.WithECDSA(), testenv.WithDNSNames(fmt.Sprintf("answer%d.example", i)))
			o := w.order(name, "is "+string(tc.state), func(o *v1alpha1.RegfishOrder) bool {
				return o.Status.State == tc.state && stands(o, v1alpha1.ConditionPlaced) == tc.placed && stands(o, v1alpha1.ConditionHeld) == tc.held
			})
			w.issuerSays(issuer, tc.issuer)
			w.eventually("the request says so", func() error {
				if err := w.get(cr); err != nil {
					return err
				}
				message := readyMessage(cr)
				for _, words := range tc.says {
					if !strings.Contains(message, words) {
						return fmt.Errorf("%q does not say %q", message, words)
					}
				}
				return nil
			})
			w.answered(cr, tc.request)
			if failed := tc.request == cmapi.CertificateRequestReasonFailed; (cr.Status.FailureTime != nil) != failed {
				t.Errorf("failureTime is %v", cr.Status.FailureTime)
			}
			_, next, again := strings.Cut(readyMessage(cr), "the next one follows at ")
			if again != (tc.after > 0) {
				t.Errorf("the request says %q", readyMessage(cr))
			}
			if again {
				at, err := time.Parse(time.RFC3339, strings.TrimSuffix(next, "."))
				if early, late := begun.Add(tc.after-time.Second), time.Now().Add(tc.after); err != nil || at.Before(early) || at.After(late) {
					t.Errorf("the next attempt follows at %s (%v), want between %s and %s", at, err, early, late)
				}
			}
			if a := w.purchaseOf(o).Spec.Attempts; len(a) != 1 || a[0].Outcome == nil || a[0].Outcome.Result != tc.result || a[0].Outcome.HTTPStatus != tc.status {
				t.Errorf("attempts %+v", a)
			}
			if got := len(w.vendor.Purchases()) - before; got != tc.billed {
				t.Errorf("the vendor bills %d more, want %d", got, tc.billed)
			}
		})
	}
	for _, status := range []int{400, 401, 404, 409, 500, 502, 403, 405, 422, 429, 503} {
		if !seen[status] {
			t.Errorf("the status %d has no row", status)
		}
	}
}
