// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// forOrganization makes an issuer of organization-validated certificates.
func forOrganization(id string) func(*v1alpha1.IssuerSpec) {
	return func(s *v1alpha1.IssuerSpec) { s.SKU, s.OrganizationID = "securesite", id }
}

// person completes an order on the page at the address, as a browser does.
func (w *world) person(page string) {
	w.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.vendor.ServerCA())
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer browser.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		req, err := http.NewRequestWithContext(ctx, method, page, strings.NewReader(url.Values{}.Encode()))
		if err != nil {
			w.t.Fatal(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			w.t.Fatalf("%s %s: %s", method, page, resp.Status)
		}
	}
}

// TestOrderThatAPersonCompletes: a person is asked to act, on every object that is
// watched, with the page at which they can; afterwards everything goes on by itself.
func TestOrderThatAPersonCompletes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		vendor simulator.Options
		spec   func(*v1alpha1.IssuerSpec)
		faults []simulator.Fault
		reason string
	}{
		{name: "the organization has to be completed", spec: forOrganization(simulator.OrganizationIncomplete), reason: "OrganizationRequired"},
		{
			name: "no organization was named, and the catalogue does not ask for one", vendor: simulator.Options{MissingOrganization: simulator.Stage}, spec: forOrganization(""), reason: "OrganizationRequired",
			faults: []simulator.Fault{{Endpoint: simulator.EndpointProducts, Kind: simulator.FaultNoOrganizationRequired}},
		},
		{
			name: "regfish does not say why", spec: forOrganization(simulator.OrganizationIncomplete), reason: v1alpha1.ReasonCompletionRequired,
			faults: []simulator.Fault{{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultNoPendingReason}, {Endpoint: simulator.EndpointGet, Kind: simulator.FaultNoPendingReason}},
		},
		{
			name: "what regfish has written in other places it writes here", spec: forOrganization(simulator.OrganizationIncomplete), reason: "OrganizationRequired",
			faults: []simulator.Fault{
				{Endpoint: simulator.EndpointProducts, Kind: simulator.FaultTypeInCapitals}, {Endpoint: simulator.EndpointProducts, Kind: simulator.FaultNoValidationLevel},
				{Endpoint: simulator.EndpointOrganizations, Kind: simulator.FaultOrganizationValidated},
				{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultProductSpelling}, {Endpoint: simulator.EndpointGet, Kind: simulator.FaultProductSpelling},
				{Endpoint: simulator.EndpointGet, Kind: simulator.FaultOrganizationIDNumber}, {Endpoint: simulator.EndpointGet, Kind: simulator.FaultPendingLeft},
				{Endpoint: simulator.EndpointList, Kind: simulator.FaultOrganizationIDNumber},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorldOf(t, tc.vendor, tc.spec)
			for _, f := range tc.faults {
				f.Times = -1
				w.vendor.InjectFault(f)
			}
			w.run()
			w.automateDNS()
			cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
			o := w.order("www", "asks for a person", inState(v1alpha1.StateActionRequired))
			if got := stands(o, v1alpha1.ConditionActionRequired); got != "True/"+tc.reason {
				t.Errorf("ActionRequired is %s, want True/%s", got, tc.reason)
			}
			if page := o.Status.CompletionURL; page == "" || !strings.Contains(o.Status.Message, page) || !strings.HasPrefix(page, w.url+"/") {
				t.Errorf("the order shows the page %q and says %q", page, o.Status.Message)
			}
			if p := w.purchaseOf(o); p.Status.CompletionURL != o.Status.CompletionURL || p.Status.State != v1alpha1.StateActionRequired || p.Spec.SKU != "SecureSite" {
				t.Errorf("the purchase shows the page %q, state %s, product %s", p.Status.CompletionURL, p.Status.State, p.Spec.SKU)
			}
			w.eventually("the request asks for a person", func() error {
				if err := w.get(cr); err != nil {
					return err
				}
				c := apiutil.GetCertificateRequestCondition(cr, v1alpha1.ConditionActionRequired)
				if c == nil || string(c.Status) != "True" || c.Reason != tc.reason || !strings.Contains(c.Message, o.Status.CompletionURL) || !strings.Contains(readyMessage(cr), o.Status.CompletionURL) {
					return fmt.Errorf("conditions %+v", cr.Status.Conditions)
				}
				return nil
			})
			w.answered(cr, cmapi.CertificateRequestReasonPending)

			w.person(o.Status.CompletionURL)
			w.answered(cr, cmapi.CertificateRequestReasonIssued)
			w.verify(cr.Status.Certificate, "www.example.com")
			o = w.order("www", "is issued", inState(v1alpha1.StateIssued))
			if got := stands(o, v1alpha1.ConditionActionRequired); got != "False/Completed" || o.Status.CompletionURL != "" {
				t.Errorf("ActionRequired is %s, the page %q", got, o.Status.CompletionURL)
			}
			w.eventually("the request says that a person acted", func() error {
				if err := w.get(cr); err != nil {
					return err
				}
				if c := apiutil.GetCertificateRequestCondition(cr, v1alpha1.ConditionActionRequired); c == nil || string(c.Status) != "False" || c.Reason != v1alpha1.ReasonCompleted {
					return fmt.Errorf("ActionRequired is %+v", c)
				}
				return nil
			})
			w.bought(1)
		})
	}
}

