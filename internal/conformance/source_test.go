// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "github.com/regfish/regfish-issuer"
	api    = module + "/api/v1alpha1"
)

// source is the module's own code as the type checker sees it: without tests and
// without generated files. Packages of other modules are left unknown, which
// spares the minute that checking them takes. Whatever has one of our types is
// known all the same, and that is all that these tests ask about.
type source struct {
	fset     *token.FileSet
	packages map[string]*types.Package
	files    map[string][]*ast.File
	info     types.Info
}

// load reads the packages in and below the folders.
func load(t *testing.T, folders ...string) *source {
	t.Helper()
	s := &source{
		fset:     token.NewFileSet(),
		packages: map[string]*types.Package{}, files: map[string][]*ast.File{},
		info: types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}},
	}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				below, relErr := filepath.Rel(root, name)
				if relErr != nil {
					return relErr
				}
				_, err = s.Import(path.Join(module, filepath.ToSlash(below)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Import checks a package of this module, and makes an empty one of any other.
func (s *source) Import(name string) (*types.Package, error) {
	if p, ok := s.packages[name]; ok {
		return p, nil
	}
	below, found := strings.CutPrefix(name, module)
	if !found {
		p := types.NewPackage(name, path.Base(name))
		p.MarkComplete()
		s.packages[name] = p
		return p, nil
	}
	paths, err := filepath.Glob(filepath.Join(root, below, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.fset, path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if !ast.IsGenerated(file) {
			files = append(files, file)
		}
	}
	// The errors are all about what other modules would have declared.
	config := types.Config{Importer: s, Error: func(error) {}}
	p, _ := config.Check(name, s.fset, files, &s.info)
	s.packages[name], s.files[name] = p, files
	return p, nil
}

// controller is all that the controller consists of.
func controller(t *testing.T) *source {
	t.Helper()
	s := load(t, "api", "cmd/regfish-issuer", "internal/controller", "internal/credentials", "internal/operator", "internal/purchase")
	if s.packages[api] == nil || s.packages[api].Scope().Lookup("IssuerSpec") == nil {
		t.Fatal("the API was not read")
	}
	return s
}
