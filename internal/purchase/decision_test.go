// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// asks is the verdict that a person has to find out whose an order in the account is.
var asks = verdict{Step: StepHold, Reason: v1alpha1.ReasonUnclaimedOrder, LookAgain: time.Hour}

// annotated writes what a person decided onto the purchase.
func annotated(text string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationResolve, text)
	}
}

func TestDecisionOn(t *testing.T) {
	for text, want := range map[string]*decision{
		"adopt:7K9QW3M2ZT8HJ": {verb: verbAdopt, id: "7K9QW3M2ZT8HJ"},
		"retry:1":             {verb: verbRetry, attempt: 1},
		" retry:12\n":         {verb: verbRetry, attempt: 12},
		"purchase":            {verb: verbPurchase},
		"abandon":             {verb: verbAbandon},
		"":                    nil, "adopt": nil, "adopt:": nil, "adopt:" + strings.Repeat("x", 129): nil, "adopt:\x1b[31m": nil,
		"retry": nil, "retry:": nil, "retry:0": nil, "retry:-1": nil, "retry:one": nil, "retry:99999999999": nil,
		"purchase:1": nil, "abandon:1": nil, "Purchase": nil, "buy": nil,
	} {
		p := record(t, 1, annotated(text))
		got, why := decisionOn(&p)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(decision{})); diff != "" || (why == "") != (want != nil) || !printable(why, 200) {
			t.Errorf("%q: %s (-want +got):\n%s", text, why, diff)
		}
	}
	p := record(t, 1)
	if got, why := decisionOn(&p); got != nil || why != "" {
		t.Error("nobody decided")
	}
}

// planned is the plan of a request that is held as the decision on the facts says, with
// what a person decided on it.
func planned(t testing.TB, f Facts, text string, changes ...change) v1alpha1.RegfishPurchase {
	t.Helper()
	plan := *New(f.Want, ledger, 0)
	plan.UID = "plan-1"
	hold := Plan(f)
	if hold.Step != StepHold {
		t.Fatalf("nothing is held: step %d: %s", hold.Step, hold.Message)
	}
	plan.Status = PlanStatus(plan.Status, hold)
	annotated(text)(&plan)
	for _, c := range changes {
		c(&plan)
	}
	return plan
}