// TestOrderOfACompleteOrganization: nobody has to act, and a wait of days says for what.
func TestOrderOfACompleteOrganization(t *testing.T) {
	w := newWorld(t, forOrganization(simulator.OrganizationReady))
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	o := w.order("www", "is validating", inState(v1alpha1.StateValidating))
	if p := w.purchaseOf(o); p.Spec.OrganizationID != simulator.OrganizationReady || !strings.Contains(p.Status.Message, "until the certificate authority has checked the organization") {
		t.Errorf("the purchase is for %q and says %q", p.Spec.OrganizationID, p.Status.Message)
	}
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	if c := apiutil.GetCertificateRequestCondition(cr, v1alpha1.ConditionActionRequired); c != nil {
		t.Errorf("nobody had to act, and the request says %+v", c)
	}
	if got := w.vendor.Purchases()[0].OrganizationID; got != simulator.OrganizationReady {
		t.Errorf("ordered for %q", got)
	}
	w.bought(1)
}

// TestIssuerWithoutItsOrganization: what can be known before an order is not left to the
// vendor to refuse, and it is the issuer's owner who is told, with what can be chosen.
func TestIssuerWithoutItsOrganization(t *testing.T) {
	w := newWorld(t, forOrganization(""))
	w.run()
	w.automateDNS()
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	c := w.issuerSays(issuer, v1alpha1.ReasonOrganizationRequired)
	for _, words := range []string{"spec.sku SecureSite", "spec.organizationID", simulator.OrganizationReady + " (Example GmbH)"} {
		if !strings.Contains(c.Message, words) {
			t.Errorf("%q does not say %q", c.Message, words)
		}
	}
	if strings.Contains(c.Message, simulator.OrganizationUnusable) {
		t.Errorf("%q offers an organization that cannot be used", c.Message)
	}
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "waits for the issuer", func(o *v1alpha1.RegfishOrder) bool {
		return placed(v1alpha1.ReasonIssuerNotReady)(o) && strings.Contains(o.Status.Message, simulator.OrganizationReady)
	})
	w.edit(func(s *v1alpha1.IssuerSpec) { s.OrganizationID = "hdl_other" })
	w.eventually("the issuer says that the account does not have it", func() error {
		if c := w.issuerSays(issuer, v1alpha1.ReasonOrganizationRequired); !strings.Contains(c.Message, "hdl_other is no organization of this account") {
			return fmt.Errorf("says %q", c.Message)
		}
		return nil
	})
	w.answered(cr, cmapi.CertificateRequestReasonPending)
	w.bought(0)
	w.edit(func(s *v1alpha1.IssuerSpec) { s.OrganizationID = simulator.OrganizationReady })
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestWildcard: a wildcard is another product, which the issuer's owner has to choose.
func TestWildcard(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.automateDNS()
	w.issuersReady()
	cr := w.request("any", testenv.WithECDSA(), testenv.WithDNSNames("*.example.com", "example.com"))
	w.order("any", "waits for a product", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateQueued && placed(v1alpha1.ReasonWildcardSKURequired)(o) && strings.Contains(o.Status.Message, "spec.wildcardSKU") && strings.Contains(o.Status.Message, "*.example.com")
	})
	w.answered(cr, cmapi.CertificateRequestReasonPending)
	w.bought(0)
	w.edit(func(s *v1alpha1.IssuerSpec) { s.WildcardSKU = "rapidsslwildcard" })
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.verify(cr.Status.Certificate, "any.example.com", "example.com")
	if p := w.vendor.Purchases()[0]; p.SKU != "RapidSSLWildcard" || p.CommonName != "*.example.com" {
		t.Errorf("ordered %+v", p)
	}
	// The issuer's other requests are served as before.
	w.answered(w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.net")), cmapi.CertificateRequestReasonIssued)
	if p := w.vendor.Purchases()[1]; p.SKU != "RapidSSL" {
		t.Errorf("ordered %+v", p)
	}
	w.bought(2)
}

