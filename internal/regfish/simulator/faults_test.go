// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestFaultsOnOrders(t *testing.T) {
	tests := map[string]struct {
		reason  string
		fault   simulator.Fault
		outcome regfish.Outcome
		status  int
		sold    int
		lost    bool
	}{
		"the reply is lost": {
			reason: "The order is made, and nobody hears of it.",
			fault:  simulator.Fault{Kind: simulator.FaultDrop, AfterCommit: true}, outcome: regfish.Unknown, sold: 1, lost: true,
		},
		"the connection breaks before the order is made": {
			reason: "The customer cannot tell this from a lost reply.",
			fault:  simulator.Fault{Kind: simulator.FaultDrop}, outcome: regfish.Unknown,
		},
		"an upstream error after the order was made": {
			reason: "The vendor documents 502 for errors of the CA.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 502, AfterCommit: true}, outcome: regfish.Unknown, status: 502, sold: 1, lost: true,
		},
		"an upstream error before the order is made": {
			reason: "The customer cannot tell this from one after.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 502}, outcome: regfish.Unknown, status: 502,
		},
		"a failure of no particular kind": {
			reason: "The default is 500.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus}, outcome: regfish.Unknown, status: 500,
		},
		"a refusal": {
			reason: "The vendor's own words are believed.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 409}, outcome: regfish.Rejected, status: 409,
		},
		"a refusal by something in between": {
			reason: "A proxy's number is not the vendor's word.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 409, Bare: true}, outcome: regfish.Unknown, status: 409,
		},
		"too many requests": {
			reason: "It is turned away at the door.",
			fault:  simulator.Fault{Kind: simulator.FaultStatus, Status: 429, RetryAfter: "120"}, outcome: regfish.NotSent, status: 429,
		},
		"half an answer": {
			reason: "The order is made, and its id does not arrive.",
			fault:  simulator.Fault{Kind: simulator.FaultGarbage, AfterCommit: true}, outcome: regfish.Unknown, status: 200, sold: 1, lost: true,
		},
		"a web page": {
			reason: "The order is made, and a gateway answers.",
			fault:  simulator.Fault{Kind: simulator.FaultHTML, AfterCommit: true}, outcome: regfish.Unknown, status: 200, sold: 1, lost: true,
		},
		"a web page with a status": {
			reason: "A gateway answers instead of the vendor.",
			fault:  simulator.Fault{Kind: simulator.FaultHTML, Status: 503}, outcome: regfish.Unknown, status: 503,
		},
		"success without an id": {
			reason: "The order is made, and nobody can say which it is.",
			fault:  simulator.Fault{Kind: simulator.FaultNoID}, outcome: regfish.Unknown, status: 200, sold: 1, lost: true,
		},
		"a slow answer": {
			reason: "It comes all the same.",
			fault:  simulator.Fault{Kind: simulator.FaultSlow, Delay: time.Millisecond}, outcome: regfish.Accepted, status: 200, sold: 1,
		},
		"a slow answer to an order that is made at once": {
			reason: "It comes all the same, and the order is made once.",
			fault:  simulator.Fault{Kind: simulator.FaultSlow, Delay: time.Millisecond, AfterCommit: true}, outcome: regfish.Accepted, status: 200, sold: 1,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			tc.fault.Endpoint = simulator.EndpointOrder
			v.InjectFault(tc.fault)
			got := v.client.Order(t.Context(), request(t, "www.example.com"), yes)
			if got.Outcome != tc.outcome || got.Status != tc.status {
				t.Errorf("outcome is %v with %d: %v, want %v with %d. %s", got.Outcome, got.Status, got.Err, tc.outcome, tc.status, tc.reason)
			}
			if tc.fault.RetryAfter != "" && got.Err.RetryAfter != 2*time.Minute {
				t.Errorf("Retry-After is %v", got.Err.RetryAfter)
			}
			sold := v.Purchases()
			if len(sold) != tc.sold || len(v.list(t)) != tc.sold {
				t.Fatalf("%d sales and %d listed, want %d. %s", len(sold), len(v.list(t)), tc.sold, tc.reason)
			}
			if tc.sold > 0 && sold[0].ReplyLost != tc.lost {
				t.Errorf("reply lost: %t, want %t. %s", sold[0].ReplyLost, tc.lost, tc.reason)
			}
			if left := v.Faults(); len(left) != 0 {
				t.Errorf("%v are still to strike", left)
			}
			if n := v.Calls()[string(simulator.EndpointOrder)]; n != 1 {
				t.Errorf("%d calls", n)
			}
			v.order(t, "www.example.com") // the next one goes well
		})
	}
}

