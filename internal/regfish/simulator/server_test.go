// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestNewRefusesBadKeys(t *testing.T) {
	for name, keys := range map[string][]string{"an empty key": {"a", ""}, "a key that is there twice": {"a", "b", "a"}} {
		if _, err := simulator.New(simulator.Options{Keys: keys}); err == nil {
			t.Errorf("New accepted %s: two accounts would be one", name)
		}
	}
}

func TestAnOrderBecomesACertificate(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ECDSA": leafKey, "RSA": newRSAKey(t, 2048)} {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.IssueDelay = time.Minute })
			result := v.client.Order(t.Context(), requestFor(t, key, "www.example.com", "api.example.com", "example.org"), yes)
			if result.Outcome != regfish.Accepted {
				t.Fatalf("outcome is %v: %v", result.Outcome, result.Err)
			}
			cert := result.Certificate
			want := regfish.Certificate{
				ID: cert.ID, Status: regfish.StatusPending, CommonName: "www.example.com", DNSNames: []string{"api.example.com", "example.org"},
				Product: "RapidSSL", Provider: "digicert", OrderState: "PENDING", PendingReason: "validation_pending",
				PendingMessage: "The TLS certificate order is waiting for domain validation.", ValidityDays: 199, Validation: cert.Validation,
			}
			if !reflect.DeepEqual(cert, want) {
				t.Errorf("ordered %+v, want %+v", cert, want)
			}
			if records := cert.Validation.DNSRecords; len(records) != 2 || records[0].Name != "_dnsauth.example.com." || records[1].Name != "_dnsauth.example.org." {
				t.Fatalf("records are %+v, want one for each of two base domains", records)
			}

			if _, err := v.client.Download(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindConflict {
				t.Errorf("download of a pending order: %v, want 409", err)
			}
			first := cert.Validation.DNSRecords[0]
			v.SetRecord(first.Name, first.Type, first.Value)
			v.clock.advance(time.Hour)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
				t.Errorf("one of two records: status is %s, want pending", got.Status)
			}
			v.publish(cert)
			v.clock.advance(time.Minute - time.Second)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
				t.Errorf("before the delay is over: status is %s, want pending", got.Status)
			}
			v.clock.advance(time.Second)
			issued := v.get(t, cert.ID)
			if issued.Status != regfish.StatusIssued || !issued.CertificatePEMAvailable || issued.OrderState != "ISSUED" || issued.PendingReason != "" {
				t.Fatalf("after the delay: %+v, want issued", issued)
			}

			data, err := v.client.Download(t.Context(), cert.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"www.example.com", "api.example.com", "example.org"} {
				if err := v.verify(t, data, name); err != nil {
					t.Errorf("certificate for %s: %v", name, err)
				}
			}
			certs := chain(t, data)
			if len(certs) != 2 || !certs[1].IsCA {
				t.Fatalf("%d certificates were delivered, want the leaf and one issuer", len(certs))
			}
			leaf := certs[0]
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) {
				t.Error("the certificate is for another key")
			}
			if leaf.IsCA || len(leaf.DNSNames) != 3 || leaf.Subject.CommonName != "www.example.com" {
				t.Errorf("the certificate is for %q, CA: %t", leaf.DNSNames, leaf.IsCA)
			}
			now := v.clock.Now()
			if back := now.Sub(leaf.NotBefore); back <= 0 || back > 24*time.Hour {
				t.Errorf("notBefore is %v before the issuance, want a little", back)
			}
			if term := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second; term != 199*24*time.Hour {
				t.Errorf("the term is %v, want 199 days", term)
			}
			if !issued.ValidFrom.Equal(leaf.NotBefore) || !issued.ValidUntil.Equal(leaf.NotAfter) || !issued.ContractValidUntil.Equal(leaf.NotAfter) {
				t.Errorf("dates are %v to %v, want the certificate's", issued.ValidFrom, issued.ValidUntil)
			}
			if issued.SerialNumber != leaf.SerialNumber.Text(16) {
				t.Errorf("serial number is %s", issued.SerialNumber)
			}
			v.clock.advance(200 * 24 * time.Hour)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusExpired || !got.CertificatePEMAvailable {
				t.Errorf("after its end: status is %s, want expired and still there", got.Status)
			}
		})
	}
}

