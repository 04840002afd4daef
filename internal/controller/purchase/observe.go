// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// observe finds out what there is to know about p, and when to do so again. It
// asks the vendor at most once, and only when a look is due.
func (r *Reconciler) observe(ctx context.Context, p *v1alpha1.RegfishPurchase) (purchase.Observation, time.Duration, error) {
	now := r.Clock.Now()
	name := client.ObjectKeyFromObject(p)
	age := now.Sub(p.CreationTimestamp.Time)
	known := r.seen.since(name, len(p.Spec.Attempts), now)
	o := purchase.Observation{}
	if purchase.OfOtherVersion(p) {
		return o, againWithoutOrder, nil
	}
	if purchase.OfOtherCluster(p, r.Spender.ClusterUID) {
		o.OtherCluster = true
		return o, againWithoutOrder, nil
	}
	if p.Spec.CertificateID == "" {
		return r.observeUnplaced(ctx, p, known, r.pause(p.Name, age))
	}
	if purchase.Resting(p) {
		return o, 0, nil
	}
	if age > unwantedAfter {
		wanted, err := r.wanted(ctx, p)
		if err != nil {
			return o, 0, err
		}
		o.Unwanted = !wanted
	}
	next := r.pause(p.Name, age)
	if left, looked := r.seen.left(name, now); left > 0 {
		return o, left, nil
	} else if !looked && p.Status.Vendor != nil {
		// The answer to the order, or another process, told a moment ago or before
		// the restart: all purchases at once need not be asked about now.
		r.seen.look(name, now.Add(next))
		return o, next, nil
	}
	wait, err := r.ask(ctx, p, &o)
	next = max(next, wait)
	r.seen.look(name, now.Add(next))
	return o, next, err
}

// observeUnplaced finds out what there is to know about a purchase whose id is not
// known. One whose outcome is unknown is looked for in the account.
func (r *Reconciler) observeUnplaced(ctx context.Context, p *v1alpha1.RegfishPurchase, known, pause time.Duration) (purchase.Observation, time.Duration, error) {
	o := purchase.Observation{}
	var err error
	if o.RequestLive, err = purchase.RequestLive(ctx, r.Spender.Live, p); err != nil {
		return o, 0, err
	}
	if !purchase.Unresolved(p) {
		if !o.RequestLive {
			// One that was made again with the same key wants it too.
			o.RequestLive, err = r.wanted(ctx, p)
		}
		left := r.seen.patience(client.ObjectKeyFromObject(p), o.RequestLive, r.Clock.Now())
		if purchase.NotFoundLast(p) && left > 0 && p.Status.State != v1alpha1.StateEnded {
			o.RequestLive = true
			return o, min(againWithoutOrder, left), err
		}
		return o, againWithoutOrder, err
	}
	if writer := purchase.PendingWriter(p); writer != nil && *writer != r.Spender.Writer && known < r.WriterGrace {
		o.WriterAlive = true
		return o, max(time.Second, r.WriterGrace-known), nil
	}
	search, issuer, next, err := r.Resolver.Resolve(ctx, p, pause)
	if err != nil {
		return o, 0, err
	}
	switch {
	case purchase.Unresolved(p):
		o.Search = search
	case p.Spec.CertificateID != "":
		o.Vendor = &search.Found.Certificate
	}
	o.MayShow = func(url string) bool {
		return issuer != nil && r.Spender.MayShow != nil && r.Spender.MayShow(issuer, url)
	}
	return o, next, nil
}

// wanted reports whether an order shows p.
func (r *Reconciler) wanted(ctx context.Context, p *v1alpha1.RegfishPurchase) (bool, error) {
	var orders v1alpha1.RegfishOrderList
	if err := r.Client.List(ctx, &orders, client.MatchingFields{controller.OrdersByPurchase: p.Name}, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list orders: %w", err)
	}
	return len(orders.Items) > 0, nil
}

// ask asks the vendor about p, and returns how long it asks to be left alone. It is
// asked only at the endpoint that the purchase was made at: a key must not go to another
// host.
func (r *Reconciler) ask(ctx context.Context, p *v1alpha1.RegfishPurchase, o *purchase.Observation) (time.Duration, error) {
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, p.Spec.IssuerRef)
	if err != nil {
		return 0, err
	}
	if issuer == nil {
		o.Unread = notReady("order %s goes on at regfish and cannot be followed: there is no %s; create it again.", p.Spec.CertificateID, p.Spec.IssuerRef)
		return 0, nil
	}
	endpoint, err := r.Spender.Endpoint(issuer)
	if err == nil && endpoint != p.Spec.Endpoint {
		o.Unread = &purchase.IssuerProblem{Reason: v1alpha1.ReasonEndpointChanged, Message: fmt.Sprintf(
			"order %s was placed at %s, and spec.url of %s is %s now: nothing is sent to either; set spec.url back, or finish the order at regfish.",
			p.Spec.CertificateID, p.Spec.Endpoint, p.Spec.IssuerRef, endpoint)}
		return 0, nil
	}
	vendor, err := r.Spender.Connect(ctx, issuer)
	var problem *credentials.Problem
	if errors.As(err, &problem) {
		o.Unread = notReady("order %s cannot be followed: %s", p.Spec.CertificateID, problem.Message)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	o.MayShow = func(url string) bool { return r.Spender.MayShow != nil && r.Spender.MayShow(issuer, url) }
	c, err := vendor.Certificate(ctx, p.Spec.CertificateID)
	switch regfish.KindOf(err) {
	case regfish.KindNone:
		if err != nil {
			return 0, err
		}
		o.Vendor = &c
	case regfish.KindNotFound:
		o.NotFound = true
		o.Key = fmt.Sprintf("Secret %q of %s", issuer.GetSpec().APIKeySecretRef.Name, p.Spec.IssuerRef)
	case regfish.KindUnauthorized, regfish.KindForbidden:
		o.Unread = notReady("order %s cannot be followed: regfish refuses the API key of %s (%v).", p.Spec.CertificateID, p.Spec.IssuerRef, err)
	default:
		o.Unread = &purchase.IssuerProblem{Reason: v1alpha1.ReasonVendorUnavailable, Message: fmt.Sprintf("order %s stands at regfish, which could not be asked: %v.", p.Spec.CertificateID, err)}
	}
	return regfish.RetryAfter(err), nil
}

func notReady(format string, args ...any) *purchase.IssuerProblem {
	return &purchase.IssuerProblem{Reason: v1alpha1.ReasonIssuerNotReady, Message: fmt.Sprintf(format, args...)}
}
