// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

func x509KeyPair(cert, key []byte) (tls.Certificate, error) { return tls.X509KeyPair(cert, key) }

// TestCertificateBecomesSecret is the main job, with cert-manager's own controllers.
func TestCertificateBecomesSecret(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	w.run()
	w.automateDNS()
	cluster := testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster)
	namespaced := testenv.WithIssuer(v1alpha1.KindIssuer, issuerName)
	tests := []struct {
		name   string
		reason string
		mods   []testenv.Mod
		names  []string
	}{
		{"rsa", "The default of many Certificates.", []testenv.Mod{cluster, testenv.WithRSA(2048), testenv.WithCommonName("rsa.example.com"), testenv.WithDNSNames("rsa.example.com")}, []string{"rsa.example.com"}},
		{"ecdsa", "The smaller key, and no common name.", []testenv.Mod{cluster, testenv.WithECDSA(), testenv.WithDNSNames("ecdsa.example.org")}, []string{"ecdsa.example.org"}},
		{"namespaced", "An issuer whose Secret is in the tenant's namespace.", []testenv.Mod{namespaced, testenv.WithECDSA(), testenv.WithDNSNames("own.example.net")}, []string{"own.example.net"}},
		{"several", "Several names, of two domains, so that two records are needed.", []testenv.Mod{cluster, testenv.WithECDSA(), testenv.WithCommonName("www.several.com"), testenv.WithDNSNames("www.several.com", "api.several.com", "several.de")}, []string{"www.several.com", "api.several.com", "several.de"}},
	}
	for _, tc := range tests {
		w.create(testenv.Certificate(w.Namespace, tc.name, tc.mods...))
	}
	for _, tc := range tests {
		c := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: tc.name}}
		w.certificateReady(c)
		w.verifySecret(tc.name+"-tls", tc.names...)
		o := w.order(tc.name+"-1", "is issued", inState(v1alpha1.StateIssued))
		if !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionIssued) || o.Status.SerialNumber == "" || o.Status.NotAfter == nil || o.Status.PurchaseRef.CertificateID == "" {
			t.Errorf("%s: %s order status %+v", tc.name, tc.reason, o.Status)
		}
	}
	w.bought(len(tests))
}

// TestOrderShowsItsRecords is what DNS automation depends on, and what a person
// reads while it waits.
func TestOrderShowsItsRecords(t *testing.T) {
	w := newWorld(t)
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	o := w.order("www", "shows its records", func(o *v1alpha1.RegfishOrder) bool { return o.Status.DCV != nil })
	r := o.Status.DCV.Records[0]
	if len(o.Status.DCV.Records) != 1 || r.Name != "_dnsauth.example.com." || r.Type != "CNAME" || r.Value == "" {
		t.Errorf("records %+v", o.Status.DCV.Records)
	}
	if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionValidationPublished); c == nil || c.Reason != v1alpha1.ReasonAwaitingDNS {
		t.Errorf("ValidationPublished is %+v", c)
	}
	w.eventually("the request repeats the sentence", func() error {
		if err := w.get(cr); err != nil {
			return err
		}
		if readyMessage(cr) != o.Status.Message {
			return fmt.Errorf("%q is not %q", readyMessage(cr), o.Status.Message)
		}
		return nil
	})
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.verify(cr.Status.Certificate, "www.example.com")
	w.bought(1)
}

// TestIngressBecomesSecret goes through cert-manager's ingress-shim.
func TestIngressBecomesSecret(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	w.run()
	w.automateDNS()
	w.create(&networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "shop", Annotations: map[string]string{
			cmapi.IngressIssuerNameAnnotationKey: w.cluster,
			cmapi.IssuerKindAnnotationKey:        v1alpha1.KindClusterIssuer,
			cmapi.IssuerGroupAnnotationKey:       v1alpha1.Group,
		}},
		Spec: networkingv1.IngressSpec{
			TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example.com"}, SecretName: "shop-tls"}},
			Rules: []networkingv1.IngressRule{{Host: "shop.example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}}}}},
			}}}},
		},
	})
	w.certificateReady(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "shop-tls"}})
	w.verifySecret("shop-tls", "shop.example.com")
	w.bought(1)
}

// TestRecreatedRequestBuysNothing: what cert-manager does when somebody deletes a
// request, with the same key and with another one, while the order is pending.
func TestRecreatedRequestBuysNothing(t *testing.T) {
	w := newWorld(t)
	w.run()
	owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com"))
	w.create(owner)
	key := testenv.ECDSAKey(t)
	mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.OwnedBy(owner)}
	first := w.request("www-1", append(mods, testenv.WithKey(key))...)
	before := w.order("www-1", "is validating", inState(v1alpha1.StateValidating))

	w.remove(first)
	w.request("www-1", append(mods, testenv.WithKey(key))...)
	again := w.order("www-1", "is validating again", func(o *v1alpha1.RegfishOrder) bool {
		return o.UID != before.UID && o.Status.State == v1alpha1.StateValidating
	})
	if again.Status.PurchaseRef.CertificateID != before.Status.PurchaseRef.CertificateID {
		t.Errorf("the same key is served by %s, was served by %s", again.Status.PurchaseRef.CertificateID, before.Status.PurchaseRef.CertificateID)
	}

	other := w.request("www-2", append(mods, testenv.WithECDSA())...)
	waiting := w.order("www-2", "waits for the purchase", inState(v1alpha1.StateWaiting))
	if waiting.Status.PurchaseRef.CertificateID != before.Status.PurchaseRef.CertificateID {
		t.Errorf("the other key waits for %+v", waiting.Status.PurchaseRef)
	}
	// The first request goes for good: what is waited for has to get its record all
	// the same, and only the waiting order can show it.
	w.remove(again)
	w.remove(&cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "www-1"}})
	w.order("www-2", "shows the record of what it waits for", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateWaiting && o.Status.DCV != nil
	})
	w.bought(1)
	if err := w.get(other); err != nil {
		t.Fatal(err)
	}
}

