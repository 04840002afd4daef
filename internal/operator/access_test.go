// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// secret is what the metrics are to those who may not read them.
const secret = "regfish_orders 1"

// guarded serves the secret to those whom the API server behind config lets get it.
func guarded(t *testing.T, config *rest.Config, log logr.Logger) http.Handler {
	t.Helper()
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	filter, err := access(config, c)
	if err != nil {
		t.Fatal(err)
	}
	h, err := filter(log, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, secret) }))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask makes a request and returns the status, and 200 only with the secret.
func ask(t *testing.T, h http.Handler, method, path string, authorization ...string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	if len(authorization) > 0 {
		r.Header["Authorization"] = authorization
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if served := strings.Contains(w.Body.String(), secret); served != (w.Code == http.StatusOK) {
		t.Errorf("%s %s is answered with %d: %s", method, path, w.Code, w.Body)
	}
	return w.Code
}

// Whoever may get /metrics has them, and nobody else, by whatever token, scheme, path or verb.
func TestAccess(t *testing.T) {
	w := testenv.New(t)
	create := func(name string) *corev1.ServiceAccount {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
		if err := w.Client.Create(t.Context(), sa); err != nil {
			t.Fatal(err)
		}
		return sa
	}
	token := func(sa *corev1.ServiceAccount, audiences ...string) string {
		r := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
		if err := w.Client.SubResource("token").Create(t.Context(), sa, &r); err != nil {
			t.Fatal(err)
		}
		return r.Status.Token
	}
	reader, stranger := create("prometheus"), create("stranger")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "metrics-" + w.Namespace}, Rules: []rbacv1.PolicyRule{
		{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.Namespace, Name: reader.Name}},
	}
	if err := w.Client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Client.Delete(context.Background(), role) })
	if err := w.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Client.Delete(context.Background(), binding) })

	var logged strings.Builder
	h := guarded(t, w.Config, funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{Verbosity: 10}))
	good := token(reader)
	testenv.Eventually(t, time.Minute, func() error {
		// What the API server allows follows what is written with a delay.
		if got := ask(t, h, http.MethodGet, "/metrics", "Bearer "+good); got != http.StatusOK {
			return errors.New(http.StatusText(got))
		}
		return nil
	})
	for _, tc := range []struct {
		name, method, path string
		authorization      []string
		want               int
	}{
		{"the scheme in lower case", "GET", "/metrics", []string{"bearer  " + good + " "}, http.StatusOK},
		{"nobody", "GET", "/metrics", nil, http.StatusUnauthorized},
		{"an empty header", "GET", "/metrics", []string{""}, http.StatusUnauthorized},
		{"a scheme without a token", "GET", "/metrics", []string{"Bearer "}, http.StatusUnauthorized},
		{"another scheme", "GET", "/metrics", []string{"Basic " + good}, http.StatusUnauthorized},
		{"a token without a scheme", "GET", "/metrics", []string{good}, http.StatusUnauthorized},
		{"a token that is none", "GET", "/metrics", []string{"Bearer x"}, http.StatusUnauthorized},
		{"half of a token", "GET", "/metrics", []string{"Bearer " + good[:len(good)/2]}, http.StatusUnauthorized},
		{"a second header", "GET", "/metrics", []string{"Bearer x", "Bearer " + good}, http.StatusUnauthorized},
		{"a token for somebody else's server", "GET", "/metrics", []string{"Bearer " + token(reader, "vault")}, http.StatusUnauthorized},
		{"whoever may not", "GET", "/metrics", []string{"Bearer " + token(stranger)}, http.StatusForbidden},
		{"another verb", "POST", "/metrics", []string{"Bearer " + good}, http.StatusForbidden},
		{"another path", "GET", "/debug", []string{"Bearer " + good}, http.StatusForbidden},
		{"a path below", "GET", "/metrics/x", []string{"Bearer " + good}, http.StatusForbidden},
	} {
		if got := ask(t, h, tc.method, tc.path, tc.authorization...); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if err := w.Client.Delete(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		// The API server remembers what it found out for some seconds.
		if got := ask(t, h, http.MethodGet, "/metrics", "Bearer "+good); got != http.StatusUnauthorized {
			return errors.New("a token of nobody is answered with " + http.StatusText(got))
		}
		return nil
	})
	if strings.Contains(logged.String(), good) {
		t.Error("the token is logged")
	}
}

// An API server that does not answer lets nobody in.
func TestAccessFailsClosed(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"it fails":                               func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"it refuses":                             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"it says nothing":                        func(http.ResponseWriter, *http.Request) {},
		"it knows the token and not whose it is": reviews(`{"authenticated":true}`, `{"allowed":true}`),
		"it allows and denies":                   reviews(`{"authenticated":true,"user":{"username":"x"}}`, `{"allowed":true,"denied":true}`),
	} {
		server := httptest.NewServer(answer)
		h := guarded(t, &rest.Config{Host: server.URL}, logr.Discard())
		if got := ask(t, h, http.MethodGet, "/metrics", "Bearer x"); got == http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
		server.Close()
	}
	gone := guarded(t, &rest.Config{Host: "http://127.0.0.1:1"}, logr.Discard())
	if got := ask(t, gone, http.MethodGet, "/metrics", "Bearer x"); got != http.StatusInternalServerError {
		t.Errorf("nobody listens: %d", got)
	}
}

// reviews answers with these statuses of a TokenReview and a SubjectAccessReview.
func reviews(who, may string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "tokenreviews") {
			says(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":`+who+`}`)(w, r)
			return
		}
		says(`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":`+may+`}`)(w, r)
	}
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// Strangers have no more asked at a time than is their part. Whoever comes meanwhile has its
// turn after them, and waits no longer than it may.
func TestAccessIsBounded(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		says(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{}}`)(w, r)
	}))
	t.Cleanup(server.Close)
	var logged strings.Builder
	h := guarded(t, &rest.Config{Host: server.URL, QPS: -1}, funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{}))
	var strangers sync.WaitGroup
	for range reviewsAtOnce + 1 {
		strangers.Go(func() {
			if got := ask(t, h, http.MethodGet, "/metrics", "Bearer x"); got != http.StatusUnauthorized {
				t.Errorf("a stranger is answered with %d", got)
			}
		})
	}
	for range reviewsAtOnce {
		<-asked
	}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/metrics", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("who does not wait for its turn is answered with %d", w.Code)
	}
	select {
	case <-asked:
		t.Error("more are asked at a time")
	default:
	}
	answer <- struct{}{}
	<-asked
	for range reviewsAtOnce {
		answer <- struct{}{}
	}
	strangers.Wait()
	if logged.Len() > 0 {
		t.Errorf("strangers fill the log: %s", logged.String())
	}
}

// Who hangs up while the API server is asked leaves nothing in the log, and no place taken.
func TestWhoHangsUpLeavesNothing(t *testing.T) {
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	var logged strings.Builder
	h := guarded(t, &rest.Config{Host: server.URL, QPS: -1}, funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{}))
	for range 2 * reviewsAtOnce {
		ctx, hangUp := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", "Bearer x")
		ended := make(chan struct{})
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), r)
			close(ended)
		}()
		<-asked
		hangUp()
		<-ended
	}
	if logged.Len() > 0 {
		t.Errorf("it is logged: %s", logged.String())
	}
}
