// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// lasting is a world with two orders that wait for long: "validating", made with the
// RegfishIssuer, until a record is in DNS, and "staged", made with the
// RegfishClusterIssuer, until a person completes it at the vendor.
type lasting struct {
	*world
	waits map[string]*wait
}

// wait is one of the two.
type wait struct {
	name  string // of the Certificate; the request is name-1
	host  string
	mods  []testenv.Mod
	key   *ecdsa.PrivateKey
	state v1alpha1.State // in which the order waits
	owner *cmapi.Certificate
	cr    *cmapi.CertificateRequest
	id    string // at the vendor
}

func newLasting(t *testing.T) *lasting {
	t.Helper()
	l := &lasting{world: newWorld(t)}
	l.edit(forOrganization(simulator.OrganizationIncomplete))
	l.waits = map[string]*wait{
		"validating": {
			name: "validating", host: "www.example.com", state: v1alpha1.StateValidating,
			mods: []testenv.Mod{testenv.WithIssuer(v1alpha1.KindIssuer, issuerName), testenv.WithDNSNames("www.example.com"), testenv.WithECDSA()},
		},
		"staged": {
			name: "staged", host: "www.example.org", state: v1alpha1.StateActionRequired,
			mods: []testenv.Mod{testenv.WithIssuer(v1alpha1.KindClusterIssuer, l.cluster), testenv.WithDNSNames("www.example.org"), testenv.WithECDSA()},
		},
	}
	// However a test went on: what is paid for is no failure of the request.
	t.Cleanup(l.noneFailed)
	return l
}

func (l *lasting) noneFailed() {
	l.t.Helper()
	var list cmapi.CertificateRequestList
	if err := l.Client.List(context.Background(), &list, client.InNamespace(l.Namespace)); err != nil {
		l.t.Error(err)
	}
	for i := range list.Items {
		if cr := &list.Items[i]; apiutil.CertificateRequestReadyReason(cr) == cmapi.CertificateRequestReasonFailed {
			l.t.Errorf("request %s failed although what was bought for it lives: %s", cr.Name, readyMessage(cr))
		}
	}
}

// ask creates the request of a wait as cert-manager would.
func (l *lasting) ask(w *wait, name string, mods ...testenv.Mod) *cmapi.CertificateRequest {
	l.t.Helper()
	return l.request(name, append(append([]testenv.Mod{testenv.OwnedBy(w.owner)}, w.mods...), mods...)...)
}

// begin makes the Certificates and the requests of both and returns when their orders
// wait.
func (l *lasting) begin() {
	l.t.Helper()
	l.askBoth()
	l.waiting("waits")
}

func (l *lasting) askBoth() {
	l.t.Helper()
	for _, w := range l.waits {
		w.key = testenv.ECDSAKey(l.t)
		w.owner = testenv.Certificate(l.Namespace, w.name, w.mods...)
		l.create(w.owner)
		w.cr = l.ask(w, w.name+"-1", testenv.WithKey(w.key))
	}
}

// beginWithCertManager is begin where cert-manager makes the requests.
func (l *lasting) beginWithCertManager(mods ...testenv.Mod) {
	l.t.Helper()
	for _, w := range l.waits {
		w.owner = testenv.Certificate(l.Namespace, w.name, append(w.mods, mods...)...)
		l.create(w.owner)
		w.cr = &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: w.name + "-1"}}
	}
	l.waiting("waits")
}

// waiting waits until both orders wait for the purchase that they always waited for, and
// show all that somebody needs to end the wait.
func (l *lasting) waiting(what string) {
	l.t.Helper()
	for _, w := range l.waits {
		o := l.order(w.name+"-1", what, func(o *v1alpha1.RegfishOrder) bool {
			shown := o.Status.DCV != nil && len(o.Status.DCV.Records) == 1
			if w.state == v1alpha1.StateActionRequired {
				shown = o.Status.CompletionURL != ""
			}
			return o.Status.State == w.state && o.Status.PurchaseRef != nil && o.Status.PurchaseRef.CertificateID != "" && shown
		})
		if w.id == "" {
			w.id = o.Status.PurchaseRef.CertificateID
		}
		if got := o.Status.PurchaseRef.CertificateID; got != w.id {
			l.t.Errorf("%s: order %s waits for %s, and waited for %s before", what, o.Name, got, w.id)
		}
		if err := l.get(w.cr); err != nil {
			l.t.Fatal(err)
		}
		l.answered(w.cr, cmapi.CertificateRequestReasonPending)
	}
}

// purchaseSays waits until the record of what was bought says something.
func (l *lasting) purchaseSays(w *wait, words string) *v1alpha1.RegfishPurchase {
	l.t.Helper()
	var p *v1alpha1.RegfishPurchase
	l.eventually(fmt.Sprintf("the purchase of %s says %q", w.name, words), func() error {
		if p = l.purchaseOfID(w.id); !strings.Contains(p.Status.Message, words) {
			return fmt.Errorf("it is %s: %s", p.Status.State, p.Status.Message)
		}
		return nil
	})
	return p
}

