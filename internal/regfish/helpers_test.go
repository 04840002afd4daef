// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// testKey is as long as a real key: pieces of it are looked for in answers.
const testKey = "k7Qm2ZxW9pLr4TnV.8sYd3HfJ6bGc1KaE5uRt0NwX"

func mustKey(t testing.TB, raw string) Key {
	t.Helper()
	key, err := ParseKey([]byte(raw))
	if err != nil {
		t.Fatalf("ParseKey: %v", err)
	}
	return key
}

// serve starts a vendor that answers with h and returns a client of it.
func serve(t testing.TB, h http.HandlerFunc, change ...func(*Config)) *Client {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return clientOf(t, server, change...)
}

func clientOf(t testing.TB, server *httptest.Server, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Endpoint:  server.URL,
		Key:       mustKey(t, testKey),
		CABundle:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		UserAgent: UserAgent("regfish-issuer", "v0.1.0", "os=linux"),
	}
	for _, f := range change {
		f(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}

// answer returns a handler that always gives one answer.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// list reads the whole list of certificates.
func list(ctx context.Context, c *Client) ([]Certificate, error) {
	var certs []Certificate
	err := c.Certificates(ctx, func(cert Certificate) error {
		certs = append(certs, cert)
		return nil
	})
	return certs, err
}

const (
	jsonType = "application/json; charset=utf-8"
	htmlType = "text/html; charset=utf-8"
	htmlPage = "<!DOCTYPE html><html><body>Bad gateway</body></html>"
)
