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
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// A Certificate goes on with what was bought for one of another name that has been gone for
// a day. While it waits for a reissue of that, its order shows the records of the reissue:
// nobody else would, and after a day a certificate would be bought beside it.
func TestReportShowsTheRecordsOfWhatIsInherited(t *testing.T) {
	now := time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, problems := pki.Preflight(pki.Spec{CSR: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := purchase.Want{
		Beneficiary: v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "old", RequestName: "old-1", RequestUID: "r0"},
		Issuer:      v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		Endpoint:    "https://api.regfish.com", Request: csr, SKU: "RapidSSL", DCVMethod: v1alpha1.DCVMethodCNAME,
	}
	p := purchase.New(want, "ledger", 1)
	p.Spec.CertificateID = "C1"
	p.Spec.Reissues = []v1alpha1.Reissue{{Number: 1, Beneficiary: want.Beneficiary, KeySHA256: "another", KeyAlgorithm: csr.KeyAlgorithm}}
	gone := metav1.NewTime(now.Add(-48 * time.Hour))
	p.Status.BeneficiaryGoneSince = &gone
	p.Status.DCV = &v1alpha1.DCVStatus{Method: v1alpha1.DCVMethodCNAME, Records: []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}}}
	want.Beneficiary = v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "new", RequestName: "new-1", RequestUID: "r1"}

	o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "new-1", UID: "o1"}}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	named := func(client.Object) []string { return nil }
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(o, p).WithStatusSubresource(o, p).
		WithIndex(p, controller.PurchasesByRecord, func(client.Object) []string { return []string{"_a.example.com."} }).
		WithIndex(o, controller.OrdersByPurchase, named).Build()
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	r := New(Options{Client: api, Recorder: events.NewFakeRecorder(10), Clock: clocktesting.NewFakePassiveClock(now)})
	in := &input{order: o, request: &cmapi.CertificateRequest{}, facts: purchase.Facts{Now: now, Want: want}}
	d := purchase.Decision{Step: purchase.StepWait, Purchase: p, Reason: v1alpha1.ReasonWaitingForPurchase, Message: "waits for C1."}
	if _, err := r.report(t.Context(), o, in, outcome{decision: d}); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	if o.Status.DCV == nil || len(o.Status.DCV.Records) != 1 {
		t.Errorf("the order shows %+v", o.Status.DCV)
	}
}

// DNS automation needs no Warning for each certificate. Where none sets the record, somebody
// is told in time, also if the process is another one by then.
func TestWaitForDNSIsToldOfWhenNobodyEndsIt(t *testing.T) {
	cr, o, p, _ := issuedFor(t)
	p.Status = purchase.Observe(p, purchase.Observation{RequestLive: true, Vendor: &regfish.Certificate{ID: "C1", Status: regfish.StatusPending}})
	p.Status.DCV = &v1alpha1.DCVStatus{Method: v1alpha1.DCVMethodCNAME, Records: []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}}}
	csr, problems := purchase.Preflight(cr)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	clock := clocktesting.NewFakePassiveClock(noon)
	_, api := reconciler(t, nil, clock, interceptor.Funcs{}, cr, o, p)
	warnings := events.NewFakeRecorder(100)
	const patience = 5 * time.Minute
	process := func() *Reconciler {
		return New(Options{Client: api, Recorder: warnings, Clock: clock, DNSPatience: patience})
	}
	r, told := process(), 0
	look := func(events int, next time.Duration) {
		t.Helper()
		o := o.DeepCopy()
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		want := purchase.Want{Beneficiary: p.Spec.Beneficiary, Issuer: p.Spec.IssuerRef, Endpoint: p.Spec.Endpoint, Request: csr, SKU: p.Spec.SKU, DCVMethod: p.Spec.DCVMethod}
		in := &input{order: o, request: cr, facts: purchase.Facts{Now: clock.Now(), Want: want}}
		result, err := r.report(t.Context(), o, in, outcome{decision: purchase.Decision{Step: purchase.StepFollow, Purchase: p}})
		if err != nil || result.RequeueAfter != next {
			t.Errorf("after %s: it is looked at again after %s, %v; want %s", clock.Since(noon), result.RequeueAfter, err, next)
		}
		for ; len(warnings.Events) > 0; told++ {
			if e := <-warnings.Events; !strings.HasPrefix(e, "Warning AwaitingDNS") {
				told--
			}
		}
		if told != events {
			t.Errorf("after %s: there were %d events, want %d", clock.Since(noon), told, events)
		}
	}
	look(0, patience)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	for i := range o.Status.Conditions {
		o.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon)
	}
	if err := api.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	clock.SetTime(noon.Add(time.Minute))
	r = process()
	look(0, patience-time.Minute)
	clock.SetTime(noon.Add(patience))
	look(2, day) // on the order and the request, which no Certificate owns
	// Whether the process before lived to tell it is not known.
	clock.SetTime(noon.Add(patience + time.Minute))
	r = process()
	look(4, day)
	clock.SetTime(noon.Add(patience + handover))
	r = process()
	look(4, day-handover)
	clock.SetTime(noon.Add(patience + day))
	look(6, day)
}