func TestAReplyThatComesTooLateIsLost(t *testing.T) {
	sold := make(watch)
	v := start(t, func(o *simulator.Options) { o.Log = newLog(sold) })
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, Delay: time.Hour, AfterCommit: true})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-sold; cancel() }()
	got := v.client.Order(ctx, request(t, "www.example.com"), yes)
	if got.Outcome != regfish.Unknown || !errors.Is(got.Err, context.Canceled) {
		t.Errorf("outcome is %v: %v", got.Outcome, got.Err)
	}
	for !v.Purchases()[0].ReplyLost { // until the server notices that its customer left
		if t.Context().Err() != nil {
			t.Fatal("the reply counts as given")
		}
		runtime.Gosched()
	}
}

func TestFaultsStrikeAsOftenAsPlanned(t *testing.T) {
	v := start(t)
	fail := func(status, times int) {
		v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointProducts, Kind: simulator.FaultStatus, Status: status, Times: times})
	}
	status := func() int {
		_, err := v.client.Products(t.Context())
		var e *regfish.Error
		if errors.As(err, &e) {
			return e.Status
		}
		return 0
	}
	fail(500, 0)
	fail(502, 2)
	v.list(t) // another endpoint, which the faults do not concern
	if stranger := v.clientWith(t, "stranger"); regfish.KindOf(func() error { _, err := stranger.Products(t.Context()); return err }()) != regfish.KindUnauthorized {
		t.Error("a fault struck a request with an unknown key")
	}
	for i, want := range []int{500, 502, 502, 0, 0} {
		if got := status(); got != want {
			t.Errorf("call %d: %d, want %d", i+1, got, want)
		}
	}
	fail(503, -1)
	for range 5 {
		if got := status(); got != 503 {
			t.Errorf("status is %d, want 503 until cleared", got)
		}
	}
	if got := v.Faults(); len(got) != 1 || got[0].Status != 503 {
		t.Errorf("faults are %v", got)
	}
	v.ClearFaults()
	if got := status(); got != 0 {
		t.Errorf("status is %d after clearing", got)
	}
}

func TestAFaultForOneCertificateSparesTheOthers(t *testing.T) {
	v := start(t)
	a, b := v.order(t, "a.example.com"), v.order(t, "b.example.com")
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointGet, Kind: simulator.FaultStatus, Status: 404, ID: b.ID})
	v.get(t, a.ID)
	if _, err := v.client.Certificate(t.Context(), b.ID); regfish.KindOf(err) != regfish.KindNotFound {
		t.Errorf("error is %v", err)
	}
	v.get(t, b.ID)
}

func TestFaultsThatCouldNeverStrikeAreRefused(t *testing.T) {
	for name, f := range map[string]simulator.Fault{
		"an unknown endpoint":                       {Endpoint: "GET /", Kind: simulator.FaultDrop},
		"no endpoint":                               {Kind: simulator.FaultDrop},
		"an unknown kind":                           {Endpoint: simulator.EndpointOrder, Kind: "drop"},
		"no kind":                                   {Endpoint: simulator.EndpointOrder},
		"a delivery fault on an order":              {Endpoint: simulator.EndpointOrder, Kind: simulator.FaultWrongKey},
		"a list fault on a get":                     {Endpoint: simulator.EndpointGet, Kind: simulator.FaultListLag, Delay: 1},
		"a product fault on an order":               {Endpoint: simulator.EndpointOrder, Kind: simulator.FaultTypeInCapitals},
		"an organization fault on DNS":              {Endpoint: simulator.EndpointRecords, Kind: simulator.FaultOrganizationValidated},
		"a certificate fault on organizations":      {Endpoint: simulator.EndpointOrganizations, Kind: simulator.FaultNoCompletionURL},
		"a certificate fault on a list of products": {Endpoint: simulator.EndpointProducts, Kind: simulator.FaultNoCompletionURL},
		"an order fault on a get":                   {Endpoint: simulator.EndpointGet, Kind: simulator.FaultApexAdded},
		"slow without a delay":                      {Endpoint: simulator.EndpointGet, Kind: simulator.FaultSlow},
		"lag without a delay":                       {Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag},
		"a status that is none":                     {Endpoint: simulator.EndpointGet, Kind: simulator.FaultStatus, Status: 42},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted: a test with it would pass without having tested anything")
				}
			}()
			start(t).InjectFault(f)
		})
	}
}

