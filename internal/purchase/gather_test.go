// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

func TestToServe(t *testing.T) {
	says := func(kind cmapi.CertificateRequestConditionType, status cmmeta.ConditionStatus, reason string) func(*cmapi.CertificateRequest) {
		return func(cr *cmapi.CertificateRequest) {
			cr.Status.Conditions = append(cr.Status.Conditions, cmapi.CertificateRequestCondition{Type: kind, Status: status, Reason: reason})
		}
	}
	for name, tt := range map[string]struct {
		change func(*cmapi.CertificateRequest)
		want   bool
	}{
		"approved":                     {func(*cmapi.CertificateRequest) {}, true},
		"approved and pending":         {says(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonPending), true},
		"found valid":                  {says(cmapi.CertificateRequestConditionInvalidRequest, cmmeta.ConditionFalse, "Fine"), true},
		"not decided on":               {func(cr *cmapi.CertificateRequest) { cr.Status.Conditions = nil }, false},
		"approved False":               {func(cr *cmapi.CertificateRequest) { cr.Status.Conditions[0].Status = cmmeta.ConditionFalse }, false},
		"approved and denied":          {says(cmapi.CertificateRequestConditionDenied, cmmeta.ConditionTrue, "Denied"), false},
		"failed":                       {says(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed), false},
		"Ready for the reason Denied":  {says(cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonDenied), false},
		"issued":                       {says(cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued), false},
		"invalid":                      {says(cmapi.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, "Invalid"), false},
		"answered":                     {func(cr *cmapi.CertificateRequest) { cr.Status.Certificate = []byte("x") }, false},
		"being deleted":                {func(cr *cmapi.CertificateRequest) { cr.DeletionTimestamp = at(noon) }, false},
		"approved, with nothing known": {func(cr *cmapi.CertificateRequest) { cr.Status.Conditions = cr.Status.Conditions[:1] }, true},
	} {
		cr := shopWWW(t)
		tt.change(cr)
		if got := ToServe(cr); got != tt.want {
			t.Errorf("a request that is %s is to be served: %v", name, got)
		}
	}
}

func TestIssuerRefOf(t *testing.T) {
	for kind, want := range map[string]v1alpha1.IssuerRef{
		"":                         {Kind: v1alpha1.KindIssuer, Namespace: "shop", Name: "regfish"},
		v1alpha1.KindIssuer:        {Kind: v1alpha1.KindIssuer, Namespace: "shop", Name: "regfish"},
		v1alpha1.KindClusterIssuer: {Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		"Other":                    {Kind: "Other", Namespace: "shop", Name: "regfish"},
	} {
		cr := shopWWW(t)
		cr.Spec.IssuerRef.Kind = kind
		if got := IssuerRefOf(cr); got != want {
			t.Errorf("kind %q: %+v", kind, got)
		}
	}
}

func TestRequestLive(t *testing.T) {
	first, second := shopWWW(t), approved(namespace, "www-2", "r2", csr(t, keyA, "www.example.com"))
	denied := approved(namespace, "www-3", "r3", csr(t, keyA, "www.example.com"))
	denied.Status.Conditions = nil
	w := newWorld(t, first, second, denied)
	attemptFor := func(name string, uid types.UID) change {
		return func(p *v1alpha1.RegfishPurchase) {
			attempted(v1alpha1.OutcomeNotSent, time.Hour)(p)
			last := &p.Spec.Attempts[len(p.Spec.Attempts)-1]
			last.RequestName, last.RequestUID = name, uid
		}
	}
	for name, tt := range map[string]struct {
		changes []change
		want    bool
	}{
		"without attempts, the request that it was made for":      {nil, true},
		"without attempts, one that was made again":               {[]change{forRequest("r0"), func(p *v1alpha1.RegfishPurchase) { p.Spec.Beneficiary.RequestName = "www-1" }}, false},
		"with an attempt, the request of the last":                {[]change{forRequest("r0"), attemptFor("www-1", "r1")}, true},
		"with attempts for two, the request of the last":          {[]change{attemptFor("gone-1", "r0"), attemptFor("www-2", "r2")}, true},
		"with attempts for two, not the request of the first":     {[]change{attemptFor("www-1", "r1"), attemptFor("gone-1", "r0")}, false},
		"a request of the name with another UID":                  {[]change{attemptFor("www-1", "r0")}, false},
		"a request that nobody approved any more":                 {[]change{attemptFor("www-3", "r3")}, false},
		"a request of the name in another namespace is no matter": {[]change{attemptFor("www-1", "r1"), inNamespace("blog")}, false},
	} {
		p := record(t, 1, tt.changes...)
		if got, err := RequestLive(t.Context(), w.api, &p); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	broken := interceptor.NewClient(w.api, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errServer
	}})
	p := record(t, 1)
	if _, err := RequestLive(t.Context(), broken, &p); !errors.Is(err, errServer) {
		t.Errorf("an API server that does not answer says that the request is gone: %v", err)
	}
}