// purchaseOfID returns the record of what the vendor gave the id.
func (l *lasting) purchaseOfID(id string) *v1alpha1.RegfishPurchase {
	l.t.Helper()
	for _, p := range l.purchases() {
		if p.Spec.CertificateID == id {
			return &p
		}
	}
	l.t.Fatalf("the ledger lacks %q", id)
	return nil
}

// act does what is waited for: DNS automation at the one, a person at the other.
func (l *lasting) act() {
	l.t.Helper()
	l.automateDNS()
	if err := l.vendor.Complete(l.waits["staged"].id); err != nil {
		l.t.Fatal(err)
	}
}

// finish does what is waited for and checks that both requests get what was bought for
// them at first, and that nothing else was ever bought.
func (l *lasting) finish() {
	l.t.Helper()
	l.act()
	for _, w := range l.waits {
		l.answered(w.cr, cmapi.CertificateRequestReasonIssued)
		l.verify(w.cr.Status.Certificate, w.host)
		o := l.order(w.cr.Name, "is issued", inState(v1alpha1.StateIssued))
		if got := o.Status.PurchaseRef.CertificateID; got != w.id {
			l.t.Errorf("request %s was given %s, and %s was bought for it", w.cr.Name, got, w.id)
		}
	}
	l.bought(2)
}

// editBoth changes both issuers, each in one write.
func (l *lasting) editBoth(change func(v1alpha1.Issuer, *v1alpha1.IssuerSpec)) {
	l.t.Helper()
	for _, i := range l.both() {
		if err := l.get(i); err != nil {
			l.t.Fatal(err)
		}
		before := i.DeepCopyObject().(client.Object)
		change(i, i.GetSpec())
		if err := l.Client.Patch(l.t.Context(), i, client.MergeFrom(before)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// anIssuer is one of either kind.
type anIssuer interface {
	client.Object
	v1alpha1.Issuer
}

func (l *lasting) both() []anIssuer {
	return []anIssuer{
		&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: issuerName}},
		&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: l.cluster}},
	}
}

// bothChecked waits until both issuers were looked at as they are now.
func (l *lasting) bothChecked() {
	l.t.Helper()
	for _, i := range l.both() {
		l.eventually("issuer "+i.GetName()+" was looked at", func() error {
			if err := l.get(i); err != nil {
				return err
			}
			if c := meta.FindStatusCondition(i.GetStatus().Conditions, v1alpha1.ConditionReady); c == nil || c.ObservedGeneration != i.GetGeneration() {
				return fmt.Errorf("generation %d, Ready %+v", i.GetGeneration(), c)
			}
			return nil
		})
	}
}

// putKey writes the API key into the Secrets of both issuers.
func (l *lasting) putKey(name, key string) {
	l.t.Helper()
	for _, namespace := range []string{l.Namespace, l.ledger} {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		switch err := l.get(s); {
		case apierrors.IsNotFound(err):
			l.create(testenv.APIKeySecret(namespace, name, key))
			continue
		case err != nil:
			l.t.Fatal(err)
		}
		s.Data = map[string][]byte{"api-key": []byte(key)}
		if err := l.Client.Update(l.t.Context(), s); err != nil {
			l.t.Fatal(err)
		}
	}
}

// told counts how often an event with the reason was made about an object. Repetitions
// that Kubernetes keeps in one Event count too.
func (l *lasting) told(about client.Object, reason string) int {
	l.t.Helper()
	return l.events(about.GetNamespace(), reason, func(o *corev1.ObjectReference) bool { return o.UID == about.GetUID() })
}

// events counts how often somebody was told a reason about the objects.
func (l *lasting) events(namespace, reason string, about func(*corev1.ObjectReference) bool) int {
	l.t.Helper()
	var list eventsv1.EventList
	if err := l.Client.List(l.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		l.t.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		switch {
		case !about(&e.Regarding) || e.Reason != reason:
		case e.Series != nil:
			n += int(e.Series.Count)
		default:
			n++
		}
	}
	return n
}

// gateway stands before a vendor and writes down which API key came for what. Several
// keys can open one account through it, as they can at the real vendor; at the simulator
// each key is an account.
type gateway struct {
	url string
	ca  []byte

	mu    sync.Mutex
	opens map[string]string // the simulator's key that a key stands for
	calls map[visit]int
}

// visit is a call with a key.
type visit struct{ key, method, path string }

func newGateway(t *testing.T, vendor *simulator.Server, opens map[string]string) *gateway {
	t.Helper()
	g := &gateway{opens: opens, calls: map[visit]int{}}
	behind := vendor.Handler()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("x-api-key")
		g.mu.Lock()
		g.calls[visit{key, r.Method, r.URL.Path}]++
		r.Header.Set("x-api-key", g.opens[key])
		g.mu.Unlock()
		behind.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	g.url = server.URL
	g.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return g
}

// open changes which keys open which account.
func (g *gateway) open(opens map[string]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opens = opens
}

// count counts the calls that match.
func (g *gateway) count(match func(visit) bool) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for v, times := range g.calls {
		if match(v) {
			n += times
		}
	}
	return n
}

func with(key string) func(visit) bool { return func(v visit) bool { return v.key == key } }

