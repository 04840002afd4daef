// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// names of objects.
func names[T client.Object](s *stores) (found []string) {
	for o := range all[T](s) {
		found = append(found, o.GetNamespace()+"/"+o.GetName())
	}
	slices.Sort(found)
	return found
}

// All that the cache has of a kind is found, in each namespace that is served, and nothing of
// another kind or another ledger.
func TestStoresHaveWhatTheCacheHas(t *testing.T) {
	e := testenv.New(t)
	elsewhere := testenv.Namespace(t, e.Client)
	var orders, purchases []string
	for _, ns := range []string{e.Namespace, elsewhere} {
		o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "www"}, Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: "www", UID: "r1"},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindIssuer, Name: "regfish"},
		}}
		p := purchase.New(purchase.Want{
			Endpoint: "https://api.example", Request: &pki.Request{DNSNames: []string{"www.example.com"}, CommonName: "www.example.com", PEM: testenv.CSR(t, testenv.ECDSAKey(t), "www.example.com")},
			Issuer: v1alpha1.IssuerRef{Kind: v1alpha1.KindIssuer, Namespace: ns, Name: "regfish"}, SKU: "RapidSSL", ValidityDays: 199, DCVMethod: v1alpha1.DCVMethodCNAME,
			Beneficiary: v1alpha1.Beneficiary{Namespace: ns, CertificateName: "www", RequestName: "www", RequestUID: "r1"},
		}, ns, 1)
		for _, object := range []client.Object{o, p} {
			if err := e.Client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
		orders, purchases = append(orders, ns+"/www"), append(purchases, ns+"/"+p.Name)
	}
	slices.Sort(orders)
	kept := &stores{}
	startNoted(t, Options{REST: e.Config, LedgerNamespace: e.Namespace, Namespaces: []string{e.Namespace, elsewhere}}, kept, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{})
	if diff := cmp.Diff(orders, names[*v1alpha1.RegfishOrder](kept)); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(purchases[:1], names[*v1alpha1.RegfishPurchase](kept)); diff != "" {
		t.Errorf("purchases (-want +got):\n%s", diff)
	}
}

// A part of all would be shown as if it were all.
func TestStoresShowNothingBeforeTheyAreFilled(t *testing.T) {
	kept, options := &stores{}, cache.Options{NewInformer: toolscache.NewSharedIndexInformer}
	kept.note(&options)
	informer := options.NewInformer(&toolscache.ListWatch{}, runtime.Object(&v1alpha1.RegfishOrder{}), time.Hour, toolscache.Indexers{})
	if err := informer.GetStore().Add(&v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www"}}); err != nil {
		t.Fatal(err)
	}
	if found := names[*v1alpha1.RegfishOrder](kept); len(found) > 0 {
		t.Errorf("%v", found)
	}
}
