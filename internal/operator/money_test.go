// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestUnknownOutcomeResolvesItself: whatever goes wrong with the answer, the order is
// found in the account and used, or it is found that there is none. Nothing is sent
// meanwhile, by any path.
func TestUnknownOutcomeResolvesItself(t *testing.T) {
	tests := []struct {
		name   string
		fault  simulator.Fault
		billed int
	}{
		{"the reply is lost after the order was made", simulator.Fault{Kind: simulator.FaultDrop, AfterCommit: true}, 1},
		{"the connection breaks before the order is made", simulator.Fault{Kind: simulator.FaultDrop}, 0},
		{"a 502 comes after the order was made", simulator.Fault{Kind: simulator.FaultStatus, Status: 502, AfterCommit: true}, 1},
		{"a 500 comes and no order was made", simulator.Fault{Kind: simulator.FaultStatus, Status: 500}, 0},
		{"the answer is garbage", simulator.Fault{Kind: simulator.FaultGarbage, AfterCommit: true}, 1},
		{"the answer is a page", simulator.Fault{Kind: simulator.FaultHTML, AfterCommit: true}, 1},
		{"the answer names no id", simulator.Fault{Kind: simulator.FaultNoID, AfterCommit: true}, 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.automateDNS()
			tc.fault.Endpoint = simulator.EndpointOrder
			w.vendor.InjectFault(tc.fault)
			// The order is in the account and not in the list.
			w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: time.Hour, Times: -1})
			stop := w.run()
			owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com"))
			w.create(owner)
			mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.OwnedBy(owner)}
			cr := w.request("www-1", append(mods, testenv.WithECDSA())...)
			o := w.order("www-1", "is resolving", inState(v1alpha1.StateResolving))
			if !strings.Contains(o.Status.Message, "regfish may or may not have taken the order of attempt 1") || !strings.Contains(o.Status.Message, "nobody has to act") {
				t.Errorf("it says %q", o.Status.Message)
			}
			w.answered(cr, cmapi.CertificateRequestReasonPending)

			// The paths by which it would be repeated: another key, a Certificate of the
			// same names elsewhere, a restart.
			w.request("www-2", append(mods, testenv.WithECDSA())...)
			w.order("www-2", "waits", inState(v1alpha1.StateWaiting))
			w.request("other", testenv.WithECDSA(), testenv.WithDNSNames("example.com"))
			w.order("other", "waits too: it shares a name", inState(v1alpha1.StateWaiting))
			stop()
			stop = w.run()
			w.request("www-3", append(mods, testenv.WithECDSA())...)
			w.order("www-3", "waits after a restart", inState(v1alpha1.StateWaiting))
			w.order("www-1", "is still resolving", inState(v1alpha1.StateResolving))
			if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
				t.Errorf("%d orders were sent, want 1", n)
			}
			for _, name := range []string{"www-2", "www-3", "other"} {
				w.remove(&cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}})
			}

			// The list has caught up.
			stop()
			w.vendor.ClearFaults()
			w.run(soonSettled)
			if tc.billed == 1 {
				w.answered(cr, cmapi.CertificateRequestReasonIssued)
				w.adopted()
			} else {
				w.order("www-1", "is tried again after a pause", func(o *v1alpha1.RegfishOrder) bool {
					return o.Status.State == v1alpha1.StateQueued && strings.Contains(o.Status.Message, "lack it")
				})
				if a := w.purchases()[0].Spec.Attempts[0]; a.Resolution == nil || a.Resolution.Result != v1alpha1.ResolutionNotFound {
					t.Errorf("attempt %+v", a)
				}
			}
			w.bought(tc.billed)
			if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
				t.Errorf("%d orders were sent, want 1", n)
			}
		})
	}
}

// soonSettled gives a lost order a second to appear.
func soonSettled(o *operator.Options) { o.SettleTime = time.Second }

// adopted waits until the only purchase is recorded as found, and by its key.
func (w *world) adopted() {
	w.t.Helper()
	w.eventually("the purchase is adopted", func() error {
		ps := w.purchases()
		if len(ps) != 1 || ps[0].Spec.CertificateID == "" || meta.FindStatusCondition(ps[0].Status.Conditions, v1alpha1.ConditionPlaced).Reason != v1alpha1.ReasonAdopted {
			return fmt.Errorf("ledger %+v", ps)
		}
		last := ps[0].Spec.Attempts[len(ps[0].Spec.Attempts)-1]
		if last.Resolution == nil || last.Resolution.Result != v1alpha1.ResolutionAdopted || last.Resolution.CertificateID != ps[0].Spec.CertificateID {
			return fmt.Errorf("resolution %+v", last.Resolution)
		}
		return nil
	})
}

