// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// badKey shows that a wrong key costs nothing, that everybody is told, and that
// the right one gets everything going.
func badKey(ctx context.Context, s *stage) error {
	if err := s.install(ctx, "a-key-that-nobody-knows"); err != nil {
		return err
	}
	err := s.shell.run(ctx, "kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=KeyRejected rfci/regfish --timeout=30s")
	if err != nil {
		return &failure{"key", err}
	}
	if err := s.shell.run(ctx, "kubectl get rfci -o wide"); err != nil {
		return err
	}
	if err := s.ask(ctx); err != nil {
		return err
	}

	s.heading("The request waits and repeats what is wrong; nothing is bought")
	err = s.shell.run(ctx,
		"kubectl wait --for=create regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.state}'=Queued regfishorder/www-1 -n shop --timeout="+patience,
	)
	if err != nil {
		return &failure{"key", err}
	}
	if err := s.shell.run(ctx,
		"kubectl get certificaterequests,regfishorders -n shop -o wide",
		"kubectl describe regfishorder www-1 -n shop | sed -n '/^Events:/,$p'",
	); err != nil {
		return err
	}
	if err := s.checkLedger(ctx, 0); err != nil {
		return err
	}

	s.heading("Whoever runs the cluster puts the right key into the Secret")
	if err := s.shell.write("api-key", apiKey+"\n"); err != nil {
		return err
	}
	if err := s.shell.run(ctx,
		"kubectl create secret generic regfish-api -n regfish-issuer --from-file=api-key --dry-run=client -o yaml | kubectl replace -f -",
		"kubectl annotate rfci regfish checked-by=me",
		"kubectl wait --for=condition=Ready rfci/regfish --timeout=70s",
	); err != nil {
		return err
	}
	return s.seeItThrough(ctx)
}
