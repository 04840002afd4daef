// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// looked is a purchase with the status that the vendor's answer leads to.
func looked(t testing.TB, c regfish.Certificate, changes ...change) *v1alpha1.RegfishPurchase {
	t.Helper()
	p := record(t, 1, append(changes, placed("C1", time.Hour))...)
	p.CreationTimestamp = metav1.NewTime(noon)
	c.ID = "C1"
	p.Status = Observe(&p, Observation{Vendor: &c, RequestLive: true, MayShow: func(string) bool { return true }})
	return &p
}

func withValidation(records ...regfish.DNSRecord) regfish.Certificate {
	return regfish.Certificate{Status: regfish.StatusPending, Validation: &regfish.Validation{Method: regfish.DCVMethodCNAME, DNSRecords: records}}
}

// orderSummary is the status of an order in short.
type orderSummary struct {
	summary
	Validation string
	Action     string
	Purchase   string // name and id
	Records    int
	Page       string
}

func orderSummaryOf(s v1alpha1.OrderStatus) orderSummary {
	o := orderSummary{
		summary: summaryOf(v1alpha1.PurchaseStatus{State: s.State, Conditions: s.Conditions}), Validation: condition(s.Conditions, v1alpha1.ConditionValidationPublished),
		Action: s.Plan.Action, Page: s.CompletionURL,
	}
	if s.PurchaseRef != nil {
		o.Purchase = strings.TrimSuffix(strings.TrimPrefix(s.PurchaseRef.Name, s.PurchaseRef.Name[:17])+" "+s.PurchaseRef.CertificateID, " ")
	}
	if s.DCV != nil {
		o.Records = len(s.DCV.Records)
	}
	return o
}

