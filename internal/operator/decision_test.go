// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// annotate writes an annotation as a person with kubectl would, whoever else writes.
func (w *world) annotate(o client.Object, key, value string) {
	w.t.Helper()
	before := o.DeepCopyObject().(client.Object)
	annotations := map[string]string{key: value}
	for k, v := range o.GetAnnotations() {
		if k != key {
			annotations[k] = v
		}
	}
	o.SetAnnotations(annotations)
	if err := w.Client.Patch(w.t.Context(), o, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

// runbook runs the command with which the section of the runbook decides, with the given
// words in the place of those in capitals.
func (w *world) runbook(section, decision string, words ...string) {
	w.t.Helper()
	text, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		w.t.Fatalf("the runbook has no section %s", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "kubectl annotate ") && strings.Contains(line, decision) {
			w.t.Log(w.Kubectl(strings.NewReplacer(append(words, "-n regfish-issuer", "-n "+w.ledger)...).Replace(line)))
			return
		}
	}
	w.t.Fatalf("section %s of the runbook has no command for %s", section, decision)
}

// decided waits until an event on the purchase says what came of a decision.
func (w *world) decided(p *v1alpha1.RegfishPurchase, reason, says string) {
	w.t.Helper()
	w.eventually("the event "+reason, func() error {
		var list corev1.EventList
		if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.ledger)); err != nil {
			return err
		}
		var found []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == p.UID && e.Reason == reason && strings.Contains(e.Message, says) {
				return nil
			}
			found = append(found, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		}
		return fmt.Errorf("events %q", found)
	})
}

// only waits until the ledger has one purchase that satisfies check.
func (w *world) only(what string, check func(*v1alpha1.RegfishPurchase) bool) *v1alpha1.RegfishPurchase {
	w.t.Helper()
	var found *v1alpha1.RegfishPurchase
	w.eventually("the purchase "+what, func() error {
		ps := w.purchases()
		if len(ps) != 1 || !check(&ps[0]) {
			return fmt.Errorf("ledger %+v", ps)
		}
		found = &ps[0]
		return nil
	})
	return found
}

// lose makes the reply to the next order be lost, after the order was made or before,
// and the list not show it.
func (w *world) lose(committed bool) {
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultDrop, AfterCommit: committed})
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointList, Kind: simulator.FaultListLag, Delay: time.Hour, Times: -1})
}

// TestPersonLicensesARetry: one annotation, one order, although a GitOps tool puts the
// annotation back all the time.
func TestPersonLicensesARetry(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.lose(false)
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is resolving", inState(v1alpha1.StateResolving))
	p := w.only("is resolving", func(p *v1alpha1.RegfishPurchase) bool { return p.Status.State == v1alpha1.StateResolving })

	w.annotate(p, v1alpha1.AnnotationResolve, "retry:7")
	w.decided(p, v1alpha1.EventDecisionVoid, "attempt 7 is not the last one, which is attempt 1.")
	w.order("www", "is still resolving", inState(v1alpha1.StateResolving))

	w.runbook("AmbiguousOutcome", "=retry:", "PURCHASE", p.Name, "ATTEMPT", "1")
	stop := w.gitOps(p.Name, "retry:1")
	w.decided(p, v1alpha1.EventDecided, "a person licensed one more attempt after attempt 1.")
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.decided(p, v1alpha1.EventDecisionVoid, "no attempt waits to be licensed.")
	stop()
	if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 2 {
		t.Errorf("%d orders were sent, want 2", n)
	}
	w.bought(1)
}

// gitOps keeps an annotation on a purchase until it is stopped.
func (w *world) gitOps(name, value string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			p := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: w.ledger, Name: name}}
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationResolve, value)
			_ = w.Client.Patch(ctx, p, client.RawPatch(types.MergePatchType, patch))
		}
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

// TestPersonAdopts: a person finds the order that the list does not show yet.
func TestPersonAdopts(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.lose(true)
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is resolving", inState(v1alpha1.StateResolving))
	p := w.only("is resolving", func(p *v1alpha1.RegfishPurchase) bool { return p.Status.State == v1alpha1.StateResolving })
	w.annotate(p, v1alpha1.AnnotationResolve, "adopt:NOSUCHID")
	w.decided(p, v1alpha1.EventDecisionVoid, "the account has no NOSUCHID.")
	id := w.vendor.Purchases()[0].ID
	w.runbook("AmbiguousOutcome", "=adopt:", "PURCHASE", p.Name, ":ID", ":"+id)
	w.decided(p, v1alpha1.EventDecided, "a person decided that "+id+" is the order of this purchase.")
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.adopted()
	w.bought(1)
}

