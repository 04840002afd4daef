// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestToldFigures: of a figure that several runs tell the worst counts, and whatever else
// go test says is no figure.
func TestToldFigures(t *testing.T) {
	measured, err := told(strings.NewReader(`{"Action":"attr","Key":"bench.calls","Value":"0.5"}
{"Action":"attr","Key":"other","Value":"x"}
{"Action":"attr","Key":"bench.calls","Value":"0.25"}
{"Action":"output","Output":"bench.calls"}`))
	if diff := cmp.Diff(map[string]float64{"calls": 0.5}, measured); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	if _, err := told(strings.NewReader(`{"Action":"attr","Key":"bench.calls","Value":"many"}`)); err == nil {
		t.Error("a figure that is no number passes")
	}
}

// TestMissedBars: a bench that passes although something missed its bar, or was never
// measured, is worth nothing.
func TestMissedBars(t *testing.T) {
	tests := []struct {
		name, reason string
		row          row
		misses       bool
	}{
		{"at the bar", "the bar may be reached", row{Most: new(0.5), Value: new(0.5)}, false},
		{"above the most", "that is what the bar is for", row{Most: new(0.5), Value: new(0.6)}, true},
		{"below the least", "a ratio has to be large", row{Least: new(0.35), Value: new(0.3)}, true},
		{"above the least", "more is better", row{Least: new(0.35), Value: new(0.4)}, false},
		{"not measured", "what nobody measured may be anything", row{Most: new(0.5)}, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.row.misses(); (got != "") != tc.misses {
				t.Errorf("%s: got %q", tc.reason, got)
			}
		})
	}
	b := &bench{part: "idle", Rows: []row{{Name: "calls", Part: "idle", Most: new(0.5)}}}
	b.figure("calls", 0.25)
	b.figure("stray", 1)
	if b.Rows[0].misses() != "" || len(b.Rows) != 2 || b.Rows[1].misses() == "" {
		t.Errorf("a figure without a bar passes, or one with a bar is lost: %v", b.Rows)
	}
}

// TestThresholds: each row belongs to a part that exists, and has a bar.
func TestThresholds(t *testing.T) {
	var rows []row
	if err := json.Unmarshal(thresholds, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if !slices.Contains(strings.Split(names(), ", "), r.Part) || (r.Most == nil) == (r.Least == nil) || (r.Kind == "simulated") != (r.Part == "simulated") {
			t.Errorf("row %+v", r)
		}
	}
}

// TestAudit: what the controller wrote is counted, once, and nothing else is.
func TestAudit(t *testing.T) {
	line := func(agent, verb, resource, subresource string) string {
		return `{"verb":"` + verb + `","userAgent":"` + agent + `/v1","objectRef":{"resource":"` + resource + `","subresource":"` + subresource + `"},"responseStatus":{"code":200}}` + "\n"
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	text := line("regfish-issuer", "patch", "regfishorders", "status") + line("bench", "patch", "regfishorders", "status") +
		line("regfish-issuer", "update", "leases", "") + line("regfish-issuer", "create", "events", "") + line("regfish-issuer", "create", "tokenreviews", "") + line("regfish-issuer", "list", "regfishpurchases", "")
	half := line("regfish-issuer", "delete", "regfishorders", "")
	if err := os.WriteFile(path, []byte(text+half[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &audit{path: path}
	all, err := a.since()
	if err != nil {
		t.Fatal(err)
	}
	if writes(all) != 1 || verbs(all, "list") != 1 || len(slices.Collect(maps.Keys(all))) != 5 {
		t.Errorf("%v", all)
	}
	if err := os.WriteFile(path, []byte(text+half), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err = a.since(); err != nil || writes(all) != 1 || len(all) != 1 {
		t.Errorf("%v, %v: a line that was half written is counted when it is whole", all, err)
	}
}
