// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, testenv.Options{CRDPaths: []string{"config/crd/bases"}, ControllerManager: true, AddToScheme: v1alpha1.AddToScheme})
}

// patience is what only a broken program needs: on a busy machine a look that is made
// again after a minute has to fit.
const patience = 3 * time.Minute

// apiKey is the key of the account, and canary the part of it that is looked for where
// no key may be.
const (
	apiKey = canary + ".0123456789abcdef"
	canary = "canary-5f1d9c"
)

// world is a vendor, a ledger, a tenant's namespace and an issuer of each kind.
type world struct {
	*testenv.Env
	t       *testing.T
	vendor  *simulator.Server
	url     string
	ledger  string
	cluster string // the RegfishClusterIssuer
	spec    v1alpha1.IssuerSpec
}

// issuerName is the name of the RegfishIssuer.
const issuerName = "regfish"

func newWorld(t *testing.T, change ...func(*v1alpha1.IssuerSpec)) *world {
	t.Helper()
	return newWorldOf(t, simulator.Options{}, change...)
}

// newWorldOf is newWorld with another vendor.
func newWorldOf(t *testing.T, vendor simulator.Options, change ...func(*v1alpha1.IssuerSpec)) *world {
	t.Helper()
	w := &world{Env: testenv.New(t), t: t}
	if len(vendor.Keys) == 0 {
		vendor.Keys = []string{apiKey}
	}
	var err error
	if w.vendor, err = simulator.New(vendor); err != nil {
		t.Fatal(err)
	}
	if w.url, err = w.vendor.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.vendor.Close() })
	w.ledger = testenv.Namespace(t, w.Client)
	t.Cleanup(w.noKeyAnywhere)
	w.cluster = w.Namespace
	w.spec = v1alpha1.IssuerSpec{
		APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"},
		URL:             w.url, CABundle: w.vendor.ServerCA(), SKU: "rapidssl",
	}
	for _, c := range change {
		c(&w.spec)
	}
	w.create(testenv.APIKeySecret(w.ledger, "regfish-api", apiKey))
	w.create(testenv.APIKeySecret(w.Namespace, "regfish-api", apiKey))
	w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: issuerName}, Spec: w.spec})
	w.create(&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}, Spec: w.spec})
	return w
}

// in is the world as a subtest sees it.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

// noKeyAnywhere fails the test if the API key stands in anything that people read.
func (w *world) noKeyAnywhere() {
	w.t.Helper()
	if strings.Contains(w.Logs(), canary) {
		w.t.Error("the API key is in the logs")
	}
	for _, list := range []client.ObjectList{
		&corev1.EventList{}, &cmapi.CertificateRequestList{}, &cmapi.CertificateList{},
		&v1alpha1.RegfishIssuerList{}, &v1alpha1.RegfishClusterIssuerList{}, &v1alpha1.RegfishOrderList{}, &v1alpha1.RegfishPurchaseList{},
	} {
		if err := w.Client.List(context.Background(), list); err != nil {
			w.t.Error(err)
		}
		w.noKeyIn(list)
	}
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.Client.Create(w.t.Context(), o); err != nil {
		w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
	w.t.Cleanup(func() {
		if _, ok := o.(v1alpha1.Issuer); ok {
			// It is gone when noKeyAnywhere looks.
			_ = w.Client.Get(context.Background(), client.ObjectKeyFromObject(o), o)
			w.noKeyIn(o)
		}
		_ = w.Client.Delete(context.Background(), o)
	})
}

// noKeyIn fails the test if the API key stands in the object.
func (w *world) noKeyIn(o any) {
	w.t.Helper()
	encoded, err := json.Marshal(o)
	if err != nil {
		w.t.Error(err)
	}
	if bytes.Contains(encoded, []byte(canary)) {
		w.t.Errorf("the API key is in a %T", o)
	}
}

func (w *world) options() operator.Options {
	return operator.Options{
		REST: w.Config, Version: "test", LedgerNamespace: w.ledger, ClusterResourceNamespace: w.ledger,
		Namespaces: []string{w.Namespace, w.ledger}, AllowedEndpoints: []string{w.url},
		MetricsAddress: "0", ProbeAddress: "0", Concurrency: 4,
		PollInterval: 50 * time.Millisecond, WriterGrace: 2 * time.Second, Limits: poller.Limits{Rate: 500, Burst: 100},
		ServiceAccount: w.ledger + ":regfish-issuer", SkipNameValidation: true,
	}
}

// run runs a controller until the test ends or stop is called, and fails the test if
// it ends with an error.
func (w *world) run(change ...func(*operator.Options)) (stop func()) {
	w.t.Helper()
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- operator.Run(ctx, o) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("controller ended: %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// automateDNS is the stand-in for DNS automation: it reads nothing but the status of
// orders, and puts the records they show into the vendor's DNS.
func (w *world) automateDNS() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var orders v1alpha1.RegfishOrderList
			if err := w.Client.List(ctx, &orders, client.InNamespace(w.Namespace)); err != nil {
				continue
			}
			for _, o := range orders.Items {
				if o.Status.DCV == nil {
					continue
				}
				for _, r := range o.Status.DCV.Records {
					w.vendor.SetRecord(r.Name, r.Type, r.Value)
				}
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// issuersReady waits until both issuers can be used.
func (w *world) issuersReady() {
	w.t.Helper()
	for _, i := range []interface {
		client.Object
		v1alpha1.Issuer
	}{
		&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: issuerName}},
		&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}},
	} {
		w.eventually("issuer is Ready", func() error {
			if err := w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(i), i); err != nil {
				return err
			}
			if !meta.IsStatusConditionTrue(i.GetStatus().Conditions, v1alpha1.ConditionReady) {
				return fmt.Errorf("conditions %+v", i.GetStatus().Conditions)
			}
			return nil
		})
	}
}

