// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// observe finds out what there is to know about p, and when to do so again; 0 when the
// poller says so.
func (r *Reconciler) observe(ctx context.Context, p *v1alpha1.RegfishPurchase) (purchase.Observation, time.Duration, error) {
	now := r.Clock.Now()
	name := client.ObjectKeyFromObject(p)
	age := now.Sub(begun(p))
	known := r.seen.since(name, actions(p), now)
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
		r.poller.Forget(name)
		return o, 0, nil
	}
	if writer := purchase.PendingWriter(p); purchase.OpenReissue(p) && writer != nil && *writer != r.Spender.Writer && known < r.WriterGrace {
		return o, max(time.Second, r.WriterGrace-known), nil
	}
	answer, next := r.follow(ctx, p)
	if left := unwantedAfter - age; left > 0 && (next == 0 || left < next) {
		next = left
	}
	o, err := r.observation(ctx, p, answer)
	if err == nil && o.Vendor != nil && purchase.OpenReissue(p) {
		err = r.reissued(ctx, p, *o.Vendor)
	}
	return o, next, err
}

// actions is how many orders and reissues were begun.
func actions(p *v1alpha1.RegfishPurchase) int { return len(p.Spec.Attempts) + len(p.Spec.Reissues) }

// begun is since when the order or the reissue of p that was begun last has been under way.
func begun(p *v1alpha1.RegfishPurchase) time.Time {
	if last := purchase.LastAction(p); !last.IsZero() {
		return last
	}
	return p.CreationTimestamp.Time
}

// sourceOf is where the certificate of p is read.
func sourceOf(p *v1alpha1.RegfishPurchase) poller.Source {
	return poller.Source{Issuer: purchase.IssuerOf(p), Endpoint: p.Spec.Endpoint}
}

// reissued records what regfish says of a reissue of p that has not ended. What cannot be
// read of it now is read at the next look.
func (r *Reconciler) reissued(ctx context.Context, p *v1alpha1.RegfishPurchase, c regfish.Certificate) error {
	vendor, err := r.connect(ctx, sourceOf(p))
	var source *unread
	if errors.As(err, &source) {
		return nil
	}
	if err == nil {
		err = r.Resolver.Reissued(ctx, vendor, p, c)
	}
	if regfish.KindOf(err) != regfish.KindNone {
		return nil
	}
	return err
}

// follow has the poller look at the order of p, and returns the answer that it woke p for.
// Where no poller runs, it returns the answer of a look that is due, and when the next is.
func (r *Reconciler) follow(ctx context.Context, p *v1alpha1.RegfishPurchase) (*poller.Answer, time.Duration) {
	name := client.ObjectKeyFromObject(p)
	r.poller.Follow(poller.Order{
		Name: name, ID: p.Spec.CertificateID, Placed: begun(p), Told: p.Status.Vendor != nil, Source: sourceOf(p),
	})
	if r.registered {
		return r.poller.Take(name), 0
	}
	return r.poller.Look(ctx, name)
}

// judge compares an answer with the status of the purchase. What cannot be told now is
// told by the next look.
func (r *Reconciler) judge(ctx context.Context, name types.NamespacedName, a poller.Answer) poller.Said {
	var p v1alpha1.RegfishPurchase
	if err := r.Client.Get(ctx, name, &p); err != nil || p.Spec.CertificateID == "" || purchase.Resting(&p) {
		return poller.Nothing
	}
	if a.Row && a.Certificate != nil {
		if short, same := purchase.Compare(&p, *a.Certificate); short && same {
			return poller.Nothing
		} else if short {
			return poller.Unclear
		}
	}
	o, err := r.observation(ctx, &p, &a)
	if err != nil {
		log.FromContext(ctx).V(1).Info("an order could not be looked at", "purchase", p.Name, "reason", err.Error())
		return poller.Nothing
	}
	if purchase.TellsOfReissue(&p, o.Vendor) || !equality.Semantic.DeepEqual(p.Status, purchase.Observe(&p, o)) {
		return poller.News
	}
	return poller.Nothing
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
			o.RequestLive, err = r.named(ctx, p)
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
		if age := r.Clock.Now().Sub(begun(p)); !o.RequestLive && search.Finding == purchase.Followed && age > unwantedAfter {
			// What is looked for needs nobody; what is followed waits for whoever wants it.
			wanted, err := controller.Wanted(ctx, r.Client, p.Name)
			if err != nil {
				return o, 0, err
			}
			o.Unwanted = !wanted
		}
	case p.Spec.CertificateID != "":
		o.Vendor = &search.Found.Certificate
	}
	o.MayShow = func(url string) bool {
		return issuer != nil && r.Spender.MayShow != nil && r.Spender.MayShow(issuer, url)
	}
	return o, next, nil
}

