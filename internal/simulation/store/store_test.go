// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/simulation/store"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, testenv.Options{CRDPaths: []string{"config/crd/bases"}, AddToScheme: v1alpha1.AddToScheme})
}

// caller makes calls and writes down how they are answered.
type caller struct {
	client.Client
	t         *testing.T
	namespace string
	answers   []string
}

// note writes down an answer: its kind of error, and what of the object the controllers
// rely on.
func (c *caller) note(what string, err error, objects ...client.Object) {
	line := fmt.Sprintf("%s: %q", what, apierrors.ReasonForError(err))
	for _, o := range objects {
		line += fmt.Sprintf(" generation %d, deleted %v, annotations %v", o.GetGeneration(), o.GetDeletionTimestamp() != nil, o.GetAnnotations())
		switch o := o.(type) {
		case *v1alpha1.RegfishPurchase:
			line += fmt.Sprintf(" sku %s, id %s, state %s, attempts %d", o.Spec.SKU, o.Spec.CertificateID, o.Status.State, len(o.Spec.Attempts))
		case *v1alpha1.RegfishOrder:
			line += fmt.Sprintf(" issuer %s, state %s", o.Spec.IssuerRef.Name, o.Status.State)
		}
	}
	c.answers = append(c.answers, line)
}

func (c *caller) purchase(name string) *v1alpha1.RegfishPurchase {
	at := metav1.NewMicroTime(time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC))
	return &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: v1alpha1.PurchaseSpec{
			RecordVersion: v1alpha1.RecordVersion, NamesHash: "0123456789abcdef", Number: 1, Endpoint: "https://api.vendor.test",
			IssuerRef:   v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
			Beneficiary: v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "www", RequestName: "www-1", RequestUID: "1"},
			Action:      v1alpha1.ActionNew, SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"},
			Request: []byte("csr"), DCVMethod: v1alpha1.DCVMethodCNAME, ValidityDays: 199,
			Attempts: []v1alpha1.Attempt{{
				Number: 1, Time: at, RequestName: "www-1", RequestUID: "1", Writer: v1alpha1.Writer{StartNonce: "a"}, ClusterUID: "c", KeyFingerprint: "k",
			}},
		},
	}
}

func (c *caller) order(name string) *v1alpha1.RegfishOrder {
	return &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: name, UID: "1"},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		},
	}
}