// aboutOrders matches what is sent to place an order or to ask about one.
func aboutOrders(v visit) bool {
	return v.method != http.MethodGet || strings.HasPrefix(v.path, "/tls/certificate/")
}

// otherKey is another key than apiKey.
const otherKey = canary + ".fedcba9876543210"

// through makes both issuers reach the vendor through a gateway.
func (l *lasting) through(g *gateway) func(*operator.Options) {
	l.editBoth(func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.URL, s.CABundle = g.url, g.ca })
	return func(o *operator.Options) { o.AllowedEndpoints = append(o.AllowedEndpoints, g.url) }
}

// TestRestartsWhileOrdersWait: requests in every stage of their wait go on in the next
// process, and in one that takes over the leadership from it. What was told is not told
// again.
func TestRestartsWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	elected := func(o *operator.Options) { o.LeaderElection = true }
	stop := l.run(elected)
	l.begin()
	undecided := testenv.CertificateRequest(t, l.Namespace, "undecided", testenv.WithIssuer(v1alpha1.KindIssuer, issuerName), testenv.WithDNSNames("www.example.net"))
	l.create(undecided)
	stop()

	// What happens while nobody looks.
	testenv.Approve(t, l.Client, undecided)
	missed := l.request("missed", testenv.WithIssuer(v1alpha1.KindIssuer, issuerName), testenv.WithDNSNames("www.example.info"))
	stop = l.run(elected)
	l.waiting("waits in the second process")
	l.order("undecided", "is placed", inState(v1alpha1.StateValidating))
	l.order("missed", "is placed", inState(v1alpha1.StateValidating))
	l.bought(4)

	l.run(elected) // stands by
	stop()
	l.act()
	for _, cr := range []*cmapi.CertificateRequest{l.waits["validating"].cr, l.waits["staged"].cr, undecided, missed} {
		l.answered(cr, cmapi.CertificateRequestReasonIssued)
	}
	l.bought(4)
	for _, about := range []struct {
		wait   *wait
		reason string
	}{{l.waits["validating"], v1alpha1.ReasonAwaitingDNS}, {l.waits["staged"], "OrganizationRequired"}} {
		o := l.order(about.wait.cr.Name, "is issued", inState(v1alpha1.StateIssued))
		for _, object := range []client.Object{o, about.wait.cr, about.wait.owner} {
			if n := l.told(object, about.reason); n != 1 {
				t.Errorf("%s was told %d times on the %T %s", about.reason, n, object, object.GetName())
			}
		}
	}
}

// TestKeyRotatedWhileOrdersWait: the key is revoked, and later another one of the same
// account is put in its place. Orders wait meanwhile, and go on with it at once.
func TestKeyRotatedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	g := newGateway(t, l.vendor, map[string]string{apiKey: apiKey})
	l.run(l.through(g))
	l.begin()
	g.open(map[string]string{otherKey: apiKey})
	for _, w := range l.waits {
		l.purchaseSays(w, "regfish refuses the API key")
	}
	l.waiting("waits without a key")

	l.putKey("regfish-api", otherKey)
	for _, w := range l.waits {
		l.eventually("the new key is used for "+w.name, func() error {
			if g.count(func(v visit) bool { return v.key == otherKey && v.path == "/tls/certificate/"+w.id }) == 0 {
				return fmt.Errorf("it was not yet")
			}
			return nil
		})
	}
	revoked := g.count(with(apiKey))
	l.waiting("waits with another key")
	l.finish()
	if n := g.count(with(apiKey)) - revoked; n != 0 {
		t.Errorf("the revoked key was sent %d times after the new one was used", n)
	}
}

// TestSecretRecreatedWhileOrdersWait: without the Secret nothing can be asked, and
// nothing fails.
func TestSecretRecreatedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	stop := l.run()
	l.begin()
	for _, namespace := range []string{l.Namespace, l.ledger} {
		l.remove(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "regfish-api"}})
	}
	for _, w := range l.waits {
		l.purchaseSays(w, "there is no Secret")
	}
	stop()
	l.run()
	for _, i := range l.both() {
		l.editBoth(func(i v1alpha1.Issuer, _ *v1alpha1.IssuerSpec) {
			i.SetAnnotations(map[string]string{"looked-for": "the Secret"})
		})
		l.issuerSays(i, v1alpha1.ReasonSecretNotFound)
	}
	l.waiting("waits without a Secret")
	l.putKey("regfish-api", apiKey)
	l.finish()
}