// TestLostOrderIsFoundHoweverItIsShown: the vendor rewrites what it lists, and that never
// hides an order that was paid for.
func TestLostOrderIsFoundHoweverItIsShown(t *testing.T) {
	tests := []struct {
		name  string
		fault simulator.Fault
	}{
		{"the product is spelled in capitals", simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultProductSpelling, Times: -1}},
		{"the common name is among the DNS names", simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultCommonNameRepeated, Times: -1}},
		{"the bare name was added", simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultApexAdded}},
		{"it is listed late", simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: 300 * time.Millisecond, Times: -1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.automateDNS()
			w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultDrop, AfterCommit: true})
			w.vendor.InjectFault(tc.fault)
			w.run(func(o *operator.Options) { o.SettleTime = 4 * time.Second })
			cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com", "api.example.com"))
			w.answered(cr, cmapi.CertificateRequestReasonIssued)
			w.adopted()
			w.bought(1)
		})
	}
}

// TestShortListIsNoEvidence: a list that lacks what the ledger holds does not show that
// an order was never placed.
func TestShortListIsNoEvidence(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.run(func(o *operator.Options) { o.SettleTime = 500 * time.Millisecond })
	w.answered(w.request("first", testenv.WithECDSA(), testenv.WithDNSNames("first.example.org")), cmapi.CertificateRequestReasonIssued)
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultDrop, AfterCommit: true})
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultFirstPageOnly, Rows: 0, Times: -1})
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	lists := w.vendor.Calls()[string(simulator.EndpointList)]
	w.order("www", "says that the list is short", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateResolving && strings.Contains(o.Status.Message, "which the ledger holds")
	})
	w.eventually("the account is read many times", func() error {
		if n := w.vendor.Calls()[string(simulator.EndpointList)] - lists; n < 8 {
			return fmt.Errorf("%d lists", n)
		}
		return nil
	})
	w.order("www", "is still resolving", inState(v1alpha1.StateResolving))
	if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 2 {
		t.Errorf("%d orders were sent", n)
	}
	w.vendor.ClearFaults()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(2)
}

// TestShortRowsOfAList: regfish does not document that a list says as much of an order as a
// read does. What a row lacks does not vanish from the status, and what it hints at is read.
func TestShortRowsOfAList(t *testing.T) {
	w := newWorld(t)
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultShortRows, Times: -1})
	w.run()
	var requests []*cmapi.CertificateRequest
	settled := map[types.NamespacedName]string{}
	for i := range 5 {
		name := fmt.Sprintf("app-%d", i)
		requests = append(requests, w.request(name, testenv.WithECDSA(), testenv.WithDNSNames(name+".example")))
		p := w.purchaseOf(w.order(name, "shows its records", func(o *v1alpha1.RegfishOrder) bool {
			return o.Status.DCV != nil && len(o.Status.DCV.Records) > 0
		}))
		settled[client.ObjectKeyFromObject(p)] = p.ResourceVersion
	}
	lists := w.vendor.Calls()[string(simulator.EndpointList)]
	w.eventually("the account is listed many times", func() error {
		if n := w.vendor.Calls()[string(simulator.EndpointList)] - lists; n < 8 {
			return fmt.Errorf("%d lists", n)
		}
		return nil
	})
	for name, version := range settled {
		var p v1alpha1.RegfishPurchase
		if err := w.Client.Get(t.Context(), name, &p); err != nil {
			t.Fatal(err)
		}
		if p.ResourceVersion != version {
			t.Errorf("%s was written while nothing happened: %+v", name.Name, p.Status)
		}
	}
	w.automateDNS()
	for _, cr := range requests {
		w.answered(cr, cmapi.CertificateRequestReasonIssued)
	}
	w.bought(len(requests))
}

