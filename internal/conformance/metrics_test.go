// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestMetricsAreDocumented(t *testing.T) {
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metrics.Markdown(), string(text)); diff != "" {
		t.Errorf("docs/metrics.md is not what `make generate` writes (-code +document):\n%s", diff)
	}
}
