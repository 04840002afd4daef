// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"net/url"
	"strings"
	"testing"
)

func TestCanonicalEndpoint(t *testing.T) {
	tests := map[string]struct {
		reason string
		raw    string
		want   string
		err    string // part of the error
	}{
		"the vendor's address stays":           {reason: "It is canonical.", raw: "https://api.regfish.com", want: "https://api.regfish.com"},
		"a trailing slash is dropped":          {reason: "It means the same.", raw: "https://api.regfish.com/", want: "https://api.regfish.com"},
		"upper case becomes lower case":        {reason: "Scheme and host have no case.", raw: "HTTPS://API.Regfish.COM", want: "https://api.regfish.com"},
		"the default port is dropped":          {reason: "It means the same.", raw: "https://api.regfish.com:443/", want: "https://api.regfish.com"},
		"a padded default port is dropped":     {reason: "0443 is 443.", raw: "https://api.regfish.com:0443", want: "https://api.regfish.com"},
		"a colon without a port is dropped":    {reason: "It means the default port.", raw: "https://api.regfish.com:", want: "https://api.regfish.com"},
		"another port stays":                   {reason: "It is another server.", raw: "https://localhost:8443", want: "https://localhost:8443"},
		"an IPv4 address stays":                {reason: "A simulator has no name.", raw: "https://127.0.0.1:8443", want: "https://127.0.0.1:8443"},
		"an IPv6 address gets its short form":  {reason: "It has many spellings.", raw: "https://[0:0:0:0:0:0:0:1]:8443", want: "https://[::1]:8443"},
		"http is refused":                      {reason: "The key would be readable on the way.", raw: "http://api.regfish.com", err: "https"},
		"no scheme is refused":                 {reason: "Nothing is guessed.", raw: "api.regfish.com", err: "https"},
		"a user name is refused":               {reason: "It would be a second credential.", raw: "https://canary@api.regfish.com", err: "user name"},
		"a password is refused":                {reason: "It would be shown wherever the address is.", raw: "https://u:canary@api.regfish.com", err: "password"},
		"a path is refused":                    {reason: "The API has no prefix.", raw: "https://api.regfish.com/v1", err: "path"},
		"two slashes are refused":              {reason: "That is a path.", raw: "https://api.regfish.com//", err: "path"},
		"an escaped slash is refused":          {reason: "That is a path.", raw: "https://api.regfish.com/%2f", err: "path"},
		"a query is refused":                   {reason: "Paths are appended to the address.", raw: "https://api.regfish.com?a=canary", err: "query"},
		"an empty query is refused":            {reason: "Paths are appended to the address.", raw: "https://api.regfish.com?", err: "query"},
		"a fragment is refused":                {reason: "It is never sent.", raw: "https://api.regfish.com#canary", err: "fragment"},
		"an empty fragment is refused":         {reason: "It would be a second spelling.", raw: "https://api.regfish.com#", err: "fragment"},
		"no host is refused":                   {reason: "There is nobody to call.", raw: "https://", err: "host"},
		"a port without a host is refused":     {reason: "There is nobody to call.", raw: "https://:443", err: "host"},
		"an opaque address is refused":         {reason: "It has no host.", raw: "https:api.regfish.com", err: "host"},
		"port 0 is refused":                    {reason: "Nobody listens there.", raw: "https://api.regfish.com:0", err: "port"},
		"port 65536 is refused":                {reason: "There is none.", raw: "https://api.regfish.com:65536", err: "port"},
		"a trailing dot is refused":            {reason: "It would be a second spelling of the host.", raw: "https://api.regfish.com.", err: "trailing dot"},
		"a non-ASCII host is refused":          {reason: "It has a second spelling in A-labels.", raw: "https://api.régfish.com", err: "ASCII"},
		"a percent-encoded host is refused":    {reason: "It would be a second spelling.", raw: "https://api%2eregfish.com:8443", err: ""},
		"a short IPv4 address is refused":      {reason: "Resolvers read it as 127.0.0.1.", raw: "https://127.1", err: "number"},
		"an octal IPv4 address is refused":     {reason: "Resolvers read it as 127.0.0.1.", raw: "https://0177.0.0.1", err: "number"},
		"a hexadecimal address is refused":     {reason: "Resolvers read it as 127.0.0.1.", raw: "https://0x7f000001", err: "number"},
		"IPv4 written as IPv6 is refused":      {reason: "It would be a second spelling.", raw: "https://[::ffff:127.0.0.1]", err: "IPv4"},
		"an IPv6 zone is refused":              {reason: "It names an interface of this machine.", raw: "https://[fe80::1%25eth0]", err: "zone"},
		"white space is refused":               {reason: "It would be a second spelling.", raw: " https://api.regfish.com", err: ""},
		"a line break is refused":              {reason: "It would split the request.", raw: "https://api.regfish.com\n", err: ""},
		"a very long host is refused":          {reason: "No name is that long.", raw: "https://" + strings.Repeat("a.", 130) + "com", err: "253"},
		"a label of 64 characters is refused":  {reason: "No label is that long.", raw: "https://" + strings.Repeat("a", 64) + ".com", err: "host name"},
		"an empty address is refused":          {reason: "There is nobody to call.", raw: "", err: "https"},
		"a host with a space in it is refused": {reason: "It is no host.", raw: "https://api.regfish.com canary", err: ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := CanonicalEndpoint(tc.raw)
			if tc.want != "" {
				if err != nil || got != tc.want {
					t.Fatalf("CanonicalEndpoint(%q) = %q, %v, want %q. %s", tc.raw, got, err, tc.want, tc.reason)
				}
				return
			}
			if err == nil {
				t.Fatalf("CanonicalEndpoint(%q) = %q, want an error. %s", tc.raw, got, tc.reason)
			}
			if !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error is %q, want one about %q that does not repeat the address", err, tc.err)
			}
		})
	}
}

