// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// Indexes of the cache, beside purchase.IndexNames.
const (
	// OrdersByIssuer finds the orders that name an issuer, by its Ref.
	OrdersByIssuer = "issuer"
	// OrdersQueued finds the orders that have a place in the queue for an issuer's purchase
	// limit, by the issuer's Ref.
	OrdersQueued = "queued"
	// OrdersByPurchase finds the orders that show a purchase or wait for it.
	OrdersByPurchase = "status.purchaseRef.name"
	// PurchasesByRecord finds the purchases that want a validation record, by the
	// record's name.
	PurchasesByRecord = "status.dcv.records.name"
	// PurchasesByIssuer finds the purchases made with an issuer, by its Ref.
	PurchasesByIssuer = "spec.issuerRef"
)

// IssuerOf is the issuer that an order names.
func IssuerOf(o *v1alpha1.RegfishOrder) v1alpha1.IssuerRef {
	ref := v1alpha1.IssuerRef{Kind: o.Spec.IssuerRef.Kind, Name: o.Spec.IssuerRef.Name}
	if ref.Kind != v1alpha1.KindClusterIssuer {
		ref.Namespace = o.Namespace
	}
	return ref
}

// PurchaseShown is the name of the purchase that the order shows or waits for, empty if
// there is none. An order that failed, or whose request has its certificate, waits for
// nothing: what the purchase is reissued for after that is another order's, and a
// validation name is not kept for it.
func PurchaseShown(o *v1alpha1.RegfishOrder) string {
	if o.Status.PurchaseRef == nil || o.Status.State == v1alpha1.StateFailed || o.Status.State == v1alpha1.StateIssued {
		return ""
	}
	return o.Status.PurchaseRef.Name
}

// Wants reports whether the order shows what regfish says of a purchase, and thereby its
// records. One that only waits for a purchase of somebody else names it and sets nothing:
// if that kept a name for it, nobody would ever set the record there.
func Wants(o *v1alpha1.RegfishOrder) bool {
	return PurchaseShown(o) != "" && o.Status.Vendor != nil
}

// Wanted reports whether an order wants the purchase of that name. The reader is the cache,
// which has the index.
func Wanted(ctx context.Context, cache client.Reader, purchase string) (bool, error) {
	var orders v1alpha1.RegfishOrderList
	if err := cache.List(ctx, &orders, client.MatchingFields{OrdersByPurchase: purchase}, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list orders of %s: %w", purchase, err)
	}
	return slices.ContainsFunc(orders.Items, func(o v1alpha1.RegfishOrder) bool { return Wants(&o) }), nil
}

// Shows lets through that an order shows another purchase than before, or none any more:
// a purchase that nobody wants says so, and lets others have the names that it holds.
var Shows = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.RegfishOrder), e.ObjectNew.(*v1alpha1.RegfishOrder)
		return PurchaseShown(before) != PurchaseShown(after) || Wants(before) != Wants(after)
	},
}

// Index adds the indexes to the cache, for purchases in the namespace of the ledger and for
// orders in all: the controller's cache keeps no values for other reads by them. It is called
// once, before the cache starts.
func Index(ctx context.Context, cache client.FieldIndexer) error {
	for _, i := range []struct {
		object client.Object
		field  string
		values func(client.Object) []string
	}{
		{&v1alpha1.RegfishOrder{}, OrdersByIssuer, func(o client.Object) []string {
			return []string{IssuerOf(o.(*v1alpha1.RegfishOrder)).String()}
		}},
		{&v1alpha1.RegfishOrder{}, OrdersQueued, func(o client.Object) []string {
			if order := o.(*v1alpha1.RegfishOrder); purchase.InLine(order) {
				return []string{IssuerOf(order).String()}
			}
			return nil
		}},
		{&v1alpha1.RegfishOrder{}, OrdersByPurchase, func(o client.Object) []string {
			if name := PurchaseShown(o.(*v1alpha1.RegfishOrder)); name != "" {
				return []string{name}
			}
			return nil
		}},
		{&v1alpha1.RegfishPurchase{}, purchase.IndexNames, func(o client.Object) []string {
			p := o.(*v1alpha1.RegfishPurchase)
			return []string{purchase.NamesKey(append([]string{p.Spec.CommonName}, p.Spec.DNSNames...))}
		}},
		{&v1alpha1.RegfishPurchase{}, PurchasesByIssuer, func(o client.Object) []string {
			return []string{o.(*v1alpha1.RegfishPurchase).Spec.IssuerRef.String()}
		}},
		{&v1alpha1.RegfishPurchase{}, PurchasesByRecord, func(o client.Object) []string {
			p := o.(*v1alpha1.RegfishPurchase)
			if p.Status.DCV == nil || purchase.Resting(p) {
				return nil
			}
			var names []string
			for _, r := range p.Status.DCV.Records {
				names = append(names, r.Name)
			}
			return names
		}},
	} {
		if err := cache.IndexField(ctx, i.object, i.field, i.values); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.object, i.field, err)
		}
	}
	return nil
}