func TestPlanIsDecidedOn(t *testing.T) {
	const www = "www.example.com"
	begin, end := noon.Add(-days(3)), inHalfAYear
	pendingOrder := Candidate{Certificate: listed("X1", www)}
	pendingOther := Candidate{Certificate: listed("X2", www, "api.example.com")}
	ofOtherKey := Candidate{Certificate: issuedAtVendor("X1", begin, end, www), Leaf: leaf(t, keyB, begin, end, www)}
	unclaimedNow := func(cs ...Candidate) func(*Facts) {
		return func(f *Facts) {
			f.Baseline = &Baseline{Unclaimed: cs, IDs: []string{"HELD"}}
			for _, c := range cs {
				f.Baseline.IDs = append(f.Baseline.IDs, c.Certificate.ID)
			}
		}
	}
	tooMany := []v1alpha1.RegfishPurchase{
		record(t, 1, forKey(t, keyB), placed("C1", 3*time.Hour), issuedFor(monthAgo, inHalfAYear)),
		record(t, 2, forKey(t, keyB), placed("C2", 2*time.Hour), issuedFor(monthAgo, inHalfAYear)),
		record(t, 3, forKey(t, keyB), placed("C3", time.Hour), issuedFor(monthAgo, inHalfAYear)),
	}
	failedOne := []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), placed("C1", time.Hour), cameToNothing)}
	unplaced := []v1alpha1.RegfishPurchase{record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Hour))}
	gaveUp := []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned)}
	licensed := verdict{Step: StepBuy, Reason: v1alpha1.ReasonPlacing}
	for name, tt := range map[string]struct {
		reason    string
		purchases []v1alpha1.RegfishPurchase
		given     func(*Facts) // when the plan was made
		text      string
		plan      []change
		then      func(*Facts) // when it is decided again
		want      verdict
		licence   bool
		void      string
	}{
		"purchase, after three purchases": {
			reason: "a person knows what asks again and again", purchases: tooMany, text: "purchase", want: reissues(3), licence: true,
		},
		"purchase, after an order that failed": {
			reason: "a person knows why", purchases: failedOne, text: "purchase", want: licensed, licence: true,
		},
		"purchase, after one that was given up": {
			reason: "a person decided both", purchases: gaveUp, text: "purchase", want: licensed, licence: true,
		},
		"purchase, beside an order that nobody knows": {
			reason: "a person knows whose it is", given: unclaimedNow(pendingOrder), text: "purchase", want: licensed, licence: true,
		},
		"purchase, beside an order that nobody knows, before the account was asked": {
			reason: "the account is asked first, and what it shows is what was decided on", given: unclaimedNow(pendingOrder), text: "purchase",
			then: func(f *Facts) { f.Baseline = nil }, want: buys,
		},
		"purchase, instead of another attempt": {
			reason: "a plan licenses a purchase, which records it", purchases: unplaced, given: unclaimedNow(pendingOrder), text: "purchase", want: licensed, licence: true,
		},
		"purchase, while the issuer is not ready": {
			reason: "what a person decided waits like any other purchase", purchases: tooMany, text: "purchase",
			then: func(f *Facts) { f.Issuer = notReady("not ready.") }, want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonIssuerNotReady},
		},
		"purchase, while no slot is free": {
			reason: "the limit holds for what a person decides, too", purchases: tooMany, text: "purchase",
			given: func(f *Facts) { f.Want.Reuse = v1alpha1.ReusePolicyNever },
			then:  func(f *Facts) { f.Slots = Slots{} }, want: verdict{Step: StepQueue, Reason: v1alpha1.ReasonPurchasesPaused},
		},
		"purchase, and another order has appeared since": {
			reason: "the person did not see that one", given: unclaimedNow(pendingOrder), text: "purchase", then: unclaimedNow(pendingOrder, pendingOther),
			want: asks, void: "what is held for changed since",
		},
		"purchase, and the cause is another one now": {
			reason: "the person decided on something else", given: unclaimedNow(pendingOrder), text: "purchase", then: func(f *Facts) { f.Purchases = append(f.Purchases, failedOne...) },
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp}, void: "what is held for changed since",
		},
		"purchase, and one of the purchases is more than a day old meanwhile": {
			reason: "what is asked is the same", text: "purchase", purchases: append(tooMany[:3:3], record(t, 4, forKey(t, keyB), placed("C4", 23*time.Hour), issuedFor(monthAgo, inHalfAYear))),
			then: func(f *Facts) { f.Now = noon.Add(2 * time.Hour) }, want: reissues(4), licence: true,
		},
		"purchase, and the list has another order": {
			reason: "the orders are the same", given: unclaimedNow(pendingOrder, pendingOther), text: "purchase", then: unclaimedNow(pendingOther, pendingOrder), want: licensed, licence: true,
		},
		"purchase, after an order that failed and beside an order that nobody knows": {
			reason: "both were shown", purchases: failedOne, given: unclaimedNow(pendingOrder), text: "purchase", want: licensed, licence: true,
		},
		"purchase, after an order that failed, before the account was asked": {
			reason: "the person did not see what the account shows", purchases: failedOne, text: "purchase", then: unclaimedNow(pendingOrder),
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp}, void: "what is held for changed since",
		},
		"adopt what the account shows, after an order that failed": {
			reason: "the person names it", purchases: failedOne, text: "adopt:X1", then: unclaimedNow(pendingOrder),
			want: verdict{Step: StepImport, Candidate: "X1", Reason: v1alpha1.ReasonAdopted}, licence: true,
		},
		"adopt what may be an order that is looked for": {
			reason: "it may be another tenant's", given: unclaimedNow(pendingOrder), text: "adopt:X1", then: func(f *Facts) {
				f.Purchases = append(f.Purchases, failedOne...)
				f.Purchases[0].Status = PlanStatus(f.Purchases[0].Status, Plan(Facts{Now: f.Now, Want: f.Want, Purchases: f.Purchases[1:]}))
				f.Baseline.Unclaimed[0].Of = "a1ef6328868614ab-1"
			},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp}, void: "X1 may be the order of RegfishPurchase a1ef6328868614ab-1",
		},
		"purchase, on a plan that shows nothing": {
			reason: "a tool that writes plans with their annotations decides nothing", purchases: tooMany, text: "purchase", plan: []change{func(p *v1alpha1.RegfishPurchase) { p.Status = v1alpha1.PurchaseStatus{} }},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 21 * time.Hour}, void: "changed since",
		},
		"purchase, on a plan that was used": {
			reason: "it licenses one purchase", purchases: tooMany, text: "purchase", then: func(f *Facts) { f.Purchases[1].Spec.PlanUID = "plan-1" },
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 21 * time.Hour},
		},
		"purchase, on the plan of another request": {
			reason: "it says nothing about this one", purchases: tooMany, text: "purchase", plan: []change{func(p *v1alpha1.RegfishPurchase) { p.Name += "0" }},
			want: verdict{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, LookAgain: 21 * time.Hour},
		},
		"purchase, and the same order was bought meanwhile": {
			reason: "what is there is used", purchases: tooMany, text: "purchase", then: func(f *Facts) { f.Purchases = append(f.Purchases, record(t, 4, placed("C4", time.Minute))) },
			want: verdict{Step: StepFollow, Purchase: 4, Reason: v1alpha1.ReasonPurchased},
		},
		"purchase, beside an order that is being looked for": {
			reason: "nothing that a person decides lets two orders fly at once", purchases: tooMany, text: "purchase",
			then: func(f *Facts) {
				f.Purchases = append(f.Purchases, record(t, 4, forKey(t, keyB), inNamespace("blog"), attempted(v1alpha1.OutcomeUnknown, time.Minute)))
			}, want: waits(4),
		},
		"adopt, before the account was asked": {
			reason: "it is asked whether there is such an order", given: unclaimedNow(pendingOrder), text: "adopt:X1", then: func(f *Facts) { f.Baseline = nil }, want: buys,
		},
		"adopt": {
			reason: "a person knows that it is this Certificate's", given: unclaimedNow(pendingOrder), text: "adopt:X1",
			want: verdict{Step: StepImport, Candidate: "X1", Reason: v1alpha1.ReasonAdopted}, licence: true,
		},
		"adopt, after three purchases": {
			reason: "any plan can be decided that way", purchases: tooMany, given: func(f *Facts) {}, text: "adopt:X1", then: unclaimedNow(Candidate{Certificate: issuedAtVendor("X1", days10, end, www), Leaf: leaf(t, keyA, days10, end, www)}),
			want: verdict{Step: StepImport, Candidate: "X1", Reason: v1alpha1.ReasonAdopted}, licence: true,
		},
		"adopt an id that does not exist": {
			reason: "nothing can be used", given: unclaimedNow(pendingOrder), text: "adopt:X9", want: asks, void: "the account has no X9 with a name of the request.",
		},
		"adopt an id that another purchase holds": {
			reason: "it is that one's", given: unclaimedNow(pendingOrder), text: "adopt:HELD", want: asks, void: "another purchase holds HELD.",
		},
		"adopt an order for other names": {
			reason: "its certificate could not be handed out", given: unclaimedNow(pendingOther), text: "adopt:X2", want: asks, void: "the names of X2 are not those of the request.",
		},
		"adopt a certificate of another key": {
			reason: "its key is not the request's", given: unclaimedNow(ofOtherKey), text: "adopt:X1", want: asks, void: "another key",
		},
		"retry": {
			reason: "a plan has no attempts", given: unclaimedNow(pendingOrder), text: "retry:1", want: asks, void: "retry says nothing on a plan",
		},
		"abandon": {
			reason: "a plan was never sent", given: unclaimedNow(pendingOrder), text: "abandon", want: asks, void: "abandon says nothing on a plan",
		},
		"nonsense": {
			reason: "whoever follows purchases answers it", given: unclaimedNow(pendingOrder), text: "yes please", want: asks,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation(t, append([]v1alpha1.RegfishPurchase(nil), tt.purchases...)...)
			if tt.given != nil {
				tt.given(&f)
			}
			plan := planned(t, f, tt.text, tt.plan...)
			f.Purchases = append(f.Purchases, plan)
			if tt.then != nil {
				tt.then(&f)
			}
			d := Plan(f)
			if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" {
				t.Errorf("%s: Plan (-want +got):\n%s\nit says: %s", tt.reason, diff, d.Message)
			}
			if (d.Licence != nil && d.Licence.UID == "plan-1") != tt.licence && tt.want != buys {
				t.Errorf("%s: licence %v", tt.reason, d.Licence)
			}
			if (d.Void == "") != (tt.void == "") || !strings.Contains(d.Void, tt.void) {
				t.Errorf("%s: void %q, want %q", tt.reason, d.Void, tt.void)
			}
		})
	}
}

