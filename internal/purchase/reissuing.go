// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// reissue has what d.Purchase holds issued again: it writes the intent, asks for the
// reissue and records how that ended. What repeats it (a conflict, a restart, another
// leader, a re-created request) meets the record: nobody else appends to the purchase that
// changed since the decision, and a reissue that has not ended is followed or waited for.
// TestReissueIsAskedForOnce shows each of these.
func (s *Spender) reissue(ctx context.Context, vendor Vendor, issuer v1alpha1.Issuer, facts Facts, d Decision) (Decision, *credentials.Problem, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, nil, err
	}
	id := d.Purchase.Spec.CertificateID
	source, err := sourceOf(ctx, vendor, facts.Sources[id].Certificate)
	if err != nil {
		if regfish.KindOf(err) == regfish.KindNone {
			return Decision{}, nil, err
		}
		return queue(&IssuerProblem{v1alpha1.ReasonVendorUnavailable, fmt.Sprintf("%s is to be reissued, and the certificate that it has now could not be read: %v", id, err)}).notBefore(err), nil, nil
	}
	// As before an order: from the intent on it is sent at once or not at all.
	reserved, giveUp, err := vendor.Reserve(ctx)
	if err != nil {
		if regfish.KindOf(err) != regfish.KindNotNow {
			return Decision{}, nil, err
		}
		return queue(&IssuerProblem{v1alpha1.ReasonVendorUnavailable, "nothing can be sent to regfish just now: " + err.Error()}).notBefore(err), nil, nil
	}
	defer giveUp()
	ctx = context.WithoutCancel(reserved)
	release, err := s.claim(d.Purchase.Name)
	if err != nil {
		return Decision{}, nil, err
	}
	begun := time.Now()
	r := v1alpha1.Reissue{
		Number:         int32(len(d.Purchase.Spec.Reissues) + 1), //nolint:gosec // at most maxReissues
		Time:           metav1.NewMicroTime(s.Clock.Now()),
		IssuerRef:      facts.Want.Issuer,
		Beneficiary:    facts.Want.Beneficiary,
		KeySHA256:      facts.Want.Request.KeySHA256,
		KeyAlgorithm:   facts.Want.Request.KeyAlgorithm,
		DCVMethod:      facts.Want.DCVMethod,
		Reason:         regfish.Sanitise(d.Message, maxReason),
		Writer:         s.Writer,
		ClusterUID:     s.ClusterUID,
		KeyFingerprint: vendor.Fingerprint(),
		Source:         *source,
	}
	if d.Licence != nil {
		// From here on the plan licenses nothing more.
		r.PlanUID = d.Licence.UID
	}
	p := d.Purchase.DeepCopy()
	p.Spec.Reissues = append(p.Spec.Reissues, r)
	if err := s.Client.Patch(ctx, p, client.MergeFromWithOptions(d.Purchase, client.MergeFromWithOptimisticLock{})); err != nil {
		// What could not be written was not asked for. If the write did arrive after
		// all, Settle finds it.
		release()
		return Decision{}, nil, fmt.Errorf("add reissue %d to purchase %s: %w", r.Number, p.Name, err)
	}
	c := facts.Sources[id].Certificate
	result := s.post(ctx, vendor, facts, parcel{
		id: id, record: reissuesOf(p.Name), number: r.Number, intent: r.Time.Time, begun: begun,
		// The names as regfish shows them: the list has to be the order's, exactly.
		reissue: regfish.ReissueRequest{CSR: string(facts.Want.Request.PEM), DCVMethod: vendorMethod(r.DCVMethod), CommonName: c.CommonName, DNSNames: c.DNSNames},
	})
	giveUp()
	ended := s.outcome(result)
	metrics.Attempt(p, v1alpha1.ActionReissue, ended.Result)
	p = s.recordReissue(ctx, p, r.Number, ended, result)
	release()
	s.show(ctx, issuer, p, result)
	return Plan(facts.with(p)), refusal(issuer, result, true), nil
}