// TestOrderThatWasTurnedAwayIsQueued: what certainly bought nothing is repeated by itself.
func TestOrderThatWasTurnedAwayIsQueued(t *testing.T) {
	tests := []struct {
		name   string
		status int
		reason string
	}{
		{"429 was answered before an order was made", 429, v1alpha1.ReasonVendorUnavailable},
		{"401 makes the issuer not Ready", 401, v1alpha1.ReasonIssuerNotReady},
		{"403 makes the issuer not Ready", 403, v1alpha1.ReasonIssuerNotReady},
		{"409 makes the issuer not Ready", 409, v1alpha1.ReasonIssuerNotReady},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.issuersReady()
			w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultStatus, Status: tc.status})
			cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
			w.order("www", "is queued", func(o *v1alpha1.RegfishOrder) bool {
				return o.Status.State == v1alpha1.StateQueued && placed(tc.reason)(o)
			})
			w.answered(cr, cmapi.CertificateRequestReasonPending)
			ps := w.purchases()
			if len(ps) != 1 || len(ps[0].Spec.Attempts) != 1 || ps[0].Spec.Attempts[0].Outcome == nil {
				t.Fatalf("ledger %+v", ps)
			}
			w.bought(0)
		})
	}
}

// TestRefusedOrderFailsTheRequest: what the vendor refuses for what is in it is for
// the requester.
func TestRefusedOrderFailsTheRequest(t *testing.T) {
	for _, status := range []int{400, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.issuersReady()
			w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultStatus, Status: status, Message: "bad \x1b[31m CSR"})
			cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
			w.answered(cr, cmapi.CertificateRequestReasonFailed)
			if cr.Status.FailureTime == nil || !strings.Contains(readyMessage(cr), "CSR") || strings.Contains(readyMessage(cr), "\x1b") {
				t.Errorf("failed with %q", readyMessage(cr))
			}
			w.bought(0)
		})
	}
}

// TestStopDuringAnOrder: a stop waits for the order in flight, whose answer is
// recorded; the next process goes on with it.
func TestStopDuringAnOrder(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	w.issuersReady()
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, Delay: 2 * time.Second})
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.eventually("the order is under way", func() error {
		if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
			return fmt.Errorf("%d orders", n)
		}
		return nil
	})
	stop()
	ps := w.purchases()
	if len(ps) != 1 || ps[0].Spec.CertificateID == "" {
		t.Fatalf("after the stop the ledger has %+v", ps)
	}
	w.run()
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestRequestDeletedBeforeTheOrderIsSent: between the intent and the POST.
func TestRequestDeletedBeforeTheOrderIsSent(t *testing.T) {
	w := newWorld(t)
	var once sync.Once
	w.run(func(o *operator.Options) {
		o.Wrap = func(c client.Client) client.Client {
			return hookedClient{Client: c, created: func(ctx context.Context, obj client.Object) {
				if p, ok := obj.(*v1alpha1.RegfishPurchase); ok {
					once.Do(func() {
						if err := w.Client.Delete(ctx, &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: p.Spec.Beneficiary.Namespace, Name: p.Spec.Beneficiary.RequestName}}); err != nil {
							t.Error(err)
						}
					})
				}
			}}
		}
	})
	w.issuersReady()
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.eventually("the purchase is ended", func() error {
		ps := w.purchases()
		if len(ps) != 1 || ps[0].Status.State != v1alpha1.StateEnded {
			return fmt.Errorf("ledger %+v", ps)
		}
		return nil
	})
	if got := w.purchases()[0].Spec.Attempts[0].Outcome.Result; got != v1alpha1.OutcomeNotSent {
		t.Errorf("the attempt is recorded as %s", got)
	}
	w.bought(0)
	// And it blocks nobody.
	w.automateDNS()
	w.answered(w.request("again", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com")), cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// hookedClient calls created after every create.
type hookedClient struct {
	client.Client
	created func(context.Context, client.Object)
}

func (c hookedClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	err := c.Client.Create(ctx, obj, opts...)
	if err == nil {
		c.created(ctx, obj)
	}
	return err
}

// TestCrashAtEveryWrite: a process that dies at any of its writes, before or after
// the API server took it, is followed by another. Nothing is bought twice, nothing is
// lost: the request is issued, or nothing was bought and the ledger says so.
func TestCrashAtEveryWrite(t *testing.T) {
	const more = 40 // than any run has writes
	for _, point := range []testenv.CrashPoint{testenv.BeforeWrite, testenv.AfterWrite} {
		for n, crashed := 1, true; crashed; n++ {
			if n > more {
				t.Fatalf("still crashing at write %d", n)
			}
			t.Run(fmt.Sprintf("write %d point %d", n, point), func(t *testing.T) { crashed = crashAt(t, n, point) })
		}
	}
}

// crashAt runs a process that crashes at its nth write and then another one. It
// reports whether the first got as far as that write.
func crashAt(t *testing.T, n int, point testenv.CrashPoint) bool {
	w := newWorld(t)
	w.automateDNS()
	crashing := make(chan *testenv.CrashingClient, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := w.options()
	o.Wrap = func(c client.Client) client.Client {
		crash := testenv.Crash(c, n, point)
		crashing <- crash
		return crash
	}
	go func() { _ = operator.Run(ctx, o) }()
	crash := <-crashing
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	shown := func() error {
		o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "www"}}
		if err := w.get(o); err != nil {
			return err
		}
		if o.Status.State != v1alpha1.StateIssued {
			return fmt.Errorf("order is %s: %s", o.Status.State, o.Status.Message)
		}
		return nil
	}
	w.eventually("the process dies or the order is issued", func() error {
		if crash.Crashed() {
			return nil
		}
		return shown()
	})
	if !crash.Crashed() {
		w.bought(1)
		return false
	}
	cancel()
	w.run(soonSettled)
	w.eventually("the request is issued, or it is found that nothing was bought", func() error {
		if err := w.get(cr); err != nil {
			return err
		}
		if len(cr.Status.Certificate) > 0 {
			w.verify(cr.Status.Certificate, "www.example.com")
			return shown()
		}
		ps := w.purchases()
		if len(ps) != 1 || ps[0].Spec.CertificateID != "" || ps[0].Spec.Attempts[0].Resolution == nil || len(w.vendor.Purchases()) != 0 {
			return fmt.Errorf("not issued, and the ledger has %+v", ps)
		}
		o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "www"}}
		if err := w.get(o); err != nil {
			return err
		}
		if o.Status.State != v1alpha1.StateQueued {
			return fmt.Errorf("order %+v", o.Status)
		}
		return nil
	})
	if sold := len(w.vendor.Purchases()); sold > 1 {
		t.Errorf("the vendor bills %d", sold)
	}
	if sent := w.vendor.Calls()[string(simulator.EndpointOrder)]; sent > 1 {
		t.Errorf("%d orders were sent", sent)
	}
	return true
}

