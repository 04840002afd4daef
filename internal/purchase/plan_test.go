// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// verdict is a decision without its sentence.
type verdict struct {
	Step      Step
	Purchase  int32  // number of the purchase it is about
	Candidate string // id of the certificate that is imported
	Reason    string
	LookAgain time.Duration
}

func verdictOf(d Decision) verdict {
	v := verdict{Step: d.Step, Reason: d.Reason, LookAgain: d.LookAgain}
	if d.Purchase != nil {
		v.Purchase = d.Purchase.Spec.Number
	}
	if d.Candidate != nil {
		v.Candidate = d.Candidate.Certificate.ID
	}
	return v
}

// situation is a set of facts in which nothing stops a purchase but what is in it.
func situation(t testing.TB, purchases ...v1alpha1.RegfishPurchase) Facts {
	t.Helper()
	return Facts{Now: noon, Want: wanted(t), Purchases: purchases, Live: map[types.UID]bool{}, Slots: Slots{Limit: 50}}
}

// waits is the verdict that purchase n has to come to an end first. An event tells
// when it does, and in case the event is lost the decision is made again soon.
func waits(n int32) verdict {
	return verdict{Step: StepWait, Purchase: n, Reason: v1alpha1.ReasonWaitingForPurchase, LookAgain: time.Minute}
}

// follows is the verdict that purchase 1 serves the request.
func follows(reason string) verdict {
	v := verdict{Step: StepFollow, Purchase: 1, Reason: reason}
	if reason == v1alpha1.ReasonPlacing {
		v.LookAgain = time.Minute
	}
	return v
}

// movedAway is the verdict that the issuer's url has to be set back first.
var movedAway = verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonEndpointChanged, LookAgain: time.Minute}

// stops is the verdict that a person has to license another attempt of purchase 1.
var stops = verdict{Step: StepHold, Purchase: 1, Reason: v1alpha1.ReasonAmbiguousOutcome, LookAgain: time.Minute}

// reissues is the verdict that what purchase n holds is reissued.
func reissues(n int32) verdict {
	return verdict{Step: StepReissue, Purchase: n, Reason: v1alpha1.ReasonPlacing}
}

var (
	buys   = verdict{Step: StepBuy, Reason: v1alpha1.ReasonPlacing}
	renews = verdict{Step: StepRenew, Reason: v1alpha1.ReasonPlacing}
	// The certificate of these was issued a month ago for 199 days.
	monthAgo, inHalfAYear = noon.Add(-days(30)), noon.Add(days(169))
)

