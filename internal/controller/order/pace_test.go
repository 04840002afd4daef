// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// fickle is a vendor that delivers another wrong certificate at every download.
type fickle struct {
	purchase.Vendor
	t         *testing.T
	downloads int
	// asked is how often the status was asked for.
	asked int
	// unread is why nothing can be downloaded; nil: something can.
	unread error
}

func (v *fickle) Certificate(ctx context.Context, _ string) (regfish.Certificate, error) {
	v.asked++
	v.patient(ctx)
	return regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CommonName: "www.example.com", CertificatePEMAvailable: true}, nil
}

// patient fails the test if the call does not let go first what is read for orders.
func (v *fickle) patient(ctx context.Context) {
	v.t.Helper()
	if ctx != poller.AfterOrders(ctx) {
		v.t.Error("what is handed over keeps orders waiting")
	}
}

func (v *fickle) Download(ctx context.Context, _ string) ([]byte, error) {
	v.downloads++
	v.patient(ctx)
	if v.unread != nil {
		return nil, v.unread
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(v.downloads)), NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		DNSNames: []string{fmt.Sprintf("wrong-%d.example.com", v.downloads)},
	}
	key := newKey(v.t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is an approved request of the Certificate shop/www and its order.
func request(t *testing.T) (*cmapi.CertificateRequest, *v1alpha1.RegfishOrder) {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.com"}}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www-1", UID: "r1"},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		},
		Status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{{Type: cmapi.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue}}},
	}
	o := &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www-1", UID: "o1"},
		Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: cr.Name, UID: cr.UID},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		},
	}
	return cr, o
}

// issuedFor is a request, its order, and what was bought for it and is issued.
func issuedFor(t *testing.T) (*cmapi.CertificateRequest, *v1alpha1.RegfishOrder, *v1alpha1.RegfishPurchase, *v1alpha1.RegfishClusterIssuer) {
	t.Helper()
	cr, o := request(t)
	csr, problems := pki.Preflight(pki.Spec{CSR: cr.Spec.Request})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := purchase.New(purchase.Want{
		Beneficiary: v1alpha1.Beneficiary{Namespace: "shop", RequestName: cr.Name, RequestUID: cr.UID}, Issuer: v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		Endpoint: "https://api.regfish.com", Request: csr, SKU: "RapidSSL", DCVMethod: v1alpha1.DCVMethodCNAME,
	}, "ledger", 1)
	p.Spec.CertificateID = "C1"
	p.Spec.Attempts = []v1alpha1.Attempt{{Number: 1, Time: metav1.NewMicroTime(noon), RequestUID: cr.UID, ClusterUID: "here", Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted, Time: metav1.NewMicroTime(noon)}}}
	p.Status = purchase.Observe(p, purchase.Observation{RequestLive: true, Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CertificatePEMAvailable: true}})
	for i := range p.Status.Conditions {
		p.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon)
	}
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "regfish"}, Spec: v1alpha1.IssuerSpec{SKU: "RapidSSL"}}
	return cr, o, p, issuer
}

// indexer puts the indexes of the cache into a client.
type indexer struct{ *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, o client.Object, field string, values client.IndexerFunc) error {
	i.WithIndex(o, field, values)
	return nil
}

// reconciler is one over an API server that has the objects and fails as told.
func reconciler(t *testing.T, vendor purchase.Vendor, clock *clocktesting.FakePassiveClock, faults interceptor.Funcs, objects ...client.Object) (*Reconciler, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, cmapi.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithInterceptorFuncs(faults).
		WithStatusSubresource(&v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{}, &cmapi.CertificateRequest{}, &v1alpha1.RegfishClusterIssuer{})
	if err := controller.Index(t.Context(), indexer{builder}); err != nil {
		t.Fatal(err)
	}
	api := builder.Build()
	s := &purchase.Spender{
		Gatherer: purchase.Gatherer{
			Live: api, Ledger: "ledger", ClusterUID: "here",
			Endpoint: func(v1alpha1.Issuer) (string, error) { return "https://api.regfish.com", nil },
		},
		Client: api, Clock: clock, Writer: v1alpha1.Writer{StartNonce: "one"},
		Connect: func(context.Context, v1alpha1.Issuer) (purchase.Vendor, error) { return vendor, nil },
	}
	return New(Options{Client: api, Spender: s, Recorder: events.NewFakeRecorder(100), Clock: clock}), api
}