func TestFactsOfTheIssuer(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.RegfishClusterIssuer)
		says   string // empty: it can be used
	}{
		"a checked one": {func(*v1alpha1.RegfishClusterIssuer) {}, ""},
		"one that is not ready": {func(i *v1alpha1.RegfishClusterIssuer) {
			i.Status.Conditions[0].Status, i.Status.Conditions[0].Reason, i.Status.Conditions[0].Message = metav1.ConditionFalse, "KeyRejected", "bad key."
		}, "is not ready (KeyRejected), and its owner has to act: bad key."},
		"one whose endpoint does not answer": {func(i *v1alpha1.RegfishClusterIssuer) {
			i.Status.Conditions[0].Status, i.Status.Conditions[0].Reason, i.Status.Conditions[0].Message = metav1.ConditionFalse, "EndpointUnreachable", "no answer."
		}, "is not ready (EndpointUnreachable): no answer."},
		"one that was never checked":    {func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Conditions = nil }, "was not checked yet"},
		"one that changed since it was": {func(i *v1alpha1.RegfishClusterIssuer) { i.Generation = 2 }, "was not checked yet"},
		"one that is being deleted": {func(i *v1alpha1.RegfishClusterIssuer) {
			i.Finalizers, i.DeletionTimestamp = []string{"test/finalizer"}, at(noon)
		}, "is being deleted"},
		"one without a ledger":               {func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Ledger = nil }, "is another one than this controller's"},
		"one with a ledger of another name":  {func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Ledger.Namespace = "other" }, "is another one than this controller's"},
		"one with a namesake of this ledger": {func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Ledger.NamespaceUID = "other" }, "is another one than this controller's"},
		"one whose url cannot be used":       {func(i *v1alpha1.RegfishClusterIssuer) { i.Spec.URL = "http://insecure.example" }, "is not ready: endpoint must begin with https://"},
		"one that does not exist":            {func(i *v1alpha1.RegfishClusterIssuer) { i.Name = "other" }, "there is no RegfishClusterIssuer regfish; create it"},
	} {
		issuer := readyIssuer(50)
		tt.change(issuer)
		cr := shopWWW(t)
		w := newWorld(t, issuer, cr)
		s := w.spender("one", none)
		f, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch {
		case f.Issuer == nil && tt.says != "":
			t.Errorf("%s can be used", name)
		case f.Issuer != nil && (tt.says == "" || !strings.Contains(f.Issuer.Message, tt.says) || f.Issuer.Reason != v1alpha1.ReasonIssuerNotReady):
			t.Errorf("%s: %+v", name, f.Issuer)
		}
		if d := w.spend(s, cr); (d.Step == StepFollow) != (tt.says == "") || w.vendor.sent() > 0 != (tt.says == "") {
			t.Errorf("%s: step %d, %d orders", name, d.Step, w.vendor.sent())
		}
	}
	cr := shopWWW(t)
	cr.Spec.IssuerRef.Kind = "Other"
	w := newWorld(t, readyIssuer(50), cr)
	if d := w.spend(w.spender("one", none), cr); d.Step != StepQueue || !strings.Contains(d.Message, "there is no Other shop/regfish") {
		t.Errorf("an unknown kind: step %d: %s", d.Step, d.Message)
	}
}

