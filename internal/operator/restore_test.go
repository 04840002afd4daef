// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// remade deletes the object and creates it again as a backup that drops status restores
// it: with another UID, and owned by nobody that is gone.
func (l *lasting) remade(o client.Object) {
	l.t.Helper()
	if err := l.Client.Delete(l.t.Context(), o); client.IgnoreNotFound(err) != nil {
		l.t.Fatal(err)
	}
	l.eventually(fmt.Sprintf("%T %s is gone", o, o.GetName()), func() error {
		err := l.Client.Get(l.t.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object))
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	o.SetUID("")
	o.SetResourceVersion("")
	o.SetOwnerReferences(nil)
	o.SetManagedFields(nil)
	l.create(o)
}

// TestRestoredWithoutStatus: every object comes back from a backup without its status and
// with another UID. What was bought is followed by what its record says, and goes to the
// requests that are there now.
func TestRestoredWithoutStatus(t *testing.T) {
	l := newLasting(t)
	stop := l.run()
	l.begin()
	stop()
	var orders v1alpha1.RegfishOrderList
	if err := l.Client.List(t.Context(), &orders, client.InNamespace(l.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.purchases() {
		p.Status = v1alpha1.PurchaseStatus{}
		l.remade(&p)
	}
	for _, i := range l.both() {
		if err := l.get(i); err != nil {
			t.Fatal(err)
		}
		*i.GetStatus() = v1alpha1.IssuerStatus{}
		l.remade(i)
	}
	for _, w := range l.waits {
		if err := l.Client.Delete(t.Context(), w.cr); err != nil {
			t.Fatal(err)
		}
		l.remade(w.owner)
		w.cr = l.ask(w, w.name+"-1", testenv.WithKey(w.key))
	}
	for i := range orders.Items {
		orders.Items[i].Status = v1alpha1.OrderStatus{}
		l.remade(&orders.Items[i])
	}
	l.run()
	l.waiting("waits after the restore")
	l.finish()
}

// TestLedgerDeleted: the namespace of the ledger is deleted under a running controller, and
// created again. Nothing is bought for what seems never to have been bought: the process
// ends, the next one says that its ledger is another, and after a person took that over
// the orders in the account are asked about, and used.
func TestLedgerDeleted(t *testing.T) {
	l := newLasting(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- operator.Run(ctx, l.options()) }()
	l.begin()
	ledger := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.ledger}}
	if err := l.get(ledger); err != nil {
		t.Fatal(err)
	}
	lost := ledger.UID
	l.remade(ledger)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the ledger in namespace "+l.ledger) {
		t.Fatalf("the controller ended with %v", err)
	}
	l.create(testenv.APIKeySecret(l.ledger, "regfish-api", apiKey))

	l.run()
	for _, i := range l.both() {
		c := l.issuerSays(i, v1alpha1.ReasonLedgerElsewhere)
		if !strings.Contains(c.Message, string(lost)) {
			t.Errorf("it does not say which ledger it had: %s", c.Message)
		}
	}
	for _, w := range l.waits {
		l.order(w.cr.Name, "waits for its issuer", placed(v1alpha1.ReasonIssuerNotReady))
	}
	for _, i := range l.both() {
		l.annotate(i, v1alpha1.AnnotationTakeover, string(lost))
	}
	for _, w := range l.waits {
		l.order(w.cr.Name, "is held", heldFor(v1alpha1.ReasonUnclaimedOrder))
		l.annotate(l.planOf(w.cr), v1alpha1.AnnotationResolve, "adopt:"+w.id)
	}
	l.waiting("waits for what was adopted")
	l.finish()
}

// planOf waits for the plan on which a person decides about the request.
func (l *lasting) planOf(cr *cmapi.CertificateRequest) *v1alpha1.RegfishPurchase {
	l.t.Helper()
	var plan *v1alpha1.RegfishPurchase
	l.eventually("there is a plan for "+cr.Name, func() error {
		var list v1alpha1.RegfishPurchaseList
		if err := l.Client.List(l.t.Context(), &list, client.InNamespace(l.ledger)); err != nil {
			return err
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.Spec.Number == 0 && p.Spec.Beneficiary.RequestUID == cr.UID && p.Status.State == v1alpha1.StateHeld {
				plan = p
				return nil
			}
		}
		return fmt.Errorf("the ledger has %d records", len(list.Items))
	})
	return plan
}