// issuerSays waits until the issuer's Ready has the reason.
func (w *world) issuerSays(issuer interface {
	client.Object
	v1alpha1.Issuer
}, reason string) *metav1.Condition {
	w.t.Helper()
	var c *metav1.Condition
	w.eventually("issuer "+issuer.GetName()+" says "+reason, func() error {
		if err := w.get(issuer); err != nil {
			return err
		}
		if c = meta.FindStatusCondition(issuer.GetStatus().Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != reason {
			return fmt.Errorf("Ready is %+v", c)
		}
		return nil
	})
	return c
}

// purchaseOf returns the purchase that an order shows.
func (w *world) purchaseOf(o *v1alpha1.RegfishOrder) *v1alpha1.RegfishPurchase {
	w.t.Helper()
	if o.Status.PurchaseRef == nil {
		w.t.Fatalf("order %s shows no purchase", o.Name)
	}
	p := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: w.ledger, Name: o.Status.PurchaseRef.Name}}
	if err := w.get(p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// request creates an approved request.
func (w *world) request(name string, mods ...testenv.Mod) *cmapi.CertificateRequest {
	w.t.Helper()
	cr := testenv.CertificateRequest(w.t, w.Namespace, name, append([]testenv.Mod{testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster)}, mods...)...)
	if err := w.Client.Create(w.t.Context(), cr); err != nil {
		w.t.Fatal(err)
	}
	testenv.Approve(w.t, w.Client, cr)
	return cr
}

// edit changes the cluster issuer as a person with kubectl would, whoever else writes.
func (w *world) edit(change func(*v1alpha1.IssuerSpec)) {
	w.t.Helper()
	issuer := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	if err := w.get(issuer); err != nil {
		w.t.Fatal(err)
	}
	before := issuer.DeepCopy()
	change(&issuer.Spec)
	if err := w.Client.Patch(w.t.Context(), issuer, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(o client.Object) error {
	return w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
}

// order waits until the order of the given name satisfies check.
func (w *world) order(name, what string, check func(*v1alpha1.RegfishOrder) bool) *v1alpha1.RegfishOrder {
	w.t.Helper()
	o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
	w.eventually("order "+name+" "+what, func() error {
		if err := w.get(o); err != nil {
			return err
		}
		if !check(o) {
			return fmt.Errorf("state %s: %s; conditions %+v", o.Status.State, o.Status.Message, o.Status.Conditions)
		}
		return nil
	})
	return o
}

func inState(s v1alpha1.State) func(*v1alpha1.RegfishOrder) bool {
	return func(o *v1alpha1.RegfishOrder) bool { return o.Status.State == s }
}

// heldFor reports whether an order is held for the reason.
func heldFor(reason string) func(*v1alpha1.RegfishOrder) bool {
	return func(o *v1alpha1.RegfishOrder) bool {
		c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionHeld)
		return c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason
	}
}

// stands is a condition of an order as Status/Reason.
func stands(o *v1alpha1.RegfishOrder, kind string) string {
	if c := meta.FindStatusCondition(o.Status.Conditions, kind); c != nil {
		return string(c.Status) + "/" + c.Reason
	}
	return ""
}

// placed reports whether an order's Placed has the reason.
func placed(reason string) func(*v1alpha1.RegfishOrder) bool {
	return func(o *v1alpha1.RegfishOrder) bool {
		c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionPlaced)
		return c != nil && c.Reason == reason
	}
}

