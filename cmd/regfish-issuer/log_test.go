// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Whether attributes are formatted when they are added or when a line shows them must not be
// seen in the line, and a key must be in neither.
func TestAttributesThatAreFormattedLateReadTheSame(t *testing.T) {
	key, err := regfish.ParseKey([]byte("a-key-that-nobody-may-read"))
	if err != nil {
		t.Fatal(err)
	}
	lines := func(wrap func(slog.Handler) slog.Handler) string {
		var out bytes.Buffer
		drop := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		base := slog.New(wrap(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: drop})))
		base.Info("one")
		with := base.With("controller", "order").With("name", "www", "key", key)
		with.Info("two", "more", 1)
		with.With("attempt", 2).WithGroup("vendor").With("id", 7).Info("three", "more", 3)
		base.WithGroup("group").Info("four", "more", 4)
		with.Debug("not enabled")
		return out.String()
	}
	want := lines(func(h slog.Handler) slog.Handler { return h })
	if got := lines(func(h slog.Handler) slog.Handler { return &late{to: h} }); got != want || want == "" {
		t.Errorf("it reads\n%s\nand not\n%s", got, want)
	}
	if bytes.Contains([]byte(want), []byte("nobody-may-read")) {
		t.Errorf("a key is in\n%s", want)
	}
}
