// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"fmt"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	o := w.order("www-1", "waits for the old endpoint", placed(v1alpha1.ReasonEndpointChanged))
	if o.Status.PurchaseRef == nil || o.Status.DCV == nil {
		t.Errorf("the order forgot what is paid for: %+v", o.Status)
	}
	if n := len(other.Purchases()); n != 0 {
		t.Errorf("%d orders at the new endpoint", n)
	}
	move(w.url, w.vendor.ServerCA())
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestIssuerRecreatedWhilePending: an issuer that is deleted and created again, as when
// it is moved between tools, changes nothing for what is on its way.
func TestIssuerRecreatedWhilePending(t *testing.T) {
	w := newWorld(t)
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	before := w.order("www", "is validating", inState(v1alpha1.StateValidating))
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	w.remove(issuer)
	w.eventually("the purchase says that its issuer is gone", func() error {
		p := w.purchases()[0]
		if !strings.Contains(p.Status.Message, "there is no RegfishClusterIssuer") {
			return fmt.Errorf("%s: %s", p.Status.State, p.Status.Message)
		}
		return nil
	})
	o := w.order("www", "still shows its record", func(o *v1alpha1.RegfishOrder) bool { return o.Status.DCV != nil })
	if o.Status.PurchaseRef.CertificateID != before.Status.PurchaseRef.CertificateID {
		t.Errorf("the order shows %+v", o.Status.PurchaseRef)
	}
	w.create(&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}, Spec: w.spec})
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}
