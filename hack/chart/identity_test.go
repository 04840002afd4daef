// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestOwnIdentity: with the token of the ServiceAccount that the chart made, and the
// arguments of the Deployment that it made, the controller does all its work.
func TestOwnIdentity(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	w.run()
	w.automateDNS()
	w.issuer(w.namespaced(), v1alpha1.ReasonChecked)
	w.issuer(w.clusterWide(), v1alpha1.ReasonChecked)
	for _, kind := range []string{v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer} {
		c := w.certificate(kind, strings.ToLower(kind))
		w.ready(c)
		if err := w.Client.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: c.Spec.SecretName}, &corev1.Secret{}); err != nil {
			t.Errorf("cert-manager wrote no Secret: %v", err)
		}
	}
	w.bought(2)
	w.events(v1alpha1.ReasonPurchased)

	// A product with an organization, whose orders a person completes.
	w.spec.SKU, w.spec.OrganizationID = "SecureSite", simulator.OrganizationIncomplete
	own := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "ov"}, Spec: w.spec}
	cluster := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "ov"}, Spec: w.spec}
	w.create(own)
	w.create(cluster)
	w.issuer(own, v1alpha1.ReasonChecked)
	w.issuer(cluster, v1alpha1.ReasonChecked)
	for _, kind := range []string{v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer} {
		name := "ov-" + strings.ToLower(kind)
		c := testenv.Certificate(w.Namespace, name, testenv.WithIssuer(kind, "ov"), testenv.WithDNSNames(name+".example.com"))
		w.create(c)
		o := w.order(name+"-1", "waits for a person", inState(v1alpha1.StateActionRequired))
		if err := w.vendor.Complete(o.Status.PurchaseRef.CertificateID); err != nil {
			t.Fatal(err)
		}
		w.ready(c)
	}
	w.bought(4)
}

// events fails the test unless there is an event with the reason in the tenant's
// namespace: a recorder that may not write events only logs that.
func (w *world) events(reason string) {
	w.t.Helper()
	w.eventually("an event "+reason, func() error {
		var list corev1.EventList
		if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(list.Items))
	})
}

// TestSecretsByNamespace: where no namespace allows it, the controller reads no Secret,
// and prints the command that allows it. The command is run as it is printed.
func TestSecretsByNamespace(t *testing.T) {
	w := newWorld(t, "--set-json", "issuerNamespaces=[]")
	w.run()
	w.issuer(w.clusterWide(), v1alpha1.ReasonChecked)
	message := w.issuer(w.namespaced(), v1alpha1.ReasonSecretForbidden)
	_, command, found := strings.Cut(message, "kubectl ")
	if !found {
		t.Fatalf("there is no command in %q", message)
	}
	w.kubectl(strings.Fields(command)...)
	i := w.namespaced()
	w.edit(i, func() { i.Spec.SKU = "rapidssl" }) // Or it is looked at within a minute.
	w.issuer(w.namespaced(), v1alpha1.ReasonChecked)
}

// TestUpgradeInFlight: an upgrade, from the chart and the controller of an earlier commit,
// while an order waits for its validation. The release has a name of its own.
func TestUpgradeInFlight(t *testing.T) {
	w := emptyWorld(t)
	w.name = "certificates"
	packaged, earlier := previous(t)
	w.do("install", w.values(), packaged)
	w.issuers()
	w.StartCertManager(testenv.CertManagerOptions{})
	stop := w.runProgram(earlier)
	c := w.certificate(v1alpha1.KindClusterIssuer, "www")
	before := w.order("www-1", "is validating", inState(v1alpha1.StateValidating))
	w.do("upgrade", w.values())
	stop()
	w.run()
	w.automateDNS()
	w.ready(c)
	after := w.order("www-1", "is issued", inState(v1alpha1.StateIssued))
	if before.UID != after.UID || before.Status.PurchaseRef.CertificateID != after.Status.PurchaseRef.CertificateID {
		t.Errorf("the order became another one: %+v, then %+v", before.Status, after.Status)
	}
	w.bought(1)
}

// TestReinstallInFlight: uninstalled while an order waits for its validation, and
// installed again under another name.
func TestReinstallInFlight(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	stop := w.run()
	c := w.certificate(v1alpha1.KindClusterIssuer, "www")
	w.order("www-1", "is validating", inState(v1alpha1.StateValidating))
	stop()
	w.do("uninstall", "")
	w.name = "another"
	w.do("install", w.values(), "--take-ownership")
	w.run()
	w.automateDNS()
	w.ready(c)
	w.bought(1)
}

// TestReplicas: two processes run, one leads, and when it ends the other goes on.
func TestReplicas(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	stop := w.run()
	c := w.certificate(v1alpha1.KindClusterIssuer, "www")
	w.order("www-1", "is validating", inState(v1alpha1.StateValidating))
	leader := w.leader()
	w.run()
	stop()
	w.eventually("the other one leads", func() error {
		if now := w.leader(); now == leader || now == "" {
			return fmt.Errorf("%q leads", now)
		}
		return nil
	})
	w.automateDNS()
	w.ready(c)
	w.bought(1)
}