// named reports whether an order shows p or waits for it.
func (r *Reconciler) named(ctx context.Context, p *v1alpha1.RegfishPurchase) (bool, error) {
	var orders v1alpha1.RegfishOrderList
	if err := r.Client.List(ctx, &orders, client.MatchingFields{controller.OrdersByPurchase: p.Name}, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list orders: %w", err)
	}
	return len(orders.Items) > 0, nil
}

// connect connects to where an order was placed, with the key of its issuer. A key must
// not go to another host than its own.
func (r *Reconciler) connect(ctx context.Context, s poller.Source) (purchase.Vendor, error) {
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, s.Issuer)
	if err != nil {
		return nil, err
	}
	if issuer == nil {
		return nil, &unread{v1alpha1.ReasonIssuerNotReady, fmt.Sprintf("goes on at regfish and cannot be followed: there is no %s; create it again.", s.Issuer)}
	}
	endpoint, err := r.Spender.Endpoint(issuer)
	if err == nil && endpoint != s.Endpoint {
		return nil, &unread{v1alpha1.ReasonEndpointChanged, fmt.Sprintf(
			"was placed at %s, and spec.url of %s is %s now: nothing is sent to either; set spec.url back, or finish the order at regfish.", s.Endpoint, s.Issuer, endpoint)}
	}
	vendor, err := r.Spender.Connect(ctx, issuer)
	var problem *credentials.Problem
	if errors.As(err, &problem) {
		return nil, &unread{v1alpha1.ReasonIssuerNotReady, "cannot be followed: " + problem.Message}
	}
	return vendor, err
}

// unread is why no order of a source can be looked at.
type unread struct{ reason, message string }

func (u *unread) Error() string { return "order " + u.message }

// observation is what an answer says about p; without one, what is known anyway.
func (r *Reconciler) observation(ctx context.Context, p *v1alpha1.RegfishPurchase, a *poller.Answer) (purchase.Observation, error) {
	o := purchase.Observation{}
	if r.Clock.Now().Sub(begun(p)) > unwantedAfter {
		wanted, err := r.named(ctx, p)
		if err != nil {
			return o, err
		}
		o.Unwanted = !wanted
	}
	if a == nil {
		return o, nil
	}
	with := purchase.IssuerOf(p)
	issuer, err := purchase.LookUpIssuer(ctx, r.Client, with)
	if err != nil {
		return o, err
	}
	var source *unread
	if errors.As(a.Err, &source) {
		o.Unread = &purchase.IssuerProblem{Reason: source.reason, Message: fmt.Sprintf("order %s %s", p.Spec.CertificateID, source.message)}
		return o, nil
	}
	if issuer == nil {
		// It went just now; the next look says so.
		return o, nil
	}
	o.MayShow = func(url string) bool { return r.Spender.MayShow != nil && r.Spender.MayShow(issuer, url) }
	switch regfish.KindOf(a.Err) {
	case regfish.KindNone:
		o.Vendor = a.Certificate
		return o, a.Err
	case regfish.KindNotNow:
		// Nothing was asked.
	case regfish.KindNotFound:
		o.NotFound = true
		o.Key = fmt.Sprintf("Secret %q of %s", issuer.GetSpec().APIKeySecretRef.Name, with)
	case regfish.KindUnauthorized, regfish.KindForbidden:
		o.Unread = notReady("order %s cannot be followed: regfish refuses the API key of %s (%v).", p.Spec.CertificateID, with, a.Err)
	default:
		o.Unread = &purchase.IssuerProblem{Reason: v1alpha1.ReasonVendorUnavailable, Message: fmt.Sprintf("order %s stands at regfish, which could not be asked: %v.", p.Spec.CertificateID, a.Err)}
	}
	return o, nil
}

func notReady(format string, args ...any) *purchase.IssuerProblem {
	return &purchase.IssuerProblem{Reason: v1alpha1.ReasonIssuerNotReady, Message: fmt.Sprintf(format, args...)}
}
