// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// shape is a CustomResourceDefinition as somebody applies it.
type shape = unstructured.Unstructured

// shipped returns the CustomResourceDefinitions of this version.
func shipped(t *testing.T) []*shape {
	t.Helper()
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) != 4 {
		t.Fatalf("CustomResourceDefinitions %v: %v", files, err)
	}
	var all []*shape
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &shape{}
		if err := yaml.Unmarshal(text, &crd.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, crd)
	}
	return all
}

// reshaped returns the shipped definitions, changed.
func reshaped(t *testing.T, change func(kind string, version map[string]any)) []*shape {
	t.Helper()
	all := shipped(t)
	for _, crd := range all {
		change(kindOf(t, crd), versionsOf(t, crd)[0])
	}
	return all
}

func kindOf(t *testing.T, crd *shape) string {
	t.Helper()
	kind, _, err := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	if err != nil || kind == "" {
		t.Fatalf("%s has no kind: %v", crd.GetName(), err)
	}
	return kind
}

// versionsOf returns the versions themselves, not copies.
func versionsOf(t *testing.T, crd *shape) []map[string]any {
	t.Helper()
	spec, ok := crd.Object["spec"].(map[string]any)
	if !ok {
		t.Fatalf("%s has no spec", crd.GetName())
	}
	versions, ok := spec["versions"].([]any)
	if !ok {
		t.Fatalf("%s has no versions", crd.GetName())
	}
	var all []map[string]any
	for _, v := range versions {
		all = append(all, v.(map[string]any))
	}
	return all
}

// propertiesOf returns the properties below a path of objects in a version, themselves.
func propertiesOf(t *testing.T, version map[string]any, path ...string) map[string]any {
	t.Helper()
	at := version["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
	for _, name := range path {
		next, ok := at["properties"].(map[string]any)[name].(map[string]any)
		if !ok {
			t.Fatalf("the schema has no %v", path)
		}
		at = next
	}
	return at["properties"].(map[string]any)
}

// apply makes the API server serve the definitions, and returns when it does: probe is a
// field of status that is known then, or unknown.
func (l *lasting) apply(all []*shape, probe string, known bool) {
	l.t.Helper()
	for _, crd := range all {
		if err := l.store(l.t.Context(), crd); err != nil {
			l.t.Fatalf("apply %s: %v", crd.GetName(), err)
		}
	}
	strict := client.WithFieldValidation(l.Client, metav1.FieldValidationStrict)
	for _, crd := range all {
		object := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{probe: map[string]any{}}}}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kindOf(l.t, crd)))
		object.SetNamespace(l.Namespace)
		object.SetName("probe")
		l.eventually(fmt.Sprintf("%s is served in that shape", crd.GetName()), func() error {
			// An unknown field is a request that cannot be read, and the missing spec one
			// that is invalid.
			err := strict.Create(l.t.Context(), object.DeepCopy(), client.DryRunAll)
			if known && !apierrors.IsInvalid(err) || !known && !apierrors.IsBadRequest(err) {
				return fmt.Errorf("status.%s: %w", probe, err)
			}
			return nil
		})
	}
}

// store writes one definition over what is there.
func (l *lasting) store(ctx context.Context, crd *shape) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live := &shape{}
		live.SetGroupVersionKind(crd.GroupVersionKind())
		if err := l.Client.Get(ctx, client.ObjectKeyFromObject(crd), live); err != nil {
			return err
		}
		live.Object["spec"] = crd.DeepCopy().Object["spec"]
		return l.Client.Update(ctx, live)
	})
}

// storedAs rewrites the issuers with the version that is the storage version now, and
// says that no other one is stored any more, as a storage migration does.
func (l *lasting) storedAs(all []*shape, version string) {
	l.t.Helper()
	l.editBoth(func(i v1alpha1.Issuer, _ *v1alpha1.IssuerSpec) {
		i.SetAnnotations(map[string]string{"example.com/stored-as": version})
	})
	for _, crd := range all {
		if kind := kindOf(l.t, crd); kind != v1alpha1.KindIssuer && kind != v1alpha1.KindClusterIssuer {
			continue
		}
		live := &shape{}
		live.SetGroupVersionKind(crd.GroupVersionKind())
		live.SetName(crd.GetName())
		if err := l.get(live); err != nil {
			l.t.Fatal(err)
		}
		if err := unstructured.SetNestedStringSlice(live.Object, []string{version}, "status", "storedVersions"); err != nil {
			l.t.Fatal(err)
		}
		if err := l.Client.Status().Update(l.t.Context(), live); err != nil {
			l.t.Fatal(err)
		}
	}
}

