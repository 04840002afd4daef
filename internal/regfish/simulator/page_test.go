// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// page reads the page of an order.
func (v *vendor) page(t *testing.T, id string, want int) string {
	t.Helper()
	status, header, text := v.call(t, "", http.MethodGet, "/my/certs/"+id+"/complete", "")
	if status != want || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("page is %d as %q, want %d", status, header.Get("Content-Type"), want)
	}
	if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("content security policy is %q", policy)
	}
	if outside := regexp.MustCompile(`https?:|//|src=|href=|<script|@import|url\(`).FindString(text); outside != "" {
		t.Errorf("page has %q in it, and should not need anything from elsewhere: %s", outside, text)
	}
	return text
}

func TestAPersonCompletesAnOrderWithOneClick(t *testing.T) {
	v := start(t)
	cert := v.stage(t, "www.example.com", "*.shop.example.com")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.ServerCA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport}

	open := func(do func() (*http.Response, error)) (int, string) {
		t.Helper()
		resp, err := do()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	status, text := open(func() (*http.Response, error) { return browser.Get(cert.CompletionURL) })
	if status != http.StatusOK {
		t.Fatalf("%s: %d", cert.CompletionURL, status)
	}
	for _, want := range []string{cert.ID, "SecureSite", "www.example.com", "*.shop.example.com", "Example Research GmbH", cert.PendingMessage} {
		if !strings.Contains(text, want) {
			t.Errorf("page does not say %q: %s", want, text)
		}
	}
	if forms := regexp.MustCompile(`<form method="post"><button type="submit">[^<]+</button></form>`).FindAllString(text, -1); len(forms) != 1 {
		t.Fatalf("page has %d buttons, want one that asks for nothing: %s", len(forms), text)
	}
	if got := v.get(t, cert.ID); !got.ActionRequired {
		t.Error("looking at the page completes the order")
	}

	click := func() (*http.Response, error) { return browser.PostForm(cert.CompletionURL, nil) }
	status, text = open(click)
	if status != http.StatusOK || strings.Contains(text, "<button") || !strings.Contains(text, "nothing more to do") {
		t.Errorf("after the click: %d %s, want the page without a button", status, text)
	}
	if got := v.get(t, cert.ID); got.ActionRequired {
		t.Error("the click does not complete the order")
	}
	if status, text = open(click); status != http.StatusConflict || !strings.Contains(text, "nothing more to do") {
		t.Errorf("after a second click: %d %s, want the page and that it changed nothing", status, text)
	}
}

func TestWhatThePageSays(t *testing.T) {
	tests := map[string]struct {
		reason string
		status int
		order  func(t *testing.T, v *vendor) (id string)
		want   string
	}{
		"of an unknown order":        {"The person may have an old link.", 404, func(*testing.T, *vendor) string { return "AAAAAAAAAAAAA" }, "No such order"},
		"of an order that is issued": {"The person comes too late.", 200, func(t *testing.T, v *vendor) string { return v.stagedAs(t, "issued") }, "certificate is issued"},
		"of an order that is rejected": {"The person comes too late.", 200, func(t *testing.T, v *vendor) string { return v.stagedAs(t, "rejected") },
			"has ended and cannot be completed"},
		"of a DV order": {"It waits for nobody.", 200, func(t *testing.T, v *vendor) string { return v.order(t, "www.example.com").ID }, "is with the CA"},
		"of an order that became valid a moment ago": {"The page looks before it speaks.", 200, func(t *testing.T, v *vendor) string {
			cert := v.order(t, "www.example.com")
			v.SetIssueDelay(1)
			v.publish(cert)
			v.clock.advance(1)
			return cert.ID
		}, "certificate is issued"},
		"of an order with odd words": {"What the vendor says is text and not markup.", 200, func(t *testing.T, v *vendor) string {
			cert := v.stage(t, "www.example.com")
			if err := v.SetState(cert.ID, simulator.State{PendingMessage: `<b onclick=x>&"odd"`}); err != nil {
				t.Fatal(err)
			}
			return cert.ID
		}, `&lt;b onclick=x&gt;&amp;&#34;odd&#34;`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			if text := v.page(t, tc.order(t, v), tc.status); !strings.Contains(text, tc.want) {
				t.Errorf("page is %s, want %q. %s", text, tc.want, tc.reason)
			}
		})
	}
}
