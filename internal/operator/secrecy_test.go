// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestKeyIsNowhere: a vendor, or whoever stands before it, says the key in every place of
// an answer, and the Secret holds it with a line break in its middle. Whatever is written
// about that is looked through when the test ends (see noKeyAnywhere).
func TestKeyIsNowhere(t *testing.T) {
	w := newWorld(t)
	words := func(status int) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			key := r.Header.Get("x-api-key")
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Www-Authenticate", key)
			rw.WriteHeader(status)
			_, _ = fmt.Fprintf(rw, `{"success":false,"message":"bad key %s","error":"%s","code":15001}`, key, key)
		}
	}
	answers := map[string]http.HandlerFunc{
		"refused": words(http.StatusUnauthorized),
		"failing": words(http.StatusInternalServerError),
		"redirected": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://user:"+r.Header.Get("x-api-key")+"@127.0.0.1:1/?key="+r.Header.Get("x-api-key"), http.StatusTemporaryRedirect)
		},
		"broken": func(rw http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(c, "%s 200 OK\r\n\r\n", r.Header.Get("x-api-key"))
				_ = c.Close()
			}
		},
	}
	allowed := []string{w.url}
	for name, answer := range answers {
		server := httptest.NewUnstartedServer(answer)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		spec := w.spec
		spec.URL, spec.CABundle = server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}, Spec: spec})
		allowed = append(allowed, server.URL)
	}
	unreachable := w.spec
	unreachable.URL = "https://127.0.0.1:1"
	w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "unreachable"}, Spec: unreachable})
	allowed = append(allowed, unreachable.URL)
	w.create(testenv.APIKeySecret(w.Namespace, "torn", strings.Replace(apiKey, ".", "\n.", 1)))
	torn := w.spec
	torn.APIKeySecretRef.Name = "torn"
	w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "torn"}, Spec: torn})

	w.run(func(o *operator.Options) { o.AllowedEndpoints = allowed })
	for name, reason := range map[string]string{
		"refused": v1alpha1.ReasonKeyRejected, "failing": v1alpha1.ReasonEndpointUnreachable, "redirected": v1alpha1.ReasonEndpointUnreachable, "broken": v1alpha1.ReasonEndpointUnreachable,
		"unreachable": v1alpha1.ReasonEndpointUnreachable, "torn": v1alpha1.ReasonKeyInvalid,
	} {
		w.issuerSays(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}, reason)
		w.request("of-"+name, testenv.WithIssuer(v1alpha1.KindIssuer, name), testenv.WithECDSA(), testenv.WithDNSNames(name+".example.com"))
		w.order("of-"+name, "waits for its issuer", placed(v1alpha1.ReasonIssuerNotReady))
	}
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is validating", inState(v1alpha1.StateValidating))

	families, err := metrics.Registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("%d metrics: %v", len(families), err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), canary) {
			t.Errorf("the API key is in the metric %s", f.GetName())
		}
	}
}
