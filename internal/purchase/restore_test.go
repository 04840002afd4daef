// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// bought is a world in which one order was placed, and the process that goes on.
type bought struct {
	*world
	cr *cmapi.CertificateRequest
	s  *Spender
	r  *Resolver
}

const billedID = "ID0001"

// buyOnce buys for a request of a Certificate that was made an hour ago.
func buyOnce(t *testing.T, answer func(w *world, n int) regfish.OrderResult) *bought {
	t.Helper()
	owner := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "www", UID: "certificate", CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))}}
	b := &bought{cr: shopWWW(t)}
	b.world = newWorld(t, readyIssuer(50), owner, b.cr)
	if answer != nil {
		b.vendor.answer = func(n int) regfish.OrderResult { return answer(b.world, n) }
	}
	b.s = b.spender("one", none)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = b.s.Spend(context.Background(), client.ObjectKeyFromObject(b.cr), b.cr.UID)
	}()
	<-gone
	b.vendor.answer = nil
	if b.s.Flying(b.only().Name) {
		b.s = b.spender("two", none) // the first one died
	}
	b.r = b.resolver(b.s)
	if b.vendor.sent() != 1 || len(b.vendor.account) != 1 {
		t.Fatalf("%d orders, account %v", b.vendor.sent(), b.vendor.account)
	}
	return b
}

// intoAccount adds the order to the account, whatever is answered.
func intoAccount(w *world) {
	w.vendor.account = append(w.vendor.account, regfish.Certificate{ID: billedID, Status: regfish.StatusPending, Product: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"}})
}

// issued makes the account have the certificate. Its dates begin at the midnight before,
// as those of many authorities do.
func (b *bought) issued(key *ecdsa.PrivateKey) []byte {
	midnight := noon.Truncate(24 * time.Hour)
	c := certificatePEM(leaf(b.t, key, midnight, midnight.Add(days(199)), "www.example.com"))
	row := issuedAtVendor(billedID, midnight, midnight.Add(days(199)), "www.example.com")
	row.Product = "RapidSSL"
	b.vendor.account, b.vendor.pem = []regfish.Certificate{row}, map[string][]byte{billedID: c}
	return c
}

// look does what the controller of purchases does.
func (b *bought) look() {
	b.t.Helper()
	for _, p := range b.purchases() {
		if settled, err := b.s.Settle(b.t.Context(), &p); settled || err != nil {
			b.t.Fatalf("an order that was sent is settled as unsent: %v, %v", settled, err)
		}
		o := Observation{RequestLive: true}
		if Unresolved(&p) {
			var err error
			if o.Search, _, _, err = b.r.Resolve(b.t.Context(), &p, time.Minute); err != nil {
				b.t.Fatal(err)
			}
			if !Unresolved(&p) {
				o.Search = nil
			}
		}
		if p.Spec.CertificateID != "" {
			switch c, err := b.vendor.Certificate(b.t.Context(), p.Spec.CertificateID); regfish.KindOf(err) {
			case regfish.KindNone:
				o.Vendor = &c
			case regfish.KindNotFound:
				o.NotFound = true
			default:
				b.t.Fatal(err)
			}
		}
		p.Status = Observe(&p, o)
		if err := b.api.Status().Update(b.t.Context(), &p); err != nil {
			b.t.Fatal(err)
		}
	}
}

// again makes the request again as it was, but for what is changed.
func (b *bought) again(change func(*cmapi.CertificateRequest)) {
	b.t.Helper()
	b.remove(b.cr)
	cr := b.cr.DeepCopy()
	cr.ResourceVersion, cr.Status.Certificate = "", nil
	if change != nil {
		change(cr)
	}
	b.create(cr)
	b.cr = cr
}

// replace puts the only record back as it was, but for what is changed.
func (b *bought) replace(change func(*v1alpha1.RegfishPurchase)) {
	b.t.Helper()
	p := b.only()
	b.remove(&p)
	restored := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels}, Spec: p.Spec}
	if change != nil {
		change(restored)
	}
	b.create(restored)
}

