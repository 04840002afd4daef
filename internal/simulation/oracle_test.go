// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// keyOf is the vendor's name for the key of a CSR, made without the controller's code.
func keyOf(csr []byte) string {
	block, _ := pem.Decode(csr)
	if block == nil {
		return ""
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(request.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// atRest reports whether nothing is expected that does not come from outside.
func (w *world) atRest() bool { return w.unrest() == "" }

// unrest is what is still expected; empty if that is nothing.
func (w *world) unrest() string {
	now := time.Now()
	for _, s := range w.slots {
		if now.Before(s.frozen) || now.Before(s.held) {
			return "a replica does not know the present"
		}
	}
	if !w.healthy() {
		return "nobody leads"
	}
	if sold := w.shop.Purchases(); w.plan.outside && len(sold) > 0 && now.Sub(sold[len(sold)-1].Time) < 4*time.Hour {
		return "something was sold a moment ago"
	}
	for _, p := range w.purchases() {
		if slices.ContainsFunc(w.slots[:], func(s *slot) bool { return s.p != nil && !s.p.dead && s.p.spender.Flying(p.Name) }) {
			return p.Name + " is being sent, or its outcome recorded"
		}
		held := meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld)
		switch {
		case held, purchase.IsPlan(&p), purchase.Resting(&p):
		case purchase.Unresolved(&p) && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionPlaced) && !w.wanted(&p):
			// It is followed as long as nobody proves control of its names.
		case purchase.Unresolved(&p):
			return "it is not known what became of " + p.Name
		case p.Spec.CertificateID != "" && w.shown(p.Name):
			return p.Name + " is on its way"
		}
	}
	var requests cmapi.CertificateRequestList
	w.must(w.store.List(&requests))
	for i := range requests.Items {
		if why := w.open(&requests.Items[i]); why != "" {
			return why
		}
	}
	return ""
}

// wanted reports whether the request of the purchase is there.
func (w *world) wanted(p *v1alpha1.RegfishPurchase) bool {
	return slices.ContainsFunc(w.lives[keyOf(p.Spec.Request)], func(l life) bool { return l.to.IsZero() })
}

// shown reports whether an order shows the purchase.
func (w *world) shown(name string) bool {
	var orders v1alpha1.RegfishOrderList
	w.must(w.store.List(&orders))
	return slices.ContainsFunc(orders.Items, func(o v1alpha1.RegfishOrder) bool {
		return controller.PurchaseShown(&o) == name
	})
}

// open is what a request waits for that will come; empty if that is nothing.
func (w *world) open(cr *cmapi.CertificateRequest) string {
	switch cmutil.CertificateRequestReadyReason(cr) {
	case cmapi.CertificateRequestReasonIssued, cmapi.CertificateRequestReasonFailed:
		return ""
	}
	var o v1alpha1.RegfishOrder
	if w.store.Get(client.ObjectKeyFromObject(cr), &o) != nil {
		return fmt.Sprintf("request %s has no order", cr.Name)
	}
	switch o.Status.State {
	case v1alpha1.StateHeld:
		return ""
	case v1alpha1.StateQueued:
		if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionPlaced); c != nil && c.Reason == v1alpha1.ReasonPurchaseLimitReached {
			return ""
		}
	case v1alpha1.StateWaiting:
		// What it waits for may be held, or be finished by nobody. An order that was to be
		// tried again shows its own purchase, and names what it waits for.
		if o.Status.PurchaseRef == nil {
			return ""
		}
		for _, p := range w.purchases() {
			waitedFor := p.Name == o.Status.PurchaseRef.Name || strings.Contains(o.Status.Message, "waits for RegfishPurchase "+p.Name+":")
			if waitedFor && (meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld) || !w.wanted(&p) && !purchase.Resting(&p)) {
				return ""
			}
		}
	default:
	}
	return fmt.Sprintf("request %s/%s is %s: %s", cr.Namespace, cr.Name, o.Status.State, o.Status.Message)
}

// judge holds the vendor's ledger and the end state against what was asked for.
func (w *world) judge() result {
	sold, records := w.shop.Purchases(), w.purchases()
	r := result{purchases: len(sold), reissues: len(w.shop.Reissues()), steps: w.steps, record: w.record, asked: w.asked, hit: w.hit, virtual: time.Since(w.begun)}
	for _, p := range records {
		if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld) {
			r.held++
		}
	}
	if w.verbose {
		w.show(sold, records)
	}
	w.duplicates(sold, records, &r)
	for _, s := range sold {
		if !w.accounted(s, records) && !w.strangers[s.KeyHash] {
			r.lost++
			w.violate("lost: order %s of %v is in no record, and nobody is told of it", s.ID, s.Names)
		}
	}
	r.wrong = w.published(sold)
	w.recorded(sold, records)
	w.forced(sold, &r)
	w.reissuedOnce(records, &r)
	w.wantedThen(sold)
	w.answered(sold)
	w.limited(sold)
	for _, lent := range w.store.Altered() {
		w.violate("altered: %s was changed in the cache, where others read it", lent)
	}
	r.ends = w.endsOf(sold, records)
	r.violations, r.hash = w.violations, w.hash.Sum64()
	return r
}