// made is a purchase that was created.
func (c *caller) made(name string) *v1alpha1.RegfishPurchase {
	p := c.purchase(name)
	if err := c.Create(context.Background(), p); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// change patches a purchase guarded by its version, as the controllers do.
func (c *caller) change(what string, p *v1alpha1.RegfishPurchase, change func(*v1alpha1.RegfishPurchase)) {
	before := p.DeepCopy()
	change(p)
	err := c.Patch(context.Background(), p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		c.note(what, err)
		before.DeepCopyInto(p)
		return
	}
	c.note(what, nil, p)
}

func (c *caller) changeStatus(what string, p *v1alpha1.RegfishPurchase, change func(*v1alpha1.RegfishPurchase)) {
	before := p.DeepCopy()
	change(p)
	err := c.Status().Patch(context.Background(), p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		c.note(what, err)
		return
	}
	c.note(what, nil, p)
}

// calls are what the controllers do with the API server, and what goes wrong with it.
var calls = map[string]func(ctx context.Context, c *caller){
	"what exists cannot be created again": func(ctx context.Context, c *caller) {
		c.note("create", c.Create(ctx, c.purchase("p")))
		c.note("again", c.Create(ctx, c.purchase("p")))
		versioned := c.purchase("q")
		versioned.ResourceVersion = "1"
		c.note("with a version", c.Create(ctx, versioned))
	},
	"what is created has no status": func(ctx context.Context, c *caller) {
		p := c.purchase("p")
		p.Status.State = v1alpha1.StateIssued
		c.note("create", c.Create(ctx, p), p)
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p), p)
		if p.UID == "" || p.ResourceVersion == "" || p.CreationTimestamp.IsZero() {
			c.answers = append(c.answers, "incomplete")
		}
		c.answers = append(c.answers, p.Spec.Attempts[0].Time.UTC().String())
	},
	"what is not there is not found": func(ctx context.Context, c *caller) {
		p := c.purchase("p")
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p))
		c.note("delete", c.Delete(ctx, c.purchase("p")))
		p = c.made("p")
		c.note("delete", c.Delete(ctx, p))
		before := p.DeepCopy()
		p.Annotations = map[string]string{"a": "b"}
		c.note("patch", c.Patch(ctx, p, client.MergeFrom(before)))
		c.note("status", c.Status().Patch(ctx, p, client.MergeFrom(before)))
	},
	"only the version that was read can be changed": func(_ context.Context, c *caller) {
		p := c.made("p")
		stale := p.DeepCopy()
		c.change("first", p, func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "b"} })
		c.change("stale", stale.DeepCopy(), func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "c"} })
		c.changeStatus("stale status", stale.DeepCopy(), func(p *v1alpha1.RegfishPurchase) { p.Status.State = v1alpha1.StateHeld })
		c.changeStatus("status", p, func(p *v1alpha1.RegfishPurchase) { p.Status.State = v1alpha1.StateHeld })
		c.change("after the status", stale.DeepCopy(), func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "d"} })
	},
	"a change that changes nothing makes no version": func(ctx context.Context, c *caller) {
		p := c.made("p")
		version := p.ResourceVersion
		c.change("nothing", p, func(*v1alpha1.RegfishPurchase) {})
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p), p)
		c.answers = append(c.answers, fmt.Sprint(version == p.ResourceVersion))
	},
	"a patch without a version is not guarded": func(ctx context.Context, c *caller) {
		p := c.made("p")
		stale := p.DeepCopy()
		c.change("first", p, func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "b"} })
		before := stale.DeepCopy()
		stale.Annotations = map[string]string{"c": "d"}
		c.note("stale", c.Patch(ctx, stale, client.MergeFrom(before)), stale)
	},
	"the status is written apart": func(_ context.Context, c *caller) {
		p := c.made("p")
		c.changeStatus("a spec in the status", p, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.CertificateID, p.Status.State, p.Annotations = "ID", v1alpha1.StateIssued, map[string]string{"a": "b"}
		})
		c.change("a status in the spec", p, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.CertificateID, p.Status.State = "ID", v1alpha1.StateHeld
		})
	},
	"the generation counts changes of the spec": func(_ context.Context, c *caller) {
		p := c.made("p")
		c.change("annotation", p, func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "b"} })
		c.changeStatus("status", p, func(p *v1alpha1.RegfishPurchase) { p.Status.State = v1alpha1.StateIssued })
		c.change("spec", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "ID" })
		c.change("annotation removed", p, func(p *v1alpha1.RegfishPurchase) { p.Annotations = nil })
	},
	"only what is meant is deleted": func(ctx context.Context, c *caller) {
		p := c.made("p")
		other, version := types.UID("other"), p.ResourceVersion
		c.note("another uid", c.Delete(ctx, p, client.Preconditions{UID: &other}))
		c.changeStatus("status", p, func(p *v1alpha1.RegfishPurchase) { p.Status.State = v1alpha1.StateIssued })
		c.note("an old version", c.Delete(ctx, p, client.Preconditions{UID: &p.UID, ResourceVersion: &version}))
		c.note("what is meant", c.Delete(ctx, p, client.Preconditions{UID: &p.UID, ResourceVersion: &p.ResourceVersion}))
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p))
	},
	"what is created again is another object": func(ctx context.Context, c *caller) {
		p := c.made("p")
		c.note("delete", c.Delete(ctx, p.DeepCopy()))
		again := c.made("p")
		c.answers = append(c.answers, fmt.Sprint(again.UID == p.UID))
		c.change("the old one", p.DeepCopy(), func(p *v1alpha1.RegfishPurchase) { p.Annotations = map[string]string{"a": "b"} })
		c.note("delete the old one", c.Delete(ctx, p, client.Preconditions{UID: &p.UID}))
	},
	"finalizers keep what is deleted": func(ctx context.Context, c *caller) {
		p := c.purchase("p")
		p.Finalizers = []string{"example.com/keep"}
		c.note("create", c.Create(ctx, p))
		c.note("delete", c.Delete(ctx, p.DeepCopy()))
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p), p)
		c.note("delete again", c.Delete(ctx, p.DeepCopy()))
		before := p.DeepCopy()
		p.Finalizers = nil
		c.note("finalize", c.Patch(ctx, p, client.MergeFrom(before)))
		c.note("get", c.Get(ctx, client.ObjectKeyFromObject(p), p))
	},
	"purchases are listed by the fields that the CRD declares": func(ctx context.Context, c *caller) {
		c.made("a")
		p := c.made("b")
		c.change("id", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "ID" })
		for _, fields := range []client.MatchingFields{
			{"spec.namesHash": "0123456789abcdef"}, {"spec.certificateID": "ID"}, {"spec.certificateID": ""}, {"spec.action": "New"},
			{"spec.beneficiary.namespace": "shop", "spec.beneficiary.certificateName": "www"}, {"spec.beneficiary.namespace": "other"}, {"spec.sku": "RapidSSL"},
		} {
			var list v1alpha1.RegfishPurchaseList
			err := c.List(ctx, &list, client.InNamespace(c.namespace), fields)
			c.note(fmt.Sprint(fields), err)
			for _, item := range list.Items {
				c.answers = append(c.answers, item.Name)
			}
		}
	},
	"what was decided stays": func(_ context.Context, c *caller) {
		p := c.made("p")
		at := metav1.NewMicroTime(time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC))
		c.change("sku", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.SKU = "SSL123" })
		c.change("plan", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "plan" })
		c.change("organization", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.OrganizationID = "o" })
		c.change("an attempt's time", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Time = at })
		c.change("an attempt's baseline", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].BaselineIDs = []string{"x"} })
		c.change("disproved", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"x"} })
		c.change("not disproved", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = nil })
		c.change("outcome", p, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Attempts[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Time: at}
		})
		c.change("another outcome", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Outcome.Result = v1alpha1.OutcomeRejected })
		c.change("no outcome", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Outcome = nil })
		c.change("resolution", p, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Attempts[0].Resolution = &v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound, Time: at}
		})
		c.change("no resolution", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Resolution = nil })
		c.change("release", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].ReleaseTime = &at })
		c.change("no release", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].ReleaseTime = nil })
		c.change("another attempt", p, func(p *v1alpha1.RegfishPurchase) {
			next := *p.Spec.Attempts[0].DeepCopy()
			next.Number, next.Outcome, next.Resolution, next.ReleaseTime, next.DisprovedIDs = 2, nil, nil, nil, nil
			p.Spec.Attempts = append(p.Spec.Attempts, next)
		})
		c.change("a successor", p, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Successors = []v1alpha1.Successor{{Number: 2, Action: v1alpha1.ActionNew, RequestUID: "1", Time: at}}
		})
		c.change("another successor", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Successors[0].RequestUID = "2" })
		c.change("a renewal", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.Successors[0].Action = v1alpha1.ActionRenew })
		c.change("id", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "ID" })
		c.change("another id", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "OTHER" })
		c.change("no id", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "" })
		c.change("abandon", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = &at })
		c.change("not abandoned", p, func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = nil })
	},
	"an order stays what it is": func(ctx context.Context, c *caller) {
		o := c.order("o")
		c.note("create", c.Create(ctx, o), o)
		before := o.DeepCopy()
		o.Spec.IssuerRef.Name = "other"
		c.note("another issuer", c.Patch(ctx, o, client.MergeFrom(before)))
		o = before.DeepCopy()
		o.Status.State = v1alpha1.StateIssued
		c.note("status", c.Status().Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})), o)
	},
	"a request is answered in its status": func(ctx context.Context, c *caller) {
		cr := &cmapi.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "r"},
			Spec:       cmapi.CertificateRequestSpec{Request: []byte("csr"), IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}},
		}
		c.note("create", c.Create(ctx, cr))
		before := cr.DeepCopy()
		cr.Status.CA = []byte("ca")
		c.note("status", c.Status().Patch(ctx, cr, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
		c.note("stale", c.Status().Patch(ctx, cr.DeepCopy(), client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
		c.answers = append(c.answers, string(cr.Status.CA))
	},
}

// The simulation is worth what its API server is worth: both have to answer the same.
func TestTheStoreAnswersAsARealAPIServerDoes(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t)
			really := &caller{Client: env.Client, t: t, namespace: env.Namespace}
			call(t.Context(), really)
			memory := &store.Client{Store: store.New(operator.Scheme()), Gate: func(_ context.Context, _ store.Call, do func() error) error { return do() }}
			stored := &caller{Client: memory, t: t, namespace: env.Namespace}
			call(t.Context(), stored)
			if len(really.answers) == 0 {
				t.Error("nothing was called")
			}
			if diff := cmp.Diff(really.answers, stored.answers); diff != "" {
				t.Errorf("the store answers otherwise (-API server +store):\n%s", diff)
			}
		})
	}
}