// TestValidationByMail: the order shows who has to read their mail.
func TestValidationByMail(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.IssuerSpec) {
		s.DCV = v1alpha1.DCV{Method: v1alpha1.DCVMethodEmail, Emails: []string{"hostmaster@example.com"}}
	})
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	o := w.order("www", "waits for a mail to be answered", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateValidating && stands(o, v1alpha1.ConditionValidationPublished) == "False/AwaitingEmail"
	})
	if d := o.Status.DCV; d == nil || d.Method != v1alpha1.DCVMethodEmail || len(d.Emails) != 1 || d.Emails[0] != "hostmaster@example.com" || len(d.Records) != 0 || !strings.Contains(o.Status.Message, "hostmaster@example.com") {
		t.Errorf("the order shows %+v and says %q", d, o.Status.Message)
	}
	w.answered(cr, cmapi.CertificateRequestReasonPending)
	if err := w.vendor.ConfirmEmail(o.Status.PurchaseRef.CertificateID); err != nil {
		t.Fatal(err)
	}
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestPageOfAnotherHost: people log in at the page that they are shown.
func TestPageOfAnotherHost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		hosts []string
		shown bool
	}{
		{"it is withheld", nil, false},
		{"it is shown where whoever runs the controller named the host", []string{"console.example"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorldOf(t, simulator.Options{ConsoleURL: "https://console.example"}, forOrganization(simulator.OrganizationIncomplete))
			w.run(func(o *operator.Options) { o.ConsoleHosts = tc.hosts })
			w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
			o := w.order("www", "asks for a person", inState(v1alpha1.StateActionRequired))
			if shown := strings.Contains(o.Status.Message, "https://console.example/"); shown != tc.shown || (o.Status.CompletionURL != "") != tc.shown || strings.Contains(o.Status.Message, "is withheld") == tc.shown {
				t.Errorf("the page is %q, the message %q", o.Status.CompletionURL, o.Status.Message)
			}
		})
	}
}