func TestPlan(t *testing.T) {
	one := func(changes ...change) []v1alpha1.RegfishPurchase {
		return []v1alpha1.RegfishPurchase{record(t, 1, changes...)}
	}
	for name, tt := range map[string]struct {
		reason    string
		purchases []v1alpha1.RegfishPurchase
		given     func(*Facts)
		want      verdict
	}{
		"buys where nothing was ever bought": {
			reason: "this is what the program is for",
			want:   buys,
		},

		// The same key.
		"follows what was bought for this key": {
			reason:    "a request that is looked at again buys nothing",
			purchases: one(placed("C1", time.Hour)),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"follows what an earlier request of this key bought": {
			reason:    "a request that was deleted and made again buys nothing",
			purchases: one(forRequest("r0"), placed("C1", time.Hour)),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"follows what was bought for this key through another issuer": {
			reason:    "moving a Certificate to another issuer of the endpoint buys nothing",
			purchases: one(withIssuer("old"), placed("C1", time.Hour)),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"follows what was bought for this key under another Certificate's name": {
			reason:    "a Certificate that was renamed with its key buys nothing",
			purchases: one(forCertificate("old"), placed("C1", time.Hour)),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"follows a held purchase of this key": {
			reason:    "an id that regfish does not know is no reason to buy another one",
			purchases: one(placed("C1", time.Hour), heldFor(v1alpha1.ReasonNotFoundAtVendor)),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"does not take what was bought for this key in another namespace": {
			reason:    "whoever sends a copy of a CSR must not be given another tenant's purchase",
			purchases: one(inNamespace("blog"), placed("C1", time.Hour)),
			want:      buys,
		},
		"does not take what was bought for this key and the name without www": {
			reason:    "www and the bare name share the lock, not the certificate",
			purchases: one(forNames(t, "example.com"), placed("C1", time.Hour)),
			want:      buys,
		},
		"follows an order that is being sent for this key": {
			reason:    "an attempt without an outcome may have bought it",
			purchases: one(attempted("", time.Second)),
			want:      follows(v1alpha1.ReasonPlacing),
		},
		"follows an order of this key whose outcome is unknown": {
			reason:    "an unknown outcome is never bought over",
			purchases: one(attempted(v1alpha1.OutcomeUnknown, days(3))),
			want:      follows(v1alpha1.ReasonPlacing),
		},
		"follows an accepted order of this key that has no id of its own": {
			reason:    "regfish answered with an id that another purchase holds, so something was bought",
			purchases: one(attempted(v1alpha1.OutcomeAccepted, days(3))),
			want:      follows(v1alpha1.ReasonPlacing),
		},
		"follows an order of which one attempt of several is unknown": {
			reason:    "any attempt that may have bought something counts, not only the last",
			purchases: one(attempted(v1alpha1.OutcomeUnknown, days(3)), attempted(v1alpha1.OutcomeNotSent, days(2))),
			want:      follows(v1alpha1.ReasonPlacing),
		},
		"follows an order with an outcome that this version does not know": {
			reason:    "only outcomes that are known to have bought nothing let another order be sent",
			purchases: one(attempted("Perhaps", days(3))),
			want:      follows(v1alpha1.ReasonPlacing),
		},
		"delivers what was issued for this request": {
			reason:    "it was bought for it",
			purchases: one(placed("C1", time.Hour), issuedFor(noon, noon.Add(days(199)))),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"delivers what was issued for this request however late it is": {
			reason:    "a certificate that took months was paid for by this request all the same",
			purchases: one(placed("C1", days(190)), issuedFor(noon.Add(-days(190)), noon.Add(days(9)))),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"hands out what was issued for an earlier request of this key": {
			reason:    "cert-manager repeats a request after its Secret was lost",
			purchases: one(forRequest("r0"), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"hands out an imported certificate of this key": {
			reason:    "what was found in the account is paid for",
			purchases: one(forRequest("r0"), imported("C1"), issuedFor(monthAgo, inHalfAYear)),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"hands out a certificate whose dates are not known yet": {
			reason:    "the dates come with the certificate, and buying another one does not bring them",
			purchases: one(forRequest("r0"), placed("C1", time.Hour), stands(v1alpha1.ConditionIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued, "issued.")),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"renews when the certificate of this key is due": {
			reason:    "cert-manager would renew it at once",
			purchases: one(forRequest("r0"), placed("C1", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19)))),
			want:      renews,
		},
		"delivers a refused certificate of this key again even when it is due": {
			reason:    "what may not be published is never bought again",
			purchases: one(forRequest("r0"), placed("C1", days(180)), issuedFor(noon.Add(-days(180)), noon.Add(days(19))), heldFor(v1alpha1.ReasonCertificateRefused)),
			want:      verdict{Step: StepDeliver, Purchase: 1, Reason: v1alpha1.ReasonPurchased},
		},
		"prefers the newest purchase of this key": {
			reason: "the older one was due when the newer one was bought",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forRequest("r0"), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forRequest("r0"), placed("C2", time.Hour)),
			},
			want: verdict{Step: StepFollow, Purchase: 2, Reason: v1alpha1.ReasonPurchased},
		},
		"follows an older purchase of this key before it tries a newer one again": {
			reason: "a person found the order of the older one and adopted it after the newer one was begun",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, unfound(days(2)), adopted("C1"), succeeded(2)),
				record(t, 2, attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			},
			want: follows(v1alpha1.ReasonPurchased),
		},
		"does not try again beside an order for an earlier key": {
			reason: "a person found the order of the older one and adopted it after the newer one was begun",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), unfound(days(2)), adopted("C1"), succeeded(2)),
				record(t, 2, attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			},
			want: waits(1),
		},
		"fails the request whose order came to nothing": {
			reason:    "a terminal word of the vendor ends the request, in the vendor's words",
			purchases: one(placed("C1", time.Hour), cameToNothing),
			want:      verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonFailed},
		},
		"fails the request whose order was refused": {
			reason:    "the same order would be refused again, and only a changed request can succeed",
			purchases: one(refusedForGood),
			want:      verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonRejected},
		},
		"buys for a request that was made again after its order was refused": {
			reason:    "nothing was bought, and whoever makes the request again has changed something",
			purchases: one(forRequest("r0"), refusedForGood),
			want:      buys,
		},
		"asks a person when the certificate of an earlier request of this key never came": {
			reason:    "the key alone does not make the next order a better one",
			purchases: one(forRequest("r0"), placed("C1", time.Hour), cameToNothing),
			want:      verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp},
		},
		"reissues after the certificate of this key was revoked": {
			reason: "it was issued once, so the order did not fail, and a revoked one is never handed out",
			purchases: one(forRequest("r0"), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear),
				stands(v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, "revoked.")),
			want: reissues(1),
		},

		// Another attempt.
		"tries again after an attempt of a clock that was a year ahead": {
			reason:    "nobody waits for a year because a machine began with a wrong clock",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, -days(365))),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"waits after an attempt of a clock that is a moment ahead": {
			reason:    "the clocks of two machines differ",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, -30*time.Second)),
			want:      verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: 90 * time.Second},
		},
		"tries again once the pause is over": {
			reason:    "an order that was not sent bought nothing",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Minute)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"tries again for a request that was made again": {
			reason:    "the purchase is for the key, and the next attempt is for the request that is there now",
			purchases: one(forRequest("r0"), attempted(v1alpha1.OutcomeRejected, time.Hour)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"orders anew when the request names another issuer": {
			reason:    "the attempt would be paid from one account and looked for in another",
			purchases: one(withIssuer("old"), attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			want:      buys,
		},
		"orders anew when the issuer names another product": {
			reason:    "whoever corrected it does not want the old one",
			purchases: one(withSKU("SecureSite"), attempted(v1alpha1.OutcomeRejected, time.Hour)),
			want:      buys,
		},
		"tries again when the product is only spelled differently": {
			reason:    "it is the same product",
			purchases: one(withSKU("RAPIDSSL"), attempted(v1alpha1.OutcomeRejected, time.Hour)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"orders anew when another term is to be bought": {
			reason:    "the longest term gets shorter from one day to the next, and the old one would be refused",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			given:     func(f *Facts) { f.Want.ValidityDays = 99 },
			want:      buys,
		},
		"does not try again beside a record of another version": {
			reason: "it may mean anything",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour)), record(t, 2, inNamespace("blog"), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }),
			},
			want: waits(2),
		},
		"does not try again while an order of this Certificate stands at the endpoint before": {
			reason:    "the issuer's url was changed there and back",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			given:     func(f *Facts) { f.Elsewhere = one(elsewhere, placed("C1", time.Minute)) },
			want:      movedAway,
		},
		"does not try again with an issuer that is not ready": {
			reason:    "the key that was refused would be refused again",
			purchases: one(attempted(v1alpha1.OutcomeRejected, time.Hour)),
			given:     func(f *Facts) { f.Issuer = notReady("not ready.") },
			want:      verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonIssuerNotReady},
		},
		"does not try again without a slot": {
			reason:    "an attempt takes a slot too",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			given: func(f *Facts) {
				f.Slots = Slots{Limit: 1, Used: 1, Next: noon.Add(5 * time.Hour)}
			},
			want: verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: 5 * time.Hour},
		},
		"does not try again while purchases are stopped": {
			reason:    "a count of 0 stops attempts too",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			given:     func(f *Facts) { f.Slots = Slots{} },
			want:      verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonPurchasesPaused},
		},
		"does not try again beside an order for the same names that is under way": {
			reason: "the two could not be told apart afterwards",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour)),
				record(t, 2, inNamespace("blog"), forKey(t, keyB), attempted("", time.Second)),
			},
			want: waits(2),
		},
		"does not try again when the account has an order that nobody knows": {
			reason:    "the attempt that was said not to be sent may have been, by a vendor that misbehaves",
			purchases: one(attempted(v1alpha1.OutcomeNotSent, time.Hour)),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: regfish.Certificate{ID: "X1", Status: regfish.StatusPending, CommonName: "www.example.com"}}}}
			},
			want: verdict{Step: StepHold, Purchase: 1, Reason: v1alpha1.ReasonUnclaimedOrder, LookAgain: time.Hour},
		},

		// Attempts that were looked for and not found.
		"tries again what was not found": {
			reason:    "the account shows that nothing was bought",
			purchases: one(unfound(time.Minute)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"waits a minute from when it was known": {
			reason:    "the pause is between two orders, and the looks are no pause of the vendor's",
			purchases: one(unfound(0)),
			want:      queued(v1alpha1.ReasonVendorUnavailable),
		},
		"asks a person after two attempts without an answer": {
			reason:    "a vendor that makes orders later than they are looked for would be paid again and again",
			purchases: one(unfound(2*time.Hour), unfound(time.Hour)),
			want:      stops,
		},
		"asks a person after two attempts without an answer and one that was not sent": {
			reason:    "two are two",
			purchases: one(unfound(3*time.Hour), attempted(v1alpha1.OutcomeNotSent, 2*time.Hour), unfound(time.Hour)),
			want:      stops,
		},
		"tries again after four that failed at regfish": {
			reason:    "the vendor itself has dealt with them",
			purchases: one(failedAtRegfish(20*time.Hour), failedAtRegfish(19*time.Hour), failedAtRegfish(13*time.Hour), failedAtRegfish(7*time.Hour)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"waits for hours after two that failed at regfish": {
			reason:    "if both were made late after all, both show before a third one is bought",
			purchases: one(failedAtRegfish(4*time.Hour), failedAtRegfish(3*time.Hour)),
			want:      verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: 3 * time.Hour},
		},
		"does not wait for hours after one": {
			reason:    "another one is all that can be made too much",
			purchases: one(failedAtRegfish(time.Hour)),
			want:      verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"asks a person after five that failed at regfish": {
			reason:    "it does not get better by itself",
			purchases: one(failedAtRegfish(6*time.Hour), failedAtRegfish(5*time.Hour), failedAtRegfish(4*time.Hour), failedAtRegfish(3*time.Hour), failedAtRegfish(2*time.Hour)),
			want:      stops,
		},
		"asks a person after one that failed at regfish and two without an answer": {
			reason:    "two are two",
			purchases: one(unfound(6*time.Hour), failedAtRegfish(5*time.Hour), unfound(4*time.Hour)),
			want:      stops,
		},
		"asks a person for a request that was made again with the same key": {
			reason:    "making the request again is how cert-manager repeats it",
			purchases: one(forRequest("r0"), unfound(2*time.Hour), unfound(time.Hour)),
			want:      stops,
		},
		"orders anew after two attempts without an answer when the issuer names another product": {
			reason:    "whoever corrected it decided",
			purchases: one(withSKU("SecureSite"), unfound(2*time.Hour), unfound(time.Hour)),
			want:      buys,
		},
		"keeps the third order for a key apart although a request with another key bought in between": {
			reason:    "the first purchase is not tried again, and a new one would follow at once",
			purchases: append(one(unfound(2*time.Hour), failedAtRegfish(time.Hour), succeeded(2)), record(t, 2, forKey(t, keyB), forRequest("r9"), inNamespace("blog"), placed("C2", time.Minute), issuedFor(monthAgo, inHalfAYear))),
			want:      verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: 5 * time.Hour},
		},
		"places the third order for a key six hours later": {
			reason:    "what was made late would have shown by then",
			purchases: append(one(unfound(8*time.Hour), failedAtRegfish(6*time.Hour), succeeded(2)), record(t, 2, forKey(t, keyB), forRequest("r9"), inNamespace("blog"), placed("C2", time.Minute), issuedFor(monthAgo, inHalfAYear))),
			want:      buys,
		},
		"keeps the third order for a key apart whose second had a purchase of its own": {
			reason:    "two are two",
			purchases: append(one(unfound(2*time.Hour), succeeded(2)), record(t, 2, failedAtRegfish(time.Hour))),
			want:      verdict{Step: StepQueue, Purchase: 2, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: 5 * time.Hour},
		},
		"waits for a live request whose attempts are as many as are made without asking": {
			reason:    "a person decides on that one first",
			purchases: one(forKey(t, keyB), unfound(2*time.Hour), unfound(time.Hour)),
			given:     func(f *Facts) { f.Live["r0"] = true },
			want:      waits(1),
		},
		"does not wait for what was not found once its request is gone": {
			reason:    "nothing was bought, and nobody wants it",
			purchases: one(forKey(t, keyB), unfound(2*time.Hour), unfound(time.Hour)),
			want:      buys,
		},
		"does not wait for what was not found for another tenant": {
			reason:    "it blocks nobody",
			purchases: one(forKey(t, keyB), inNamespace("blog"), unfound(time.Hour)),
			given:     func(f *Facts) { f.Live["r0"] = true },
			want:      buys,
		},
		"follows what was found": {
			reason:    "it is bought",
			purchases: one(attempted(v1alpha1.OutcomeUnknown, time.Hour), adopted("C1")),
			want:      follows(v1alpha1.ReasonPurchased),
		},
		"follows an attempt that is looked for after one that was not found": {
			reason:    "it may have been placed",
			purchases: one(unfound(time.Hour), attempted(v1alpha1.OutcomeUnknown, time.Minute)),
			want:      follows(v1alpha1.ReasonPlacing),
		},

		// Records of another version.
		"waits for a record of a newer version": {
			reason:    "it may mean that something was bought",
			purchases: one(inNamespace("blog"), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }),
			want:      waits(1),
		},
		"waits for a record of a newer version that has this key": {
			reason:    "what looks like an ended attempt may be something else in that version",
			purchases: one(refusedForGood, func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }),
			want:      waits(1),
		},
		"waits for a record without a version": {
			reason:    "no version wrote it",
			purchases: one(refusedForGood, func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 0 }),
			want:      waits(1),
		},
		"follows its own purchase beside a record of a newer version": {
			reason: "following costs nothing",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, placed("C1", time.Hour)),
				record(t, 2, inNamespace("blog"), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }),
			},
			want: follows(v1alpha1.ReasonPurchased),
		},
		"passes over a plan": {
			reason:    "a plan locks nothing, and nobody waits for it",
			purchases: []v1alpha1.RegfishPurchase{record(t, 0, forKey(t, keyB)), record(t, 0, func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 })},
			want:      buys,
		},

		// One order at a time.
		"waits while an order of another tenant for these names is being sent": {
			reason:    "the two could not be told apart afterwards",
			purchases: one(inNamespace("blog"), forKey(t, keyB), attempted("", time.Second)),
			want:      waits(1),
		},
		"waits while the outcome of an order for the name without www is unknown": {
			reason:    "authorities add www to the bare name, so either may be the other's",
			purchases: one(forNames(t, "example.com"), attempted(v1alpha1.OutcomeUnknown, days(9))),
			want:      waits(1),
		},
		"waits while an accepted order of another tenant has no id of its own": {
			reason:    "it may be any of the account's orders for these names",
			purchases: one(inNamespace("blog"), forKey(t, keyB), attempted(v1alpha1.OutcomeAccepted, days(9))),
			want:      waits(1),
		},
		"buys beside an order of another tenant that was not placed": {
			reason:    "nothing of it is at the vendor, and its next attempt finds the successor",
			purchases: one(inNamespace("blog"), forKey(t, keyB), attempted(v1alpha1.OutcomeNotSent, time.Second)),
			want:      buys,
		},
		"buys beside an order of another tenant that is on its way": {
			reason:    "its id is known, so the two can be told apart",
			purchases: one(inNamespace("blog"), forKey(t, keyB), placed("C1", time.Hour)),
			want:      buys,
		},

		// The lineage.
		"waits for the purchase of an earlier key": {
			reason:    "a key that rotates while an order runs must not buy a second one",
			purchases: one(forKey(t, keyB), placed("C1", time.Hour)),
			want:      waits(1),
		},
		"waits for the purchase of an earlier key whatever issuer made it": {
			reason:    "moving to another issuer with a new key buys nothing either",
			purchases: one(forKey(t, keyB), withIssuer("old"), placed("C1", time.Hour)),
			want:      waits(1),
		},
		"waits for the purchase of an earlier key when the product is only spelled differently": {
			reason:    "products are compared without case",
			purchases: one(forKey(t, keyB), withSKU("RAPIDSSL"), placed("C1", time.Hour)),
			want:      waits(1),
		},
		"waits for the purchase of an earlier key that regfish does not know": {
			reason:    "a wrong key must not empty the lineage",
			purchases: one(forKey(t, keyB), placed("C1", days(3)), heldFor(v1alpha1.ReasonNotFoundAtVendor)),
			want:      waits(1),
		},
		"waits for a refused certificate of an earlier key while its contract runs": {
			reason:    "what may not be published is never bought again",
			purchases: one(forKey(t, keyB), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear), heldFor(v1alpha1.ReasonCertificateRefused)),
			want:      waits(1),
		},
		"renews after the contract of a refused certificate ended": {
			reason:    "there is nothing left of it to use",
			purchases: one(forKey(t, keyB), placed("C1", days(300)), issuedFor(noon.Add(-days(300)), noon.Add(-days(101))), heldFor(v1alpha1.ReasonCertificateRefused)),
			want:      renews,
		},
		"waits for a refused certificate whose contract outlives it": {
			reason: "the contract is what was paid for, not the certificate",
			purchases: one(forKey(t, keyB), placed("C1", days(300)), issuedFor(noon.Add(-days(300)), noon.Add(-days(101))), heldFor(v1alpha1.ReasonCertificateRefused),
				func(p *v1alpha1.RegfishPurchase) { p.Status.ContractNotAfter = at(noon.Add(days(65))) }),
			want: waits(1),
		},
		"waits for an earlier key's order that is to be tried again for a live request": {
			reason:    "that request will buy",
			purchases: one(forKey(t, keyB), attempted(v1alpha1.OutcomeNotSent, time.Second)),
			given:     func(f *Facts) { f.Live["r0"] = true },
			want:      waits(1),
		},
		"buys when the request of an earlier key's order is gone": {
			reason:    "nobody will try that one again",
			purchases: one(forKey(t, keyB), attempted(v1alpha1.OutcomeNotSent, time.Second)),
			want:      buys,
		},
		"reissues after the certificate of an earlier key was issued": {
			reason:    "a certificate of another key does not fit",
			purchases: one(forKey(t, keyB), placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)),
			want:      reissues(1),
		},
		"buys beside the purchase of another Certificate for the same names": {
			reason:    "two Certificates that both exist are two lineages",
			purchases: one(forKey(t, keyB), forCertificate("other"), placed("C1", time.Hour)),
			want:      buys,
		},
		"buys beside the purchase of another product": {
			reason:    "whoever changed the product wants that one",
			purchases: one(forKey(t, keyB), withSKU("SecureSite"), placed("C1", time.Hour)),
			want:      buys,
		},
		"buys beside another request that has no Certificate either": {
			reason:    "a request without a Certificate is a lineage of its own",
			purchases: one(forKey(t, keyB), forCertificate(""), placed("C1", time.Hour)),
			given:     func(f *Facts) { f.Want.Beneficiary.CertificateName = "" },
			want:      buys,
		},

		// Another endpoint.
		"waits for an order of this Certificate at the endpoint that the issuer named before": {
			reason: "an edit of the issuer's url must not buy everything that is pending a second time",
			given:  func(f *Facts) { f.Elsewhere = one(elsewhere, forKey(t, keyB), placed("C1", time.Hour)) },
			want:   movedAway,
		},
		"waits for an order of this key at the endpoint that the issuer named before": {
			reason: "the same key changes nothing about it",
			given:  func(f *Facts) { f.Elsewhere = one(elsewhere, placed("C1", time.Hour)) },
			want:   movedAway,
		},
		"an order at the endpoint before, for the same key and another product": {
			reason: "an issuer whose url and sku were edited together buys nothing a second time",
			given:  func(f *Facts) { f.Elsewhere = one(elsewhere, withSKU("Other"), placed("C1", time.Hour)) },
			want:   movedAway,
		},
		"waits for an unknown outcome at the endpoint that the issuer named before": {
			reason: "it may have been placed there",
			given:  func(f *Facts) { f.Elsewhere = one(elsewhere, attempted(v1alpha1.OutcomeUnknown, days(3))) },
			want:   movedAway,
		},
		"buys when nothing of this Certificate is pending at the endpoint before": {
			reason: "what was issued, refused or not sent there does not stand in the way",
			given: func(f *Facts) {
				f.Elsewhere = []v1alpha1.RegfishPurchase{
					record(t, 1, elsewhere, placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear)), record(t, 2, elsewhere, refusedForGood), record(t, 3, elsewhere, attempted(v1alpha1.OutcomeNotSent, time.Hour)),
				}
			},
			want: buys,
		},
		"buys beside what another Certificate has pending at the endpoint before": {
			reason: "it is another lineage",
			given: func(f *Facts) {
				f.Elsewhere = one(elsewhere, forNames(t, "example.com"), placed("C1", time.Hour))
			},
			want: buys,
		},

		// Bounds.
		"asks a person after three purchases in a day": {
			reason: "two writers of one Secret would buy for ever",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", 20*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), placed("C2", 10*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear)),
			},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 4 * time.Hour},
		},
		"asks a person after three purchases in a day whose answers were lost": {
			reason: "they were found in the account, and cost the same",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, 20*time.Hour), proved("C1"), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, 10*time.Hour), proved("C2"), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, time.Hour), adopted("C3"), issuedFor(monthAgo, inHalfAYear)),
			},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 4 * time.Hour},
		},
		"looks again when the third newest of many purchases is a day old": {
			reason: "more than three can be in the ledger after a person licensed one",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", 23*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), placed("C2", 12*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), placed("C3", 11*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 4, forKey(t, keyB), placed("C4", time.Hour), issuedFor(monthAgo, inHalfAYear)),
			},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 12 * time.Hour},
		},
		"reissues when the oldest of three purchases is a day old": {
			reason: "the bound is for a rolling day",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", 24*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), placed("C2", 10*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear)),
			},
			want: reissues(3),
		},
		"does not count what was not placed": {
			reason: "an order that was refused cost nothing",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", 20*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), attempted(v1alpha1.OutcomeRejected, 10*time.Hour), placed("C2", 9*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), refusedForGood),
				record(t, 4, forKey(t, keyB), imported("C4"), issuedFor(monthAgo, inHalfAYear)),
			},
			want: reissues(4),
		},
		"does not count the purchases of other Certificates, namespaces and names": {
			reason: "they are other lineages",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), forCertificate("other"), placed("C1", 3*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), inNamespace("blog"), placed("C2", 2*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), forNames(t, "example.com"), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear)),
			},
			want: buys,
		},
		"counts all requests without a Certificate of one namespace and names": {
			reason: "each is a lineage of its own, so a loop that makes them would never be bounded",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), forCertificate(""), forRequest("a"), placed("C1", 20*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), forCertificate(""), forRequest("b"), withSKU("SecureSite"), placed("C2", 10*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), forCertificate(""), forRequest("c"), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear)),
			},
			given: func(f *Facts) { f.Want.Beneficiary.CertificateName = "" },
			want:  verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 4 * time.Hour},
		},
		"asks a person after an order that came to nothing": {
			reason:    "it was paid for, and the next one may come to nothing too",
			purchases: one(forKey(t, keyB), placed("C1", days(9)), cameToNothing),
			want:      verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp},
		},
		"asks a person after an order that came to nothing and attempts that were refused": {
			reason: "the last order that was placed counts",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", days(9)), cameToNothing),
				record(t, 2, forKey(t, keyB), refusedForGood),
			},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp},
		},
		"reissues when an order after the one that came to nothing was issued": {
			reason: "only the last one counts",
			purchases: []v1alpha1.RegfishPurchase{
				record(t, 1, forKey(t, keyB), placed("C1", days(9)), cameToNothing),
				record(t, 2, forKey(t, keyB), placed("C2", days(8)), issuedFor(monthAgo, inHalfAYear)),
			},
			want: reissues(2),
		},
		"buys after an order of another tenant came to nothing": {
			reason:    "one tenant's failure must not stop another",
			purchases: one(forKey(t, keyB), inNamespace("blog"), placed("C1", days(9)), cameToNothing),
			want:      buys,
		},

		// The issuer and its limit.
		"does not buy with an issuer that is not ready": {
			reason: "its owner has to mend it first",
			given:  func(f *Facts) { f.Issuer = notReady("not ready.") },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonIssuerNotReady},
		},
		"waits for a vendor that does not answer": {
			reason: "the reason of the problem is the reason of the wait",
			given: func(f *Facts) {
				f.Issuer = &IssuerProblem{Reason: v1alpha1.ReasonVendorUnavailable, Message: "no answer."}
			},
			want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonVendorUnavailable},
		},
		"does not buy where purchases are stopped": {
			reason: "no slot ever gets free, so there is nothing to look again for",
			given:  func(f *Facts) { f.Slots = Slots{} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchasesPaused},
		},
		"waits for a slot": {
			reason: "what exceeds the limit is queued, never failed",
			given:  func(f *Facts) { f.Slots = Slots{Limit: 2, Used: 2, Next: noon.Add(90 * time.Minute)} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: 90 * time.Minute},
		},
		"waits for a slot at least a minute": {
			reason: "clocks differ by seconds, and a slot that is free by one of them must not be asked for all the time",
			given:  func(f *Facts) { f.Slots = Slots{Limit: 2, Used: 7, Next: noon.Add(-time.Second)} },
			want:   verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, LookAgain: time.Minute},
		},
		"takes the last slot": {
			reason: "the limit is how many may be bought",
			given:  func(f *Facts) { f.Slots = Slots{Limit: 2, Used: 1} },
			want:   buys,
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
			if d.Message == "" {
				t.Error("nothing is said")
			}
		})
	}
}