func TestRewritings(t *testing.T) {
	tests := map[string]struct {
		kind  simulator.FaultKind
		check func(regfish.Certificate) bool
	}{
		"the product in capitals": {simulator.FaultProductSpelling, func(c regfish.Certificate) bool { return c.Product == "RAPIDSSL" }},
		"the common name among the rest": {simulator.FaultCommonNameRepeated, func(c regfish.Certificate) bool {
			return slices.Equal(c.DNSNames, []string{"example.com", "api.example.com"})
		}},
		"no trailing dots": {simulator.FaultNoTrailingDots, func(c regfish.Certificate) bool {
			r := c.Validation.DNSRecords[0]
			return r.Name == "_dnsauth.example.com" && strings.HasSuffix(r.Value, ".dcv.digicert.com")
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			for _, e := range []simulator.Endpoint{simulator.EndpointOrder, simulator.EndpointGet, simulator.EndpointList} {
				v.InjectFault(simulator.Fault{Endpoint: e, Kind: tc.kind})
			}
			cert := v.order(t, "example.com", "api.example.com")
			for where, got := range map[string]regfish.Certificate{"ordered": cert, "read": v.get(t, cert.ID), "listed": v.list(t)[0]} {
				if !tc.check(got) {
					t.Errorf("%s: %+v %+v", where, got, got.Validation)
				}
			}
			if got := v.get(t, cert.ID); tc.check(got) {
				t.Errorf("it stays after the fault: %+v", got)
			}
			v.publish(cert)
			if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
				t.Errorf("status is %s: what is rewritten means the same", got.Status)
			}
		})
	}
}