// anyOrder replaces in an answer what differs from order to order.
func anyOrder(text string) string {
	text = regexp.MustCompile(`\b[2-9A-HJ-NP-Z]{13}("|/complete)`).ReplaceAllString(text, `ABCDEFGHJKM23$1`)
	return regexp.MustCompile(`[0-9a-f]{32}\.dcv`).ReplaceAllString(text, `0123456789abcdef.dcv`)
}

func TestTheAnswerHasTheDocumentedShape(t *testing.T) {
	v := start(t)
	status, header, text := v.post(t, request(t, "example.com", "www.example.com"))
	// This is the example of the vendor's page, as the client's tests have it.
	documented, err := os.ReadFile("../testdata/certificate.json")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, documented); err != nil {
		t.Fatal(err)
	}
	if got := anyOrder(text); status != http.StatusOK || got != want.String() {
		t.Errorf("answer is %d\n%s\nwant\n%s", status, got, &want)
	}
	if header.Get("Content-Type") != "application/json; charset=utf-8" || header.Get("Ratelimit-Policy") != "500; w=60" || header.Get("Server") != "regfish" {
		t.Errorf("headers are %v", header)
	}
}

func TestOneNameIsAnEmptyListOfOthers(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	if _, _, text := v.call(t, simulator.DefaultKey, http.MethodGet, "/tls/certificate/"+cert.ID, ""); !strings.Contains(text, `"dns_names":[]`) {
		t.Errorf("answer is %s, want an empty list and not null", text)
	}
}

func TestBadOrders(t *testing.T) {
	good := request(t, "www.example.com")
	csr := func(key crypto.Signer) func(*regfish.OrderRequest) {
		return func(r *regfish.OrderRequest) { r.CSR = requestFor(t, key, "www.example.com").CSR }
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*regfish.OrderRequest)
		status int
	}{
		"an unknown product":                {func(r *regfish.OrderRequest) { r.SKU = "Rapid" }, 400},
		"a product in another spelling":     {func(r *regfish.OrderRequest) { r.SKU = "rapidssl" }, 400},
		"an OV product without an owner":    {func(r *regfish.OrderRequest) { r.SKU = "SecureSite" }, 409},
		"no product":                        {func(r *regfish.OrderRequest) { r.SKU = "" }, 400},
		"no name":                           {func(r *regfish.OrderRequest) { r.CommonName = "" }, 400},
		"a name of one label":               {func(r *regfish.OrderRequest) { r.CommonName = "localhost" }, 400},
		"an address for a name":             {func(r *regfish.OrderRequest) { r.DNSNames = []string{"https://www.example.com"} }, 400},
		"a wildcard for a plain product":    {func(r *regfish.OrderRequest) { r.DNSNames = []string{"*.example.com"} }, 400},
		"a plain name for a wildcard":       {func(r *regfish.OrderRequest) { r.SKU = "RapidSSLWildcard" }, 400},
		"a wildcard in the middle":          {func(r *regfish.OrderRequest) { r.SKU = "RapidSSLWildcard"; r.CommonName = "www.*.example.com" }, 400},
		"an unknown method":                 {func(r *regfish.OrderRequest) { r.DCVMethod = "http" }, 400},
		"no method":                         {func(r *regfish.OrderRequest) { r.DCVMethod = "" }, 400},
		"an address that is none":           {func(r *regfish.OrderRequest) { r.DCVEmails = []string{"admin@example.com", "admin"} }, 400},
		"no request":                        {func(r *regfish.OrderRequest) { r.CSR = "" }, 400},
		"two requests":                      {func(r *regfish.OrderRequest) { r.CSR += r.CSR }, 400},
		"a certificate for a request":       {func(r *regfish.OrderRequest) { r.CSR = strings.ReplaceAll(r.CSR, " REQUEST", "") }, 400},
		"a request of another form":         {func(r *regfish.OrderRequest) { r.CSR = pemRequest([]byte("nonsense")) }, 400},
		"a request that was tampered with":  {func(r *regfish.OrderRequest) { r.CSR = tampered(t, r.CSR) }, 400},
		"a short RSA key":                   {csr(newRSAKey(t, 1024)), 400},
		"a curve that is not usual":         {csr(p224), 400},
		"Ed25519":                           {csr(edKey), 400},
		"a negative term":                   {func(r *regfish.OrderRequest) { r.ValidityDays = -1 }, 400},
		"a term of 200 days":                {func(r *regfish.OrderRequest) { r.ValidityDays = 200 }, 400},
		"an organization nobody knows":      {func(r *regfish.OrderRequest) { r.OrganizationID = "hdl_AAAAAAAAAAAAA" }, 409},
		"the renewal of an unknown order":   {func(r *regfish.OrderRequest) { r.RenewalOfCertificateID = "AAAAAAAAAAAAA" }, 404},
		"a name that is longer than a name": {func(r *regfish.OrderRequest) { r.CommonName = strings.Repeat("a.", 130) + "com" }, 400},
	}
	v := start(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bad := good
			tc.change(&bad)
			result := v.client.Order(t.Context(), bad, yes)
			if result.Outcome != regfish.Rejected || result.Status != tc.status {
				t.Errorf("outcome is %v with %d: %v, want Rejected with %d", result.Outcome, result.Status, result.Err, tc.status)
			}
		})
	}
	if status, _, text := v.call(t, simulator.DefaultKey, http.MethodPost, "/tls/certificate", "{"); status != http.StatusBadRequest ||
		decode(t, text)["success"] != false || decode(t, text)["message"] != decode(t, text)["error"] {
		t.Errorf("broken JSON: %d %s", status, text)
	}
	if n := len(v.Purchases()); n != 0 {
		t.Errorf("%d of them were sold", n)
	}
}