// What a person has to decide is asked at once, and one decision covers it: neither what
// the account shows nor what the ledger shows hides the other.
func TestPlanAsksEverythingAtOnce(t *testing.T) {
	f := situation(t, record(t, 1, forKey(t, keyB), attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned))
	account := &Baseline{IDs: []string{"X1"}, Unclaimed: []Candidate{{Certificate: listed("X1", "www.example.com")}}}
	decide := func(shown Decision, annotation string, baseline *Baseline) Decision {
		plan := *New(f.Want, ledger, 0)
		plan.UID = "plan-1"
		plan.Status = PlanStatus(plan.Status, shown)
		if annotation != "" {
			annotated(annotation)(&plan)
		}
		g := f
		g.Purchases, g.Baseline = append(f.Purchases[:1:1], plan), baseline
		return Plan(g)
	}
	// The account is only asked once somebody decided on what the ledger shows.
	ledgerOnly := Plan(f)
	both := decide(ledgerOnly, "purchase", account)
	for _, says := range []string{"gave the last purchase for these names up", "in no record of this ledger", "X1 (pending)", "adopt:<id>"} {
		if both.Step != StepHold || both.Void == "" || !strings.Contains(both.Message, says) || len(both.Message) > maxMessage {
			t.Errorf("step %d, void %q, it does not say %q: %s", both.Step, both.Void, says, both.Message)
		}
	}
	// Without asking the account, what it showed stays shown.
	again := decide(both, "", nil)
	if again.Step != StepHold || again.Message != both.Message || again.Void != "" {
		t.Errorf("step %d: %s", again.Step, again.Message)
	}
	if d := decide(again, "purchase", nil); d.Step != StepBuy || d.Licence == nil {
		t.Errorf("before the account is asked: step %d, void %q", d.Step, d.Void)
	}
	if d := decide(again, "purchase", account); d.Step != StepBuy || d.Licence == nil {
		t.Errorf("after the account was asked: step %d, void %q", d.Step, d.Void)
	}
	// Once the account shows less, no more than that is asked.
	if d := decide(both, "", &Baseline{}); d.Step != StepHold || strings.Contains(d.Message, "X1") {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
}

// Everything that is asked at once fits into one message, and the cause of each question
// is whole, whatever the vendor calls things.
func TestPlanShowsEachCause(t *testing.T) {
	theirs := record(t, 4, forKey(t, keyB), placed("C4", time.Hour))
	theirs.Spec.Attempts[0].ClusterUID = types.UID(strings.Repeat("u", 36))
	failure := record(t, 3, forKey(t, keyB), placed(strings.Repeat("c", 128), days(2)), cameToNothing)
	failure.Status.Message = strings.Repeat("why ", 300)
	f := situation(t, failure, theirs)
	f.Cluster = "here"
	f.Baseline = &Baseline{}
	for n := range 9 {
		f.Baseline.Unclaimed = append(f.Baseline.Unclaimed, Candidate{Certificate: listed(strings.Repeat("x", 60)+numberedID(n), "www.example.com")})
	}
	d := Plan(f)
	if d.Step != StepHold || len(d.questions) != 3 || len(d.Message) > maxMessage {
		t.Fatalf("step %d, %d questions: %s", d.Step, len(d.questions), d.Message)
	}
	for _, q := range d.questions {
		if !strings.Contains(bound(d.Message), q.cause) {
			t.Errorf("it does not say %q: %s", q.cause, d.Message)
		}
	}
}

// days10 is ten days before noon.
var days10 = noon.Add(-days(10))

// abandoned says that a person gave the purchase up.
func abandoned(p *v1alpha1.RegfishPurchase) {
	at := metav1.NewMicroTime(noon.Add(-time.Minute))
	p.Spec.AbandonTime = &at
}

// released says that a person licensed one more attempt after the last.
func released(p *v1alpha1.RegfishPurchase) {
	at := metav1.NewMicroTime(noon.Add(-time.Second))
	p.Spec.Attempts[len(p.Spec.Attempts)-1].ReleaseTime = &at
}

func TestPlanAfterADecision(t *testing.T) {
	one := func(changes ...change) []v1alpha1.RegfishPurchase {
		return []v1alpha1.RegfishPurchase{record(t, 1, changes...)}
	}
	retries := verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing}
	for name, tt := range map[string]struct {
		reason    string
		purchases []v1alpha1.RegfishPurchase
		given     func(*Facts)
		want      verdict
	}{
		"tries again what a person released, at once": {
			reason: "the person has waited", purchases: one(attempted(v1alpha1.OutcomeUnknown, time.Minute), released), want: retries,
		},
		"tries again after as many as are made without asking": {
			reason: "a person licensed it", purchases: one(unfound(2*time.Hour), unfound(time.Hour), released), want: retries,
		},
		"asks again after one more without an answer": {
			reason: "one more was licensed", purchases: one(unfound(3*time.Hour), unfound(2*time.Hour), released, unfound(time.Hour)), want: stops,
		},
		"asks again after one more that failed at regfish": {
			reason: "one more was licensed", purchases: one(attempted(v1alpha1.OutcomeUnknown, 8*time.Hour), released, failedAtRegfish(7*time.Hour)),
			want: verdict{Step: StepRetry, Purchase: 1, Reason: v1alpha1.ReasonPlacing},
		},
		"follows one more whose outcome is unknown": {
			reason: "it is looked for", purchases: one(attempted(v1alpha1.OutcomeUnknown, time.Hour), released, attempted(v1alpha1.OutcomeUnknown, time.Minute)), want: follows(v1alpha1.ReasonPlacing),
		},
		"does not try again what was released while an order for a name stands that nobody knows": {
			reason: "it may be the one that was given up", purchases: one(attempted(v1alpha1.OutcomeUnknown, time.Minute), released),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: listed("X1", "www.example.com")}}}
			},
			want: verdict{Step: StepHold, Purchase: 1, Reason: v1alpha1.ReasonUnclaimedOrder, LookAgain: time.Hour},
		},
		"fails the request whose purchase was given up": {
			reason: "the person wants no certificate of it", purchases: one(attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned), want: verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonAbandoned},
		},
		"fails the request whose placed order was given up": {
			reason: "the person wants no certificate of it", purchases: one(placed("C1", time.Hour), abandoned), want: verdict{Step: StepFail, Purchase: 1, Reason: v1alpha1.ReasonAbandoned},
		},
		"asks about the next purchase of the Certificate": {
			reason: "whoever gave it up knows why", purchases: one(forRequest("r0"), attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned), want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp},
		},
		"asks about the next purchase of the Certificate with another key": {
			reason: "whoever gave it up knows why", purchases: one(forKey(t, keyB), placed("C1", time.Hour), issuedFor(monthAgo, inHalfAYear), abandoned), want: verdict{Step: StepHold, Reason: v1alpha1.ReasonPreviousOrderFailed, LookAgain: wakeUp},
		},
		"buys for another tenant beside what was given up": {
			reason: "it blocks nobody", purchases: one(forKey(t, keyB), inNamespace("blog"), attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned), want: buys,
		},
		"buys beside what a person saw and did not want": {
			reason: "it is foreign for good",
			purchases: one(forKey(t, keyB), placed("C1", days(90)), issuedFor(noon.Add(-days(190)), noon.Add(days(9))), func(p *v1alpha1.RegfishPurchase) {
				p.Spec.PlanUID, p.Spec.Attempts[0].BaselineIDs = "plan-0", []string{"X1"}
			}),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: listed("X1", "www.example.com")}}}
			},
			want: renews,
		},
		"asks about what another tenant's person saw and did not want": {
			reason: "it may be what this one has lost",
			purchases: one(forKey(t, keyB), inNamespace("blog"), placed("C1", days(90)), issuedFor(noon.Add(-days(190)), noon.Add(days(9))), func(p *v1alpha1.RegfishPurchase) {
				p.Spec.PlanUID, p.Spec.Attempts[0].BaselineIDs = "plan-0", []string{"X1"}
			}),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: listed("X1", "www.example.com")}}}
			},
			want: asks,
		},
		"asks about what came after a person decided": {
			reason: "nobody saw it",
			purchases: one(forKey(t, keyB), placed("C1", days(90)), issuedFor(noon.Add(-days(190)), noon.Add(days(9))), func(p *v1alpha1.RegfishPurchase) {
				p.Spec.PlanUID, p.Spec.Attempts[0].BaselineIDs = "plan-0", []string{"X1"}
			}),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: listed("X2", "www.example.com")}}}
			},
			want: asks,
		},
		"asks about what was there before a purchase that nobody decided on": {
			reason: "nobody said that it is foreign",
			purchases: one(forKey(t, keyB), placed("C1", days(90)), issuedFor(noon.Add(-days(190)), noon.Add(days(9))), func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Attempts[0].BaselineIDs = []string{"X1"}
			}),
			given: func(f *Facts) {
				f.Baseline = &Baseline{Unclaimed: []Candidate{{Certificate: listed("X1", "www.example.com")}}}
			},
			want: asks,
		},
	} {
		f := situation(t, tt.purchases...)
		if tt.given != nil {
			tt.given(&f)
		}
		d := Plan(f)
		if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" {
			t.Errorf("%s (%s): Plan (-want +got):\n%s\nit says: %s", name, tt.reason, diff, d.Message)
		}
	}
}