func TestRewritingsOfOVOrders(t *testing.T) {
	const url = "https://console.example.com/my/certs/ID/complete"
	const message = "Organization or contact details are needed before the TLS certificate order can be submitted."
	// What the vendor says of one order while it is staged, after it was
	// completed and when it is issued.
	type answer struct{ staged, completed, issued string }
	asUsual := answer{
		staged:    `"pending_reason":"organization_required","pending_message":"` + message + `","completion_url":"` + url + `","organization_id":null,`,
		completed: `"completion_url":"","organization_id":"hdl_3F6NX8RB5WQ2C","organization":{"id":"hdl_3F6NX8RB5WQ2C","name":"Example Research GmbH","status":"ready","usable_for_ordering":true},`,
		issued:    `"pending_reason":"","pending_message":"","completion_url":"","organization_id":"hdl_3F6NX8RB5WQ2C",`,
	}
	rewritten := func(change func(*answer)) answer {
		a := asUsual
		change(&a)
		return a
	}
	tests := map[string]struct {
		reason string
		kind   simulator.FaultKind
		want   answer
	}{
		"nothing": {"This is what is rewritten.", "", asUsual},
		"a number for the organization's id": {"Older answers have one.", simulator.FaultOrganizationIDNumber, rewritten(func(a *answer) {
			a.completed = strings.ReplaceAll(a.completed, `"hdl_3F6NX8RB5WQ2C"`, "42")
			a.issued = strings.ReplaceAll(a.issued, `"hdl_3F6NX8RB5WQ2C"`, "42")
		})},
		"another word for ready": {"The vendor's fixture has it.", simulator.FaultOrganizationValidated, rewritten(func(a *answer) {
			a.completed = strings.Replace(a.completed, `"ready"`, `"validated"`, 1)
		})},
		"no reason": {"The vendor's fixture has none.", simulator.FaultNoPendingReason, rewritten(func(a *answer) {
			a.staged = `"action_required":true,"pending_message":"` + message + `","completion_url":"` + url + `",`
			a.issued = `"action_required":false,"pending_message":"","completion_url":"",`
		})},
		"an empty page": {"It is empty when it is not needed; it may be empty when it is.", simulator.FaultEmptyCompletionURL, rewritten(func(a *answer) {
			a.staged = strings.Replace(a.staged, url, "", 1)
		})},
		"no page": {"It may be absent.", simulator.FaultNoCompletionURL, rewritten(func(a *answer) {
			a.staged = `"pending_message":"` + message + `","organization_id":null,`
			a.completed = `"pending_message":"The TLS certificate order is waiting for domain validation.","organization_id":`
			a.issued = `"pending_message":"","organization_id":`
		})},
		"no trailing dots": {"There is nothing yet that could have one.", simulator.FaultNoTrailingDots, rewritten(func(a *answer) {
			a.completed = `"dns_records":[{"name":"_dnsauth.example.com","type":"CNAME","value":`
		})},
		"words that were left behind": {"The vendor's fixture of an issued certificate has them.", simulator.FaultPendingLeft, rewritten(func(a *answer) {
			a.issued = `"status":"issued","common_name":"www.example.com","product":"SecureSite","provider":"digicert","dns_names":[],"order_state":"ISSUED","action_required":false,` +
				`"pending_reason":"organization_required","pending_message":"` + message + `","completion_url":"` + url + `",`
		})},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t, func(o *simulator.Options) { o.ConsoleURL, o.ValidationLag = "https://console.example.com", -1 })
			if tc.kind != "" {
				for _, e := range []simulator.Endpoint{simulator.EndpointOrder, simulator.EndpointGet, simulator.EndpointList} {
					v.InjectFault(simulator.Fault{Endpoint: e, Kind: tc.kind, Times: -1})
				}
			}
			_, _, text := v.post(t, requestOV(t, "SecureSite", simulator.OrganizationIncomplete, "www.example.com"))
			id := v.Purchases()[0].ID
			expect := func(where, text, want string) {
				t.Helper()
				if want = strings.ReplaceAll(want, "ID", id); !strings.Contains(text, want) {
					t.Errorf("%s: %s, want in it %s. %s", where, text, want, tc.reason)
				}
			}
			expectReads := func(want string) {
				t.Helper()
				_, _, text := v.call(t, simulator.DefaultKey, http.MethodGet, "/tls/certificate/"+id, "")
				expect("read", text, want)
				_, _, text = v.call(t, simulator.DefaultKey, http.MethodGet, "/tls/certificate", "")
				expect("listed", text, want)
			}
			expect("ordered", text, tc.want.staged)
			expectReads(tc.want.staged)
			if err := v.Complete(id); err != nil {
				t.Fatal(err)
			}
			expectReads(tc.want.completed)
			v.publish(v.get(t, id))
			expectReads(tc.want.issued)
			if got := v.get(t, id); got.Status != regfish.StatusIssued || got.ActionRequired || got.ID != id {
				t.Errorf("through the client: %+v: what is rewritten means the same", got)
			}
		})
	}
}

func TestApexAdded(t *testing.T) {
	for ordered, added := range map[string]string{"www.example.com": "example.com", "example.com": "www.example.com"} {
		v := start(t)
		v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultApexAdded})
		cert := v.order(t, ordered)
		if !slices.Equal(cert.DNSNames, []string{added}) {
			t.Errorf("%s was ordered, dns_names are %q", ordered, cert.DNSNames)
		}
		v.publish(cert)
		data, err := v.client.Download(t.Context(), cert.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(v.verify(t, data, ordered), v.verify(t, data, added)); err != nil {
			t.Errorf("%s was ordered: %v", ordered, err)
		}
	}
}

