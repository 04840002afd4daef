// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxListed is the most SKUs that a message lists.
const maxListed = 10

// Findings are what looking at an issuer brought to light. Problem is nil for an
// issuer that can be used.
type Findings struct {
	Problem *credentials.Problem
	Product *v1alpha1.Product
}

// Vendor is what the check needs of the API client.
type Vendor interface {
	Products(ctx context.Context) ([]regfish.Product, error)
	Certificates(ctx context.Context, each func(regfish.Certificate) error) error
}

// errFirstRow ends the listing of the account: that it begins shows what the
// check wants to know, and an account may be large.
var errFirstRow = errors.New("one row is enough")

// check asks the vendor, cheaply, whether the key is good, may list, and has the
// product. An error is the API server's and says nothing about the issuer.
func check(ctx context.Context, connect func(context.Context, v1alpha1.Issuer) (Vendor, error), issuer v1alpha1.Issuer) (Findings, error) {
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
		return Findings{Problem: vendorProblem(issuer, err, "read the product catalogue")}, nil
	}
	err = vendor.Certificates(ctx, func(regfish.Certificate) error { return errFirstRow })
	if err != nil && !errors.Is(err, errFirstRow) {
		return Findings{Problem: vendorProblem(issuer, err, "list certificates")}, nil
	}
	return product(issuer.GetSpec().SKU, products), nil
}

// vendorProblem turns an answer of the vendor into what the issuer's owner has to
// do.
func vendorProblem(issuer v1alpha1.Issuer, err error, doing string) *credentials.Problem {
	if problem := credentials.KeyProblem(issuer, err, doing); problem != nil {
		return problem
	}
	return &credentials.Problem{Reason: v1alpha1.ReasonEndpointUnreachable, Message: fmt.Sprintf("spec.url %s could not be asked: %v; it is tried again every minute.", issuer.GetSpec().URL, err)}
}

// product finds the sku in the catalogue, without regard to case.
func product(sku string, catalogue []regfish.Product) Findings {
	var known []string
	for _, p := range catalogue {
		if !strings.EqualFold(p.SKU, sku) {
			known = append(known, regfish.Sanitise(p.SKU, 64))
			continue
		}
		level := p.ValidationLevel
		if level == "" {
			level = p.Type
		}
		found := &v1alpha1.Product{SKU: regfish.Sanitise(p.SKU, 64), Name: regfish.Sanitise(p.Name, 256), ValidationLevel: regfish.Sanitise(strings.ToLower(level), 64)}
		if p.OrganizationRequired {
			return Findings{Product: found, Problem: &credentials.Problem{Reason: v1alpha1.ReasonOrganizationRequired, Message: fmt.Sprintf(
				"spec.sku %s can only be ordered for an organization, which this version cannot name; choose a domain-validated product.", found.SKU)}}
		}
		return Findings{Product: found}
	}
	slices.Sort(known)
	if len(known) > maxListed {
		known = append(known[:maxListed], "...")
	}
	return Findings{Problem: &credentials.Problem{Reason: v1alpha1.ReasonProductUnknown, Message: fmt.Sprintf(
		"spec.sku %q is not in the catalogue of this account; it has: %s.", sku, strings.Join(known, ", "))}}
}