func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := w.Client.Delete(w.t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
}

// failureBackoff is an hour in reality. Much less than this, and cert-manager begins
// the retry while its own controllers have not all seen the failure: it then makes a
// request, drops it, and makes another one with another key.
const failureBackoff = 3 * time.Second

// TestRetryAfterFailedRequest: cert-manager makes a new request with a new key when
// one failed.
func TestRetryAfterFailedRequest(t *testing.T) {
	t.Run("after an order that regfish refused, the next one is placed", func(t *testing.T) {
		w := newWorld(t)
		w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultStatus, Status: 400})
		w.StartCertManager(testenv.CertManagerOptions{FailureBackoff: failureBackoff})
		w.run()
		w.automateDNS()
		c := testenv.Certificate(w.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithDNSNames("www.example.com"))
		w.create(c)
		w.certificateReady(c)
		w.verifySecret("www-tls", "www.example.com")
		w.bought(1)
	})
	t.Run("after an order that was placed and came to nothing, a person decides", func(t *testing.T) {
		w := newWorld(t)
		w.StartCertManager(testenv.CertManagerOptions{FailureBackoff: failureBackoff})
		w.run()
		c := testenv.Certificate(w.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithDNSNames("www.example.com"))
		w.create(c)
		o := w.order("www-1", "is validating", inState(v1alpha1.StateValidating))
		if err := w.vendor.SetStatus(o.Status.PurchaseRef.CertificateID, "rejected"); err != nil {
			t.Fatal(err)
		}
		w.order("www-1", "is held after cert-manager's retry", heldFor(v1alpha1.ReasonPreviousOrderFailed))
		plans := 0
		var list v1alpha1.RegfishPurchaseList
		if err := w.Client.List(t.Context(), &list, client.InNamespace(w.ledger)); err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Items {
			if p.Spec.Number == 0 && p.Status.State == v1alpha1.StateHeld {
				plans++
			}
		}
		if plans != 1 {
			t.Errorf("%d plans are held in the ledger, want 1", plans)
		}
		w.bought(1)
	})
}

// TestTwoCertificatesWithTheSameNames: each buys its own, and they take turns at the
// one name they validate with.
func TestTwoCertificatesWithTheSameNames(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	w.run()
	issuer, names := testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithDNSNames("www.example.com")
	rsa := testenv.Certificate(w.Namespace, "rsa", issuer, names, testenv.WithRSA(2048))
	ecdsa := testenv.Certificate(w.Namespace, "ecdsa", issuer, names, testenv.WithECDSA())
	w.create(rsa)
	w.create(ecdsa)
	var waits, first *v1alpha1.RegfishOrder
	w.eventually("one order has the name and the other waits for it", func() error {
		waits, first = nil, nil
		for _, name := range []string{"rsa-1", "ecdsa-1"} {
			o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
			if err := w.get(o); err != nil {
				return err
			}
			switch c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionValidationPublished); {
			case c == nil:
			case c.Reason == v1alpha1.ReasonWaitingForName:
				waits = o
			case c.Reason == v1alpha1.ReasonAwaitingDNS:
				first = o
			}
		}
		if waits == nil || first == nil {
			return fmt.Errorf("waiting %v, first %v", waits != nil, first != nil)
		}
		return nil
	})
	if n := len(waits.Status.DCV.Records); n != 0 {
		t.Errorf("the order that waits for the name shows %d records", n)
	}
	w.automateDNS()
	w.certificateReady(rsa)
	w.certificateReady(ecdsa)
	w.verifySecret("rsa-tls", "www.example.com")
	w.verifySecret("ecdsa-tls", "www.example.com")
	w.bought(2)
}

// TestTwoControllersBuyOnce: two processes at once, neither of which knows of the
// other, as when a leader is frozen and wakes up.
func TestTwoControllersBuyOnce(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.run(func(o *operator.Options) { o.PodUID = "other" })
	w.issuersReady()
	w.automateDNS()
	var requests []*cmapi.CertificateRequest
	for i := range 8 {
		requests = append(requests, w.request(fmt.Sprintf("r%d", i), testenv.WithECDSA(), testenv.WithDNSNames(fmt.Sprintf("r%d.example%d.com", i, i))))
	}
	for i, cr := range requests {
		w.answered(cr, cmapi.CertificateRequestReasonIssued)
		w.verify(cr.Status.Certificate, fmt.Sprintf("r%d.example%d.com", i, i))
	}
	w.bought(len(requests))
}

// TestTenantNamespaceDeleted: the ledger keeps what was paid for.
func TestTenantNamespaceDeleted(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	o := w.order("www", "is validating", inState(v1alpha1.StateValidating))
	id := o.Status.PurchaseRef.CertificateID
	w.remove(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}})
	w.eventually("the order is gone", func() error {
		if err := w.get(o); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("the order is still there: %w", err)
		}
		return nil
	})
	// The vendor goes on, and so does the purchase.
	for _, r := range o.Status.DCV.Records {
		w.vendor.SetRecord(r.Name, r.Type, r.Value)
	}
	w.eventually("the purchase is issued without a request", func() error {
		for _, p := range w.purchases() {
			if p.Spec.CertificateID == id && p.Status.State == v1alpha1.StateIssued {
				return nil
			}
		}
		return fmt.Errorf("purchases %+v", w.purchases())
	})
	w.bought(1)
}
