// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

const (
	endpoint = "https://api.regfish.com"
	goodKey  = "canary-2f9c41d07b6e"
)

func secret(ns, name, key, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string][]byte{key: []byte(value)}}
}

// api is an API server that holds the Secrets.
func api(t testing.TB, secrets ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	// Nothing here applies, and the default converter takes seconds to make.
	return fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithObjects(secrets...).Build()
}

func resolver(reader client.Reader) *Resolver {
	return &Resolver{
		Reader: reader, ClusterResourceNamespace: "regfish-issuer", AllowedEndpoints: []string{endpoint, "https://sandbox.example:8443"},
		UserAgent: "test/1", ReaderRole: "regfish-issuer-secret-reader", ServiceAccount: "regfish-issuer:regfish-issuer",
	}
}

func namespaced(ref v1alpha1.SecretKeyReference) *v1alpha1.RegfishIssuer {
	return &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "regfish"}, Spec: v1alpha1.IssuerSpec{URL: endpoint, APIKeySecretRef: ref}}
}

func clusterWide(ref v1alpha1.SecretKeyReference) *v1alpha1.RegfishClusterIssuer {
	return &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "regfish"}, Spec: v1alpha1.IssuerSpec{URL: endpoint, APIKeySecretRef: ref}}
}

func fingerprint(t testing.TB, key string) string {
	t.Helper()
	k, err := regfish.ParseKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return k.Fingerprint()
}