func TestListFaults(t *testing.T) {
	v := start(t)
	old := v.order(t, "old.example.com")
	v.clock.advance(time.Minute)
	recent := v.order(t, "recent.example.com")
	ids := func() []string {
		var ids []string
		for _, c := range v.list(t) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: time.Minute})
	if got := ids(); !slices.Equal(got, []string{old.ID}) {
		t.Errorf("a list that lags a minute has %q, want what is a minute old", got)
	}
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultFirstPageOnly, Rows: 1})
	if got := ids(); !slices.Equal(got, []string{recent.ID}) {
		t.Errorf("the first page has %q, want the newest", got)
	}
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultFirstPageOnly})
	if got := ids(); got != nil {
		t.Errorf("a page of no rows has %q", got)
	}
	if got := ids(); len(got) != 2 {
		t.Errorf("the whole list has %q", got)
	}
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultShortRows})
	if short := v.list(t)[0]; short.Validation != nil || short.ID != recent.ID {
		t.Errorf("a short row of %s is %+v", recent.ID, short)
	}
	if whole := v.list(t)[0]; whole.Validation == nil {
		t.Errorf("a whole row is %+v", whole)
	}
}

func TestDeliveryFaults(t *testing.T) {
	type delivery struct {
		data  []byte
		certs []*x509.Certificate
		err   error // of verifying
	}
	tests := map[simulator.FaultKind]func(t *testing.T, v *vendor, d delivery) bool{
		simulator.FaultWrongKey: func(_ *testing.T, _ *vendor, d delivery) bool {
			return d.err == nil && !leafKey.PublicKey.Equal(d.certs[0].PublicKey)
		},
		simulator.FaultWrongNames: func(_ *testing.T, _ *vendor, d delivery) bool {
			return d.err == nil && slices.Equal(d.certs[0].DNSNames, []string{"www.example.com"})
		},
		simulator.FaultForeignName: func(_ *testing.T, _ *vendor, d delivery) bool {
			return d.err == nil && slices.Equal(d.certs[0].DNSNames, []string{"www.example.com", "api.example.com", "foreign.example.net"})
		},
		simulator.FaultOldCertificate: func(_ *testing.T, v *vendor, d delivery) bool {
			return d.err == nil && v.clock.Now().Sub(d.certs[0].NotBefore) == 30*24*time.Hour
		},
		simulator.FaultExpired: func(_ *testing.T, v *vendor, d delivery) bool {
			return d.err != nil && v.clock.Now().After(d.certs[0].NotAfter)
		},
		simulator.FaultNotYetValid: func(_ *testing.T, v *vendor, d delivery) bool {
			return d.err != nil && d.certs[0].NotBefore.Sub(v.clock.Now()) == 24*time.Hour
		},
		simulator.FaultCALeaf: func(_ *testing.T, _ *vendor, d delivery) bool { return d.certs[0].IsCA },
		simulator.FaultSelfSigned: func(_ *testing.T, _ *vendor, d delivery) bool {
			return d.err != nil && len(d.certs) == 1 && bytes.Equal(d.certs[0].RawIssuer, d.certs[0].RawSubject) && leafKey.PublicKey.Equal(d.certs[0].PublicKey)
		},
		simulator.FaultBrokenChain: func(_ *testing.T, _ *vendor, d delivery) bool {
			return d.err != nil && len(d.certs) == 2 && bytes.Equal(d.certs[0].RawIssuer, d.certs[1].RawSubject) && d.certs[0].CheckSignatureFrom(d.certs[1]) != nil
		},
		simulator.FaultLeafOnly: func(_ *testing.T, _ *vendor, d delivery) bool { return d.err != nil && len(d.certs) == 1 },
		simulator.FaultLeafLast: func(_ *testing.T, _ *vendor, d delivery) bool {
			return len(d.certs) == 2 && d.certs[0].IsCA && !d.certs[1].IsCA
		},
		simulator.FaultWithRoot: func(t *testing.T, v *vendor, d delivery) bool {
			return d.err == nil && len(d.certs) == 3 && d.certs[2].Equal(chain(t, v.Root())[0])
		},
		simulator.FaultTruncated: func(_ *testing.T, _ *vendor, d delivery) bool {
			return len(d.certs) == 0 && bytes.HasPrefix(d.data, []byte("-----BEGIN CERTIFICATE-----\n")) && !bytes.Contains(d.data, []byte("END"))
		},
	}
	for kind, check := range tests {
		t.Run(string(kind), func(t *testing.T) {
			v := start(t)
			cert := v.order(t, "www.example.com", "api.example.com")
			v.publish(cert)
			v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: kind})
			data, err := v.client.Download(t.Context(), cert.ID)
			if err != nil {
				t.Fatal(err)
			}
			d := delivery{data: data, certs: chain(t, data)}
			if len(d.certs) > 0 {
				d.err = v.verify(t, data, "www.example.com")
			}
			if !check(t, v, d) {
				t.Errorf("%d certificates, the first for %q, verified: %v", len(d.certs), names(d.certs), d.err)
			}
			good, err := v.client.Download(t.Context(), cert.ID)
			if err != nil || v.verify(t, good, "www.example.com") != nil {
				t.Errorf("the next delivery is bad, too: %v", err)
			}
		})
	}
}