func (w *world) leader() string {
	w.t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "regfish-issuer"}}
	if err := w.get(lease); err != nil {
		w.t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// TestApprover: cert-manager's webhook asks whether whoever approves may, for the
// signer that the request names. This asks the same.
func TestApprover(t *testing.T) {
	r := newRelease(t)
	mayApprove := func(namespace, account, signer string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + namespace + ":" + account,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "cert-manager.io", Version: "*", Resource: "signers", Verb: "approve", Name: signer,
			},
		}}
		if err := r.Client.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		return review.Status.Allowed
	}
	const (
		ours        = "regfishissuers.certmanager.regfish.com/*"
		oursCluster = "regfishclusterissuers.certmanager.regfish.com/*"
		theirs      = "issuers.cert-manager.io/*"
	)
	tests := []struct {
		name, verb, values, account, signer string
		want                                bool
	}{
		{"cert-manager for RegfishIssuers", "install", "", "cert-manager/cert-manager", ours, true},
		{"cert-manager for RegfishClusterIssuers", "", "", "cert-manager/cert-manager", oursCluster, true},
		{"cert-manager for others, by this chart", "", "", "cert-manager/cert-manager", theirs, false},
		{"somebody else", "", "", "shop/default", ours, false},
		{"the controller for itself", "", "", r.namespace + "/regfish-issuer", ours, false},
		{"cert-manager without the role, for RegfishIssuers", "upgrade", "approver: {enabled: false}", "cert-manager/cert-manager", ours, false},
		{"cert-manager without the role, for RegfishClusterIssuers", "", "", "cert-manager/cert-manager", oursCluster, false},
		{"cert-manager elsewhere", "upgrade", "approver: {subjects: [{kind: ServiceAccount, name: cm, namespace: pki}]}", "pki/cm", oursCluster, true},
		{"and not where it is not", "", "", "cert-manager/cert-manager", oursCluster, false},
	}
	for _, tc := range tests {
		if tc.verb != "" {
			r.do(tc.verb, tc.values)
		}
		namespace, account, _ := strings.Cut(tc.account, "/")
		// What the API server allows follows what is written with a delay.
		testenv.Eventually(t, patience, func() error {
			if got := mayApprove(namespace, account, tc.signer); got != tc.want {
				return fmt.Errorf("%s: may approve is %v", tc.name, got)
			}
			return nil
		})
	}
}

// TestMetrics: they go to whoever may get them, and to nobody else.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	reader := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "prometheus"}}
	stranger := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "stranger"}}
	w.create(reader)
	w.create(stranger)
	w.do("upgrade", w.values(), "--set-json", fmt.Sprintf(`metrics={"enabled":true,"port":%d,"readers":[{"kind":"ServiceAccount","name":"prometheus","namespace":%q}]}`, port, w.Namespace))
	w.run()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // Nobody signed it.
	t.Cleanup(transport.CloseIdleConnections)
	scrape := func(token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/metrics", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(request)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return 0, err.Error()
		}
		return answer.StatusCode, string(body)
	}
	tests := []struct {
		name, token string
		served      bool
	}{
		{"whoever may", w.token(reader), true},
		{"whoever may not", w.token(stranger), false},
		{"nobody", "", false},
		{"a token that is none", "x", false},
	}
	for _, tc := range tests {
		w.eventually(tc.name, func() error {
			status, body := scrape(tc.token)
			served := status == http.StatusOK && strings.Contains(body, "controller_runtime_reconcile_total")
			if status == 0 || served != tc.served || strings.Contains(body, "controller_runtime_reconcile_total") != tc.served {
				return fmt.Errorf("the answer is %d: %.200s", status, body)
			}
			return nil
		})
	}
	if answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port)); err == nil {
		defer func() { _ = answer.Body.Close() }()
		if answer.StatusCode == http.StatusOK {
			t.Error("the metrics are served without TLS")
		}
	}
}

func (w *world) token(account *corev1.ServiceAccount) string {
	w.t.Helper()
	request := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	if err := w.Client.SubResource("token").Create(w.t.Context(), account, &request); err != nil {
		w.t.Fatal(err)
	}
	return request.Status.Token
}

// TestViewIsAggregated: whoever may view a namespace sees its issuers and orders, and
// nobody sees the ledger by that.
func TestViewIsAggregated(t *testing.T) {
	r := newRelease(t)
	r.do("install", "")
	may := func(role, resource, verb string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               role,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: v1alpha1.Group, Resource: resource, Verb: verb, Namespace: r.namespace},
		}}
		if err := r.Client.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		return review.Status.Allowed
	}
	for _, role := range []string{"view", "edit", "admin"} {
		r.bind(r.namespace, role, "ClusterRole", role)
		for _, resource := range []string{"regfishorders", "regfishissuers"} {
			testenv.Eventually(t, patience, func() error {
				if !may(role, resource, "list") {
					return fmt.Errorf("%s may not list %s", role, resource)
				}
				return nil
			})
			for _, verb := range []string{"create", "update", "patch", "delete"} {
				if may(role, resource, verb) {
					t.Errorf("%s may %s %s", role, verb, resource)
				}
			}
		}
		for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
			if may(role, "regfishpurchases", verb) {
				t.Errorf("%s may %s purchases", role, verb)
			}
		}
	}
}
