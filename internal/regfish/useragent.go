// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import "strings"

// UserAgent builds a User-Agent in the vendor's form,
// product/version (os=linux; arch=amd64; instance=a). Details are key=value
// pairs; pairs without a value are left out, and characters that cannot stand
// there are dropped from product, version and keys and become "_" in values.
func UserAgent(product, version string, details ...string) string {
	agent := token(product)
	if v := token(version); v != "" {
		agent += "/" + v
	}
	var pairs []string
	for _, detail := range details {
		key, value, _ := strings.Cut(detail, "=")
		key, value = token(key), detailValue(value)
		if key != "" && value != "" {
			pairs = append(pairs, key+"="+value)
		}
	}
	if len(pairs) > 0 {
		agent += " (" + strings.Join(pairs, "; ") + ")"
	}
	return agent
}

// token drops what RFC 9110 does not allow in a product name.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return r
		}
		return -1
	}, s)
}

func detailValue(s string) string {
	return strings.Map(func(r rune) rune {
		if isAlphanumeric(r) || strings.ContainsRune("@._:+/-", r) {
			return r
		}
		return '_'
	}, s)
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
