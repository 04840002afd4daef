// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CanonicalEndpoint returns the one spelling of an API address: https, lower
// case, without the default port and without a trailing slash. Two spellings of
// one address would make two ledgers of what was bought there, so everything
// that could be written in a second way is either normalised or refused. The
// error names what is wrong and does not repeat the address, which may hold a
// password.
func CanonicalEndpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("endpoint is not a URL")
	case u.Scheme != "https":
		return "", errors.New("endpoint must begin with https://")
	case u.User != nil:
		return "", errors.New("endpoint must not contain a user name or password")
	case u.Opaque != "" || u.Host == "":
		return "", errors.New("endpoint has no host")
	case u.RawQuery != "" || u.ForceQuery:
		return "", errors.New("endpoint must not have a query")
	case strings.Contains(raw, "#"):
		return "", errors.New("endpoint must not have a fragment")
	case u.EscapedPath() != "" && u.EscapedPath() != "/":
		return "", errors.New("endpoint must not have a path")
	}
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return "", err
	}
	// A colon without a port is legal and means the default port.
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", errors.New("endpoint has a port that is not between 1 and 65535")
		}
		if n != 443 {
			host += ":" + strconv.FormatUint(n, 10)
		}
	}
	return "https://" + host, nil
}

func canonicalHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.Zone() != "":
			return "", errors.New("endpoint has an IPv6 address with a zone")
		case ip.Is4In6():
			return "", errors.New("endpoint has an IPv4 address written as IPv6")
		case ip.Is6():
			return "[" + ip.String() + "]", nil
		}
		return ip.String(), nil
	}
	host = strings.ToLower(host)
	if len(host) > 253 {
		return "", errors.New("endpoint has a host name longer than 253 characters")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", errors.New("endpoint has a host that is not a host name in ASCII without a trailing dot")
		}
	}
	// Resolvers read a name that ends in a number, such as 127.1 or 0x7f.1, as
	// yet another spelling of an IPv4 address.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", errors.New("endpoint has a host that ends in a number and is not an IP address")
	}
	return host, nil
}
