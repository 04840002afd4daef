// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// What there is a series for each of fills the memory of whoever collects it.
func TestLabelsAreFew(t *testing.T) {
	allowed := []string{"namespace", issuerKind, issuerName, issuerNamespace, "sku", "action", "state", "reason", "endpoint", "code"}
	if len(described) < 10 {
		t.Fatalf("%d metrics", len(described))
	}
	for _, d := range described {
		for _, l := range d.labels {
			if !slices.Contains(allowed, l) {
				t.Errorf("%s has the label %s", d.name, l)
			}
		}
	}
}

func TestStandingIsWhatTheCacheHas(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	since := metav1.NewTime(time.Now().Add(-time.Hour))
	purchase := func(name string, state v1alpha1.State, conditions ...metav1.Condition) *v1alpha1.RegfishPurchase {
		p := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: "ledger", Name: name}}
		p.Spec.Beneficiary.Namespace, p.Spec.IssuerRef = "shop", v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}
		p.Spec.SKU, p.Spec.Action = "RapidSSL", v1alpha1.ActionNew
		p.Status.State, p.Status.Conditions = state, conditions
		return p
	}
	order := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www"}}
	order.Spec.IssuerRef.Kind, order.Spec.IssuerRef.Name, order.Status.State = v1alpha1.KindIssuer, "own", v1alpha1.StateWaiting
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "regfish"}}
	next := metav1.Unix(1900000000, 0)
	issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Queued: 7, NextSlotTime: &next}
	From(Source{
		Issuers: fake.NewClientBuilder().WithScheme(scheme).WithObjects(issuer).Build(),
		Orders:  slices.Values([]*v1alpha1.RegfishOrder{order}),
		Purchases: slices.Values([]*v1alpha1.RegfishPurchase{
			purchase("a", v1alpha1.StateProcessing), purchase("b", v1alpha1.StateProcessing),
			purchase("c", v1alpha1.StateHeld, metav1.Condition{Type: v1alpha1.ConditionHeld, Status: "True", Reason: v1alpha1.ReasonAmbiguousOutcome}),
			purchase("d", v1alpha1.StateActionRequired, metav1.Condition{Type: v1alpha1.ConditionActionRequired, Status: "True", Reason: "OrganizationRequired", LastTransitionTime: since}),
		}),
	})
	t.Cleanup(func() { source.Store(nil) })
	if got := ageOf(t); got < 3599 || got > 3700 {
		t.Errorf("somebody has had to act for %f s", got)
	}
	const labels = `issuer_kind="RegfishClusterIssuer",issuer_name="regfish",issuer_namespace="",namespace="shop"`
	for name, want := range map[string]string{
		"regfish_orders": `regfish_orders{issuer_kind="RegfishIssuer",issuer_name="own",issuer_namespace="shop",namespace="shop",state="Waiting"} 1`,
		"regfish_purchases": `regfish_purchases{action="New",` + labels + `,sku="RapidSSL",state="ActionRequired"} 1
regfish_purchases{action="New",` + labels + `,sku="RapidSSL",state="Held"} 1
regfish_purchases{action="New",` + labels + `,sku="RapidSSL",state="Processing"} 2`,
		"regfish_held_purchases":                       `regfish_held_purchases{` + labels + `,reason="AmbiguousOutcome"} 1`,
		"regfish_action_required_purchases":            `regfish_action_required_purchases{` + labels + `,reason="OrganizationRequired"} 1`,
		"regfish_purchase_queue_length":                `regfish_purchase_queue_length{issuer_kind="RegfishClusterIssuer",issuer_name="regfish",issuer_namespace=""} 7`,
		"regfish_purchase_next_slot_timestamp_seconds": `regfish_purchase_next_slot_timestamp_seconds{issuer_kind="RegfishClusterIssuer",issuer_name="regfish",issuer_namespace=""} 1.9e+09`,
	} {
		i := slices.IndexFunc(described, func(d description) bool { return d.name == name })
		text := "# HELP " + name + " " + described[i].help + "\n# TYPE " + name + " gauge\n" + want + "\n"
		if err := testutil.CollectAndCompare(collector{}, strings.NewReader(text), name); err != nil {
			t.Error(err)
		}
	}
}

func ageOf(t *testing.T) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "regfish_action_required_age_seconds" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no age")
	return 0
}

func TestCalledByCode(t *testing.T) {
	calls.Reset()
	for _, err := range []error{
		nil, errors.New("a caller's own"), (*regfish.Error)(nil), &regfish.Error{Kind: regfish.KindTransport},
		&regfish.Error{Kind: regfish.KindTooMany, Status: 429},
	} {
		Called("https://api.example", err)
	}
	got := map[string]float64{}
	for _, code := range []string{"200", "none", "429"} {
		got[code] = testutil.ToFloat64(calls.WithLabelValues("https://api.example", code))
	}
	if diff := cmp.Diff(map[string]float64{"200": 3, "none": 1, "429": 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
