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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/regfish/regfish-issuer/internal/operator"
)

// manifest is a piece of YAML with one or several objects.
type manifest struct {
	from    string
	objects []*unstructured.Unstructured
}

// manifests are those of every file in the folders.
func manifests(t *testing.T, folders ...string) []manifest {
	t.Helper()
	var found []manifest
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(root, folder, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) == 0 {
			t.Fatalf("%s is empty", folder)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, manifest{folder + "/" + filepath.Base(path), decode(t, path, string(text))})
		}
	}
	return found
}

// objects are all objects in the folders.
func objects(t *testing.T, folders ...string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, m := range manifests(t, folders...) {
		found = append(found, m.objects...)
	}
	return found
}

func decode(t *testing.T, from, text string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split("\n"+text, "\n---") {
		var content map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
	if len(objects) == 0 {
		t.Fatalf("%s has no object", from)
	}
	return objects
}

// containers are the containers of a Deployment.
func containers(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	var found []map[string]any
	for _, entry := range list {
		found = append(found, entry.(map[string]any))
	}
	return found
}

// A binding to a role or an account that does not exist is accepted by the API
// server and allows nothing.
func TestBindingsBindWhatExists(t *testing.T) {
	all := objects(t, "config/rbac", "config/manager")
	exists := func(kind, namespace, name string) bool {
		return slices.ContainsFunc(all, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == kind && o.GetNamespace() == namespace && o.GetName() == name
		})
	}
	checked := 0
	for _, o := range all {
		if !strings.HasSuffix(o.GetKind(), "RoleBinding") {
			continue
		}
		checked++
		role, _, _ := unstructured.NestedStringMap(o.Object, "roleRef")
		namespace := o.GetNamespace()
		if role["kind"] == "ClusterRole" {
			namespace = ""
		}
		if !exists(role["kind"], namespace, role["name"]) {
			t.Errorf("%s %s binds %s %s, which does not exist", o.GetKind(), o.GetName(), role["kind"], role["name"])
		}
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, entry := range subjects {
			subject := entry.(map[string]any)
			kind, namespace, name := subject["kind"].(string), subject["namespace"].(string), subject["name"].(string)
			if namespace != "cert-manager" && !exists(kind, namespace, name) {
				t.Errorf("%s %s binds to %s %s/%s, which does not exist", o.GetKind(), o.GetName(), kind, namespace, name)
			}
		}
	}
	if checked == 0 {
		t.Error("no binding was found")
	}
	if !exists("ClusterRole", "", operator.SecretReaderRole) {
		t.Errorf("there is no ClusterRole %s, which the controller tells people to bind", operator.SecretReaderRole)
	}
}

func TestApproverMayApproveForEveryIssuerKind(t *testing.T) {
	var want, got []string
	for kind, c := range crds(t) {
		if strings.HasSuffix(kind, "Issuer") {
			want = append(want, c.Spec.Names.Plural+".certmanager.regfish.com/*")
		}
	}
	for _, o := range objects(t, "config/rbac") {
		// The name that the event ApprovalMissing tells people.
		if o.GetKind() != "ClusterRole" || o.GetName() != "regfish-issuer-approver" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			names, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resourceNames")
			got = append(got, names...)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("signers (-want +got):\n%s", diff)
	}
}

// A fence says what is in it, and what is an object is checked as one.
func TestFencesSayWhatTheyHold(t *testing.T) {
	for _, p := range documents(t) {
		for _, f := range p.fences {
			switch {
			case !slices.Contains([]string{"sh", "yaml", "text"}, f.language):
				t.Errorf("%s:%d: the fence's language is %q; use sh, yaml for whole objects, or text", p.path, f.line, f.language)
			case f.language != "yaml" && strings.Contains(f.text, "apiVersion:"):
				t.Errorf("%s:%d: an object is fenced as yaml, so that it is checked", p.path, f.line)
			}
		}
	}
}