func TestOtherCluster(t *testing.T) {
	from := func(cluster types.UID) change {
		return func(p *v1alpha1.RegfishPurchase) {
			for i := range p.Spec.Attempts {
				p.Spec.Attempts[i].ClusterUID = cluster
			}
		}
	}
	takenBy := func(clusters ...types.UID) change {
		return func(p *v1alpha1.RegfishPurchase) {
			for i, c := range clusters {
				p.Spec.Takeovers = append([]v1alpha1.Takeover{{Number: int32(i + 1), ClusterUID: c}}, p.Spec.Takeovers...)
			}
		}
	}
	held := verdict{Step: StepHold, Purchase: 1, Reason: v1alpha1.ReasonOtherCluster, LookAgain: wakeUp}
	for name, tt := range map[string]struct {
		reason  string
		changes []change
		want    verdict
	}{
		"placed by this cluster":                    {"it is ours", []change{placed("C1", time.Hour), from("here")}, follows(v1alpha1.ReasonPurchased)},
		"placed by another cluster":                 {"both would act on it", []change{placed("C1", time.Hour), from("there")}, held},
		"placed by another cluster for another key": {"both would act on it", []change{forKey(t, keyB), placed("C1", time.Hour), from("there")}, held},
		"placed by another cluster for a tenant":    {"an order for the names is under way", []change{inNamespace("blog"), placed("C1", time.Hour), from("there")}, held},
		"being looked for by another cluster":       {"it may have been placed", []change{attempted("", time.Hour), from("there")}, held},
		"not sent by another cluster":               {"another attempt is for that cluster to make", []change{attempted(v1alpha1.OutcomeNotSent, time.Hour), from("there")}, held},
		"placed by another cluster and taken over":  {"a person says that it is ours", []change{placed("C1", time.Hour), from("there"), takenBy("here")}, follows(v1alpha1.ReasonPurchased)},
		"taken over by another cluster":             {"a person says that it is theirs", []change{placed("C1", time.Hour), from("here"), takenBy("there")}, held},
		"taken over there and back":                 {"the last one counts", []change{placed("C1", time.Hour), from("here"), takenBy("there", "here")}, follows(v1alpha1.ReasonPurchased)},
		"imported":                                  {"it was never sent by anybody", []change{imported("C1")}, follows(v1alpha1.ReasonPurchased)},
	} {
		p := record(t, 1, tt.changes...)
		f := situation(t, p)
		f.Cluster = "here"
		d := Plan(f)
		if diff := cmp.Diff(tt.want, verdictOf(d)); diff != "" {
			t.Errorf("a purchase %s (%s): Plan (-want +got):\n%s\nit says: %s", name, tt.reason, diff, d.Message)
		}
		if d.Step == StepHold && (!strings.Contains(d.Message, "cluster there") || strings.Contains(d.Message, "blog")) {
			t.Errorf("a purchase %s: it says %q", name, d.Message)
		}
		if OfOtherCluster(&p, "here") != (tt.want == held) {
			t.Errorf("a purchase %s is of another cluster: %v", name, OfOtherCluster(&p, "here"))
		}
	}

	// A person can decide to buy without regard to it, once.
	theirs := record(t, 1, placed("C1", time.Hour), from("there"))
	f := situation(t, theirs)
	f.Cluster = "here"
	f.Purchases = append(f.Purchases, planned(t, f, "purchase"))
	d := Plan(f)
	if d.Step != StepBuy || d.Licence == nil {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	ours := record(t, 2, placed("C2", time.Minute), from("here"))
	f.Purchases = append(f.Purchases, ours)
	if d := Plan(f); d.Step != StepFollow || d.Purchase.Spec.Number != 2 {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	// And the next purchase after that does not ask again.
	f = situation(t, theirs, record(t, 2, forKey(t, keyB), placed("C2", days(200)), issuedFor(noon.Add(-days(199)), noon.Add(time.Hour)), from("here")))
	f.Cluster = "here"
	if d := Plan(f); d.Step != StepRenew {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
}

// The status of a record of another cluster says whose it is, and what was known stays.
func TestObserveOtherCluster(t *testing.T) {
	for _, known := range []bool{false, true} {
		p := record(t, 1, placed("C1", time.Hour))
		p.Spec.Attempts[0].ClusterUID = "there"
		if known {
			p.Status = Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, RequestLive: true})
		}
		s := Observe(&p, Observation{OtherCluster: true})
		if s.State != v1alpha1.StateHeld || condition(s.Conditions, v1alpha1.ConditionHeld) != "True/OtherCluster" ||
			!strings.Contains(s.Message, "annotate RegfishClusterIssuer regfish with certmanager.regfish.com/takeover=there") {
			t.Errorf("state %s: %s", s.State, s.Message)
		}
		if known != (s.Vendor != nil) || known != (condition(s.Conditions, v1alpha1.ConditionPlaced) == purchased) {
			t.Errorf("what was known: %v, %+v", known, s)
		}
		for _, fault := range faults(s) {
			t.Error(fault)
		}
		// Once it is taken over it is looked at like any other.
		p.Status = s
		if s = Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, RequestLive: true}); s.State != v1alpha1.StateProcessing {
			t.Errorf("state %s: %s", s.State, s.Message)
		}
	}
}

