// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// What is done with what is paid for: Certificates that are due, or whose keys are lost,
// at a vendor who reissues and renews, or refuses to.

// lineage is what the run knows of it.
type lineage struct {
	// asks are the Certificates by the keys that were asked for.
	asks map[string]*wanted
	// left are the orders that left a process, by their keys.
	left map[string][]shipment
	// fallen are the keys for which a reissue was refused or came to nothing, and failed the
	// numbers of those that the vendor took and that came to nothing.
	fallen map[string]bool
	failed map[int]bool
	// restored says that the ledger was.
	restored bool
}

// shipment is an order that left a process.
type shipment struct {
	at time.Time
	// needless is why nothing had to be bought; empty if something had to be.
	needless string
}

func newLineage() lineage {
	return lineage{asks: map[string]*wanted{}, left: map[string][]shipment{}, fallen: map[string]bool{}, failed: map[int]bool{}}
}

// drawTerms draws what an order pays for, and what becomes of it.
func drawTerms(r *rand.Rand, p *plan) {
	if r.IntN(4) == 0 {
		p.refusesReissue = pick(r, 404, 409, 422)
	}
	if r.IntN(4) == 0 {
		p.refusesRenewal = pick(r, 404, 409, 422)
	}
	p.failing = pick(r, 0, 0, 0, 1, 2)
	if r.IntN(10) == 0 {
		p.days, p.contract, p.renewals, p.rotates = 1, int32(pick(r, 0, 3)), 1+r.IntN(2), r.IntN(3) > 0
	}
}

// reissued: a certificate is asked for again for another key, and the answers to the
// reissues are lost, or those who ask end.
func reissued(r *rand.Rand, p *plan) {
	p.asks, p.renewals, p.rotates, p.again = p.asks[:min(len(p.asks), 2)], 1+r.IntN(2), true, pick(r, time.Minute, 20*time.Minute)
	p.atOrder = []fault{none, pick(r, none, requestLost, replyLost, crashBefore, crashAfter, errorAfter), pick(r, none, pick(r, unheard...))}
	p.failing = pick(r, 0, 0, 1)
	p.faults = drawFaults(r, r.IntN(4), 80*(1+len(p.asks)))
	for range r.IntN(3) {
		p.actions = append(p.actions, action{kind: pick(r, recreateSameKey, recreateOtherKey, rekey, forget, deleteOrder, recreateCertificate, stranger), step: 40 + r.IntN(160), ask: r.IntN(len(p.asks))})
	}
	slices.SortStableFunc(p.actions, func(a, b action) int { return a.step - b.step })
}

// fallenBack: what is paid for cannot be reissued, and perhaps not renewed either.
func fallenBack(r *rand.Rand, p *plan) {
	reissued(r, p)
	p.asks, p.renewals = p.asks[:1], 1
	if p.refusesReissue = pick(r, 0, 400, 404, 409, 422); p.refusesReissue == 0 {
		p.failing = 3
	}
	p.refusesRenewal, p.listLag = pick(r, 0, 404, 409), pick(r, 0, 25*time.Minute)
	p.atOrder = []fault{none, pick(r, none, none, crashBefore, crashAfter), pick(r, none, requestLost, replyLost, crashAfter, errorAfter), pick(r, none, replyLost)}
}

// aYear: certificates are due again and again, until their contract is over and beyond.
func aYear(r *rand.Rand, p *plan) {
	p.asks, p.days, p.contract, p.renewals, p.rotates = p.asks[:1], 1, int32(pick(r, 0, 2, 3)), 1+r.IntN(4), r.IntN(2) == 0
	p.issueDelay = 0
	p.refusesRenewal = pick(r, 0, 0, 404, 409)
	p.atOrder = []fault{none, pick(r, none, pick(r, unheard...)), pick(r, none, none, pick(r, unheard...))}
	p.faults = drawFaults(r, r.IntN(3), 400)
	for range r.IntN(3) {
		p.actions = append(p.actions, action{kind: pick(r, rekey, recreateSameKey, recreateCertificate, stranger), step: 40 + r.IntN(600)})
	}
	slices.SortStableFunc(p.actions, func(a, b action) int { return a.step - b.step })
}

