// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// A process that was frozen inside the write of an order, and a vendor that makes an
// order later than it is looked for, can have an order placed beside the one that is
// recorded. Nothing here can prevent that; it can be found, and told in time to cancel it.

// duplicateOf returns the purchase that the certificate may have been bought beside: no
// record holds it, and it appeared after the first order for its names was begun. Of
// several purchases for the names it is the last one that was begun before it appeared.
// What may be the result of an order that is being looked for is no duplicate yet.
func duplicateOf(c regfish.Certificate, fingerprint string, ledger []v1alpha1.RegfishPurchase) *v1alpha1.RegfishPurchase {
	if ended(c) || slices.ContainsFunc(ledger, func(p v1alpha1.RegfishPurchase) bool { return waived(&p, c.ID) }) {
		return nil
	}
	var last *v1alpha1.RegfishPurchase
	for i := range ledger {
		p := &ledger[i]
		switch {
		case p.Spec.CertificateID == c.ID, phaseOf(p) == phaseUnresolved && couldBe(p, c, nil, nil):
			return nil
		case OfOtherVersion(p) || !sentWithKey(p, fingerprint) || disproved(p, c.ID) || slices.Contains(firstAttempt(p).BaselineIDs, c.ID) || !fits(p, c.Names()):
		case last == nil || p.Spec.Number > last.Spec.Number:
			last = p
		}
	}
	return last
}

// sentWithKey reports whether an order of p was sent with the key: what another account
// holds was not bought by it.
func sentWithKey(p *v1alpha1.RegfishPurchase, fingerprint string) bool {
	return slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return a.KeyFingerprint == fingerprint })
}

func firstAttempt(p *v1alpha1.RegfishPurchase) *v1alpha1.Attempt {
	return &inOrder(p.Spec.Attempts)[0]
}

// markDuplicates shows on the purchases what a complete list of the account says of
// orders beside them. ledger has at least all purchases for the names of the rows.
func (s *Spender) markDuplicates(ctx context.Context, vendor Vendor, rows []regfish.Certificate, ledger []v1alpha1.RegfishPurchase) error {
	fingerprint := vendor.Fingerprint()
	found := map[string][]regfish.Certificate{}
	for _, c := range rows {
		if len(c.Names()) == 0 {
			// A row without names says nothing about its names; the id does.
			whole, err := vendor.Certificate(ctx, c.ID)
			if regfish.KindOf(err) == regfish.KindNotFound {
				continue
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", regfish.Sanitise(c.ID, 64), err)
			}
			c = whole
		}
		p := duplicateOf(c, fingerprint, ledger)
		if p == nil {
			continue
		}
		// What is issued with another key was not bought here.
		leaf, err := leafOf(ctx, vendor, c)
		if err != nil {
			return err
		}
		if !disproves(p, leaf) {
			found[p.Name] = append(found[p.Name], c)
		}
	}
	for i := range ledger {
		p := &ledger[i]
		if !sentWithKey(p, fingerprint) || OfOtherCluster(p, s.ClusterUID) || OfOtherVersion(p) {
			continue
		}
		before := p.DeepCopy()
		duplicate(&p.Status, found[p.Name])
		if equality.Semantic.DeepEqual(before.Status, p.Status) {
			continue
		}
		err := s.Client.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("report a duplicate: %w", err)
		}
		if c := Turned(before.Status.Conditions, p.Status.Conditions, v1alpha1.ConditionDuplicateFound); err == nil && c != nil && s.Warn != nil {
			s.Warn(p, *c)
		}
	}
	return nil
}

// unexplained are what the account held before an order, which neither a record nor an
// order that is looked for explains.
func (b *Baseline) unexplained() []regfish.Certificate {
	var rows []regfish.Certificate
	for _, c := range b.Unclaimed {
		if c.Of == "" {
			rows = append(rows, c.Certificate)
		}
	}
	return rows
}

// duplicate sets or removes the condition.
func duplicate(s *v1alpha1.PurchaseStatus, beside []regfish.Certificate) {
	if len(beside) == 0 {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionDuplicateFound)
		return
	}
	var orders []string
	for _, c := range beside[:min(len(beside), maxNamed)] {
		until := ""
		if c.OrderCancellableUntil != nil {
			until = ", cancellable until " + utc(*c.OrderCancellableUntil)
		}
		orders = append(orders, fmt.Sprintf("%s (%s%s)", regfish.Sanitise(c.ID, 64), regfish.Sanitise(c.Status, 32), until))
	}
	set(s, v1alpha1.ConditionDuplicateFound, metav1.ConditionTrue, v1alpha1.ReasonOrderAppeared, fmt.Sprintf(
		"after this purchase was begun, the account got for the same names what is in no record and may have been bought twice: %s. Somebody with access to the account has to cancel it there if nobody needs it; it is never used by itself.", strings.Join(orders, ", ")))
	arrange(s.Conditions)
}

// watchFor is for how long a purchase of which an order may appear late is watched.
const watchFor = 72 * time.Hour

// Watch reads the account from time to time for orders that appear beside p, if one may
// still appear: an attempt was not answered with the id that p holds. It returns when to
// call again, 0 if there is nothing to watch for.
func (r *Resolver) Watch(ctx context.Context, p *v1alpha1.RegfishPurchase) (time.Duration, error) {
	now := r.Spender.Clock.Now()
	left := mayAppear(p).Add(watchFor).Sub(now)
	if OfOtherVersion(p) || Unresolved(p) || left <= 0 {
		return 0, nil
	}
	every := 2 * r.SettleTime
	r.mu.Lock()
	next, known := r.watched[p.Name]
	if !known {
		// A process that does not live for long watches too.
		next = now.Add(min(lookAgain, every))
	}
	due := !now.Before(next)
	if due {
		next = now.Add(every)
	}
	if r.watched == nil {
		r.watched = map[string]time.Time{}
	}
	r.watched[p.Name] = next
	r.mu.Unlock()
	if !due {
		return max(time.Second, next.Sub(now)), nil
	}
	vendor, _, gap, err := r.connect(ctx, p)
	if err != nil || gap != "" {
		return every, err
	}
	account, err := r.account(ctx, vendor, p.Spec.Endpoint)
	if err == nil {
		err = r.Spender.markDuplicates(ctx, vendor, account.rows, account.ledger)
	}
	if regfish.KindOf(err) != regfish.KindNone {
		return max(every, regfish.RetryAfter(err)), nil
	}
	return every, err
}

// mayAppear is the last time at which it was decided what became of an order of p
// without its answer, or that it did not matter; zero if that never was.
func mayAppear(p *v1alpha1.RegfishPurchase) time.Time {
	var last time.Time
	later := func(t *metav1.MicroTime) {
		if t != nil && t.After(last) {
			last = t.Time
		}
	}
	for _, a := range p.Spec.Attempts {
		later(a.ReleaseTime)
		if a.Resolution != nil {
			// What was found is one order. Another one that it was chosen from may have
			// been bought as well.
			later(&a.Resolution.Time)
		}
		if a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted && a.Outcome.Message != "" {
			// The answer named another id than the one that p holds.
			later(&a.Outcome.Time)
		}
	}
	if p.Spec.CertificateID == "" && len(p.Spec.Attempts) > 0 {
		later(p.Spec.AbandonTime)
	}
	return last
}
