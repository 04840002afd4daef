// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// summary is a status in short: each condition as Status/Reason.
type summary struct {
	State                        v1alpha1.State
	Placed, Held, Action, Issued string
	Message                      string // only compared where a test names one
}

func summaryOf(s v1alpha1.PurchaseStatus) summary {
	return summary{
		State:  s.State,
		Placed: condition(s.Conditions, v1alpha1.ConditionPlaced), Held: condition(s.Conditions, v1alpha1.ConditionHeld),
		Action: condition(s.Conditions, v1alpha1.ConditionActionRequired), Issued: condition(s.Conditions, v1alpha1.ConditionIssued),
	}
}

func condition(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

// short are the words of a summary that are the same in most cases.
const (
	purchased  = "True/Purchased"
	notHeld    = "False/NotHeld"
	nobodyActs = "False/NotRequired"
	pendingYet = "Unknown/Pending"
)

func TestObserve(t *testing.T) {
	answer := func(status string, changes ...func(*regfish.Certificate)) Observation {
		c := &regfish.Certificate{ID: "C1", Status: status, CommonName: "www.example.com"}
		for _, change := range changes {
			change(c)
		}
		return Observation{Vendor: c, RequestLive: true, MayShow: func(u string) bool { return strings.HasPrefix(u, "https://regfish.com/") }}
	}
	withPEM := func(c *regfish.Certificate) { c.CertificatePEMAvailable = true }
	staged := func(page string) func(*regfish.Certificate) {
		return func(c *regfish.Certificate) {
			c.ActionRequired, c.PendingReason, c.PendingMessage, c.CompletionURL = true, "organization_required", "Pick an organization", page
		}
	}
	withRecords := func(c *regfish.Certificate) {
		c.Validation = &regfish.Validation{Method: regfish.DCVMethodCNAME, DNSRecords: []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}}}
	}
	open := []change{placed("C1", time.Hour)}
	followed := func(changes ...func(*regfish.Certificate)) Observation {
		c := &Candidate{Certificate: *answer(regfish.StatusPending, changes...).Vendor}
		o := answer(regfish.StatusPending)
		o.Vendor, o.Search = nil, &Search{Begun: noon, Until: noon.Add(time.Hour), Blind: noon, Readings: 1, Counted: 1, Candidates: []Candidate{*c}, Finding: Followed, Found: c}
		return o
	}

	for name, tt := range map[string]struct {
		reason string
		record []change
		seen   Observation
		want   summary
		says   string
	}{
		// What the vendor says.
		"pending": {
			reason: "nobody has to act", record: open, seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "waits for regfish",
		},
		"pending with records": {
			reason: "somebody has to set them", record: open, seen: answer(regfish.StatusPending, withRecords),
			want: summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "validation records of order C1",
		},
		"pending validation without records": {
			reason: "the vendor names the records later", record: open, seen: answer(regfish.StatusPending, func(c *regfish.Certificate) { c.PendingReason = "validation_pending" }),
			want: summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"staged with a page": {
			reason: "a person has to act, and is told where", record: open, seen: answer(regfish.StatusPending, staged("https://regfish.com/complete/C1")),
			want: summary{State: v1alpha1.StateActionRequired, Placed: purchased, Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet},
			says: "a person has to complete order C1 (Pick an organization) at https://regfish.com/complete/C1",
		},
		"staged with a page that may not be shown": {
			reason: "people log in at what they are shown", record: open, seen: answer(regfish.StatusPending, staged("https://evil.example/complete/C1")),
			want: summary{State: v1alpha1.StateActionRequired, Placed: purchased, Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet},
			says: "is withheld",
		},
		"staged without a page": {
			reason: "somebody has to act all the same", record: open, seen: answer(regfish.StatusPending, staged("")),
			want: summary{State: v1alpha1.StateActionRequired, Placed: purchased, Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet},
			says: "regfish named no page",
		},
		"completed, and checked by the authority": {
			reason: "nobody has to act, and it may take days", record: open, seen: answer(regfish.StatusPending, func(c *regfish.Certificate) { c.OrderState = "PENDING_APPROVAL" }),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "until the certificate authority has checked the organization, which may take days",
		},
		"completed, checked by the authority, with records": {
			reason: "somebody has to set them meanwhile", record: open, seen: answer(regfish.StatusPending, withRecords, func(c *regfish.Certificate) { c.OrderState = "PENDING_APPROVAL" }),
			want: summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "are seen in DNS, and until the certificate authority",
		},
		"pending with mail": {
			reason: "somebody has to follow the link", record: open, seen: answer(regfish.StatusPending, func(c *regfish.Certificate) {
				c.Validation = &regfish.Validation{Method: regfish.DCVMethodEmail, EmailTargets: []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com"}}
			}),
			want: summary{State: v1alpha1.StateValidating, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "the mail that was sent to a@example.com, b@example.com, c@example.com and 1 more.",
		},
		"staged, after which a person acted": {
			reason: "the condition says that it was", record: append(slices.Clone(open), stands(v1alpha1.ConditionActionRequired, metav1.ConditionTrue, "OrganizationRequired", "act.")), seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: "False/Completed", Issued: pendingYet},
		},
		"staged, and then cancelled": {
			reason: "nobody completed it, and it does not go on", record: append(slices.Clone(open), stands(v1alpha1.ConditionActionRequired, metav1.ConditionTrue, "OrganizationRequired", "act.")), seen: answer(regfish.StatusCancelled),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
		},
		"looked at again after a person acted": {
			reason: "what was completed stays completed", record: append(slices.Clone(open), stands(v1alpha1.ConditionActionRequired, metav1.ConditionFalse, v1alpha1.ReasonCompleted, "acted.")), seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: "False/Completed", Issued: pendingYet},
		},
		"issued": {
			reason: "it can be fetched", record: open, seen: answer(regfish.StatusIssued, withPEM),
			want: summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"},
		},
		"issued and not delivered": {
			reason: "the vendor says issued before the file is there", record: open, seen: answer(regfish.StatusIssued),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "does not deliver it yet",
		},
		"issued with a flag for an action that is over": {
			reason: "nobody has to act on an issued certificate", record: open, seen: answer(regfish.StatusIssued, withPEM, staged("https://regfish.com/complete/C1")),
			want: summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"},
		},
		"issued and revoked": {
			reason: "a revoked certificate is never handed out", record: open, seen: answer(regfish.StatusIssued, withPEM, func(c *regfish.Certificate) { c.RevocationScope = "certificate" }),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "revoked",
		},
		"issued and about to be revoked": {
			reason: "a certificate that will be revoked is not handed out either", record: open, seen: answer(regfish.StatusIssued, withPEM, func(c *regfish.Certificate) { c.RevocationPendingScope = "order" }),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
		},
		"expired": {
			reason: "it is an end, with or without a file", record: open, seen: answer(regfish.StatusExpired, withPEM),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "expired",
		},
		"cancelled": {
			reason: "it is an end, in the vendor's words", record: open, seen: answer(regfish.StatusCancelled, func(c *regfish.Certificate) { c.PendingMessage = "asked for by phone" }),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "order C1 was cancelled: asked for by phone",
		},
		"cancelled as a whole": {
			reason: "it is an end", record: open, seen: answer(regfish.StatusOrderCancelled),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "order C1 was cancelled",
		},
		"rejected": {
			reason: "it is an end", record: open, seen: answer(regfish.StatusRejected),
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
		},
		"unknown, as the vendor says it": {
			reason: "the vendor does not know either", record: open, seen: answer(regfish.StatusUnknown),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"a status that was never seen": {
			reason: "what is not known to be an end is waited for", record: open, seen: answer("contemplating"),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: `"contemplating", which this version does not know`,
		},
		"a status that was never seen, staged": {
			reason: "whoever has to act is told whatever the status is called", record: open, seen: answer("contemplating", staged("https://regfish.com/complete/C1")),
			want: summary{State: v1alpha1.StateActionRequired, Placed: purchased, Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet},
		},
		"an id alone": {
			reason: "the answer to an order may be all but unreadable", record: open, seen: answer(""),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"an imported certificate": {
			reason: "it was not bought here", record: []change{imported("C1")}, seen: answer(regfish.StatusIssued, withPEM),
			want: summary{State: v1alpha1.StateIssued, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: "True/Issued"},
		},

		// What the vendor does not say.
		"placed and never looked at": {
			reason: "nothing is known yet", record: open, seen: Observation{},
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "not asked yet",
		},
		"placed after it had been given up": {
			reason: "only the vendor's word ends what was placed; an end from before would hide a paid order for ever",
			record: append(slices.Clone(open), stands(v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, "nobody wants it any more.")), seen: Observation{},
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"not found": {
			reason: "a known id is never given up", record: open, seen: Observation{NotFound: true, Key: `Secret "regfish-api"`},
			want: summary{State: v1alpha1.StateHeld, Placed: purchased, Held: "True/NotFoundAtVendor", Action: nobodyActs, Issued: pendingYet},
			says: `the key in Secret "regfish-api" may belong to another account`,
		},
		"not found, and not looked at since": {
			reason: "nothing was observed that clears it", record: append(slices.Clone(open), heldFor(v1alpha1.ReasonNotFoundAtVendor)), seen: Observation{},
			want: summary{State: v1alpha1.StateHeld, Placed: purchased, Held: "True/NotFoundAtVendor", Action: nobodyActs, Issued: pendingYet},
		},
		"found again": {
			reason: "it clears itself", record: append(slices.Clone(open), heldFor(v1alpha1.ReasonNotFoundAtVendor)), seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"a refused certificate that regfish still calls issued": {
			reason: "only a delivery that passes takes a refusal back", record: append(slices.Clone(open), heldFor(v1alpha1.ReasonCertificateRefused)), seen: answer(regfish.StatusIssued, withPEM),
			want: summary{State: v1alpha1.StateHeld, Placed: purchased, Held: "True/CertificateRefused", Action: nobodyActs, Issued: "True/Issued"},
		},
		"the vendor could not be asked": {
			reason: "the order stands all the same, and the message says why nothing is known", record: open, seen: Observation{Unread: notReady("the key is refused.")},
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "the key is refused.",
		},
		"the endpoint changed": {
			reason: "nothing is sent to either", record: open, seen: Observation{Unread: &IssuerProblem{Reason: v1alpha1.ReasonEndpointChanged, Message: "placed elsewhere."}},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/EndpointChanged", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "placed elsewhere.",
		},
		"the endpoint changed, and nobody looked since": {
			reason: "nothing was observed that takes it back", record: append(slices.Clone(open), stands(v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonEndpointChanged, "placed elsewhere.")), seen: Observation{},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/EndpointChanged", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"the endpoint was set back": {
			reason: "the vendor answered", record: append(slices.Clone(open), stands(v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonEndpointChanged, "placed elsewhere.")), seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"wanted by nobody": {
			reason: "it is paid for and goes on, and somebody can cancel it", record: open,
			seen: func() Observation {
				until := noon.Add(time.Hour)
				o := answer(regfish.StatusPending, func(c *regfish.Certificate) { c.OrderCancellableUntil = &until })
				o.Unwanted = true
				return o
			}(),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "no request wants order C1 any more, and nobody publishes its validation records: cancel it at regfish by 2026-06-01T13:00:00Z, or create Certificate shop/www again",
		},
		"followed, and wanted by nobody": {
			reason: "others wait for it, and somebody has to end that", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)},
			seen: func() Observation { o := followed(); o.Unwanted = true; return o }(),
			want: summary{State: v1alpha1.StateProcessing, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "order C1 may be this purchase's, no request wants it any more, and every other order for its names waits until it is issued or ended: cancel it at regfish, create Certificate shop/www again, or give the purchase up with the annotation certmanager.regfish.com/resolve: abandon.",
		},
		"wanted by nobody, for a request without a Certificate": {
			reason: "there is no Certificate to create again", record: append(slices.Clone(open), forCertificate("")),
			seen: func() Observation { o := answer(regfish.StatusPending); o.Unwanted = true; return o }(),
			want: summary{State: v1alpha1.StateProcessing, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "create CertificateRequest shop/www-1 with the same key again",
		},
		"issued and wanted by nobody": {
			reason: "there is nothing left to cancel", record: open,
			seen: func() Observation { o := answer(regfish.StatusIssued, withPEM); o.Unwanted = true; return o }(),
			want: summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"},
			says: "regfish says that the certificate is issued.",
		},

		// What the record alone says.
		"being sent": {
			reason: "a process works on it", record: []change{attempted("", time.Second)}, seen: Observation{WriterAlive: true, RequestLive: true},
			want: summary{State: v1alpha1.StatePlacing, Placed: "Unknown/Placing", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"being sent by a process that is gone": {
			reason: "the account is looked at", record: []change{attempted("", time.Hour)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateResolving, Placed: "Unknown/OutcomeUnknown", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "the order of attempt 1, begun at 2026-06-01T11:00:00Z (the process that sent it ended before its answer was recorded); the account is looked at for it, and nobody has to act.",
		},
		"looked for, by a process that just started": {
			reason: "it does not know yet that the other is gone, and must not take back what was found out",
			record: []change{attempted("", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Status = Observe(p, Observation{RequestLive: true}) }},
			seen:   Observation{WriterAlive: true, RequestLive: true},
			want:   summary{State: v1alpha1.StateResolving, Placed: "Unknown/OutcomeUnknown", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"held, by a process that just started": {
			reason: "a Warning at every restart would be read by nobody",
			record: []change{attempted("", time.Hour), func(p *v1alpha1.RegfishPurchase) {
				p.Status = Observe(p, Observation{RequestLive: true, Search: undecided("X1")})
			}},
			seen: Observation{WriterAlive: true, RequestLive: true},
			want: summary{State: v1alpha1.StateHeld, Placed: "Unknown/OutcomeUnknown", Held: "True/AmbiguousOutcome", Action: nobodyActs, Issued: pendingYet},
			says: "X1 (cancelled)",
		},
		"held for one attempt, while the next is being sent": {
			reason: "what was held is not what is being sent",
			record: []change{attempted("", 2*time.Hour), func(p *v1alpha1.RegfishPurchase) {
				p.Status = Observe(p, Observation{RequestLive: true, Search: undecided("X1")})
				p.Spec.Attempts[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeNotSent}
				attempted("", time.Second)(p)
			}},
			seen: Observation{WriterAlive: true, RequestLive: true},
			want: summary{State: v1alpha1.StatePlacing, Placed: "Unknown/Placing", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"sent with an unknown outcome": {
			reason: "the account is looked at", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateResolving, Placed: "Unknown/OutcomeUnknown", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "regfish may or may not have taken the order of attempt 1, begun at 2026-06-01T11:00:00Z (place order: something happened)",
		},
		"found, and not proved yet": {
			reason: "its validation goes on", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, seen: followed(withRecords),
			want: summary{State: v1alpha1.StateValidating, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "validation records of order C1",
		},
		"found, and staged": {
			reason: "a person has to act, and is told that it is not proved", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, seen: followed(staged("https://regfish.com/complete/C1")),
			want: summary{State: v1alpha1.StateActionRequired, Placed: "True/Adopted", Held: notHeld, Action: "True/OrganizationRequired", Issued: pendingYet},
			says: "a person has to complete order C1 (Pick an organization) (found in the account; it is not proved yet that the order is this purchase's) at https://regfish.com/complete/C1",
		},
		"found, and issued without a file": {
			reason: "what is not proved is never issued to anybody", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, seen: followed(func(c *regfish.Certificate) { c.Status = regfish.StatusIssued }),
			want: summary{State: v1alpha1.StateProcessing, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"held, and then found": {
			reason: "what looking resolves releases it", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), func(p *v1alpha1.RegfishPurchase) {
				p.Status = Observe(p, Observation{RequestLive: true, Search: undecided("X1")})
			}}, seen: followed(),
			want: summary{State: v1alpha1.StateProcessing, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"given up without knowing": {
			reason: "it may have been bought", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), abandoned}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/Abandoned", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "a person gave this purchase up at 2026-06-01T11:59:00Z, and nothing is sent for it any more. Whether regfish took the order of attempt 1 is not known",
		},
		"given up after it was placed": {
			reason: "the order stands", record: append(slices.Clone(open), abandoned), seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateFailed, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "Order C1 stands at regfish",
		},
		"released": {
			reason: "the next attempt follows", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), released}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "attempt 1 was not answered (place order: something happened), and a person licensed another one",
		},
		"accepted without an id of its own": {
			reason: "something was bought, and nobody can tell what", record: []change{attempted(v1alpha1.OutcomeAccepted, time.Hour)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateHeld, Placed: "Unknown/OutcomeUnknown", Held: "True/AmbiguousOutcome", Action: nobodyActs, Issued: pendingYet},
			says: "A person has to decide",
		},
		"looked for and not found": {
			reason: "it is tried again by itself", record: []change{unfound(time.Minute)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "attempt 1 was not answered (place order: something happened) and placed no order: three readings lack it",
		},
		"not found as often as is tried without asking": {
			reason: "a vendor that makes orders later than they are looked for would be paid again and again", record: []change{unfound(time.Hour), unfound(time.Minute)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateHeld, Placed: "False/VendorUnavailable", Held: "True/AmbiguousOutcome", Action: nobodyActs, Issued: pendingYet},
			says: "A person has to decide, and to annotate RegfishPurchase " + theName + " with certmanager.regfish.com/resolve=retry:2 to order once more, or abandon.",
		},
		"not found, and its request is gone": {
			reason: "it was never placed and never will be", record: []change{unfound(time.Hour), unfound(time.Minute)}, seen: Observation{},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
		},
		"adopted": {
			reason: "people see that it was found and not answered", record: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), adopted("C1")}, seen: answer(regfish.StatusPending),
			want: summary{State: v1alpha1.StateProcessing, Placed: "True/Adopted", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"not sent": {
			reason: "it is tried again by itself", record: []change{attempted(v1alpha1.OutcomeNotSent, time.Second)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
			says: "attempt 1 placed no order: place order: something happened",
		},
		"refused for what the issuer's owner has to mend": {
			reason: "the reason says whose turn it is", record: []change{attempted(v1alpha1.OutcomeRejected, time.Second)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateQueued, Placed: "False/IssuerNotReady", Held: notHeld, Action: nobodyActs, Issued: pendingYet},
		},
		"not sent, and its request is gone": {
			reason: "it was never placed and never will be", record: []change{attempted(v1alpha1.OutcomeNotSent, time.Second)}, seen: Observation{},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "the request that wanted it is gone",
		},
		"refused for good": {
			reason: "it was never placed and never will be", record: []change{refusedForGood}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/Rejected", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "nothing was bought: place order: something happened",
		},
		"not sent, and another purchase took its place": {
			reason: "it gets no other attempt", record: []change{attempted(v1alpha1.OutcomeNotSent, time.Second), succeeded(2)}, seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/VendorUnavailable", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
		},
		"a record without attempts": {
			reason: "nothing was ever sent", seen: Observation{RequestLive: true},
			want: summary{State: v1alpha1.StateEnded, Placed: "False/Rejected", Held: notHeld, Action: nobodyActs, Issued: "False/Failed"},
			says: "nothing was ever sent.",
		},
		"a record of another version": {
			reason: "it is held, never reinterpreted", record: append(slices.Clone(open), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }), seen: Observation{},
			want: summary{State: v1alpha1.StateHeld, Placed: "False/NotDecided", Held: "True/UnknownRecord", Action: nobodyActs, Issued: pendingYet},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := record(t, 1, tt.record...)
			before := p.DeepCopy()
			s := Observe(&p, tt.seen)
			if diff := cmp.Diff(tt.want, summaryOf(s)); diff != "" {
				t.Errorf("%s: Observe (-want +got):\n%s", tt.reason, diff)
			}
			if !strings.Contains(s.Message, tt.says) {
				t.Errorf("%s: the message %q does not say %q", tt.reason, s.Message, tt.says)
			}
			for _, fault := range faults(s) {
				t.Error(fault)
			}
			if diff := cmp.Diff(before, &p); diff != "" {
				t.Errorf("the purchase was changed:\n%s", diff)
			}
			p.Status = s
			if diff := cmp.Diff(s, Observe(&p, tt.seen)); diff != "" {
				t.Errorf("the same observation twice changes the status:\n%s", diff)
			}
		})
	}
}

func TestObserveMirrorsWhatTheVendorSays(t *testing.T) {
	from, until, contractUntil, cancel := noon.Add(time.Millisecond), noon.Add(days(199)), noon.Add(days(365)), noon.Add(days(14))
	p := record(t, 1, placed("C1", time.Hour))
	s := Observe(&p, Observation{Vendor: &regfish.Certificate{
		ID: "C1", Status: regfish.StatusIssued, OrderState: "complete", PendingReason: "none", PendingMessage: "all good", Provider: "digicert",
		SerialNumber: "0A:bC", ValidFrom: &from, ValidUntil: &until, ContractValidFrom: &from, ContractValidUntil: &contractUntil, OrderCancellableUntil: &cancel,
	}})
	want := v1alpha1.PurchaseStatus{
		Vendor:       &v1alpha1.Vendor{Status: "issued", OrderState: "complete", PendingReason: "none", PendingMessage: "all good", Provider: "digicert", CancellableUntil: at(cancel)},
		SerialNumber: "abc", NotBefore: at(noon), NotAfter: at(until), ContractNotBefore: at(noon), ContractNotAfter: at(contractUntil),
	}
	got := v1alpha1.PurchaseStatus{Vendor: s.Vendor, SerialNumber: s.SerialNumber, NotBefore: s.NotBefore, NotAfter: s.NotAfter, ContractNotBefore: s.ContractNotBefore, ContractNotAfter: s.ContractNotAfter}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Without an answer all of it stays.
	p.Status = s
	if diff := cmp.Diff(s, Observe(&p, Observation{Unread: notReady("no key.")}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Message" }, cmp.Ignore())); diff != "" {
		t.Errorf("a look that failed changes (-want +got):\n%s", diff)
	}
}

// A page stays only for as long as somebody has to act.
func TestObserveForgetsThePage(t *testing.T) {
	p := record(t, 1, placed("C1", time.Hour))
	show := func(string) bool { return true }
	c := regfish.Certificate{ID: "C1", Status: regfish.StatusPending, ActionRequired: true, CompletionURL: "https://regfish.com/1"}
	p.Status = Observe(&p, Observation{Vendor: &c, MayShow: show})
	if p.Status.CompletionURL != c.CompletionURL {
		t.Fatalf("page %q", p.Status.CompletionURL)
	}
	c.ActionRequired = false
	if s := Observe(&p, Observation{Vendor: &c, MayShow: show}); s.CompletionURL != "" {
		t.Errorf("nobody has to act, and the page is %q", s.CompletionURL)
	}
	c.ActionRequired = true
	if s := Observe(&p, Observation{Vendor: &c}); s.CompletionURL != "" {
		t.Errorf("nobody says that the page may be shown, and it is %q", s.CompletionURL)
	}
}

func TestCamelCase(t *testing.T) {
	for in, want := range map[string]string{
		"validation_pending":                "ValidationPending",
		"organization_required":             "OrganizationRequired",
		"ALREADY":                           "ALREADY",
		"dcv_2_failed":                      "Dcv2Failed",
		"__staged__":                        "Staged",
		"":                                  v1alpha1.ReasonCompletionRequired,
		"_":                                 v1alpha1.ReasonCompletionRequired,
		"2_late":                            v1alpha1.ReasonCompletionRequired,
		"two words":                         v1alpha1.ReasonCompletionRequired,
		"umläut":                            v1alpha1.ReasonCompletionRequired,
		"new\nline":                         v1alpha1.ReasonCompletionRequired,
		"bad\xff":                           v1alpha1.ReasonCompletionRequired,
		strings.Repeat("a", 64):             "A" + strings.Repeat("a", 63),
		strings.Repeat("a", 65):             v1alpha1.ReasonCompletionRequired,
		strings.Repeat("long_reason_", 900): v1alpha1.ReasonCompletionRequired,
	} {
		if got := camelCase(in); got != want {
			t.Errorf("camelCase(%.40q) = %q, want %q", in, got, want)
		}
	}
}

// crdReason is what the API server accepts as the reason of a condition.
var crdReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

var states = []v1alpha1.State{
	v1alpha1.StatePlanned, v1alpha1.StateQueued, v1alpha1.StatePlacing, v1alpha1.StateResolving, v1alpha1.StateWaiting, v1alpha1.StateHeld, v1alpha1.StateActionRequired,
	v1alpha1.StateValidating, v1alpha1.StateProcessing, v1alpha1.StateIssued, v1alpha1.StateFailed, v1alpha1.StateEnded,
}

// faults are the rules that a status breaks, whatever it was made of.
func faults(s v1alpha1.PurchaseStatus) []string {
	var found []string
	report := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, kind := range []string{v1alpha1.ConditionPlaced, v1alpha1.ConditionHeld, v1alpha1.ConditionActionRequired, v1alpha1.ConditionIssued} {
		if meta.FindStatusCondition(s.Conditions, kind) == nil {
			report("%s is missing", kind)
		}
	}
	found = append(found, conditionFaults(s.Conditions)...)
	if s.State != stateOf(s.Conditions, s.DCV, s.Vendor) || !slices.Contains(states, s.State) {
		report("state %q is not what the conditions say", s.State)
	}
	if s.Message == "" || !printable(s.Message, 1024) {
		report("message %.80q", s.Message)
	}
	if v := s.Vendor; v != nil {
		for _, text := range []struct {
			value string
			max   int
		}{{v.Status, 64}, {v.OrderState, 64}, {v.PendingReason, 64}, {v.PendingMessage, 256}, {v.Provider, 64}} {
			if !printable(text.value, text.max) {
				report("vendor text %.80q", text.value)
			}
		}
	}
	if !printable(s.SerialNumber, 128) || !printable(s.CompletionURL, 512) {
		report("serial number %.80q, page %.80q", s.SerialNumber, s.CompletionURL)
	}
	if s.DCV != nil {
		if n, m := len(s.DCV.Records), len(s.DCV.Emails); n+m == 0 || n > 250 || m > 50 {
			report("%d records, %d addresses", n, m)
		}
		for _, address := range s.DCV.Emails {
			if !printable(address, 254) || !strings.Contains(address, "@") {
				report("address %.300q", address)
			}
		}
		for _, r := range s.DCV.Records {
			if !printable(r.Name, 255) || !printable(r.Type, 16) || !printable(r.Value, 512) || !strings.HasSuffix(r.Name, ".") || r.Name == "." {
				report("record %.300q", r)
			}
		}
	}
	return found
}

func conditionFaults(conditions []metav1.Condition) []string {
	var found []string
	seen := map[string]bool{}
	for _, c := range conditions {
		if seen[c.Type] {
			found = append(found, c.Type+" occurs twice")
		}
		seen[c.Type] = true
		if !crdReason.MatchString(c.Reason) || len(c.Reason) > 1024 {
			found = append(found, fmt.Sprintf("%s has the reason %.80q", c.Type, c.Reason))
		}
		if c.Message == "" || !printable(c.Message, 1024) {
			found = append(found, fmt.Sprintf("%s has the message %.80q", c.Type, c.Message))
		}
	}
	return found
}

// printable reports whether a text fits its field and can be shown in one line.
func printable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.C, r) })
}

// Whatever the vendor says, in whatever order, a status can be written and shown.
func TestObserveStandsWhateverTheVendorSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{
		"", "pending", "issued", "expired", "cancelled", "order_cancelled", "rejected", "unknown", "validation_pending", "not_held", "completed", "issued ", "ISSUED",
		"\x00", "\x1b[31mred", "line\nbreak", "\u202eevil", "\ufeff", strings.Repeat("x", 10<<10), strings.Repeat("ä", 10<<10), strings.Repeat("\u200b", 10<<10), "\xff\xfe", strings.Repeat("\xff", 10<<10), `"quoted"`, "%s%d%!", "   ", "🙂🙂",
		"_dcv.example.com", "_DCV.example.com.", ".", "..", "a b.example.com", "https://regfish.com/a", "https://regfish.com/" + strings.Repeat("a", 10<<10), "javascript:alert(1)",
	}
	text := func() string { return texts[random.IntN(len(texts))] }
	moment := func() *time.Time {
		switch random.IntN(4) {
		case 0:
			return nil
		case 1:
			return &time.Time{}
		}
		m := noon.Add(time.Duration(random.IntN(2000)-1000) * time.Hour)
		return &m
	}
	certificate := func() *regfish.Certificate {
		c := &regfish.Certificate{
			ID: text(), Status: text(), CommonName: text(), DNSNames: []string{text(), text()}, Product: text(), Provider: text(), OrderState: text(),
			ActionRequired: random.IntN(2) == 0, PendingReason: text(), PendingMessage: text(), CompletionURL: text(), SerialNumber: text(),
			CertificatePEMAvailable: random.IntN(2) == 0, ValidFrom: moment(), ValidUntil: moment(), ContractValidFrom: moment(), ContractValidUntil: moment(), OrderCancellableUntil: moment(),
		}
		if random.IntN(5) == 0 {
			c.RevocationScope = text()
		}
		if random.IntN(2) == 0 {
			c.Validation = &regfish.Validation{Method: text()}
			many := 4
			if random.IntN(100) == 0 {
				many = 400
			}
			for range random.IntN(many) {
				c.Validation.DNSRecords = append(c.Validation.DNSRecords, regfish.DNSRecord{Name: text(), Type: text(), Value: text() + fmt.Sprint(random.IntN(400))})
			}
		}
		return c
	}
	records := []v1alpha1.RegfishPurchase{
		record(t, 1, attempted("", time.Second)),
		record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Second)),
		record(t, 1, attempted(v1alpha1.OutcomeAccepted, time.Second)),
		record(t, 1, attempted(v1alpha1.OutcomeNotSent, time.Second)),
		record(t, 1, unfound(time.Hour)),
		record(t, 1, unfound(time.Hour), unfound(time.Minute)),
		record(t, 1, refusedForGood),
		record(t, 1, imported("C1")),
		record(t, 1, placed("C1", time.Hour)),
		record(t, 1, placed("C1", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 3 }),
	}
	// The contract of MayShow: what it lets pass is short and printable.
	mayShow := func(page string) bool {
		u, err := url.Parse(page)
		return err == nil && u.Scheme == "https" && printable(page, 512)
	}
	for range 150 {
		p := records[random.IntN(len(records))]
		for range 4 {
			o := Observation{WriterAlive: random.IntN(2) == 0, RequestLive: random.IntN(2) == 0, Unwanted: random.IntN(4) == 0, MayShow: mayShow}
			if Unresolved(&p) && random.IntN(3) > 0 {
				o.Search = &Search{Begun: noon, Until: noon.Add(time.Hour), Blind: noon, Readings: random.IntN(5), Counted: random.IntN(4), Finding: []Finding{Searching, Followed, Undecided}[random.IntN(3)]}
				for range random.IntN(8) {
					o.Search.Candidates = append(o.Search.Candidates, Candidate{Certificate: *certificate()})
				}
				if len(o.Search.Candidates) == 0 {
					o.Search.Finding, o.Search.Gap, o.Search.Writer = Undecided, text(), []string{"", "pod a/b"}[random.IntN(2)]
				} else {
					o.Search.Found = &o.Search.Candidates[0]
				}
			}
			if p.Spec.CertificateID != "" {
				switch random.IntN(4) {
				case 0:
					o.NotFound, o.Key = true, text()
				case 1:
					o.Unread = &IssuerProblem{Reason: []string{v1alpha1.ReasonEndpointChanged, v1alpha1.ReasonVendorUnavailable}[random.IntN(2)], Message: "no answer: " + text()}
				default:
					o.Vendor = certificate()
				}
			}
			p.Status = Observe(&p, o)
			if found := faults(p.Status); len(found) > 0 {
				t.Fatalf("after %+v:\n%s", o, strings.Join(found, "\n"))
			}
		}
	}
}

func TestTargets(t *testing.T) {
	for name, tt := range map[string]struct {
		sent, want []string
		reason     string
	}{
		"addresses":         {[]string{"admin@example.com", " hostmaster@example.com\n"}, []string{"admin@example.com", "hostmaster@example.com"}, "blanks around them say nothing"},
		"one twice":         {[]string{"admin@example.com", "admin@example.com"}, []string{"admin@example.com"}, "one mail was sent"},
		"no address":        {[]string{"", "example.com", "\x1b[31ma@example.com", "a b@example.com", strings.Repeat("a", 254) + "@example.com"}, nil, "a status holds what people can read and the API server takes"},
		"more than a dozen": {manyTargets(60), manyTargets(50), "a status is bounded"},
	} {
		if diff := cmp.Diff(tt.want, targets(regfish.Validation{EmailTargets: tt.sent})); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tt.reason, diff)
		}
	}
}

func manyTargets(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("a%d@example.com", i))
	}
	return all
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("a", 60) + "."
	for name, tt := range map[string]struct {
		reason string
		in     []regfish.DNSRecord
		want   []v1alpha1.DNSRecord
	}{
		"are absolute": {
			reason: "the vendor writes names with and without the dot",
			in:     []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}, {Name: "_c.example.com.", Type: "CNAME", Value: "d.example.net."}},
			want:   []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}, {Name: "_c.example.com.", Type: "CNAME", Value: "d.example.net."}},
		},
		"are written in one case": {
			reason: "two spellings of a record must not look like two records",
			in:     []regfish.DNSRecord{{Name: "_A.Example.COM", Type: "cname", Value: "B.Example.NET"}},
			want:   []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}},
		},
		"stand once": {
			reason: "the vendor repeats a record for each name that it serves",
			in:     []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}, {Name: " _A.example.com. ", Type: " CNAME", Value: "b.example.net."}},
			want:   []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}},
		},
		"keep two values at one name": {
			reason: "which of the two holds is not for us to say",
			in:     []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b"}, {Name: "_a.example.com", Type: "CNAME", Value: "c"}},
			want:   []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b."}, {Name: "_a.example.com.", Type: "CNAME", Value: "c."}},
		},
		"leave out what is not whole": {
			reason: "half a record cannot be set",
			in: []regfish.DNSRecord{
				{Type: "CNAME", Value: "b"}, {Name: "a", Value: "b"}, {Name: "a", Type: "CNAME"}, {Name: ".", Type: "CNAME", Value: "b"}, {Name: " ", Type: "CNAME", Value: "b"},
			},
		},
		"leave out what does not fit": {
			reason: "one record that the API server refuses would keep the whole status from being written",
			in: []regfish.DNSRecord{
				{Name: strings.Repeat(long, 5), Type: "CNAME", Value: "b"}, {Name: "a", Type: strings.Repeat("C", 17), Value: "b"}, {Name: "a", Type: "CNAME", Value: strings.Repeat(long, 9)},
			},
		},
		"leave out what cannot be shown": {
			reason: "a control character in a zone file is an attack",
			in:     []regfish.DNSRecord{{Name: "a\nb", Type: "CNAME", Value: "b"}, {Name: "a", Type: "CN\x00AME", Value: "b"}, {Name: "a", Type: "CNAME", Value: "b\u202e"}, {Name: "a\xff", Type: "CNAME", Value: "b"}, {Name: "ä", Type: "CNAME", Value: "b"}, {Name: "a b", Type: "CNAME", Value: "b"}, {Name: "a", Type: "CNAME", Value: "b c"}},
		},
	} {
		if diff := cmp.Diff(tt.want, Records(regfish.Validation{DNSRecords: tt.in})); diff != "" {
			t.Errorf("records %s, because %s (-want +got):\n%s", name, tt.reason, diff)
		}
	}
	many := regfish.Validation{}
	for i := range 300 {
		many.DNSRecords = append(many.DNSRecords, regfish.DNSRecord{Name: fmt.Sprintf("_%d.example.com", i), Type: "CNAME", Value: "b"})
	}
	if got := len(Records(many)); got != 250 {
		t.Errorf("%d of 300 records are kept, want the 250 that fit", got)
	}
}