// TestIssuerEditedWhileOrdersWait: what was ordered was ordered as the issuer was then,
// and is waited for however it is edited, also to something that cannot be bought.
func TestIssuerEditedWhileOrdersWait(t *testing.T) {
	edits := []struct {
		what   string
		change func(v1alpha1.Issuer, *v1alpha1.IssuerSpec)
	}{
		{"the product is another one", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.SKU, s.OrganizationID = "SSL123", "" }},
		{"the organization is another one", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) {
			s.SKU, s.OrganizationID = "SecureSite", simulator.OrganizationReady
		}},
		{"the validity is another one", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.ValidityDays = ptr.To[int32](30) }},
		{"the validation is another one", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) {
			s.DCV = v1alpha1.DCV{Method: v1alpha1.DCVMethodEmail, Emails: []string{"hostmaster@example.com"}}
		}},
		{"nothing may be bought any more", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](0) }},
		{"the organization does not exist", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.OrganizationID = "hdl_other" }},
		{"the product does not exist", func(_ v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { s.SKU = "RapidSLL" }},
	}
	l := newLasting(t)
	l.run()
	l.begin()
	recorded := map[string]v1alpha1.PurchaseSpec{}
	for _, p := range l.purchases() {
		recorded[p.Name] = p.Spec
	}
	for _, e := range edits {
		l.editBoth(e.change)
		l.bothChecked()
		l.waiting("waits while " + e.what)
	}
	for _, p := range l.purchases() {
		if was := recorded[p.Name]; p.Spec.SKU != was.SKU || p.Spec.OrganizationID != was.OrganizationID || p.Spec.ValidityDays != was.ValidityDays || p.Spec.DCVMethod != was.DCVMethod || len(p.Spec.Attempts) != 1 {
			t.Errorf("the record of %s changed from %+v to %+v", p.Name, was, p.Spec)
		}
	}
	// The issuer cannot be used as it stands, and what is paid for is delivered all the same.
	for _, i := range l.both() {
		l.issuerSays(i, v1alpha1.ReasonProductUnknown)
	}
	l.finish()
}

// TestIssuersRecreatedWhileOrdersWait: while they are gone a person completes the order
// and the controller is restarted; what they sell is another product when they are back.
func TestIssuersRecreatedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	stop := l.run()
	l.begin()
	again := l.both()
	for _, i := range again {
		if err := l.get(i); err != nil {
			t.Fatal(err)
		}
		l.remove(i)
	}
	for _, w := range l.waits {
		l.purchaseSays(w, "and cannot be followed: there is no Regfish")
	}
	l.waiting("waits without its issuer")
	if err := l.vendor.Complete(l.waits["staged"].id); err != nil {
		t.Fatal(err)
	}
	stop()
	l.run()
	for _, w := range l.waits {
		l.purchaseSays(w, "there is no Regfish")
	}
	for _, i := range again {
		spec := *i.GetSpec()
		spec.SKU, spec.OrganizationID = "SSL123", ""
		if i.Ref().Kind == v1alpha1.KindClusterIssuer {
			l.create(&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: i.GetName()}, Spec: spec})
		} else {
			l.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: i.GetNamespace(), Name: i.GetName()}, Spec: spec})
		}
	}
	l.automateDNS()
	for _, w := range l.waits {
		l.answered(w.cr, cmapi.CertificateRequestReasonIssued)
		l.verify(w.cr.Status.Certificate, w.host)
	}
	l.bought(2)
}

// TestURLEditedWhileOrdersWait: each key is known to one host and nothing is sent to
// either with the other's, nor is anything asked that the host cannot know. Nothing is
// bought at the new one for what was bought at the old one.
func TestURLEditedWhileOrdersWait(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*v1alpha1.IssuerSpec)
	}{
		{"the url and the key are others", func(*v1alpha1.IssuerSpec) {}},
		{"the product is another one as well", func(s *v1alpha1.IssuerSpec) { s.SKU, s.OrganizationID = "SSL123", "" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLasting(t)
			here := newGateway(t, l.vendor, map[string]string{apiKey: apiKey})
			vendor, err := simulator.New(simulator.Options{Keys: []string{otherKey}})
			if err != nil {
				t.Fatal(err)
			}
			there := newGateway(t, vendor, map[string]string{otherKey: otherKey})
			l.putKey("regfish-there", otherKey)
			before := map[string]v1alpha1.IssuerSpec{}
			reads := make(chan *testenv.CountingClient, 1)
			options := []func(*operator.Options){l.through(here), func(o *operator.Options) {
				o.AllowedEndpoints = append(o.AllowedEndpoints, there.url)
				o.Wrap = func(c client.Client) client.Client {
					counting := testenv.Count(c)
					reads <- counting
					return counting
				}
			}}
			stop := l.run(options...)
			l.begin()

			l.editBoth(func(i v1alpha1.Issuer, s *v1alpha1.IssuerSpec) {
				before[i.Ref().String()] = *s.DeepCopy()
				s.URL, s.CABundle, s.APIKeySecretRef.Name = there.url, there.ca, "regfish-there"
				tc.change(s)
			})
			l.bothChecked()
			changed := func(when string) {
				t.Helper()
				for _, w := range l.waits {
					l.purchaseSays(w, "nothing is sent to either")
					o := l.order(w.cr.Name, "waits for the old endpoint "+when, placed(v1alpha1.ReasonEndpointChanged))
					if o.Status.PurchaseRef == nil || (o.Status.DCV == nil && o.Status.CompletionURL == "") {
						t.Errorf("%s the order forgot what is paid for: %+v", when, o.Status)
					}
				}
			}
			changed("after the edit")
			sent := here.count(func(visit) bool { return true })
			look := func(reads *testenv.CountingClient) {
				t.Helper()
				begun := reads.Calls()
				for _, kind := range []string{v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer} {
					call := testenv.Call{Verb: "get", Kind: kind}
					l.eventually("the purchases were looked at again and again", func() error {
						if n := reads.Calls()[call] - begun[call]; n < 10 {
							return fmt.Errorf("%d times", n)
						}
						return nil
					})
				}
			}
			look(<-reads)
			stop()
			l.run(options...)
			changed("after a restart")
			look(<-reads)
			if n := here.count(func(visit) bool { return true }) - sent; n != 0 {
				t.Errorf("the old endpoint was called %d times", n)
			}
			if n := there.count(aboutOrders); n != 0 {
				t.Errorf("the new endpoint was asked about orders or sent some, %d times", n)
			}

			l.editBoth(func(i v1alpha1.Issuer, s *v1alpha1.IssuerSpec) { *s = before[i.Ref().String()] })
			l.finish()
			if n := here.count(with(otherKey)); n != 0 {
				t.Errorf("the new endpoint's key was sent to the old one %d times", n)
			}
			if n := there.count(with(apiKey)); n != 0 {
				t.Errorf("the old endpoint's key was sent to the new one %d times", n)
			}
			if n := len(vendor.Purchases()); n != 0 {
				t.Errorf("%d orders at the new endpoint", n)
			}
		})
	}
}

