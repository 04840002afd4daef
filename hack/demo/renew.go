// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
)

const aDay = 24 * time.Hour

// spring is when each year begins: until March 2027 a public certificate may live for 199
// days.
var spring = time.Date(2026, time.April, 1, 8, 0, 0, 0, time.UTC)

// longTerm is what an order pays for in the first year of the story, in days.
const longTerm = 365

// calendar follows one Certificate through a year.
type calendar struct {
	*stage
	name  string
	begun time.Time
	// told are the requests whose orders were shown.
	told map[string]bool
	// certificate in use.
	leaf     []byte
	notAfter time.Time
	// asked is when cert-manager wants to have the next one.
	asked time.Time
}

// renew is a year of a Certificate whose order pays for a year, and one of a Certificate
// whose order pays for as long as the certificate lives.
func renew(ctx context.Context, s *stage) error {
	s.clock.Advance(spring.Sub(s.clock.Now()))
	if err := s.install(ctx, knownKey, "sku: RapidSSL"); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.shell.write("dns.yaml", dnsManifest); err != nil {
		return err
	}
	if err := s.shell.run(ctx, "kubectl create namespace dns", "kubectl apply -f dns.yaml", "kubectl create namespace shop"); err != nil {
		return err
	}
	if err := s.startDNS(ctx); err != nil {
		return err
	}
	for _, y := range []struct {
		name     string
		contract int
		most     int
	}{{"www", longTerm, 2}, {"api", 0, 3}} {
		s.clock.Advance(spring.Sub(s.clock.Now()))
		s.vendor.SetContractDays(y.contract)
		before := len(s.vendor.Purchases())
		s.heading(fmt.Sprintf("A year of the Certificate %s: an order pays for %d days, a certificate lives for 199", y.name, max(y.contract, 199)))
		c := &calendar{stage: s, name: y.name, begun: s.clock.Now(), told: map[string]bool{}}
		if err := c.year(ctx); err != nil {
			return err
		}
		orders := s.vendor.Purchases()[before:]
		var err error
		if len(orders) != y.most {
			err = fmt.Errorf("%d orders in %d days, want %d: %v", len(orders), s.clock.Since(c.begun)/aDay, y.most, orders)
		}
		for i, o := range orders {
			if i > 0 && o.RenewalOf != orders[i-1].ID {
				err = fmt.Errorf("%s renews %q, and not %s", o.ID, o.RenewalOf, orders[i-1].ID)
			}
		}
		if err := s.checked("year", fmt.Sprintf("%d orders in a year, each the renewal of the one before it, and everything else cost nothing", y.most), err); err != nil {
			return err
		}
	}
	s.heading("Whoever pays looks at the ledger")
	if err := s.shell.run(ctx,
		"kubectl get regfishpurchases -n regfish-issuer -o custom-columns='NAME:.metadata.name,ACTION:.spec.action,ID:.spec.certificateID,REISSUES:.status.reissues,UNTIL:.status.contractNotAfter'",
	); err != nil {
		return err
	}
	return s.checkLedger(ctx, 5)
}

// year lets a year pass, in which things happen.
func (c *calendar) year(ctx context.Context) error {
	apply := fmt.Sprintf("sed s/www/%s/g %s | kubectl apply -f -", c.name, sample)
	for _, step := range []struct {
		what  string
		after time.Duration
		do    func() error
		none  bool // no other certificate comes of it
	}{
		{"a tenant asks for it", 0, func() error { return c.shell.run(ctx, apply) }, false},
		{"the Secret is lost", 10 * aDay, func() error { return c.shell.run(ctx, "kubectl delete secret "+c.name+"-tls -n shop") }, false},
		{"somebody renews it by force (cmctl renew)", 10 * aDay, func() error { return c.force(ctx) }, false},
		{"its CertificateRequests are deleted", 10 * aDay, func() error {
			return c.shell.run(ctx, "kubectl delete certificaterequests -n shop --all")
		}, true},
		{"it is deleted with its Secret, and created again", 10 * aDay, func() error {
			return c.shell.run(ctx, "kubectl delete certificate/"+c.name+" secret/"+c.name+"-tls -n shop", apply)
		}, false},
	} {
		if err := c.pass(ctx, step.after); err != nil {
			return err
		}
		c.say("")
		c.say("day %d: %s", c.day(), step.what)
		if err := step.do(); err != nil {
			return err
		}
		if step.none {
			continue
		}
		if err := c.served(ctx); err != nil {
			return err
		}
	}
	for {
		left := c.asked.Sub(c.clock.Now()) + time.Minute
		if c.clock.Now().Add(left).After(c.begun.Add(365 * aDay)) {
			return nil
		}
		if err := c.pass(ctx, left); err != nil {
			return err
		}
		c.say("")
		c.say("day %d: cert-manager finds that it is due", c.day())
		if err := c.served(ctx); err != nil {
			return err
		}
	}
}