func TestRefuse(t *testing.T) {
	p := record(t, 1, placed("C1", time.Hour))
	p.Status = Observe(&p, Observation{Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CertificatePEMAvailable: true}})
	before := p.DeepCopy()

	refused := Refuse(&p, "it is for another key\n"+strings.Repeat("x", 10<<10))
	want := summary{State: v1alpha1.StateHeld, Placed: purchased, Held: "True/CertificateRefused", Action: nobodyActs, Issued: "True/Issued"}
	if diff := cmp.Diff(want, summaryOf(refused)); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	for _, fault := range faults(refused) {
		t.Error(fault)
	}
	if !strings.HasPrefix(refused.Message, "it is for another key") {
		t.Errorf("the message is %.80q", refused.Message)
	}
	if diff := cmp.Diff(before, &p); diff != "" {
		t.Errorf("the purchase was changed:\n%s", diff)
	}

	p.Status = refused
	want = summary{State: v1alpha1.StateIssued, Placed: purchased, Held: notHeld, Action: nobodyActs, Issued: "True/Issued"}
	if diff := cmp.Diff(want, summaryOf(Refuse(&p, ""))); diff != "" {
		t.Errorf("accepted after all (-want +got):\n%s", diff)
	}
}

func TestPlanStatus(t *testing.T) {
	d := Decision{Step: StepHold, Reason: v1alpha1.ReasonTooManyActions, Message: "three were bought today.\x00" + strings.Repeat("x", 10<<10)}
	s := PlanStatus(v1alpha1.PurchaseStatus{}, d)
	want := summary{State: v1alpha1.StateHeld, Placed: "False/NotDecided", Held: "True/TooManyActions", Action: nobodyActs, Issued: pendingYet}
	if diff := cmp.Diff(want, summaryOf(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, fault := range faults(s) {
		t.Error(fault)
	}
	if !strings.HasPrefix(s.Message, "three were bought today.") {
		t.Errorf("the message is %.80q", s.Message)
	}
	if diff := cmp.Diff(s, PlanStatus(s, d)); diff != "" {
		t.Errorf("the same decision changes the status:\n%s", diff)
	}
	d.Reason, d.Message = v1alpha1.ReasonUnclaimedOrder, "an order."
	if got := PlanStatus(s, d); condition(got.Conditions, v1alpha1.ConditionHeld) != "True/UnclaimedOrder" || got.Message != "an order." {
		t.Errorf("another reason is shown as %s: %s", condition(got.Conditions, v1alpha1.ConditionHeld), got.Message)
	}
}

func TestUsable(t *testing.T) {
	good := regfish.Certificate{Status: regfish.StatusIssued, CertificatePEMAvailable: true}
	if !Usable(good) {
		t.Error("an issued certificate is not usable")
	}
	for name, spoil := range map[string]func(*regfish.Certificate){
		"pending":              func(c *regfish.Certificate) { c.Status = regfish.StatusPending },
		"expired":              func(c *regfish.Certificate) { c.Status = regfish.StatusExpired },
		"of an unknown status": func(c *regfish.Certificate) { c.Status = "Issued" },
		"not there yet":        func(c *regfish.Certificate) { c.CertificatePEMAvailable = false },
		"revoked":              func(c *regfish.Certificate) { c.RevocationScope = "order" },
		"about to be revoked":  func(c *regfish.Certificate) { c.RevocationPendingScope = "certificate" },
	} {
		c := good
		spoil(&c)
		if Usable(c) {
			t.Errorf("a certificate that is %s is usable", name)
		}
	}
}

// What was shown of an order that turned out not to be it does not stay.
func TestObserveForgetsWhatItFollowed(t *testing.T) {
	show := func(string) bool { return true }
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	c := Candidate{Certificate: regfish.Certificate{
		ID: "C1", Status: regfish.StatusPending, CommonName: "www.example.com", ActionRequired: true, CompletionURL: "https://regfish.com/1",
		Validation: &regfish.Validation{DNSRecords: []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}}},
	}}
	p.Status = Observe(&p, Observation{Search: &Search{Finding: Followed, Found: &c}, MayShow: show})
	if p.Status.CompletionURL == "" || p.Status.DCV == nil || p.Status.Vendor == nil {
		t.Fatalf("status %+v", p.Status)
	}
	// Between two looks of a process that has just started it stays.
	if s := Observe(&p, Observation{}); s.CompletionURL == "" || s.DCV == nil || condition(s.Conditions, v1alpha1.ConditionPlaced) != "True/Adopted" {
		t.Errorf("status %+v", s)
	}
	s := Observe(&p, Observation{Search: &Search{Finding: Searching, Begun: noon, Until: noon.Add(time.Hour)}, MayShow: show})
	if s.CompletionURL != "" || s.DCV != nil || s.Vendor != nil || s.State != v1alpha1.StateResolving || condition(s.Conditions, v1alpha1.ConditionActionRequired) != nobodyActs {
		t.Errorf("status %+v", s)
	}
}

// An id that regfish does not know is asked for until it is found, also when its certificate
// was issued long ago and nobody fetches it: nothing else would take the hold back, and the
// Certificate's next request waits for that.
func TestWhatRegfishDoesNotKnowIsAskedForUntilItDoes(t *testing.T) {
	p := record(t, 1, placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear), paidFor(monthAgo, inHalfAYear))
	p.Status.Vendor = &v1alpha1.Vendor{Status: regfish.StatusIssued}
	expires := Expires(&p, 0)
	if p.Status = Observe(&p, Observation{NotFound: true, Key: "Secret"}); Resting(&p) || !held(&p) {
		t.Fatalf("it is at rest: %+v", p.Status)
	}
	if got := Expires(&p, 0); got != expires {
		t.Errorf("it is kept until %s, want %s", got, expires)
	}
	c := sold("C1", monthAgo, inHalfAYear)
	if p.Status = Observe(&p, Observation{Vendor: &c}); !Resting(&p) || held(&p) {
		t.Errorf("it was found, and: %+v", p.Status)
	}
}