func names(certs []*x509.Certificate) []string {
	if len(certs) == 0 {
		return nil
	}
	return certs[0].DNSNames
}

func TestAWrongNameTakesThePlaceOfTheOnlyOne(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	v.publish(cert)
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: simulator.FaultWrongNames})
	data, err := v.client.Download(t.Context(), cert.ID)
	if err != nil || !slices.Equal(names(chain(t, data)), []string{"other.example.com"}) {
		t.Errorf("names are %q, %v", names(chain(t, data)), err)
	}
}

func TestDeliveriesThatTheClientRefuses(t *testing.T) {
	for kind, want := range map[simulator.FaultKind]regfish.Kind{
		simulator.FaultHuge: regfish.KindUnreadable, simulator.FaultHTML: regfish.KindUnreadable, simulator.FaultGarbage: regfish.KindUnreadable,
		simulator.FaultNotReady: regfish.KindConflict, simulator.FaultStatus: regfish.KindUnavailable, simulator.FaultDrop: regfish.KindTransport,
	} {
		t.Run(string(kind), func(t *testing.T) {
			v := start(t)
			cert := v.order(t, "www.example.com")
			v.publish(cert)
			v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: kind})
			if _, err := v.client.Download(t.Context(), cert.ID); regfish.KindOf(err) != want {
				t.Errorf("error is %v, want kind %d", err, want)
			}
		})
	}
}

func TestFaultMessage(t *testing.T) {
	v := start(t)
	v.InjectFault(simulator.Fault{Endpoint: simulator.EndpointProducts, Kind: simulator.FaultStatus, Status: 403, Message: "This key may only read"})
	_, err := v.client.Products(t.Context())
	var e *regfish.Error
	if !errors.As(err, &e) || e.Message != "This key may only read" || e.Kind != regfish.KindForbidden {
		t.Errorf("error is %v", err)
	}
}

func TestFaultAsJSON(t *testing.T) {
	f := simulator.Fault{
		Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, ID: "A", Times: 2, AfterCommit: true, Status: 500, Bare: true,
		Message: "m", RetryAfter: "1", Rows: 3, Delay: 90 * time.Second,
	}
	encoded, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(encoded), `"delay":"1m30s"`) {
		t.Fatalf("encoded as %s, %v", encoded, err)
	}
	var again simulator.Fault
	if err := json.Unmarshal(encoded, &again); err != nil || again != f {
		t.Errorf("decoded as %+v, %v", again, err)
	}
	for _, bad := range []string{`{"Endpont":"GET /tls/products"}`, `{"delay":"soon"}`, `{"delay":5}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &again); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	v := start(t)
	plan := func(body string) (int, string) {
		status, _, text := v.call(t, "", http.MethodPost, "/_simulator/faults", body)
		return status, text
	}
	if status, text := plan(`{"endpoint":"POST /tls/certificate","kind":"Drop","afterCommit":true}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if _, _, text := v.call(t, "", http.MethodGet, "/_simulator/faults", ""); text != `[{"endpoint":"POST /tls/certificate","kind":"Drop","times":1,"afterCommit":true}]` {
		t.Errorf("faults are %s", text)
	}
	if got := v.client.Order(t.Context(), request(t, "www.example.com"), yes); got.Outcome != regfish.Unknown {
		t.Errorf("outcome is %v", got.Outcome)
	}
	for _, bad := range []string{`{"endpoint":"POST /tls/certificate","kind":"drop"}`, `{"kind":"Drop","endpoint":"x"}`, `{`, `{"x":1}`} {
		if status, _ := plan(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", bad, status)
		}
	}
	if status, _ := plan(`{"endpoint":"GET /tls/products","kind":"Hang","times":-1}`); status != http.StatusOK {
		t.Errorf("status is %d", status)
	}
	if status, _, _ := v.call(t, "", http.MethodDelete, "/_simulator/faults", ""); status != http.StatusOK || len(v.Faults()) != 0 {
		t.Errorf("%d, faults are %v", status, v.Faults())
	}
}

