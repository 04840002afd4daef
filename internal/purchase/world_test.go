// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

const ledgerUID = types.UID("ledger-uid")

// world is an API server without rules, a vendor without a network, and a clock
// that stands still.
type world struct {
	t      testing.TB
	api    client.WithWatch
	vendor *vendor
	clock  *clocktesting.FakePassiveClock
}

func newWorld(t testing.TB, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{cmapi.AddToScheme, v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	index := func(value func(*v1alpha1.RegfishPurchase) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{value(o.(*v1alpha1.RegfishPurchase))} }
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		// Nothing here applies, and the default converter takes seconds to make.
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithStatusSubresource(&v1alpha1.RegfishPurchase{}, &v1alpha1.RegfishClusterIssuer{}, &v1alpha1.RegfishIssuer{}, &cmapi.CertificateRequest{}).
		WithIndex(&v1alpha1.RegfishPurchase{}, FieldNamesHash, index(func(p *v1alpha1.RegfishPurchase) string { return p.Spec.NamesHash })).
		WithIndex(&v1alpha1.RegfishPurchase{}, FieldNamespace, index(func(p *v1alpha1.RegfishPurchase) string { return p.Spec.Beneficiary.Namespace })).
		WithIndex(&v1alpha1.RegfishPurchase{}, FieldCertificateName, index(func(p *v1alpha1.RegfishPurchase) string { return p.Spec.Beneficiary.CertificateName })).
		WithIndex(&v1alpha1.RegfishPurchase{}, IndexNames, index(func(p *v1alpha1.RegfishPurchase) string {
			return NamesKey(append([]string{p.Spec.CommonName}, p.Spec.DNSNames...))
		})).
		WithIndex(&v1alpha1.RegfishPurchase{}, FieldCertificateID, index(func(p *v1alpha1.RegfishPurchase) string { return p.Spec.CertificateID })).
		Build()
	return &world{t: t, api: api, vendor: &vendor{}, clock: clocktesting.NewFakePassiveClock(noon)}
}

// spender is a process of its own: it has its own nonce, and its calls go through
// the given faults.
func (w *world) spender(nonce string, faults interceptor.Funcs) *Spender {
	faulty := interceptor.NewClient(w.api, faults)
	return &Spender{
		Gatherer: Gatherer{
			Live: faulty, Ledger: ledger, LedgerUID: ledgerUID, ClusterUID: "cluster",
			Endpoint: func(i v1alpha1.Issuer) (string, error) { return regfish.CanonicalEndpoint(i.GetSpec().URL) },
		},
		Client:  faulty,
		Connect: func(context.Context, v1alpha1.Issuer) (Vendor, error) { return w.vendor, nil },
		Writer:  v1alpha1.Writer{PodUID: "pod", StartNonce: nonce},
		Clock:   w.clock,
	}
}

// spend spends for the request and fails the test on an error.
func (w *world) spend(s *Spender, cr *cmapi.CertificateRequest) Decision {
	w.t.Helper()
	d, _, err := s.Spend(w.t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
	if err != nil {
		w.t.Fatalf("Spend: %v", err)
	}
	return d
}

// purchases is the ledger, plans left out, by number.
func (w *world) purchases() []v1alpha1.RegfishPurchase {
	w.t.Helper()
	var list v1alpha1.RegfishPurchaseList
	if err := w.api.List(context.Background(), &list, client.InNamespace(ledger)); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.RegfishPurchase) int {
		return strings.Compare(a.Spec.NamesHash, b.Spec.NamesHash)*1000 + int(a.Spec.Number-b.Spec.Number)
	})
	return list.Items
}

// only is the one purchase of the ledger.
func (w *world) only() v1alpha1.RegfishPurchase {
	w.t.Helper()
	all := w.purchases()
	if len(all) != 1 {
		w.t.Fatalf("the ledger has %d purchases, want 1: %v", len(all), describe(all))
	}
	return all[0]
}

