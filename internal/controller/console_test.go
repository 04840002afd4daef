// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
)

func TestMayShow(t *testing.T) {
	const regfish = "https://api.regfish.com"
	hosts := []string{"console.partner.example", "gateway.example:8443"}
	for name, tt := range map[string]struct {
		reason   string
		endpoint string
		page     string
		want     bool
	}{
		"a page of the vendor's console":    {"it is under the endpoint's domain", regfish, "https://regfish.com/my/order/C1?tab=1#top", true},
		"a page of the endpoint's own host": {"it is under the endpoint's domain", regfish, "https://api.regfish.com/complete", true},
		"a page of another host there":      {"it is under the endpoint's domain", regfish, "https://Console.Regfish.COM/complete", true},
		"a page with a port":                {"a port does not change whose host it is", regfish, "https://regfish.com:8443/complete", true},
		"an endpoint with a port":           {"a port does not change whose host it is", regfish + ":8443", "https://regfish.com/complete", true},
		"a scheme in capitals":              {"schemes have no case", regfish, "HTTPS://regfish.com/complete", true},
		"a host that was named":             {"whoever runs the controller says so", regfish, "https://console.partner.example/C1", true},
		"a host that was named, with port":  {"the port was not asked for", regfish, "https://console.partner.example:444/C1", true},
		"a host and port that were named":   {"whoever runs the controller says so", regfish, "https://gateway.example:8443/C1", true},
		"a named host with another port":    {"the port was asked for", regfish, "https://gateway.example/C1", false},
		"a host under a named one":          {"only the host itself was named", regfish, "https://evil.console.partner.example/C1", false},

		"nothing":                       {"there is no page", regfish, "", false},
		"a page without TLS":            {"people log in there", regfish, "http://regfish.com/complete", false},
		"a script":                      {"it is no page", regfish, "javascript:alert(1)//https://regfish.com", false},
		"data":                          {"it is no page", regfish, "data:text/html,https://regfish.com", false},
		"a page without a host":         {"a browser would fill in something", regfish, "https:///complete", false},
		"a page without slashes":        {"a browser would fill in something", regfish, "https:regfish.com/complete", false},
		"a relative page":               {"there is nothing to be relative to", regfish, "/complete", false},
		"a name before the host":        {"people read the name as the host", regfish, "https://regfish.com@evil.example/", false},
		"a name before the right host":  {"nobody logs in that way", regfish, "https://user:password@regfish.com/", false},
		"another domain":                {"it is not the vendor's", regfish, "https://evil.example/regfish.com", false},
		"a domain that ends the same":   {"it is not under the domain", regfish, "https://notregfish.com/", false},
		"a domain that begins the same": {"it is not under the domain", regfish, "https://regfish.com.evil.example/", false},
		"a backslash":                   {"browsers read it as a slash", regfish, `https://evil.example\.regfish.com/`, false},
		"a backslash and a name":        {"browsers read it as a slash", regfish, `https://evil.example\@regfish.com/`, false},
		"a line break":                  {"one sentence is one line", regfish, "https://regfish.com/a\nb", false},
		"a tab in the host":             {"browsers drop it", regfish, "https://regf\tish.com/", false},
		"a blank":                       {"what follows it would read as our words", regfish, "https://regfish.com/ and then pay at https://evil.example", false},
		"a control character":           {"terminals act on it", regfish, "https://regfish.com/\x1b]8;;https://evil.example\x07", false},
		"a letter of another script":    {"it looks like another host", regfish, "https://rеgfish.com/", false},
		"a letter in the path":          {"it may be invisible", regfish, "https://regfish.com/\u202e", false},
		"a page that is too long":       {"the field has a maximum length", regfish, "https://regfish.com/" + strings.Repeat("a", 493), false},
		"a page as long as can be":      {"it fits the field", regfish, "https://regfish.com/" + strings.Repeat("a", 492), true},

		"an endpoint under a public suffix":      {"its neighbours are strangers", "https://api.regfish.co.uk", "https://evil.co.uk/", false},
		"an endpoint under a public suffix, its": {"it is its own domain", "https://api.regfish.co.uk", "https://regfish.co.uk/", true},
		"an endpoint at a host of many tenants":  {"its neighbours are strangers", "https://proxy.github.io", "https://evil.github.io/", false},
		"an endpoint without a domain":           {"nothing is under it", "https://localhost:8443", "https://evil.localhost/", false},
		"an address":                             {"it is the endpoint's own host", "https://127.0.0.1:8443", "https://127.0.0.1:9000/C1", true},
		"an address that ends the same":          {"addresses have no domain", "https://10.1.2.3", "https://66.66.2.3/C1", false},
		"an address of the other kind":           {"it is the endpoint's own host", "https://[::1]:8443", "https://[::1]/C1", true},
		"another address of that kind":           {"addresses have no domain", "https://[2001:db8::1]", "https://[2001:db8::2]/C1", false},
		"an endpoint that is none":               {"nothing is under it", "%", "https://regfish.com/", false},
	} {
		if got := MayShow(tt.endpoint, hosts, tt.page); got != tt.want {
			t.Errorf("%s: MayShow(%q, %q) = %v, because %s", name, tt.endpoint, tt.page, got, tt.reason)
		}
	}
	if MayShow(regfish, nil, "https://console.partner.example/C1") {
		t.Error("a host that nobody named is shown")
	}
}