// TestPersonGivesUp: the request fails, the next one asks a person, and what the person
// then licenses is bought once.
func TestPersonGivesUp(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.lose(false)
	w.run()
	owner := testenv.Certificate(w.Namespace, "www", testenv.WithDNSNames("www.example.com"))
	w.create(owner)
	mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.OwnedBy(owner), testenv.WithKey(testenv.ECDSAKey(t))}
	cr := w.request("www-1", mods...)
	w.order("www-1", "is resolving", inState(v1alpha1.StateResolving))
	p := w.only("is resolving", func(p *v1alpha1.RegfishPurchase) bool { return p.Status.State == v1alpha1.StateResolving })
	w.runbook("AmbiguousOutcome", "=abandon", "PURCHASE", p.Name)
	w.decided(p, v1alpha1.EventDecided, "a person gave this purchase up")
	w.answered(cr, cmapi.CertificateRequestReasonFailed)
	w.only("has ended", func(p *v1alpha1.RegfishPurchase) bool { return p.Status.State == v1alpha1.StateEnded })
	w.vendor.ClearFaults()

	again := w.request("www-2", mods...)
	w.order("www-2", "is held", heldFor(v1alpha1.ReasonPreviousOrderFailed))
	w.bought(0)
	plan := w.plan()
	if !strings.Contains(plan.Status.Message, plan.Name) || !strings.Contains(plan.Status.Message, "purchase to buy anew") {
		t.Errorf("the plan says %q", plan.Status.Message)
	}
	w.annotate(plan, v1alpha1.AnnotationResolve, "retry:1")
	w.decided(plan, v1alpha1.EventDecisionVoid, "retry says nothing on a plan")
	w.runbook("PreviousOrderFailed", "=purchase", "PURCHASE", w.plan().Name)
	w.answered(again, cmapi.CertificateRequestReasonIssued)
	var licensed v1alpha1.RegfishPurchase
	for _, p := range w.purchases() {
		if p.Spec.PlanUID == plan.UID {
			licensed = p
		}
	}
	w.decided(&licensed, v1alpha1.EventDecided, `a person decided "purchase"`)
	w.bought(1)
}

// plan waits for the only plan of the ledger.
func (w *world) plan() *v1alpha1.RegfishPurchase {
	w.t.Helper()
	var plan *v1alpha1.RegfishPurchase
	w.eventually("there is a plan that is held", func() error {
		var list v1alpha1.RegfishPurchaseList
		if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.ledger)); err != nil {
			return err
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.Spec.Number == 0 && p.Status.State == v1alpha1.StateHeld {
				plan = p
				return nil
			}
		}
		return fmt.Errorf("ledger %+v", list.Items)
	})
	return plan
}

// TestPersonDecidesOnAnUnclaimedOrder: it is used, or another one is bought beside it.
func TestPersonDecidesOnAnUnclaimedOrder(t *testing.T) {
	for decision, billed := range map[string]int{"adopt": 1, "purchase": 2} {
		t.Run(decision, func(t *testing.T) {
			w := newWorld(t)
			w.automateDNS()
			stop := w.run()
			mods := []testenv.Mod{testenv.WithDNSNames("www.example.com"), testenv.WithKey(testenv.ECDSAKey(t))}
			// The ledger is lost while an order is pending.
			w.vendor.SetIssueDelay(time.Hour)
			lost := w.request("lost", mods...)
			w.order("lost", "is under way", inState(v1alpha1.StateValidating))
			stop()
			id := w.vendor.Purchases()[0].ID
			for _, p := range w.purchases() {
				w.remove(&p)
			}
			w.remove(lost)
			w.run()
			cr := w.request("www", mods...)
			w.order("www", "is held", heldFor(v1alpha1.ReasonUnclaimedOrder))
			w.runbook("UnclaimedOrder", "="+decision, "PURCHASE", w.plan().Name, ":ID", ":"+id)
			w.order("www", "goes on", inState(v1alpha1.StateValidating))
			w.vendor.SetIssueDelay(0)
			w.answered(cr, cmapi.CertificateRequestReasonIssued)
			if n := len(w.vendor.Purchases()); n != billed {
				t.Errorf("the vendor bills %d, want %d", n, billed)
			}
			if p := w.purchases()[0]; (p.Spec.CertificateID == id) != (decision == "adopt") || p.Spec.PlanUID == "" {
				t.Errorf("purchase %+v", p.Spec)
			}
		})
	}
}