// What is lent is for reading, and whoever changes it is found out.
func TestWhatIsLentIsNotAltered(t *testing.T) {
	purchase := func() *v1alpha1.RegfishPurchase {
		return &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: "ledger", Name: "p"}, Spec: v1alpha1.PurchaseSpec{DNSNames: []string{"www.example.com"}}}
	}
	for name, read := range map[string]func(client.Reader, client.UnsafeDisableDeepCopyOption) *v1alpha1.RegfishPurchase{
		"read": func(c client.Reader, lent client.UnsafeDisableDeepCopyOption) *v1alpha1.RegfishPurchase {
			p := purchase()
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p, lent); err != nil {
				t.Fatal(err)
			}
			return p
		},
		"listed": func(c client.Reader, lent client.UnsafeDisableDeepCopyOption) *v1alpha1.RegfishPurchase {
			var list v1alpha1.RegfishPurchaseList
			if err := c.List(t.Context(), &list, lent); err != nil {
				t.Fatal(err)
			}
			return &list.Items[0]
		},
	} {
		for lent, want := range map[client.UnsafeDisableDeepCopyOption][]string{
			false: nil,
			true:  {"RegfishPurchase ledger/p of version 2"},
		} {
			t.Run(fmt.Sprintf("%s, lent: %t", name, lent), func(t *testing.T) {
				s := store.New(operator.Scheme())
				if err := s.Create(purchase()); err != nil {
					t.Fatal(err)
				}
				c := store.NewCache(s)
				if _, err := c.GetInformer(t.Context(), purchase()); err != nil {
					t.Fatal(err)
				}
				p := read(&store.Client{Store: s, Cache: c}, lent)
				if found := s.Altered(); found != nil {
					t.Errorf("before anything was changed: %q", found)
				}
				p.Spec.DNSNames[0] = "www.example.org"
				if diff := cmp.Diff(want, s.Altered()); diff != "" {
					t.Errorf("altered (-want +got):\n%s", diff)
				}
			})
		}
	}
}