// The client decodes what the API server answers into what was sent, in the place of what
// stands there. What a decision read is the cache's, and others read it meanwhile.
func TestWhatIsWrittenIsNotThatOfTheCache(t *testing.T) {
	cr, o, p, issuer := issuedFor(t)
	pending := purchase.Observe(p, purchase.Observation{RequestLive: true, Vendor: &regfish.Certificate{
		ID: "C1", Status: regfish.StatusPending, ContractValidUntil: new(noon.Add(day)), ValidFrom: new(noon), ValidUntil: new(noon.Add(day)),
		Validation: &regfish.Validation{EmailTargets: []string{"admin@example.com"}, DNSRecords: []regfish.DNSRecord{{Name: "_a.example.com", Type: "CNAME", Value: "b.example.net"}}},
	}})
	csr, problems := purchase.Preflight(cr)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := purchase.Want{Beneficiary: p.Spec.Beneficiary, Issuer: p.Spec.IssuerRef, Endpoint: p.Spec.Endpoint, Request: csr, SKU: p.Spec.SKU, DCVMethod: p.Spec.DCVMethod}
	for name, tt := range map[string]struct {
		status v1alpha1.PurchaseStatus
		write  func(r *Reconciler, in *input, p *v1alpha1.RegfishPurchase) error
	}{
		"an order that follows its purchase": {pending, func(r *Reconciler, in *input, p *v1alpha1.RegfishPurchase) error {
			_, err := r.report(t.Context(), in.order.DeepCopy(), in, outcome{decision: purchase.Decision{Step: purchase.StepFollow, Purchase: p}})
			return err
		}},
		"the dates of a delivery": {p.Status, func(r *Reconciler, _ *input, p *v1alpha1.RegfishPurchase) error {
			return r.clear(t.Context(), p, &pki.Bundle{Leaf: &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(day)}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cached := p.DeepCopy()
			cached.Status = *tt.status.DeepCopy()
			written := 0
			r, _ := reconciler(t, nil, clocktesting.NewFakePassiveClock(noon), interceptor.Funcs{
				SubResourcePatch: func(_ context.Context, _ client.Client, _ string, object client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
					written++
					decodedInto(reflect.ValueOf(object).Elem())
					return nil
				},
			}, cr, o, p, issuer)
			in := &input{order: o, request: cr, facts: purchase.Facts{Now: noon, Want: want}}
			before := cached.DeepCopy()
			if err := tt.write(r, in, cached); err != nil || written != 1 {
				t.Fatalf("%d writes, %v", written, err)
			}
			if diff := cmp.Diff(before, cached); diff != "" {
				t.Errorf("the purchase in the cache was written to (-want +got):\n%s", diff)
			}
		})
	}
}

// decodedInto writes wherever a decoder would: into what is pointed to, and into the elements
// of lists.
func decodedInto(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			decodedInto(v.Elem())
		}
	case reflect.Struct:
		if at, ok := v.Addr().Interface().(*metav1.Time); ok {
			at.Time = at.Add(time.Second)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				decodedInto(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			decodedInto(v.Index(i))
		}
	case reflect.String:
		v.SetString(v.String() + "!")
	default:
	}
}