func TestClientReadsTheKey(t *testing.T) {
	ref := v1alpha1.SecretKeyReference{Name: "regfish-api"}
	other := v1alpha1.SecretKeyReference{Name: "regfish-api", Key: "token"}
	// Each namespace has a Secret of the same name with another key in it.
	reader := api(t, secret("shop", "regfish-api", "api-key", "key-of-shop"), secret("regfish-issuer", "regfish-api", "api-key", "key-of-cluster"), secret("blog", "regfish-api", "api-key", "key-of-blog"),
		secret("token", "regfish-api", "token", "key-of-token\r\n"))
	inToken := namespaced(other)
	inToken.Namespace = "token"
	for name, tt := range map[string]struct {
		reason string
		issuer v1alpha1.Issuer
		want   string
	}{
		"a RegfishIssuer's is in its own namespace":                     {"a tenant must not be able to use another's key", namespaced(ref), "key-of-shop"},
		"a RegfishClusterIssuer's is in the cluster resource namespace": {"whoever may create one decides for the cluster", clusterWide(ref), "key-of-cluster"},
		"the key in the Secret can be named":                            {"spec.apiKeySecretRef.key, and a newline of the file is dropped", inToken, "key-of-token"},
	} {
		c, err := resolver(reader).Client(t.Context(), tt.issuer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := c.Fingerprint(); got != fingerprint(t, tt.want) {
			t.Errorf("%s: another key is used: %s", name, tt.reason)
		}
	}
}

// Whatever is wrong with an issuer's credentials, its owner is told the field and
// the remedy, and nobody is told the key.
func TestClientTellsWhatIsWrong(t *testing.T) {
	ref := v1alpha1.SecretKeyReference{Name: "regfish-api"}
	forbidden := func(reader client.WithWatch) client.Reader {
		return interceptor.NewClient(reader, interceptor.Funcs{Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("no"))
		}})
	}
	withURL := func(url string) v1alpha1.Issuer {
		i := namespaced(ref)
		i.Spec.URL = url
		return i
	}
	withBundle := func(bundle string) v1alpha1.Issuer {
		i := namespaced(ref)
		i.Spec.CABundle = []byte(bundle)
		return i
	}
	good := secret("shop", "regfish-api", "api-key", goodKey)
	for name, tt := range map[string]struct {
		reader client.Reader
		issuer v1alpha1.Issuer
		reason string
		says   []string
	}{
		"no Secret": {
			reader: api(t), issuer: namespaced(ref), reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"spec.apiKeySecretRef.name", `"regfish-api"`, `"shop"`, `"api-key"`},
		},
		"no Secret for a cluster issuer": {
			reader: api(t, good), issuer: clusterWide(ref), reason: v1alpha1.ReasonSecretNotFound,
			says: []string{`"regfish-issuer"`},
		},
		"a name that leads out of the namespace": {
			reader: api(t, good), issuer: namespaced(v1alpha1.SecretKeyReference{Name: "../regfish-issuer/regfish-api"}), reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"spec.apiKeySecretRef.name", `no Secret can be called "../regfish-issuer/regfish-api"`},
		},
		"no such key in the Secret": {
			reader: api(t, secret("shop", "regfish-api", "token", goodKey)), issuer: namespaced(ref), reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"spec.apiKeySecretRef.key", `no key "api-key"`},
		},
		"a Secret that may not be read": {
			reader: forbidden(api(t, good)), issuer: namespaced(ref), reason: v1alpha1.ReasonSecretForbidden,
			says: []string{"kubectl create rolebinding regfish-issuer-secret-reader --namespace shop --clusterrole regfish-issuer-secret-reader --serviceaccount regfish-issuer:regfish-issuer"},
		},
		"an empty key":          {reader: api(t, secret("shop", "regfish-api", "api-key", " \n")), issuer: namespaced(ref), reason: v1alpha1.ReasonKeyInvalid, says: []string{"empty", `"api-key"`}},
		"a key of two lines":    {reader: api(t, secret("shop", "regfish-api", "api-key", goodKey+"\n"+goodKey)), issuer: namespaced(ref), reason: v1alpha1.ReasonKeyInvalid, says: []string{"control or non-ASCII"}},
		"a key that is no text": {reader: api(t, secret("shop", "regfish-api", "api-key", goodKey+"\xff\x00")), issuer: namespaced(ref), reason: v1alpha1.ReasonKeyInvalid},
		"a whole file":          {reader: api(t, secret("shop", "regfish-api", "api-key", strings.Repeat(goodKey, 100))), issuer: namespaced(ref), reason: v1alpha1.ReasonKeyInvalid, says: []string{"longer than"}},
		"an url that is not allowed": {
			reader: api(t, good), issuer: withURL("https://evil.example"), reason: v1alpha1.ReasonEndpointNotAllowed,
			says: []string{"spec.url https://evil.example", endpoint + ", https://sandbox.example:8443", "--allowed-endpoints"},
		},
		"an url under an allowed one":    {reader: api(t, good), issuer: withURL("https://api.regfish.com.evil.example"), reason: v1alpha1.ReasonEndpointNotAllowed},
		"an url with another port":       {reader: api(t, good), issuer: withURL(endpoint + ":8443"), reason: v1alpha1.ReasonEndpointNotAllowed},
		"an url without TLS":             {reader: api(t, good), issuer: withURL("http://api.regfish.com"), reason: v1alpha1.ReasonEndpointNotAllowed, says: []string{"https://"}},
		"an url with a password":         {reader: api(t, good), issuer: withURL("https://user:" + goodKey + "@api.regfish.com"), reason: v1alpha1.ReasonEndpointNotAllowed},
		"no url":                         {reader: api(t, good), issuer: withURL(""), reason: v1alpha1.ReasonEndpointNotAllowed},
		"a CA bundle that is no PEM":     {reader: api(t, good), issuer: withBundle("nonsense"), reason: v1alpha1.ReasonEndpointUnreachable, says: []string{"spec.caBundle"}},
		"a CA bundle without authority":  {reader: api(t, good), issuer: withBundle("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), reason: v1alpha1.ReasonEndpointUnreachable},
		"a CA bundle that is cut in two": {reader: api(t, good), issuer: withBundle(string(authority(t))[:200]), reason: v1alpha1.ReasonEndpointUnreachable},
	} {
		_, err := resolver(tt.reader).Client(t.Context(), tt.issuer)
		var problem *Problem
		if !errors.As(err, &problem) || problem.Reason != tt.reason {
			t.Errorf("%s: %v, want the reason %s", name, err, tt.reason)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(problem.Message, part) {
				t.Errorf("%s: %q does not say %q", name, problem.Message, part)
			}
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, problem); strings.Contains(text, "canary") {
			t.Errorf("%s: the key is told: %s", name, text)
		}
	}

	broken := interceptor.NewClient(api(t, good), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("the API server does not answer")
	}})
	var problem *Problem
	if _, err := resolver(broken).Client(t.Context(), namespaced(ref)); err == nil || errors.As(err, &problem) {
		t.Errorf("an API server that does not answer is the issuer's problem: %v", err)
	}
}

