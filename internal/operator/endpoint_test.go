// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestURLEditedWhilePending: an edit of the issuer's url buys nothing at the new
// endpoint while the order stands at the old one, and goes on when it is taken back.
func TestURLEditedWhilePending(t *testing.T) {
	w := newWorld(t)
	other, err := simulator.New(simulator.Options{Keys: []string{apiKey}})
	if err != nil {
		t.Fatal(err)
	}
	url, err := other.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	w.run(func(o *operator.Options) { o.AllowedEndpoints = append(o.AllowedEndpoints, url) })
	owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com"))
	w.create(owner)
	cr := w.request("www-1", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"), testenv.OwnedBy(owner))
	w.order("www-1", "is validating", inState(v1alpha1.StateValidating))

	move := func(url string, ca []byte) {
		t.Helper()
		w.edit(func(s *v1alpha1.IssuerSpec) { s.URL, s.CABundle = url, ca })
	}
	move(url, other.ServerCA())
	w.order("www-1", "waits for the old endpoint", placed(v1alpha1.ReasonEndpointChanged))
	if n := len(other.Purchases()); n != 0 {
		t.Errorf("%d orders at the new endpoint", n)
	}
	move(w.url, w.vendor.ServerCA())
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}
