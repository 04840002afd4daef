// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// restPatience bounds how long everything may take to come to rest.
const restPatience = 8 * time.Minute

// cluster is what the API server has.
type cluster struct {
	requests  map[string]cmapi.CertificateRequest
	orders    map[string]v1alpha1.RegfishOrder
	purchases []v1alpha1.RegfishPurchase
}

func (r *ring) look(ctx context.Context) (*cluster, error) {
	var requests cmapi.CertificateRequestList
	var orders v1alpha1.RegfishOrderList
	var purchases v1alpha1.RegfishPurchaseList
	if err := errors.Join(r.client.List(ctx, &requests, client.InNamespace(tenant)), r.client.List(ctx, &orders, client.InNamespace(tenant)), r.client.List(ctx, &purchases, client.InNamespace(ledger))); err != nil {
		return nil, fmt.Errorf("look at the cluster: %w", err)
	}
	c := &cluster{requests: map[string]cmapi.CertificateRequest{}, orders: map[string]v1alpha1.RegfishOrder{}, purchases: purchases.Items}
	for _, cr := range requests.Items {
		c.requests[cr.Name] = cr
	}
	for _, o := range orders.Items {
		c.orders[o.Name] = o
	}
	return c, nil
}

// judge waits until everything is at rest, and compares what the vendor sold with what
// the ledger and the requests have.
func (r *ring) judge(ctx context.Context) error {
	r.vendor.ClearFaults()
	began := time.Now()
	var c *cluster
	for last := ""; ; {
		if _, err := r.awaitLeader(ctx); err != nil {
			return err
		}
		var err error
		if c, err = r.look(ctx); err != nil {
			return err
		}
		restless := r.restless(c)
		if len(restless) == 0 {
			break
		}
		if now := fmt.Sprintf("%d are not at rest", len(restless)); now != last {
			fmt.Printf("%s after %.0f s, such as %s\n", now, time.Since(began).Seconds(), restless[0])
			last = now
		}
		if time.Since(began) > restPatience {
			return fmt.Errorf("not at rest after %s, seed %d: %s", restPatience, r.seed, strings.Join(restless, "; "))
		}
		pause(ctx, time.Second)
	}
	r.result.RestSeconds = time.Since(began).Seconds()
	findings := r.compare(c, r.vendor.Purchases())
	for _, text := range findings {
		fmt.Println("WRONG:", text)
	}
	if err := r.write(); err != nil || len(findings) == 0 {
		return err
	}
	return fmt.Errorf("%d findings with seed %d: %s", len(findings), r.seed, findings[0])
}

// restless lists what still has to be found out or followed. What is known to have bought
// nothing, and is tried again when its pause is over, is at rest: pauses grow to an hour.
func (r *ring) restless(c *cluster) []string {
	var found []string
	held := map[string]bool{} // hosts
	for _, p := range c.purchases {
		if p.Status.State == v1alpha1.StateHeld {
			for _, name := range p.Spec.DNSNames {
				held[name] = true
			}
			continue
		}
		if unresolved(p) {
			found = append(found, fmt.Sprintf("purchase %s, %s: %s", p.Name, p.Status.State, p.Status.Message))
		}
	}
	for _, q := range r.requests {
		if _, done := ready(c.requests[q.name]); done || held[q.host] {
			continue
		}
		o := c.orders[q.name]
		if o.Status.State == v1alpha1.StateHeld {
			continue
		}
		if o.Status.State == v1alpha1.StateQueued && c.tried(q.host) {
			continue
		}
		found = append(found, fmt.Sprintf("request %s, %s: %s", q.name, o.Status.State, o.Status.Message))
	}
	return found
}

// tried reports whether the order for a host was tried often enough to wait for longer
// than the ring does.
func (c *cluster) tried(host string) bool {
	return slices.ContainsFunc(c.purchases, func(p v1alpha1.RegfishPurchase) bool {
		return slices.Contains(p.Spec.DNSNames, host) && len(p.Spec.Attempts) > 2 && !unresolved(p)
	})
}

// unresolved reports whether nobody knows what became of an order of the purchase.
func unresolved(p v1alpha1.RegfishPurchase) bool {
	return slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool {
		return (a.Outcome == nil || a.Outcome.Result == v1alpha1.OutcomeUnknown) && a.Resolution == nil && a.ReleaseTime == nil
	})
}

// ready returns the reason of a request's Ready condition, and whether it is a last one.
func ready(cr cmapi.CertificateRequest) (string, bool) {
	for _, c := range cr.Status.Conditions {
		if c.Type == cmapi.CertificateRequestConditionReady {
			return c.Reason, c.Reason != cmapi.CertificateRequestReasonPending
		}
	}
	return "", false
}

// compare is the oracle: it compares what the vendor sold with what the ledger and the
// requests have. It fills in the result, and returns what is wrong.
func (r *ring) compare(c *cluster, sold []simulator.Purchase) (findings []string) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	r.count(c)
	recorded := map[string]bool{}
	for _, p := range c.purchases {
		recorded[p.Spec.CertificateID] = true
	}
	r.result.Billed = len(sold)
	keys := map[string]string{}
	for _, s := range sold {
		if s.ReplyLost {
			r.result.RepliesLost++
		}
		if first, twice := keys[s.KeyHash]; twice {
			r.result.Duplicates++
			say("%s was bought for the key that %s was bought for (%v); the ledger says so: %v", s.ID, first, s.Names, c.told(s))
		}
		keys[s.KeyHash] = s.ID
		if !recorded[s.ID] && !c.told(s) {
			r.result.Lost++
			say("%s (%v) was sold and is in no record", s.ID, s.Names)
		}
	}
	for _, q := range r.requests {
		cr := c.requests[q.name]
		switch reason, _ := ready(cr); reason {
		case cmapi.CertificateRequestReasonIssued:
			r.result.Issued++
			if err := q.check(cr.Status.Certificate); err != nil {
				r.result.Wrong++
				say("request %s: %v", q.name, err)
			}
		case cmapi.CertificateRequestReasonFailed:
			r.result.Failed++
		default:
			r.result.Waiting++
		}
	}
	return findings
}

// count counts what became of orders whose answer nobody had.
func (r *ring) count(c *cluster) {
	for _, p := range c.purchases {
		if p.Status.State == v1alpha1.StateHeld {
			r.result.Held++
		}
		for _, a := range p.Spec.Attempts {
			r.result.Attempts++
			if a.Outcome == nil || a.Outcome.Result == v1alpha1.OutcomeUnknown {
				r.result.Unknown++
			}
			if a.Resolution == nil {
				continue
			}
			switch a.Resolution.Result {
			case v1alpha1.ResolutionAdopted:
				r.result.Adopted++
			case v1alpha1.ResolutionNotFound:
				r.result.NotFound++
			}
		}
	}
}

// told reports whether a purchase tells a person of what was sold.
func (c *cluster) told(s simulator.Purchase) bool {
	return slices.ContainsFunc(c.purchases, func(p v1alpha1.RegfishPurchase) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
			return (c.Type == v1alpha1.ConditionHeld || c.Type == v1alpha1.ConditionDuplicateFound) && c.Status == metav1.ConditionTrue && strings.Contains(c.Message, s.ID)
		})
	})
}

// check refuses a certificate that is not for the request.
func (q *request) check(chain []byte) error {
	block, _ := pem.Decode(chain)
	if block == nil {
		return errors.New("what was published is no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("what was published is no certificate: %w", err)
	}
	if !q.key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("the published certificate has another key")
	}
	return cert.VerifyHostname(q.host)
}