func pemRequest(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// tampered changes the last byte of a request's signature.
func tampered(t *testing.T, csr string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(csr))
	der := slices.Clone(block.Bytes)
	der[len(der)-1] ^= 1
	return pemRequest(der)
}

func TestGoodOrders(t *testing.T) {
	tests := map[string]struct {
		order regfish.OrderRequest
		want  []string // the common name, then dns_names
		hosts []string // of the validation records
		days  int
	}{
		"other spellings of one name": {
			order: requestNamed(t, "RapidSSL", 0, "WWW.Example.com.", "www.example.com", "API.example.com"),
			want:  []string{"www.example.com", "api.example.com"}, hosts: []string{"_dnsauth.example.com."}, days: 199,
		},
		"a wildcard": {
			order: requestNamed(t, "RapidSSLWildcard", 30, "*.example.com", "example.com"),
			want:  []string{"*.example.com", "example.com"}, hosts: []string{"_dnsauth.example.com."}, days: 30,
		},
		"a wildcard among the names of an OV product": {
			order: requestOV(t, "TrueBusinessID", simulator.OrganizationReady, "www.example.com", "*.shop.example.com"),
			want:  []string{"www.example.com", "*.shop.example.com"}, hosts: []string{"_dnsauth.example.com."}, days: 199,
		},
		"a wildcard for the name of an OV product": {
			order: requestOV(t, "SSLWebServer", simulator.OrganizationReady, "*.example.com"),
			want:  []string{"*.example.com"}, hosts: []string{"_dnsauth.example.com."}, days: 199,
		},
		"a wildcard right under what looks like a public suffix": {
			order: requestNamed(t, "RapidSSLWildcard", 0, "*.co.uk"),
			want:  []string{"*.co.uk"}, hosts: []string{"_dnsauth.co.uk."}, days: 199,
		},
		"a name under a domain of three labels": {
			order: requestNamed(t, "SSL123", 1, "a.b.example.co.uk"),
			want:  []string{"a.b.example.co.uk"}, hosts: []string{"_dnsauth.example.co.uk."}, days: 1,
		},
		"a short domain": {
			order: requestNamed(t, "QuickSSLPremium", 199, "www.co.de"),
			want:  []string{"www.co.de"}, hosts: []string{"_dnsauth.www.co.de."}, days: 199,
		},
		"a domain of two labels": {
			order: requestNamed(t, "RapidSSL", 0, "co.uk"),
			want:  []string{"co.uk"}, hosts: []string{"_dnsauth.co.uk."}, days: 199,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			result := v.client.Order(t.Context(), tc.order, yes)
			if result.Outcome != regfish.Accepted {
				t.Fatalf("outcome is %v: %v", result.Outcome, result.Err)
			}
			cert := result.Certificate
			if got := append([]string{cert.CommonName}, cert.DNSNames...); !slices.Equal(got, tc.want) {
				t.Errorf("names are %q, want %q", got, tc.want)
			}
			var hosts []string
			for _, r := range cert.Validation.DNSRecords {
				hosts = append(hosts, r.Name)
			}
			if !slices.Equal(hosts, tc.hosts) || cert.ValidityDays != tc.days || cert.Product != tc.order.SKU {
				t.Errorf("hosts are %q for %d days of %s, want %q for %d", hosts, cert.ValidityDays, cert.Product, tc.hosts, tc.days)
			}
			v.publish(cert)
			data, err := v.client.Download(t.Context(), cert.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.verify(t, data, strings.Replace(tc.want[0], "*", "x", 1)); err != nil {
				t.Error(err)
			}
		})
	}
}