// TestPurchaseLimit: what exceeds the limit waits and says until when, across a
// restart, and goes on when the limit is raised.
func TestPurchaseLimit(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](3) })
	stop := w.run(func(o *operator.Options) { o.Concurrency = 8 })
	w.issuersReady()
	for i := range 8 {
		w.request(fmt.Sprintf("r%d", i), testenv.WithECDSA(), testenv.WithDNSNames(fmt.Sprintf("www.example%d.com", i)))
	}
	settled := func(limit int) func() error {
		return func() error {
			var orders v1alpha1.RegfishOrderList
			if err := w.Client.List(t.Context(), &orders, client.InNamespace(w.Namespace)); err != nil {
				return err
			}
			queued, validating := 0, 0
			for _, o := range orders.Items {
				switch {
				case o.Status.State == v1alpha1.StateValidating:
					validating++
				case o.Status.State == v1alpha1.StateQueued && placed(v1alpha1.ReasonPurchaseLimitReached)(&o) && strings.Contains(o.Status.Message, "next slot"):
					queued++
				}
			}
			if validating != limit || queued != 8-limit {
				return fmt.Errorf("%d validating, %d queued", validating, queued)
			}
			return nil
		}
	}
	w.eventually("three are bought and five wait", settled(3))
	w.bought(3)
	stop()
	w.run()
	w.eventually("a restart changes nothing", settled(3))
	w.bought(3)
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	if err := w.get(issuer); err != nil {
		t.Fatal(err)
	}
	if p := issuer.Status.Purchases; p == nil || p.Count != 3 || p.NextSlotTime == nil {
		t.Errorf("the issuer shows %+v", p)
	}
	w.edit(func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](5) })
	w.eventually("two more are bought", settled(5))
	w.bought(5)
}

