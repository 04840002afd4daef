// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	makeCommand  = regexp.MustCompile(`(?:^|\s)make((?:\s+[A-Za-z][\w=.-]*)*)`)
	makeVariable = regexp.MustCompile(`^([A-Z][A-Z0-9]*)=`)
)

func TestMakeCommandsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	makefile := string(text)
	var targets []string
	for _, match := range makeTarget.FindAllStringSubmatch(makefile, -1) {
		targets = append(targets, match[1])
	}
	checked := 0
	for _, p := range documents(t) {
		for _, command := range p.commands() {
			var words []string
			if match := makeCommand.FindStringSubmatch(command); match != nil {
				words = strings.Fields(match[1])
			} else if makeVariable.MatchString(command) && !strings.Contains(command, " ") {
				words = []string{command}
			}
			for _, word := range words {
				checked++
				if match := makeVariable.FindStringSubmatch(word); match != nil {
					if !strings.Contains(makefile, "$("+match[1]+")") {
						t.Errorf("%s: %q: the Makefile has no variable %s", p.path, command, match[1])
					}
				} else if !slices.Contains(targets, word) {
					t.Errorf("%s: %q: the Makefile has no target %s", p.path, command, word)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no command was found")
	}
}

func TestFlagsAreDocumented(t *testing.T) {
	flags := controllerFlags(t)
	var documented []string
	for _, p := range documents(t) {
		for _, tb := range p.tables {
			if tb.columns[0] == "Flag" {
				documented = append(documented, tb.words()...)
			}
		}
		for _, span := range p.spans() {
			name, _, _ := strings.Cut(span, "=")
			if strings.HasPrefix(name, "--") && !slices.Contains(flags, name) {
				t.Errorf("%s: the controller has no flag %s", p.path, name)
			}
		}
	}
	if missing := difference(flags, documented); len(missing) > 0 {
		t.Errorf("flags that no table documents: %v", missing)
	}
	for _, o := range objects(t, "config/manager") {
		for _, container := range containers(o) {
			args, _ := container["args"].([]any)
			for _, arg := range args {
				name, _, _ := strings.Cut(arg.(string), "=")
				if !slices.Contains(flags, name) {
					t.Errorf("%s %s passes %s, which the controller does not know", o.GetKind(), o.GetName(), name)
				}
			}
		}
	}
}

// controllerFlags are the flags that the controller's main defines.
func controllerFlags(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "cmd/regfish-issuer/main.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 4 {
			return true
		}
		define, ok := call.Fun.(*ast.SelectorExpr)
		name, literal := call.Args[1].(*ast.BasicLit)
		if !ok || !literal || !strings.HasSuffix(define.Sel.Name, "Var") {
			return true
		}
		text, err := strconv.Unquote(name.Value)
		if err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--"+text)
		return true
	})
	if len(flags) == 0 {
		t.Fatal("no flag was found")
	}
	return flags
}
