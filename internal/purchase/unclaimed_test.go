// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

func TestPlanWithABaseline(t *testing.T) {
	const wwwName = "www.example.com"
	begin, end := noon.Add(-days(1)), noon.Add(days(198))
	created := noon.Add(-days(10))
	pendingOrder := func(id string, names ...string) Candidate {
		return Candidate{Certificate: regfish.Certificate{ID: id, Status: regfish.StatusPending, CommonName: names[0], DNSNames: names}}
	}
	bare := func(notBefore, notAfter time.Time, names ...string) Candidate {
		c := issuedAtVendor("X1", notBefore, notAfter, names...)
		c.CertificatePEMAvailable = false
		return Candidate{Certificate: c}
	}
	withLeaf := func(c Candidate, l Candidate) Candidate { c.Leaf = l.Leaf; return c }
	delivered := func(key string, notBefore, notAfter time.Time, names ...string) Candidate {
		k := keyA
		if key == "another" {
			k = keyB
		}
		return Candidate{Certificate: issuedAtVendor("X1", notBefore, notAfter, names...), Leaf: leaf(t, k, notBefore, notAfter, names...)}
	}
	ended := func(status string) Candidate {
		c := bare(begin, end, wwwName)
		c.Certificate.Status = status
		return c
	}
	contract := func(c Candidate, from, until time.Time) Candidate {
		c.Certificate.ContractValidFrom, c.Certificate.ContractValidUntil = &from, &until
		return c
	}
	imports := verdict{Step: StepImport, Candidate: "X1", Reason: v1alpha1.ReasonAdopted}

	for name, tt := range map[string]struct {
		reason      string
		unclaimed   []Candidate
		purchases   []v1alpha1.RegfishPurchase
		certificate *cmapi.Certificate
		want        verdict
	}{
		"buys from an account that has nothing of the kind": {
			reason: "the baseline is empty",
			want:   buys,
		},
		"imports a certificate of this key": {
			reason:    "after the ledger was lost it is what this cluster paid for",
			unclaimed: []Candidate{delivered("ours", begin, end, wwwName)},
			want:      imports,
		},
		"imports a certificate of this key to which the authority added the bare name": {
			reason:    "authorities do, and the gate lets it pass",
			unclaimed: []Candidate{delivered("ours", begin, end, wwwName, "example.com")},
			want:      imports,
		},
		"imports a certificate of this key that began before the Certificate": {
			reason:      "the key proves it, so no date has to",
			unclaimed:   []Candidate{delivered("ours", begin, end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon)}},
			want:        imports,
		},
		"looks for what can be imported behind what has to be asked about": {
			reason:    "the list has no order",
			unclaimed: []Candidate{pendingOrder("X0", wwwName), delivered("another", begin, end, wwwName), delivered("ours", begin, end, wwwName)},
			want:      imports,
		},
		"does not import a certificate of this key that lacks a name": {
			reason:    "it does not serve the request",
			unclaimed: []Candidate{delivered("ours", begin, end, "example.com")},
			want:      buys,
		},
		"does not import a certificate of this key that is due": {
			reason:      "cert-manager would renew it at once",
			unclaimed:   []Candidate{delivered("ours", noon.Add(-days(190)), noon.Add(days(9)), wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			want:        buys,
		},
		"does not import a certificate of this key that is being revoked": {
			reason: "it must not be handed out, and a person has to know why",
			unclaimed: []Candidate{func() Candidate {
				c := delivered("ours", begin, end, wwwName)
				c.Certificate.RevocationPendingScope = "certificate"
				return c
			}()},
			want: asks,
		},
		"imports what an earlier request of this Certificate was given": {
			reason: "after a restore of the ledger the requests remember",
			unclaimed: []Candidate{func() Candidate {
				c := delivered("another", begin, end, wwwName)
				c.Earlier = csr(t, keyB, wwwName)
				return c
			}()},
			want: imports,
		},
		"does not import a certificate of this key that has a name more": {
			reason:    "it would be refused when it is delivered, and never be bought again",
			unclaimed: []Candidate{delivered("ours", begin, end, wwwName, "shop.example.com")},
			want:      buys,
		},
		"does not import what an earlier request of this Certificate was given for other names": {
			reason: "the Certificate's names changed since",
			unclaimed: []Candidate{func() Candidate {
				c := delivered("ours", begin, end, "example.com")
				c.Earlier = csr(t, keyA, "example.com")
				return c
			}()},
			want: buys,
		},
		"waits for an order that may be that of a purchase in flight": {
			reason:    "regfish lists an order before its answer has come",
			unclaimed: []Candidate{func() Candidate { c := pendingOrder("X1", wwwName); c.Of = "other-1"; return c }()},
			want:      verdict{Step: StepWait, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute},
		},
		"waits for a certificate that may be that of a purchase in flight": {
			reason:    "it may be issued before its answer has come",
			unclaimed: []Candidate{func() Candidate { c := bare(begin, end, wwwName, "api.example.com"); c.Of = "other-1"; return c }()},
			want:      verdict{Step: StepWait, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute},
		},
		"does not wait for an order that is over beside a purchase in flight": {
			reason:    "what is over is not on its way",
			unclaimed: []Candidate{func() Candidate { c := ended(regfish.StatusExpired); c.Of = "other-1"; return c }()},
			want:      buys,
		},
		"asks about an order that is still pending": {
			reason:    "it may be an order of this cluster whose record was lost",
			unclaimed: []Candidate{pendingOrder("X1", wwwName)},
			want:      asks,
		},
		"asks about a pending order that shares only one name": {
			reason:    "names are added and left out while an order is staged",
			unclaimed: []Candidate{pendingOrder("X1", "example.com", "other.example.com")},
			want:      asks,
		},
		"asks about an order in a status that is not known": {
			reason:    "an unknown status is not an end",
			unclaimed: []Candidate{ended("dreaming")},
			want:      asks,
		},
		"asks about an order without a status": {
			reason:    "no status is not an end either",
			unclaimed: []Candidate{ended("")},
			want:      asks,
		},
		"buys beside an order that was cancelled":            {reason: "it is over", unclaimed: []Candidate{ended(regfish.StatusCancelled)}, want: buys},
		"buys beside an order that was cancelled as a whole": {reason: "it is over", unclaimed: []Candidate{ended(regfish.StatusOrderCancelled)}, want: buys},
		"buys beside an order that was rejected":             {reason: "it is over", unclaimed: []Candidate{ended(regfish.StatusRejected)}, want: buys},
		"buys beside a certificate that expired":             {reason: "it is over", unclaimed: []Candidate{ended(regfish.StatusExpired)}, want: buys},
		"asks about a certificate of another key for exactly these names": {
			reason:    "it may be a purchase that the ledger lost, for a key that rotated since",
			unclaimed: []Candidate{delivered("another", begin, end, wwwName)},
			want:      asks,
		},
		"asks about a certificate for these names that cannot be downloaded": {
			reason:    "the row alone says as much",
			unclaimed: []Candidate{bare(begin, end, wwwName)},
			want:      asks,
		},
		"asks about a certificate for these names without dates": {
			reason:    "nothing excludes it",
			unclaimed: []Candidate{{Certificate: regfish.Certificate{ID: "X1", Status: regfish.StatusIssued, CommonName: wwwName}}},
			want:      asks,
		},
		"takes the names from the certificate and not from its row": {
			reason:    "a row may leave names out",
			unclaimed: []Candidate{withLeaf(bare(begin, end, "example.com"), delivered("another", begin, end, wwwName))},
			want:      asks,
		},
		"buys beside a certificate that has a name more": {
			reason:    "it was bought for something else",
			unclaimed: []Candidate{delivered("another", begin, end, wwwName, "shop.example.com")},
			want:      buys,
		},
		"buys beside a certificate that lacks a name": {
			reason:    "it was bought for something else",
			unclaimed: []Candidate{delivered("another", begin, end, "example.com")},
			want:      buys,
		},
		"buys beside a certificate whose contract ended": {
			reason:    "nothing of it is left to lose",
			unclaimed: []Candidate{contract(bare(begin, end, wwwName), noon.Add(-days(400)), noon)},
			want:      buys,
		},
		"asks about an expired certificate whose contract runs": {
			reason:    "the contract is what was paid for",
			unclaimed: []Candidate{contract(bare(noon.Add(-days(200)), noon.Add(-days(1)), wwwName), noon.Add(-days(5)), noon.Add(days(100)))},
			want:      asks,
		},
		"buys beside a certificate older than the Certificate": {
			reason:      "somebody bought it before this Certificate was thought of",
			unclaimed:   []Candidate{bare(created.Add(-pki.MaxBackdate-time.Second), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			want:        buys,
		},
		"asks about a certificate that may only be dated before the Certificate": {
			reason:      "authorities date back, and what was bought for the Certificate on its first day begins at the midnight before",
			unclaimed:   []Candidate{bare(created.Add(-pki.MaxBackdate), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			want:        asks,
		},
		"asks about a certificate newer than the Certificate": {
			reason:      "this ledger may have lost it",
			unclaimed:   []Candidate{bare(created.Add(time.Second), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			want:        asks,
		},
		"buys beside a certificate older than the newest that the ledger knows": {
			reason:      "the ledger was there when it was bought, and did not buy it",
			unclaimed:   []Candidate{bare(noon.Add(-days(5)), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			purchases:   []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), placed("C1", days(4)), issuedFor(noon.Add(-days(4)), end))},
			want:        buys,
		},
		"asks about a certificate that begins with the newest that the ledger knows": {
			reason:      "both begin at the midnight before, and the later one was bought after the backup",
			unclaimed:   []Candidate{bare(noon.Add(-days(4)), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			purchases:   []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), placed("C1", days(4)), issuedFor(noon.Add(-days(4)), end))},
			want:        asks,
		},
		"asks about a certificate newer than the newest that the ledger knows": {
			reason:      "a ledger restored from a backup knows only the older ones",
			unclaimed:   []Candidate{bare(noon.Add(-days(3)), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			purchases:   []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), placed("C1", days(4)), issuedFor(noon.Add(-days(4)), end))},
			want:        asks,
		},
		"does not compare with purchases for other names": {
			reason:      "the bare name is another certificate under the same lock",
			unclaimed:   []Candidate{bare(noon.Add(-days(5)), end, wwwName)},
			certificate: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)}},
			purchases:   []v1alpha1.RegfishPurchase{record(t, 1, forNames(t, "example.com"), placed("C1", days(4)), issuedFor(noon.Add(-days(4)), end))},
			want:        asks,
		},
		"asks about any certificate for the names of a request without a Certificate": {
			reason:    "there is no date to compare with",
			unclaimed: []Candidate{bare(noon.Add(-days(100)), end, wwwName)},
			want:      asks,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation(t, tt.purchases...)
			f.Certificate = tt.certificate
			f.Want.Reuse = v1alpha1.ReusePolicyNever
			f.Baseline = &Baseline{Unclaimed: tt.unclaimed}
			d := Plan(f)
			if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" {
				t.Errorf("%s: Plan (-want +got):\n%s\nit says: %s", tt.reason, diff, d.Message)
			}
		})
	}
}

// An order that shares a name with what may be another purchase's waits for as long as that
// takes, days if a person has to act. Each look reads the whole account: it was made every
// minute.
func TestWaitForWhatMayBeAnothersIsNoPoll(t *testing.T) {
	f := situation(t)
	f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: regfish.Certificate{ID: "X1", Status: regfish.StatusPending, CommonName: "www.example.com"}, Of: "other-1"}}}
	for waited, want := range map[time.Duration]time.Duration{0: time.Minute, 30 * time.Minute: 3 * time.Minute, days(2): 10 * time.Minute} {
		f.Asked = noon.Add(-waited)
		if d := Plan(f); d.Step != StepWait || d.LookAgain != want {
			t.Errorf("after %s: step %d, again after %s, want %s: %s", waited, d.Step, d.LookAgain, want, d.Message)
		}
	}
}