// What regfish said a moment ago is not asked again before the certificate is fetched; what
// it said longer ago is, since it may have been revoked.
func TestStatusIsAskedForOnlyIfItIsOld(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		at     time.Time
		begun  time.Duration // before it was issued
		want   int
	}{
		"just now":           {reason: "it would be a third of all calls of a certificate", at: noon.Add(justNow), want: 0},
		"a while ago":        {reason: "it may have been revoked", at: noon.Add(justNow + time.Second), want: 1},
		"in the future":      {reason: "a clock is wrong, and nobody knows when it was said", at: noon.Add(-time.Second), want: 1},
		"of an order of old": {reason: "it may have been revoked before it was said, and a row of a list need not say so", at: noon, begun: justOrdered + time.Second, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			cr, o, p, issuer := issuedFor(t)
			p.Spec.Attempts[0].Time = metav1.NewMicroTime(noon.Add(-tt.begun))
			vendor := &fickle{t: t}
			r, _ := reconciler(t, vendor, clocktesting.NewFakePassiveClock(tt.at), interceptor.Funcs{}, cr, o, p, issuer)
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}); err != nil {
				t.Fatal(err)
			}
			if vendor.asked != tt.want || vendor.downloads != 1 {
				t.Errorf("the status was asked for %d times and the certificate fetched %d times; want %d and 1: %s", vendor.asked, vendor.downloads, tt.want, tt.reason)
			}
		})
	}
}

// Another wrong certificate at every download makes every refusal read otherwise, and each
// is written to the purchase, whose change wakes the order. It fetches again when it was to,
// and not when it is woken.
func TestRefusedDeliveryIsFetchedAtItsPace(t *testing.T) {
	cr, o, p, issuer := issuedFor(t)
	clock := clocktesting.NewFakePassiveClock(noon)
	vendor := &fickle{t: t}
	fail := false
	r, api := reconciler(t, vendor, clock, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if _, ok := obj.(*v1alpha1.RegfishOrder); ok && fail {
				return errors.New("the API server does not answer")
			}
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	}, cr, o, p, issuer)
	wake := func(fails bool) time.Duration {
		t.Helper()
		fail = fails
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		if (err != nil) != fails {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	for range 10 {
		if again := wake(false); again != refusedLook {
			t.Fatalf("it is fetched again after %s, want %s", again, refusedLook)
		}
	}
	if vendor.downloads != 1 {
		t.Errorf("%d downloads at one time", vendor.downloads)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil || o.Status.State != v1alpha1.StateHeld {
		t.Errorf("the order is %s: %v", o.Status.State, err)
	}
	clock.SetTime(noon.Add(refusedLook))
	wake(false)
	wake(false)
	if vendor.downloads != 2 {
		t.Errorf("%d downloads after the pause, want 2", vendor.downloads)
	}
	// What could not be shown is asked again.
	clock.SetTime(noon.Add(2 * refusedLook))
	wake(true)
	wake(false)
	wake(false)
	if vendor.downloads != 4 {
		t.Errorf("%d downloads after an answer that could not be shown, want 4", vendor.downloads)
	}
}

// A certificate that is not delivered in time is fetched again with a pause, for as long as
// it takes: the request waits, nothing is refused, and nothing is bought again.
func TestDeliveryThatDoesNotEndIsFetchedAgain(t *testing.T) {
	cr, o, p, issuer := issuedFor(t)
	clock := clocktesting.NewFakePassiveClock(noon)
	vendor := &fickle{t: t, unread: &regfish.Error{Op: "download certificate", Kind: regfish.KindTransport, Message: "no answer in time", Err: context.DeadlineExceeded}}
	r, api := reconciler(t, vendor, clock, interceptor.Funcs{}, cr, o, p, issuer)
	for n := range 200 {
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		if err != nil || result.RequeueAfter < firstFetch || result.RequeueAfter > lastFetch {
			t.Fatalf("it is fetched again after %s: %v", result.RequeueAfter, err)
		}
		if vendor.downloads != n+1 {
			t.Fatalf("%d downloads, want %d", vendor.downloads, n+1)
		}
		clock.SetTime(clock.Now().Add(result.RequeueAfter))
	}
	if since := clock.Since(noon); since < 2*fetchFor {
		t.Fatalf("only %s passed", since)
	}
	var all v1alpha1.RegfishPurchaseList
	if err := api.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 1 || o.Status.PurchaseRef.CertificateID != "C1" || o.Status.State == v1alpha1.StateHeld || o.Status.State == v1alpha1.StateFailed {
		t.Errorf("%d purchases, the order is %s: %s", len(all.Items), o.Status.State, o.Status.Message)
	}
}

// After a handover the cache of requests may be behind that of orders. Nothing that happens
// to a request from then on need wake its order, so it is looked at again by itself.
func TestOrderWhoseRequestIsNotKnownYet(t *testing.T) {
	cr, o := request(t)
	earlier, undecided := cr.DeepCopy(), cr.DeepCopy()
	earlier.UID = "r0"
	undecided.Status.Conditions = nil
	for name, objects := range map[string][]client.Object{
		"the request is not there":                      {o.DeepCopy()},
		"an earlier request of its name is still there": {o.DeepCopy(), earlier},
		"that it was approved is not known":             {o.DeepCopy(), undecided},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := reconciler(t, &fickle{t: t}, clocktesting.NewFakePassiveClock(noon), interceptor.Funcs{}, objects...)
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
			if err != nil || result.RequeueAfter != requestLag {
				t.Errorf("it is looked at again after %s, %v; want %s", result.RequeueAfter, err, requestLag)
			}
		})
	}
}