// TestRequestsDeletedWhileOrdersWait: what is paid for goes on and says once that nobody
// wants it. Whoever comes back, with the same key or another one, buys nothing.
func TestRequestsDeletedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	stop := l.run()
	l.begin()
	gone := func(name string) {
		t.Helper()
		l.remove(&cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: name}})
		l.eventually("order "+name+" is gone", func() error {
			o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: name}}
			if err := l.get(o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
	}
	for _, w := range l.waits {
		l.remove(w.owner)
		gone(w.cr.Name)
	}
	stop()
	h := l.byHand()
	h.clock.step(2 * time.Minute)
	for range 100 {
		for _, p := range l.purchases() {
			h.must(h.purchases.Reconcile, &p)
		}
		h.clock.step(time.Minute)
	}
	for _, w := range l.waits {
		p := l.purchaseSays(w, "no request wants order "+w.id+" any more")
		if again := fmt.Sprintf("create Certificate %s/%s again", l.Namespace, w.name); !strings.Contains(p.Status.Message, again) || p.Status.State != w.state {
			t.Errorf("the purchase is %s and does not say %q: %s", p.Status.State, again, p.Status.Message)
		}
	}
	if n := h.Writes(); n != 2 {
		t.Errorf("that nobody wants the two was written %d times: %v", n, h.Calls())
	}

	l.run()
	for _, w := range l.waits {
		w.owner = testenv.Certificate(l.Namespace, w.name, w.mods...)
		l.create(w.owner)
		l.ask(w, w.name+"-1", testenv.WithECDSA())
		o := l.order(w.name+"-1", "waits for what was bought for the first key", placed(v1alpha1.ReasonWaitingForPurchase))
		if got := o.Status.PurchaseRef.CertificateID; got != w.id {
			t.Errorf("another key waits for %q, want %s", got, w.id)
		}
		gone(w.name + "-1")
		w.cr = l.ask(w, w.name+"-1", testenv.WithKey(w.key))
	}
	l.waiting("waits again")
	l.finish()
}

// TestDeniedWhileOrdersWait: where cert-manager's webhook is absent a request can be
// denied after it was approved. What was bought goes on, and nobody gets it but whoever
// asks again.
func TestDeniedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	l.run()
	l.begin()
	for _, w := range l.waits {
		testenv.Deny(t, l.Client, w.cr)
		l.answered(w.cr, cmapi.CertificateRequestReasonDenied)
		other := l.ask(w, w.name+"-2", testenv.WithECDSA())
		l.order(other.Name, "waits for what was bought for the first key", func(o *v1alpha1.RegfishOrder) bool {
			return placed(v1alpha1.ReasonWaitingForPurchase)(o) && o.Status.PurchaseRef.CertificateID == w.id
		})
		l.remove(other)
		l.eventually("the order of the other key is gone", func() error {
			o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: other.Name}}
			if err := l.get(o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
	}
	if err := l.vendor.Complete(l.waits["staged"].id); err != nil {
		t.Fatal(err)
	}
	for _, w := range l.waits {
		// Nobody publishes these records for a request that was denied.
		for _, r := range l.purchaseSays(w, "are seen in DNS").Status.DCV.Records {
			l.vendor.SetRecord(r.Name, r.Type, r.Value)
		}
		l.eventually("the purchase of "+w.name+" is issued", func() error {
			if p := l.purchaseOfID(w.id); p.Status.State != v1alpha1.StateIssued {
				return fmt.Errorf("it is %s: %s", p.Status.State, p.Status.Message)
			}
			return nil
		})
		l.answered(w.cr, cmapi.CertificateRequestReasonDenied)
		if len(w.cr.Status.Certificate) > 0 || w.cr.Status.FailureTime == nil {
			t.Errorf("the denied request has a certificate of %d bytes and failed at %v", len(w.cr.Status.Certificate), w.cr.Status.FailureTime)
		}
		// What is paid for is there for whoever asks again with the key.
		l.remove(w.cr)
		w.cr = l.ask(w, w.name+"-3", testenv.WithKey(w.key))
		l.answered(w.cr, cmapi.CertificateRequestReasonIssued)
	}
	l.bought(2)
}