// sourceOf is what regfish says of the certificate and serves for it now.
func sourceOf(ctx context.Context, vendor Vendor, c regfish.Certificate) (*v1alpha1.ReissueSource, error) {
	s := &v1alpha1.ReissueSource{NotAfter: metaTime(c.ValidUntil), SerialNumber: regfish.Sanitise(c.SerialNumber, 128)}
	if c.Reissue != nil {
		s.ReissueID, s.RequestTime = regfish.Sanitise(c.Reissue.ID, 64), metaTime(c.Reissue.RequestedAt)
	}
	leaf, err := leafOf(ctx, vendor, c)
	if err != nil || leaf == nil {
		return s, err
	}
	s.SHA256 = pki.CertificateSHA256(leaf)
	return s, nil
}

// recordReissue writes what regfish answered to a reissue, and does not return before that
// is durable.
func (s *Spender) recordReissue(ctx context.Context, p *v1alpha1.RegfishPurchase, number int32, o v1alpha1.Outcome, result regfish.OrderResult) *v1alpha1.RegfishPurchase {
	return s.untilDurable(ctx, p, o, result, func(live *v1alpha1.RegfishPurchase) error {
		for _, r := range reissuesInOrder(p) {
			// A record that was restored from a backup older than the intent, or than earlier
			// ones, without which the API server does not take this one.
			if !slices.ContainsFunc(live.Spec.Reissues, func(l v1alpha1.Reissue) bool { return l.Number == r.Number }) {
				live.Spec.Reissues = append(live.Spec.Reissues, r)
			}
		}
		i := slices.IndexFunc(live.Spec.Reissues, func(r v1alpha1.Reissue) bool { return r.Number == number })
		if live.Spec.Reissues[i].Outcome == nil {
			live.Spec.Reissues[i].Outcome = &o
		}
		return nil
	})
}

// reading of a certificate whose reissue may or may not have been taken, as this process
// remembers it.
type rereading struct {
	uid    types.UID
	number int32
	begun  time.Time
	looks  int
}

// Reissued records what c, which regfish just said of the certificate of p, shows of the
// reissue of p that has not ended: whether regfish took it, and how it ended. Whatever
// repeats it finds the record and writes nothing.
func (r *Resolver) Reissued(ctx context.Context, vendor Vendor, p *v1alpha1.RegfishPurchase, c regfish.Certificate) error {
	open := openReissue(p)
	if open == nil {
		return nil
	}
	now := r.Spender.Clock.Now()
	if inDoubt(open) && !shows(open, c) {
		// A row of a list need not have all that the id has, and what it lacks would count.
		var err error
		if c, err = vendor.Certificate(ctx, p.Spec.CertificateID); err != nil {
			return err
		}
	}
	key, err := r.changedKey(ctx, vendor, open, c)
	if err != nil {
		return err
	}
	if inDoubt(open) {
		result, message := v1alpha1.ResolutionAdopted, "the certificate shows it."
		if !shows(open, c) && key != open.KeySHA256 {
			if done, err := r.lacks(ctx, p, open, now); !done || err != nil {
				return err
			}
			result, message = v1alpha1.ResolutionNotFound, fmt.Sprintf("readings of the certificate over %s do not show it.", r.SettleTime)
		}
		if err := r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
			open := openReissue(p)
			if open.Outcome == nil {
				open.Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Message: "the process that asked for it ended before its answer was recorded.", Time: metav1.NewMicroTime(now)}
			}
			open.Resolution = &v1alpha1.Resolution{Result: result, Proved: key == open.KeySHA256, Message: message, Time: metav1.NewMicroTime(now)}
		}); err != nil || result == v1alpha1.ResolutionNotFound {
			return err
		}
		open = openReissue(p)
	}
	ended := endReissue(open, c, key)
	if ended == nil {
		return nil
	}
	ended.Time = metav1.NewMicroTime(now)
	return r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) { openReissue(p).End = ended })
}

