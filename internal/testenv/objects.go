// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"crypto"
	"crypto/x509"
	"regexp"
	"strings"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// group is the API group of our issuers.
const group = "certmanager.regfish.com"

// Namespace creates a namespace named after the test, deletes it when the test ends, and returns its name. What is in it
// goes too if the control plane has a ControllerManager.
func Namespace(t testing.TB, c client.Client) string {
	t.Helper()
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name[:min(len(name), 40)] + "-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.Delete(context.Background(), ns)); err != nil {
			t.Errorf("delete namespace: %v", err)
		}
	})
	return ns.Name
}

// APIKeySecret returns a Secret that holds a vendor key where an issuer's apiKeySecretRef looks by default.
func APIKeySecret(namespace, name, apiKey string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		StringData: map[string]string{"api-key": apiKey},
	}
}

// A Mod changes what Certificate or CertificateRequest asks for.
type Mod func(*ask)

type ask struct {
	certificate *cmapi.Certificate // a request is derived from it, as cert-manager does
	key         crypto.Signer      // signs a request's CSR; nil: chosen by the certificate's algorithm
	owner       *cmapi.Certificate // of a request
}

func newAsk(namespace, name string, mods []Mod) ask {
	a := ask{certificate: &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: cmapi.CertificateSpec{
			SecretName: name + "-tls",
			IssuerRef:  cmmeta.IssuerReference{Group: group, Kind: "RegfishClusterIssuer", Name: "regfish"},
		},
	}}
	for _, mod := range mods {
		mod(&a)
	}
	return a
}

// With makes any other change.
func With(change func(*cmapi.Certificate)) Mod {
	return func(a *ask) { change(a.certificate) }
}

// WithIssuer names an issuer of our group instead of the RegfishClusterIssuer "regfish".
func WithIssuer(kind, name string) Mod {
	return With(func(c *cmapi.Certificate) {
		c.Spec.IssuerRef = cmmeta.IssuerReference{Group: group, Kind: kind, Name: name}
	})
}

// WithDNSNames sets the DNS names.
func WithDNSNames(names ...string) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.DNSNames = names })
}

// WithCommonName sets the subject's common name.
func WithCommonName(name string) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.CommonName = name })
}

// WithIPs sets the IP addresses.
func WithIPs(addresses ...string) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.IPAddresses = addresses })
}

// WithEmails sets the e-mail addresses.
func WithEmails(addresses ...string) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.EmailAddresses = addresses })
}

// WithURIs sets the URIs.
func WithURIs(uris ...string) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.URIs = uris })
}

// WithUsages sets the key usages.
func WithUsages(usages ...cmapi.KeyUsage) Mod {
	return With(func(c *cmapi.Certificate) { c.Spec.Usages = usages })
}

// WithRSA asks for an RSA key of that many bits. A request is signed by RSAKey.
func WithRSA(bits int) Mod {
	return With(func(c *cmapi.Certificate) {
		c.Spec.PrivateKey = &cmapi.CertificatePrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: bits}
	})
}

// WithECDSA asks for an ECDSA key on P-256. A request gets a new one; that is also what it gets without any such Mod.
func WithECDSA() Mod {
	return With(func(c *cmapi.Certificate) {
		c.Spec.PrivateKey = &cmapi.CertificatePrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}
	})
}

// WithKey signs a request's CSR with key, of whatever kind, so that two requests can have the same one.
func WithKey(key crypto.Signer) Mod {
	return func(a *ask) { a.key = key }
}

// OwnedBy makes a request look as if cert-manager had made it for a Certificate that exists: its controller reference and
// its annotations.
func OwnedBy(certificate *cmapi.Certificate) Mod {
	return func(a *ask) { a.owner = certificate }
}

// Certificate returns a Certificate for the RegfishClusterIssuer "regfish", with the Secret <name>-tls.
func Certificate(namespace, name string, mods ...Mod) *cmapi.Certificate {
	return newAsk(namespace, name, mods).certificate
}

// CertificateRequest returns the request that cert-manager would make of such a Certificate, with a real CSR.
func CertificateRequest(t testing.TB, namespace, name string, mods ...Mod) *cmapi.CertificateRequest {
	t.Helper()
	a := newAsk(namespace, name, mods)
	spec := a.certificate.Spec
	if a.key == nil {
		if key := spec.PrivateKey; key != nil && key.Algorithm == cmapi.RSAKeyAlgorithm {
			a.key = RSAKey(t, key.Size)
		} else {
			a.key = ECDSAKey(t)
		}
	}
	// cert-manager refuses keys that a requester without cert-manager may well send. So it must not see the key's kind, and
	// the signature's algorithm follows from the key alone.
	a.certificate.Spec.PrivateKey = nil
	template, err := pki.GenerateCSR(a.certificate)
	if err != nil {
		t.Fatalf("make CSR: %v", err)
	}
	template.PublicKeyAlgorithm, template.SignatureAlgorithm = x509.UnknownPublicKeyAlgorithm, x509.UnknownSignatureAlgorithm

	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: a.certificate.Labels, Annotations: a.certificate.Annotations,
		},
		Spec: cmapi.CertificateRequestSpec{
			Duration:  spec.Duration,
			IssuerRef: spec.IssuerRef,
			Request:   encodeCSR(t, template, a.key),
			IsCA:      spec.IsCA,
			Usages:    spec.Usages,
		},
	}
	if a.owner != nil {
		metav1.SetMetaDataAnnotation(&cr.ObjectMeta, cmapi.CertificateNameKey, a.owner.Name)
		metav1.SetMetaDataAnnotation(&cr.ObjectMeta, cmapi.CertificateRequestRevisionAnnotationKey, "1")
		cr.OwnerReferences = []metav1.OwnerReference{
			*metav1.NewControllerRef(a.owner, cmapi.SchemeGroupVersion.WithKind(cmapi.CertificateKind)),
		}
	}
	return cr
}

// Approve approves cr, which then holds what the API server has.
func Approve(t testing.TB, c client.Client, cr *cmapi.CertificateRequest) {
	t.Helper()
	decide(t, c, cr, cmapi.CertificateRequestConditionApproved)
}

// Deny denies cr, which then holds what the API server has.
func Deny(t testing.TB, c client.Client, cr *cmapi.CertificateRequest) {
	t.Helper()
	decide(t, c, cr, cmapi.CertificateRequestConditionDenied)
}

func decide(t testing.TB, c client.Client, cr *cmapi.CertificateRequest, decision cmapi.CertificateRequestConditionType) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(cr), cr); err != nil {
			return err
		}
		apiutil.SetCertificateRequestCondition(cr, decision, cmmeta.ConditionTrue, "DecidedByTest", "The test decided.")
		return c.Status().Update(t.Context(), cr)
	})
	if err != nil {
		t.Fatalf("set %s on %s: %v", decision, client.ObjectKeyFromObject(cr), err)
	}
}