// TestQueueOfTheLimit: who gets a slot is not whoever looks first, and the issuer says
// how many wait.
func TestQueueOfTheLimit(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](0) })
	w.run(func(o *operator.Options) { o.Concurrency = 8 })
	w.issuersReady()
	for i := range 4 {
		w.request(fmt.Sprintf("first%d", i), testenv.WithECDSA(), testenv.WithDNSNames(fmt.Sprintf("first%d.example.com", i)))
	}
	for name, expiry := range map[string]time.Duration{"later": 20 * 24 * time.Hour, "urgent": time.Hour} {
		c := testenv.Certificate(w.Namespace, name, testenv.WithDNSNames(name+".example.com"))
		w.create(c)
		c.Status.NotAfter = &metav1.Time{Time: time.Now().Add(expiry)}
		if err := w.Client.Status().Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w.request(name+"-1", testenv.WithECDSA(), testenv.WithDNSNames(name+".example.com"), testenv.OwnedBy(c))
	}
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	queue := func(n int32, says string) {
		t.Helper()
		w.eventually(fmt.Sprintf("the issuer says that %d wait", n), func() error {
			if err := w.get(issuer); err != nil {
				return err
			}
			ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
			if p := issuer.Status.Purchases; p == nil || p.Queued != n || !strings.Contains(ready.Message, says) {
				return fmt.Errorf("it shows %+v and says %q", p, ready.Message)
			}
			return nil
		})
	}
	queue(6, "6 orders wait, and spec.purchaseLimit.count is 0.")
	w.bought(0)

	// One slot: the renewal whose certificate expires first takes it.
	w.edit(func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](1) })
	w.order("urgent-1", "is bought", inState(v1alpha1.StateValidating))
	w.order("later-1", "waits for the next one", placed(v1alpha1.ReasonPurchaseLimitReached))
	queue(5, "5 orders wait for the purchase limit (1 in 24h0m0s)")
	w.edit(func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](2) })
	w.order("later-1", "is bought", inState(v1alpha1.StateValidating))
	for i := range 4 {
		w.order(fmt.Sprintf("first%d", i), "waits", placed(v1alpha1.ReasonPurchaseLimitReached))
	}
	w.bought(2)
}

// TestCountZeroStopsPurchases and says who can start them again.
func TestCountZeroStopsPurchases(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](0) })
	w.run()
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is paused", placed(v1alpha1.ReasonPurchasesPaused))
	w.bought(0)
}

// TestRefusedCertificateIsNeverPublished, and never bought again.
func TestRefusedCertificateIsNeverPublished(t *testing.T) {
	for _, kind := range []simulator.FaultKind{
		simulator.FaultWrongKey, simulator.FaultWrongNames, simulator.FaultForeignName, simulator.FaultOldCertificate, simulator.FaultExpired,
		simulator.FaultCALeaf, simulator.FaultSelfSigned, simulator.FaultBrokenChain, simulator.FaultLeafLast,
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.issuersReady()
			w.automateDNS()
			w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: kind, Times: -1})
			owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com", "api.example.com"))
			w.create(owner)
			names := testenv.WithDNSNames("www.example.com", "api.example.com")
			cr := w.request("www-1", testenv.WithECDSA(), names, testenv.OwnedBy(owner))
			w.order("www-1", "is held", heldFor(v1alpha1.ReasonCertificateRefused))
			w.request("www-2", testenv.WithECDSA(), names, testenv.OwnedBy(owner))
			w.order("www-2", "waits", inState(v1alpha1.StateWaiting))
			if err := w.get(cr); err != nil {
				t.Fatal(err)
			}
			if len(cr.Status.Certificate) > 0 {
				t.Error("a certificate was published")
			}
			w.bought(1)
		})
	}
}

// TestDeliveryThatCannotBeReadIsFetchedAgain, and the root is left out.
func TestDeliveryThatCannotBeReadIsFetchedAgain(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuersReady()
	w.automateDNS()
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: simulator.FaultTruncated})
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)

	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: simulator.FaultWithRoot})
	cr = w.request("root", testenv.WithECDSA(), testenv.WithDNSNames("root.example.com"))
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.verify(cr.Status.Certificate, "root.example.com")
	if len(cr.Status.CA) == 0 {
		t.Error("status.ca is empty although the root was delivered")
	}
	w.bought(2)
}

// TestIssuedKeyIsHandedOutAgain: a request that is re-created with the same key after
// the certificate was issued gets it again.
func TestIssuedKeyIsHandedOutAgain(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.automateDNS()
	mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithKey(testenv.ECDSAKey(t))}
	first := w.request("www", mods...)
	w.answered(first, cmapi.CertificateRequestReasonIssued)
	w.remove(first)
	again := w.request("again", mods...)
	w.answered(again, cmapi.CertificateRequestReasonIssued)
	if string(again.Status.Certificate) != string(first.Status.Certificate) {
		t.Error("another certificate was handed out")
	}
	o := w.order("again", "says so", inState(v1alpha1.StateIssued))
	if o.Status.Plan.Action != v1alpha1.ActionHandOut {
		t.Errorf("the plan says %q", o.Status.Plan.Action)
	}
	w.bought(1)
}

