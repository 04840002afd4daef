// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// vendor says one thing, and counts how often it is asked.
type vendor struct {
	purchase.Vendor
	says  atomic.Pointer[regfish.Certificate]
	asked atomic.Int64
}

func (v *vendor) Certificate(context.Context, string) (regfish.Certificate, error) {
	v.asked.Add(1)
	return *v.says.Load(), nil
}

func (v *vendor) Fingerprint() string { return "key" }

// A purchase is reconciled when what regfish says differs from its status, and only then:
// looks that bring nothing new write nothing, and wake nobody.
func TestOnlyNewsWakeAPurchase(t *testing.T) {
	p := bought(regfish.Certificate{ID: "C1", Status: regfish.StatusPending})
	p.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}
	p.Status, p.CreationTimestamp.Time = v1alpha1.PurchaseStatus{}, time.Now()
	p.Spec.Attempts[0].Time.Time = time.Now()
	r, api := reconciler(t, p)
	issuer := &v1alpha1.RegfishClusterIssuer{}
	issuer.Name = "regfish"
	if err := api.Create(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	v, writes := &vendor{}, 0
	v.says.Store(&regfish.Certificate{ID: "C1", Status: regfish.StatusPending})
	r.Spender.Connect = func(context.Context, v1alpha1.Issuer) (purchase.Vendor, error) { return v, nil }
	endpoint := p.Spec.Endpoint
	r.Spender.Endpoint = func(v1alpha1.Issuer) (string, error) { return endpoint, nil }
	r.Client = interceptor.NewClient(api.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			writes++
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			// Nobody shows the purchase; the cache that would tell has an index.
			if _, ok := list.(*v1alpha1.RegfishOrderList); ok {
				return nil
			}
			return c.List(ctx, list, opts...)
		},
	})
	o := r.Options
	o.Clock, o.Look = clock.RealClock{}, 5*time.Millisecond
	r = New(o)
	r.registered = true
	reconciled := func() reconcile.Result {
		t.Helper()
		got, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	// quiet lets the vendor be asked some times more, during which nobody is woken. The look
	// that was under way when the status was written may still wake: it is over at the second
	// look after that.
	quiet := func() {
		t.Helper()
		for begun := v.asked.Load(); v.asked.Load() < begun+2; {
			select {
			case <-r.woken:
				reconciled()
			case <-time.After(time.Millisecond):
			}
		}
		for begun := v.asked.Load(); v.asked.Load() < begun+20; {
			select {
			case <-r.woken:
				t.Fatal("woken by nothing new")
			case <-time.After(time.Millisecond):
			}
		}
	}

	// Just placed: whoever placed it, or the first look, shows it.
	if got := reconciled(); got.RequeueAfter <= 0 || got.RequeueAfter > time.Minute || writes != 0 {
		t.Errorf("reconciled again after %s, %d writes", got.RequeueAfter, writes)
	}
	// Had it run before, it might have asked by the time of that reconcile.
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.poller.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for i, status := range []string{regfish.StatusPending, "held_at_the_authority"} {
		v.says.Store(&regfish.Certificate{ID: "C1", Status: status})
		<-r.woken
		reconciled()
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		if p.Status.Vendor == nil || p.Status.Vendor.Status != status || writes != i+1 {
			t.Errorf("the status shows %+v after %d writes", p.Status.Vendor, writes)
		}
		quiet()
		if writes != i+1 {
			t.Errorf("%d writes", writes)
		}
	}
	v.says.Store(&regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CertificatePEMAvailable: true})
	<-r.woken
	reconciled()
	asked := v.asked.Load()
	select {
	case <-r.woken:
	case <-time.After(50 * time.Millisecond):
	}
	if more := v.asked.Load() - asked; more > 1 || writes != 3 {
		t.Errorf("%d looks at what is at rest, %d writes", more, writes)
	}
}
