// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// chart is the chart's folder, seen from the module's root.
const chart = "charts/regfish-issuer"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// run writes into the working directory, which has to be the module's root.
func run() error {
	files, err := generated(".")
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(chart, "files", "crds", "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := files[path]; !ok {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove a CRD that is no more: %w", err)
			}
		}
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write what is generated: %w", err)
		}
	}
	return nil
}

// generated returns the files of the chart that are made of others, by their path
// below root.
func generated(root string) (map[string][]byte, error) {
	tree := os.DirFS(root)
	files := map[string][]byte{}
	crds, err := fs.Glob(tree, "config/crd/bases/*.yaml")
	if err != nil {
		return nil, err
	}
	if len(crds) == 0 {
		return nil, errors.New("there are no CRDs in config/crd/bases")
	}
	copies := map[string]string{"config/rbac/role.yaml": filepath.Join(chart, "files", "role.yaml")}
	for _, crd := range crds {
		copies[crd] = filepath.Join(chart, "files", "crds", filepath.Base(crd))
	}
	for from, to := range copies {
		if files[to], err = fs.ReadFile(tree, from); err != nil {
			return nil, fmt.Errorf("copy: %w", err)
		}
	}
	values, err := fs.ReadFile(tree, filepath.Join(chart, "values.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	path := filepath.Join(chart, "README.md")
	readme, err := fs.ReadFile(tree, path)
	if err != nil {
		return nil, fmt.Errorf("read README: %w", err)
	}
	if files[path], err = withTable(readme, values); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return files, nil
}

// The README holds the tables between these lines.
const (
	begin = "<!-- values: begin, written from values.yaml by make generate -->\n"
	end   = "<!-- values: end -->\n"
)

// withTable returns the README with the tables of the values.
func withTable(readme, values []byte) ([]byte, error) {
	head, rest, found := bytes.Cut(readme, []byte(begin))
	_, tail, foundEnd := bytes.Cut(rest, []byte(end))
	if !found || !foundEnd {
		return nil, errors.New("the lines between which the values stand are missing")
	}
	sections, err := parse(values)
	if err != nil {
		return nil, err
	}
	return slices.Concat(head, []byte(begin), []byte(tables(sections)), []byte(end), tail), nil
}
