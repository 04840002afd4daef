// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
)

// phase is where a purchase stands by its record alone, without what the vendor
// last said about it.
type phase int

const (
	// phasePlan: stands for a decision of a person; nothing was ever sent.
	phasePlan phase = iota + 1
	// phaseForeign: written by a version that this one does not understand.
	phaseForeign
	// phaseAbandoned: a person gave it up.
	phaseAbandoned
	// phasePlaced: the vendor's id is known.
	phasePlaced
	// phaseUnresolved: an order may have been placed.
	phaseUnresolved
	// phaseUnplaced: nothing was placed, and the same order may be tried again.
	phaseUnplaced
	// phaseSpent: nothing was placed, and a person has to license another attempt.
	phaseSpent
	// phaseRefused: nothing was placed, and the same order will not be tried again.
	phaseRefused
)

func phaseOf(p *v1alpha1.RegfishPurchase) phase {
	switch {
	case p.Spec.RecordVersion != v1alpha1.RecordVersion:
		return phaseForeign
	case IsPlan(p):
		return phasePlan
	case p.Spec.AbandonTime != nil:
		return phaseAbandoned
	case p.Spec.CertificateID != "":
		return phasePlaced
	}
	// Any attempt whose end is not known to have bought nothing decides, not the
	// last one: an accepted order without an id of its own is one of them.
	if slices.ContainsFunc(p.Spec.Attempts, unresolved) {
		return phaseUnresolved
	}
	last := lastAttempt(p)
	if last == nil || last.Outcome.Final || sourceRefused(p) || len(p.Spec.Successors) > 0 || len(p.Spec.Attempts) >= maxAttempts {
		return phaseRefused
	}
	if spent(p) {
		return phaseSpent
	}
	return phaseUnplaced
}

// OfOtherVersion reports whether another version of this controller wrote p, which may
// then mean anything and is only read.
func OfOtherVersion(p *v1alpha1.RegfishPurchase) bool { return phaseOf(p) == phaseForeign }

// maxAttempts is the most attempts that a purchase can record.
const maxAttempts = 50

// IsPlan reports whether p stands for a decision of a person and was never sent.
func IsPlan(p *v1alpha1.RegfishPurchase) bool { return p.Spec.Number == 0 }

func lastAttempt(p *v1alpha1.RegfishPurchase) *v1alpha1.Attempt {
	if len(p.Spec.Attempts) == 0 {
		return nil
	}
	// The list is a map by number for the API server; its order is not a promise.
	last := &p.Spec.Attempts[0]
	for i := range p.Spec.Attempts {
		if p.Spec.Attempts[i].Number > last.Number {
			last = &p.Spec.Attempts[i]
		}
	}
	return last
}

// attemptOf is the attempt of p with the number, nil if there is none.
func attemptOf(p *v1alpha1.RegfishPurchase, number int32) *v1alpha1.Attempt {
	i := slices.IndexFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return a.Number == number })
	if i < 0 {
		return nil
	}
	return &p.Spec.Attempts[i]
}

// requestOf names the request that the last attempt of p was made for.
func requestOf(p *v1alpha1.RegfishPurchase) (string, types.UID) {
	if a := lastAttempt(p); a != nil {
		return a.RequestName, a.RequestUID
	}
	return p.Spec.Beneficiary.RequestName, p.Spec.Beneficiary.RequestUID
}

// FirstIntent is when the first attempt of p was written; zero for a purchase
// without attempts.
func FirstIntent(p *v1alpha1.RegfishPurchase) time.Time {
	var first time.Time
	for _, a := range p.Spec.Attempts {
		if first.IsZero() || a.Time.Time.Before(first) {
			first = a.Time.Time
		}
	}
	return first
}

// inBaseline reports whether every unresolved attempt of p found the id in the account
// before its order was sent, so that it is the result of none of them.
func inBaseline(p *v1alpha1.RegfishPurchase, id string) bool {
	for _, a := range p.Spec.Attempts {
		if unresolved(a) && !slices.Contains(a.BaselineIDs, id) {
			return false
		}
	}
	return true
}

