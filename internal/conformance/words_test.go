// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// word is a constant of the API that users read.
type word struct {
	name  string // of the constant
	kind  string // which is also how its table in docs/spec begins
	value string
	doc   string
	// of is the condition whose reason it is.
	of     string
	object types.Object
}

var (
	kinds    = []string{"Condition", "Reason", "State", "Event", "Action", "Outcome", "Resolution", "Annotation", "Label"}
	reasonOf = regexp.MustCompile(`^Reasons of (\w+)`)
	surfaces = regexp.MustCompile(`^\w+ surfaces (when|while|on|as) `)
)

// words are the constants of the API that users read.
func (s *source) words() []word {
	var words []word
	for _, file := range s.files[api] {
		for _, declaration := range file.Decls {
			block, ok := declaration.(*ast.GenDecl)
			if !ok || block.Tok != token.CONST {
				continue
			}
			of := ""
			if match := reasonOf.FindStringSubmatch(block.Doc.Text()); match != nil {
				of = match[1]
			}
			for _, entry := range block.Specs {
				value := entry.(*ast.ValueSpec)
				doc := value.Doc
				if doc == nil && !block.Lparen.IsValid() {
					doc = block.Doc
				}
				for _, name := range value.Names {
					i := slices.IndexFunc(kinds, func(kind string) bool { return strings.HasPrefix(name.Name, kind) })
					if i < 0 {
						continue
					}
					object := s.info.Defs[name].(*types.Const)
					words = append(words, word{
						name: name.Name, kind: kinds[i], value: constant.StringVal(object.Val()),
						doc: strings.Join(strings.Fields(doc.Text()), " "), of: of, object: object,
					})
				}
			}
		}
	}
	return words
}

func TestWordsSayWhenTheySurface(t *testing.T) {
	for _, w := range controller(t).words() {
		switch w.kind {
		case "Reason", "State", "Event":
			if !surfaces.MatchString(w.doc) {
				t.Errorf("%s: the comment %q does not say when it surfaces", w.name, w.doc)
			}
			if w.kind == "Reason" && w.of == "" {
				t.Errorf("%s stands in no block \"Reasons of <condition>\"", w.name)
			}
		case "Condition":
			if !strings.Contains(w.doc, "It is present") {
				t.Errorf("%s: the comment %q does not say when it is present", w.name, w.doc)
			}
		default:
			if !strings.HasPrefix(w.doc, w.name+" ") {
				t.Errorf("%s: the comment %q does not say what it is", w.name, w.doc)
			}
		}
	}
}

// A word that nothing uses is documented for nobody.
func TestWordsAreUsed(t *testing.T) {
	s := controller(t)
	used := map[types.Object]bool{}
	for name, object := range s.info.Uses {
		if !strings.Contains(s.fset.Position(name.Pos()).Filename, "/api/") {
			used[object] = true
		}
	}
	for _, w := range s.words() {
		if !used[w.object] {
			t.Errorf("%s: nothing in the controller uses it", w.name)
		}
	}
}

func TestWordsAreDocumented(t *testing.T) {
	words := controller(t).words()
	documented := map[string][]string{} // by kind, reasons by kind and condition
	for _, p := range specPages(t) {
		var conditions []string
		for _, tb := range p.tables {
			if !slices.Contains(kinds, tb.columns[0]) {
				continue
			}
			key := tb.columns[0]
			if key == "Reason" {
				key += " of " + tb.heading
			}
			documented[key] = append(documented[key], tb.words()...)
			if key == "Condition" {
				conditions = tb.words()
			}
		}
		// Each condition of a page has a heading of its own, with its reasons.
		for _, tb := range p.tables {
			if tb.columns[0] == "Reason" && !slices.Contains(conditions, tb.heading) {
				t.Errorf("%s has reasons of %q, which is not among its conditions", p.path, tb.heading)
			}
		}
		for _, condition := range conditions {
			if !slices.ContainsFunc(p.tables, func(tb table) bool { return tb.columns[0] == "Reason" && tb.heading == condition }) {
				t.Errorf("%s has no reasons of %s", p.path, condition)
			}
		}
	}
	exist := map[string][]string{}
	for _, w := range words {
		key := w.kind
		if key == "Reason" {
			key += " of " + w.of
		}
		exist[key] = append(exist[key], w.value)
	}
	for key, values := range exist {
		if missing := difference(values, documented[key]); len(missing) > 0 {
			t.Errorf("%s: docs/spec lacks %v", key, missing)
		}
	}
	for key, values := range documented {
		if surplus := difference(values, exist[key]); len(surplus) > 0 {
			t.Errorf("%s: docs/spec has %v, which the API does not", key, surplus)
		}
	}
}

// specPages are the pages of the kinds.
func specPages(t *testing.T) []page {
	t.Helper()
	pages := slices.DeleteFunc(documents(t), func(p page) bool { return !strings.HasPrefix(p.path, "docs/spec/") })
	if len(pages) == 0 {
		t.Fatal("docs/spec is empty")
	}
	return pages
}

func TestSpecPagesHaveOneSkeleton(t *testing.T) {
	want := []string{"Example", "Writing a spec", "Status", "Conditions", "Troubleshooting"}
	for _, p := range specPages(t) {
		var sections []string
		for _, h := range p.headings {
			if h.level == 2 {
				sections = append(sections, h.text)
			}
		}
		if !slices.Equal(sections, want) {
			t.Errorf("%s has the sections %q, want %q", p.path, sections, want)
		}
	}
}