// TestEveryStatusOfAPlacedOrder: what the vendor says of an order that is paid decides
// whether its request fails, waits or is issued, and nothing else is ever bought for it.
func TestEveryStatusOfAPlacedOrder(t *testing.T) {
	const pending, failed, issued = cmapi.CertificateRequestReasonPending, cmapi.CertificateRequestReasonFailed, cmapi.CertificateRequestReasonIssued
	w := newWorld(t)
	w.run()
	w.issuersReady()
	for i, tc := range []struct {
		state   simulator.State
		want    v1alpha1.State
		request string
		says    string
	}{
		{simulator.State{Status: "cancelled", PendingMessage: "cancelled by \x1b[31mthe customer"}, v1alpha1.StateFailed, failed, "was cancelled: cancelled by [31mthe customer"},
		{simulator.State{Status: "order_cancelled"}, v1alpha1.StateFailed, failed, "was cancelled"},
		{simulator.State{Status: "rejected", PendingMessage: strings.Repeat("no ", 1000)}, v1alpha1.StateFailed, failed, "was rejected: no no"},
		{simulator.State{Status: "expired"}, v1alpha1.StateFailed, failed, "has expired"},
		{simulator.State{Status: "unknown"}, v1alpha1.StateValidating, pending, `status "unknown", which this version does not know; it goes on asking`},
		{simulator.State{Status: "in_limbo"}, v1alpha1.StateValidating, pending, `status "in_limbo"`},
		{simulator.State{OrderState: "PENDING_APPROVAL"}, v1alpha1.StateValidating, pending, "until the certificate authority has checked the organization"},
		{simulator.State{OrderState: "NEVER_SEEN", PendingReason: "never_seen", PendingMessage: "never seen"}, v1alpha1.StateValidating, pending, "are seen in DNS"},
		{simulator.State{Status: "issued"}, v1alpha1.StateIssued, issued, ""},
	} {
		t.Run(fmt.Sprintf("%s%s", tc.state.Status, tc.state.OrderState), func(t *testing.T) {
			w := w.in(t)
			name := fmt.Sprintf("status-%d", i)
			cr := w.request(name, testenv.WithECDSA(), testenv.WithDNSNames(fmt.Sprintf("status%d.example", i)))
			o := w.order(name, "is placed", inState(v1alpha1.StateValidating))
			if err := w.vendor.SetState(o.Status.PurchaseRef.CertificateID, tc.state); err != nil {
				t.Fatal(err)
			}
			w.eventually("the purchase says so", func() error {
				p := w.purchaseOf(o)
				if p.Status.State != tc.want || !strings.Contains(p.Status.Message, tc.says) {
					return fmt.Errorf("state %s: %s", p.Status.State, p.Status.Message)
				}
				return nil
			})
			w.answered(cr, tc.request)
			if tc.request == failed && (cr.Status.FailureTime == nil || !strings.Contains(readyMessage(cr), tc.says) || apiutil.CertificateRequestHasInvalidRequest(cr)) {
				t.Errorf("the request says %q, failed at %v", readyMessage(cr), cr.Status.FailureTime)
			}
			if tc.request == pending {
				// It ends all the same once the vendor says something that ends it.
				if err := w.vendor.SetState(o.Status.PurchaseRef.CertificateID, simulator.State{Status: "issued"}); err != nil {
					t.Fatal(err)
				}
				w.answered(cr, issued)
			}
		})
	}
	w.bought(9)
}

// TestOrderThatNobodyCompletes: regfish ends it some day, and the request fails with that;
// nothing is bought in its place before a person decides.
func TestOrderThatNobodyCompletes(t *testing.T) {
	clock := make(chan time.Time, 1)
	clock <- time.Now()
	now := func() time.Time {
		t := <-clock
		clock <- t
		return t
	}
	w := newWorldOf(t, simulator.Options{Now: now, OrderLifetime: 30 * 24 * time.Hour}, forOrganization(simulator.OrganizationIncomplete))
	w.run()
	owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com"))
	w.create(owner)
	mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.OwnedBy(owner)}
	cr := w.request("www-1", append(mods, testenv.WithECDSA())...)
	w.order("www-1", "asks for a person", inState(v1alpha1.StateActionRequired))
	clock <- (<-clock).Add(31 * 24 * time.Hour)
	w.answered(cr, cmapi.CertificateRequestReasonFailed)
	if c := meta.FindStatusCondition(w.order("www-1", "is failed", inState(v1alpha1.StateFailed)).Status.Conditions, v1alpha1.ConditionActionRequired); c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("somebody is asked to complete what is over: %+v", c)
	}
	w.request("www-2", append(mods, testenv.WithECDSA())...)
	w.order("www-2", "is held", heldFor(v1alpha1.ReasonPreviousOrderFailed))
	w.bought(1)
}