func requestNamed(t *testing.T, sku string, days int, names ...string) regfish.OrderRequest {
	r := request(t, names...)
	r.SKU, r.ValidityDays = sku, days
	return r
}

func TestTheLedgerHasEverySale(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com", "api.example.com")
	order := request(t, "www.example.com")
	order.DCVEmails, order.OrganizationID = []string{"admin@example.com"}, simulator.OrganizationReady
	v.clock.advance(time.Hour)
	v.client.Order(t.Context(), order, yes)
	ledger := v.Purchases()
	if len(ledger) != 2 {
		t.Fatalf("%d sales, want 2: the vendor sells the same names twice without a word", len(ledger))
	}
	block, _ := pem.Decode([]byte(order.CSR))
	sum := sha256.Sum256(block.Bytes)
	if ledger[1].CSRHash != hex.EncodeToString(sum[:]) {
		t.Error("the ledger has another request than the one that was sent")
	}
	if ledger[0].KeyHash != ledger[1].KeyHash || ledger[0].CSRHash == ledger[1].CSRHash {
		t.Error("the ledger does not tell a request from its key")
	}
	first := ledger[0]
	first.CSRHash, first.KeyHash = "", ""
	want := simulator.Purchase{
		Number: 1, ID: cert.ID, Time: v.clock.Now().Add(-time.Hour), SKU: "RapidSSL", CommonName: "www.example.com",
		DNSNames: []string{"api.example.com"}, Names: []string{"api.example.com", "www.example.com"}, ValidityDays: 199,
		DCVMethod: "dns-cname-token",
	}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("the ledger has %+v, want %+v", first, want)
	}
	if got := ledger[1]; !slices.Equal(got.DCVEmails, order.DCVEmails) || got.OrganizationID != order.OrganizationID {
		t.Errorf("the ledger has %q for %q, want what was sent", got.DCVEmails, got.OrganizationID)
	}
	if ledger[1].ID == ledger[0].ID || ledger[1].Number != 2 {
		t.Errorf("the second sale is %+v", ledger[1])
	}
}

func TestOrdersAreNumberedWithoutGapsUnderLoad(t *testing.T) {
	v := start(t)
	var wait sync.WaitGroup
	order := request(t, "www.example.com")
	const n = 20
	ids := make(chan string, n)
	for range n {
		wait.Go(func() {
			if result := v.client.Order(t.Context(), order, yes); result.Outcome == regfish.Accepted {
				ids <- result.Certificate.ID
			}
		})
	}
	wait.Wait()
	close(ids)
	seen := map[string]bool{}
	for id := range ids {
		seen[id] = true
	}
	for i, p := range v.Purchases() {
		if p.Number != i+1 || !seen[p.ID] {
			t.Errorf("sale %d is %+v", i+1, p)
		}
	}
	if len(seen) != n || len(v.Purchases()) != n || len(v.list(t)) != n {
		t.Errorf("%d ids, %d sales, %d listed, want %d of each", len(seen), len(v.Purchases()), len(v.list(t)), n)
	}
}

