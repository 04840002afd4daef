// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// vendor is a simulator that listens, with a client of its default account.
type vendor struct {
	*simulator.Server
	url    string
	client *regfish.Client
	clock  *clock
}

func start(t testing.TB, change ...func(*simulator.Options)) *vendor {
	t.Helper()
	v := &vendor{clock: &clock{now: time.Date(2026, 3, 18, 10, 0, 0, 0, time.UTC)}}
	options := simulator.Options{Now: v.clock.Now}
	for _, f := range change {
		f(&options)
	}
	var err error
	if v.Server, err = simulator.New(options); err != nil {
		t.Fatal(err)
	}
	if v.url, err = v.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	v.client = v.clientWith(t, simulator.DefaultKey)
	return v
}

func (v *vendor) clientWith(t testing.TB, key string) *regfish.Client {
	t.Helper()
	parsed, err := regfish.ParseKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	client, err := regfish.New(regfish.Config{Endpoint: v.url, Key: parsed, CABundle: v.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// order orders names and fails the test unless the order is accepted.
func (v *vendor) order(t testing.TB, names ...string) regfish.Certificate {
	t.Helper()
	result := v.client.Order(t.Context(), request(t, names...), yes)
	if result.Outcome != regfish.Accepted {
		t.Fatalf("order of %q is %v: %v", names, result.Outcome, result.Err)
	}
	return result.Certificate
}

// stage orders an OV certificate for an organization whose orders a person has to
// complete.
func (v *vendor) stage(t testing.TB, names ...string) regfish.Certificate {
	t.Helper()
	result := v.client.Order(t.Context(), requestOV(t, "SecureSite", simulator.OrganizationIncomplete, names...), yes)
	if result.Outcome != regfish.Accepted || !result.Certificate.ActionRequired {
		t.Fatalf("order of %q is %v: %v, action required: %t", names, result.Outcome, result.Err, result.Certificate.ActionRequired)
	}
	return result.Certificate
}

// post places an order without the client, and returns the status and the JSON.
func (v *vendor) post(t testing.TB, order regfish.OrderRequest) (int, http.Header, string) {
	t.Helper()
	body, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	return v.call(t, simulator.DefaultKey, http.MethodPost, "/tls/certificate", string(body))
}

// publish puts what an order asks for into DNS.
func (v *vendor) publish(cert regfish.Certificate) {
	for _, r := range cert.Validation.DNSRecords {
		v.SetRecord(r.Name, r.Type, r.Value)
	}
}

func (v *vendor) get(t testing.TB, id string) regfish.Certificate {
	t.Helper()
	cert, err := v.client.Certificate(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (v *vendor) list(t testing.TB) []regfish.Certificate {
	t.Helper()
	var certs []regfish.Certificate
	err := v.client.Certificates(t.Context(), func(c regfish.Certificate) error {
		certs = append(certs, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// call sends one request without the client, and returns the status and the JSON.
func (v *vendor) call(t testing.TB, key, method, path, body string) (int, http.Header, string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.ServerCA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, v.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("x-api-key", key)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(content)
}

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func yes() error { return nil }

// leafKey signs every request that has no key of its own: making keys is slow.
var leafKey = newKey()

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newRSAKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, names ...string) regfish.OrderRequest {
	t.Helper()
	return requestFor(t, leafKey, names...)
}

func requestFor(t testing.TB, key crypto.Signer, names ...string) regfish.OrderRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	return regfish.OrderRequest{
		SKU: "RapidSSL", CommonName: names[0], DNSNames: names[1:], DCVMethod: regfish.DCVMethodCNAME,
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	}
}

func requestOV(t testing.TB, sku, organization string, names ...string) regfish.OrderRequest {
	t.Helper()
	r := request(t, names...)
	r.SKU, r.OrganizationID = sku, organization
	return r
}

// chain parses PEM certificates.
func chain(t testing.TB, data []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

// verify checks a delivery as a browser would: the first certificate is for name,
// and the others lead to the simulator's root.
func (v *vendor) verify(t testing.TB, data []byte, name string) error {
	t.Helper()
	certs := chain(t, data)
	if len(certs) == 0 {
		t.Fatal("no certificate was delivered")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(v.Root())
	for _, c := range certs[1:] {
		intermediates.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates, CurrentTime: v.clock.Now()})
	return err
}

func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