// What the issuer is set up for decides what is ordered for a request, and what its
// owner has to add first.
func TestFactsOfTheOrder(t *testing.T) {
	dv, ov := v1alpha1.Product{SKU: "RapidSSL", ValidationLevel: "dv"}, v1alpha1.Product{SKU: "SecureSite", ValidationLevel: "ov", OrganizationRequired: true}
	type order struct {
		SKU, Organization string
		Method            v1alpha1.DCVMethod
		Emails            []string
	}
	for name, tt := range map[string]struct {
		reason string
		names  []string
		change func(*v1alpha1.RegfishClusterIssuer)
		want   order
		says   string // empty: it can be bought
	}{
		"a domain-validated product": {
			reason: "no organization belongs to it", names: []string{"www.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) { i.Spec.OrganizationID, i.Status.Product = "hdl_1", &dv },
			want:   order{SKU: "RapidSSL", Method: v1alpha1.DCVMethodCNAME},
		},
		"an organization-validated product": {
			reason: "it is ordered for the organization, in the catalogue's spelling", names: []string{"www.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) {
				i.Spec.SKU, i.Spec.OrganizationID, i.Status.Product = "securesite", "hdl_1", &ov
			},
			want: order{SKU: "SecureSite", Organization: "hdl_1", Method: v1alpha1.DCVMethodCNAME},
		},
		"an organization-validated product that does not say so": {
			reason: "the level says it", names: []string{"www.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) {
				i.Spec.SKU, i.Spec.OrganizationID, i.Status.Product = "SecureSite", "hdl_1", &v1alpha1.Product{SKU: "SecureSite", ValidationLevel: "ov"}
			},
			want: order{SKU: "SecureSite", Organization: "hdl_1", Method: v1alpha1.DCVMethodCNAME},
		},
		"a wildcard": {
			reason: "it is another product", names: []string{"example.com", "*.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) {
				i.Spec.WildcardSKU, i.Status.Product, i.Status.WildcardProduct = "rapidsslwildcard", &dv, &v1alpha1.Product{SKU: "RapidSSLWildcard", ValidationLevel: "dv"}
			},
			want: order{SKU: "RapidSSLWildcard", Method: v1alpha1.DCVMethodCNAME},
		},
		"a wildcard of an organization": {
			reason: "the organization belongs to the product that is bought", names: []string{"*.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) {
				i.Spec.WildcardSKU, i.Spec.OrganizationID, i.Status.Product, i.Status.WildcardProduct = "SecureSite", "hdl_1", &dv, &ov
			},
			want: order{SKU: "SecureSite", Organization: "hdl_1", Method: v1alpha1.DCVMethodCNAME},
		},
		"a wildcard without a product for it": {
			reason: "the issuer's owner has to choose one", names: []string{"*.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Product = &dv },
			want:   order{Method: v1alpha1.DCVMethodCNAME},
			says:   "the request has the wildcard *.example.com, and spec.wildcardSKU of RegfishClusterIssuer regfish names no product for wildcards",
		},
		"validation by mail": {
			reason: "the addresses go with the order", names: []string{"www.example.com"},
			change: func(i *v1alpha1.RegfishClusterIssuer) {
				i.Spec.DCV.Method, i.Spec.DCV.Emails, i.Status.Product = v1alpha1.DCVMethodEmail, []string{"admin@example.com"}, &dv
			},
			want: order{SKU: "RapidSSL", Method: v1alpha1.DCVMethodEmail, Emails: []string{"admin@example.com"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, cr := readyIssuer(50), approved(namespace, "www-1", "r1", csr(t, keyA, tt.names...))
			tt.change(issuer)
			w := newWorld(t, issuer, cr)
			s := w.spender("one", none)
			f, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, tt.names...), noon)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, order{f.Want.SKU, f.Want.OrganizationID, f.Want.DCVMethod, f.Want.DCVEmails}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			d := w.spend(s, cr)
			if tt.says != "" {
				if d.Step != StepQueue || d.Reason != v1alpha1.ReasonWildcardSKURequired || !strings.Contains(d.Message, tt.says) || w.vendor.sent() != 0 {
					t.Errorf("%s: step %d (%s), %d orders", tt.reason, d.Step, d.Message, w.vendor.sent())
				}
				return
			}
			p := w.only()
			if diff := cmp.Diff(tt.want, order{p.Spec.SKU, p.Spec.OrganizationID, p.Spec.DCVMethod, p.Spec.DCVEmails}); diff != "" {
				t.Errorf("the record: %s (-want +got):\n%s", tt.reason, diff)
			}
			method := map[v1alpha1.DCVMethod]string{v1alpha1.DCVMethodCNAME: regfish.DCVMethodCNAME, v1alpha1.DCVMethodEmail: regfish.DCVMethodEmail}[tt.want.Method]
			sent := w.vendor.orders[0]
			if diff := cmp.Diff([]any{tt.want.SKU, tt.want.Organization, method, tt.want.Emails}, []any{sent.SKU, sent.OrganizationID, sent.DCVMethod, sent.DCVEmails}); diff != "" {
				t.Errorf("the order: %s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	issuer := readyIssuer(7)
	issuer.Spec.SKU = "rapidssl"
	issuer.Status.Product = &v1alpha1.Product{SKU: "RapidSSL"}
	issuer.Status.Purchases = &v1alpha1.IssuerPurchases{Window: []v1alpha1.PurchaseBucket{used(1, "blog", 3)}}
	cr := shopWWW(t)
	cr.Labels = map[string]string{"team": "web"}
	certificate := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "www"}}
	waiting := record(t, 1, forKey(t, keyB), attempted(v1alpha1.OutcomeNotSent, time.Hour))
	otherLedger := record(t, 1)
	otherLedger.Name, otherLedger.Namespace = "other", "another-ledger"
	otherNames := record(t, 2)
	otherNames.Spec.NamesHash = "0123456789abcdef"
	live := approved(namespace, "www-0", "r0", csr(t, keyB, "www.example.com"))
	before := record(t, 1, elsewhere, placed("C9", time.Hour))
	before.Name, before.Spec.NamesHash = "before-1", "fedcba9876543210"
	strangers := record(t, 1, elsewhere, inNamespace("blog"), placed("C8", time.Hour))
	strangers.Name, strangers.Spec.NamesHash = "strangers-1", "fedcba9876543210"
	w := newWorld(t, issuer, cr, certificate, &waiting, &otherLedger, &otherNames, &before, &strangers, live)
	s := w.spender("one", none)
	request := preflighted(t, keyA, "www.example.com")

	f, got, err := s.Facts(t.Context(), nil, cr, request, noon)
	if err != nil || got.GetName() != "regfish" {
		t.Fatal(got, err)
	}
	wantWant := wanted(t)
	wantWant.Request, wantWant.Labels = request, cr.Labels
	if diff := cmp.Diff(wantWant, f.Want); diff != "" {
		t.Errorf("what is wanted (-want +got):\n%s", diff)
	}
	if len(f.Purchases) != 1 || f.Purchases[0].Name != waiting.Name {
		t.Errorf("purchases: %v", describe(f.Purchases))
	}
	if len(f.Elsewhere) != 1 || f.Elsewhere[0].Name != "before-1" {
		t.Errorf("purchases at other endpoints: %v", describe(f.Elsewhere))
	}
	if diff := cmp.Diff(map[types.UID]bool{"r0": true}, f.Live); diff != "" {
		t.Errorf("live requests (-want +got):\n%s", diff)
	}
	if f.Slots.Limit != 7 || f.Slots.Used != 3 || f.InNamespace != nil || f.Certificate == nil || f.Baseline != nil || f.Issuer != nil {
		t.Errorf("slots %+v, Certificate %v, baseline %v, issuer %v", f.Slots, f.Certificate, f.Baseline, f.Issuer)
	}

	// From a cache the Certificate is only read where a decision may depend on it.
	f, _, err = s.Facts(t.Context(), w.api, cr, request, noon)
	if err != nil || f.Certificate != nil {
		t.Errorf("Certificate %v, error %v", f.Certificate, err)
	}
	served := record(t, 3, placed("C1", days(30)), issuedFor(monthAgo, inHalfAYear))
	served.Spec.Request = cr.Spec.Request
	w.create(&served)
	served.Status = record(t, 3, issuedFor(monthAgo, inHalfAYear)).Status
	if err := w.api.Status().Update(t.Context(), &served); err != nil {
		t.Fatal(err)
	}
	f, _, err = s.Facts(t.Context(), w.api, cr, request, noon)
	if err != nil || f.Certificate == nil {
		t.Errorf("Certificate %v, error %v", f.Certificate, err)
	}
}

// While the issuer is gone or may not be called, nothing is bought, and what was
// paid for is followed all the same.
func TestFactsWithoutAnIssuer(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.RegfishClusterIssuer){
		"gone":        func(i *v1alpha1.RegfishClusterIssuer) { i.Name = "other" },
		"not allowed": func(i *v1alpha1.RegfishClusterIssuer) { i.Spec.URL = "http://insecure.example" },
	} {
		cr := shopWWW(t)
		mine := record(t, 1, placed("C1", time.Hour))
		mine.Spec.Request = cr.Spec.Request
		before := record(t, 1, elsewhere, forKey(t, keyB), placed("C2", days(40)))
		before.Name, before.Spec.NamesHash = "before-1", "fedcba9876543210"
		strangers := record(t, 2, inNamespace("blog"), placed("C3", time.Hour))
		issuer := readyIssuer(50)
		change(issuer)
		w := newWorld(t, issuer, cr, &mine, &before, &strangers)
		s := w.spender("one", none)
		f, _, err := s.Facts(t.Context(), nil, cr, preflighted(t, keyA, "www.example.com"), noon)
		if err != nil || f.Issuer == nil || len(f.Purchases) != 2 {
			t.Errorf("the issuer is %s: %v, issuer %v, error %v", name, describe(f.Purchases), f.Issuer, err)
		}
		if d := w.spend(s, cr); d.Step != StepFollow || d.Purchase.Spec.CertificateID != "C1" {
			t.Errorf("the issuer is %s: step %d: %s", name, d.Step, d.Message)
		}
		other := approved(namespace, "www-2", "r2", csr(t, newKey(), "www.example.com"))
		w.create(other)
		if d := w.spend(s, other); d.Step != StepWait && d.Step != StepQueue {
			t.Errorf("the issuer is %s, another key: step %d: %s", name, d.Step, d.Message)
		}
		if got := w.vendor.sent(); got != 0 {
			t.Errorf("the issuer is %s: %d orders were placed", name, got)
		}
	}
}

// A request is of a Certificate only if cert-manager's own kind controls it.
func TestWantBeneficiary(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*metav1.OwnerReference)
		want   string
	}{
		"a Certificate":                  {func(*metav1.OwnerReference) {}, "www"},
		"a Certificate of another group": {func(o *metav1.OwnerReference) { o.APIVersion = "example.com/v1" }, ""},
		"another kind":                   {func(o *metav1.OwnerReference) { o.Kind = "Other" }, ""},
		"an owner that does not control": {func(o *metav1.OwnerReference) { o.Controller = nil }, ""},
	} {
		cr := shopWWW(t)
		tt.change(&cr.OwnerReferences[0])
		got := want(cr, preflighted(t, keyA, "www.example.com")).Beneficiary
		if diff := cmp.Diff(v1alpha1.Beneficiary{Namespace: namespace, CertificateName: tt.want, RequestName: "www-1", RequestUID: "r1"}, got); diff != "" {
			t.Errorf("a request of %s (-want +got):\n%s", name, diff)
		}
	}
}

// The baseline has every certificate of the account that shares a canonical name,
// whoever holds it: none of them can be the result of the next order.
func TestBaseline(t *testing.T) {
	cr := shopWWW(t)
	held := record(t, 1, inNamespace("blog"), placed("HELD", days(3)))
	w := newWorld(t, readyIssuer(50), cr, &held)
	w.vendor.account = []regfish.Certificate{
		{ID: "SAME", Status: regfish.StatusCancelled, CommonName: "www.example.com"},
		{ID: "BARE", Status: regfish.StatusRejected, CommonName: "example.com"},
		{ID: "AMONG", Status: regfish.StatusExpired, CommonName: "else.example.org", DNSNames: []string{"WWW.Example.com."}},
		{ID: "HELD", Status: regfish.StatusPending, CommonName: "www.example.com"},
		{ID: "SUB", Status: regfish.StatusPending, CommonName: "shop.example.com"},
		{ID: "WILD", Status: regfish.StatusPending, CommonName: "*.example.com"},
		{ID: "", Status: regfish.StatusPending, CommonName: "www.example.com"},
		{ID: "NAMELESS", Status: regfish.StatusCancelled},
	}
	w.spend(w.spender("one", none), cr)
	all := w.purchases()
	if diff := cmp.Diff([]string{"SAME", "BARE", "AMONG", "HELD", "NAMELESS"}, all[1].Spec.Attempts[0].BaselineIDs); diff != "" {
		t.Errorf("baseline (-want +got):\n%s", diff)
	}
}

// asked is a reader that remembers by which fields purchases were selected.
type asked struct {
	client.Reader
	fields []string
}

func (a *asked) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.FieldSelector != nil {
		a.fields = append(a.fields, o.FieldSelector.String())
	}
	return a.Reader.List(ctx, list, opts...)
}