// Whatever is restored, made again or rotated while an order stands, and however the
// order stands: nothing is bought again, nothing fails, and the order ends in the ledger
// or is named to whoever has to decide.
func TestNothingIsBoughtAgainAfterARestore(t *testing.T) {
	pends := func(t *testing.T) *bought {
		return buyOnce(t, func(w *world, _ int) regfish.OrderResult {
			intoAccount(w)
			return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: w.vendor.account[0]}
		})
	}
	lost := func(t *testing.T) *bought {
		return buyOnce(t, func(w *world, _ int) regfish.OrderResult {
			intoAccount(w)
			return answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")(1)
		})
	}
	newKey := func(cr *cmapi.CertificateRequest) {
		cr.UID, cr.Name, cr.Spec.Request = "r2", "www-2", csr(t, keyB, "www.example.com")
	}
	sameKeyAgain := func(cr *cmapi.CertificateRequest) { cr.UID, cr.Name = "r2", "www-2" }

	states := []struct {
		name string
		make func(t *testing.T) *bought
		// had says that the certificate is there: what another key then gets is for the
		// tests of what is used again.
		had bool
	}{
		{name: "the process died with the order under way", make: func(t *testing.T) *bought {
			return buyOnce(t, func(w *world, _ int) regfish.OrderResult {
				intoAccount(w)
				runtime.Goexit()
				return regfish.OrderResult{}
			})
		}},
		{name: "its answer was lost", make: lost},
		{name: "it is pending", make: func(t *testing.T) *bought { b := pends(t); b.look(); return b }},
		{name: "it is staged", make: func(t *testing.T) *bought {
			b := pends(t)
			b.vendor.account[0].ActionRequired, b.vendor.account[0].PendingReason = true, "organization_incomplete"
			b.look()
			return b
		}},
		{name: "it was found and adopted", had: true, make: func(t *testing.T) *bought { b := lost(t); b.issued(keyA); b.look(); b.look(); return b }},
		{name: "it is issued", had: true, make: func(t *testing.T) *bought { b := pends(t); b.issued(keyA); b.look(); return b }},
		{name: "it is handed over", had: true, make: func(t *testing.T) *bought {
			b := pends(t)
			c := b.issued(keyA)
			b.look()
			b.cr.Status.Certificate = c
			if err := b.api.Status().Update(t.Context(), b.cr); err != nil {
				t.Fatal(err)
			}
			return b
		}},
		{name: "its certificate is refused", make: func(t *testing.T) *bought {
			b := pends(t)
			b.issued(keyB)
			b.look()
			p := b.only()
			p.Status = Refuse(&p, "the delivered certificate was issued for another key than the request's")
			if err := b.api.Status().Update(t.Context(), &p); err != nil {
				t.Fatal(err)
			}
			return b
		}},
	}
	for name, tt := range map[string]struct {
		restore func(b *bought)
		// otherKey says that the request has another key afterwards.
		otherKey bool
		// away says that the account is another one, which shows nothing of the order.
		away bool
	}{
		"records without status":       {restore: func(b *bought) { b.replace(nil) }},
		"the request with another UID": {restore: func(b *bought) { b.again(sameKeyAgain) }},
		"the request with another key": {restore: func(b *bought) { b.again(newKey) }, otherKey: true},
		"everything without status": {restore: func(b *bought) {
			b.replace(nil)
			b.again(sameKeyAgain)
			b.s = b.spender("next", none)
			b.r = b.resolver(b.s)
		}},
		"a backup older than the purchase":                      {restore: func(b *bought) { p := b.only(); b.remove(&p); b.again(nil) }},
		"that backup, and the key is lost":                      {restore: func(b *bought) { p := b.only(); b.remove(&p); b.again(newKey) }},
		"a backup made while the order was sent":                {restore: func(b *bought) { b.replace(asSent); b.again(nil) }},
		"that backup, and the next process":                     {restore: func(b *bought) { b.replace(asSent); b.again(nil); b.s = b.spender("next", none); b.r = b.resolver(b.s) }},
		"a backup made after an attempt in vain":                {restore: func(b *bought) { b.replace(asInVain); b.again(nil) }},
		"that backup, and the request is made anew":             {restore: func(b *bought) { b.replace(asInVain); b.again(newKey) }},
		"another key of the account":                            {restore: func(b *bought) { b.vendor.key = "rotated" }},
		"another key of the account and records without status": {restore: func(b *bought) { b.vendor.key = "rotated"; b.replace(nil) }},
		"a key of another account": {away: true, restore: func(b *bought) {
			b.vendor.key, b.vendor.account, b.vendor.pem = "foreign", nil, nil
		}},
		"a key of another account and the request with another UID": {away: true, restore: func(b *bought) {
			b.vendor.key, b.vendor.account, b.vendor.pem = "foreign", nil, nil
			b.again(sameKeyAgain)
		}},
		"the issuer": {restore: func(b *bought) { b.remove(readyIssuer(50)); b.create(readyIssuer(50)) }},
		"the Certificate and its request": {restore: func(b *bought) {
			owner := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "www", UID: "another", CreationTimestamp: metav1.NewTime(noon.Add(time.Minute))}}
			b.remove(owner)
			b.create(owner)
			b.again(sameKeyAgain)
		}},
	} {
		for _, state := range states {
			if state.had && tt.otherKey {
				continue
			}
			t.Run(name+", while "+state.name, func(t *testing.T) {
				t.Parallel()
				b := state.make(t)
				tt.restore(b)
				var last Decision
				for _, later := range []time.Duration{0, settleTime / 2, settleTime, 2 * settleTime, 26 * time.Hour} {
					b.clock.SetTime(noon.Add(later))
					for range 2 {
						b.look()
						d, _, err := b.s.Spend(t.Context(), client.ObjectKeyFromObject(b.cr), b.cr.UID)
						if err != nil && !errors.Is(err, ErrGone) {
							t.Fatalf("after %s: %v", later, err)
						}
						if last = d; d.Step == StepFail {
							t.Fatalf("after %s the request fails: %s", later, d.Message)
						}
					}
				}
				if got := b.vendor.sent(); got != 1 {
					t.Fatalf("%d orders were placed: %v", got, describe(b.purchases()))
				}
				if tt.away {
					// Nothing shows it. What the ledger knew it still knows.
					b.only()
					return
				}
				recorded := slices.ContainsFunc(b.purchases(), func(p v1alpha1.RegfishPurchase) bool { return p.Spec.CertificateID == billedID })
				told := last.Step == StepHold && strings.Contains(last.Message, billedID)
				for _, p := range b.purchases() {
					told = told || slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool { return strings.Contains(c.Message, billedID) })
				}
				if !recorded && !told {
					t.Errorf("nobody is told of the order: step %d (%s), %v", last.Step, last.Message, describe(b.purchases()))
				}
			})
		}
	}
}

