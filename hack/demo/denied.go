// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// denyPatch is what `cmctl deny www-1` writes.
const denyPatch = `{"status":{"conditions":[{"type":"Denied","status":"True","reason":"cmctl","message":"not in the budget"}]}}
`

// denied shows that a request nobody approved costs nothing.
func denied(ctx context.Context, s *stage) error {
	if err := s.install(ctx, knownKey, "sku: RapidSSL"); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx, sample); err != nil {
		return err
	}

	s.heading("Nobody has approved the request, so nothing happens")
	if err := s.shell.run(ctx,
		"kubectl wait --for=create certificaterequest/www-1 -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
	); err != nil {
		return err
	}

	s.heading("A person denies it, as `cmctl deny www-1` does")
	if err := s.shell.write("deny.json", denyPatch); err != nil {
		return err
	}
	if err := s.shell.run(ctx,
		"cat deny.json",
		"kubectl patch certificaterequest www-1 -n shop --subresource=status --type=merge --patch-file=deny.json",
	); err != nil {
		return err
	}
	err := s.shell.run(ctx, "kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=Denied certificaterequest/www-1 -n shop --timeout="+patience)
	if err != nil {
		return &failure{"denied", err}
	}
	if err := s.shell.run(ctx,
		"kubectl wait --for=condition=Issuing=false certificate/www -n shop --timeout="+patience,
		"kubectl get certificaterequests -n shop -o wide",
		"kubectl events --for certificate/www -n shop",
		"kubectl get regfishorders -n shop",
	); err != nil {
		return err
	}
	var orders v1alpha1.RegfishOrderList
	if err := s.client.List(ctx, &orders); err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	if len(orders.Items) > 0 {
		err = fmt.Errorf("there are %d orders for a request that was never approved", len(orders.Items))
	}
	if err := s.checked("denied", "the request is answered for good, and no order was made for it", err); err != nil {
		return err
	}

	s.heading("Whoever pays looks at the ledger")
	return s.checkLedger(ctx, 0)
}
