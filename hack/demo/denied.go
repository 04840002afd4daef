// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// denyPatch is what `cmctl deny www-1` writes.
const denyPatch = `{"status":{"conditions":[{"type":"Denied","status":"True","reason":"cmctl","message":"not in the budget"}]}}
`

// denied shows that a request nobody approved costs nothing.
func denied(ctx context.Context, s *stage) error {
	if err := s.install(ctx, apiKey); err != nil {
		return err
	}
	if err := s.shell.run(ctx,
		"kubectl wait --for=condition=Ready rfci/regfish --timeout=30s",
		"kubectl get rfci -o wide",
	); err != nil {
		return err
	}
	if err := s.ask(ctx); err != nil {
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
		"kubectl get certificaterequests -n shop -o wide",
		"kubectl describe certificate www -n shop | sed -n '/^Status:/,$p'",
		"kubectl get regfishorders -n shop",
	); err != nil {
		return err
	}
	return s.checkLedger(ctx, 0)
}