// TestOrderThatAppearsLateIsReported: outside of what can be prevented, an order is placed
// twice. It is found and told, and never used.
func TestOrderThatAppearsLateIsReported(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.lose(true)
	w.run(soonSettled)
	w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	p := w.only("was not found", func(p *v1alpha1.RegfishPurchase) bool { return p.Spec.Attempts[0].Resolution != nil })
	if p.Spec.Attempts[0].Resolution.Result != v1alpha1.ResolutionNotFound {
		t.Fatalf("attempt %+v", p.Spec.Attempts[0])
	}
	late := w.vendor.Purchases()[0].ID
	w.vendor.SetIssueDelay(time.Hour)
	w.vendor.ClearFaults()
	w.only("is held or reported", func(p *v1alpha1.RegfishPurchase) bool {
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionDuplicateFound)
		return c != nil && strings.Contains(c.Message, late)
	})
	w.decided(p, v1alpha1.ReasonOrderAppeared, late)
	if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
		t.Errorf("%d orders were sent", n)
	}
}

// TestFollowedOrderThatNobodyWants: an order whose answer was lost is followed until its key
// proves whose it is, and that never comes once nobody publishes its records. Its purchase
// says who can end that, and who waits for it is told to look there.
func TestFollowedOrderThatNobodyWants(t *testing.T) {
	clock := &testenv.Clock{}
	w := newWorldOf(t, simulator.Options{Now: clock.Now})
	w.vendor.SetIssueDelay(24 * time.Hour)
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultDrop, AfterCommit: true})
	w.run(func(o *operator.Options) { o.Clock = clock })
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "shows the records of what is followed", func(o *v1alpha1.RegfishOrder) bool { return o.Status.DCV != nil && len(o.Status.DCV.Records) > 0 })
	w.remove(cr)
	w.request("other", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("other", "waits for it", func(o *v1alpha1.RegfishOrder) bool {
		return placed(v1alpha1.ReasonWaitingForPurchase)(o) && strings.Contains(o.Status.Message, "Its message says who has to act")
	})
	clock.Advance(2 * time.Hour)
	id := w.vendor.Purchases()[0].ID
	p := w.only("says who has to act", func(p *v1alpha1.RegfishPurchase) bool {
		return strings.HasPrefix(p.Status.Message, "order "+id+" may be this purchase's, no request wants it any more")
	})
	if !strings.Contains(p.Status.Message, "cancel it at regfish") || !strings.Contains(p.Status.Message, "abandon") || p.Status.State == v1alpha1.StateHeld {
		t.Errorf("%s: %s", p.Status.State, p.Status.Message)
	}
	w.bought(1)
}

// TestOrderInFlightIsNotLookedFor: however long regfish takes, the process that sent the
// order waits for its answer.
func TestOrderInFlightIsNotLookedFor(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.run(func(o *operator.Options) { o.SettleTime = 100 * time.Millisecond })
	w.issuersReady()
	w.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, AfterCommit: true, Delay: 2 * time.Second})
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.eventually("the order is under way", func() error {
		if n := w.vendor.Calls()[string(simulator.EndpointOrder)]; n != 1 {
			return fmt.Errorf("%d orders", n)
		}
		return nil
	})
	lists := w.vendor.Calls()[string(simulator.EndpointList)]
	p := w.only("was answered", func(p *v1alpha1.RegfishPurchase) bool { return p.Spec.Attempts[0].Outcome != nil })
	if n := w.vendor.Calls()[string(simulator.EndpointList)]; n != lists || p.Spec.Attempts[0].Resolution != nil || p.Spec.Attempts[0].Outcome.Result != v1alpha1.OutcomeAccepted {
		t.Errorf("%d lists while the order was under way, attempt %+v", n-lists, p.Spec.Attempts[0])
	}
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}

// TestRecordOfAnotherClusterIsTakenOver: a ledger that was restored into another cluster
// is only read, until a person says that it moved.
func TestRecordOfAnotherClusterIsTakenOver(t *testing.T) {
	w := newWorld(t)
	w.automateDNS()
	w.vendor.SetIssueDelay(time.Hour)
	stop := w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is validating", inState(v1alpha1.StateValidating))
	stop()
	p := w.purchases()[0]
	w.remove(&p)
	restored := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, Spec: p.Spec}
	restored.Spec.Attempts[0].ClusterUID = "another-cluster"
	w.create(restored)
	asked := w.vendor.Calls()[string(simulator.EndpointGet)]
	w.run()
	w.only("says whose it is", func(p *v1alpha1.RegfishPurchase) bool {
		return p.Status.State == v1alpha1.StateHeld && strings.Contains(p.Status.Message, "the cluster another-cluster made this purchase")
	})
	w.order("www", "is held", heldFor(v1alpha1.ReasonOtherCluster))
	if n := w.vendor.Calls()[string(simulator.EndpointGet)]; n != asked {
		t.Errorf("regfish was asked %d times about an order of another cluster", n-asked)
	}
	w.runbook("OtherCluster", "/takeover=", "ISSUER", w.cluster, "CLUSTER", "another-cluster")
	w.decided(restored, v1alpha1.EventDecided, "takes this purchase over from the cluster another-cluster")
	w.vendor.SetIssueDelay(0)
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.bought(1)
}