// renew asks for a Certificate again when its certificate is due, as cert-manager does, or
// after the time of the plan, as if its Secret were lost.
func (w *world) renew(i int, cr *cmapi.CertificateRequest) {
	a := w.asks[i]
	if a.issued == a.number || cmutil.CertificateRequestReadyReason(cr) != cmapi.CertificateRequestReasonIssued {
		return
	}
	a.issued = a.number
	w.certificateReady(a)
	leaf, err := pki.ParseLeaf(cr.Status.Certificate)
	if a.renewed >= w.plan.renewals || err != nil {
		return
	}
	a.renewed++
	wait := time.Until(leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3))
	if w.plan.again > 0 {
		wait = w.plan.again
	}
	number := a.number
	w.in(wait, fmt.Sprintf("%s is due", a.name), func() {
		if a.number != number || a.forgotten {
			return
		}
		if w.plan.rotates {
			a.key += 100
		}
		w.request(i)
	})
}

// certificateReady says that the Certificate has what it asks for.
func (w *world) certificateReady(a *wanted) {
	var c cmapi.Certificate
	if w.store.Get(types.NamespacedName{Namespace: a.namespace, Name: a.name}, &c) != nil {
		return
	}
	before := c.DeepCopy()
	cmutil.SetCertificateCondition(&c, c.Generation, cmapi.CertificateConditionReady, cmmeta.ConditionTrue, "Ready", "it is issued")
	w.must(w.store.Patch(&c, client.MergeFrom(before), true))
}

// recreate deletes a Certificate, with all that belongs to it, and creates it again.
func (w *world) recreate(i int) {
	a := w.asks[i]
	_ = w.store.Delete(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}})
	for number := range a.number {
		w.remove(types.NamespacedName{Namespace: a.namespace, Name: fmt.Sprintf("%s-%d", a.name, number+1)})
	}
	number := a.number
	w.in(10*time.Minute, "the Certificate is created again", func() {
		if a.number != number || a.forgotten {
			return
		}
		a.key += 100
		w.request(i)
	})
}

// reissueForAnother has the newest certificate of the names reissued for another key, past
// the controller, and gives that up after two hours.
func (w *world) reissueForAnother(want *wanted) {
	csr := csrFor(want.names, -2)
	w.strangers[keyOf(csr)] = true
	for _, p := range slices.Backward(w.shop.Purchases()) {
		if w.lineage.asks[p.KeyHash] != want {
			continue
		}
		body, err := json.Marshal(regfish.ReissueRequest{CSR: string(csr), DCVMethod: regfish.DCVMethodCNAME, CommonName: p.CommonName, DNSNames: p.DNSNames})
		w.must(err)
		w.shop.post(apiKey, "/tls/certificate/"+p.ID+"/reissue", body)
		w.in(2*time.Hour, "the reissue of the console is cancelled", func() {
			if w.lastReissue(p.ID).KeyHash == keyOf(csr) {
				_ = w.shop.FailReissue(p.ID)
			}
		})
		return
	}
}

// lastReissue is the last one of an order that the vendor took.
func (w *world) lastReissue(id string) (last simulator.Reissue) {
	for _, made := range w.shop.Reissues() {
		if made.CertificateID == id {
			last = made
		}
	}
	return last
}

// leaves has something done when an order or a reissue leaves a process.
func (w *world) leaves(mayWrite func() error, do func()) func() error {
	return func() error {
		if err := mayWrite(); err != nil {
			return err
		}
		w.calm()
		do()
		return nil
	}
}

// refuse has the vendor refuse what comes next; the status 0: not.
func (w *world) refuse(e simulator.Endpoint, status int) {
	if status != 0 {
		w.shop.InjectFault(simulator.Fault{Endpoint: e, Kind: simulator.FaultStatus, Status: status})
	}
}

func (w *world) orderLeaves(r regfish.OrderRequest) {
	if r.RenewalOfCertificateID != "" {
		w.refuse(simulator.EndpointOrder, w.plan.refusesRenewal)
	}
	key := keyOf([]byte(r.CSR))
	w.lineage.left[key] = append(w.lineage.left[key], shipment{time.Now(), w.needless(key)})
}

func (w *world) reissueLeaves(id string, r regfish.ReissueRequest) {
	w.refuse(simulator.EndpointReissue, w.plan.refusesReissue)
	if len(w.lineage.failed) >= w.plan.failing {
		return
	}
	// Before the DNS automation looks.
	w.in(2*time.Second, "the authority refuses the reissue", func() {
		if last := w.lastReissue(id); w.shop.FailReissue(id) == nil {
			w.lineage.failed[last.Number], w.lineage.fallen[last.KeyHash] = true, true
		}
	})
}

// reissueAnswered notes that a reissue was refused: something is bought then.
func (w *world) reissueAnswered(csr string, r regfish.OrderResult) {
	if r.Outcome == regfish.Rejected {
		w.lineage.fallen[keyOf([]byte(csr))] = true
	}
}

// The vendor's own rule of when a reissue gains time, and how wrong the clocks are at most.
const (
	gains  = 24 * time.Hour
	skewed = time.Hour
)