func TestOrderStatus(t *testing.T) {
	record2 := []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}, {Name: "_c.example.com", Type: "CNAME", Value: "d.example.net"}}
	validating := looked(t, withValidation(record2...))
	mailed := looked(t, regfish.Certificate{Status: regfish.StatusPending, Validation: &regfish.Validation{Method: regfish.DCVMethodEmail, EmailTargets: []string{"admin@example.com"}}})
	staged := looked(t, regfish.Certificate{Status: regfish.StatusPending, ActionRequired: true, PendingReason: "organization_required", CompletionURL: "https://regfish.com/1"})
	done := looked(t, regfish.Certificate{Status: regfish.StatusIssued, CertificatePEMAvailable: true})
	earlier := looked(t, regfish.Certificate{Status: regfish.StatusIssued, CertificatePEMAvailable: true}, forRequest("r0"))
	cancelled := looked(t, regfish.Certificate{Status: regfish.StatusCancelled})
	previous := looked(t, withValidation(record2...), forKey(t, keyB))
	stranger := looked(t, regfish.Certificate{Status: regfish.StatusPending, ActionRequired: true, CompletionURL: "https://regfish.com/1", Validation: withValidation(record2...).Validation}, inNamespace("blog"))
	unknown := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	unknown.Status = Observe(&unknown, Observation{})
	ambiguous := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	ambiguous.Status = Observe(&ambiguous, Observation{Search: undecided("X1")})
	fresh := record(t, 1, attempted("", time.Second))
	first := contender("other", days(1), true, v1alpha1.DNSRecord{Name: "_a.example.com.", Type: "CNAME", Value: "else.example.net."})

	for name, tt := range map[string]struct {
		reason     string
		decision   Decision
		contenders []Contender
		delivery   *Delivery
		want       orderSummary
		says       string
	}{
		"follows a purchase with records to set": {
			reason: "somebody has to set them", decision: Decision{Step: StepFollow, Purchase: validating}, contenders: []Contender{{Purchase: validating, Wanted: true}},
			want: orderSummary{summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "False/AwaitingDNS", "New", "1 C1", 2, ""},
			says: "_a.example.com. CNAME b.example.net. in DNS, and 1 more in status.dcv.records",
		},
		"follows a purchase whose name is another's": {
			reason: "only what is this one's turn is shown", decision: Decision{Step: StepFollow, Purchase: validating}, contenders: []Contender{first, {Purchase: validating, Wanted: true}},
			want: orderSummary{summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "False/WaitingForName", "New", "1 C1", 1, ""},
			says: "waits for the name _a.example.com., where purchase other needs another record first",
		},
		"follows a purchase that is validated by mail": {
			reason: "somebody has to read it", decision: Decision{Step: StepFollow, Purchase: mailed}, contenders: []Contender{{Purchase: mailed, Wanted: true}},
			want: orderSummary{summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "False/AwaitingEmail", "New", "1 C1", 0, ""},
			says: "sent a mail to admin@example.com",
		},
		"follows a staged purchase": {
			reason: "a person has to act", decision: Decision{Step: StepFollow, Purchase: staged},
			want: orderSummary{summary{State: v1alpha1.StateActionRequired, Placed: purchased, Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet}, "Unknown/RecordsPending", "New", "1 C1", 0, "https://regfish.com/1"},
			says: "a person has to complete order C1 at https://regfish.com/1",
		},
		"follows a purchase without a status yet": {
			reason: "it was created a moment ago", decision: Decision{Step: StepFollow, Purchase: &fresh},
			want: orderSummary{summary{State: v1alpha1.StatePlacing, Placed: "Unknown/Placing", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "1", 0, ""},
		},
		"follows a purchase whose outcome is unknown": {
			reason: "whoever reads the order has to know that it goes on by itself", decision: Decision{Step: StepFollow, Purchase: &unknown},
			want: orderSummary{summary{State: v1alpha1.StateResolving, Placed: "Unknown/OutcomeUnknown", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "1", 0, ""},
			says: "may or may not have taken the order",
		},
		"follows a purchase that a person decides on": {
			reason: "whoever reads the order has to know that", decision: Decision{Step: StepFollow, Purchase: &ambiguous},
			want: orderSummary{summary{State: v1alpha1.StateHeld, Placed: "Unknown/OutcomeUnknown", Held: "True/AmbiguousOutcome", Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "1", 0, ""},
			says: "it cannot be told whether it is one of these orders of the account: X1 (cancelled)",
		},
		"delivers, and it is not delivered yet": {
			reason: "issued at regfish is not issued to the request", decision: Decision{Step: StepDeliver, Purchase: done}, delivery: &Delivery{Later: "fetched again."},
			want: orderSummary{summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "True/Published", "New", "1 C1", 0, ""},
			says: "fetched again.",
		},
		"delivered": {
			reason: "the request has it", decision: Decision{Step: StepDeliver, Purchase: done}, delivery: &Delivery{Done: true, SerialNumber: "ab", NotBefore: at(noon), NotAfter: at(noon.Add(days(1)))},
			want: orderSummary{summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"}, "True/Published", "New", "1 C1", 0, ""},
		},
		"handed out again": {
			reason: "it cost nothing, and the plan says so", decision: Decision{Step: StepDeliver, Purchase: earlier}, delivery: &Delivery{Done: true},
			want: orderSummary{summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"}, "True/Published", "HandOut", "1 C1", 0, ""},
		},
		"delivers what may not be published": {
			reason: "a person must decide", decision: Decision{Step: StepDeliver, Purchase: done}, delivery: &Delivery{Refused: "it is for another key."},
			want: orderSummary{summary{State: v1alpha1.StateHeld, Placed: purchased, Held: "True/CertificateRefused", Action: nobodyActs, Issued: pendingYet}, "True/Published", "New", "1 C1", 0, ""},
			says: "it is for another key.",
		},
		"waits for an earlier key's purchase": {
			reason: "it is of the same Certificate, so its records are shown and set", decision: Decision{Step: StepWait, Purchase: previous, Reason: v1alpha1.ReasonWaitingForPurchase, Message: "waits for C1."}, contenders: []Contender{{Purchase: previous, Wanted: true}},
			want: orderSummary{summary{State: v1alpha1.StateWaiting, Placed: "False/WaitingForPurchase", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "False/AwaitingDNS", "New", "1 C1", 2, ""},
			says: "waits for C1.",
		},
		"waits for a stranger's purchase": {
			reason: "it is named, and nothing of it is shown", decision: Decision{Step: StepWait, Purchase: stranger, Reason: v1alpha1.ReasonWaitingForPurchase, Message: "waits for it."}, contenders: []Contender{{Purchase: stranger, Wanted: true}},
			want: orderSummary{summary{State: v1alpha1.StateWaiting, Placed: "False/WaitingForPurchase", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "1", 0, ""},
			says: "waits for it.",
		},
		"queues": {
			reason: "it goes on by itself", decision: Decision{Step: StepQueue, Reason: v1alpha1.ReasonPurchaseLimitReached, Message: "no slot."},
			want: orderSummary{summary{State: v1alpha1.StateQueued, Placed: "False/PurchaseLimitReached", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "", 0, ""},
			says: "no slot.",
		},
		"holds": {
			reason: "a person must decide", decision: Decision{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, Message: "three today."},
			want: orderSummary{summary{State: v1alpha1.StateHeld, Placed: "False/NotDecided", Held: "True/TooManyActions", Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "", 0, ""},
			says: "three today.",
		},
		"imports": {
			reason: "the record is made, and the next decision finds it", decision: Decision{Step: StepImport, Reason: v1alpha1.ReasonAdopted, Message: "the account has it."},
			want: orderSummary{summary{State: v1alpha1.StatePlanned, Placed: "False/NotDecided", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "Import", "", 0, ""},
		},
		"is about to buy": {
			reason: "nothing was sent yet", decision: Decision{Step: StepBuy, Reason: v1alpha1.ReasonPlacing, Message: "to be ordered."},
			want: orderSummary{summary{State: v1alpha1.StatePlanned, Placed: "False/NotDecided", Held: notHeld, Action: nobodyActs, Issued: pendingYet}, "Unknown/RecordsPending", "New", "", 0, ""},
		},
		"fails after the order was placed": {
			reason: "it was paid for", decision: Decision{Step: StepFail, Purchase: cancelled, Reason: v1alpha1.ReasonFailed, Message: "cancelled."},
			want: orderSummary{summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"}, "Unknown/RecordsPending", "New", "1 C1", 0, ""},
			says: "cancelled.",
		},
		"fails before the order was placed": {
			reason: "an order that was refused fails its request, and the state is the one that says so", decision: Decision{Step: StepFail, Reason: v1alpha1.ReasonRejected, Message: "refused."},
			want: orderSummary{summary{State: v1alpha1.StateFailed, Placed: "False/Rejected", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"}, "Unknown/RecordsPending", "New", "", 0, ""},
			says: "refused.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := OrderFacts{Want: wanted(t), Decision: tt.decision, Contenders: tt.contenders, Delivery: tt.delivery}
			s := OrderStatus(v1alpha1.OrderStatus{}, f)
			if diff := cmp.Diff(tt.want, orderSummaryOf(s), cmp.AllowUnexported(orderSummary{})); diff != "" {
				t.Errorf("%s: OrderStatus (-want +got):\n%s", tt.reason, diff)
			}
			if !strings.Contains(s.Message, tt.says) {
				t.Errorf("%s: the message %q does not say %q", tt.reason, s.Message, tt.says)
			}
			for _, fault := range conditionFaults(s.Conditions) {
				t.Error(fault)
			}
			if s.CommonName != "www.example.com" || s.Message == "" || !printable(s.Message, 1024) || !printable(s.Plan.Reason, 1024) {
				t.Errorf("common name %q, message %q, reason %q", s.CommonName, s.Message, s.Plan.Reason)
			}
		})
	}
}

// An order waits for a purchase of another tenant. Nothing of it is shown but its
// name in the ledger, not even what an earlier status showed.
func TestOrderStatusShowsNothingOfStrangers(t *testing.T) {
	secret := regfish.Certificate{
		Status: "issued-secret", CertificatePEMAvailable: true, ActionRequired: true, CompletionURL: "https://regfish.com/secret", PendingMessage: "secret", Provider: "secret",
		SerialNumber: "secret", ValidFrom: &noon, ValidUntil: &noon, ContractValidUntil: &noon,
		Validation: &regfish.Validation{DNSRecords: []regfish.DNSRecord{{Name: "_secret.example.com", Type: "CNAME", Value: "secret"}}},
	}
	for name, change := range map[string]change{
		"of another namespace":         inNamespace("secret-tenant"),
		"of another Certificate":       func(p *v1alpha1.RegfishPurchase) { forCertificate("secret-name")(p); forKey(t, keyB)(p) },
		"of another namespace and SKU": func(p *v1alpha1.RegfishPurchase) { inNamespace("secret-tenant")(p); withSKU("secret-sku")(p) },
	} {
		p := looked(t, secret, change)
		p.Spec.CertificateID = "SECRET"
		shown := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{Step: StepFollow, Purchase: looked(t, secret)}})
		s := OrderStatus(shown, OrderFacts{Want: wanted(t), Decision: Decision{Step: StepWait, Purchase: p, Reason: v1alpha1.ReasonWaitingForPurchase, Message: "waits."}, Contenders: []Contender{{Purchase: p, Wanted: true}}})
		text := strings.ToLower(cmp.Diff(v1alpha1.OrderStatus{}, s))
		if strings.Contains(text, "secret") || s.Vendor != nil || s.DCV != nil || s.NotAfter != nil || s.ContractNotAfter != nil || s.CompletionURL != "" {
			t.Errorf("a purchase %s is shown:\n%s", name, text)
		}
		if s.PurchaseRef == nil || s.PurchaseRef.Name != p.Name {
			t.Errorf("a purchase %s is not named: %v", name, s.PurchaseRef)
		}
	}
}

// What is bought is shown as it was bought, whatever the issuer says today.
func TestOrderStatusShowsWhatWasBought(t *testing.T) {
	p := looked(t, regfish.Certificate{Status: regfish.StatusPending})
	w := wanted(t)
	w.SKU, w.ValidityDays = "SecureSite", 30
	s := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: w, Decision: Decision{Step: StepFollow, Purchase: p}})
	if s.Plan.SKU != "RapidSSL" || s.Plan.ValidityDays != 199 {
		t.Errorf("the plan is %+v", s.Plan)
	}
	s = OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: w, Decision: Decision{Step: StepQueue, Reason: v1alpha1.ReasonIssuerNotReady, Message: "waits."}})
	if s.Plan.SKU != "SecureSite" || s.Plan.ValidityDays != 30 {
		t.Errorf("what is to be bought is %+v", s.Plan)
	}
}

// The conditions of an order that cannot be followed are from before that. What they ask
// for may be done already, and who has to act is somebody else.
func TestOrderStatusSaysWhyNothingIsHeardOfItsOrder(t *testing.T) {
	unread := &IssuerProblem{v1alpha1.ReasonIssuerNotReady, "order C1 cannot be followed: there is no Secret regfish-api."}
	for name, c := range map[string]regfish.Certificate{
		"with records to set":      withValidation(regfish.DNSRecord{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}),
		"that the authority has":   {Status: regfish.StatusPending},
		"that a person has to end": {Status: regfish.StatusPending, ActionRequired: true, CompletionURL: "https://regfish.com/1"},
	} {
		p := looked(t, c)
		status := func() v1alpha1.OrderStatus {
			return OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{Step: StepFollow, Purchase: p}, Contenders: []Contender{{Purchase: p, Wanted: true}}})
		}
		before := status()
		p.Status = Observe(p, Observation{Unread: unread})
		if s := status(); s.Message != unread.Message || s.State != before.State {
			t.Errorf("an order %s is %s and says %q", name, s.State, s.Message)
		}
		p.Status = Observe(p, Observation{Unwanted: true})
		if s := status(); s.Message != before.Message {
			t.Errorf("an order %s that was made again says %q", name, s.Message)
		}
		c.ID = "C1"
		p.Status = Observe(p, Observation{Vendor: &c, MayShow: func(string) bool { return true }})
		if s := status(); s.Message != before.Message {
			t.Errorf("an order %s that is followed again says %q", name, s.Message)
		}
	}
}

// A condition keeps its time while its status stays, or nobody can tell for how
// long an order has waited, and every look is a write.
func TestOrderStatusKeepsTransitionTimes(t *testing.T) {
	past := metav1.NewTime(noon.Add(-time.Hour))
	issued := looked(t, regfish.Certificate{Status: regfish.StatusIssued, CertificatePEMAvailable: true})
	unknown := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	unknown.Status = Observe(&unknown, Observation{})
	ambiguous := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	ambiguous.Status = Observe(&ambiguous, Observation{Search: undecided("X1")})
	for name, f := range map[string]OrderFacts{
		"waiting":   {Decision: Decision{Step: StepQueue, Reason: v1alpha1.ReasonIssuerNotReady, Message: "waits."}},
		"held":      {Decision: Decision{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, Message: "three today."}},
		"ambiguous": {Decision: Decision{Step: StepFollow, Purchase: &unknown}},
		"refused":   {Decision: Decision{Step: StepDeliver, Purchase: issued}, Delivery: &Delivery{Refused: "another key."}},
		"issued":    {Decision: Decision{Step: StepDeliver, Purchase: issued}, Delivery: &Delivery{Done: true}},
		"failed":    {Decision: Decision{Step: StepFail, Reason: v1alpha1.ReasonRejected, Message: "refused."}},
	} {
		f.Want = wanted(t)
		before := OrderStatus(v1alpha1.OrderStatus{}, f)
		for i := range before.Conditions {
			before.Conditions[i].LastTransitionTime = past
		}
		if diff := cmp.Diff(before, OrderStatus(before, f)); diff != "" {
			t.Errorf("an order that is %s changes when nothing does (-before +after):\n%s", name, diff)
		}
	}
}

// The process may die between the write that hands the certificate over and the
// one that says so. The order then says it later, whatever it said before.
func TestHanded(t *testing.T) {
	d := Delivery{Done: true, SerialNumber: "ab", NotBefore: at(noon), NotAfter: at(noon.Add(days(199)))}
	adopted := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{Step: StepFollow, Purchase: func() *v1alpha1.RegfishPurchase {
		p := record(t, 1, imported("C1"))
		p.Status = Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}})
		return &p
	}()}})
	staged := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{
		Step: StepFollow, Purchase: looked(t, regfish.Certificate{Status: regfish.StatusPending, ActionRequired: true, CompletionURL: "https://regfish.com/1", Validation: withValidation(regfish.DNSRecord{Name: "_a.", Type: "CNAME", Value: "b."}).Validation}),
	}})
	held := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, Message: "three today."}})
	for name, tt := range map[string]struct {
		before         v1alpha1.OrderStatus
		placed, action string
	}{
		"nothing":                     {v1alpha1.OrderStatus{}, purchased, nobodyActs},
		"that it waits":               {held, purchased, nobodyActs},
		"that a person has to act":    {staged, purchased, "False/Completed"},
		"that it was adopted":         {adopted, "True/Adopted", nobodyActs},
		"that it has the certificate": {Handed(staged, d), purchased, "False/Completed"},
	} {
		s := Handed(tt.before, d)
		want := summary{State: v1alpha1.StateIssued, Placed: tt.placed, Held: notHeld, Action: tt.action, Issued: "True/Issued"}
		if diff := cmp.Diff(want, summaryOf(v1alpha1.PurchaseStatus{State: s.State, Conditions: s.Conditions})); diff != "" {
			t.Errorf("an order that said %s (-want +got):\n%s", name, diff)
		}
		if s.DCV != nil || s.CompletionURL != "" || s.SerialNumber != "ab" || s.NotAfter == nil || condition(s.Conditions, v1alpha1.ConditionValidationPublished) != "True/Published" {
			t.Errorf("an order that said %s: %+v", name, s)
		}
		for _, fault := range conditionFaults(s.Conditions) {
			t.Errorf("an order that said %s: %s", name, fault)
		}
		if diff := cmp.Diff(s, Handed(s, d)); diff != "" {
			t.Errorf("an order that said %s changes when it is said again:\n%s", name, diff)
		}
	}
}