// duplicates counts what was bought for a key beyond the first, but for what a person
// licensed. Orders that the vendor refused are not in its ledger.
func (w *world) duplicates(sold []simulator.Purchase, records []v1alpha1.RegfishPurchase, r *result) {
	byKey := map[string][]simulator.Purchase{}
	for _, s := range sold {
		byKey[s.KeyHash] = append(byKey[s.KeyHash], s)
	}
	for _, key := range slices.Sorted(keys(byKey)) {
		bought := slices.DeleteFunc(byKey[key], func(s simulator.Purchase) bool {
			// What was due may be bought again, and what the vendor took back.
			return w.strangers[key] || w.cancelled[s.ID] || s.Time.After(w.dueAgain(byKey[key][0].Time, s.ValidityDays))
		})
		beyond := len(bought) - 1 - w.licences[key]
		if beyond <= 0 {
			continue
		}
		r.duplicates += beyond
		ids := make([]string, 0, len(bought))
		unreported := ""
		for _, s := range bought {
			ids = append(ids, s.ID)
			if !holds(records, s.ID) && !told(records, s.ID) {
				unreported = s.ID
			}
		}
		switch {
		case !w.plan.outside:
			w.violate("duplicate: %v were bought for one key of %v", ids, bought[0].Names)
		case beyond > 1:
			w.violate("duplicate: %v, too many, were bought for one key of %v", ids, bought[0].Names)
		case unreported != "":
			w.violate("duplicate: %v were bought for one key of %v, and nobody is told of %s", ids, bought[0].Names, unreported)
		default:
			r.reported++
		}
	}
}

// recorded checks that a record holds what was bought for its key, and no two the same.
func (w *world) recorded(sold []simulator.Purchase, records []v1alpha1.RegfishPurchase) {
	holder := map[string]string{}
	for _, p := range records {
		id := p.Spec.CertificateID
		if id == "" {
			continue
		}
		if other := holder[id]; other != "" {
			w.violate("held twice: order %s is in the records %s and %s", id, other, p.Name)
		}
		holder[id] = p.Name
		i := slices.IndexFunc(sold, func(s simulator.Purchase) bool { return s.ID == id })
		if i < 0 {
			w.violate("made up: record %s holds %s, which was never sold", p.Name, id)
		} else if imported := p.Spec.Action == v1alpha1.ActionImport && len(p.Spec.Request) == 0; !imported && sold[i].KeyHash != keyOf(p.Spec.Request) {
			w.violate("foreign: record %s holds order %s, which was bought for another key", p.Name, id)
		}
	}
}

// wantedThen checks that somebody asked for what was bought when it was bought, but for
// the time in which an order may leave after the last look.
func (w *world) wantedThen(sold []simulator.Purchase) {
	if w.plan.late > 0 {
		return
	}
	// Where no process stops, it leaves a few steps after the last look.
	may := purchase.WriteWindow
	if !w.plan.random && !slices.ContainsFunc(w.plan.faults, func(p placed) bool { return p.fault >= freezeShort }) {
		may = 5 * latency
	}
	for _, s := range sold {
		alive := slices.ContainsFunc(w.lives[s.KeyHash], func(l life) bool {
			return !s.Time.Before(l.from) && (l.to.IsZero() || s.Time.Sub(l.to) <= may)
		})
		if !alive && !w.strangers[s.KeyHash] {
			w.violate("unwanted: order %s was placed for a request that was gone", s.ID)
		}
	}
}

// limited checks that no more was bought in a day than the limit allows.
func (w *world) limited(sold []simulator.Purchase) {
	for i, last := range sold {
		n := 0
		for _, s := range sold[:i+1] {
			if last.Time.Sub(s.Time) < 24*time.Hour {
				n++
			}
		}
		if w.plan.limit > 0 && n > int(w.plan.limit) {
			w.violate("limit: %d were bought within a day, and the limit is %d", n, w.plan.limit)
			return
		}
	}
}

// answered checks that no request failed whose order lives.
func (w *world) answered(sold []simulator.Purchase) {
	var requests cmapi.CertificateRequestList
	w.must(w.store.List(&requests))
	for i := range requests.Items {
		cr := &requests.Items[i]
		key := keyOf(cr.Spec.Request)
		if cmutil.CertificateRequestReadyReason(cr) != cmapi.CertificateRequestReasonFailed || w.givenUp[key] {
			continue
		}
		for _, s := range sold {
			// One that is due again may fail: what is paid for does not serve it.
			if s.KeyHash == key && !w.cancelled[s.ID] && w.given(cr).Before(w.dueAgain(s.Time, s.ValidityDays)) {
				w.violate("failed: request %s/%s failed, and its order %s lives", cr.Namespace, cr.Name, s.ID)
			}
		}
	}
}

