// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/ecdsa"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// paidFor says from when until when the contract runs.
func paidFor(from, until time.Time) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Status.ContractNotBefore, p.Status.ContractNotAfter = at(from), at(until)
	}
}

// reissuedFor adds a reissue that was begun the given time before noon, and taken.
func reissuedFor(t testing.TB, key *ecdsa.PrivateKey, uid types.UID, before time.Duration, changes ...func(*v1alpha1.Reissue)) change {
	t.Helper()
	sum, err := pki.KeySHA256(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return func(p *v1alpha1.RegfishPurchase) {
		r := v1alpha1.Reissue{
			Number: int32(len(p.Spec.Reissues) + 1), Time: metav1.NewMicroTime(noon.Add(-before)), IssuerRef: p.Spec.IssuerRef, Beneficiary: p.Spec.Beneficiary,
			KeySHA256: sum, KeyAlgorithm: "ECDSA", DCVMethod: v1alpha1.DCVMethodCNAME, Writer: v1alpha1.Writer{StartNonce: "writer"}, KeyFingerprint: "fingerprint",
			Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted, Time: metav1.NewMicroTime(noon.Add(-before))},
		}
		r.Beneficiary.RequestUID, r.Beneficiary.RequestName = uid, "request-"+string(uid)
		for _, c := range changes {
			c(&r)
		}
		p.Spec.Reissues = append(p.Spec.Reissues, r)
	}
}

// finished ends a reissue.
func finished(result string) func(*v1alpha1.Reissue) {
	return func(r *v1alpha1.Reissue) {
		r.End = &v1alpha1.ReissueEnd{Result: result, Message: "it ended.", Time: r.Time}
	}
}

// answeredWith is what regfish answered to a reissue.
func answeredWith(result string, status int32) func(*v1alpha1.Reissue) {
	return func(r *v1alpha1.Reissue) {
		r.Outcome = &v1alpha1.Outcome{Result: result, HTTPStatus: status, Final: status == 400, Message: "regfish answered so", Time: r.Time}
	}
}