func (w *world) slots() int32 {
	w.t.Helper()
	var issuer v1alpha1.RegfishClusterIssuer
	if err := w.api.Get(context.Background(), client.ObjectKey{Name: theIssuer.Name}, &issuer); err != nil {
		w.t.Fatal(err)
	}
	if issuer.Status.Purchases == nil {
		return 0
	}
	return issuer.Status.Purchases.Count
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.api.Create(context.Background(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := w.api.Delete(context.Background(), o); err != nil {
		w.t.Fatal(err)
	}
}

// describe is the ledger in one line for each purchase.
func describe(ps []v1alpha1.RegfishPurchase) []string {
	var lines []string
	for _, p := range ps {
		line := fmt.Sprintf("%d %s %q", p.Spec.Number, p.Spec.Action, p.Spec.CertificateID)
		for _, a := range p.Spec.Attempts {
			result := "open"
			if a.Outcome != nil {
				result = a.Outcome.Result
			}
			line += fmt.Sprintf(" [%d %s by %s: %s]", a.Number, a.RequestUID, a.Writer.StartNonce, result)
		}
		for _, s := range p.Spec.Successors {
			line += fmt.Sprintf(" then %d", s.Number)
		}
		lines = append(lines, line)
	}
	return lines
}

// readyIssuer is theIssuer, checked, with the limit.
func readyIssuer(limit int32) *v1alpha1.RegfishClusterIssuer {
	return &v1alpha1.RegfishClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: theIssuer.Name, Generation: 1},
		Spec: v1alpha1.IssuerSpec{
			APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}, URL: endpoint, SKU: "RapidSSL",
			DCV: v1alpha1.DCV{Method: v1alpha1.DCVMethodCNAME, Publisher: v1alpha1.DCVPublisherExternal}, PurchaseLimit: v1alpha1.PurchaseLimit{Count: &limit},
		},
		Status: v1alpha1.IssuerStatus{
			Ledger:     &v1alpha1.Ledger{Namespace: ledger, NamespaceUID: ledgerUID},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonChecked, ObservedGeneration: 1}},
		},
	}
}

// approved is a request that is to be served, of the Certificate of its name
// without the last two characters.
func approved(ns, name string, uid types.UID, request []byte) *cmapi.CertificateRequest {
	controls := true
	return &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, UID: uid,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: name[:len(name)-2], UID: "certificate", Controller: &controls}},
		},
		Spec: cmapi.CertificateRequestSpec{
			Request:   request,
			IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: theIssuer.Kind, Name: theIssuer.Name},
		},
		Status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{
			{Type: cmapi.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue, Reason: "Approved"},
		}},
	}
}

// vendor counts orders, and answers as it is told.
type vendor struct {
	mu     sync.Mutex
	orders []regfish.OrderRequest
	// reissues that were asked for.
	reissues []regfish.ReissueRequest
	account  []regfish.Certificate
	pem      map[string][]byte
	// unheard ends every listing, unread every download.
	unheard, unread error
	// busy is why no order can be sent just now.
	busy error
	// reserved is how many orders were promised a call and have not given it up.
	reserved int
	// uncatalogued is why the catalogue cannot be read.
	uncatalogued error
	// key is the fingerprint of the key that is used; empty: that of the attempts.
	key string
	// unlisted are ids that the list leaves out.
	unlisted []string
	// listing runs when the account is listed.
	listing func()
	// reading runs when a certificate is read by its id.
	reading func()
	// before runs when an order is asked for, ahead of its last check.
	before func()
	// answer is what an order is answered with; nil: accepted and pending.
	answer func(n int) regfish.OrderResult
}

func (v *vendor) Fingerprint() string { return cmp.Or(v.key, "fingerprint") }

func (v *vendor) Products(context.Context) ([]regfish.Product, error) {
	return []regfish.Product{{SKU: "RapidSSL"}, {SKU: "SecureSite"}}, v.uncatalogued
}

func (v *vendor) Certificates(_ context.Context, each func(regfish.Certificate) error) error {
	v.mu.Lock()
	rows, err, listing := slices.Clone(v.account), v.unheard, v.listing
	v.mu.Unlock()
	if listing != nil {
		listing()
	}
	for _, c := range rows {
		if slices.Contains(v.unlisted, c.ID) {
			continue
		}
		if err := each(c); err != nil {
			return err
		}
	}
	return err
}

