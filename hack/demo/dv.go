// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// patience is how long a step may take. Each takes seconds; the time is for a busy
// machine.
const patience = "60s"

// patienceWith is how long the step may take that notices when the part is broken:
// what cannot come is not waited for that long.
func (s *stage) patienceWith(part string) string {
	if s.broken == part {
		return "15s"
	}
	return patience
}

// dv is the main job: one domain-validated certificate.
func dv(ctx context.Context, s *stage) error {
	if err := s.install(ctx, knownKey, "sku: RapidSSL"); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx, sample); err != nil {
		return err
	}
	return s.seeItThrough(ctx)
}

// install does what whoever runs the cluster does: it installs the controller and
// says which account pays for what.
func (s *stage) install(ctx context.Context, key, product string) error {
	s.heading("Whoever runs the cluster installs the controller")
	if err := s.shell.run(ctx, "kubectl apply -f config/manager/namespace.yaml -f config/manager/manager.yaml -f config/rbac"); err != nil {
		return err
	}
	s.say("(this cluster has no nodes: the controller runs beside it, with its service account)")
	if err := s.startController(ctx); err != nil {
		return err
	}

	s.heading("... and says which regfish account pays")
	if err := errors.Join(
		s.shell.write("api-key", key+"\n"),
		s.shell.write("issuer.yaml", fmt.Sprintf(issuerManifest, product, s.url, base64.StdEncoding.EncodeToString(s.vendor.ServerCA()))),
	); err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	return s.shell.run(ctx,
		"kubectl create secret generic regfish-api -n regfish-issuer --from-file=api-key",
		"cut -c -72 issuer.yaml",
		"kubectl apply -f issuer.yaml",
	)
}

// ready waits until the issuer can be used.
func (s *stage) ready(ctx context.Context) error {
	return s.shell.run(ctx,
		"kubectl wait --for=condition=Ready rfci/regfish --timeout="+patience,
		"kubectl get rfci -o wide",
	)
}

// sample is the Certificate that most scenarios ask for.
const sample = "config/samples/certificate.yaml"

// ask does what a tenant does.
func (s *stage) ask(ctx context.Context, manifest string) error {
	s.heading("A tenant asks for a certificate")
	return s.shell.run(ctx,
		"kubectl create namespace shop",
		"cat "+manifest,
		"kubectl apply -f "+manifest,
	)
}

// seeItThrough follows the order until the Secret is there.
func (s *stage) seeItThrough(ctx context.Context) error {
	if err := s.placed(ctx); err != nil {
		return err
	}
	if err := s.shell.run(ctx,
		"kubectl get certificaterequests -n shop -o wide",
		"kubectl describe regfishorder www-1 -n shop | sed -n '/Conditions:/,/Value:/p'",
		"kubectl events --for certificate/www -n shop",
		"kubectl get regfishpurchases -n regfish-issuer",
		"kubectl get regfishorder www-1 -n shop -o jsonpath='{.status.dcv.records}'",
	); err != nil {
		return err
	}
	return s.seeItIssued(ctx)
}

// placed shows an order that waits for its records.
func (s *stage) placed(ctx context.Context) error {
	s.heading("The order is placed, and says what it waits for")
	return s.shell.run(ctx,
		"kubectl wait --for=create regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=condition=ValidationPublished=false regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
	)
}

// seeItIssued follows an order that waits for its records until the Secret is there.
func (s *stage) seeItIssued(ctx context.Context) error {
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	if order.Status.DCV == nil || len(order.Status.DCV.Records) == 0 {
		return &failure{"validation", errors.New("the order names no record in .status.dcv.records")}
	}

	s.heading("Your DNS automation reads the order and sets the record")
	if s.broken == breakGate {
		s.say("(BREAK=gate: the simulator will deliver a certificate for another key)")
		s.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: simulator.FaultWrongKey, Times: -1})
	}
	if err := s.shell.write("dns.yaml", dnsManifest); err != nil {
		return err
	}
	if err := s.shell.run(ctx, "kubectl create namespace dns", "kubectl apply -f dns.yaml"); err != nil {
		return err
	}
	if err := s.startDNS(ctx); err != nil {
		return err
	}
	if err := s.checkValidation(ctx, order.Status.DCV.Records); err != nil {
		return err
	}

	s.heading("The certificate is verified and becomes a Secret")
	if err := s.checkCertificate(ctx); err != nil {
		return err
	}

	s.heading("Whoever pays looks at the ledger")
	if s.broken == breakLedger {
		s.say("(BREAK=ledger: somebody sends the same order once more, past the controller)")
		if err := s.buyAgain(ctx); err != nil {
			return err
		}
	}
	return s.checkLedger(ctx, 1)
}

// order reads the order of the Certificate.
func (s *stage) order(ctx context.Context) (*v1alpha1.RegfishOrder, error) {
	var order v1alpha1.RegfishOrder
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "www-1"}, &order); err != nil {
		return nil, fmt.Errorf("read order: %w", err)
	}
	return &order, nil
}

// buyAgain sends the same order to the vendor, as a program without a ledger
// would after a lost reply.
func (s *stage) buyAgain(ctx context.Context) error {
	var cr cmapi.CertificateRequest
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "www-1"}, &cr); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	key, err := regfish.ParseKey([]byte(knownKey))
	if err != nil {
		return err
	}
	c, err := regfish.New(regfish.Config{Endpoint: s.url, Key: key, CABundle: s.vendor.ServerCA()})
	if err != nil {
		return err
	}
	defer c.Close()
	result := c.Order(ctx, regfish.OrderRequest{
		SKU: "RapidSSL", CommonName: "www.example.com", CSR: string(cr.Spec.Request), DCVMethod: regfish.DCVMethodCNAME,
	}, func() error { return nil })
	if result.Outcome != regfish.Accepted {
		return fmt.Errorf("buy again: %w", result.Err)
	}
	return nil
}