// The order of the rules is the order of cost. Each layer makes one more rule
// apply, from the last to the first, and takes over from the one before.
func TestPlanAsksInTheOrderOfCost(t *testing.T) {
	f := situation(t)
	add := func(number int32, changes ...change) func() {
		return func() { f.Purchases = append(f.Purchases, record(t, number, changes...)) }
	}
	for _, layer := range []struct {
		name   string
		add    func()
		step   Step
		reason string
	}{
		{"nothing stops it", func() {}, StepBuy, v1alpha1.ReasonPlacing},
		{"an order in the account that nobody knows", func() {
			f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: regfish.Certificate{ID: "X1", Status: regfish.StatusPending}}}}
		}, StepHold, v1alpha1.ReasonUnclaimedOrder},
		{"no slot", func() { f.Slots.Used = f.Slots.Limit }, StepQueue, v1alpha1.ReasonPurchaseLimitReached},
		{"purchases stopped", func() { f.Slots.Limit = 0 }, StepQueue, v1alpha1.ReasonPurchasesPaused},
		{"an issuer that is not ready", func() { f.Issuer = notReady("not ready.") }, StepQueue, v1alpha1.ReasonIssuerNotReady},
		{"a previous order that came to nothing", add(9, forKey(t, keyB), placed("C1", 9*time.Hour), cameToNothing), StepHold, v1alpha1.ReasonPreviousOrderFailed},
		{"too many purchases", func() {
			add(1, forKey(t, keyB), placed("C2", 8*time.Hour), issuedFor(monthAgo, inHalfAYear))()
			add(2, forKey(t, keyB), placed("C3", 7*time.Hour), issuedFor(monthAgo, inHalfAYear))()
		}, StepHold, v1alpha1.ReasonTooManyActions},
		{"an order at the endpoint before", func() { f.Elsewhere = []v1alpha1.RegfishPurchase{record(t, 1, elsewhere, placed("C6", time.Hour))} }, StepQueue, v1alpha1.ReasonEndpointChanged},
		{"an order of the lineage on its way", add(3, forKey(t, keyB), placed("C4", time.Hour)), StepWait, v1alpha1.ReasonWaitingForPurchase},
		{"an order for the same names being sent", add(4, inNamespace("blog"), forKey(t, keyB), attempted("", time.Second)), StepWait, v1alpha1.ReasonWaitingForPurchase},
		{"a record of another version", add(5, inNamespace("blog"), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }), StepWait, v1alpha1.ReasonWaitingForPurchase},
		{"an order for this key on its way", add(6, placed("C5", time.Minute)), StepFollow, v1alpha1.ReasonPurchased},
	} {
		before := len(f.Purchases)
		layer.add()
		d := Plan(f)
		if d.Step != layer.step || d.Reason != layer.reason {
			t.Errorf("with %s the decision is %d/%s (%s), want %d/%s", layer.name, d.Step, d.Reason, d.Message, layer.step, layer.reason)
		}
		if added := len(f.Purchases) - before; added == 1 && d.Purchase != nil && d.Purchase.Spec.Number != f.Purchases[before].Spec.Number {
			t.Errorf("with %s the decision is about purchase %d, want %d", layer.name, d.Purchase.Spec.Number, f.Purchases[before].Spec.Number)
		}
	}
}

