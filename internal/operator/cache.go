// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// issuerGroup is the field by which the API server selects the requests of one group of
// issuers, where cert-manager's CustomResourceDefinition declares it (v1.20 and later).
const issuerGroup = "spec.issuerRef.group"

// cacheOptions says what is watched, and what of it is kept in memory. Secrets are not
// among it: those that an issuer names are read, and nothing else of them.
func cacheOptions(ctx context.Context, o Options) (cache.Options, error) {
	words := newWords()
	requests := cache.ByObject{Transform: words.after(trim)}
	selectable, err := selectable(ctx, o)
	if err != nil {
		return cache.Options{}, err
	}
	if selectable {
		requests.Field = fields.OneTermEqualSelector(issuerGroup, v1alpha1.Group)
	}
	log.FromContext(ctx).Info("watching the certificate requests", "onlyOurs", selectable)
	options := cache.Options{
		Scheme: Scheme(),
		// Nobody reads who wrote which field, and it is a third of an object.
		DefaultTransform: words.after(cache.TransformStripManagedFields()),
		// A read that nobody planned is an error, not a silent watch of everything.
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.RegfishPurchase{}: {Namespaces: map[string]cache.Config{o.LedgerNamespace: {}}},
			&cmapi.CertificateRequest{}: requests,
		},
	}
	if len(o.Namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range o.Namespaces {
			options.DefaultNamespaces[ns] = cache.Config{}
		}
	}
	if err := lists(&options, o.REST); err != nil {
		return cache.Options{}, err
	}
	return options, nil
}

// selectable asks the API server whether it selects requests by the group of their
// issuer.
func selectable(ctx context.Context, o Options) (bool, error) {
	live, err := client.New(o.REST, client.Options{Scheme: Scheme()})
	if err != nil {
		return false, fmt.Errorf("create client: %w", err)
	}
	options := []client.ListOption{client.MatchingFields{issuerGroup: v1alpha1.Group}, client.Limit(1)}
	if len(o.Namespaces) > 0 {
		options = append(options, client.InNamespace(o.Namespaces[0]))
	}
	err = live.List(ctx, &cmapi.CertificateRequestList{}, options...)
	if apierrors.IsBadRequest(err) {
		// A cert-manager before v1.20, or a Kubernetes that knows no such fields.
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list certificate requests: %w", err)
	}
	return true, nil
}

// handedOver stands in memory for a certificate that a request was given: that there is
// one is all that is asked of the cache, and a chain is the largest part of a request.
var handedOver = []byte("handed over")

// trim keeps of a request what is read from the cache. A request is only ever patched,
// so that nothing of what is missing here is missing at the API server.
func trim(o any) (any, error) {
	cr, ok := o.(*cmapi.CertificateRequest)
	if !ok {
		return o, nil
	}
	cr.ManagedFields = nil
	cr.Spec.Username, cr.Spec.UID, cr.Spec.Groups, cr.Spec.Extra = "", "", nil, nil
	cr.Status.CA = nil
	if len(cr.Status.Certificate) > 0 {
		cr.Spec.Request, cr.Status.Certificate = nil, handedOver
	}
	// Nothing else is read of them, and no two requests have the same.
	named, ok := cr.Annotations[v1alpha1.AnnotationSourceCertificateID]
	if cr.Annotations = nil; ok {
		cr.Annotations = map[string]string{v1alpha1.AnnotationSourceCertificateID: named}
	}
	if cr.Spec.IssuerRef.Group != v1alpha1.Group {
		cr.Labels, cr.Annotations, cr.OwnerReferences = nil, nil, nil
		cr.Spec = cmapi.CertificateRequestSpec{IssuerRef: cr.Spec.IssuerRef}
		cr.Status = cmapi.CertificateRequestStatus{}
	}
	return cr, nil
}
