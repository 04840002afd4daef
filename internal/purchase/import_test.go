// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// What the account has already is recorded instead of being bought.
func TestSpendImports(t *testing.T) {
	cr := shopWWW(t)
	begin, end := noon.Add(-days(1)), noon.Add(days(198))
	row := issuedAtVendor("X1", begin, end, "www.example.com")
	t.Run("a certificate of this key", func(t *testing.T) {
		w := newWorld(t, readyIssuer(0), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		// Not even a limit of 0 matters, but for finding it out nothing is asked.
		if d := w.spend(w.spender("one", none), cr); d.Step != StepQueue {
			t.Errorf("step %d", d.Step)
		}
		w = newWorld(t, readyIssuer(50), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		s := w.spender("one", none)
		for range 2 {
			if d := w.spend(s, cr); d.Step != StepFollow || d.Purchase.Spec.CertificateID != "X1" {
				t.Errorf("step %d: %s", d.Step, d.Message)
			}
		}
		p := w.only()
		if p.Spec.Action != v1alpha1.ActionImport || p.Spec.CertificateID != "X1" || len(p.Spec.Attempts) != 0 || w.vendor.sent() != 0 || w.slots() != 0 {
			t.Errorf("%v, %d orders, %d slots", describe([]v1alpha1.RegfishPurchase{p}), w.vendor.sent(), w.slots())
		}
	})
	t.Run("what an earlier request was given, for the key of that request", func(t *testing.T) {
		certificate := certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))
		before := approved(namespace, "www-0", "r0", csr(t, keyB, "www.example.com"))
		before.Status.Certificate = certificate
		stranger := approved(namespace, "other-0", "r8", csr(t, keyB, "www.example.com"))
		stranger.Status.Certificate = certificate
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), before, stranger)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificate}
		d := w.spend(w.spender("one", none), cr)
		p := w.only()
		if d.Step != StepWait || p.Spec.Action != v1alpha1.ActionImport || string(p.Spec.Request) != string(before.Spec.Request) {
			t.Errorf("step %d (%s), %v", d.Step, d.Message, describe([]v1alpha1.RegfishPurchase{p}))
		}
		if got := w.vendor.sent(); got != 0 {
			t.Errorf("%d orders were placed", got)
		}
	})
	t.Run("not what a request of another Certificate was given", func(t *testing.T) {
		certificate := certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))
		stranger := approved(namespace, "other-0", "r8", csr(t, keyB, "www.example.com"))
		stranger.Status.Certificate = certificate
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), stranger)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificate}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepHold || d.Reason != v1alpha1.ReasonUnclaimedOrder {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
		if len(w.purchases()) != 0 || w.vendor.sent() != 0 {
			t.Errorf("%d orders, %v", w.vendor.sent(), describe(w.purchases()))
		}
	})
	t.Run("not what another purchase holds", func(t *testing.T) {
		holds := record(t, 1, inNamespace("blog"), placed("X1", days(1)), issuedFor(begin, end))
		w := newWorld(t, readyIssuer(50), cr.DeepCopy(), &holds)
		w.vendor.account = []regfish.Certificate{row}
		w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyA, begin, end, "www.example.com"))}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
		if got := w.purchases(); len(got) != 2 || got[1].Spec.Action != v1alpha1.ActionNew || w.vendor.sent() != 1 {
			t.Errorf("%d orders, %v", w.vendor.sent(), describe(got))
		}
	})
	t.Run("a row without names is read by its id", func(t *testing.T) {
		w := newWorld(t, readyIssuer(50), cr.DeepCopy())
		w.vendor.account = []regfish.Certificate{{ID: "X1", Status: regfish.StatusPending}}
		if d := w.spend(w.spender("one", none), cr); d.Step != StepHold || !strings.Contains(d.Message, "X1") {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
	})
}

// An order of this ledger that regfish lists before its answer came is not
// somebody else's.
func TestSpendKnowsItsOwnOrdersInFlight(t *testing.T) {
	first, second := shopWWW(t), approved(namespace, "all-1", "r2", csr(t, keyB, "www.example.com", "api.example.com"))
	w := newWorld(t, readyIssuer(50), first, second)
	s := w.spender("one", none)
	w.vendor.account = []regfish.Certificate{issuedAtVendor("OLD", noon.Add(-days(30)), noon.Add(days(169)), "www.example.com", "shop.example.com")}
	w.vendor.before = once(func() {
		w.vendor.account = append(w.vendor.account, regfish.Certificate{ID: "ID0001", Status: regfish.StatusPending, CommonName: "www.example.com"})
		d := w.spend(s, second)
		if d.Step != StepWait || d.LookAgain == 0 || !strings.Contains(d.Message, w.only().Name) {
			t.Errorf("step %d, look again after %s: %s", d.Step, d.LookAgain, d.Message)
		}
	})
	w.spend(s, first)
	if d := w.spend(s, second); d.Step != StepFollow {
		t.Errorf("after the answer: step %d: %s", d.Step, d.Message)
	}
	if got := w.vendor.sent(); got != 2 {
		t.Errorf("%d orders were placed, want 2", got)
	}
}

// What was in the account before an open attempt is the result of none.
func TestSpendDoesNotWaitForWhatWasThereBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		baseline []string
		want     Step
	}{"it was there": {[]string{"X0", "X1"}, StepFollow}, "it was not there": {[]string{"X0"}, StepWait}} {
		undecided := record(t, 1, forNames(t, "www.example.com", "api.example.com"), attempted(v1alpha1.OutcomeNotSent, days(4)), attempted(v1alpha1.OutcomeUnknown, days(3)))
		undecided.Name, undecided.Spec.NamesHash = "other-1", "0123456789abcdef"
		undecided.Spec.Attempts[1].BaselineIDs = tt.baseline
		cr := shopWWW(t)
		w := newWorld(t, readyIssuer(50), cr, &undecided)
		w.vendor.account = []regfish.Certificate{issuedAtVendor("X1", noon.Add(-days(30)), noon.Add(days(169)), "www.example.com", "shop.example.com")}
		if d := w.spend(w.spender("one", none), cr); d.Step != tt.want {
			t.Errorf("%s: step %d: %s", name, d.Step, d.Message)
		}
	}
}

// A ledger that was copied is in two clusters. What one of them had reissued, the other one
// must not have reissued as well, whoever sent the order.
func TestImportBelongsToTheClusterThatHadItReissued(t *testing.T) {
	p := record(t, 1, imported("C1"))
	if OfOtherCluster(&p, "here") {
		t.Error("what nobody had reissued is another cluster's")
	}
	reissuedFor(t, keyB, "r1", time.Hour, func(r *v1alpha1.Reissue) { r.ClusterUID = "there" })(&p)
	if !OfOtherCluster(&p, "here") || OfOtherCluster(&p, "there") {
		t.Error("what another cluster had reissued is not its own")
	}
}
