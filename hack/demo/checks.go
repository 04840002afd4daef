// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// A failure is a check that failed.
type failure struct {
	check string
	err   error
}

func (f *failure) Error() string { return f.check + ": " + f.err.Error() }

// checked says that a check passed, or returns its failure.
func (s *stage) checked(check, claim string, err error) error {
	if err != nil {
		return &failure{check, err}
	}
	s.verdict("OK", check+": "+claim)
	return nil
}

// checkValidation: what the order asked for stands in DNS, and the vendor saw it.
func (s *stage) checkValidation(ctx context.Context, records []v1alpha1.DNSRecord) error {
	patience := s.patienceWith(breakDNS)
	err := s.shell.run(ctx, "kubectl wait --for=condition=ValidationPublished regfishorder/www-1 -n shop --timeout="+patience)
	if err != nil {
		return &failure{"validation", fmt.Errorf("regfish did not validate the name within %s; the order says: %s", patience, s.orderMessage(ctx))}
	}
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	// A busy cert-manager now and then makes another key while an order waits. The order is
	// reissued for that one, with another record in the place of the one it asked for first.
	reissued := order.Status.Plan != nil && order.Status.Plan.Action == v1alpha1.ActionReissue
	in := s.vendor.Records()
	for _, want := range records {
		if !slices.ContainsFunc(in, func(have simulator.Record) bool {
			return same(have.Name, want.Name) && have.Type == want.Type && (reissued || same(have.Data, want.Value))
		}) {
			err = fmt.Errorf("the name counts as validated, and %s %s %s is not in DNS", want.Name, want.Type, want.Value)
		}
	}
	return s.checked("validation", "what the order asked for stands in DNS, and regfish saw it", err)
}

// same compares DNS names with or without the trailing dot.
func same(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

func (s *stage) orderMessage(ctx context.Context) string {
	order, err := s.order(ctx)
	if err != nil {
		return err.Error()
	}
	return order.Status.Message
}

// checkCertificate: the Secret is what a server can use and a client trusts.
func (s *stage) checkCertificate(ctx context.Context) error {
	patience := s.patienceWith(breakGate)
	err := s.shell.run(ctx,
		"kubectl wait --for=condition=Issued regfishorder/www-1 -n shop --timeout="+patience,
		"kubectl wait --for=condition=Ready certificate/www -n shop --timeout="+patience,
	)
	if err != nil {
		return &failure{"certificate", fmt.Errorf("the Certificate was not Ready within %s; the order says: %s", patience, s.orderMessage(ctx))}
	}
	if err := s.shell.run(ctx,
		"kubectl get certificates,certificaterequests,regfishorders -n shop",
		"kubectl get secret www-tls -n shop",
	); err != nil {
		return err
	}
	var secret corev1.Secret
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "www-tls"}, &secret); err != nil {
		return fmt.Errorf("read the Secret: %w", err)
	}
	chain, err := verify(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], s.vendor.Root(), "www.example.com")
	if err != nil {
		return &failure{"certificate", err}
	}
	for i, c := range chain {
		what := []string{"certificate", "issued by"}[min(i, 1)]
		s.say("  %-12s %-50s until %s", what, c.Subject, c.NotAfter.UTC().Format("2006-01-02"))
	}
	return s.checked("certificate", "it is for www.example.com, its key is tls.key, and it chains to the simulator's root", nil)
}

// verify returns the chain from the certificate to the root.
func verify(certificate, key, root []byte, name string) ([]*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("tls.crt and tls.key do not belong together: %w", err)
	}
	options := x509.VerifyOptions{DNSName: name, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	if !options.Roots.AppendCertsFromPEM(root) {
		return nil, errors.New("the simulator's root cannot be read")
	}
	for _, der := range pair.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("an issuer in tls.crt cannot be read: %w", err)
		}
		options.Intermediates.AddCert(issuer)
	}
	chains, err := pair.Leaf.Verify(options)
	if err != nil {
		return nil, fmt.Errorf("tls.crt does not verify: %w", err)
	}
	return chains[0], nil
}

// checkLedger: what the vendor bills is what the cluster's ledger says, and as
// many purchases as expected.
func (s *stage) checkLedger(ctx context.Context, want int) error {
	if err := s.shell.run(ctx, "kubectl get rfci", "kubectl get regfishpurchases -n regfish-issuer"); err != nil {
		return err
	}
	billed := s.vendor.Purchases()
	s.say("what the simulator bills:")
	if len(billed) == 0 {
		s.output("nothing")
	}
	var vendor []string
	for _, p := range billed {
		s.output(fmt.Sprintf("%d.  %s  %s  %s  %d days", p.Number, p.ID, p.SKU, strings.Join(p.Names, ","), p.ValidityDays))
		vendor = append(vendor, p.ID)
	}
	var list v1alpha1.RegfishPurchaseList
	if err := s.client.List(ctx, &list, client.InNamespace("regfish-issuer")); err != nil {
		return fmt.Errorf("list purchases: %w", err)
	}
	var ledger []string
	for _, p := range list.Items {
		// A plan was never sent; it stands for a question to a person. Nor was what has ended
		// without an id: its request was gone before.
		if p.Spec.Number > 0 && (p.Spec.CertificateID != "" || p.Status.State != v1alpha1.StateEnded) {
			ledger = append(ledger, p.Spec.CertificateID)
		}
	}
	slices.Sort(vendor)
	slices.Sort(ledger)
	var err error
	if len(vendor) != want || !slices.Equal(vendor, ledger) {
		err = fmt.Errorf("regfish bills %d %v and the ledger in the cluster has %d %v; both should be the same %d", len(vendor), vendor, len(ledger), ledger, want)
	}
	claim := "nothing was bought"
	switch {
	case want == 1:
		claim = "regfish bills 1 purchase, and it is the one in the ledger"
	case want > 1:
		claim = fmt.Sprintf("regfish bills %d purchases, and they are those in the ledger", want)
	}
	return s.checked("ledger", claim, err)
}
