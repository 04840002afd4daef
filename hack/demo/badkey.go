// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// badKey shows that a wrong key costs nothing, that everybody is told, and that
// the right one gets everything going.
func badKey(ctx context.Context, s *stage) error {
	if err := s.install(ctx, "a-key-that-nobody-knows", "sku: RapidSSL"); err != nil {
		return err
	}
	err := s.shell.run(ctx, "kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=KeyRejected rfci/regfish --timeout="+patience)
	if err != nil {
		return &failure{"key", err}
	}
	if err := s.shell.run(ctx, "kubectl get rfci -o wide"); err != nil {
		return err
	}
	if err := s.ask(ctx, sample); err != nil {
		return err
	}

	s.heading("The request waits and repeats what is wrong; nothing is bought")
	err = s.shell.run(ctx,
		"kubectl wait --for=create regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.state}'=Queued regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=Pending certificaterequest/www-1 -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get certificaterequests -n shop -o wide",
	)
	if err := s.checked("key", "the issuer is not Ready, and the request waits and says why", err); err != nil {
		return err
	}

	s.heading("Whoever pays looks at the ledger")
	if err := s.checkLedger(ctx, 0); err != nil {
		return err
	}

	s.heading("Whoever runs the cluster puts the right key into the Secret")
	if err := s.shell.write("api-key", knownKey+"\n"); err != nil {
		return err
	}
	if err := s.shell.run(ctx,
		"kubectl create secret generic regfish-api -n regfish-issuer --from-file=api-key --dry-run=client -o yaml | kubectl replace -f -",
		"kubectl annotate rfci regfish checked-by=me",
	); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.seeItThrough(ctx)
}