// certificateOf is what owns the request: Ready, renewed the given time before its end.
func certificateOf(renewBefore time.Duration, changes ...func(*cmapi.Certificate)) *cmapi.Certificate {
	c := &cmapi.Certificate{Status: cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}}}}
	if renewBefore > 0 {
		c.Spec.RenewBefore = &metav1.Duration{Duration: renewBefore}
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func notReadyNow(c *cmapi.Certificate) { c.Status.Conditions[0].Status = cmmeta.ConditionFalse }

func TestLineage(t *testing.T) {
	one := func(changes ...change) []v1alpha1.RegfishPurchase {
		return []v1alpha1.RegfishPurchase{record(t, 1, changes...)}
	}
	// A certificate of 199 days that was issued for another key, in a contract of a year.
	year := func(age int, more ...change) []v1alpha1.RegfishPurchase {
		from := noon.Add(-days(age))
		return one(append([]change{forKey(t, keyB), placed("C1", days(age)), issuedFor(from, from.Add(days(199))), paidFor(from, from.Add(days(365)))}, more...)...)
	}
	// The same, in a contract that ends with it.
	single := func(age int, more ...change) []v1alpha1.RegfishPurchase {
		from := noon.Add(-days(age))
		return one(append([]change{forKey(t, keyB), placed("C1", days(age)), issuedFor(from, from.Add(days(199))), paidFor(from, from.Add(days(199)))}, more...)...)
	}
	says := func(change func(*regfish.Certificate)) func(*Facts) {
		return func(f *Facts) {
			p := f.Purchases[0]
			c := issuedAtVendor("C1", p.Status.NotBefore.Time, p.Status.NotAfter.Time, "www.example.com")
			c.ContractValidFrom, c.ContractValidUntil = &p.Status.ContractNotBefore.Time, &p.Status.ContractNotAfter.Time
			c.ReissueSupported, c.RenewalSupported = true, true
			if change != nil {
				change(&c)
			}
			f.Sources = map[string]Source{"C1": {Certificate: c}}
		}
	}
	owner := func(c *cmapi.Certificate, more ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			f.Certificate = c
			for _, m := range more {
				m(f)
			}
		}
	}
	early := func(look time.Duration) verdict {
		return verdict{Step: StepQueue, Reason: v1alpha1.ReasonRenewalEarly, LookAgain: look}
	}
	delivers := verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased}
	for name, tt := range map[string]struct {
		reason    string
		purchases []v1alpha1.RegfishPurchase
		given     func(*Facts)
		want      verdict
		says      string
	}{
		// Contract windows.
		"reissues for a new key while the contract runs": {
			reason: "it is paid for", purchases: year(30), given: owner(certificateOf(0)), want: reissues(1), says: "C1 is paid for until 2027-05-02T12:00:00Z and is reissued for the new key, which costs nothing.",
		},
		"reissues for a new key in a contract that ends with the certificate": {
			reason: "a rotated key is no reason to pay", purchases: single(30), given: owner(certificateOf(0)), want: reissues(1),
		},
		"reissues what is due while its contract outlives it": {
			reason: "a year was paid for, and the certificate lives for 199 days of it", purchases: year(140), given: owner(certificateOf(0)), want: reissues(1), says: "is due",
		},
		"renews what is due when its contract ends with it": {
			reason: "a reissue would gain no time", purchases: single(140), given: owner(certificateOf(0)), want: renews, says: "C1 cannot be reissued (its contract ends at",
		},
		"renews what is due when its contract outlives it by a day": {
			reason: "the vendor's own rule", purchases: year(140, issuedFor(noon.Add(-days(140)), noon.Add(days(224))), paidFor(noon.Add(-days(140)), noon.Add(days(225)))),
			given: owner(certificateOf(days(300))), want: early(10 * time.Minute),
		},
		"reissues what is due when its contract outlives it by a second more than a day": {
			reason: "the vendor's own rule", purchases: year(140, issuedFor(noon.Add(-days(140)), noon.Add(days(20))), paidFor(noon.Add(-days(140)), noon.Add(days(21)+time.Second))),
			given: owner(certificateOf(0)), want: reissues(1),
		},
		"renews for a new key in the last tenth of the contract": {
			reason: "the certificate would be due in no time", purchases: single(180), given: owner(certificateOf(days(5))), want: renews,
		},
		"reissues for a new key with a tenth of the contract left": {
			reason: "a tenth is worth a reissue", purchases: single(179), given: owner(certificateOf(days(5))), want: reissues(1),
		},
		"renews after the contract": {
			reason: "nothing is left of it", purchases: single(250), given: owner(certificateOf(0, notReadyNow)), want: renews, says: "its contract ended at",
		},
		"reissues what has run out while its contract runs": {
			reason: "the controller was down when it was due", purchases: year(220), given: owner(certificateOf(0, notReadyNow)), want: reissues(1),
		},
		"reissues what cert-manager never renews by itself for a new key": {
			reason: "somebody asked for it", purchases: year(190), want: reissues(1),
			given: owner(certificateOf(0, func(c *cmapi.Certificate) {
				c.Spec.Renewal = &cmapi.CertificateRenewal{Policy: cmapi.CertificateRenewalPolicyDisabled}
			})),
		},
		"takes a contract that regfish does not tell for as long as the certificate": {
			reason: "nothing more is known to be paid for", purchases: year(140, func(p *v1alpha1.RegfishPurchase) { p.Status.ContractNotBefore, p.Status.ContractNotAfter = nil, nil }),
			given: owner(certificateOf(0)), want: renews,
		},

		// Around the renewal time: a third of 199 days before the end, less the margin.
		"hands the same key out again five seconds before the margin": {
			reason: "cert-manager does not renew it yet by any clock", purchases: year(30, forRequestKeyA(t)), want: delivers,
			given: owner(certificateOf(0), func(f *Facts) { f.Now = dueOf(f).Add(-5 * time.Second) }),
		},
		"reissues the same key five seconds after the margin": {
			reason: "what is handed out would be renewed at once", purchases: year(30, forRequestKeyA(t)), want: reissues(1), says: "is due",
			given: owner(certificateOf(0), func(f *Facts) { f.Now = dueOf(f).Add(5 * time.Second) }),
		},
		"reissues another key five seconds before the margin as not due": {
			reason: "the contract is long", purchases: year(30), want: reissues(1), says: "for the new key",
			given: owner(certificateOf(0), func(f *Facts) { f.Now = dueOf(f).Add(-5 * time.Second) }),
		},
		"reissues another key five seconds after the margin as due": {
			reason: "the contract is long", purchases: year(30), want: reissues(1), says: "is due",
			given: owner(certificateOf(0), func(f *Facts) { f.Now = dueOf(f).Add(5 * time.Second) }),
		},
		"goes by notBefore as it was issued, back-dated to midnight": {
			reason: "cert-manager reckons with it", purchases: year(30, forRequestKeyA(t), issuedFor(noon.Add(-days(30)).Truncate(24*time.Hour), noon.Add(days(169)).Truncate(24*time.Hour))), want: delivers,
			given: owner(certificateOf(0)),
		},

		// What regfish says.
		"renews when the product has no reissues": {
			reason: "reissue_supported", purchases: single(190), given: owner(certificateOf(days(5)), says(func(c *regfish.Certificate) { c.ReissueSupported = false })), want: renews,
		},
		"buys when the product has neither": {
			reason: "nothing else serves", purchases: year(190), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.ReissueSupported, c.RenewalSupported = false, false })),
			want: buys, says: "C1 can neither be reissued (regfish offers no reissue) nor renewed (regfish offers no renewal)",
		},
		"reissues a certificate that was revoked alone": {
			reason: "the vendor allows it", purchases: year(30), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.RevocationScope = "certificate" })), want: reissues(1),
		},
		"renews a certificate whose order was revoked": {
			reason: "nothing stands of it", purchases: year(30), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.RevocationScope = "order" })), want: renews,
		},
		"renews while a revocation is pending": {
			reason: "a reissue might be revoked with it", purchases: year(30), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.RevocationPendingScope = "order" })), want: renews,
		},
		"waits for a reissue that regfish runs and nobody here asked for": {
			reason: "it may be a person's", purchases: year(30), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "7", Status: "pending"} })),
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute}, says: "reissue 7 of C1",
		},
		"waits for a reissue that regfish runs after it refused one for that": {
			reason: "while one runs regfish may offer no other", purchases: year(100, reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeRejected, 409))),
			given: owner(certificateOf(days(5)), says(func(c *regfish.Certificate) {
				c.Reissue, c.ReissueSupported = &regfish.Reissue{ID: "7", Status: "processing"}, false
			})),
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute}, says: "cancel it at regfish",
		},
		"waits for a reissue that regfish runs of what it would renew": {
			reason: "the two would be paid for and issued side by side", purchases: single(140), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "7", Status: "pending"} })),
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute},
		},
		"renews beside a reissue that regfish runs when it has been unfinished for a day and the certificate is about to run out": {
			reason: "economy must not become an outage", purchases: year(195), want: renews,
			given: owner(certificateOf(0), says(func(c *regfish.Certificate) {
				begun := noon.Add(-25 * time.Hour)
				c.Reissue, c.ReissueSupported = &regfish.Reissue{ID: "7", Status: "pending", RequestedAt: &begun}, false
			})),
		},
		"goes by the contract that regfish tells now": {
			reason: "the record is from the day of issue", purchases: single(140), given: owner(certificateOf(0), says(func(c *regfish.Certificate) { until := noon.Add(days(300)); c.ContractValidUntil = &until })), want: reissues(1),
		},
		"reissues for a new key what regfish does not tell the contract's begin of": {
			reason: "most of the term is left, whenever it began", want: reissues(1),
			purchases: single(30, func(p *v1alpha1.RegfishPurchase) { p.Status.ContractNotBefore = nil }),
		},
		"waits while regfish cannot be asked about what is paid for": {
			reason: "an outage must not empty the lineage", purchases: year(30),
			given: owner(certificateOf(0), func(f *Facts) {
				f.Sources = map[string]Source{"C1": {Problem: &IssuerProblem{v1alpha1.ReasonVendorUnavailable, "down."}}}
			}),
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: time.Minute},
		},
		"asks when regfish does not know what is paid for": {
			reason: "a wrong key must not empty the lineage", purchases: year(30), given: owner(certificateOf(0), func(f *Facts) { f.Sources = map[string]Source{"C1": {NotFound: true}} }),
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonNotFoundAtVendor, LookAgain: 10 * time.Minute}, says: "may belong to another account",
		},
		"buys when regfish does not know what has ended": {
			reason: "nothing is lost with it", purchases: single(250), given: owner(certificateOf(0), func(f *Facts) { f.Sources = map[string]Source{"C1": {NotFound: true}} }), want: buys,
		},

		// What the Certificate asks for.
		"buys for another list of names":  {reason: "a change of names is a new lineage", purchases: one(forNames(t, "www.example.com", "api.example.com"), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)), want: buys},
		"buys for fewer names":            {reason: "a change of names is a new lineage", purchases: one(forNames(t, "example.com", "www.example.com"), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)), want: buys},
		"buys another product":            {reason: "a reissue has the product of its order", purchases: year(30, withSKU("SecureSite")), want: buys},
		"buys for another organization":   {reason: "a reissue names the organization of its order", purchases: year(30, func(p *v1alpha1.RegfishPurchase) { p.Spec.OrganizationID = "hdl_A" }), want: buys},
		"reissues through another issuer": {reason: "moving from a namespaced to a cluster issuer buys nothing", purchases: year(30, withIssuer("old")), want: reissues(1)},
		"reissues for a key of another kind": {
			reason: "the vendor takes any request of its key types", purchases: year(30), given: func(f *Facts) { f.Want.Request.KeyAlgorithm = "RSA" }, want: reissues(1),
		},
		"buys beside another Certificate with the same names": {reason: "both exist", purchases: year(30, forCertificate("other")), want: buys},
		"reissues for a Certificate that was created again":   {reason: "its name is the same", purchases: year(30), given: owner(certificateOf(0, notReadyNow)), want: reissues(1)},
		"buys for a Certificate of another name while the earlier one may come back": {
			reason: "23 hours are no day", purchases: year(30, forCertificate("other"), goneSince(23*time.Hour)), want: buys,
		},
		"reissues for a Certificate of another name when the earlier one has been gone for a day": {
			reason: "it was renamed", purchases: year(30, forCertificate("other"), goneSince(24*time.Hour)), want: reissues(1),
		},
		"buys for a Certificate of another name and kind of key": {
			reason: "the two were meant to stand side by side", purchases: year(30, forCertificate("other"), goneSince(24*time.Hour)), given: func(f *Facts) { f.Want.Request.KeyAlgorithm = "RSA" }, want: buys,
		},
		"buys in another namespace though the Certificate is gone": {
			reason: "it is another tenant", purchases: year(30, inNamespace("blog"), goneSince(48*time.Hour)), want: buys,
		},
		"buys for a request without a Certificate": {
			reason: "it is a lineage of its own", purchases: year(30, forCertificate("")), given: func(f *Facts) { f.Want.Beneficiary.CertificateName = "" }, want: buys,
		},

		// What came before.
		"asks after an order that came to nothing although an older one is paid for": {
			reason: "whoever orders again and again should know why", purchases: append(year(30), record(t, 2, forKey(t, keyB), placed("C2", days(1)), cameToNothing)),
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: time.Minute},
		},
		"waits for an order whose outcome is unknown": {
			reason: "it may have been bought", purchases: append(year(30), record(t, 2, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, time.Hour))), want: waits(2),
		},
		"reissues what was taken into the ledger without its request": {
			reason: "a certificate that was bought elsewhere is paid for, too", want: reissues(1),
			purchases: year(30, imported("C1"), func(p *v1alpha1.RegfishPurchase) { p.Spec.Request, p.Spec.Attempts = []byte{}, nil }),
		},
		"reissues the older one when the newer one is renewed up": {
			reason: "what is paid for is used", purchases: append(year(30), record(t, 2, forKey(t, keyB), placed("C2", days(199)), issuedFor(noon.Add(-days(199)), noon.Add(-time.Hour)))), want: reissues(1),
		},
		"leaves alone what a person bought without regard to": {
			reason: "the person decided to do without it", purchases: append(year(30), record(t, 2, forKey(t, keyB), placed("C2", days(190)), issuedFor(noon.Add(-days(190)), noon.Add(days(9))), func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "plan-0" })), want: renews,
		},

		// Reissues.
		"follows a reissue for this key": {
			reason: "what is looked at again is not asked for again", purchases: year(30, reissuedFor(t, keyA, "r1", time.Hour)), want: verdict{Step: StepFollow, Purchase: 1, Reason: v1alpha1.ReasonReissued, LookAgain: 10 * time.Minute},
		},
		"follows a reissue for this key that an earlier request asked for": {
			reason: "a request that was deleted and made again asks for nothing", purchases: year(30, reissuedFor(t, keyA, "r0", time.Hour)), want: verdict{Step: StepFollow, Purchase: 1, Reason: v1alpha1.ReasonReissued, LookAgain: 10 * time.Minute},
		},
		"follows a reissue whose outcome is unknown": {
			reason: "it may be under way", purchases: year(30, reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeUnknown, 502))), want: verdict{Step: StepFollow, Purchase: 1, Reason: v1alpha1.ReasonReissued, LookAgain: 10 * time.Minute},
		},
		"waits for a reissue for another key": {
			reason: "one at a time", purchases: year(30, reissuedFor(t, keyB, "r0", time.Hour)), want: waits(1), says: "waits for C1, reissued for an earlier key of this Certificate; it is reissued for this one then",
		},
		"does not hand out the certificate before a reissue that runs": {
			reason: "it is about to be replaced", purchases: year(30, forRequestKeyA(t), reissuedFor(t, keyB, "r0", time.Hour)), want: waits(1),
		},
		"hands a reissue out again": {
			reason: "its key is the same", purchases: year(30, reissuedFor(t, keyA, "r0", time.Hour, finished(v1alpha1.ReissueIssued))), want: delivers,
		},
		"hands a reissue out again whose dates are not in the status yet": {
			reason: "a process ended before it wrote them, and regfish says them", want: delivers,
			purchases: year(140, reissuedFor(t, keyA, "r0", time.Hour, finished(v1alpha1.ReissueIssued))),
			given: owner(certificateOf(0), says(func(c *regfish.Certificate) {
				from, until := noon.Add(-time.Hour), noon.Add(days(199))
				c.ValidFrom, c.ValidUntil = &from, &until
			})),
		},
		"does not hand out what a later reissue took the id of": {
			reason: "regfish does not serve it any more", purchases: year(30, forRequestKeyA(t), reissuedFor(t, keyB, "r0", days(1), finished(v1alpha1.ReissueIssued))), want: reissues(1),
		},
		"does not hand out what somebody else had reissued": {
			reason: "regfish serves another key", purchases: year(30, forRequestKeyA(t), reissuedFor(t, keyB, "r0", days(1), finished(v1alpha1.ReissueReplaced))), want: reissues(1),
		},
		"reissues again after a reissue of another request failed": {
			reason: "it may have been that request's fault", purchases: year(30, reissuedFor(t, keyB, "r0", days(2), finished(v1alpha1.ReissueFailed))), want: reissues(1),
		},
		"renews after the reissue of this request failed": {
			reason: "it falls back once", purchases: year(100, reissuedFor(t, keyA, "r1", days(2), finished(v1alpha1.ReissueFailed))), want: renews, says: "reissue 1 came to nothing: it ended",
		},
		"renews after regfish refused the reissue of this request as it is": {
			reason: "409, and nothing has changed", purchases: year(100, reissuedFor(t, keyA, "r1", days(2), answeredWith(v1alpha1.OutcomeRejected, 409))), given: owner(certificateOf(days(5)), says(nil)), want: renews,
		},
		"reissues again after regfish refused it because of another one": {
			reason: "the other one explains the 409", purchases: year(100, reissuedFor(t, keyA, "r1", days(2), answeredWith(v1alpha1.OutcomeRejected, 409))),
			given: owner(certificateOf(days(5)), says(func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "8", Status: "issued"} })), want: reissues(1),
		},
		"renews after regfish refused the reissue for what was sent": {
			reason: "it falls back once: every request would fail until the contract ends", purchases: year(30, reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeRejected, 400))), want: renews,
			says: "C1 cannot be reissued (reissue 1 came to nothing: regfish answered so), so it is renewed",
		},
		"reissues for the next request after regfish refused what was sent for another one": {
			reason: "it may have been in that request", purchases: year(30, reissuedFor(t, keyB, "r0", time.Hour, answeredWith(v1alpha1.OutcomeRejected, 400))), want: reissues(1),
		},
		"buys what regfish refused to reissue and to renew for what was sent": {
			reason: "an order that renews nothing tells whether the request is at fault, and none of this cost anything", want: buys,
			purchases: append(year(30, reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeRejected, 400))), record(t, 2, renewed("C1"), refusedForGood)),
		},
		"fails the request that regfish refused to reissue, to renew and to order for": {
			reason: "it is at fault", want: verdict{Step: StepFail, Purchase: 3, Reason: v1alpha1.ReasonRejected}, says: "change the Certificate",
			purchases: append(year(30, reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeRejected, 400))), record(t, 2, renewed("C1"), refusedForGood), record(t, 3, refusedForGood)),
		},
		"renews what regfish refused to renew with what the issuer ordered then": {
			reason: "its owner mended that, and regfish may add what is left of the term", purchases: append(single(190), record(t, 2, forRequest("r0"), renewed("C1"), refusedForGood, func(p *v1alpha1.RegfishPurchase) { p.Spec.ValidityDays = 400 })), want: renews,
		},
		"renews what regfish refused to renew for another key": {
			reason: "it may have been that request's fault", purchases: append(single(190), record(t, 2, forKey(t, keyB), forRequest("r0"), renewed("C1"), refusedForGood)), want: renews,
		},
		"waits a minute before it asks for a reissue again": {
			reason: "regfish turned it away", purchases: year(30, reissuedFor(t, keyA, "r1", 20*time.Second, answeredWith(v1alpha1.OutcomeNotSent, 429))),
			want: verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: 40 * time.Second},
		},
		"asks for a reissue again after one of a clock that was a year ahead": {
			reason: "nobody waits for a year because a machine began with a wrong clock", purchases: year(30, reissuedFor(t, keyA, "r1", -days(365), answeredWith(v1alpha1.OutcomeNotSent, 429))), want: reissues(1),
		},
		"asks for a reissue again after a minute": {
			reason: "it was not taken", purchases: year(30, reissuedFor(t, keyA, "r1", time.Minute, answeredWith(v1alpha1.OutcomeNotSent, 0))), want: reissues(1),
		},
		"asks after three reissues in a day": {
			reason: "somebody asks again and again", want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 21 * time.Hour},
			purchases: year(30, reissuedFor(t, keyB, "a", 3*time.Hour, finished(v1alpha1.ReissueIssued)), reissuedFor(t, keyB, "b", 2*time.Hour, finished(v1alpha1.ReissueIssued)), reissuedFor(t, keyB, "c", time.Hour, finished(v1alpha1.ReissueIssued))),
		},
		"does not count reissues that were not taken": {
			reason: "they came to nothing", want: reissues(1),
			purchases: year(30, reissuedFor(t, keyB, "a", 3*time.Hour, answeredWith(v1alpha1.OutcomeNotSent, 0)), reissuedFor(t, keyB, "b", 2*time.Hour, finished(v1alpha1.ReissueIssued)), reissuedFor(t, keyB, "c", time.Hour, finished(v1alpha1.ReissueIssued))),
		},
		"does not reissue what is announced to be renewed": {
			reason: "another process may be about to pay for it", purchases: year(30, func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Successors = []v1alpha1.Successor{{Number: 2, Action: v1alpha1.ActionRenew, RequestUID: "r9", Time: metav1.NewMicroTime(noon.Add(-time.Minute))}}
			}), want: renews,
		},
		"reissues what was to be renewed by a purchase that is removed from the ledger by now": {
			reason: "regfish refused the renewal, and its number is the next one again", purchases: year(60, func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Successors = []v1alpha1.Successor{{Number: 2, Action: v1alpha1.ActionRenew, RequestUID: "r9", Time: metav1.NewMicroTime(noon.Add(-days(45)))}}
			}), want: reissues(1),
		},
		"reissues what was to be renewed for a request that is gone": {
			reason: "nothing was placed", purchases: append(year(30), record(t, 2, forKey(t, keyB), forRequest("r9"), renewed("C1"), attempted(v1alpha1.OutcomeNotSent, time.Hour))), want: reissues(1),
		},
		"does not reissue what was renewed": {
			reason: "what renews it is paid for", purchases: append(year(100), record(t, 2, forKey(t, keyB), renewed("C1"), placed("C2", days(30)), issuedFor(monthAgo, inHalfAYear))), want: reissues(2),
		},
		"reissues what was to be renewed and was not": {
			reason: "regfish refused the renewal", purchases: append(year(30), record(t, 2, forKey(t, keyB), renewed("C1"), sourceRefusedWith(409))), want: reissues(1),
		},

		// Renewals.
		"buys after regfish refused the renewal": {
			reason: "it falls back once", purchases: append(single(190), record(t, 2, renewed("C1"), sourceRefusedWith(409))), want: buys, says: "nor renewed (refused: place order: cannot be renewed)",
		},
		"buys after regfish did not know what is to be renewed": {
			reason: "it falls back once", purchases: append(single(190), record(t, 2, renewed("C1"), sourceRefusedWith(404))), given: owner(certificateOf(0), says(nil)), want: buys,
		},
		"buys after regfish refused the renewal and did not say because of what": {
			reason: "it falls back once, or the request of each day would fail until the contract ends", purchases: append(single(190), record(t, 2, renewed("C1"), refusedForGood)), want: buys, says: "nor renewed (refused: ",
		},
		"fails the request whose order was refused after its renewal": {
			reason: "it is the request that is at fault", purchases: append(single(190), record(t, 2, renewed("C1"), refusedForGood), record(t, 3, refusedForGood)), want: verdict{Step: StepFail, Purchase: 3, Reason: v1alpha1.ReasonRejected},
		},
		"tries a renewal again that was turned away": {
			reason: "nothing was placed", purchases: append(single(190), record(t, 2, renewed("C1"), attempted(v1alpha1.OutcomeNotSent, time.Hour))), want: verdict{Step: StepRetry, Purchase: 2, Reason: v1alpha1.ReasonPlacing},
		},

		// Early.
		"waits with a purchase while more than half of the lifetime is left": {
			reason: "a renewBefore of 150 days would buy every 49 days", purchases: single(50), given: owner(certificateOf(days(150))), want: early(10 * time.Minute),
			says: "nothing is bought before half of its lifetime is over at 2026-07-21T00:00:00Z",
		},
		"waits no longer than half of the lifetime": {
			reason: "the purchase comes by itself then", purchases: single(100), want: early(time.Minute),
			given: owner(certificateOf(days(150)), func(f *Facts) { f.Now = noon.Add(-12*time.Hour - time.Minute) }),
		},
		"renews when half of the lifetime is over": {
			reason: "it is late enough", purchases: single(100), given: owner(certificateOf(days(150))), want: renews,
		},
		"renews at once when the Certificate is not Ready": {
			reason: "economy must not become an outage", purchases: single(50), given: owner(certificateOf(days(150), notReadyNow)), want: renews,
		},
		"renews at once what was revoked": {
			reason: "nobody trusts it", purchases: single(50), given: owner(certificateOf(days(150)), says(func(c *regfish.Certificate) { c.RevocationScope, c.ReissueSupported = "order", false })), want: renews,
		},
		"waits also where nothing is reused": {
			reason: "the loop costs the same", purchases: single(50), given: owner(certificateOf(days(150)), never), want: early(10 * time.Minute),
		},
		"does not wait for a new key": {
			reason: "somebody rotates it, and knows why", purchases: single(50), given: owner(certificateOf(days(100)), says(func(c *regfish.Certificate) { c.ReissueSupported = false })), want: renews,
		},

		// Economy must not become an outage.
		"waits for a reissue that has been unfinished for a day while the certificate is good": {
			reason: "nothing breaks", purchases: year(100, reissuedFor(t, keyB, "r0", 25*time.Hour)), given: owner(certificateOf(0)), want: waits(1),
		},
		"waits for a reissue that has been unfinished for less than a day": {
			reason: "it may come", purchases: year(195, reissuedFor(t, keyB, "r0", 23*time.Hour)), given: owner(certificateOf(0)), want: waits(1),
		},
		"buys beside a reissue that has been unfinished for a day when the certificate is about to run out": {
			reason: "economy must not become an outage", purchases: year(195, reissuedFor(t, keyB, "r0", 25*time.Hour)), given: owner(certificateOf(0)), want: buys,
		},
		"buys beside its own reissue that has been unfinished for a day when the Certificate is not Ready": {
			reason: "economy must not become an outage", purchases: year(100, reissuedFor(t, keyA, "r1", 25*time.Hour)), given: owner(certificateOf(0, notReadyNow)), want: buys,
		},
		"counts a reissue that is asked for again and again as unfinished since the first time": {
			reason: "otherwise it would never be", want: buys, given: owner(certificateOf(0)),
			purchases: year(195, reissuedFor(t, keyA, "r1", 25*time.Hour, answeredWith(v1alpha1.OutcomeNotSent, 503)), reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeNotSent, 503))),
		},

		// reusePolicy: Never.
		"buys for a new key where nothing is reused": {
			reason: "the issuer's owner wants it so", purchases: year(30), given: owner(certificateOf(0), never), want: buys, says: "reusePolicy of RegfishClusterIssuer regfish is Never",
		},
		"buys for the same key of another request where nothing is reused": {
			reason: "the issuer's owner wants it so", purchases: year(30, forRequestKeyA(t)), given: owner(certificateOf(0), never), want: buys,
		},
		"delivers what was bought for the request where nothing is reused": {
			reason: "it is its own", purchases: year(1, forRequestKeyA(t), forRequest("r1")), given: owner(certificateOf(0), never), want: delivers,
		},
		"delivers what was issued after the request was made again where nothing is reused": {
			reason: "it followed that until then", purchases: year(1, forRequestKeyA(t), issuedAt(noon)), want: delivers,
			given: owner(certificateOf(0), never, func(f *Facts) { f.Asked = noon }),
		},
		"buys for the same key where nothing is reused and all was issued before the request": {
			reason: "the issuer's owner wants it so", purchases: year(1, forRequestKeyA(t), issuedAt(noon.Add(-time.Second))), want: buys,
			given: owner(certificateOf(0), never, func(f *Facts) { f.Asked = noon }),
		},
		"reissues the same key that is due again after a reissue of it was not taken": {
			reason: "Issued turned True again, and nobody waited for what is due", want: reissues(1), says: "is due",
			purchases: year(140, forRequestKeyA(t), reissuedFor(t, keyA, "r1", time.Hour, answeredWith(v1alpha1.OutcomeNotSent, 0)), issuedAt(noon.Add(-time.Minute))),
			given:     owner(certificateOf(0), func(f *Facts) { f.Asked = noon.Add(-2 * time.Hour) }),
		},
		"reissues the same key that is due though the request seems older than the certificate": {
			reason: "the API server's clock is behind, and cert-manager would ask again at once, for ever", want: reissues(1), says: "is due",
			purchases: year(150, forRequestKeyA(t), reissuedFor(t, keyA, "r0", days(149), finished(v1alpha1.ReissueIssued))),
			given:     owner(certificateOf(0), func(f *Facts) { f.Asked = noon.Add(-days(200)) }),
		},
		"delivers a reissue that was issued after the request was made again where nothing is reused": {
			reason: "it followed that until then", want: delivers, purchases: year(30, reissuedFor(t, keyA, "r0", time.Hour, finished(v1alpha1.ReissueIssued))),
			given: owner(certificateOf(0), never, func(f *Facts) { f.Asked = noon.Add(-time.Hour) }),
		},
		"delivers what a later attempt bought for the request where nothing is reused": {
			reason: "it is its own", want: delivers, given: owner(certificateOf(0), never),
			purchases: year(1, forRequestKeyA(t), func(p *v1alpha1.RegfishPurchase) {
				first := p.Spec.Attempts[0]
				first.Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeNotSent, Time: first.Time}
				p.Spec.Attempts[0].Number, p.Spec.Attempts[0].RequestUID = 2, "r1"
				p.Spec.Attempts = append(p.Spec.Attempts, first)
			}),
		},
		"waits for what is under way where nothing is reused": {
			reason: "one at a time", purchases: one(forKey(t, keyB), placed("C1", time.Hour)), given: owner(certificateOf(0), never), want: waits(1),
		},
		"buys without a renewal where nothing is reused": {
			reason: "the issuer's owner wants it so", purchases: single(190), given: owner(certificateOf(0), never), want: buys,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation(t, tt.purchases...)
			if tt.given != nil {
				tt.given(&f)
			}
			d := Plan(f)
			if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" {
				t.Errorf("%s: Plan (-want +got):\n%s\nit says: %s", tt.reason, diff, d.Message)
			}
			if !strings.Contains(d.Message, tt.says) {
				t.Errorf("%s: it says %q, want %q in it", tt.reason, d.Message, tt.says)
			}
			if d.Step == StepRenew && (d.Source == nil || d.Source.Spec.CertificateID == "") {
				t.Errorf("%s: it renews %v", tt.reason, d.Source)
			}
		})
	}
}