func (v *vendor) Certificate(_ context.Context, id string) (regfish.Certificate, error) {
	if v.reading != nil {
		v.reading()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.account {
		if c.ID == id {
			if c.CommonName == "" && len(c.DNSNames) == 0 {
				c.CommonName = "www.example.com" // what the list leaves out
			}
			return c, nil
		}
	}
	return regfish.Certificate{}, &regfish.Error{Op: "read certificate", Kind: regfish.KindNotFound, Status: 404}
}

func (v *vendor) Download(_ context.Context, id string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unread != nil {
		return nil, v.unread
	}
	if data, ok := v.pem[id]; ok {
		return data, nil
	}
	return nil, &regfish.Error{Op: "download certificate", Kind: regfish.KindConflict, Status: 409}
}

func (v *vendor) Reserve(ctx context.Context) (context.Context, func(), error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy != nil {
		return nil, nil, v.busy
	}
	v.reserved++
	return ctx, sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.reserved--
	}), nil
}

func (v *vendor) Order(_ context.Context, r regfish.OrderRequest, mayWrite func() error) regfish.OrderResult {
	if v.before != nil {
		v.before()
	}
	if err := mayWrite(); err != nil {
		return regfish.OrderResult{Outcome: regfish.NotSent, Err: &regfish.Error{Op: "place order", Kind: regfish.KindRefused, Message: "not sent: " + err.Error(), Err: err}}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.orders = append(v.orders, r)
	n := len(v.orders)
	if v.answer != nil {
		return v.answer(n)
	}
	c := regfish.Certificate{ID: numberedID(n), Status: regfish.StatusPending, CommonName: r.CommonName, DNSNames: r.DNSNames}
	v.account = append(v.account, c)
	return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: c}
}

func (v *vendor) Reissue(_ context.Context, id string, r regfish.ReissueRequest, mayWrite func() error) regfish.OrderResult {
	if v.before != nil {
		v.before()
	}
	if err := mayWrite(); err != nil {
		return regfish.OrderResult{Outcome: regfish.NotSent, Err: &regfish.Error{Op: "reissue certificate", Kind: regfish.KindRefused, Message: "not sent: " + err.Error(), Err: err}}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reissues = append(v.reissues, r)
	if v.answer != nil {
		return v.answer(len(v.reissues))
	}
	for i := range v.account {
		if c := &v.account[i]; c.ID == id {
			c.Reissue = &regfish.Reissue{ID: fmt.Sprint(len(v.reissues)), Status: regfish.ReissuePending}
			return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: *c}
		}
	}
	return regfish.OrderResult{Outcome: regfish.Rejected, Status: 404, Err: &regfish.Error{Op: "reissue certificate", Kind: regfish.KindNotFound, Status: 404, Message: "unknown"}}
}

// sent is how many orders were placed.
func (v *vendor) sent() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.orders)
}

// answers makes the vendor answer every order the same.
func answers(outcome regfish.Outcome, kind regfish.Kind, status int, message string) func(int) regfish.OrderResult {
	return func(int) regfish.OrderResult {
		return regfish.OrderResult{Outcome: outcome, Status: status, Err: &regfish.Error{Op: "place order", Kind: kind, Status: status, Message: message}}
	}
}

// once runs f on the first call only.
func once(f func()) func() {
	var done atomic.Bool
	return func() {
		if done.CompareAndSwap(false, true) {
			f()
		}
	}
}

var errServer = errors.New("the API server does not answer")

// shopWWW is the request that most tests spend for.
func shopWWW(t testing.TB) *cmapi.CertificateRequest {
	t.Helper()
	return approved(namespace, "www-1", "r1", csr(t, keyA, "www.example.com"))
}

// none is an API server without faults.
var none = interceptor.Funcs{}

func isPurchase(o client.Object) bool {
	_, ok := o.(*v1alpha1.RegfishPurchase)
	return ok
}

func conflict(o client.Object) error {
	return apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.Group, Resource: "regfishpurchases"}, o.GetName(), errors.New("the object has been modified"))
}

// tried is one attempt in the ledger.
type tried struct {
	Result  string
	Final   bool
	Status  int32
	Request string
}

func attempts(p v1alpha1.RegfishPurchase) []tried {
	var list []tried
	for _, a := range p.Spec.Attempts {
		tr := tried{Request: string(a.RequestUID)}
		if a.Outcome != nil {
			tr.Result, tr.Final, tr.Status = a.Outcome.Result, a.Outcome.Final, a.Outcome.HTTPStatus
		}
		list = append(list, tr)
	}
	return list
}