func TestAccountsSeeOnlyTheirOwn(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.Keys = []string{"first-key", simulator.DefaultKey} })
	cert := v.order(t, "www.example.com")
	other := v.clientWith(t, "first-key")
	if _, err := other.Certificate(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindNotFound {
		t.Errorf("another account reads it: %v", err)
	}
	v.publish(cert)
	if _, err := other.Download(t.Context(), cert.ID); regfish.KindOf(err) != regfish.KindNotFound {
		t.Errorf("another account downloads it: %v", err)
	}
	if err := other.Certificates(t.Context(), func(regfish.Certificate) error { return errors.New("a row") }); err != nil {
		t.Errorf("another account lists it: %v", err)
	}
	renewal := request(t, "www.example.com")
	renewal.RenewalOfCertificateID = cert.ID
	if result := other.Order(t.Context(), renewal, yes); result.Outcome != regfish.Rejected || result.Status != 404 {
		t.Errorf("another account renews it: %v %v", result.Outcome, result.Err)
	}
	if result := other.Reissue(t.Context(), cert.ID, reissueFor(t, newKey(), cert), yes); result.Outcome != regfish.Rejected || result.Status != 404 {
		t.Errorf("another account reissues it: %v %v", result.Outcome, result.Err)
	}
	if p := v.Purchases()[0]; p.Account != 1 || len(v.list(t)) != 1 {
		t.Errorf("the sale is of account %d", p.Account)
	}
}

func TestAnUnknownKeyIsRefusedEverywhere(t *testing.T) {
	v := start(t)
	stranger := v.clientWith(t, "stranger")
	order := request(t, "www.example.com")
	for endpoint, call := range map[simulator.Endpoint]func() error{
		simulator.EndpointProducts:     func() error { _, err := stranger.Products(t.Context()); return err },
		simulator.EndpointList:         func() error { return stranger.Certificates(t.Context(), nil) },
		simulator.EndpointGet:          func() error { _, err := stranger.Certificate(t.Context(), "A"); return err },
		simulator.EndpointDownload:     func() error { _, err := stranger.Download(t.Context(), "A"); return err },
		simulator.EndpointRecords:      func() error { _, err := stranger.Records(t.Context(), "example.com"); return err },
		simulator.EndpointCreateRecord: func() error { _, err := stranger.CreateRecord(t.Context(), regfish.Record{}); return err },
		simulator.EndpointDeleteRecord: func() error { return stranger.DeleteRecord(t.Context(), 1) },
		simulator.EndpointOrder: func() error {
			result := stranger.Order(t.Context(), order, yes)
			if result.Outcome != regfish.Rejected {
				t.Errorf("outcome is %v", result.Outcome)
			}
			return result.Err
		},
	} {
		if err := call(); regfish.KindOf(err) != regfish.KindUnauthorized {
			t.Errorf("%s: %v, want 401", endpoint, err)
		}
		if n := v.Calls()[string(endpoint)]; n != 1 {
			t.Errorf("%s was counted %d times", endpoint, n)
		}
	}
	if status, _, _ := v.call(t, "", http.MethodGet, "/tls/organization", ""); status != http.StatusUnauthorized {
		t.Errorf("no key: %d", status)
	}
	if len(v.Purchases()) != 0 {
		t.Error("a stranger bought something")
	}
}

func TestTwoOrdersWantDifferentTargetsAtOneName(t *testing.T) {
	v := start(t)
	a, b := v.order(t, "www.example.com"), v.order(t, "api.example.com")
	if a.Validation.DNSRecords[0].Name != b.Validation.DNSRecords[0].Name || a.Validation.DNSRecords[0].Value == b.Validation.DNSRecords[0].Value {
		t.Fatalf("records are %+v and %+v, want one name and two targets", a.Validation.DNSRecords, b.Validation.DNSRecords)
	}
	v.publish(a)
	v.publish(b)
	if got := len(v.Records()); got != 1 {
		t.Errorf("%d records stand, want one: a name has one CNAME", got)
	}
	if a, b := v.get(t, a.ID), v.get(t, b.ID); a.Status != regfish.StatusIssued || b.Status != regfish.StatusIssued {
		t.Errorf("states are %s and %s: each was validated while its record stood", a.Status, b.Status)
	}
}

