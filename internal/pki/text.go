// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"strconv"
	"strings"
)

// With these bounds and a fixed sentence around it, a message stays under 512
// bytes.
const (
	maxQuoted = 66 // bytes of one quoted value, quotes included: a common name fits
	maxListed = 4  // values of one list
)

// quote makes text of an input fit for a message: printable ASCII in quotes,
// cut to a bounded length.
func quote(s string) string {
	q := strconv.QuoteToASCII(s)
	if len(q) <= maxQuoted {
		return q
	}
	return q[:maxQuoted-4] + `..."`
}

// list quotes the first values and counts the rest.
func list(values []string) string {
	var quoted []string
	for _, value := range values[:min(len(values), maxListed)] {
		quoted = append(quoted, quote(value))
	}
	text := strings.Join(quoted, ", ")
	if rest := len(values) - maxListed; rest > 0 {
		text += " and " + strconv.Itoa(rest) + " more"
	}
	return text
}