// TestDeniedRequestWantsNothing: as when the request is deleted, whoever pays is told
// once that nobody wants what was bought, and nobody is asked to act for it any more.
func TestDeniedRequestWantsNothing(t *testing.T) {
	l := newLasting(t)
	stop := l.run()
	l.begin()
	for _, w := range l.waits {
		testenv.Deny(t, l.Client, w.cr)
		l.answered(w.cr, cmapi.CertificateRequestReasonDenied)
		l.order(w.cr.Name, "is over", inState(v1alpha1.StateFailed))
	}
	stop()
	h := l.byHand()
	h.clock.step(2 * time.Minute)
	for range 30 {
		for _, d := range h.duties() {
			h.must(d.of(h), d.object)
		}
		h.clock.step(time.Hour)
	}
	for _, w := range l.waits {
		if p := l.purchaseOfID(w.id); !strings.Contains(p.Status.Message, "no request wants order "+w.id+" any more") {
			t.Errorf("the purchase of the denied request says: %s", p.Status.Message)
		}
		l.remove(w.cr)
	}
	if n := len(h.events.all()); n != 0 {
		t.Errorf("somebody was reminded for a denied request: %+v", h.events.all())
	}
	l.bought(2)
}

// TestDeniedCertificateIsRetried: cert-manager makes a new key and a new request after a
// denial.
func TestDeniedCertificateIsRetried(t *testing.T) {
	l := newLasting(t)
	l.StartCertManager(testenv.CertManagerOptions{FailureBackoff: failureBackoff})
	l.run()
	w := l.waits["staged"]
	c := testenv.Certificate(l.Namespace, "www", w.mods...)
	l.create(c)
	before := l.order("www-1", "asks for a person", inState(v1alpha1.StateActionRequired))
	testenv.Deny(t, l.Client, &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "www-1"}})
	l.order("www-1", "waits after cert-manager's retry", func(o *v1alpha1.RegfishOrder) bool {
		return o.UID != before.UID && placed(v1alpha1.ReasonWaitingForPurchase)(o) && o.Status.PurchaseRef.CertificateID == before.Status.PurchaseRef.CertificateID
	})
	l.bought(1)
}

// change edits a Certificate as a person with kubectl would.
func (l *lasting) change(c *cmapi.Certificate, change func(*cmapi.Certificate)) {
	l.t.Helper()
	if err := l.get(c); err != nil {
		l.t.Fatal(err)
	}
	before := c.DeepCopy()
	change(c)
	if err := l.Client.Patch(l.t.Context(), c, client.MergeFrom(before)); err != nil {
		l.t.Fatal(err)
	}
}

// observed waits until cert-manager has seen the Certificate as it is now.
func (l *lasting) observed(c *cmapi.Certificate) {
	l.t.Helper()
	l.eventually("cert-manager has seen "+c.Name, func() error {
		if err := l.get(c); err != nil {
			return err
		}
		for _, condition := range c.Status.Conditions {
			if condition.Type == cmapi.CertificateConditionReady && condition.ObservedGeneration == c.Generation {
				return nil
			}
		}
		return fmt.Errorf("generation %d, conditions %+v", c.Generation, c.Status.Conditions)
	})
}

// TestCertificatesEditedWhileOrdersWait: an edit that leaves the names alone waits for
// what was bought, whatever cert-manager makes of it: nothing, another request, or
// another request with another key.
func TestCertificatesEditedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	l.StartCertManager(testenv.CertManagerOptions{})
	l.run()
	l.beginWithCertManager(testenv.With(func(c *cmapi.Certificate) {
		c.Spec.Duration = &metav1.Duration{Duration: 90 * 24 * time.Hour}
	}))
	for _, e := range []struct {
		what     string
		replaced bool // cert-manager makes another request
		change   func(*cmapi.Certificate)
	}{
		{"secretName", false, func(c *cmapi.Certificate) { c.Spec.SecretName = c.Name + "-other" }},
		{"renewBefore", false, func(c *cmapi.Certificate) { c.Spec.RenewBefore = &metav1.Duration{Duration: 20 * 24 * time.Hour} }},
		{"privateKey.rotationPolicy", false, func(c *cmapi.Certificate) {
			c.Spec.PrivateKey.RotationPolicy = cmapi.RotationPolicyNever
		}},
		{"secretTemplate and labels", false, func(c *cmapi.Certificate) {
			c.Labels = map[string]string{"team": "shop"}
			c.Spec.SecretTemplate = &cmapi.CertificateSecretTemplate{Labels: c.Labels}
		}},
		{"issuerRef", true, func(c *cmapi.Certificate) {
			ref := cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: l.cluster}
			if c.Spec.IssuerRef.Kind == ref.Kind {
				ref.Kind, ref.Name = v1alpha1.KindIssuer, issuerName
			}
			c.Spec.IssuerRef = ref
		}},
		{"duration", true, func(c *cmapi.Certificate) { c.Spec.Duration = &metav1.Duration{Duration: 60 * 24 * time.Hour} }},
	} {
		for _, w := range l.waits {
			if err := l.get(w.cr); err != nil {
				t.Fatal(err)
			}
			before := w.cr.UID
			l.change(w.owner, e.change)
			l.observed(w.owner)
			if e.replaced {
				l.eventually("cert-manager made another request for "+w.name, func() error {
					if err := l.get(w.cr); err != nil {
						return err
					}
					if w.cr.UID == before {
						return fmt.Errorf("it is the one from before")
					}
					return nil
				})
			}
		}
		l.waiting("waits after an edit of " + e.what)
	}
	l.finish()
	for _, w := range l.waits {
		l.certificateReady(w.owner)
		l.verifySecret(w.name+"-other", w.host)
	}
	l.bought(2)
}