func TestARecordThatIsGoneBeforeTheOrderValidatesNothing(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	v.SetRecord("_dnsauth.example.com", "CNAME", "wrong.dcv.digicert.com")
	v.SetRecord("_dnsauth.example.com", "TXT", cert.Validation.DNSRecords[0].Value)
	v.RemoveRecord("_dnsauth.example.com.", "cname")
	if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
		t.Errorf("status is %s", got.Status)
	}
	if got := v.Records(); len(got) != 1 || got[0].Type != "TXT" {
		t.Errorf("records are %+v, want the TXT alone", got)
	}
}

func TestARecordThatIsGoneBeforeTheOthersStandValidatesNothing(t *testing.T) {
	gone := map[string]func(v *vendor, r regfish.DNSRecord){
		"removed": func(v *vendor, r regfish.DNSRecord) { v.RemoveRecord(r.Name, r.Type) },
		"deleted": func(v *vendor, _ regfish.DNSRecord) {
			if err := v.client.DeleteRecord(t.Context(), v.Records()[0].ID); err != nil {
				t.Fatal(err)
			}
		},
		"renamed": func(v *vendor, r regfish.DNSRecord) {
			body := fmt.Sprintf(`{"name":"x.example.com","type":"CNAME","data":%q}`, r.Value)
			v.call(t, simulator.DefaultKey, http.MethodPatch, fmt.Sprint("/dns/rr/", v.Records()[0].ID), body)
		},
		"replaced": func(v *vendor, r regfish.DNSRecord) { v.SetRecord(r.Name, r.Type, "wrong.dcv.digicert.com") },
	}
	for name, remove := range gone {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			cert := v.order(t, "www.example.com", "www.example.org")
			first, second := cert.Validation.DNSRecords[0], cert.Validation.DNSRecords[1]
			v.SetRecord(first.Name, first.Type, first.Value)
			remove(v, first)
			v.SetRecord(second.Name, second.Type, second.Value)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
				t.Errorf("status is %s", got.Status)
			}
			v.SetRecord(first.Name, first.Type, first.Value)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
				t.Errorf("status is %s when both stand", got.Status)
			}
		})
	}
}

func TestARecordIsSeenThoughNobodyAsksWhileItStands(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	r := cert.Validation.DNSRecords[0]
	v.SetRecord(r.Name, r.Type, "wrong.dcv.digicert.com")
	v.SetRecord(r.Name, r.Type, r.Value)
	v.RemoveRecord(r.Name, r.Type)
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestAResolverIsAskedToo(t *testing.T) {
	var mu sync.Mutex
	targets := map[string]string{}
	v := start(t, func(o *simulator.Options) {
		o.Resolver = func(ctx context.Context, name string) (string, error) {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the look-up has no time limit")
			}
			mu.Lock()
			defer mu.Unlock()
			if target := targets[name]; target != "" {
				return target, nil
			}
			return "", errors.New("no such name")
		}
	})
	a, b, c := v.order(t, "www.example.com"), v.order(t, "www.example.org"), v.order(t, "www.example.net")
	for _, cert := range []regfish.Certificate{a, b, c} {
		if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
			t.Fatalf("status is %s before anything is published", got.Status)
		}
	}
	mu.Lock()
	targets["_dnsauth.example.com"] = strings.ToUpper(a.Validation.DNSRecords[0].Value)
	targets["_dnsauth.example.org"] = b.Validation.DNSRecords[0].Value
	mu.Unlock()
	v.publish(c)
	if got := v.get(t, a.ID); got.Status != regfish.StatusIssued {
		t.Errorf("a read does not look: status is %s", got.Status)
	}
	for _, cert := range v.list(t) {
		if cert.Status != regfish.StatusIssued {
			t.Errorf("the list does not look: status of %s is %s", cert.CommonName, cert.Status)
		}
	}
}

func TestSetIssueDelay(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.IssueDelay = time.Hour })
	cert := v.order(t, "www.example.com")
	v.publish(cert)
	if got := v.get(t, cert.ID); got.Status != regfish.StatusPending {
		t.Fatalf("status is %s", got.Status)
	}
	v.SetIssueDelay(0)
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestListIsWholeAndNewestFirst(t *testing.T) {
	v := start(t)
	if got := v.list(t); got != nil {
		t.Errorf("a new account has %v", got)
	}
	a, b := v.order(t, "a.example.com"), v.order(t, "b.example.com")
	v.publish(a)
	got := v.list(t)
	if len(got) != 2 || got[0].ID != b.ID || got[1].ID != a.ID {
		t.Fatalf("list is %+v", got)
	}
	for _, row := range got {
		if one := v.get(t, row.ID); !reflect.DeepEqual(row, one) {
			t.Errorf("row is %+v, read alone it is %+v", row, one)
		}
	}
}

