// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
)

// connect connects to the account that the order of p was sent to, and returns the
// issuer whose key is used. The key that the order was sent with is looked for first in
// the issuer of p and then in all that are Ready: what was paid for is looked for also
// while its issuer or Secret is gone. Without that key the one that the issuer of p has
// now is used, which may be a newer one of the same account. The gap is why there is
// nothing to connect with.
func (r *Resolver) connect(ctx context.Context, p *v1alpha1.RegfishPurchase) (_ Vendor, _ v1alpha1.Issuer, gap string, _ error) {
	sent := lastAttempt(p)
	if a := lastUnresolved(p); a != nil {
		sent = a
	}
	fingerprint := sent.KeyFingerprint
	own, issuer, gap, err := r.connectOwn(ctx, p)
	if err != nil {
		return nil, nil, "", err
	}
	if own != nil && own.Fingerprint() == fingerprint {
		return own, issuer, "", nil
	}
	others, err := r.ready(ctx, p.Spec.Endpoint)
	if err != nil {
		return nil, nil, "", err
	}
	for _, other := range others {
		vendor, err := r.Spender.Connect(ctx, other)
		var problem *credentials.Problem
		switch {
		case errors.As(err, &problem):
		case err != nil:
			return nil, nil, "", err
		case vendor.Fingerprint() == fingerprint:
			return vendor, other, "", nil
		}
	}
	return own, issuer, gap, nil
}

// connectOwn connects with the key that the issuer of p has now.
func (r *Resolver) connectOwn(ctx context.Context, p *v1alpha1.RegfishPurchase) (_ Vendor, _ v1alpha1.Issuer, gap string, _ error) {
	issuer, err := LookUpIssuer(ctx, r.Cache, p.Spec.IssuerRef)
	if err != nil {
		return nil, nil, "", err
	}
	if issuer == nil {
		return nil, nil, fmt.Sprintf("there is no %s", p.Spec.IssuerRef), nil
	}
	if endpoint, err := r.Spender.Endpoint(issuer); err != nil || endpoint != p.Spec.Endpoint {
		// A key must not go to another host than its own.
		return nil, issuer, fmt.Sprintf("spec.url of %s is not %s, where the order was sent", p.Spec.IssuerRef, p.Spec.Endpoint), nil //nolint:nilerr // whoever reads the purchase has to change the url
	}
	vendor, err := r.Spender.Connect(ctx, issuer)
	var problem *credentials.Problem
	if errors.As(err, &problem) {
		return nil, issuer, fmt.Sprintf("%s cannot be used: %s", p.Spec.IssuerRef, problem.Message), nil
	}
	return vendor, issuer, "", err
}

// ready returns the issuers that are Ready and of the endpoint.
func (r *Resolver) ready(ctx context.Context, endpoint string) ([]v1alpha1.Issuer, error) {
	var all []v1alpha1.Issuer
	var clusterWide v1alpha1.RegfishClusterIssuerList
	if err := r.Cache.List(ctx, &clusterWide); err != nil {
		return nil, fmt.Errorf("list issuers: %w", err)
	}
	for i := range clusterWide.Items {
		all = append(all, &clusterWide.Items[i])
	}
	var namespaced v1alpha1.RegfishIssuerList
	if err := r.Cache.List(ctx, &namespaced, client.InNamespace("")); err != nil {
		return nil, fmt.Errorf("list issuers: %w", err)
	}
	for i := range namespaced.Items {
		all = append(all, &namespaced.Items[i])
	}
	var found []v1alpha1.Issuer
	for _, issuer := range all {
		at, err := r.Spender.Endpoint(issuer)
		if err == nil && at == endpoint && meta.IsStatusConditionTrue(issuer.GetStatus().Conditions, v1alpha1.ConditionReady) {
			found = append(found, issuer)
		}
	}
	return found, nil
}