// TestKeyTypeEditedWhileOrdersWait: cert-manager makes another key and another request,
// which wait.
func TestKeyTypeEditedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	l.StartCertManager(testenv.CertManagerOptions{})
	l.run()
	l.beginWithCertManager()
	for _, w := range l.waits {
		l.change(w.owner, func(c *cmapi.Certificate) {
			c.Spec.PrivateKey.Size = 384
		})
		before := w.cr.UID
		l.order(w.cr.Name, "waits with another key", func(o *v1alpha1.RegfishOrder) bool {
			return o.Spec.RequestRef.UID != before && placed(v1alpha1.ReasonWaitingForPurchase)(o) && o.Status.PurchaseRef.CertificateID == w.id &&
				(o.Status.DCV != nil || o.Status.CompletionURL != "")
		})
		l.answered(w.cr, cmapi.CertificateRequestReasonPending)
	}
	l.bought(2)
}

// TestNamesEditedWhileOrdersWait: other names are another certificate, so exactly one is
// bought. The old order goes on, and says that nobody wants it.
func TestNamesEditedWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	l.StartCertManager(testenv.CertManagerOptions{})
	stop := l.run()
	l.beginWithCertManager()
	later := map[string]string{}
	for _, w := range l.waits {
		before := w.cr.UID
		l.change(w.owner, func(c *cmapi.Certificate) {
			c.Spec.DNSNames = append(c.Spec.DNSNames, strings.Replace(w.host, "www", "api", 1))
		})
		o := l.order(w.cr.Name, "is placed for the other names", func(o *v1alpha1.RegfishOrder) bool {
			return o.Spec.RequestRef.UID != before && o.Status.State == w.state
		})
		if later[w.name] = o.Status.PurchaseRef.CertificateID; later[w.name] == w.id {
			t.Errorf("the order for other names shows %s, which was bought for the first ones", w.id)
		}
	}
	l.bought(4)
	l.automateDNS()
	if err := l.vendor.Complete(later["staged"]); err != nil {
		t.Fatal(err)
	}
	for _, w := range l.waits {
		l.certificateReady(w.owner)
		l.verifySecret(w.name+"-tls", w.host, strings.Replace(w.host, "www", "api", 1))
	}
	stop()
	h := l.byHand()
	h.clock.step(2 * time.Minute)
	for range 3 {
		for _, p := range l.purchases() {
			h.must(h.purchases.Reconcile, &p)
		}
		h.clock.step(time.Hour)
	}
	for _, w := range l.waits {
		if p := l.purchaseSays(w, "no request wants order "+w.id+" any more"); p.Status.State != w.state {
			t.Errorf("the order for the first names is %s: %s", p.Status.State, p.Status.Message)
		}
	}
	l.bought(4)
}

// isTemporary reports whether cert-manager signed the Secret's certificate itself.
func (l *lasting) isTemporary(secret string) (bool, error) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: secret}}
	if err := l.get(s); err != nil {
		return false, err
	}
	pair, err := x509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return false, err
	}
	return pair.Leaf.Issuer.CommonName == "cert-manager.local", nil
}

// TestTemporaryCertificateWhileOrdersWait: a web server needs some certificate to start,
// also while a person has to act for the real one.
func TestTemporaryCertificateWhileOrdersWait(t *testing.T) {
	l := newLasting(t)
	l.StartCertManager(testenv.CertManagerOptions{})
	l.run()
	l.beginWithCertManager(testenv.With(func(c *cmapi.Certificate) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, cmapi.IssueTemporaryCertificateAnnotation, "true")
	}))
	for _, w := range l.waits {
		l.eventually("the Secret of "+w.name+" has a temporary certificate", func() error {
			if temporary, err := l.isTemporary(w.name + "-tls"); err != nil || !temporary {
				return fmt.Errorf("temporary %t: %w", temporary, err)
			}
			return nil
		})
	}
	l.waiting("waits beside a temporary certificate")
	l.finish()
	for _, w := range l.waits {
		l.eventually("the Secret of "+w.name+" has the real certificate", func() error {
			if temporary, err := l.isTemporary(w.name + "-tls"); err != nil || temporary {
				return fmt.Errorf("temporary %t: %w", temporary, err)
			}
			return nil
		})
		l.verifySecret(w.name+"-tls", w.host)
	}
	l.bought(2)
}

