// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDependenciesAreJustified(t *testing.T) {
	documented := map[string][]string{}
	for _, tb := range document(t, "docs/dependencies.md").tables {
		words := tb.words()
		slices.Sort(words)
		documented[tb.section] = words
		for _, row := range tb.rows {
			if row[len(row)-1] == "" {
				t.Errorf("%s has no reason", row[0])
			}
		}
	}
	for section, dir := range map[string]string{"The controller and its tests": ".", "hack/helm": "hack/helm", "hack/kube": "hack/kube", "hack/peers": "hack/peers", "hack/tools": "hack/tools"} {
		if diff := cmp.Diff(imported(t, filepath.Join(root, dir)), documented[section]); diff != "" {
			t.Errorf("docs/dependencies.md, %s (-imported +documented):\n%s", section, diff)
		}
	}
}

// imported are the modules that the module in dir imports itself or uses as a
// tool. They are found by the imports and not by the comments in go.mod, which
// only `go mod tidy` sets.
func imported(t *testing.T, dir string) []string {
	t.Helper()
	edit := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	edit.Dir = dir
	out, err := edit.Output()
	if err != nil {
		t.Fatalf("read go.mod of %s: %v", dir, err)
	}
	var mod struct {
		Module  struct{ Path string }
		Require []struct{ Path string }
		Tool    []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	packages := imports(t, dir)
	for _, tool := range mod.Tool {
		packages = append(packages, tool.Path)
	}
	var modules []string
	for _, name := range packages {
		if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") || within(name, mod.Module.Path) {
			continue
		}
		owner := ""
		for _, r := range mod.Require {
			if within(name, r.Path) && len(r.Path) > len(owner) {
				owner = r.Path
			}
		}
		if owner == "" {
			t.Errorf("no module in go.mod of %s has %s", dir, name)
		}
		modules = append(modules, owner)
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

func within(name, module string) bool { return name == module || strings.HasPrefix(name, module+"/") }

// imports are all packages that the Go files of one module import.
func imports(t *testing.T, dir string) []string {
	t.Helper()
	var packages []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != dir && (err == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			packages = append(packages, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}