// looked waits until both orders were looked at by the controllers since it was called.
func (l *lasting) looked() {
	l.t.Helper()
	before := l.vendor.Calls()[string(simulator.EndpointGet)]
	l.eventually("the vendor was asked again", func() error {
		if n := l.vendor.Calls()[string(simulator.EndpointGet)] - before; n < 10 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

// TestAPIUpgradedWhileOrdersWait: definitions are replaced under a running controller:
// those of an older version, which lack what came later, by those of this version, and
// those by newer ones. The issuers are stored in another version and back.
func TestAPIUpgradedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	now := shipped(t)
	l.restoreShapes()
	columns := func(version map[string]any, change func([]any) []any) {
		version["additionalPrinterColumns"] = change(version["additionalPrinterColumns"].([]any))
	}
	older := reshaped(t, func(kind string, version map[string]any) {
		columns(version, func(all []any) []any { return all[:2] })
		switch kind {
		case v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer:
			dcv := propertiesOf(t, version, "spec")["dcv"].(map[string]any)
			delete(dcv, "x-kubernetes-validations")
			delete(dcv["properties"].(map[string]any), "emails")
			delete(propertiesOf(t, version, "spec"), "wildcardSKU")
			delete(propertiesOf(t, version, "status"), "wildcardProduct")
			delete(propertiesOf(t, version, "status", "product"), "organizationRequired")
		case "RegfishOrder":
			delete(propertiesOf(t, version, "status", "dcv"), "emails")
		case "RegfishPurchase":
			delete(propertiesOf(t, version, "spec"), "dcvEmails")
			spec := propertiesOf(t, version)["spec"].(map[string]any)
			spec["x-kubernetes-validations"] = slices.DeleteFunc(spec["x-kubernetes-validations"].([]any), func(rule any) bool {
				return strings.Contains(rule.(map[string]any)["rule"].(string), "dcvEmails")
			})
			delete(propertiesOf(t, version, "status", "dcv"), "emails")
		}
		propertiesOf(t, version, "status")["retired"] = map[string]any{"type": "object"}
	})
	newer := reshaped(t, func(_ string, version map[string]any) {
		columns(version, func(all []any) []any {
			return append(all, map[string]any{"name": "Newer", "type": "string", "jsonPath": ".status.newer.text"})
		})
		for _, part := range []string{"spec", "status"} {
			propertiesOf(t, version, part)["newer"] = map[string]any{
				"type": "object", "properties": map[string]any{"text": map[string]any{"type": "string", "maxLength": int64(64)}},
			}
		}
	})

	l.apply(older, "retired", true)
	l.run()
	l.begin()
	l.apply(now, "retired", false)
	l.looked()
	l.waiting("waits with the definitions of this version")
	l.apply(newer, "newer", true)
	l.looked()
	l.waiting("waits with newer definitions")

	moved := reshaped(t, func(string, map[string]any) {})
	for _, crd := range moved {
		kind := kindOf(t, crd)
		if kind != v1alpha1.KindIssuer && kind != v1alpha1.KindClusterIssuer {
			continue
		}
		next := (&unstructured.Unstructured{Object: versionsOf(t, crd)[0]}).DeepCopy().Object
		versionsOf(t, crd)[0]["storage"] = false
		next["name"], next["served"], next["storage"] = "v1beta1", false, true
		spec := crd.Object["spec"].(map[string]any)
		spec["versions"] = append(spec["versions"].([]any), next)
	}
	l.apply(moved, "newer", false)
	l.storedAs(moved, "v1beta1")
	l.looked()
	l.waiting("waits while the issuers are stored in another version")
	for _, crd := range moved {
		for _, version := range versionsOf(t, crd) {
			version["storage"] = version["name"] == "v1alpha1"
		}
	}
	l.apply(moved, "newer", false)
	l.storedAs(moved, "v1alpha1")
	l.apply(now, "newer", false)
	l.looked()
	l.waiting("waits with the issuers back in their version")
	l.finish()
}