// FuzzCanonicalEndpoint holds against any input: what is accepted is an address
// that says the same as the input, cannot carry anything but a host, and is its
// own canonical form.
func FuzzCanonicalEndpoint(f *testing.F) {
	for _, seed := range []string{
		"https://api.regfish.com", "HTTPS://API.regfish.com:443/", "https://[::1]:8443", "https://u:p@h", "https://h?q#f",
		"https://127.1", "https://h:0443", "https://[::ffff:1.2.3.4]/", "https://a_b-c.example.", "https://%41/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := CanonicalEndpoint(raw)
		if err != nil {
			if got != "" {
				t.Errorf("returned %q beside the error %v", got, err)
			}
			return
		}
		again, err := CanonicalEndpoint(got)
		if err != nil || again != got {
			t.Errorf("CanonicalEndpoint(%q) = %q, but CanonicalEndpoint of that = %q, %v", raw, got, again, err)
		}
		for _, c := range []byte(got) {
			if c <= ' ' || c > '~' || c >= 'A' && c <= 'Z' {
				t.Fatalf("%q has the character %q", got, c)
			}
		}
		in, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("accepted %q, which is no URL", raw)
		}
		out, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q is no URL", got)
		}
		if *out != (url.URL{Scheme: "https", Host: out.Host}) || out.Port() == "443" || strings.HasSuffix(got, "/") {
			t.Errorf("%q is more than a scheme and a host", got)
		}
		// The host is the same, but for its case and the spelling of an IPv6 address.
		if !strings.Contains(out.Host, "[") && !strings.EqualFold(in.Hostname(), out.Hostname()) {
			t.Errorf("host of %q became %q", raw, out.Hostname())
		}
		inPort, outPort := strings.TrimLeft(in.Port(), "0"), out.Port()
		if inPort == "443" {
			inPort = ""
		}
		if inPort != outPort {
			t.Errorf("port of %q became %q", raw, outPort)
		}
	})
}
