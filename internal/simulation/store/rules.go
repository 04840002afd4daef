// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// withStatus are the kinds whose status is written apart from the rest.
var withStatus = map[string]bool{
	"CertificateRequest": true, "Certificate": true, "RegfishIssuer": true, "RegfishClusterIssuer": true, "RegfishOrder": true, "RegfishPurchase": true, "Pod": true, "Namespace": true,
}

// selectable are the fields that the CRDs let a list be selected by.
var selectable = map[string]map[string]func(client.Object) string{
	"RegfishPurchase": {
		"spec.namesHash":                   func(o client.Object) string { return purchase(o).NamesHash },
		"spec.beneficiary.namespace":       func(o client.Object) string { return purchase(o).Beneficiary.Namespace },
		"spec.beneficiary.certificateName": func(o client.Object) string { return purchase(o).Beneficiary.CertificateName },
		"spec.certificateID":               func(o client.Object) string { return purchase(o).CertificateID },
		"spec.action":                      func(o client.Object) string { return purchase(o).Action },
	},
}

func purchase(o client.Object) *v1alpha1.PurchaseSpec { return &o.(*v1alpha1.RegfishPurchase).Spec }

// rules are those of the CRDs about changes, without those about values.
var rules = map[string]func(old, changed client.Object) field.ErrorList{
	"RegfishOrder": func(old, changed client.Object) field.ErrorList {
		if !equality.Semantic.DeepEqual(specOf(old), specOf(changed)) {
			return field.ErrorList{field.Invalid(field.NewPath("spec"), nil, "spec is immutable")}
		}
		return nil
	},
	"RegfishPurchase": func(old, changed client.Object) field.ErrorList {
		if message := lasting(purchase(old), purchase(changed)); message != "" {
			return field.ErrorList{field.Invalid(field.NewPath("spec"), nil, message)}
		}
		return nil
	},
}

// lasting returns what of a record was changed that cannot be.
func lasting(old, changed *v1alpha1.PurchaseSpec) string {
	a, b := *old, *changed
	for _, s := range []*v1alpha1.PurchaseSpec{&a, &b} {
		s.Attempts, s.Reissues, s.Successors, s.Takeovers, s.CertificateID, s.AbandonTime = nil, nil, nil, nil, "", nil
	}
	switch {
	case !equality.Semantic.DeepEqual(a, b):
		return "a purchase is immutable but for what became of it"
	case old.CertificateID != "" && old.CertificateID != changed.CertificateID:
		return "certificateID is set once"
	case old.AbandonTime != nil && !equality.Semantic.DeepEqual(old.AbandonTime, changed.AbandonTime):
		return "abandonTime is set once"
	case !kept(old.Successors, changed.Successors, func(s v1alpha1.Successor) int32 { return s.Number }, sameSuccessor):
		return "a successor only gives way to a renewal"
	case !kept(old.Takeovers, changed.Takeovers, func(t v1alpha1.Takeover) int32 { return t.Number }, same[v1alpha1.Takeover]):
		return "a takeover is immutable"
	case !kept(old.Attempts, changed.Attempts, func(a v1alpha1.Attempt) int32 { return a.Number }, sameAttempt):
		return "an attempt is immutable but for what became of it"
	case !kept(old.Reissues, changed.Reissues, func(r v1alpha1.Reissue) int32 { return r.Number }, sameReissue):
		return "a reissue is immutable but for what became of it"
	case slices.ContainsFunc(changed.Reissues, func(r v1alpha1.Reissue) bool { return int(r.Number) > len(changed.Reissues) }):
		return "reissues are numbered from 1 without gaps"
	}
	return ""
}

// kept reports whether every entry of old is in changed, and the same there.
func kept[T any](old, changed []T, number func(T) int32, same func(old, changed T) bool) bool {
	return !slices.ContainsFunc(old, func(o T) bool {
		return !slices.ContainsFunc(changed, func(c T) bool { return number(c) == number(o) && same(o, c) })
	})
}

func same[T any](a, b T) bool { return equality.Semantic.DeepEqual(a, b) }

func sameSuccessor(old, changed v1alpha1.Successor) bool {
	return changed.Action == v1alpha1.ActionRenew || same(old, changed)
}

// once reports whether what is set is still the same.
func once(old, changed any, set bool) bool { return !set || equality.Semantic.DeepEqual(old, changed) }

func sameReissue(old, changed v1alpha1.Reissue) bool {
	a, b := old, changed
	for _, s := range []*v1alpha1.Reissue{&a, &b} {
		s.Outcome, s.Resolution, s.End = nil, nil, nil
	}
	return equality.Semantic.DeepEqual(a, b) &&
		once(old.Outcome, changed.Outcome, old.Outcome != nil) &&
		once(old.Resolution, changed.Resolution, old.Resolution != nil) &&
		once(old.End, changed.End, old.End != nil)
}

func sameAttempt(old, changed v1alpha1.Attempt) bool {
	a, b := old, changed
	for _, s := range []*v1alpha1.Attempt{&a, &b} {
		s.Outcome, s.Resolution, s.ReleaseTime, s.DisprovedIDs = nil, nil, nil, nil
	}
	return equality.Semantic.DeepEqual(a, b) &&
		once(old.Outcome, changed.Outcome, old.Outcome != nil) &&
		once(old.Resolution, changed.Resolution, old.Resolution != nil) &&
		once(old.ReleaseTime, changed.ReleaseTime, old.ReleaseTime != nil) &&
		!slices.ContainsFunc(old.DisprovedIDs, func(id string) bool { return !slices.Contains(changed.DisprovedIDs, id) })
}
