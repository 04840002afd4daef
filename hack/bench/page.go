// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// page is the run as people read it.
func (b *bench) page() string {
	var s strings.Builder
	fmt.Fprintf(&s, "# Bench, %s\n\nWhat `make bench` measured, as it wrote it, of %s on %d cores. [Scale](../scale.md) says what\nthe figures mean.\n\n", b.Time.Format(time.DateOnly), b.Version, runtime.NumCPU())
	if b.Scale != 1 {
		fmt.Fprintf(&s, "All counts were divided by %d: this run tries the bench, and its figures mean nothing.\n\n", b.Scale)
	}
	s.WriteString("| Figure | Value | Bar | |\n| --- | --- | --- | --- |\n")
	for _, r := range b.Rows {
		value, bar := "not measured", ""
		if r.Value != nil {
			value = fmt.Sprintf("%.4g %s", *r.Value, r.Unit)
		}
		switch {
		case r.Most != nil:
			bar = fmt.Sprintf("at most %g", *r.Most)
		case r.Least != nil:
			bar = fmt.Sprintf("at least %g", *r.Least)
		}
		if r.misses() != "" {
			value = "**" + value + "**"
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", r.Name, value, bar, r.Kind)
	}
	for _, t := range b.Tables {
		fmt.Fprintf(&s, "\n## %s\n\n| %s |\n|%s\n", t.Name, strings.Join(t.Columns, " | "), strings.Repeat(" --- |", len(t.Columns)))
		for _, row := range t.Rows {
			for _, cell := range row {
				if n, ok := cell.(float64); ok {
					cell = fmt.Sprintf("%.4g", n)
				}
				fmt.Fprintf(&s, "| %v ", cell)
			}
			s.WriteString("|\n")
		}
	}
	return s.String()
}
