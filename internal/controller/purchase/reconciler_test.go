// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// bought is a purchase of which regfish says what c says.
func bought(c regfish.Certificate) *v1alpha1.RegfishPurchase {
	at := metav1.NewMicroTime(noon)
	p := &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ledger", Name: "a1ef6328868614ab-1", Generation: 2},
		Spec: v1alpha1.PurchaseSpec{RecordVersion: v1alpha1.RecordVersion, Number: 1, CertificateID: "C1", Attempts: []v1alpha1.Attempt{
			{Number: 1, Time: at, Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted, Time: at}},
		}},
	}
	p.Status = purchase.Observe(p, purchase.Observation{Vendor: &c, RequestLive: true})
	return p
}

// reconciler is one over a ledger that holds p.
func reconciler(t *testing.T, p *v1alpha1.RegfishPurchase) (*Reconciler, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := cmapi.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(p).WithStatusSubresource(p).WithTypeConverters(managedfields.NewDeducedTypeConverter()).Build()
	s := &purchase.Spender{Gatherer: purchase.Gatherer{Live: api, Ledger: "ledger", ClusterUID: "here"}, Client: api, Clock: clocktesting.NewFakePassiveClock(noon), Writer: v1alpha1.Writer{StartNonce: "one"}}
	return New(Options{Client: api, Spender: s, Resolver: &purchase.Resolver{Spender: s, Cache: api, SettleTime: purchase.DefaultSettleTime}, Clock: s.Clock, Look: DefaultLook}), api
}

// A purchase that is issued is at rest. Whoever fetches its certificate may learn that
// regfish does not deliver it after all, and from then on it is looked at again: it is
// paid for.
func TestWhatIsTakenBackIsLookedAtAgain(t *testing.T) {
	delivered := regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CertificatePEMAvailable: true}
	undelivered := regfish.Certificate{ID: "C1", Status: regfish.StatusIssued}
	p := bought(delivered)
	r, _ := reconciler(t, p)
	got, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
	// But for whether its record may go, long after.
	if err != nil || got.RequeueAfter != longestSleep {
		t.Fatalf("a purchase at rest is looked at again after %s: %v", got.RequeueAfter, err)
	}
	for name, tt := range map[string]struct {
		before, after regfish.Certificate
		wakes         bool
	}{
		"it is not delivered after all": {delivered, undelivered, true},
		"it is issued":                  {undelivered, delivered, false},
		"nothing has changed":           {undelivered, undelivered, false},
	} {
		if got := wakes.Update(event.UpdateEvent{ObjectOld: bought(tt.before), ObjectNew: bought(tt.after)}); got != tt.wakes {
			t.Errorf("%s: the purchase is looked at: %v", name, got)
		}
	}
}

// A record of another version may mean anything: nothing is done to it, and what a person
// decided waits for that version.
func TestRecordOfAnotherVersionIsLeftAlone(t *testing.T) {
	begun := bought(regfish.Certificate{ID: "C1", Status: regfish.StatusPending})
	begun.Spec.CertificateID, begun.Spec.Attempts[0].Outcome, begun.Spec.Attempts[0].Writer = "", nil, v1alpha1.Writer{StartNonce: "one"}
	theirs := bought(regfish.Certificate{ID: "C1", Status: regfish.StatusPending})
	theirs.Spec.Attempts[0].ClusterUID = "there"
	for name, p := range map[string]*v1alpha1.RegfishPurchase{"begun by this process": begun, "of another cluster": theirs} {
		p.Spec.RecordVersion++
		p.Annotations = map[string]string{v1alpha1.AnnotationResolve: "abandon"}
		r, api := reconciler(t, p)
		got, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		if err != nil || got.RequeueAfter != againWithoutOrder {
			t.Errorf("a record %s: looked at again after %s: %v", name, got.RequeueAfter, err)
		}
		var after v1alpha1.RegfishPurchase
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(p), &after); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.Spec, after.Spec); diff != "" || after.Annotations[v1alpha1.AnnotationResolve] != "abandon" {
			t.Errorf("a record %s: it changed:\n%s", name, diff)
		}
		if c := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionHeld); c == nil || c.Reason != v1alpha1.ReasonUnknownRecord {
			t.Errorf("a record %s: held for %+v", name, c)
		}
	}
}

// The cache may be behind what was recorded. An order whose outcome is recorded is not looked
// for: that reads the account and the whole ledger, and with hundreds of orders at once each
// of them made the cache fall behind further.
func TestOutcomeThatTheCacheLacksIsNotLookedFor(t *testing.T) {
	p := bought(regfish.Certificate{ID: "C1", Status: regfish.StatusPending})
	p.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}
	p.Spec.Attempts[0].Writer = v1alpha1.Writer{StartNonce: "before"}
	stale := p.DeepCopy()
	stale.Spec.CertificateID, stale.Spec.Attempts[0].Outcome, stale.Status = "", nil, v1alpha1.PurchaseStatus{}
	asked := errors.New("the vendor was asked")
	open := stale.DeepCopy()
	// What was decided on the order that the cache shows was taken back.
	stale.Annotations = map[string]string{v1alpha1.AnnotationResolve: "abandon"}
	for name, tt := range map[string]struct {
		reason   string
		recorded *v1alpha1.RegfishPurchase
		gone     bool
		followed bool
		want     error
	}{
		"it is recorded":     {reason: "it is followed by its id", recorded: p, followed: true},
		"the record is gone": {reason: "nothing is left to look for", recorded: p, gone: true},
		"nobody recorded it": {reason: "it may have been placed", recorded: open, want: asked},
	} {
		t.Run(name, func(t *testing.T) {
			r, api := reconciler(t, tt.recorded)
			issuer := &v1alpha1.RegfishClusterIssuer{}
			issuer.Name = "regfish"
			if err := api.Create(t.Context(), issuer); err != nil {
				t.Fatal(err)
			}
			if tt.gone {
				if err := api.Delete(t.Context(), tt.recorded); err != nil {
					t.Fatal(err)
				}
			}
			r.Spender.Connect = func(context.Context, v1alpha1.Issuer) (purchase.Vendor, error) { return nil, asked }
			r.Spender.Endpoint = func(v1alpha1.Issuer) (string, error) { return p.Spec.Endpoint, nil }
			r.Client = interceptor.NewClient(api.(client.WithWatch), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if o, ok := o.(*v1alpha1.RegfishPurchase); ok {
						stale.DeepCopyInto(o)
						return nil
					}
					return c.Get(ctx, key, o, opts...)
				},
			})
			r.Spender.Live = interceptor.NewClient(api.(client.WithWatch), interceptor.Funcs{
				// As a client does: what the answer does not have stays.
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					fresh := o.DeepCopyObject().(client.Object)
					if err := c.Get(ctx, key, fresh, opts...); err != nil {
						return err
					}
					answer, err := json.Marshal(fresh)
					if err != nil {
						return err
					}
					return json.Unmarshal(answer, o)
				},
			})
			got, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
			if followed := got.RequeueAfter != 0 && got.RequeueAfter != r.Look; followed != tt.followed || !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v and %v, want %v", tt.reason, got, err, tt.want)
			}
			var after v1alpha1.RegfishPurchase
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(p), &after); client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
			if after.Spec.AbandonTime != nil || len(after.Annotations) > 0 {
				t.Errorf("%s: what was taken back was acted on: abandoned %v, annotations %v", tt.reason, after.Spec.AbandonTime, after.Annotations)
			}
		})
	}
}
