// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSanitise(t *testing.T) {
	tests := map[string]struct {
		reason string
		in     string
		max    int
		want   string
	}{
		"plain text stays":                    {reason: "There is nothing to change.", in: "waits for validation", max: 256, want: "waits for validation"},
		"text of exactly the bound stays":     {reason: "The bound is inclusive.", in: "12345", max: 5, want: "12345"},
		"longer text ends in an ellipsis":     {reason: "The reader must see that there was more.", in: "123456789", max: 6, want: "123…"},
		"a cut does not split a character":    {reason: "Half a character is invalid UTF-8, which the API server refuses.", in: "ääääää", max: 6, want: "ä…"},
		"no blank stands before the ellipsis": {reason: "It would be trimmed the next time.", in: "ab cdefgh", max: 6, want: "ab…"},
		"line breaks become spaces":           {reason: "Words must not run together, and a message is one line.", in: "a\r\nb\tc\u2028d", max: 256, want: "a b c d"},
		"terminal escapes lose their control": {reason: "A vendor must not be able to colour or clear a terminal.", in: "\x1b[31mred\x07", max: 256, want: "[31mred"},
		"two spaces become one":               {reason: "A run of white space is one space.", in: "a  b", max: 256, want: "a b"},
		"a space at the end is dropped":       {reason: "It only wastes room.", in: "a b ", max: 256, want: "a b"},
		"a space at the start is dropped":     {reason: "It only wastes room.", in: " a b", max: 256, want: "a b"},
		"DEL is dropped":                      {reason: "It is the one control character above the others.", in: "a\x7fb", max: 256, want: "ab"},
		"NUL is dropped":                      {reason: "It ends strings elsewhere.", in: "a\x00b", max: 256, want: "ab"},
		"invalid UTF-8 is dropped":            {reason: "The API server refuses it.", in: "a\xff\xc3b", max: 256, want: "ab"},
		"text direction marks are dropped":    {reason: "They make a message read as something else.", in: "a\u202egnp.exe\u200b", max: 256, want: "agnp.exe"},
		"white space around is dropped":       {reason: "It only wastes room.", in: "  a \n", max: 256, want: "a"},
		"no room gives nothing":               {reason: "Nothing fits.", in: "abc", max: 0, want: ""},
		"room below an ellipsis is just cut":  {reason: "The ellipsis itself has three bytes.", in: "abc", max: 2, want: "ab"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Sanitise(tc.in, tc.max); got != tc.want {
				t.Errorf("Sanitise(%q, %d) = %q, want %q. %s", tc.in, tc.max, got, tc.want, tc.reason)
			}
		})
	}
}

// FuzzSanitise holds against any input: the result is bounded, valid, one line,
// a fixed point, and made of the input's own characters in their order.
func FuzzSanitise(f *testing.F) {
	f.Add("waits for\nvalidation", 256)
	f.Add("\x1b[31m\u202e\xff ä", 6)
	f.Add("a b c d e f", 5)
	f.Add("", -1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit %= 1000
		got := Sanitise(s, limit)
		if len(got) > max(limit, 0) {
			t.Errorf("Sanitise(%q, %d) has %d bytes", s, limit, len(got))
		}
		if !utf8.ValidString(got) {
			t.Errorf("Sanitise(%q, %d) = %q is not valid UTF-8", s, limit, got)
		}
		for _, r := range got {
			if r != ' ' && (unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)) {
				t.Errorf("Sanitise(%q, %d) = %q has the character %U", s, limit, got, r)
			}
		}
		if again := Sanitise(got, limit); again != got {
			t.Errorf("Sanitise(%q, %d) = %q, again: %q", s, limit, got, again)
		}
		kept := strings.TrimSuffix(got, ellipsis)
		if len(s) > 0 && kept == got && limit >= len(s)*3 {
			// Nothing was cut: every visible character is still there.
			visible := func(s string) string {
				return strings.Map(func(r rune) rune {
					if unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) {
						return -1
					}
					return r
				}, strings.ToValidUTF8(s, ""))
			}
			if visible(got) != visible(s) {
				t.Errorf("Sanitise(%q, %d) = %q lost something", s, limit, got)
			}
		}
		rest := strings.ToValidUTF8(s, "")
		for _, r := range kept {
			if r == ' ' {
				continue
			}
			i := strings.IndexRune(rest, r)
			if i < 0 {
				t.Fatalf("Sanitise(%q, %d) = %q made up %q", s, limit, got, r)
			}
			rest = rest[i+utf8.RuneLen(r):]
		}
	})
}