// unresolved reports whether the attempt may have placed an order. Without an outcome it may,
// whatever else is recorded: whoever ends an attempt records one.
func unresolved(a v1alpha1.Attempt) bool {
	if a.Outcome == nil {
		return true
	}
	if a.ReleaseTime != nil || (a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionNotFound) {
		return false
	}
	return unheard(a)
}

// gotOrder reports whether the attempt placed an order: regfish said so, or it was found in the
// account.
func gotOrder(a *v1alpha1.Attempt) bool {
	return (a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted) || (a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionAdopted)
}

// unheard reports whether no answer said what became of the attempt.
func unheard(a v1alpha1.Attempt) bool {
	return a.Outcome == nil || (a.Outcome.Result != v1alpha1.OutcomeRejected && a.Outcome.Result != v1alpha1.OutcomeNotSent)
}

// The most attempts of one purchase whose outcome was unknown, before a person has to
// license another one. Each of them was looked for and not found, and yet each may have
// been placed by a vendor that makes an order later than it can be looked for. An error
// in the vendor's own words says that the order has been dealt with, so more of those
// may follow each other, over a day: apart is how long after the end of a second one the
// next is made, so that what was made late shows before a third order does the same.
const (
	maxSilent  = 2
	maxUnheard = 5
	apart      = 6 * time.Hour
)

// spent reports whether the attempts of p are as many as are made without asking.
func spent(p *v1alpha1.RegfishPurchase) bool {
	silent, all := unheardOf(p)
	return silent >= maxSilent || all >= maxUnheard
}

// unheardOf counts the attempts of p whose outcome was unknown since a person licensed one,
// and those among them to which nobody answered.
func unheardOf(p *v1alpha1.RegfishPurchase) (silent, all int) {
	for _, a := range inOrder(p.Spec.Attempts) {
		if unheard(a) {
			all++
			if !answered(a) {
				silent++
			}
		}
		if a.ReleaseTime != nil {
			// A person licensed one more, whatever was before.
			silent, all = min(silent, maxSilent-1), min(all, maxUnheard-1)
		}
	}
	return silent, all
}

// inOrder returns the attempts by their numbers.
func inOrder(attempts []v1alpha1.Attempt) []v1alpha1.Attempt {
	return slices.SortedFunc(slices.Values(attempts), func(a, b v1alpha1.Attempt) int { return int(a.Number) - int(b.Number) })
}

// answered reports whether regfish itself said that the order failed on its side.
func answered(a v1alpha1.Attempt) bool {
	return a.Outcome != nil && a.Outcome.Answered && a.Outcome.HTTPStatus >= http.StatusInternalServerError
}

// pendingAttempt returns the attempt of p whose outcome is not recorded.
func pendingAttempt(p *v1alpha1.RegfishPurchase) *v1alpha1.Attempt {
	for i := range p.Spec.Attempts {
		if p.Spec.Attempts[i].Outcome == nil {
			return &p.Spec.Attempts[i]
		}
	}
	return nil
}

// PendingWriter is the process that made the attempt or the reissue of p whose outcome is
// not recorded; nil if there is none.
func PendingWriter(p *v1alpha1.RegfishPurchase) *v1alpha1.Writer {
	if r := openReissue(p); r != nil && r.Outcome == nil {
		return &r.Writer
	}
	if a := pendingAttempt(p); a != nil {
		return &a.Writer
	}
	return nil
}

// newest returns the numbered purchase with the highest number, nil if there is
// none.
func newest(ps []v1alpha1.RegfishPurchase) *v1alpha1.RegfishPurchase {
	var top *v1alpha1.RegfishPurchase
	for i := range ps {
		if !IsPlan(&ps[i]) && (top == nil || ps[i].Spec.Number > top.Spec.Number) {
			top = &ps[i]
		}
	}
	return top
}