// needless says why nothing has to be bought for the key now; empty if something has to
// be: what is paid for ends, or cannot be used.
func (w *world) needless(key string) string {
	a := w.lineage.asks[key]
	if a == nil || w.lineage.fallen[key] || w.decisions > 0 {
		return ""
	}
	now := time.Now()
	for _, p := range w.shop.Purchases() {
		if w.lineage.asks[p.KeyHash] != a || w.cancelled[p.ID] {
			continue
		}
		t, issued := w.shop.Term(p.ID)
		due := !now.Add(skewed).Before(renewed(t.NotBefore, t.NotAfter))
		late := t.End.Sub(now) < t.End.Sub(t.Begin)/10+skewed
		switch {
		case !issued:
			return fmt.Sprintf("%s was on its way", p.ID)
		case !due && !late, t.End.Sub(t.NotAfter) > gains+skewed:
			return fmt.Sprintf("%s lived until %s and was paid for until %s", p.ID, t.NotAfter.Sub(w.begun), t.End.Sub(w.begun))
		}
	}
	return ""
}

// renewed is when what lives for so long is renewed at the earliest: a margin before
// cert-manager's own time.
func renewed(notBefore, notAfter time.Time) time.Time {
	lifetime := notAfter.Sub(notBefore)
	return notAfter.Add(-lifetime/3 - max(time.Hour, lifetime/100))
}

// forced checks that nothing was bought while what was paid for served.
func (w *world) forced(sold []simulator.Purchase, r *result) {
	for _, s := range sold {
		if s.RenewalOf != "" {
			r.renewals++
		}
		var last shipment
		for _, x := range w.lineage.left[s.KeyHash] {
			if !x.at.After(s.Time) {
				last = x
			}
		}
		if last.needless == "" {
			continue
		}
		if !w.plan.outside {
			r.duplicates++
			w.violate("needless: %s was bought, and %s", s.ID, last.needless)
		}
	}
}

// reissuedOnce checks that every reissue that the vendor took is recorded, was asked for
// once, and for a request that was there.
func (w *world) reissuedOnce(records []v1alpha1.RegfishPurchase, r *result) {
	sold := w.shop.Purchases()
	// What was made last of each order: what was bought for a key is as good as reissued.
	last := map[string]simulator.Reissue{}
	for _, s := range sold {
		last[s.ID] = simulator.Reissue{Time: s.Time, KeyHash: s.KeyHash}
	}
	for _, made := range w.shop.Reissues() {
		if w.strangers[made.KeyHash] {
			continue
		}
		of := sold[slices.IndexFunc(sold, func(s simulator.Purchase) bool { return s.ID == made.CertificateID })]
		if before := last[of.ID]; before.KeyHash == made.KeyHash && made.Time.Before(w.dueAgain(before.Time, of.ValidityDays)) {
			r.duplicates++
			w.violate("reissued twice: %s for one key, the second time as reissue %d", of.ID, made.Number)
		}
		if !w.lineage.failed[made.Number] {
			last[of.ID] = made
		}
		if !w.lineage.restored && !slices.ContainsFunc(records, func(p v1alpha1.RegfishPurchase) bool {
			return p.Spec.CertificateID == made.CertificateID && slices.ContainsFunc(p.Spec.Reissues, func(r v1alpha1.Reissue) bool { return r.KeySHA256 == made.KeyHash && took(r) })
		}) {
			r.lost++
			w.violate("lost: reissue %d of %s is in no record", made.Number, made.CertificateID)
		}
		if !slices.ContainsFunc(w.lives[made.KeyHash], func(l life) bool {
			return !made.Time.Before(l.from) && (l.to.IsZero() || made.Time.Sub(l.to) <= purchase.WriteWindow)
		}) {
			w.violate("unwanted: reissue %d of %s was begun for a request that was gone", made.Number, made.CertificateID)
		}
	}
}

// dueAgain is when a certificate of so many days that was bought then is due at the earliest.
func (w *world) dueAgain(bought time.Time, days int) time.Time {
	day := cmp.Or(w.plan.day, 24*time.Hour)
	begun := bought.Add(-day / 24)
	return renewed(begun, begun.Add(time.Duration(days)*day)).Add(-max(w.plan.skew[0].Abs(), w.plan.skew[1].Abs()))
}

// took reports whether the record says that the vendor took the reissue.
func took(r v1alpha1.Reissue) bool {
	if r.Resolution != nil {
		return r.Resolution.Result == v1alpha1.ResolutionAdopted
	}
	return r.Outcome != nil && r.Outcome.Result == v1alpha1.OutcomeAccepted
}