func TestPlanPausesBetweenAttempts(t *testing.T) {
	for i, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		pause *= time.Minute
		changes := make([]change, i+1)
		for n := range changes {
			changes[n] = attempted(v1alpha1.OutcomeNotSent, 10*time.Hour)
		}
		p := record(t, 1, changes...)
		last := &p.Spec.Attempts[i]
		last.Outcome.Time = metav1.NewMicroTime(noon)

		f := situation(t, p)
		f.Now = noon.Add(pause - time.Second)
		want := verdict{Step: StepQueue, Purchase: 1, Reason: v1alpha1.ReasonVendorUnavailable, LookAgain: time.Second}
		if diff := cmp.Diff(want, verdictOf(Plan(f))); diff != "" {
			t.Errorf("a second before the pause after attempt %d is over (-want +got):\n%s", i+1, diff)
		}
		f.Now = noon.Add(pause)
		if d := Plan(f); d.Step != StepRetry {
			t.Errorf("the pause of %s after attempt %d is over, and the decision is %d/%s", pause, i+1, d.Step, d.Reason)
		}
	}
}

// The list of attempts is a map for the API server, which may give it back in any
// order.
func TestPlanCountsAttemptsByNumber(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeNotSent, 10*time.Hour), attempted(v1alpha1.OutcomeNotSent, time.Second))
	p.Spec.Attempts[0], p.Spec.Attempts[1] = p.Spec.Attempts[1], p.Spec.Attempts[0]
	d := Plan(situation(t, p))
	if d.Step != StepQueue || d.LookAgain != 2*time.Minute-time.Second || !strings.Contains(d.Message, "attempt 2") {
		t.Errorf("decision %d, look again after %s: %s", d.Step, d.LookAgain, d.Message)
	}
}

func TestPlanSaysWhatIsWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		facts Facts
		want  []string
	}{
		"a purchase of an earlier key by its id and what it waits for": {
			facts: situation(t, record(t, 1, forKey(t, keyB), placed("7K9QW3M2ZT8HJ", time.Hour), stands(v1alpha1.ConditionIssued, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waits for the authority."))),
			want:  []string{"7K9QW3M2ZT8HJ", "earlier key", "waits for the authority."},
		},
		"an order of another tenant that a person decides on by that": {
			facts: situation(t, record(t, 1, inNamespace("blog"), forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, days(2)), heldFor(v1alpha1.ReasonAmbiguousOutcome))),
			want:  []string{theName, "a person has to decide that there first"},
		},
		"an order whose names are shared by where it stands who acts": {
			facts: func() Facts {
				f := situation(t)
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: regfish.Certificate{ID: "X1", Status: regfish.StatusPending, CommonName: "www.example.com"}, Of: "other-1"}}}
				return f
			}(),
			want: []string{"other-1", "X1", "that purchase says who has to act"},
		},
		"three purchases by their times and the two usual causes": {
			facts: situation(t,
				record(t, 1, forKey(t, keyB), placed("C1", 3*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 2, forKey(t, keyB), placed("C2", 2*time.Hour), issuedFor(monthAgo, inHalfAYear)),
				record(t, 3, forKey(t, keyB), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear))),
			want: []string{"09:00:00Z, 10:00:00Z, 11:00:00Z", "two writers of one Secret", "renewBefore"},
		},
		"an order that came to nothing by its id and the vendor's words": {
			facts: situation(t, record(t, 1, forKey(t, keyB), placed("7K9QW3M2ZT8HJ", time.Hour), cameToNothing)),
			want:  []string{"7K9QW3M2ZT8HJ", "regfish says that order C1 was rejected"},
		},
		"the issuer whose limit is reached, and the next slot": {
			facts: func() Facts {
				f := situation(t)
				f.Slots = Slots{Limit: 2, Used: 2, Next: noon.Add(time.Hour)}
				return f
			}(),
			want: []string{theIssuer.String(), "(2)", "2026-06-01T13:00:00Z"},
		},
		"the issuer that stopped purchases, and the field": {
			facts: func() Facts {
				f := situation(t)
				f.Slots = Slots{}
				return f
			}(),
			want: []string{theIssuer.String(), "spec.purchaseLimit.count"},
		},
	} {
		d := Plan(tt.facts)
		for _, part := range tt.want {
			if !strings.Contains(d.Message, part) {
				t.Errorf("%s: %q does not say %q", name, d.Message, part)
			}
		}
	}
}

// Nothing of another tenant's purchase is told but its name in the ledger.
func TestPlanTellsNothingOfOtherTenants(t *testing.T) {
	for name, p := range map[string]v1alpha1.RegfishPurchase{
		"being sent":         record(t, 1, inNamespace("secret-project"), forCertificate("secret-name"), forKey(t, keyB), placed("SECRETID", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "" }),
		"of another version": record(t, 1, inNamespace("secret-project"), forCertificate("secret-name"), placed("SECRETID", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }),
	} {
		p.Status.Message = "SECRETID waits for secret-name in secret-project."
		d := Plan(situation(t, p))
		if d.Step != StepWait || strings.Contains(d.Message, "SECRETID") || strings.Contains(d.Message, "secret-") || !strings.Contains(d.Message, p.Name) {
			t.Errorf("a purchase %s: step %d says %q", name, d.Step, d.Message)
		}
	}
}
