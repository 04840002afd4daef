// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"fmt"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestWhatIsPaidForFallsBackOnce: what cannot be reissued is renewed, and what cannot be
// renewed either is bought, each time once, with the reason for whoever pays. A request
// that is made again with its key costs nothing more.
func TestWhatIsPaidForFallsBackOnce(t *testing.T) {
	tests := []struct {
		name string
		// reissue, renewal and order are what regfish answers them with; 0: it takes them.
		// What it takes of reissues fails.
		reissue, renewal, order int
		// billed says that something is bought in the end, renewed that it is a renewal.
		billed, renewed bool
		// reason of the event that says why, and what it, or the failed request, says.
		reason string
		says   []string
	}{
		{
			name: "a reissue fails", billed: true, renewed: true, reason: v1alpha1.ReasonRenewed,
			says: []string{"cannot be reissued (reissue 1 came to nothing: regfish says that it was failed)", "so it is renewed, which buys a new term"},
		},
		{
			name: "a reissue is refused with 422", reissue: 422, billed: true, renewed: true, reason: v1alpha1.ReasonRenewed,
			says: []string{"cannot be reissued (reissue 1 came to nothing: reissue certificate: HTTP 422", "so it is renewed, which buys a new term"},
		},
		{
			name: "a reissue is refused with 400", reissue: 400, billed: true, renewed: true, reason: v1alpha1.ReasonRenewed,
			says: []string{"HTTP 400"},
		},
		{
			name: "a reissue is refused with 409", reissue: 409, billed: true, renewed: true, reason: v1alpha1.ReasonRenewed,
			says: []string{"HTTP 409"},
		},
		{
			name: "a reissue is refused with 404, and its certificate is known", reissue: 404, billed: true, renewed: true, reason: v1alpha1.ReasonRenewed,
			says: []string{"HTTP 404"},
		},
		{
			name: "the renewal is refused with 404, and its source is known", reissue: 409, renewal: 404, billed: true, reason: v1alpha1.ReasonPurchased,
			says: []string{"can neither be reissued (reissue 1 came to nothing: reissue certificate: HTTP 409", "nor renewed (refused: place order: HTTP 404", "so a new certificate is ordered"},
		},
		{
			name: "a reissue fails and the renewal is refused with 409", renewal: 409, billed: true, reason: v1alpha1.ReasonPurchased,
			says: []string{"regfish says that it was failed", "nor renewed (refused: place order: HTTP 409", "so a new certificate is ordered"},
		},
		{
			name: "the renewal is refused with 422, which may be for what it renews", reissue: 422, renewal: 422, billed: true, reason: v1alpha1.ReasonPurchased,
			says: []string{"nor renewed (refused: place order: HTTP 422", "so a new certificate is ordered"},
		},
		{
			name: "the request is at fault", reissue: 422, renewal: 422, order: 422,
			says: []string{"regfish refused the order", "HTTP 422", "change the Certificate"},
		},
	}
	w := newWorld(t)
	w.run()
	w.issuersReady()
	for i, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := w.in(t)
			name, host := fmt.Sprintf("fall-%d", i), testenv.WithDNSNames(fmt.Sprintf("fall%d.example", i))
			owner := testenv.Certificate(w.Namespace, name, host)
			w.create(owner)
			first := w.request(name+"-1", host, testenv.WithECDSA(), testenv.OwnedBy(owner))
			paid := w.issued(name + "-1")
			w.answered(first, cmapi.CertificateRequestReasonIssued)

			for _, refusal := range []struct {
				endpoint simulator.Endpoint
				status   int
			}{{simulator.EndpointReissue, tc.reissue}, {simulator.EndpointOrder, tc.renewal}, {simulator.EndpointOrder, tc.order}} {
				if refusal.status != 0 {
					w.vendor.InjectFault(simulator.Fault{Endpoint: refusal.endpoint, Kind: simulator.FaultStatus, Status: refusal.status})
				}
			}
			before := w.vendor.Calls()
			key := testenv.ECDSAKey(t)
			cr := w.request(name+"-2", host, testenv.WithKey(key), testenv.OwnedBy(owner))
			if tc.reissue == 0 {
				w.order(cr.Name, "waits for a reissue", placed(v1alpha1.ReasonReissued))
				if err := w.vendor.FailReissue(paid); err != nil {
					t.Fatal(err)
				}
			}
			if tc.billed {
				o := w.order(cr.Name, "waits for what was bought", placed(tc.reason))
				w.issued(cr.Name)
				w.answered(cr, cmapi.CertificateRequestReasonIssued)
				w.verify(cr.Status.Certificate, fmt.Sprintf("fall%d.example", i))
				w.saidOnce(o, tc.reason, tc.says...)
			} else {
				w.answered(cr, cmapi.CertificateRequestReasonFailed)
				for _, words := range tc.says {
					if !strings.Contains(readyMessage(cr), words) {
						t.Errorf("%q does not say %q", readyMessage(cr), words)
					}
				}
			}

			orders := 1
			if tc.renewal != 0 {
				orders = 2
			}
			sent := func(what string) {
				t.Helper()
				now := w.vendor.Calls()
				for endpoint, want := range map[simulator.Endpoint]int{simulator.EndpointReissue: 1, simulator.EndpointOrder: orders} {
					if got := now[string(endpoint)] - before[string(endpoint)]; got != want {
						t.Errorf("%s: %d calls of %s, want %d", what, got, endpoint, want)
					}
				}
			}
			sent("at first")
			sold := w.vendor.Purchases()
			if last := sold[len(sold)-1]; (last.ID != paid) != tc.billed || (last.RenewalOf == paid) != tc.renewed {
				t.Errorf("the last order that is billed is %+v, and %s was paid for", last, paid)
			}
			if tc.billed {
				w.remove(cr)
				w.eventually("the order is gone", func() error {
					if w.get(&v1alpha1.RegfishOrder{ObjectMeta: cr.ObjectMeta}) == nil {
						return fmt.Errorf("it is there")
					}
					return nil
				})
				again := w.request(cr.Name, host, testenv.WithKey(key), testenv.OwnedBy(owner))
				w.answered(again, cmapi.CertificateRequestReasonIssued)
				sent("after the request was made again")
			}
		})
	}
}

// issued waits until an order is placed, has it issued and returns its id.
func (w *world) issued(name string) string {
	w.t.Helper()
	o := w.order(name, "is placed", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.PurchaseRef != nil && o.Status.PurchaseRef.CertificateID != "" && o.Status.State == v1alpha1.StateValidating
	})
	id := o.Status.PurchaseRef.CertificateID
	if err := w.vendor.SetStatus(id, "issued"); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// saidOnce waits until the one event with the reason about an object says all of it.
func (w *world) saidOnce(about client.Object, reason string, words ...string) {
	w.t.Helper()
	w.eventually("an event says "+reason, func() error {
		var list eventsv1.EventList
		if err := w.Client.List(w.t.Context(), &list, client.InNamespace(about.GetNamespace())); err != nil {
			return err
		}
		var notes []string
		for _, e := range list.Items {
			if e.Regarding.UID == about.GetUID() && e.Reason == reason {
				notes = append(notes, e.Note)
			}
		}
		if len(notes) != 1 {
			return fmt.Errorf("%d events: %q", len(notes), notes)
		}
		for _, word := range words {
			if !strings.Contains(notes[0], word) {
				return fmt.Errorf("%q does not say %q", notes[0], word)
			}
		}
		return nil
	})
}