// answered waits until the request's Ready has the reason.
func (w *world) answered(cr *cmapi.CertificateRequest, reason string) {
	w.t.Helper()
	w.eventually("request "+cr.Name+" is "+reason, func() error {
		if err := w.get(cr); err != nil {
			return err
		}
		if got := apiutil.CertificateRequestReadyReason(cr); got != reason {
			return fmt.Errorf("is %q: %+v", got, cr.Status.Conditions)
		}
		return nil
	})
}

func readyMessage(cr *cmapi.CertificateRequest) string {
	if c := apiutil.GetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionReady); c != nil {
		return c.Message
	}
	return ""
}

// certificateReady waits until cert-manager says that the Certificate is Ready.
func (w *world) certificateReady(c *cmapi.Certificate) {
	w.t.Helper()
	w.eventually("certificate "+c.Name+" is Ready", func() error {
		if err := w.get(c); err != nil {
			return err
		}
		if !apiutil.CertificateHasCondition(c, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) {
			return fmt.Errorf("conditions %+v", c.Status.Conditions)
		}
		return nil
	})
}

// verifySecret checks what a user of the Secret relies on: the certificate chains to
// the vendor's root, is for the names, and belongs to the key.
func (w *world) verifySecret(name string, names ...string) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
	if err := w.get(secret); err != nil {
		w.t.Fatal(err)
	}
	w.verify(secret.Data[corev1.TLSCertKey], names...)
	if _, err := x509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err != nil {
		w.t.Errorf("the Secret's key does not belong to its certificate: %v", err)
	}
}

// verify checks a chain against the vendor's root.
func (w *world) verify(chain []byte, names ...string) {
	w.t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(w.vendor.Root())
	block, rest := pem.Decode(chain)
	if block == nil {
		w.t.Fatalf("no certificate in %q", chain)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	between.AppendCertsFromPEM(rest)
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name}); err != nil {
			w.t.Errorf("verify %s: %v", name, err)
		}
	}
	if bytes.Contains(chain, bytes.TrimSpace(w.vendor.Root())) {
		w.t.Error("the root is in the published chain")
	}
}

// purchases returns the records of the ledger, without plans.
func (w *world) purchases() []v1alpha1.RegfishPurchase {
	w.t.Helper()
	var list v1alpha1.RegfishPurchaseList
	if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.ledger)); err != nil {
		w.t.Fatal(err)
	}
	var out []v1alpha1.RegfishPurchase
	for _, p := range list.Items {
		if p.Spec.Number > 0 {
			out = append(out, p)
		}
	}
	return out
}

// bought fails the test unless the vendor bills exactly n orders and the ledger has
// every one of them.
func (w *world) bought(n int) {
	w.t.Helper()
	sold := w.vendor.Purchases()
	if len(sold) != n {
		w.t.Errorf("the vendor bills %d orders, want %d: %+v", len(sold), n, sold)
		for _, p := range w.purchases() {
			w.t.Logf("ledger: %s %s for %s/%s: %s %s", p.Name, p.Spec.CertificateID, p.Spec.Beneficiary.Namespace, p.Spec.Beneficiary.RequestName, p.Status.State, p.Status.Message)
		}
	}
	held := map[string]string{}
	for _, p := range w.purchases() {
		if p.Spec.CertificateID == "" {
			continue
		}
		if other, ok := held[p.Spec.CertificateID]; ok {
			w.t.Errorf("%s and %s both hold %s", other, p.Name, p.Spec.CertificateID)
		}
		held[p.Spec.CertificateID] = p.Name
	}
	for _, s := range sold {
		if held[s.ID] == "" && !s.ReplyLost {
			w.t.Errorf("the ledger lacks %s, which the vendor bills", s.ID)
		}
	}
}