// TellsOfReissue reports whether c, which regfish says now, may tell more of a reissue of p
// that has not ended than that it runs on.
func TellsOfReissue(p *v1alpha1.RegfishPurchase, c *regfish.Certificate) bool {
	r := openReissue(p)
	return r != nil && c != nil && (inDoubt(r) || !c.Reissue.Active())
}

// shows reports whether regfish shows a reissue that was not there before r was asked for.
func shows(r *v1alpha1.Reissue, c regfish.Certificate) bool {
	v := c.Reissue
	if v == nil {
		return false
	}
	requested := metaTime(v.RequestedAt)
	return v.Active() || regfish.Sanitise(v.ID, 64) != r.Source.ReissueID || (requested != nil && !requested.Equal(r.Source.RequestTime))
}

// changedKey returns the hash of the key of the certificate that regfish serves, if that is
// another certificate than before r was asked for; empty if it is not, or cannot be read
// yet. It is only read if something says that it may be.
func (r *Resolver) changedKey(ctx context.Context, vendor Vendor, open *v1alpha1.Reissue, c regfish.Certificate) (string, error) {
	sameDates := metaTime(c.ValidUntil).Equal(open.Source.NotAfter) && regfish.Sanitise(c.SerialNumber, 128) == open.Source.SerialNumber
	finished := shows(open, c) && c.Reissue.Status == regfish.ReissueIssued
	if sameDates && !finished && !inDoubt(open) {
		return "", nil
	}
	leaf, err := leafOf(ctx, vendor, c)
	if err != nil || leaf == nil {
		return "", err
	}
	if pki.CertificateSHA256(leaf) == open.Source.SHA256 || (open.Source.SHA256 == "" && sameDates) {
		return "", nil
	}
	key, err := pki.KeySHA256(leaf.PublicKey)
	if err != nil {
		return "", nil //nolint:nilerr // what cannot be read proves nothing
	}
	return key, nil
}

// lacks reports whether the certificate has lacked the reissue for long enough for it
// never to have been taken: three readings over the settle time by this process, which the
// process that asked for it does not outlive.
func (r *Resolver) lacks(ctx context.Context, p *v1alpha1.RegfishPurchase, open *v1alpha1.Reissue, now time.Time) (bool, error) {
	r.mu.Lock()
	seen := r.rereadings[p.Name]
	if seen.uid != p.UID || seen.number != open.Number {
		seen = rereading{uid: p.UID, number: open.Number, begun: now}
	}
	seen.looks++
	if r.rereadings == nil {
		r.rereadings = map[string]rereading{}
	}
	r.rereadings[p.Name] = seen
	r.mu.Unlock()
	known := now.Sub(seen.begun)
	if seen.looks < looks || known < r.SettleTime {
		return false, nil
	}
	if open.Outcome != nil {
		return true, nil
	}
	who, err := r.alive(ctx, open.Writer, open.Time.Time, known)
	return who == "", err
}

// endReissue is how the reissue ended, nil if it did not. key is that of the certificate
// that regfish serves now, if that is another one than before.
func endReissue(r *v1alpha1.Reissue, c regfish.Certificate, key string) *v1alpha1.ReissueEnd {
	switch {
	case key == r.KeySHA256:
		return &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueIssued}
	case shows(r, c) && c.Reissue.Failed():
		return &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueFailed, Message: fmt.Sprintf("regfish says that it was %s.", regfish.Sanitise(c.Reissue.Status, 32))}
	case closed(c):
		return &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueFailed, Message: fmt.Sprintf("regfish says that the order is %s.", regfish.Sanitise(c.Status, 32))}
	case key != "" && !c.Reissue.Active():
		return &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueReplaced, Message: "the certificate was issued again for another key."}
	}
	return nil
}
