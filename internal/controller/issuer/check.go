// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxListed is the most SKUs or organizations that a message lists.
const maxListed = 10

// Findings are what looking at an issuer brought to light. Problem is nil for an
// issuer that can be used.
type Findings struct {
	Problem *credentials.Problem
	// Product and Wildcard are the catalogue's entries of sku and wildcardSKU.
	Product, Wildcard *v1alpha1.Product
}

// Vendor is what the check needs of the API client.
type Vendor interface {
	Products(ctx context.Context) ([]regfish.Product, error)
	// MayList returns nil if the key may list the certificates of the account.
	MayList(ctx context.Context) error
	Organizations(ctx context.Context) ([]regfish.Organization, error)
}

// check asks the vendor, cheaply, whether the key is good, may list, and has the
// products and the organization. An error is the API server's and says nothing about the issuer.
func check(ctx context.Context, connect func(context.Context, v1alpha1.Issuer) (Vendor, error), issuer v1alpha1.Issuer) (Findings, error) {
	if c := meta.FindStatusCondition(issuer.GetStatus().Conditions, v1alpha1.ConditionReady); ready(issuer) && c.ObservedGeneration == issuer.GetGeneration() {
		// Orders are placed with it in the meantime, and go before another look at it: after
		// a change of the leader they have waited long enough.
		ctx = poller.AfterOrders(ctx)
	}
	vendor, err := connect(ctx, issuer)
	var problem *credentials.Problem
	switch {
	case errors.As(err, &problem):
		return Findings{Problem: problem}, nil
	case err != nil:
		return Findings{}, err
	}
	products, err := vendor.Products(ctx)
	if err != nil {
		return found(issuer, err, "read the product catalogue")
	}
	if err := vendor.MayList(ctx); err != nil {
		return found(issuer, err, "list certificates")
	}
	f := inCatalogue(issuer, products)
	if f.Problem != nil {
		return f, nil
	}
	f.Problem, err = organization(ctx, vendor, issuer, f)
	return f, err
}

// found is what an error of the vendor says about the issuer: nothing, if it was not asked.
func found(issuer v1alpha1.Issuer, err error, doing string) (Findings, error) {
	if regfish.KindOf(err) == regfish.KindNotNow {
		return Findings{}, err
	}
	return Findings{Problem: vendorProblem(issuer, err, doing)}, nil
}

// vendorProblem turns an answer of the vendor into what the issuer's owner has to
// do.
func vendorProblem(issuer v1alpha1.Issuer, err error, doing string) *credentials.Problem {
	if problem := credentials.KeyProblem(issuer, err, doing); problem != nil {
		return problem
	}
	return &credentials.Problem{Reason: v1alpha1.ReasonEndpointUnreachable, Message: fmt.Sprintf("spec.url %s could not be asked: %v; it is tried again every minute.", issuer.GetSpec().URL, err)}
}

// inCatalogue finds the issuer's products.
func inCatalogue(issuer v1alpha1.Issuer, catalogue []regfish.Product) Findings {
	var f Findings
	spec, known := issuer.GetSpec(), issuer.GetStatus()
	if f.Product, f.Problem = product("spec.sku", spec.SKU, known.Product, catalogue); f.Problem != nil || spec.WildcardSKU == "" {
		return f
	}
	f.Wildcard, f.Problem = product("spec.wildcardSKU", spec.WildcardSKU, known.WildcardProduct, catalogue)
	return f
}

// product finds a SKU in the catalogue, without regard to case. before is what the
// catalogue said at the last look.
func product(field, sku string, before *v1alpha1.Product, catalogue []regfish.Product) (*v1alpha1.Product, *credentials.Problem) {
	var known []string
	for _, p := range catalogue {
		if !strings.EqualFold(p.SKU, sku) {
			known = append(known, regfish.Sanitise(p.SKU, 64))
			continue
		}
		found := &v1alpha1.Product{
			SKU: regfish.Sanitise(p.SKU, 64), Name: regfish.Sanitise(p.Name, 256),
			ValidationLevel: regfish.Sanitise(p.Level(), 64), OrganizationRequired: p.OrganizationRequired,
		}
		if before != nil && before.SKU == found.SKU && found.ValidationLevel == "" {
			// An entry without its level was left incomplete. What is bought and for which
			// organization must not change with that.
			found.ValidationLevel, found.OrganizationRequired = before.ValidationLevel, before.OrganizationRequired || found.OrganizationRequired
		}
		return found, nil
	}
	slices.Sort(known)
	if len(known) > maxListed {
		known = append(known[:maxListed], "...")
	}
	return nil, &credentials.Problem{Reason: v1alpha1.ReasonProductUnknown, Message: fmt.Sprintf(
		"%s %q is not in the catalogue of this account; it has: %s.", field, sku, strings.Join(known, ", "))}
}

// organization returns what is wrong with the organization of an issuer of products that
// are ordered for one. An order for an organization that cannot be used would be refused,
// or stand at regfish until somebody completes it there.
func organization(ctx context.Context, vendor Vendor, issuer v1alpha1.Issuer, f Findings) (*credentials.Problem, error) {
	named, field := issuer.GetSpec().OrganizationID, ""
	for _, p := range []struct {
		field   string
		product *v1alpha1.Product
	}{{"spec.sku", f.Product}, {"spec.wildcardSKU", f.Wildcard}} {
		if p.product != nil && (p.product.OrganizationRequired || (named != "" && purchase.TakesOrganization(*p.product))) {
			field = p.field + " " + p.product.SKU
			break
		}
	}
	if field == "" {
		return nil, nil
	}
	all, err := vendor.Organizations(ctx)
	if err != nil {
		f, err := found(issuer, err, "list organizations")
		return f.Problem, err
	}
	var usable []string
	wrong := fmt.Sprintf("%s can only be ordered for an organization, and spec.organizationID names none", field)
	if named != "" {
		wrong = fmt.Sprintf("spec.organizationID %s is no organization of this account", named)
	}
	for _, o := range all {
		switch {
		case o.UsableForOrdering && o.ID == named:
			return nil, nil
		case o.UsableForOrdering:
			usable = append(usable, fmt.Sprintf("%s (%s)", regfish.Sanitise(o.ID, 64), regfish.Sanitise(o.Name, 64)))
		case o.ID == named:
			wrong = fmt.Sprintf("regfish does not accept orders for the organization %s of spec.organizationID yet (its status is %q): complete it in the regfish console", named, regfish.Sanitise(o.Status, 32))
		}
	}
	if len(usable) == 0 {
		return &credentials.Problem{Reason: v1alpha1.ReasonOrganizationRequired, Message: wrong + ". The account has no organization that can be ordered for; create one in the regfish console and name it in spec.organizationID."}, nil
	}
	if len(usable) > maxListed {
		usable = append(usable[:maxListed], "...")
	}
	return &credentials.Problem{Reason: v1alpha1.ReasonOrganizationRequired, Message: fmt.Sprintf("%s. These can be named in spec.organizationID: %s.", wrong, strings.Join(usable, ", "))}, nil
}