func authority(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestEndpoint(t *testing.T) {
	r := resolver(nil)
	for url, want := range map[string]string{
		endpoint: endpoint, "https://API.regfish.com:443/": endpoint, "https://Sandbox.example:8443": "https://sandbox.example:8443",
	} {
		i := namespaced(v1alpha1.SecretKeyReference{})
		i.Spec.URL = url
		if got, err := r.Endpoint(i); got != want || err != nil {
			t.Errorf("Endpoint(%q) = %q, %v", url, got, err)
		}
	}
}

// A client keeps its connections for as long as nothing about it changes, and what
// changes acts at the next call.
func TestClientIsKept(t *testing.T) {
	ref := v1alpha1.SecretKeyReference{Name: "regfish-api"}
	s := secret("shop", "regfish-api", "api-key", "one")
	reader := api(t, s)
	r := resolver(reader)
	ask := func(issuer v1alpha1.Issuer) *poller.Client {
		t.Helper()
		c, err := r.Client(t.Context(), issuer)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := ask(namespaced(ref))
	if ask(namespaced(ref)) != first {
		t.Error("each call makes a client of its own")
	}
	sandbox, bundled := namespaced(ref), namespaced(ref)
	sandbox.Spec.URL, bundled.Spec.CABundle = "https://sandbox.example:8443", authority(t)
	if ask(sandbox) == first || ask(bundled) == first {
		t.Error("another endpoint or another authority uses the same client")
	}
	s.Data["api-key"] = []byte("two")
	if err := reader.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := ask(namespaced(ref)).Fingerprint(); got != fingerprint(t, "two") {
		t.Error("a rotated key does not act")
	}
	for i := range 3 * maxClients {
		s.Data["api-key"] = fmt.Appendf(nil, "key-%d", i)
		if err := reader.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := ask(namespaced(ref)).Fingerprint(); got != fingerprint(t, string(s.Data["api-key"])) {
			t.Fatalf("key %d does not act", i)
		}
		if len(r.clients) > maxClients {
			t.Fatalf("%d clients are kept", len(r.clients))
		}
	}
}

func TestKeyProblem(t *testing.T) {
	issuer := namespaced(v1alpha1.SecretKeyReference{Name: "regfish-api"})
	for kind, want := range map[regfish.Kind]string{
		regfish.KindUnauthorized: v1alpha1.ReasonKeyRejected, regfish.KindForbidden: v1alpha1.ReasonKeyForbidden,
		regfish.KindNotFound: "", regfish.KindUnavailable: "", regfish.KindTransport: "", regfish.KindNone: "",
	} {
		got := ""
		err := fmt.Errorf("list: %w", &regfish.Error{Op: "list certificates", Kind: kind, Message: goodKey})
		p := KeyProblem(issuer, err, "list certificates")
		if p != nil {
			got = p.Reason
			if !strings.Contains(p.Message, `"regfish-api"`) || strings.Contains(p.Message, "canary") {
				t.Errorf("kind %d: %s", kind, p.Message)
			}
		}
		if got != want {
			t.Errorf("kind %d: reason %q, want %q", kind, got, want)
		}
	}
	if p := KeyProblem(issuer, errors.New("something else"), "list certificates"); p != nil {
		t.Errorf("an error of the API server is the key's: %v", p)
	}
}