// What is decided on the cache is decided again on the API server before money is spent: if
// they found different purchases, they would differ for ever.
func TestCacheAndServerFindTheSamePurchases(t *testing.T) {
	const here, there = "https://api.example", "https://api.example.org"
	number := int32(0)
	of := func(endpoint, namespace, certificate string, names ...string) (Want, *v1alpha1.RegfishPurchase) {
		number++
		w := Want{
			Endpoint: endpoint, Request: &pki.Request{DNSNames: pki.ExactNames("", names)},
			Beneficiary: v1alpha1.Beneficiary{Namespace: namespace, CertificateName: certificate, RequestName: "r", RequestUID: "r1"},
		}
		return w, New(w, ledger, number)
	}
	want, mine := of(here, "shop", "www", "www.example.com")
	_, bare := of(here, "shop", "www", "example.com")
	_, theirs := of(here, "blog", "www", "www.example.com")
	_, more := of(here, "shop", "www", "www.example.com", "a.example.com")
	_, elsewhere := of(there, "shop", "www", "WWW.example.com")
	_, bareElsewhere := of(there, "shop", "www", "example.com")
	_, theirsElsewhere := of(there, "blog", "www", "www.example.com")
	_, another := of(there, "shop", "api", "www.example.com")
	w := newWorld(t, mine, bare, theirs, more, elsewhere, bareElsewhere, theirsElsewhere, another)
	g := &Gatherer{Ledger: ledger, Live: w.api}
	for name, cached := range map[string]client.Reader{"the API server": nil, "the cache": w.api} {
		found, beside, err := g.ofNames(t.Context(), cached, want)
		if err != nil {
			t.Fatal(err)
		}
		var got [2][]string
		for i, list := range [][]v1alpha1.RegfishPurchase{found, beside} {
			for _, p := range list {
				got[i] = append(got[i], p.Name)
			}
			slices.Sort(got[i])
		}
		all := []string{mine.Name, bare.Name, theirs.Name}
		slices.Sort(all)
		if diff := cmp.Diff([2][]string{all, {elsewhere.Name}}, got); diff != "" {
			t.Errorf("%s finds (-want +got):\n%s", name, diff)
		}
	}
}