func (c *calendar) day() int { return int(c.clock.Since(c.begun) / aDay) }

// pass lets time pass, and makes cert-manager look at the clock.
func (c *calendar) pass(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	c.clock.Advance(d)
	return c.edit(ctx, func(o *cmapi.Certificate) client.SubResourceWriter {
		o.Annotations = map[string]string{"demo/day": fmt.Sprint(c.day())}
		return nil
	})
}

// force does what cmctl renew does.
func (c *calendar) force(ctx context.Context) error {
	return c.edit(ctx, func(o *cmapi.Certificate) client.SubResourceWriter {
		apiutil.SetCertificateCondition(o, o.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "Certificate re-issuance manually triggered")
		return c.client.Status()
	})
}

// edit changes the Certificate, or its status where change returns the writer of that.
func (c *calendar) edit(ctx context.Context, change func(*cmapi.Certificate) client.SubResourceWriter) error {
	var o cmapi.Certificate
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: c.name}, &o); err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	before := o.DeepCopy()
	if status := change(&o); status != nil {
		return status.Patch(ctx, &o, client.MergeFrom(before))
	}
	return c.client.Patch(ctx, &o, client.MergeFrom(before))
}

// served waits until the Secret has another certificate, tells how it came, and checks
// that the one before it did not live for less than cert-manager asks for.
func (c *calendar) served(ctx context.Context) error {
	wait, err := time.ParseDuration(patience)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		done, err := c.look(ctx)
		if err != nil {
			return err
		}
		if done {
			break
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return &failure{"certificate", fmt.Errorf("no other certificate came within %s", patience)}
		case <-tick.C:
		}
	}
	return c.tell(ctx)
}

// look reports whether another certificate is in the Secret, and remembers it.
func (c *calendar) look(ctx context.Context) (bool, error) {
	var secret corev1.Secret
	var o cmapi.Certificate
	key := client.ObjectKey{Namespace: "shop", Name: c.name}
	if err := c.client.Get(ctx, key, &o); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: c.name + "-tls"}, &secret); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	leaf, err := pki.ParseLeaf(secret.Data[corev1.TLSCertKey])
	if err != nil || string(leaf.Raw) == string(c.leaf) || o.Status.NotAfter == nil || !o.Status.NotAfter.Time.Equal(leaf.NotAfter) || o.Status.RenewalTime == nil ||
		!apiutil.CertificateHasCondition(&o, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) ||
		apiutil.CertificateHasCondition(&o, cmapi.CertificateCondition{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue}) {
		return false, nil //nolint:nilerr // it is not there yet
	}
	late := c.clock.Now().Sub(c.asked)
	if c.leaf != nil && late > aDay {
		return false, &failure{"certificate", fmt.Errorf("the certificate before lives until %s, and the next one came %s after cert-manager had asked for it", c.notAfter, late)}
	}
	if c.leaf != nil {
		c.say("the certificate before this one had %d days left", c.notAfter.Sub(c.clock.Now())/aDay)
	}
	c.leaf, c.notAfter, c.asked = leaf.Raw, leaf.NotAfter, o.Status.RenewalTime.Time
	return true, nil
}

// tell shows the orders that are new.
func (c *calendar) tell(ctx context.Context) error {
	var list v1alpha1.RegfishOrderList
	if err := c.client.List(ctx, &list, client.InNamespace("shop")); err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	for _, o := range list.Items {
		if c.told[string(o.UID)] || !c.mine(&o) || o.Status.Plan == nil {
			continue
		}
		c.told[string(o.UID)] = true
		c.say("%s %s: %s", o.Name, o.Status.Plan.Action, o.Status.Plan.Reason)
	}
	if len(c.told) == 0 {
		return &failure{"order", errors.New("no order shows where the certificate came from")}
	}
	c.say("the certificate lives until day %d, and cert-manager asks for the next one on day %d", c.notAfter.Sub(c.begun)/aDay, c.asked.Sub(c.begun)/aDay)
	return nil
}

func (c *calendar) mine(o *v1alpha1.RegfishOrder) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && len(o.Name) > len(c.name) && o.Name[:len(c.name)] == c.name
}
