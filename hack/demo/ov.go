// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// ov is an organization-validated certificate, whose order a person who may not have
// kubectl at all has to complete in the console of regfish.
func ov(ctx context.Context, s *stage) error {
	if err := s.install(ctx, knownKey, "sku: SecureSite"); err != nil {
		return err
	}
	if err := s.nameOrganization(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx, sample); err != nil {
		return err
	}

	s.heading("regfish took the order, and a person has to complete it")
	if err := s.checkTold(ctx); err != nil {
		return err
	}

	s.heading("That person completes the order in the console of regfish")
	if err := s.checkCompletion(ctx); err != nil {
		return err
	}

	s.heading("The order goes on by itself, and says what it waits for next")
	if err := s.shell.run(ctx,
		"kubectl wait --for=condition=ValidationPublished=false regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl get regfishorders -n shop -o wide",
		"kubectl describe regfishorder www-1 -n shop | sed -n '/Conditions:/,/Value:/p'",
	); err != nil {
		return err
	}
	return s.seeItIssued(ctx)
}

// nameOrganization has the owner of the issuer name the organization, which they
// learn from the issuer.
func (s *stage) nameOrganization(ctx context.Context) error {
	err := s.shell.run(ctx, "kubectl wait --for=jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'=OrganizationRequired rfci/regfish --timeout="+patience)
	if err != nil {
		return &failure{"organization", err}
	}
	if err := s.shell.run(ctx, "kubectl get rfci -o wide"); err != nil {
		return err
	}
	s.say("(the product is for organizations, and the issuer says which ones it can be ordered for)")
	if err := s.shell.run(ctx,
		"kubectl patch rfci regfish --type=merge -p '{\"spec\":{\"organizationID\":\""+simulator.OrganizationIncomplete+"\"}}'",
	); err != nil {
		return err
	}
	return s.ready(ctx)
}

// checkTold: the request, the order and the Certificate say that a person has to act,
// and where.
func (s *stage) checkTold(ctx context.Context) error {
	err := s.shell.run(ctx,
		"kubectl wait --for=create certificaterequest/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=condition=ActionRequired certificaterequest/www-1 -n shop --timeout="+patience,
	)
	if err != nil {
		return &failure{"told", fmt.Errorf("the request does not say that a person has to act; the order says: %s", s.orderMessage(ctx))}
	}
	if err := s.awaitEvent(ctx); err != nil {
		return &failure{"told", err}
	}
	if err := s.shell.run(ctx,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get certificaterequests -n shop -o wide",
		"kubectl describe certificaterequest www-1 -n shop | sed -n '/^Status:/,$p'",
		"kubectl get regfishorders -n shop -o wide",
		"kubectl describe certificate www -n shop | sed -n '/^Events:/,$p'",
	); err != nil {
		return err
	}
	return s.checked("told", "request, order and Certificate say that a person has to act, and where", nil)
}

// awaitEvent waits until an event about the Certificate names the page of the order.
// Events come a moment after what they are about.
func (s *stage) awaitEvent(ctx context.Context) error {
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	if order.Status.CompletionURL == "" {
		return errors.New("the order names no page in .status.completionURL")
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var events corev1.EventList
		if err := s.client.List(ctx, &events, client.InNamespace("shop")); err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.InvolvedObject.Kind == "Certificate" && e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, order.Status.CompletionURL) {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("no warning about the Certificate names %s: %w", order.Status.CompletionURL, err)
	}
	return nil
}

// checkCompletion: the person completes the order, and the condition tells whoever
// waits for it.
func (s *stage) checkCompletion(ctx context.Context) error {
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	if s.broken == breakPerson {
		s.say("(BREAK=person: nobody opens the page)")
	} else if err := s.completeOrder(ctx, order.Status.CompletionURL); err != nil {
		return &failure{"completion", err}
	}
	err = s.shell.run(ctx, "kubectl wait --for=condition=ActionRequired=false certificaterequest/www-1 -n shop --timeout="+s.patienceWith(breakPerson))
	if err != nil {
		return &failure{"completion", fmt.Errorf("the order was not completed; it says: %s", s.orderMessage(ctx))}
	}
	return s.checked("completion", "the order was completed on its page, and the request says that nobody has to act there any more", nil)
}