// A cache selects by one field and goes through what it found for the next. Another tenant
// may have a Certificate of the same name all the same; and what is at the endpoint that is
// wanted was found by its names already.
func TestPurchasesOfACertificateAreFoundAtOnce(t *testing.T) {
	of := func(namespace string, number int32) (Want, *v1alpha1.RegfishPurchase) {
		w := Want{
			Endpoint: "https://api.example", Request: &pki.Request{DNSNames: []string{"www.example.com"}},
			Beneficiary: v1alpha1.Beneficiary{Namespace: namespace, CertificateName: "www", RequestName: "www-1", RequestUID: "r1"},
		}
		return w, New(w, ledger, number)
	}
	want, mine := of("shop", 1)
	_, theirs := of("blog", 2)
	elsewhere := want
	elsewhere.Endpoint = "https://api.example.org"
	here := New(elsewhere, ledger, 3)
	reader := &asked{Reader: newWorld(t, mine, theirs, here).api}
	found, err := (&Gatherer{Ledger: ledger}).ofBeneficiary(t.Context(), reader, elsewhere)
	if err != nil || len(found) != 1 || found[0].Name != mine.Name {
		t.Errorf("found %v, %v", describe(found), err)
	}
	if diff := cmp.Diff([]string{IndexNames + "=" + NamesKey([]string{"example.com"})}, reader.fields); diff != "" {
		t.Errorf("selected by (-want +got):\n%s", diff)
	}
}