func TestTakesOver(t *testing.T) {
	for text, want := range map[string]bool{"": false, "there": true, "here": false, "here, there": true, "there,here": true, "elsewhere": false, "*": false, "true": false} {
		issuer := readyIssuer(1)
		metav1.SetMetaDataAnnotation(&issuer.ObjectMeta, v1alpha1.AnnotationTakeover, text)
		if got := TakesOver(issuer, "there"); got != want {
			t.Errorf("%q takes over: %v", text, got)
		}
	}
	if TakesOver(readyIssuer(1), "there") || TakesOver(readyIssuer(1), "") {
		t.Error("an issuer without the annotation takes over")
	}
}

func TestDuplicateOf(t *testing.T) {
	const www, bare = "www.example.com", "example.com"
	sent := func(changes ...change) change {
		return func(p *v1alpha1.RegfishPurchase) {
			placed("C1", time.Hour)(p)
			sentWith("k1")(p)
			for _, c := range changes {
				c(p)
			}
		}
	}
	before := func(ids ...string) change {
		return func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].BaselineIDs = ids }
	}
	cancelled := listed("X1", www)
	cancelled.Status = regfish.StatusCancelled
	for name, tt := range map[string]struct {
		reason string
		seen   regfish.Certificate
		key    string
		ledger []v1alpha1.RegfishPurchase
		want   int32
	}{
		"an order that appeared after the purchase was begun": {
			reason: "it may have been bought twice", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())}, want: 1,
		},
		"an order with the bare name added": {
			reason: "authorities add it", seen: listed("X1", www, bare), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())}, want: 1,
		},
		"an order that was there before": {
			reason: "it was not bought by what came later", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent(before("X1")))},
		},
		"an order that was there before the second attempt": {
			reason: "the first attempt may have bought it", seen: listed("X1", www), want: 1,
			ledger: []v1alpha1.RegfishPurchase{record(t, 1, unfound(time.Hour), func(p *v1alpha1.RegfishPurchase) {
				placed("C1", time.Hour)(p)
				sentWith("k1")(p)
				p.Spec.Attempts[1].BaselineIDs = []string{"X1"}
			})},
		},
		"an order that appeared between two purchases": {
			reason: "the earlier one may have bought it", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 2, sent(before("X1"))), record(t, 1, sent())}, want: 1,
		},
		"an order that appeared after two purchases": {
			reason: "the later one is the likelier", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 2, sent()), record(t, 1, sent())}, want: 2,
		},
		"an id of the ledger": {reason: "it is recorded", seen: listed("C1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())}},
		"an order for other names": {
			reason: "it is another order", seen: listed("X1", "api.example.com"), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())},
		},
		"an order with a name more": {
			reason: "no authority adds it", seen: listed("X1", www, "api.example.com"), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())},
		},
		"a cancelled order": {reason: "nothing is left to cancel", seen: cancelled, ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())}},
		"an order of another account": {
			reason: "the purchase was not sent there", seen: listed("X1", www), key: "k2", ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent())},
		},
		"an order that may be that of an attempt that is looked for": {
			reason: "it is not known yet", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent()), record(t, 2, attempted(v1alpha1.OutcomeUnknown, time.Minute), sentWith("k1"))},
		},
		"an order that was disproved": {
			reason: "its key is another one", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent(func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"X1"} }))},
		},
		"an order that a person knows": {
			reason: "it is foreign for good", seen: listed("X1", www),
			ledger: []v1alpha1.RegfishPurchase{record(t, 1, sent()), record(t, 2, sent(before("X1"), func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "plan" }))},
		},
		"an order beside a purchase that was given up": {
			reason: "it may be the one", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("k1"), abandoned)}, want: 1,
		},
		"an order beside an import": {
			reason: "nothing was sent for it", seen: listed("X1", www), ledger: []v1alpha1.RegfishPurchase{record(t, 1, imported("C1"))},
		},
	} {
		key := tt.key
		if key == "" {
			key = "k1"
		}
		got := int32(0)
		if p := duplicateOf(tt.seen, key, tt.ledger); p != nil {
			got = p.Spec.Number
		}
		if got != tt.want {
			t.Errorf("%s is beside purchase %d, want %d, because %s", name, got, tt.want, tt.reason)
		}
	}
}

func TestDuplicateSays(t *testing.T) {
	until := noon.Add(days(2))
	c := listed("X1", "www.example.com")
	c.OrderCancellableUntil = &until
	p := record(t, 1, placed("C1", time.Hour))
	p.Status = Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, RequestLive: true})
	duplicate(&p.Status, []regfish.Certificate{c})
	d := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionDuplicateFound)
	if d == nil || d.Status != metav1.ConditionTrue || d.Reason != v1alpha1.ReasonOrderAppeared || !strings.Contains(d.Message, "X1 (pending, cancellable until 2026-06-03T12:00:00Z)") {
		t.Errorf("condition %+v", d)
	}
	for _, fault := range faults(p.Status) {
		t.Error(fault)
	}
	// It is no word about the order itself.
	s := Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, RequestLive: true})
	if s.State != v1alpha1.StateProcessing || meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDuplicateFound) == nil {
		t.Errorf("state %s, conditions %+v", s.State, s.Conditions)
	}
	duplicate(&s, nil)
	if meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDuplicateFound) != nil {
		t.Error("the condition stays")
	}
}
