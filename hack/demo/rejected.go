// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// rejection is what the vendor says of the order, at a length that nobody wants to
// read and on many lines.
var rejection = "The certificate authority rejects the order: www.example.com is on its list of names at risk.\n" +
	strings.Repeat("This was decided by a person and is final.\n", 20)

// rejected shows that an order that came to nothing is not bought again by itself,
// however often cert-manager asks.
func rejected(ctx context.Context, s *stage) error {
	if err := s.install(ctx, knownKey, "sku: RapidSSL"); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx, sample); err != nil {
		return err
	}
	if err := s.placed(ctx); err != nil {
		return err
	}

	s.heading("The certificate authority rejects the order")
	if err := s.checkRejected(ctx); err != nil {
		return err
	}

	s.heading("Somebody edits the Certificate, so cert-manager asks again at once")
	if err := s.checkHeld(ctx); err != nil {
		return err
	}

	s.heading("Whoever pays looks at the ledger")
	return s.checkLedger(ctx, 1)
}

// checkRejected: the request fails with what the vendor says, made fit to be read.
func (s *stage) checkRejected(ctx context.Context) error {
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	s.say("(regfish reports the order as rejected, with %d characters on %d lines)", len(rejection), strings.Count(rejection, "\n"))
	if err := s.vendor.SetState(order.Status.PurchaseRef.CertificateID, simulator.State{Status: "rejected", PendingMessage: rejection}); err != nil {
		return fmt.Errorf("reject the order: %w", err)
	}
	err = s.shell.run(ctx, "kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=Failed certificaterequest/www-1 -n shop --timeout="+patience)
	if err != nil {
		return &failure{"rejected", fmt.Errorf("the request did not fail; the order says: %s", s.orderMessage(ctx))}
	}
	if err := s.shell.run(ctx,
		"kubectl wait --for=condition=Issuing=false certificate/www -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get certificaterequests -n shop -o wide",
		"kubectl describe certificate www -n shop | sed -n '/^Events:/,$p'",
	); err != nil {
		return err
	}
	message := s.orderMessage(ctx)
	if len(message) > len(rejection)/2 || strings.Contains(message, "\n") || !strings.Contains(message, "names at risk") {
		err = fmt.Errorf("what regfish said is not there, or not on one short line: %q", message)
	}
	return s.checked("rejected", "the request has failed, and says why in the words of regfish, cut to what people read", err)
}

// checkHeld: cert-manager's next request waits for a person.
func (s *stage) checkHeld(ctx context.Context) error {
	before, err := s.order(ctx)
	if err != nil {
		return err
	}
	if err := s.shell.run(ctx, "kubectl patch certificate www -n shop --type=merge -p '{\"spec\":{\"usages\":[\"digital signature\",\"server auth\"]}}'"); err != nil {
		return err
	}
	// The next request has the name of the last one, so both come and go under one name.
	if err := wait.PollUntilContextTimeout(ctx, time.Second/4, time.Minute, true, func(ctx context.Context) (bool, error) {
		now, err := s.order(ctx)
		return err == nil && now.UID != before.UID, client.IgnoreNotFound(err)
	}); err != nil {
		return &failure{"held", fmt.Errorf("cert-manager made no new request: %w", err)}
	}
	err = s.shell.run(ctx,
		"kubectl wait --for=jsonpath='{.status.state}'=Held regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Held\")].reason}'=PreviousOrderFailed regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=Pending certificaterequest/www-1 -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get certificaterequests -n shop -o wide",
	)
	return s.checked("held", "the new request waits until a person has looked, and nothing is ordered for it", err)
}
