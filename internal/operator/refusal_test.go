// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller/request"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestIssuerThatCannotBuy: what the issuer's owner has to mend keeps the request
// Pending, and the sentence says what it is.
func TestIssuerThatCannotBuy(t *testing.T) {
	replaceKey := func(key string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ledger, Name: "regfish-api"}}
			if err := w.get(s); err != nil {
				t.Fatal(err)
			}
			s.Data = map[string][]byte{"api-key": []byte(key)}
			if err := w.Client.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		because string
		spec    func(*v1alpha1.IssuerSpec)
		prepare func(*testing.T, *world)
		options func(*operator.Options)
		reason  string
		says    []string
	}{
		{name: "the Secret is missing", because: "the name may be misspelt", spec: func(s *v1alpha1.IssuerSpec) { s.APIKeySecretRef.Name = "elsewhere" },
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"spec.apiKeySecretRef.name", `"elsewhere"`}},
		{name: "the key in the Secret is missing", because: "the key may have another name", spec: func(s *v1alpha1.IssuerSpec) { s.APIKeySecretRef.Key = "token" },
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"spec.apiKeySecretRef.key", `"token"`}},
		{name: "the Secret may not be read", because: "permissions are given namespace by namespace",
			prepare: func(_ *testing.T, w *world) {
				for _, o := range blindRole() {
					w.create(o)
				}
			},
			options: func(o *operator.Options) { o.REST = withoutSecrets(o.REST) },
			reason:  v1alpha1.ReasonSecretForbidden, says: []string{"kubectl create rolebinding", "--clusterrole regfish-issuer-secret-reader", "--serviceaccount "}},
		{name: "the key is rejected", because: "it was revoked, or is of another vendor", prepare: replaceKey("not.the-key"),
			reason: v1alpha1.ReasonKeyRejected, says: []string{`Secret "regfish-api"`}},
		{name: "the key has a line break in it", because: "a header with it would show the key in an error", prepare: replaceKey(canary + ".0123\n456789abcdef"),
			reason: v1alpha1.ReasonKeyInvalid, says: []string{`Secret "regfish-api"`}},
		{name: "the key is empty", because: "a placeholder was applied", prepare: replaceKey(" \n"),
			reason: v1alpha1.ReasonKeyInvalid, says: []string{"empty"}},
		{name: "the endpoint is not allowed", because: "a tenant must not send keys elsewhere", spec: func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.example.com" },
			reason: v1alpha1.ReasonEndpointNotAllowed, says: []string{"spec.url", "--allowed-endpoints"}},
		{name: "the product is not in the catalogue", because: "a typing error", spec: func(s *v1alpha1.IssuerSpec) { s.SKU = "RapidSLL" },
			reason: v1alpha1.ReasonProductUnknown, says: []string{"spec.sku", "RapidSLL", "RapidSSL"}},
		{name: "the endpoint does not answer", because: "a firewall or an outage", prepare: func(_ *testing.T, w *world) { _ = w.vendor.Close() },
			reason: v1alpha1.ReasonEndpointUnreachable, says: []string{"spec.url"}},
		{name: "the CA bundle is not PEM", because: "base64 of base64", spec: func(s *v1alpha1.IssuerSpec) { s.CABundle = []byte("nonsense") },
			reason: v1alpha1.ReasonEndpointUnreachable, says: []string{"spec.caBundle"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var change []func(*v1alpha1.IssuerSpec)
			if tc.spec != nil {
				change = append(change, tc.spec)
			}
			w := newWorld(t, change...)
			if tc.prepare != nil {
				tc.prepare(t, w)
			}
			var options []func(*operator.Options)
			if tc.options != nil {
				options = append(options, tc.options)
			}
			w.run(options...)
			cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
			issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
			w.eventually("the issuer says why ("+tc.because+")", func() error {
				if err := w.get(issuer); err != nil {
					return err
				}
				c := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
				if c == nil || c.Status != metav1.ConditionFalse || c.Reason != tc.reason {
					return fmt.Errorf("Ready is %+v", c)
				}
				for _, word := range tc.says {
					if !strings.Contains(c.Message, word) {
						return fmt.Errorf("message %q lacks %q", c.Message, word)
					}
				}
				if strings.Contains(c.Message, canary) || strings.Contains(c.Message, "not.the-key") {
					return fmt.Errorf("the message shows the key: %q", c.Message)
				}
				return nil
			})
			w.order("www", "is queued for the issuer", func(o *v1alpha1.RegfishOrder) bool {
				return o.Status.State == v1alpha1.StateQueued && placed(v1alpha1.ReasonIssuerNotReady)(o) && strings.Contains(o.Status.Message, tc.says[0])
			})
			w.answered(cr, cmapi.CertificateRequestReasonPending)
			w.bought(0)
		})
	}
}

