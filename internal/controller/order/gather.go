// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"fmt"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// input is what is known of an order before anything is decided.
type input struct {
	order   *v1alpha1.RegfishOrder
	request *cmapi.CertificateRequest
	csr     *pki.Request
	issuer  v1alpha1.Issuer
	facts   purchase.Facts
}

// gather reads the facts through the cache. It returns nil for an order that
// there is nothing to do for: its request is gone, another one, not approved or
// answered. That is also what makes a forged order powerless: only its name and
// the UID in it are looked at, and both have to be those of a request that is to
// be served.
func (r *Reconciler) gather(ctx context.Context, o *v1alpha1.RegfishOrder) (*input, error) {
	if !o.DeletionTimestamp.IsZero() || o.Name != o.Spec.RequestRef.Name {
		return nil, nil
	}
	in := &input{order: o, request: &cmapi.CertificateRequest{}}
	// It is the cache's: whoever changes it copies it.
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), in.request, client.UnsafeDisableDeepCopy); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if in.request.UID != o.Spec.RequestRef.UID || in.request.Spec.IssuerRef.Group != v1alpha1.Group || !purchase.ToServe(in.request) {
		return nil, nil
	}
	csr, problems := purchase.Preflight(in.request)
	if len(problems) > 0 {
		// The request controller says so on the request.
		return nil, nil
	}
	in.csr = csr
	var err error
	if in.facts, in.issuer, err = r.Spender.Facts(ctx, r.Client, in.request, csr, r.Clock.Now()); err != nil {
		return nil, err
	}
	return in, r.queue(ctx, in)
}

// queue finds who gets a slot of the purchase limit before this order. It is not asked
// before there is a queue: the Certificate has to be read for it.
func (r *Reconciler) queue(ctx context.Context, in *input) error {
	if ref := in.order.Status.PurchaseRef; in.issuer == nil || (ref != nil && ref.CertificateID != "") {
		return nil
	}
	var waiting v1alpha1.RegfishOrderList
	if err := r.Client.List(ctx, &waiting, client.MatchingFields{controller.OrdersQueued: in.issuer.Ref().String()}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the orders that wait for the purchase limit: %w", err)
	}
	short := !in.facts.Slots.Free() || (in.facts.InNamespace != nil && !in.facts.InNamespace.Free())
	if len(waiting.Items) == 0 && !short {
		r.yields.forget(client.ObjectKeyFromObject(in.order))
		return nil
	}
	me := in.order.DeepCopy()
	if me.Status.ReplacesNotAfter == nil && in.facts.ReplacesNotAfter == nil {
		c, err := r.Spender.Certificate(ctx, in.request)
		if err != nil {
			return err
		}
		if c != nil {
			me.Status.ReplacesNotAfter = c.Status.NotAfter
		}
	}
	if in.facts.ReplacesNotAfter == nil {
		in.facts.ReplacesNotAfter = me.Status.ReplacesNotAfter
	}
	me.Status.ReplacesNotAfter = in.facts.ReplacesNotAfter
	in.facts.Ahead = purchase.AheadOf(me, waiting.Items, in.issuer, in.facts.Now)
	switch name := client.ObjectKeyFromObject(in.order); {
	case short:
		r.yields.forget(name)
	case r.yields.over(name, in.order.UID, in.facts.Now):
		in.facts.Ahead = purchase.Ahead{}
	}
	return nil
}

// finish shows on the order that its request has the certificate, if it does: the
// write that hands it over comes before the one that says so, and the process may have
// died in between. It shows, too, that the request failed, whatever another process wrote
// since, and that it was denied, which can happen after it was approved. It reports whether there is nothing more to do.
func (r *Reconciler) finish(ctx context.Context, o *v1alpha1.RegfishOrder) (bool, error) {
	var cr cmapi.CertificateRequest
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), &cr, client.UnsafeDisableDeepCopy); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	var status v1alpha1.OrderStatus
	switch {
	case cr.UID != o.Spec.RequestRef.UID:
		return false, nil
	case cmutil.CertificateRequestReadyReason(&cr) == cmapi.CertificateRequestReasonIssued:
		if o.Status.State == v1alpha1.StateIssued {
			return true, nil
		}
		// The cache keeps no certificates.
		var live cmapi.CertificateRequest
		if err := r.Spender.Live.Get(ctx, client.ObjectKeyFromObject(o), &live); err != nil {
			return true, client.IgnoreNotFound(err)
		}
		leaf, err := pki.ParseLeaf(live.Status.Certificate)
		if err != nil || live.UID != o.Spec.RequestRef.UID {
			return true, nil //nolint:nilerr // a certificate that is not ours to judge any more
		}
		status = purchase.Handed(o.Status, *done(leaf))
	case cmutil.CertificateRequestReadyReason(&cr) == cmapi.CertificateRequestReasonFailed:
		if o.Status.State == v1alpha1.StateFailed {
			return true, nil
		}
		status = purchase.Failed(o.Status, cmutil.GetCertificateRequestCondition(&cr, cmapi.CertificateRequestConditionReady).Message)
	case cmutil.CertificateRequestIsDenied(&cr):
		if o.Status.State == v1alpha1.StateFailed {
			return true, nil
		}
		status = purchase.Denied(o.Status)
	default:
		return false, nil
	}
	_, err := r.show(ctx, o, status, &cr)
	return true, err
}

// contenders are the purchases that want a record at a name where p wants one, p
// among them; none if p is alone.
func (r *Reconciler) contenders(ctx context.Context, p *v1alpha1.RegfishPurchase) ([]purchase.Contender, error) {
	if p == nil || p.Status.DCV == nil {
		return nil, nil
	}
	var found []purchase.Contender
	seen := map[string]bool{}
	for _, record := range p.Status.DCV.Records {
		var list v1alpha1.RegfishPurchaseList
		if err := r.Client.List(ctx, &list, client.InNamespace(p.Namespace), client.MatchingFields{controller.PurchasesByRecord: record.Name}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list purchases that want %s: %w", record.Name, err)
		}
		for i := range list.Items {
			other := &list.Items[i]
			if seen[other.Name] {
				continue
			}
			seen[other.Name] = true
			found = append(found, purchase.Contender{Purchase: other})
		}
	}
	if len(found) == 1 && seen[p.Name] {
		return nil, nil // nearly always: who wants it does not matter
	}
	for i := range found {
		var err error
		if found[i].Wanted, err = controller.Wanted(ctx, r.Client, found[i].Purchase.Name); err != nil {
			return nil, err
		}
	}
	return found, nil
}
