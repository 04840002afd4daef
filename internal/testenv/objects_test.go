// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestRequestHasTheCSRItsModsAskFor(t *testing.T) {
	shared := testenv.ECDSAKey(t)
	type content struct {
		CommonName                 string
		DNSNames, IPs, Emails, URI []string
		RSABits                    int
		SharedKey                  bool
	}
	cases := map[string]struct {
		mods   []testenv.Mod
		want   content
		reason string
	}{
		"names only": {
			mods:   []testenv.Mod{testenv.WithDNSNames("a.example.com", "b.example.com")},
			want:   content{DNSNames: []string{"a.example.com", "b.example.com"}},
			reason: "a common name is only there if it was asked for",
		},
		"a common name only": {
			mods:   []testenv.Mod{testenv.WithCommonName("a.example.com")},
			want:   content{CommonName: "a.example.com"},
			reason: "such requests exist, and they have no DNS name",
		},
		"every kind of name": {
			mods: []testenv.Mod{
				testenv.WithDNSNames("a.example.com"), testenv.WithIPs("192.0.2.1"),
				testenv.WithEmails("a@example.com"), testenv.WithURIs("spiffe://example.com/a"),
			},
			want: content{
				DNSNames: []string{"a.example.com"}, IPs: []string{"192.0.2.1"},
				Emails: []string{"a@example.com"}, URI: []string{"spiffe://example.com/a"},
			},
			reason: "the issuer has to refuse these",
		},
		"an RSA key that cert-manager would refuse": {
			mods:   []testenv.Mod{testenv.WithDNSNames("a.example.com"), testenv.WithRSA(1024)},
			want:   content{DNSNames: []string{"a.example.com"}, RSABits: 1024},
			reason: "a requester without cert-manager can send it",
		},
		"a key that the test holds": {
			mods:   []testenv.Mod{testenv.WithDNSNames("a.example.com"), testenv.WithKey(shared)},
			want:   content{DNSNames: []string{"a.example.com"}, SharedKey: true},
			reason: "two requests with one key are told apart from two with two keys",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cr := testenv.CertificateRequest(t, "ns", "www-1", tc.mods...)
			csr, err := pki.DecodeX509CertificateRequestBytes(cr.Spec.Request)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if err := csr.CheckSignature(); err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
			got := content{
				CommonName: csr.Subject.CommonName, DNSNames: csr.DNSNames, Emails: csr.EmailAddresses,
				SharedKey: shared.PublicKey.Equal(csr.PublicKey),
			}
			for _, ip := range csr.IPAddresses {
				got.IPs = append(got.IPs, ip.String())
			}
			for _, uri := range csr.URIs {
				got.URI = append(got.URI, uri.String())
			}
			switch key := csr.PublicKey.(type) {
			case *rsa.PublicKey:
				got.RSABits = key.N.BitLen()
			case *ecdsa.PublicKey:
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRequestIsAcceptedWithItsOwnerAndDecided(t *testing.T) {
	env := testenv.New(t)
	certificate := testenv.Certificate(env.Namespace, "www", testenv.WithDNSNames("www.example.com"))
	if err := env.Client.Create(t.Context(), certificate); err != nil {
		t.Fatal(err)
	}
	cr := testenv.CertificateRequest(t, env.Namespace, "www-1",
		testenv.WithDNSNames("www.example.com"),
		testenv.WithUsages(cmapi.UsageDigitalSignature, cmapi.UsageServerAuth),
		testenv.WithIssuer("RegfishIssuer", "own"),
		testenv.OwnedBy(certificate))
	if err := env.Client.Create(t.Context(), cr); err != nil {
		t.Fatal(err)
	}
	testenv.Approve(t, env.Client, cr)

	if owner := metav1.GetControllerOf(cr); owner == nil || owner.UID != certificate.UID || owner.Kind != "Certificate" {
		t.Errorf("controller of the request: got %+v, want the Certificate %s", owner, certificate.UID)
	}
	if cr.Annotations[cmapi.CertificateNameKey] != "www" {
		t.Errorf("annotations: got %v, want the Certificate's name", cr.Annotations)
	}
	if ref := cr.Spec.IssuerRef; ref.Group != "certmanager.regfish.com" || ref.Kind != "RegfishIssuer" || ref.Name != "own" {
		t.Errorf("issuer: got %+v", ref)
	}
	if len(cr.Status.Conditions) != 1 || cr.Status.Conditions[0].Type != cmapi.CertificateRequestConditionApproved {
		t.Errorf("conditions: got %+v, want Approved alone", cr.Status.Conditions)
	}

	denied := testenv.CertificateRequest(t, env.Namespace, "www-2", testenv.WithDNSNames("www.example.com"))
	if err := env.Client.Create(t.Context(), denied); err != nil {
		t.Fatal(err)
	}
	testenv.Deny(t, env.Client, denied)
	if len(denied.Status.Conditions) != 1 || denied.Status.Conditions[0].Type != cmapi.CertificateRequestConditionDenied {
		t.Errorf("conditions: got %+v, want Denied alone", denied.Status.Conditions)
	}
}

func TestCSRIsSignedByTheKey(t *testing.T) {
	key := testenv.RSAKey(t, 2048)
	csr, err := pki.DecodeX509CertificateRequestBytes(testenv.CSR(t, key, "a.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(csr.PublicKey) || csr.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("CSR is not signed by the key: %v", csr.SignatureAlgorithm)
	}
	if again := testenv.RSAKey(t, 2048); again != key {
		t.Error("RSAKey made a second key of the same size: that costs seconds with the race detector")
	}
}

func TestEachTestHasItsOwnNamespace(t *testing.T) {
	first, second := testenv.New(t), testenv.New(t)
	if first.Namespace == second.Namespace {
		t.Errorf("both got %s", first.Namespace)
	}
	secret := testenv.APIKeySecret(first.Namespace, "regfish-api", "key")
	if err := first.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: first.Namespace, Name: "regfish-api"}
	if err := second.Client.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	if string(secret.Data["api-key"]) != "key" {
		t.Errorf("api-key: got %q", secret.Data["api-key"])
	}
}