func never(f *Facts) { f.Want.Reuse = v1alpha1.ReusePolicyNever }

// forRequestKeyA makes it a purchase of an earlier request with the key of this one.
func forRequestKeyA(t testing.TB) change {
	return func(p *v1alpha1.RegfishPurchase) { forKey(t, keyA)(p) }
}

// issuedAt is when the certificate was first seen to be issued.
func issuedAt(then time.Time) change {
	return func(p *v1alpha1.RegfishPurchase) {
		meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionIssued).LastTransitionTime = metav1.NewTime(then)
	}
}

func goneSince(before time.Duration) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Status.BeneficiaryGoneSince = at(noon.Add(-before)) }
}

func renewed(source string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Action, p.Spec.SourceCertificateID = v1alpha1.ActionRenew, source
	}
}

// sourceRefusedWith is an attempt that regfish refused because of what it renews.
func sourceRefusedWith(status int32) change {
	return func(p *v1alpha1.RegfishPurchase) {
		attempted(v1alpha1.OutcomeRejected, time.Hour)(p)
		o := p.Spec.Attempts[len(p.Spec.Attempts)-1].Outcome
		o.HTTPStatus, o.Message = status, "place order: cannot be renewed."
	}
}

// dueOf is when the certificate of the first purchase is due.
func dueOf(f *Facts) time.Time {
	s := f.Purchases[0].Status
	return f.due(s.NotBefore.Time, s.NotAfter.Time)
}