// numbered returns the numbered purchases, newest first.
func numbered(ps []v1alpha1.RegfishPurchase) []*v1alpha1.RegfishPurchase {
	var out []*v1alpha1.RegfishPurchase
	for i := range ps {
		if !IsPlan(&ps[i]) {
			out = append(out, &ps[i])
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.RegfishPurchase) int { return int(b.Spec.Number) - int(a.Spec.Number) })
	return out
}

// requestKey is the hash of the public key in a CSR that passed the preflight
// when it was recorded; empty if it does not parse.
func requestKey(csr []byte) string { return pki.RequestKeySHA256(csr) }

// sameNames reports whether p was made for exactly the names of w.
func sameNames(p *v1alpha1.RegfishPurchase, w Want) bool {
	return slices.Equal(pki.ExactNames(p.Spec.CommonName, p.Spec.DNSNames), pki.ExactNames("", w.Request.DNSNames))
}

// inBounds reports whether p counts against the bounds of w: its lineage, and
// for requests without a Certificate all of them in the namespace with the same
// names, since each of those is a lineage of its own.
func inBounds(p *v1alpha1.RegfishPurchase, w Want, now time.Time) bool {
	if w.Beneficiary.CertificateName != "" {
		return inLineage(p, w, now)
	}
	return p.Spec.Beneficiary.Namespace == w.Beneficiary.Namespace && p.Spec.Beneficiary.CertificateName == "" && sameNames(p, w)
}

// Name is the name of the purchase of the given number.
func Name(namesHash string, number int32) string { return fmt.Sprintf("%s-%d", namesHash, number) }

// PlanName is the name of the plan for w: one for each namespace, issuer, names
// and key.
func PlanName(w Want) string {
	sum := sha256.New()
	for _, part := range append([]string{w.Beneficiary.Namespace, w.Issuer.Kind, w.Issuer.Namespace, w.Issuer.Name, w.Request.KeySHA256}, pki.ExactNames("", w.Request.DNSNames)...) {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("%s-plan-%s", w.NamesHash(), hex.EncodeToString(sum.Sum(nil))[:10])
}

// New is the record of a purchase for w, without attempts.
func New(w Want, namespace string, number int32) *v1alpha1.RegfishPurchase {
	p := &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name(w.NamesHash(), number), Labels: labels(w)},
		Spec: v1alpha1.PurchaseSpec{
			RecordVersion:  v1alpha1.RecordVersion,
			NamesHash:      w.NamesHash(),
			Number:         number,
			Endpoint:       w.Endpoint,
			IssuerRef:      w.Issuer,
			Beneficiary:    w.Beneficiary,
			Action:         v1alpha1.ActionNew,
			SKU:            w.SKU,
			CommonName:     w.Request.CommonName,
			DNSNames:       w.Request.DNSNames,
			Request:        w.Request.PEM,
			OrganizationID: w.OrganizationID,
			DCVMethod:      w.DCVMethod,
			DCVEmails:      w.DCVEmails,
			ValidityDays:   w.ValidityDays,
		},
	}
	if number == 0 {
		p.Name = PlanName(w)
	}
	return p
}

// labels are the request's own, so that whoever pays can sum up by team, and ours. Of
// the request's only those without a prefix are copied, which Kubernetes reserves for
// users: a GitOps tool marks what it made with a prefixed label, cert-manager hands
// that on from the Certificate to the request, and a purchase that carried it would be
// taken for something the tool made and pruned, with all that was paid for.
func labels(w Want) map[string]string {
	out := map[string]string{}
	for k, v := range w.Labels {
		if !strings.Contains(k, "/") {
			out[k] = v
		}
	}
	for k, v := range map[string]string{
		v1alpha1.LabelNamespace:  w.Beneficiary.Namespace,
		v1alpha1.LabelIssuerKind: w.Issuer.Kind,
		v1alpha1.LabelIssuerName: w.Issuer.Name,
	} {
		if len(validation.IsValidLabelValue(v)) == 0 {
			out[k] = v
		}
	}
	return out
}