func TestUnknownThings(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	v.publish(cert)
	for _, path := range []string{"/", "/tls", "/tls/certificate/AAAAAAAAAAAAA", "/tls/certificate/" + cert.ID + "/download/zip",
		"/tls/certificate/" + cert.ID + "/download/der", "/tls/certificate/" + cert.ID + "/reissue", "/dns/zones", "/dns/a/b", "/_simulator/"} {
		status, header, text := v.call(t, simulator.DefaultKey, http.MethodGet, path, "")
		if status != http.StatusNotFound || decode(t, text)["success"] != false || header.Get("Ratelimit-Policy") == "" {
			t.Errorf("%s: %d %s, want 404 in the vendor's form", path, status, text)
		}
	}
	order, err := json.Marshal(request(t, "www.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := v.call(t, simulator.DefaultKey, http.MethodPost, "/tls/certificate", strings.Repeat(" ", 2<<20)+string(order)); status != http.StatusBadRequest {
		t.Errorf("a huge order: %d", status)
	}
}

func TestListenAndStop(t *testing.T) {
	server, err := simulator.New(simulator.Options{Hosts: []string{"regfish.test", "127.0.0.2"}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := regfish.ParseKey([]byte(simulator.DefaultKey))
	if err != nil {
		t.Fatal(err)
	}
	var clients []*regfish.Client
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.2:0", "localhost:0", ":0", "0.0.0.0:0"} {
		url, err := server.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		client, err := regfish.New(regfish.Config{Endpoint: url, Key: key, CABundle: server.ServerCA()})
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
		if _, err := client.Products(t.Context()); err != nil {
			t.Errorf("%s as %s: %v", addr, url, err)
		}
	}
	if err := verifyHost(server, "regfish.test"); err != nil {
		t.Errorf("the server cannot be called regfish.test: %v", err)
	}
	if err := verifyHost(server, "other.test"); err == nil {
		t.Error("the server can be called anything")
	}
	if _, err := server.Listen("127.0.0.1:99999"); err == nil {
		t.Error("listens on a port that does not exist")
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, client := range clients {
		if _, err := client.Products(t.Context()); regfish.KindOf(err) != regfish.KindTransport {
			t.Errorf("after the end: %v", err)
		}
	}
	if err := server.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// verifyHost makes a TLS handshake with a server that is called host.
func verifyHost(server *simulator.Server, host string) error {
	url, err := server.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.ServerCA())
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: roots, ServerName: host})
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestShutdownEndsHangingRequests(t *testing.T) {
	struck := make(watch)
	v := start(t, func(o *simulator.Options) { o.Log = newLog(struck) })
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointProducts, Kind: simulator.FaultHang})
	done := make(chan error, 1)
	go func() {
		_, err := v.client.Products(t.Context())
		done <- err
	}()
	<-struck
	if err := v.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; regfish.KindOf(err) != regfish.KindTransport || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want a broken connection long before the client gives up", err)
	}
}

func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// watch is closed when something is sold, or a fault without a sale has struck.
type watch chan struct{}

func (w watch) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("msg=sold")) || bytes.Contains(line, []byte("kind=Hang")) {
		close(w)
	}
	return len(line), nil
}

func TestKeysOfCertificatesDiffer(t *testing.T) {
	// Two simulators must not be taken for one: their CAs have keys of their own.
	a, b := start(t), start(t)
	if slices.Equal(a.Root(), b.Root()) || slices.Equal(a.ServerCA(), b.ServerCA()) {
		t.Error("two simulators share a CA")
	}
	cert := a.order(t, "www.example.com")
	a.publish(cert)
	data, err := a.client.Download(t.Context(), cert.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, data, "www.example.com"); err == nil {
		t.Error("the root of one simulator verifies what another sold")
	}
	if fmt.Sprint(a.Purchases()) == fmt.Sprint(b.Purchases()) {
		t.Error("two simulators share a ledger")
	}
}
