// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// start fills a cache of the controller with requests, and with objects of the other kinds.
func start(t *testing.T, o Options, others ...client.Object) cache.Cache {
	t.Helper()
	return startNoted(t, o, &stores{}, others...)
}

// startNoted is start with stores that are known.
func startNoted(t *testing.T, o Options, kept *stores, others ...client.Object) cache.Cache {
	t.Helper()
	options, err := cacheOptions(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	kept.note(&options)
	c, err := cache.New(o.REST, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(others) > 0 {
		if err := controller.Index(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range append(others, &cmapi.CertificateRequest{}) {
		if _, err := c.GetInformer(t.Context(), kind, cache.BlockUntilSynced(false)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if !c.WaitForCacheSync(ctx) {
		t.Fatal("the cache is not filled")
	}
	return c
}

// Requests for other issuers are not kept in memory, and of ours only what is read. With
// the CustomResourceDefinition of a cert-manager before v1.20 the others are watched, and
// all but their names and issuers is dropped. Nothing else is read through the cache.
func TestCacheKeepsOurRequests(t *testing.T) {
	e := testenv.New(t)
	o := Options{REST: e.Config, LedgerNamespace: e.Namespace, Namespaces: []string{e.Namespace}}
	for _, group := range []string{v1alpha1.Group, "cert-manager.io", "example.com"} {
		cr := &cmapi.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "of-" + group, Labels: map[string]string{"team": "shop"}, Annotations: map[string]string{"note": "long"}},
			Spec:       cmapi.CertificateRequestSpec{Request: []byte("a signing request"), IssuerRef: cmmeta.IssuerReference{Group: group, Kind: "Issuer", Name: "regfish"}},
		}
		if err := e.Client.Create(t.Context(), cr); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, o)
	var all cmapi.CertificateRequestList
	if err := c.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 1 {
		t.Fatalf("%d requests are kept", len(all.Items))
	}
	kept := all.Items[0]
	if string(kept.Spec.Request) != "a signing request" || kept.Labels["team"] != "shop" || kept.ManagedFields != nil || kept.Spec.Username != "" || kept.Spec.Groups != nil {
		t.Errorf("%+v", kept)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: e.Namespace, Name: "any"}, &corev1.Secret{}); !errors.As(err, new(*cache.ErrResourceNotCached)) {
		t.Errorf("a read that nobody planned: %v", err)
	}

	definition := func(change func(version map[string]any)) func() {
		return func() {
			t.Helper()
			crd := &unstructured.Unstructured{}
			crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
			if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if err := e.Client.Get(context.Background(), client.ObjectKey{Name: "certificaterequests.cert-manager.io"}, crd); err != nil {
					return err
				}
				change(crd.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any))
				return e.Client.Update(context.Background(), crd)
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	served := func(want bool) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			if got, err := selectable(context.Background(), o); err != nil || got != want {
				return fmt.Errorf("requests are selected: %v, %w", got, err)
			}
			return nil
		})
	}
	var fields any
	definition(func(version map[string]any) {
		fields = version["selectableFields"]
		delete(version, "selectableFields")
	})()
	t.Cleanup(func() {
		definition(func(version map[string]any) { version["selectableFields"] = fields })()
		served(true)
	})
	served(false)
	if err := start(t, o).List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 3 {
		t.Fatalf("%d requests are kept without a selector", len(all.Items))
	}
	for _, cr := range all.Items {
		if ours := cr.Spec.IssuerRef.Group == v1alpha1.Group; ours != (len(cr.Spec.Request) > 0) || ours != (len(cr.Labels) > 0) {
			t.Errorf("%s: %+v", cr.Name, cr)
		}
	}
}

// What stands in memory for a certificate is enough to see that there is one.
func TestTrimKeepsWhatIsDecidedOn(t *testing.T) {
	cr := &cmapi.CertificateRequest{
		Spec: cmapi.CertificateRequestSpec{Request: []byte("csr"), IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group}},
		Status: cmapi.CertificateRequestStatus{Certificate: []byte("a long chain"), CA: []byte("a root"), Conditions: []cmapi.CertificateRequestCondition{
			{Type: cmapi.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue},
		}},
	}
	want := cr.DeepCopy()
	want.Spec.Request, want.Status.CA, want.Status.Certificate = nil, nil, handedOver
	got, err := trim(cr)
	if diff := cmp.Diff(any(want), got); diff != "" || err != nil {
		t.Errorf("(-want +got): %v\n%s", err, diff)
	}
	if purchase.ToServe(got.(*cmapi.CertificateRequest)) {
		t.Error("a request that has its certificate is to be served")
	}
	if got, err := trim("a tombstone"); got != "a tombstone" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