// TestRestoredClusterImports: the account has the certificate for this key and the
// ledger has forgotten it.
func TestRestoredClusterImports(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.automateDNS()
	mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithKey(testenv.ECDSAKey(t))}
	first := w.request("www", mods...)
	w.answered(first, cmapi.CertificateRequestReasonIssued)
	w.remove(first)
	for _, p := range w.purchases() {
		w.remove(&p)
	}
	again := w.request("again", mods...)
	w.answered(again, cmapi.CertificateRequestReasonIssued)
	ps := w.purchases()
	if len(ps) != 1 || ps[0].Spec.Action != v1alpha1.ActionImport || len(ps[0].Spec.Attempts) != 0 || ps[0].Spec.CertificateID == "" {
		t.Errorf("ledger %+v", ps)
	}
	w.bought(1)
}

// TestUnclaimedOrderIsHeld: somebody ordered the same name at the vendor, and the
// order is still pending.
func TestUnclaimedOrderIsHeld(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuersReady()
	key, err := regfish.ParseKey([]byte(apiKey))
	if err != nil {
		t.Fatal(err)
	}
	c, err := regfish.New(regfish.Config{Endpoint: w.url, Key: key, CABundle: w.vendor.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	other := c.Order(t.Context(), regfish.OrderRequest{
		SKU: "RapidSSL", CommonName: "example.com", CSR: string(testenv.CSR(t, testenv.ECDSAKey(t), "example.com")), DCVMethod: regfish.DCVMethodCNAME,
	}, func() error { return nil })
	if other.Outcome != regfish.Accepted {
		t.Fatalf("%+v", other)
	}
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is held and names the order", func(o *v1alpha1.RegfishOrder) bool {
		return heldFor(v1alpha1.ReasonUnclaimedOrder)(o) && strings.Contains(o.Status.Message, other.Certificate.ID)
	})
	if n := len(w.purchases()); n != 0 {
		t.Errorf("%d purchases", n)
	}
	if n := len(w.vendor.Purchases()); n != 1 {
		t.Errorf("the vendor bills %d, want the one that was there", n)
	}
}

// TestLedgerElsewhere: a second installation does not buy for an issuer that another
// one serves.
func TestLedgerElsewhere(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	w.issuersReady()
	stop()
	other := testenv.Namespace(t, w.Client)
	w.create(testenv.APIKeySecret(other, "regfish-api", apiKey))
	w.run(func(o *operator.Options) { o.LedgerNamespace, o.ClusterResourceNamespace = other, other })
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	w.eventually("the issuer says that another installation serves it", func() error {
		if err := w.get(issuer); err != nil {
			return err
		}
		c := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != v1alpha1.ReasonLedgerElsewhere {
			return fmt.Errorf("Ready is %+v", c)
		}
		return nil
	})
	w.order("www", "is queued", placed(v1alpha1.ReasonIssuerNotReady))
	w.bought(0)

	// The other one is gone for good, and its purchases were copied.
	elsewhere := issuer.Status.Ledger.NamespaceUID
	w.annotate(issuer, v1alpha1.AnnotationTakeover, string(elsewhere))
	w.eventually("the ledger is taken over", func() error {
		if err := w.get(issuer); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) || issuer.Status.Ledger.Namespace != other || issuer.Status.Ledger.NamespaceUID == elsewhere {
			return fmt.Errorf("status %+v", issuer.Status)
		}
		return nil
	})
	w.order("www", "goes on", inState(v1alpha1.StateValidating))
}

// TestKnownIDThatIsNotFoundIsHeld: the key was replaced by another account's. It
// clears itself.
func TestKnownIDThatIsNotFoundIsHeld(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuersReady()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is validating", inState(v1alpha1.StateValidating))
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointGet, Kind: simulator.FaultStatus, Status: 404, Times: -1})
	w.order("www", "is held", heldFor(v1alpha1.ReasonNotFoundAtVendor))
	w.vendor.ClearFaults()
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestLeadershipPassesOn: of two replicas one works, and when it is stopped the other
// goes on with what it left, at once, because the lease is given back.
func TestLeadershipPassesOn(t *testing.T) {
	w := newWorld(t)
	elected := func(o *operator.Options) { o.LeaderElection = true }
	stop := w.run(elected)
	w.issuersReady()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is validating", inState(v1alpha1.StateValidating))
	w.run(elected)
	stop()
	w.automateDNS()
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.answered(w.request("api", testenv.WithECDSA(), testenv.WithDNSNames("api.example.com")), cmapi.CertificateRequestReasonIssued)
	w.bought(2)
}
