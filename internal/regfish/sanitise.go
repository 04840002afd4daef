// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = "…"

// Sanitise makes foreign text fit to be shown in one line: invalid UTF-8 and
// control characters are dropped, also the invisible ones that reorder or hide
// what a terminal shows, every run of white space becomes one space, and text
// longer than max bytes is cut and ends in an ellipsis. The result is never
// longer than max bytes, and sanitising it again changes nothing.
func Sanitise(s string, max int) string {
	if len(s) <= max && plain(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsSpace(r) && unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	switch {
	case len(s) <= max:
		return s
	case max < len(ellipsis):
		return strings.TrimSpace(cut(s, max))
	default:
		return strings.TrimSpace(cut(s, max-len(ellipsis))) + ellipsis
	}
}

// plain reports whether s is words of visible ASCII characters with one space between: there is
// nothing to sanitise then, which is so for nearly all that is shown, each time it is looked at.
func plain(s string) bool {
	space := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || (s[i] == ' ' && space) {
			return false
		}
		space = s[i] == ' '
	}
	return !space
}

// cut returns the longest prefix of valid UTF-8 text s that has at most n bytes
// and ends at the end of a character.
func cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	for n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:min(n, len(s))]
}
