// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestKustomize: an installation without Helm has what one with Helm has. Only what
// Helm marks its objects with differs, and the namespace, which Helm makes by a flag.
func TestKustomize(t *testing.T) {
	assets, err := testenv.Assets()
	if err != nil {
		t.Fatal(err)
	}
	kustomize := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", filepath.Join(root, "config"))
	out, err := kustomize.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v", err)
	}
	plain := byName(t, objects(t, string(out)))
	delete(plain, "Namespace /regfish-issuer")
	charted := byName(t, render(t, ""))
	for name := range plain {
		if charted[name] == nil {
			t.Errorf("config has %s, and the chart does not", name)
		}
	}
	for name, o := range charted {
		if plain[name] == nil {
			t.Errorf("the chart has %s, and config does not", name)
		} else if diff := cmp.Diff(plain[name], o); diff != "" {
			t.Errorf("%s (-config +chart):\n%s", name, diff)
		}
	}
}

// byName maps objects by their kind and name, without Helm's marks.
func byName(t *testing.T, all []*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, o := range all {
		unmark(t, o.Object, "metadata")
		unmark(t, o.Object, "spec", "template", "metadata")
		name := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if _, twice := found[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		found[name] = o.Object
	}
	return found
}

// unmark removes what Helm marks an object or a pod with from its metadata.
func unmark(t *testing.T, o map[string]any, metadata ...string) {
	t.Helper()
	for field, marks := range map[string][]string{
		"labels":      {"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"},
		"annotations": {"helm.sh/resource-policy"},
	} {
		for _, mark := range marks {
			unstructured.RemoveNestedField(o, append(append([]string{}, metadata...), field, mark)...)
		}
	}
}
