// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	tests := map[string]struct {
		reason string
		raw    string
		want   string // empty: refused
	}{
		"a plain key is taken as it is": {
			reason: "The key has a dot in it and must be passed whole.",
			raw:    "abc.def=", want: "abc.def=",
		},
		"a trailing newline is trimmed": {
			reason: "Most keys reach a Secret with the newline of the file they were kept in.",
			raw:    "abc.def\r\n", want: "abc.def",
		},
		"white space around it is trimmed": {
			reason: "A key copied from a web page often has spaces or tabs around it.",
			raw:    " \t\nabc.def \n", want: "abc.def",
		},
		"a key of 512 bytes is taken": {
			reason: "The bound is inclusive.",
			raw:    strings.Repeat("k", 512), want: strings.Repeat("k", 512),
		},
		"a key of 513 bytes is refused":        {reason: "Nothing that long is a key.", raw: strings.Repeat("k", 513)},
		"an empty key is refused":              {reason: "The vendor would answer 401 to every call.", raw: ""},
		"white space alone is refused":         {reason: "It is empty once trimmed.", raw: " \n"},
		"a newline inside is refused":          {reason: "It would split the header.", raw: "canary\nx-evil: 1"},
		"a NUL is refused":                     {reason: "It cannot stand in a header.", raw: "canary\x00"},
		"a form feed at the end is refused":    {reason: "Only blanks and line breaks are trimmed; anything else is no slip of an editor.", raw: "canary\f"},
		"a DEL is refused":                     {reason: "It is a control character.", raw: "canary\x7f"},
		"a non-ASCII character is refused":     {reason: "A header has no encoding for it.", raw: "canaryé"},
		"invalid UTF-8 is refused":             {reason: "It is not ASCII.", raw: "canary\xff"},
		"a byte order mark is refused":         {reason: "An editor put it there, and the vendor would not know the key.", raw: "\ufeffcanary"},
		"a no-break space around is refused":   {reason: "It is not ASCII, and trimming it would hide a copying error.", raw: "\u00a0canary"},
		"a UTF-16 file is refused":             {reason: "Every second byte is NUL.", raw: "c\x00a\x00n\x00a\x00r\x00y\x00"},
		"a carriage return inside is refused":  {reason: "It would split the header.", raw: "canary\rcanary"},
		"a tab inside is refused as a control": {reason: "It is a control character, and no key has one.", raw: "canary\tcanary"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey([]byte(tc.raw))
			if tc.want == "" {
				if err == nil {
					t.Fatalf("ParseKey accepted it. %s", tc.reason)
				}
				if !key.IsZero() {
					t.Errorf("ParseKey returned a key beside the error. %s", tc.reason)
				}
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("error shows the value: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("ParseKey: %v. %s", err, tc.reason)
			}
			if got := key.reveal(); got != tc.want {
				t.Errorf("key is %q, want %q. %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestKeyFingerprint(t *testing.T) {
	a, b := mustKey(t, "key-a"), mustKey(t, "key-b")
	if got, want := a.Fingerprint(), "9adaf56d13fe1767"; got != want {
		t.Errorf("fingerprint is %s, want %s: it is recorded with every purchase and must not change", got, want)
	}
	if a.Fingerprint() != mustKey(t, "key-a\n").Fingerprint() {
		t.Error("a newline around the key changes the fingerprint")
	}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("two keys have one fingerprint")
	}
	if got := (Key{}).Fingerprint(); got != "" {
		t.Errorf("the zero key has the fingerprint %q", got)
	}
	if a.IsZero() || !(Key{}).IsZero() {
		t.Error("IsZero does not tell a key from none")
	}
}

func TestKeyCannotBePrinted(t *testing.T) {
	key := mustKey(t, testKey)
	holders := map[string]any{
		"the key":                   key,
		"a pointer to the key":      &key,
		"an exported field":         struct{ Key Key }{key},
		"an unexported field":       struct{ key Key }{key},
		"a pointer in a field":      struct{ Key *Key }{&key},
		"a slice":                   []Key{key},
		"a map":                     map[string]Key{"k": key},
		"the configuration":         Config{Endpoint: "https://api.regfish.com", Key: key},
		"a pointer to it":           &Config{Endpoint: "https://api.regfish.com", Key: key},
		"the zero key":              Key{},
		"an interface with the key": []any{key},
		"a struct with the client by value": func() any {
			c, err := New(Config{Endpoint: "https://api.regfish.com", Key: key})
			if err != nil {
				t.Fatal(err)
			}
			return struct {
				client *Client
				value  any
			}{c, c}
		}(),
	}
	for name, holder := range holders {
		t.Run(name, func(t *testing.T) {
			for _, printed := range print(holder) {
				assertNoKey(t, printed)
			}
		})
	}
}

// print returns v in every form in which something might print it.
func print(v any) []string {
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%10.3v"} {
		printed = append(printed, fmt.Sprintf(verb, v))
	}
	encoded, err := json.Marshal(v)
	printed = append(printed, string(encoded), fmt.Sprint(err))
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("value", "v", v)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("value", "v", v)
	return append(printed, logged.String())
}

// assertNoKey fails if the key, or a telling part of it, is in s as text or in
// hexadecimal.
func assertNoKey(t *testing.T, s string) {
	t.Helper()
	const part = 8
	for i := 0; i+part <= len(testKey); i++ {
		piece := testKey[i : i+part]
		for _, form := range []string{piece, fmt.Sprintf("%x", piece), fmt.Sprintf("%X", piece)} {
			if strings.Contains(s, form) {
				t.Fatalf("the key shows in: %s", s)
			}
		}
	}
}