func TestPagesForPeople(t *testing.T) {
	v := start(t)
	page := func(path string) string {
		status, _, text := v.call(t, "", http.MethodGet, "/_simulator/"+path, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return text
	}
	for _, path := range []string{"purchases", "faults", "records"} {
		if got := page(path); got != "[]" {
			t.Errorf("%s of a new simulator is %s", path, got)
		}
	}
	cert := v.order(t, "www.example.com")
	r := cert.Validation.DNSRecords[0]
	var purchases []simulator.Purchase
	if err := json.Unmarshal([]byte(page("purchases")), &purchases); err != nil || fmt.Sprint(purchases) != fmt.Sprint(v.Purchases()) {
		t.Errorf("purchases are %+v, %v", purchases, err)
	}
	if got := page("calls"); got != `{"POST /tls/certificate":1}` {
		t.Errorf("calls are %s", got)
	}
	if page("ca.pem") != string(v.ServerCA()) || page("root.pem") != string(v.Root()) {
		t.Error("the CAs are others")
	}

	record := fmt.Sprintf(`{"name":%q,"type":%q,"data":%q}`, r.Name, r.Type, r.Value)
	if status, _, text := v.call(t, "", http.MethodPost, "/_simulator/records", record); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
	if got := page("records"); !strings.Contains(got, r.Value) {
		t.Errorf("records are %s", got)
	}
	if status, _, _ := v.call(t, "", http.MethodPost, "/_simulator/records", `{"name":"a.example.com"}`); status != http.StatusBadRequest {
		t.Errorf("an incomplete record: %d", status)
	}
	if status, _, _ := v.call(t, "", http.MethodPost, "/_simulator/records", `{"name":"a.example.com","type":"TXT","data":"x","content":"y"}`); status != http.StatusBadRequest {
		t.Errorf("a record with a misspelt field: %d", status)
	}
	if status, _, _ := v.call(t, "", http.MethodDelete, "/_simulator/records", `{`); status != http.StatusBadRequest {
		t.Errorf("broken JSON: %d", status)
	}
	if status, _, _ := v.call(t, "", http.MethodDelete, "/_simulator/records", record); status != http.StatusOK || len(v.Records()) != 0 {
		t.Errorf("%d, records are %v", status, v.Records())
	}
}

func TestOrganizationsOverHTTP(t *testing.T) {
	v := start(t)
	add := func(body string) int {
		status, _, _ := v.call(t, "", http.MethodPost, "/_simulator/organizations", body)
		return status
	}
	if status := add(`{"id":"hdl_1","name":"Example AG","status":"ready","usable":true,"incomplete":true}`); status != http.StatusOK {
		t.Fatalf("status is %d", status)
	}
	if cert := v.client.Order(t.Context(), requestOV(t, "SecureSite", "hdl_1", "www.example.com"), yes).Certificate; !cert.ActionRequired {
		t.Errorf("ordered %+v, want it to wait for somebody", cert)
	}
	for _, bad := range []string{`{"id":"hdl_2"}`, `{"id":"hdl_2","name":"x","usable_for_ordering":true}`, `{`} {
		if status := add(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", bad, status)
		}
	}
}

func TestNothingOfACustomerIsLogged(t *testing.T) {
	var log bytes.Buffer
	v := start(t, func(o *simulator.Options) { o.Log = newLog(&log) })
	v.publish(v.order(t, "www.example.com"))
	if err := v.clientWith(t, "canary-key-of-a-stranger").Certificates(t.Context(), nil); err == nil {
		t.Error("a stranger lists certificates")
	}
	if err := v.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "sold") || !strings.Contains(text, "issued") || strings.Contains(text, simulator.DefaultKey) || strings.Contains(text, "canary") {
		t.Errorf("log is %s", text)
	}
}
