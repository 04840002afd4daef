// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// restoreShapes makes the API server serve the shipped definitions again when the test ends.
func (l *lasting) restoreShapes() {
	l.t.Cleanup(func() {
		for _, crd := range shipped(l.t) {
			if err := l.store(context.Background(), crd); err != nil {
				l.t.Errorf("restore %s: %v", crd.GetName(), err)
			}
		}
	})
}

// raw returns the only record of the ledger with every field that it has.
func (w *world) raw() *unstructured.Unstructured {
	w.t.Helper()
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RegfishPurchaseList"))
	if err := w.Client.List(w.t.Context(), all, client.InNamespace(w.ledger)); err != nil {
		w.t.Fatal(err)
	}
	if len(all.Items) != 1 {
		w.t.Fatalf("the ledger has %d records", len(all.Items))
	}
	return &all.Items[0]
}

// newerPurchases are definitions with fields that this version does not know.
func newerPurchases(t *testing.T) []*shape {
	t.Helper()
	return reshaped(t, func(kind string, version map[string]any) {
		newer := map[string]any{"type": "string", "maxLength": int64(64)}
		propertiesOf(t, version, "status")["newer"] = map[string]any{"type": "object"}
		if kind == "RegfishPurchase" {
			spec := propertiesOf(t, version, "spec")
			spec["newer"] = newer
			spec["attempts"].(map[string]any)["items"].(map[string]any)["properties"].(map[string]any)["newer"] = newer
		}
	})
}

// TestRecordsOfANewerVersion: the controller was rolled back, and a newer one has written
// fields that this one does not know. Where the record has the version of this one, the work
// goes on, and they stay where they are. Where it has a newer one it may mean anything:
// nothing is written on it, and nothing is bought beside it.
func TestRecordsOfANewerVersion(t *testing.T) {
	l := &lasting{world: newWorld(t)}
	l.automateDNS()
	l.restoreShapes()
	l.apply(newerPurchases(t), "newer", true)
	// The newer version ended while it was not known what became of its order.
	l.lose(true)
	stop := l.run()
	cr := l.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	l.order("www", "is resolving", inState(v1alpha1.StateResolving))
	stop()
	record := l.raw()
	known := record.DeepCopy()
	if err := unstructured.SetNestedField(record.Object, "kept", "spec", "newer"); err != nil {
		t.Fatal(err)
	}
	if err := l.Client.Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	l.vendor.ClearFaults()
	stop = l.run()
	l.answered(cr, cmapi.CertificateRequestReasonIssued)
	l.adopted()
	if text, _, _ := unstructured.NestedString(l.raw().Object, "spec", "newer"); text != "kept" {
		t.Errorf("what a newer version wrote is gone: %v", l.raw().Object["spec"])
	}
	stop()

	// The same, by a version that says that its records are not to be read as ours.
	if err := l.Client.Delete(t.Context(), l.raw()); err != nil {
		t.Fatal(err)
	}
	known.SetResourceVersion("")
	known.SetUID("")
	spec := known.Object["spec"].(map[string]any)
	spec["recordVersion"] = int64(v1alpha1.RecordVersion + 1)
	spec["newer"] = "kept"
	spec["attempts"].([]any)[0].(map[string]any)["newer"] = "kept"
	delete(known.Object, "status")
	if err := l.Client.Create(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	before := l.raw().Object["spec"]
	l.run()
	again := l.request("again", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	o := l.order("again", "waits for the newer version", placed(v1alpha1.ReasonWaitingForPurchase))
	if !strings.Contains(o.Status.Message, "another version") {
		t.Errorf("the order says %q", o.Status.Message)
	}
	l.only("is held", func(p *v1alpha1.RegfishPurchase) bool {
		return p.Status.State == v1alpha1.StateHeld && strings.Contains(p.Status.Message, "install the newer version again")
	})
	l.answered(again, cmapi.CertificateRequestReasonPending)
	if after := l.raw().Object["spec"]; fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("a record of a newer version was changed:\n%v\n%v", before, after)
	}
	if n := l.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
		t.Errorf("%d orders were sent", n)
	}
}

// TestOneSpecFieldRemoved: the definitions of an older version are applied, which lack one
// field each, and every record is written without it. Orders that live go on; nothing is
// bought again and no request fails.
func TestOneSpecFieldRemoved(t *testing.T) {
	l := newLasting(t)
	l.restoreShapes()
	l.run()
	l.begin()
	for _, removed := range []struct {
		kind, field string
	}{
		{"RegfishPurchase", "reason"}, {"RegfishPurchase", "organizationID"}, {"RegfishPurchase", "dcvEmails"}, {"RegfishPurchase", "planUID"},
		{"RegfishPurchase", "sourceCertificateID"}, {"RegfishPurchase", "reissues"}, {"RegfishPurchase", "successors"}, {"RegfishPurchase", "takeovers"},
		{v1alpha1.KindClusterIssuer, "organizationID"}, {v1alpha1.KindClusterIssuer, "wildcardSKU"}, {v1alpha1.KindClusterIssuer, "validityDays"},
		{v1alpha1.KindClusterIssuer, "reusePolicy"}, {v1alpha1.KindClusterIssuer, "purchaseLimit"}, {v1alpha1.KindClusterIssuer, "allowedOverrides"},
	} {
		l.apply(reshaped(t, func(kind string, version map[string]any) {
			propertiesOf(t, version, "status")["without-"+removed.field] = map[string]any{"type": "object"}
			if kind != removed.kind {
				return
			}
			delete(propertiesOf(t, version, "spec"), removed.field)
			spec := propertiesOf(t, version)["spec"].(map[string]any)
			if rules, ok := spec["x-kubernetes-validations"].([]any); ok {
				spec["x-kubernetes-validations"] = slices.DeleteFunc(rules, func(rule any) bool {
					return strings.Contains(rule.(map[string]any)["rule"].(string), "self."+removed.field)
				})
			}
		}), "without-"+removed.field, true)
		for _, p := range l.purchases() {
			l.annotate(&p, "example.com/written-without", removed.field)
		}
		l.editBoth(func(i v1alpha1.Issuer, _ *v1alpha1.IssuerSpec) {
			i.SetAnnotations(map[string]string{"example.com/written-without": removed.field})
		})
		l.looked()
		l.waiting("waits without spec." + removed.field + " of " + removed.kind)
		if n := len(l.vendor.Purchases()); n != 2 {
			t.Fatalf("%d orders were placed without spec.%s of %s", n, removed.field, removed.kind)
		}
	}
	l.apply(shipped(t), "without-allowedOverrides", false)
	l.finish()
}
