// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command metrics writes docs/metrics.md from the code. It runs in the module's root.
package main

import (
	"fmt"
	"os"

	"github.com/regfish/regfish-issuer/internal/metrics"
)

func main() {
	if err := os.WriteFile("docs/metrics.md", []byte(metrics.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}