// Two processes lead for a moment, and one of them shows what it knew of an earlier time.
// The request failed meanwhile, so nothing looks at the order again: it must not show a
// validation record, or hold a name that another order waits for.
func TestFailed(t *testing.T) {
	validating := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{
		Step: StepFollow, Purchase: looked(t, withValidation(regfish.DNSRecord{Name: "_a.", Type: "CNAME", Value: "b."})),
	}})
	if validating.DCV == nil {
		t.Fatal("the order shows no record")
	}
	s := Failed(validating, "regfish says that order C1 was cancelled")
	if s.State != v1alpha1.StateFailed || s.DCV != nil || s.CompletionURL != "" || s.Message != "regfish says that order C1 was cancelled" || condition(s.Conditions, v1alpha1.ConditionIssued) != "False/Failed" {
		t.Errorf("status %+v", s)
	}
	for _, fault := range conditionFaults(s.Conditions) {
		t.Error(fault)
	}
	if diff := cmp.Diff(s, Failed(s, s.Message)); diff != "" {
		t.Errorf("it changes when it is said again:\n%s", diff)
	}
}

// An order of a purchase that a person gave up fails, although regfish still waits for its
// records: whoever publishes what orders show would set them in the place of another's.
func TestFailedOrderShowsNoRecords(t *testing.T) {
	s := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: wanted(t), Decision: Decision{
		Step: StepFail, Purchase: looked(t, withValidation(regfish.DNSRecord{Name: "_a.", Type: "CNAME", Value: "b."})), Reason: v1alpha1.ReasonAbandoned, Message: "a person gave it up.",
	}})
	if s.State != v1alpha1.StateFailed || s.DCV != nil || condition(s.Conditions, v1alpha1.ConditionValidationPublished) != "Unknown/RecordsPending" {
		t.Errorf("status %+v", s)
	}
}
