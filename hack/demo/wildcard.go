// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// wildcard shows that what only the owner of the issuer can add makes a request wait
// and not fail, and that it goes on by itself once that was added.
func wildcard(ctx context.Context, s *stage) error {
	if err := s.install(ctx, knownKey, "sku: RapidSSL"); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.shell.write("wildcard.yaml", wildcardManifest); err != nil {
		return err
	}
	if err := s.ask(ctx, "wildcard.yaml"); err != nil {
		return err
	}

	s.heading("The request waits and says who has to add what; nothing is bought")
	err := s.shell.run(ctx,
		"kubectl wait --for=create regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Placed\")].reason}'=WildcardSKURequired regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=Pending certificaterequest/www-1 -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get certificaterequests -n shop -o wide",
	)
	if err := s.checked("wildcard", "the request waits for the issuer's owner, and says so", err); err != nil {
		return err
	}
	if err := s.checkLedger(ctx, 0); err != nil {
		return err
	}

	s.heading("The owner of the issuer names a product for wildcards")
	err = s.shell.run(ctx,
		"kubectl patch rfci regfish --type=merge -p '{\"spec\":{\"wildcardSKU\":\"RapidSSLWildcard\"}}'",
		"kubectl wait --for=jsonpath='{.status.wildcardProduct.sku}'=RapidSSLWildcard rfci/regfish --timeout="+patience,
		"kubectl get rfci -o wide",
	)
	if err != nil {
		return &failure{"wildcard", err}
	}
	if err := s.placed(ctx); err != nil {
		return err
	}
	return s.seeItIssued(ctx)
}
