// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every kind in this package; it is also the
// issuerRef.group that Certificates name.
const Group = "certmanager.regfish.com"

// The kinds that an issuerRef can name.
const (
	KindIssuer        = "RegfishIssuer"
	KindClusterIssuer = "RegfishClusterIssuer"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion,
			&RegfishIssuer{}, &RegfishIssuerList{},
			&RegfishClusterIssuer{}, &RegfishClusterIssuerList{},
			&RegfishOrder{}, &RegfishOrderList{},
			&RegfishPurchase{}, &RegfishPurchaseList{},
		)
		metav1.AddToGroupVersion(s, GroupVersion)
		return nil
	})

	// AddToScheme registers the kinds of this package.
	AddToScheme = schemeBuilder.AddToScheme
)
