// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// schema is what these tests need of a field's schema.
type schema struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Format      string            `json:"format"`
	Enum        []any             `json:"enum"`
	MaxLength   *int              `json:"maxLength"`
	MaxItems    *int              `json:"maxItems"`
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
}

type crd struct {
	Spec struct {
		Names struct {
			Kind   string `json:"kind"`
			Plural string `json:"plural"`
		} `json:"names"`
		Versions []struct {
			Schema struct {
				OpenAPIV3Schema schema `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// root is the schema of the newest version.
func (c crd) root() schema { return c.Spec.Versions[len(c.Spec.Versions)-1].Schema.OpenAPIV3Schema }

// crds are the CRDs by kind.
func crds(t *testing.T) map[string]crd {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "config/crd/bases/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]crd{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var c crd
		if err := yaml.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		found[c.Spec.Names.Kind] = c
	}
	if len(found) == 0 {
		t.Fatal("there is no CRD")
	}
	return found
}

// walk visits every field below s by its path, items of lists included. What is
// below conditions is Kubernetes' own and not visited.
func (s schema) walk(path string, visit func(path string, field schema)) {
	for name, field := range s.Properties {
		below := strings.TrimPrefix(path+"."+name, ".")
		visit(below, field)
		if name == "conditions" {
			continue
		}
		field.walk(below, visit)
		if field.Items != nil {
			visit(below+"[]", *field.Items)
			field.Items.walk(below+"[]", visit)
		}
	}
}

func TestFieldsAreDescribedAndBounded(t *testing.T) {
	for kind, c := range crds(t) {
		for _, part := range []string{"spec", "status"} {
			top := c.root().Properties[part]
			if len(top.Properties) == 0 {
				t.Errorf("%s has no %s", kind, part)
			}
			top.walk(part, func(path string, field schema) {
				// An item is described by its list, or by its own type.
				if !strings.HasSuffix(path, "[]") && !strings.HasSuffix(field.Description, ".") {
					t.Errorf("%s.%s is not described by a sentence: %q", kind, path, field.Description)
				}
				if field.Type == "string" && field.MaxLength == nil && len(field.Enum) == 0 && field.Format != "date-time" {
					t.Errorf("%s.%s is a string without a maximum length", kind, path)
				}
				if field.Type == "array" && field.MaxItems == nil {
					t.Errorf("%s.%s is a list without a maximum length", kind, path)
				}
			})
		}
	}
}

func TestIssuerKindsHaveOneSchema(t *testing.T) {
	all := crds(t)
	a, b := all["RegfishIssuer"].root(), all["RegfishClusterIssuer"].root()
	for _, part := range []string{"spec", "status"} {
		if diff := cmp.Diff(a.Properties[part], b.Properties[part]); diff != "" {
			t.Errorf("%s (-RegfishIssuer +RegfishClusterIssuer):\n%s", part, diff)
		}
	}
}

func TestFieldsAreDocumented(t *testing.T) {
	for kind, c := range crds(t) {
		if kind == "RegfishClusterIssuer" {
			// Its page points to the other issuer's: they have one schema.
			continue
		}
		p := document(t, "docs/spec/"+strings.ToLower(kind)+".md")
		for part, section := range map[string]string{"spec": "Writing a spec", "status": "Status"} {
			var fields, documented []string
			c.root().Properties[part].walk("", func(path string, _ schema) {
				if !strings.HasSuffix(path, "[]") {
					fields = append(fields, path)
				}
			})
			for _, tb := range p.tables {
				if tb.section == section && tb.columns[0] == "Field" {
					documented = append(documented, tb.words()...)
				}
			}
			slices.Sort(fields)
			slices.Sort(documented)
			if diff := cmp.Diff(fields, documented); diff != "" {
				t.Errorf("%s: %s (-CRD +document):\n%s", p.path, part, diff)
			}
		}
	}
}
