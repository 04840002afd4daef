// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// maxURL bounds a completion URL, in bytes.
const maxURL = 512

// MayShow reports whether a page that the vendor names may be shown to people as
// the place to finish an order. It is vendor text that people will open and log in
// at, so it has to be https, short, and at a host under the endpoint's own domain or
// at one that whoever runs the controller named.
func MayShow(endpoint string, hosts []string, page string) bool {
	u, err := url.Parse(page)
	if err != nil || len(page) > maxURL || u.Scheme != "https" || u.User != nil || u.Host == "" {
		return false
	}
	for _, r := range page {
		if r <= ' ' || r >= 0x7f {
			return false
		}
	}
	host := strings.ToLower(u.Hostname())
	if slices.Contains(hosts, host) || slices.Contains(hosts, strings.ToLower(u.Host)) {
		return true
	}
	e, err := url.Parse(endpoint)
	if err != nil || net.ParseIP(e.Hostname()) != nil {
		// An address has no domain that others could be under.
		return err == nil && host == strings.ToLower(e.Hostname())
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(e.Hostname()))
	if err != nil {
		return false
	}
	return host == domain || strings.HasSuffix(host, "."+domain)
}
