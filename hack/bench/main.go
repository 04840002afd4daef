// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

//go:embed thresholds.json
var thresholds []byte

// out is where the figures go, seen from the module's root.
const out = "bin/bench.json"

// row is one figure and its bar.
type row struct {
	Name string `json:"name"`
	// Kind is simulated or real.
	Kind string `json:"kind"`
	Unit string `json:"unit"`
	// Most is the bar: a larger figure misses it.
	Most  float64  `json:"most"`
	Value *float64 `json:"value,omitempty"`
}

// result is what bin/bench.json holds.
type result struct {
	Time time.Time `json:"time"`
	Rows []row     `json:"rows"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var r result
	if err := json.Unmarshal(thresholds, &r.Rows); err != nil {
		return fmt.Errorf("read thresholds.json: %w", err)
	}
	cmd := exec.Command("go", "test", "-json", "-count=1", "./internal/poller")
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	measured, err := figures(events)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	r.Time = time.Now().UTC()
	missed := judge(r.Rows, measured)
	for _, row := range r.Rows {
		if row.Value != nil {
			fmt.Printf("%-60s %10.4g %-8s at most %-8g %s\n", row.Name, *row.Value, row.Unit, row.Most, row.Kind)
		}
	}
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("bin", 0o755); err != nil {
		return err
	}
	return errors.Join(missed, os.WriteFile(out, append(encoded, '\n'), 0o644))
}

// figures are what the tests told, by name.
func figures(events io.Reader) (map[string]float64, error) {
	found := map[string]float64{}
	for d := json.NewDecoder(events); ; {
		var e struct{ Action, Key, Value string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what go test says: %w", err)
		}
		name, ok := strings.CutPrefix(e.Key, "bench.")
		if e.Action != "attr" || !ok {
			continue
		}
		value, err := strconv.ParseFloat(e.Value, 64)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", name, err)
		}
		// Of several runs the worst counts.
		found[name] = max(found[name], value)
	}
}

// judge fills the figures into the rows, and says which are missing or miss their bar. A
// figure without a bar is one that nobody looks at.
func judge(rows []row, measured map[string]float64) error {
	var missed []error
	for i := range rows {
		r := &rows[i]
		value, ok := measured[r.Name]
		delete(measured, r.Name)
		if !ok {
			missed = append(missed, fmt.Errorf("%s was not measured", r.Name))
			continue
		}
		if r.Value = &value; value > r.Most {
			missed = append(missed, fmt.Errorf("%s is %g %s, and may be %g", r.Name, value, r.Unit, r.Most))
		}
	}
	for name := range measured {
		missed = append(missed, fmt.Errorf("%s has no bar in thresholds.json", name))
	}
	return errors.Join(missed...)
}