// withoutSecrets is the administrator who may not read Secrets.
func withoutSecrets(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.Impersonate = rest.ImpersonationConfig{UserName: "blind"}
	return c
}

// TestKeyWithTrailingNewlineIsTrimmed: the most common accident with Secrets.
func TestKeyWithTrailingNewlineIsTrimmed(t *testing.T) {
	w := newWorld(t)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ledger, Name: "regfish-api"}}
	if err := w.get(s); err != nil {
		t.Fatal(err)
	}
	s.Data["api-key"] = append(s.Data["api-key"], '\r', '\n')
	if err := w.Client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.issuersReady()
}

// TestMissingIssuerIsWaitedFor: a GitOps tool may apply the Certificate first.
func TestMissingIssuerIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.automateDNS()
	cr := w.request("www", testenv.WithIssuer(v1alpha1.KindIssuer, "later"), testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "says that there is no issuer", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateQueued && strings.Contains(o.Status.Message, "later")
	})
	w.bought(0)
	w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "later"}, Spec: w.spec})
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestRequestThatCannotBeBoughtFor: what the requester has to change fails the
// request at once, with the field and the remedy, and is never sent to the vendor.
func TestRequestThatCannotBeBoughtFor(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuersReady()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	garbage := func(cr *cmapi.CertificateRequest) { cr.Spec.Request = []byte("not a CSR") }
	tests := []struct {
		name   string
		mods   []testenv.Mod
		change func(*cmapi.CertificateRequest)
		says   []string
	}{
		{name: "no-name", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com")}, change: func(cr *cmapi.CertificateRequest) { cr.Spec.Request = namelessCSR(t) }, says: []string{"spec.request", "DNS name"}},
		{name: "ip", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithIPs("192.0.2.1")}, says: []string{"ipAddresses"}},
		{name: "email", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithEmails("a@example.com")}, says: []string{"mail"}},
		{name: "uri", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithURIs("spiffe://example.com/a")}, says: []string{"uris"}},
		{name: "is-ca", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com")}, change: func(cr *cmapi.CertificateRequest) { cr.Spec.IsCA = true }, says: []string{"spec.isCA"}},
		{name: "client-auth", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithUsages(cmapi.UsageClientAuth)}, says: []string{"spec.usages", "client auth"}},
		{name: "rsa-1024", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithRSA(1024)}, says: []string{"2048"}},
		{name: "ed25519", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithKey(edKey)}, says: []string{"spec.request", "RSA"}},
		{name: "broken", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com")}, change: garbage, says: []string{"spec.request"}},
		{name: "oversized", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com")}, change: func(cr *cmapi.CertificateRequest) {
			cr.Spec.Request = append(cr.Spec.Request, bytes.Repeat([]byte("\n"), 40_000)...)
		}, says: []string{"spec.request"}},
		{name: "kind", mods: []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithIssuer("RegfishClusterIssuers", "x")}, says: []string{"spec.issuerRef.kind", v1alpha1.KindClusterIssuer}},
	}
	for _, tc := range tests {
		cr := testenv.CertificateRequest(t, w.Namespace, tc.name, append([]testenv.Mod{testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithECDSA()}, tc.mods...)...)
		if tc.change != nil {
			tc.change(cr)
		}
		w.create(cr)
		testenv.Approve(t, w.Client, cr)
		w.answered(cr, cmapi.CertificateRequestReasonFailed)
		if !apiutil.CertificateRequestHasInvalidRequest(cr) || cr.Status.FailureTime == nil {
			t.Errorf("%s: failed without InvalidRequest or failureTime: %+v", tc.name, cr.Status)
		}
		for _, word := range tc.says {
			if !strings.Contains(readyMessage(cr), word) {
				t.Errorf("%s: message %q lacks %q", tc.name, readyMessage(cr), word)
			}
		}
	}
	w.bought(0)
	if n := w.vendor.Calls()["POST /tls/certificate"]; n != 0 {
		t.Errorf("%d orders reached the vendor", n)
	}
}