func holds(records []v1alpha1.RegfishPurchase, id string) bool {
	return slices.ContainsFunc(records, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.CertificateID == id })
}

// told reports whether a condition names the id to people.
func told(records []v1alpha1.RegfishPurchase, id string) bool {
	return slices.ContainsFunc(records, func(p v1alpha1.RegfishPurchase) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool {
			switch c.Type {
			case v1alpha1.ConditionHeld, v1alpha1.ConditionDuplicateFound, v1alpha1.ConditionPlaced:
				return strings.Contains(c.Message, id)
			}
			return false
		})
	})
}

// accounted reports whether an order that the vendor took is recorded, adopted, or named
// to people. One that the vendor never lists cannot be named: then its purchase is held.
func (w *world) accounted(s simulator.Purchase, records []v1alpha1.RegfishPurchase) bool {
	if holds(records, s.ID) || told(records, s.ID) || slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, s.ID) }) {
		return true
	}
	return w.plan.firstPages >= always && slices.ContainsFunc(records, func(p v1alpha1.RegfishPurchase) bool {
		return keyOf(p.Spec.Request) == s.KeyHash && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld)
	})
}

// published counts the certificates that were handed to requests and should not have
// been.
func (w *world) published(sold []simulator.Purchase) int {
	var requests cmapi.CertificateRequestList
	w.must(w.store.List(&requests))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.shop.Root())
	wrong := 0
	for i := range requests.Items {
		cr := &requests.Items[i]
		if len(cr.Status.Certificate) == 0 {
			continue
		}
		if why := w.unfit(cr, sold, roots); why != "" {
			wrong++
			w.violate("wrong: %s/%s was given a certificate that %s", cr.Namespace, cr.Name, why)
		}
	}
	return wrong
}

// given is when the request was answered.
func (w *world) given(cr *cmapi.CertificateRequest) time.Time {
	if c := cmutil.GetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionReady); c != nil && c.LastTransitionTime != nil {
		return c.LastTransitionTime.Time
	}
	return time.Now()
}

// unfit is what is wrong with the certificate of a request.
func (w *world) unfit(cr *cmapi.CertificateRequest, sold []simulator.Purchase, roots *x509.CertPool) string {
	block, rest := pem.Decode(cr.Status.Certificate)
	if block == nil {
		return "cannot be read"
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "cannot be read"
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM(rest)
	given := w.given(cr)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: given}); err != nil {
		return "does not chain to the vendor's root: " + err.Error()
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); given.Sub(leaf.NotBefore) > life*2/3 {
		return "was due to be renewed when it was handed over"
	}
	csr, _ := pem.Decode(cr.Spec.Request)
	request, err := x509.ParseCertificateRequest(csr.Bytes)
	if err != nil {
		return "answers no request"
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	key := hex.EncodeToString(sum[:])
	if key != keyOf(cr.Spec.Request) {
		return "has another key"
	}
	for _, name := range request.DNSNames {
		if leaf.VerifyHostname(name) != nil {
			return "lacks the name " + name
		}
	}
	reissued := slices.ContainsFunc(w.shop.Reissues(), func(r simulator.Reissue) bool { return r.KeyHash == key })
	if !reissued && !slices.ContainsFunc(sold, func(s simulator.Purchase) bool { return s.KeyHash == key }) {
		return "the vendor never sold"
	}
	return ""
}

// show prints the end state for whoever replays a schedule.
func (w *world) show(sold []simulator.Purchase, records []v1alpha1.RegfishPurchase) {
	for _, s := range sold {
		_, _ = fmt.Fprintf(w.out, "sold %s at %s for %v, key %.8s\n", s.ID, s.Time.Sub(w.begun), s.Names, s.KeyHash)
	}
	for _, p := range records {
		_, _ = fmt.Fprintf(w.out, "purchase %s %q %s: %s, key %.8s\n", p.Name, p.Spec.CertificateID, p.Status.State, p.Status.Message, keyOf(p.Spec.Request))
		for _, a := range p.Spec.Attempts {
			_, _ = fmt.Fprintf(w.out, "  attempt %d by %s: %+v %+v\n", a.Number, a.Writer.StartNonce, a.Outcome, a.Resolution)
		}
	}
	var orders v1alpha1.RegfishOrderList
	w.must(w.store.List(&orders))
	for _, o := range orders.Items {
		_, _ = fmt.Fprintf(w.out, "order %s/%s %s: %s; shows %+v\n", o.Namespace, o.Name, o.Status.State, o.Status.Message, o.Status.DCV)
	}
	for _, e := range w.events {
		_, _ = fmt.Fprintln(w.out, "event", e)
	}
}