// asSent is the record as it was between the intent and the answer.
func asSent(p *v1alpha1.RegfishPurchase) {
	p.Spec.CertificateID = ""
	p.Spec.Attempts[0].Outcome, p.Spec.Attempts[0].Resolution = nil, nil
}

// asInVain is the record as it was after an earlier attempt, which bought nothing.
func asInVain(p *v1alpha1.RegfishPurchase) {
	p.Spec.CertificateID = ""
	p.Spec.Attempts[0].Resolution = nil
	at := metav1.NewMicroTime(noon.Add(-time.Hour))
	p.Spec.Attempts[0].Time = at
	p.Spec.Attempts[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeNotSent, Message: "place order: not sent", Time: at}
}

// An outcome belongs to its attempt also in a record that was restored, while the order
// was under way, from a backup older than the attempt.
func TestOutcomeIsRecordedInARestoredRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(int) regfish.OrderResult
		id     string
		result string
	}{
		"accepted": {id: billedID, result: v1alpha1.OutcomeAccepted},
		"unknown":  {answer: answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time"), result: v1alpha1.OutcomeUnknown},
	} {
		cr := shopWWW(t)
		vain := record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour))
		vain.Spec.Request = cr.Spec.Request
		w := newWorld(t, readyIssuer(50), cr, &vain)
		w.vendor.answer = tt.answer
		w.vendor.before = once(func() {
			p := w.only()
			w.remove(&p)
			restored := record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour))
			restored.Spec.Request = cr.Spec.Request
			w.create(&restored)
		})
		s := w.spender("one", none)
		if d := w.spend(s, cr); d.Step != StepFollow {
			t.Errorf("%s: step %d: %s", name, d.Step, d.Message)
		}
		p := w.only()
		want := []tried{{Request: "r1", Result: v1alpha1.OutcomeNotSent}, {Request: "r1", Result: tt.result}}
		got := attempts(p)
		got[len(got)-1].Status = 0
		if diff := cmp.Diff(want, got); diff != "" || p.Spec.CertificateID != tt.id {
			t.Errorf("%s: id %q, attempts (-want +got):\n%s", name, p.Spec.CertificateID, diff)
		}
		w.clock.SetTime(noon.Add(days(1)))
		w.spend(s, cr)
		if got := w.vendor.sent(); got != 1 {
			t.Errorf("%s: %d orders were placed", name, got)
		}
	}
}

// So does the outcome of a reissue. The API server takes no record whose reissues have a gap,
// so those before it come back with it.
func TestOutcomeOfAReissueIsRecordedInARestoredRecord(t *testing.T) {
	w, cr := rotated(t)
	p := w.only()
	before := p.DeepCopy()
	for _, ago := range []time.Duration{days(20), days(10)} {
		reissuedFor(t, keyB, "r0", ago, finished(v1alpha1.ReissueIssued))(&p)
	}
	if err := w.api.Patch(t.Context(), &p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.vendor.before = once(func() {
		p := w.only()
		w.remove(&p)
		restored := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, Spec: p.Spec}
		restored.Spec.Reissues = restored.Spec.Reissues[:1]
		w.create(restored)
	})
	w.spend(w.spender("one", none), cr)
	p = w.only()
	var got []int32
	for _, r := range p.Spec.Reissues {
		got = append(got, r.Number)
	}
	if diff := cmp.Diff([]int32{1, 2, 3}, got); diff != "" || len(w.vendor.reissues) != 1 {
		t.Fatalf("%d reissues were asked for, and recorded are (-want +got):\n%s", len(w.vendor.reissues), diff)
	}
	if o := p.Spec.Reissues[2].Outcome; o == nil || o.Result != v1alpha1.OutcomeAccepted {
		t.Errorf("outcome %+v", o)
	}
}

// A process does not take what it sent for unsent because a backup says so.
func TestARestoredRecordIsNotSettled(t *testing.T) {
	b := buyOnce(t, func(w *world, _ int) regfish.OrderResult {
		intoAccount(w)
		return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: w.vendor.account[0]}
	})
	b.replace(asSent)
	p := b.only()
	if settled, err := b.s.Settle(t.Context(), &p); settled || err != nil {
		t.Errorf("settled: %v, %v", settled, err)
	}
	if !Unresolved(&p) {
		t.Errorf("%v", describe(b.purchases()))
	}
}
