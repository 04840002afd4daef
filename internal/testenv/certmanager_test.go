// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestCertificateBecomesSecret(t *testing.T) {
	cases := map[string]struct {
		key       testenv.Mod
		algorithm x509.PublicKeyAlgorithm
		reason    string
	}{
		"with an RSA key": {
			key:       testenv.WithRSA(2048),
			algorithm: x509.RSA,
			reason:    "cert-manager's controllers make the key, the request and the Secret",
		},
		"with an ECDSA key": {
			key:       testenv.WithECDSA(),
			algorithm: x509.ECDSA,
			reason:    "the kind of the key is the Certificate's choice",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t)
			env.StartCertManager(testenv.CertManagerOptions{SelfSigned: true})
			selfSignedIssuer(t, env)
			if err := env.Client.Create(t.Context(), selfSignedCertificate(env, "www", tc.key)); err != nil {
				t.Fatal(err)
			}
			leaf := awaitSecret(t, env, "www-tls").Leaf
			if diff := cmp.Diff([]string{"www.example.com"}, leaf.DNSNames); diff != "" {
				t.Errorf("%s: names of the certificate (-want +got):\n%s", tc.reason, diff)
			}
			if leaf.PublicKeyAlgorithm != tc.algorithm {
				t.Errorf("%s: got a key of kind %s, want %s", tc.reason, leaf.PublicKeyAlgorithm, tc.algorithm)
			}
		})
	}
}

func TestWithoutApproverOnlyTheTestDecides(t *testing.T) {
	env := testenv.New(t)
	env.StartCertManager(testenv.CertManagerOptions{SelfSigned: true, NoApprover: true})
	selfSignedIssuer(t, env)
	if err := env.Client.Create(t.Context(), selfSignedCertificate(env, "www")); err != nil {
		t.Fatal(err)
	}
	cr := &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "www-1"}}
	testenv.Eventually(t, patience, func() error {
		return env.Client.Get(t.Context(), client.ObjectKeyFromObject(cr), cr)
	})
	// The signer says that it waits, so the approver, if there were one, has had its time.
	testenv.Eventually(t, patience, func() error {
		events := &corev1.EventList{}
		if err := env.Client.List(t.Context(), events, client.InNamespace(env.Namespace)); err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.InvolvedObject.UID == cr.UID && event.Reason == "WaitingForApproval" {
				return nil
			}
		}
		return errors.New("the signer does not wait for an approval")
	})
	if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(cr), cr); err != nil {
		t.Fatal(err)
	}
	if len(cr.Status.Conditions) != 0 {
		t.Errorf("conditions: got %+v, want none before the test decides", cr.Status.Conditions)
	}
	testenv.Approve(t, env.Client, cr)
	awaitSecret(t, env, "www-tls")
}

func TestDeniedRequestFailsTheCertificate(t *testing.T) {
	env := testenv.New(t)
	env.StartCertManager(testenv.CertManagerOptions{SelfSigned: true, NoApprover: true})
	selfSignedIssuer(t, env)
	certificate := selfSignedCertificate(env, "www")
	if err := env.Client.Create(t.Context(), certificate); err != nil {
		t.Fatal(err)
	}
	cr := &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "www-1"}}
	testenv.Eventually(t, patience, func() error {
		return env.Client.Get(t.Context(), client.ObjectKeyFromObject(cr), cr)
	})
	testenv.Deny(t, env.Client, cr)
	testenv.Eventually(t, patience, func() error {
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(certificate), certificate); err != nil {
			return err
		}
		if certificate.Status.LastFailureTime == nil {
			return fmt.Errorf("the Certificate has not failed: %+v", certificate.Status.Conditions)
		}
		return nil
	})
}

func TestIngressBecomesCertificate(t *testing.T) {
	env := testenv.New(t)
	env.StartCertManager(testenv.CertManagerOptions{})
	pathType := networkingv1.PathTypePrefix
	ingress := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: env.Namespace, Name: "shop",
			Annotations: map[string]string{
				"cert-manager.io/issuer":       "regfish",
				"cert-manager.io/issuer-kind":  "RegfishIssuer",
				"cert-manager.io/issuer-group": "certmanager.regfish.com",
			},
		},
		Spec: networkingv1.IngressSpec{
			TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example.com"}, SecretName: "shop-tls"}},
			Rules: []networkingv1.IngressRule{{
				Host: "shop.example.com",
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{
						Path: "/", PathType: &pathType,
						Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
							Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80},
						}},
					}},
				}},
			}},
		},
	}
	if err := env.Client.Create(t.Context(), ingress); err != nil {
		t.Fatal(err)
	}
	certificate := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "shop-tls"}}
	testenv.Eventually(t, patience, func() error {
		return env.Client.Get(t.Context(), client.ObjectKeyFromObject(certificate), certificate)
	})
	want := cmmeta.IssuerReference{Group: "certmanager.regfish.com", Kind: "RegfishIssuer", Name: "regfish"}
	if diff := cmp.Diff(want, certificate.Spec.IssuerRef); diff != "" {
		t.Errorf("issuer of the Certificate (-want +got):\n%s", diff)
	}
}

func TestCertManagerStartsAgainAfterStop(t *testing.T) {
	env := testenv.New(t)
	selfSignedIssuer(t, env)
	for _, name := range []string{"first", "second"} {
		stop := env.StartCertManager(testenv.CertManagerOptions{SelfSigned: true})
		if err := env.Client.Create(t.Context(), selfSignedCertificate(env, name)); err != nil {
			t.Fatal(err)
		}
		awaitSecret(t, env, name+"-tls")
		stop()
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(stack, "cert-manager/pkg/controller") {
				t.Errorf("runs after the %s stop:\n%s", name, stack)
			}
		}
	}
}

// selfSignedIssuer creates one of cert-manager's own issuers, whose controller does not run.
func selfSignedIssuer(t *testing.T, env *testenv.Env) {
	t.Helper()
	issuer := &cmapi.Issuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "self"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{SelfSigned: &cmapi.SelfSignedIssuer{}}},
	}
	if err := env.Client.Create(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	apiutil.SetIssuerCondition(issuer, issuer.Generation, cmapi.IssuerConditionReady, cmmeta.ConditionTrue, "SetByTest", "The test set it.")
	if err := env.Client.Status().Update(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
}

func selfSignedCertificate(env *testenv.Env, name string, mods ...testenv.Mod) *cmapi.Certificate {
	return testenv.Certificate(env.Namespace, name, append([]testenv.Mod{
		testenv.WithECDSA(),
		testenv.WithDNSNames("www.example.com"),
		testenv.With(func(c *cmapi.Certificate) {
			c.Spec.IssuerRef = cmmeta.IssuerReference{Group: "cert-manager.io", Kind: "Issuer", Name: "self"}
		}),
	}, mods...)...)
}

// awaitSecret returns the certificate in a Secret once there is one, with the key that belongs to it.
func awaitSecret(t *testing.T, env *testenv.Env, name string) tls.Certificate {
	t.Helper()
	var pair tls.Certificate
	testenv.Eventually(t, patience, func() error {
		secret := &corev1.Secret{}
		if err := env.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: name}, secret); err != nil {
			return err
		}
		var err error
		pair, err = tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		return err
	})
	return pair
}