// namelessCSR is well-formed and asks for nothing.
func namelessCSR(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, testenv.ECDSAKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestDeniedRequest: a denial is answered, and costs nothing.
func TestDeniedRequest(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuersReady()
	cr := testenv.CertificateRequest(t, w.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.create(cr)
	testenv.Deny(t, w.Client, cr)
	w.answered(cr, cmapi.CertificateRequestReasonDenied)
	if cr.Status.FailureTime == nil {
		t.Error("denied without failureTime")
	}
	w.bought(0)
}

// TestApprovalMissing: a request that nobody decides on is not touched, and one event
// tells what is probably missing, once.
func TestApprovalMissing(t *testing.T) {
	w := newWorld(t)
	clock := testclock.NewFakePassiveClock(time.Now())
	r := request.New(request.Options{Client: w.Client, Clock: clock, Concurrency: 1})
	for _, tc := range []struct{ name, kind, says string }{
		{"known", v1alpha1.KindClusterIssuer, "regfishclusterissuers.certmanager.regfish.com/*"},
		{"unknown", "Regfish", `spec.issuerRef.kind "Regfish"`},
	} {
		cr := testenv.CertificateRequest(t, w.Namespace, tc.name, testenv.WithIssuer(tc.kind, "regfish"), testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
		w.create(cr)
		clock.SetTime(cr.CreationTimestamp.Add(time.Minute))
		if result := testenv.Reconcile(t, r, cr); result.RequeueAfter != time.Minute {
			t.Errorf("%s: looked at again after %s, want a minute", tc.name, result.RequeueAfter)
		}
		clock.SetTime(cr.CreationTimestamp.Add(3 * time.Minute))
		testenv.Reconcile(t, r, cr)
		testenv.Reconcile(t, r, cr)
		var events corev1.EventList
		if err := w.Client.List(t.Context(), &events, client.InNamespace(w.Namespace)); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range events.Items {
			if e.InvolvedObject.Name == cr.Name && e.Reason == v1alpha1.EventApprovalMissing {
				found++
				if !strings.Contains(e.Message, tc.says) {
					t.Errorf("%s: event says %q, not %q", tc.name, e.Message, tc.says)
				}
			}
		}
		if found != 1 {
			t.Errorf("%s: %d events, want 1", tc.name, found)
		}
		if err := w.get(cr); err != nil {
			t.Fatal(err)
		}
		if len(cr.Status.Conditions) != 0 {
			t.Errorf("%s: conditions before approval: %+v", tc.name, cr.Status.Conditions)
		}
	}
	w.bought(0)
}

// blindRole lets the user "blind" do everything the controller does but read Secrets.
func blindRole() []client.Object {
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "blind"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"certmanager.regfish.com", "cert-manager.io", "coordination.k8s.io", "events.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
			{APIGroups: []string{""}, Resources: []string{"namespaces", "events"}, Verbs: []string{"*"}},
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "blind"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "blind"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "blind"}},
		},
	}
}