// TestActionRequiredOnTheRequest: the page on which a person has to act is readable from
// the request alone, whatever cert-manager writes there, until they have acted. Each
// object on which somebody may look tells it once.
func TestActionRequiredOnTheRequest(t *testing.T) {
	l := newLasting(t)
	restart := l.StartCertManager(testenv.CertManagerOptions{})
	l.run()
	l.beginWithCertManager()
	w := l.waits["staged"]
	var asked cmapi.CertificateRequestCondition
	page := l.order(w.cr.Name, "asks for a person", inState(v1alpha1.StateActionRequired)).Status.CompletionURL
	l.eventually("the request asks for a person", func() error {
		if err := l.get(w.cr); err != nil {
			return err
		}
		c := apiutil.GetCertificateRequestCondition(w.cr, v1alpha1.ConditionActionRequired)
		if c == nil || c.Status != cmmeta.ConditionTrue || c.Reason != "OrganizationRequired" || !strings.Contains(c.Message, page) {
			return fmt.Errorf("ActionRequired is %+v, and the page %s", c, page)
		}
		asked = *c
		return nil
	})
	stands := func(when string) {
		t.Helper()
		if err := l.get(w.cr); err != nil {
			t.Fatal(err)
		}
		if c := apiutil.GetCertificateRequestCondition(w.cr, v1alpha1.ConditionActionRequired); c == nil || c.Status != asked.Status || c.Reason != asked.Reason || c.Message != asked.Message || !c.LastTransitionTime.Equal(asked.LastTransitionTime) {
			t.Errorf("%s ActionRequired is %+v, and was %+v", when, c, asked)
		}
	}
	restart()
	// Without its webhook somebody can take the approval back; its approver writes the
	// whole status then.
	l.eventually("the approval is taken back", func() error {
		if err := l.get(w.cr); err != nil {
			return err
		}
		w.cr.Status.Conditions = without(w.cr.Status.Conditions, cmapi.CertificateRequestConditionApproved)
		return l.Client.Status().Update(t.Context(), w.cr)
	})
	stands("without an approval")
	l.StartCertManager(testenv.CertManagerOptions{})
	l.eventually("cert-manager approves again", func() error {
		if err := l.get(w.cr); err != nil {
			return err
		}
		if !apiutil.CertificateRequestIsApproved(w.cr) {
			return fmt.Errorf("conditions %+v", w.cr.Status.Conditions)
		}
		return nil
	})
	stands("after cert-manager's write")
	l.waiting("waits after cert-manager's write")
	o := l.order(w.cr.Name, "asks for a person", inState(v1alpha1.StateActionRequired))
	onceEach := func() {
		t.Helper()
		const reason = "OrganizationRequired"
		for _, about := range []client.Object{o, w.cr, w.owner} {
			l.eventually(fmt.Sprintf("the %T was told once", about), func() error {
				want := 1
				if about == w.owner {
					// A busy cert-manager may have made the request twice: there were two orders.
					want = l.events(o.Namespace, reason, func(told *corev1.ObjectReference) bool { return told.Kind == "RegfishOrder" && told.Name == o.Name })
				}
				if n := l.told(about, reason); n != want {
					return fmt.Errorf("%d events, want %d", n, want)
				}
				return nil
			})
		}
	}
	onceEach()

	if err := l.vendor.Complete(w.id); err != nil {
		t.Fatal(err)
	}
	completed := func(when string) {
		t.Helper()
		l.eventually("the request says that a person acted "+when, func() error {
			if err := l.get(w.cr); err != nil {
				return err
			}
			if c := apiutil.GetCertificateRequestCondition(w.cr, v1alpha1.ConditionActionRequired); c == nil || c.Status != cmmeta.ConditionFalse || c.Reason != v1alpha1.ReasonCompleted || strings.Contains(c.Message, page) {
				return fmt.Errorf("ActionRequired is %+v", c)
			}
			return nil
		})
	}
	completed("while the names are validated")
	l.answered(w.cr, cmapi.CertificateRequestReasonPending)
	l.automateDNS()
	l.certificateReady(w.owner)
	l.verifySecret(w.name+"-tls", w.host)
	completed("when the certificate is there")
	onceEach()
	l.eventually("the order told once that a person acted", func() error {
		if n := l.told(o, v1alpha1.ReasonCompleted); n != 1 {
			return fmt.Errorf("%d events", n)
		}
		return nil
	})
	for _, about := range []client.Object{w.cr, w.owner} {
		if n := l.told(about, v1alpha1.ReasonCompleted); n != 0 {
			t.Errorf("the %T was told %d times that nobody has to act any more", about, n)
		}
	}
	l.bought(2)
}

func without(conditions []cmapi.CertificateRequestCondition, kind cmapi.CertificateRequestConditionType) []cmapi.CertificateRequestCondition {
	var left []cmapi.CertificateRequestCondition
	for _, c := range conditions {
		if c.Type != kind {
			left = append(left, c)
		}
	}
	return left
}
