// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestFiguresMissTheirBars(t *testing.T) {
	measured, err := figures(strings.NewReader(`{"Action":"attr","Key":"bench.calls","Value":"0.5"}
{"Action":"attr","Key":"other","Value":"x"}
{"Action":"attr","Key":"bench.calls","Value":"0.25"}
{"Action":"attr","Key":"bench.stray","Value":"1"}
{"Action":"output","Output":"bench.calls"}`))
	if err != nil || measured["calls"] != 0.5 {
		t.Fatalf("%v, %v", measured, err)
	}
	rows := []row{{Name: "calls", Most: 0.5}, {Name: "bytes", Most: 1}}
	err = judge(rows, measured)
	if err == nil || !strings.Contains(err.Error(), "bytes was not measured") || !strings.Contains(err.Error(), "stray has no bar") || strings.Contains(err.Error(), "calls") {
		t.Errorf("%v", err)
	}
	if err := judge([]row{{Name: "calls", Most: 0.4}}, map[string]float64{"calls": 0.5}); err == nil {
		t.Error("a figure above its bar passes")
	}
}
