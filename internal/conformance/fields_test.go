// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"go/ast"
	"go/types"
	"reflect"
	"strings"
	"testing"
)

// A spec field that nothing reads is a promise to the user that nobody keeps.
func TestSpecFieldsAreRead(t *testing.T) {
	s := controller(t)
	read := map[*types.Var]bool{}
	for name, files := range s.files {
		if name == api {
			continue
		}
		for _, file := range files {
			s.reads(file, read)
		}
	}
	spec := s.packages[api].Scope().Lookup("IssuerSpec").Type()
	checked := 0
	walk(spec, "spec", func(path string, field *types.Var) {
		checked++
		if !read[field] {
			t.Errorf("%s: nothing in the controller reads it", path)
		}
	})
	if checked == 0 {
		t.Error("no field was found")
	}
}

// reads adds the fields that the file reads. A field on the left of an assignment
// is not read, and neither are those that lead to it.
func (s *source) reads(file *ast.File, read map[*types.Var]bool) {
	written := map[*ast.SelectorExpr]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				for e, ok := left.(*ast.SelectorExpr); ok; e, ok = e.X.(*ast.SelectorExpr) {
					written[e] = true
				}
			}
		case *ast.SelectorExpr:
			if selection := s.info.Selections[n]; selection != nil && !written[n] {
				if field, ok := selection.Obj().(*types.Var); ok {
					read[field] = true
				}
			}
		}
		return true
	})
}

// walk visits the fields of a type of the API and of those it is made of.
func walk(of types.Type, path string, visit func(string, *types.Var)) {
	switch of := of.(type) {
	case *types.Pointer:
		walk(of.Elem(), path, visit)
	case *types.Slice:
		walk(of.Elem(), path+"[]", visit)
	case *types.Named:
		walk(of.Underlying(), path, visit)
	case *types.Struct:
		for i := range of.NumFields() {
			name, _, _ := strings.Cut(reflect.StructTag(of.Tag(i)).Get("json"), ",")
			visit(path+"."+name, of.Field(i))
			walk(of.Field(i).Type(), path+"."+name, visit)
		}
	}
}
