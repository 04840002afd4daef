// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// wanted is what cert-manager does about one Certificate.
type wanted struct {
	ask
	// key of the present request, number of the request, and whether nobody wants it any
	// more.
	key, number int
	forgotten   bool
	failures    int
	// renewed is how often it was due, and issued the number of the request whose
	// certificate is in use.
	renewed, issued int
}

func (a *wanted) request() types.NamespacedName {
	return types.NamespacedName{Namespace: a.namespace, Name: fmt.Sprintf("%s-%d", a.name, a.number)}
}

// life is the time in which a request existed.
type life struct {
	uid      types.UID
	from, to time.Time // to is zero while it exists
}

// remove deletes a request.
func (w *world) remove(key types.NamespacedName) {
	var cr cmapi.CertificateRequest
	if w.store.Get(key, &cr) != nil {
		return
	}
	lives := w.lives[keyOf(cr.Spec.Request)]
	for i := range lives {
		if lives[i].uid == cr.UID {
			lives[i].to = time.Now()
		}
	}
	w.must(w.store.Delete(&cr))
}

// csrs are made once for all runs: a run that made its own would spend most of its time
// on that.
var csrs sync.Map

func csrFor(names []string, key int) []byte {
	id := fmt.Sprint(names, key)
	if made, ok := csrs.Load(id); ok {
		return made.([]byte)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, private)
	if err != nil {
		panic(err)
	}
	made, _ := csrs.LoadOrStore(id, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	return made.([]byte)
}

// request makes the next request of a Certificate, as cert-manager does, and approves it.
func (w *world) request(i int) {
	a := w.asks[i]
	a.number++
	w.ask(a)
}

func (w *world) ask(a *wanted) {
	var certificate cmapi.Certificate
	if w.store.Get(types.NamespacedName{Namespace: a.namespace, Name: a.name}, &certificate) != nil {
		certificate = cmapi.Certificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name},
			Spec:       cmapi.CertificateSpec{DNSNames: a.names, CommonName: a.names[0], SecretName: a.name, IssuerRef: issuerRef},
		}
		w.must(w.store.Create(&certificate))
	}
	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.request().Name, OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(&certificate, cmapi.SchemeGroupVersion.WithKind(cmapi.CertificateKind)),
		}},
		Spec: cmapi.CertificateRequestSpec{Request: csrFor(a.names, a.key), IssuerRef: issuerRef, Usages: []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth}},
	}
	if w.store.Create(cr) != nil {
		return
	}
	key := keyOf(cr.Spec.Request)
	w.lineage.asks[key] = a
	w.asked = append(w.asked, w.slots[0].calls)
	w.lives[key] = append(w.lives[key], life{uid: cr.UID, from: time.Now()})
	before := cr.DeepCopy()
	cmutil.SetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "cert-manager.io", "approved")
	w.must(w.store.Patch(cr, client.MergeFrom(before), true))
}

var issuerRef = cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: issuerName}

// act is what somebody does at a step.
func (w *world) act(a action) {
	if a.ask >= len(w.asks) {
		return
	}
	want := w.asks[a.ask]
	w.say("-- %s: %s", actionNames[a.kind], want.request())
	if a.kind == cancel {
		for _, p := range w.shop.Purchases() {
			if !w.cancelled[p.ID] && w.shop.SetStatus(p.ID, "order_cancelled") == nil {
				w.cancelled[p.ID] = true
				return
			}
		}
		return
	}
	if want.number == 0 || want.forgotten {
		return
	}
	key := want.request()
	switch a.kind {
	case recreateSameKey, recreateOtherKey:
		w.remove(key)
		if a.kind == recreateOtherKey {
			want.key += 100
		}
		w.ask(want)
	case rekey:
		want.key += 100
		want.number++
		w.ask(want)
	case forget:
		want.forgotten = true
		w.remove(key)
	case deleteOrder:
		_ = w.store.Delete(&v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
	case restore:
		w.restore(want)
	case console:
		csr := csrFor(want.names, -1)
		w.strangers[keyOf(csr)] = true
		body, err := json.Marshal(regfish.OrderRequest{SKU: "RapidSSL", CommonName: want.names[0], DNSNames: want.names, CSR: string(csr), DCVMethod: regfish.DCVMethodCNAME})
		w.must(err)
		w.shop.deliver(apiKey, body)
		w.in(2*time.Hour, "the order of the console is issued", func() {
			for _, p := range w.shop.Purchases() {
				if w.strangers[p.KeyHash] {
					w.must(w.shop.SetStatus(p.ID, "issued"))
				}
			}
		})
	case recreateCertificate:
		w.recreate(a.ask)
	case stranger:
		w.reissueForAnother(want)
	case otherAccount:
		w.useKey(otherKey)
		w.in(3*time.Hour, "the own key is back", func() { w.useKey(apiKey) })
	default:
	}
}

// restore deletes the ledger and everything that was done for a Certificate, which asks
// anew.
func (w *world) restore(want *wanted) {
	w.lineage.restored = true
	for _, p := range w.purchases() {
		w.must(w.store.Delete(&p))
	}
	var orders v1alpha1.RegfishOrderList
	w.must(w.store.List(&orders))
	for i := range orders.Items {
		w.must(w.store.Delete(&orders.Items[i]))
	}
	w.remove(want.request())
	w.ask(want)
}

func (w *world) useKey(key string) {
	var secret corev1.Secret
	w.must(w.store.Get(types.NamespacedName{Namespace: ledgerNamespace, Name: "regfish-api"}, &secret))
	before := secret.DeepCopy()
	secret.Data = map[string][]byte{"api-key": []byte(key)}
	w.must(w.store.Patch(&secret, client.MergeFrom(before), false))
}

// react plans what others do about a change.
func (w *world) react() {
	if v := w.store.Version(); v == w.seen {
		return
	}
	w.seen = w.store.Version()
	for _, actor := range []struct {
		name string
		wait time.Duration
		do   func()
		acts bool
	}{
		{"garbage is collected", 300 * time.Millisecond, func() { w.store.Collect() }, true},
		{"DNS automation looks", 5 * time.Second, w.publish, true},
		{"cert-manager looks", time.Second, w.certManager, true},
		{"GitOps looks", 2 * time.Second, w.putBack, w.plan.gitOps},
		{"a person looks", 7 * time.Minute, w.decide, w.plan.person},
	} {
		if actor.acts && !w.planned(actor.name) {
			w.in(actor.wait, actor.name, actor.do)
		}
	}
}

// publish sets the records that orders show.
func (w *world) publish() {
	var orders v1alpha1.RegfishOrderList
	w.must(w.store.List(&orders))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range orders.Items {
		if o.Status.DCV == nil {
			continue
		}
		for _, r := range o.Status.DCV.Records {
			w.dns[canonical(r.Name)] = canonical(r.Value)
		}
	}
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// resolve is what the authority sees in DNS.
func (w *world) resolve(_ context.Context, name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if target, ok := w.dns[canonical(name)]; ok {
		return target, nil
	}
	return "", errors.New("there is no record")
}

// certManager makes another request an hour after one failed.
func (w *world) certManager() {
	for i, a := range w.asks {
		var cr cmapi.CertificateRequest
		if a.forgotten || a.number == 0 || w.store.Get(a.request(), &cr) != nil {
			continue
		}
		w.renew(i, &cr)
		if a.failures > 1 {
			continue
		}
		again := fmt.Sprintf("cert-manager asks again for %s", a.request())
		if cmutil.CertificateRequestReadyReason(&cr) != cmapi.CertificateRequestReasonFailed || w.planned(again) {
			continue
		}
		number := a.number
		w.in(time.Hour, again, func() {
			if a.number == number && !a.forgotten {
				a.failures++
				a.key += 100
				w.request(i)
			}
		})
	}
}

// putBack is a tool that keeps annotations as they were declared.
func (w *world) putBack() {
	for _, name := range slices.Sorted(keys(w.decided)) {
		text := w.decided[name]
		var p v1alpha1.RegfishPurchase
		if w.store.Get(types.NamespacedName{Namespace: ledgerNamespace, Name: name}, &p) != nil || p.Annotations[v1alpha1.AnnotationResolve] == text {
			continue
		}
		count := name + " was put back"
		if w.licences[count]++; w.licences[count] > 3 {
			continue
		}
		w.annotate(&p, text)
	}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *world) annotate(p *v1alpha1.RegfishPurchase, text string) {
	w.say("-- annotate %s: %s", p.Name, text)
	before := p.DeepCopy()
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[v1alpha1.AnnotationResolve] = text
	w.must(w.store.Patch(p, client.MergeFrom(before), false))
}

// decide is a person who looks at what is held, at most three times.
func (w *world) decide() {
	for _, p := range w.purchases() {
		if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionHeld) || p.Annotations[v1alpha1.AnnotationResolve] != "" || w.decisions >= 3 {
			continue
		}
		text := w.decision(&p)
		if text == "" {
			continue
		}
		w.decisions++
		w.decided[p.Name] = text
		if verb, _, _ := strings.Cut(text, ":"); verb == "retry" || verb == "purchase" {
			w.licences[keyOf(p.Spec.Request)]++
		} else if verb == "abandon" {
			w.givenUp[keyOf(p.Spec.Request)] = true
		}
		w.annotate(&p, text)
	}
}

func (w *world) decision(p *v1alpha1.RegfishPurchase) string {
	if meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHeld).Reason == v1alpha1.ReasonCertificateRefused {
		return ""
	}
	held := map[string]bool{}
	for _, other := range w.purchases() {
		held[other.Spec.CertificateID] = true
	}
	for _, sold := range w.shop.Purchases() {
		// The person is careful: what is there is adopted before anything is bought.
		if sold.KeyHash == keyOf(p.Spec.Request) && !held[sold.ID] && w.random.IntN(4) > 0 {
			return "adopt:" + sold.ID
		}
	}
	switch {
	case purchase.IsPlan(p):
		return "purchase"
	case len(p.Spec.Attempts) > 0 && w.random.IntN(2) == 0:
		last := int32(0)
		for _, a := range p.Spec.Attempts {
			last = max(last, a.Number)
		}
		return fmt.Sprintf("retry:%d", last)
	default:
		return "abandon"
	}
}

func (w *world) purchases() []v1alpha1.RegfishPurchase {
	var all v1alpha1.RegfishPurchaseList
	w.must(w.store.List(&all))
	return all.Items
}

// The lease. Renewing it is not played step by step: a leader that goes on has it, and
// one that does not loses it when its time is over.

// healthy reports whether the process that holds the lease renews it.
func (w *world) healthy() bool {
	return slices.ContainsFunc(w.slots[:], func(s *slot) bool {
		return s.p != nil && s.p.nonce == w.holder && !s.p.dead && !s.p.lost && !time.Now().Before(s.frozen)
	})
}

// leaseMatters reports whether the process does something about the lease by itself.
func (w *world) leaseMatters(p *process) bool {
	switch {
	case p.lost:
		return false
	case p.leads:
		return w.holder != p.nonce
	default:
		return !w.healthy()
	}
}

// elect has the process of a replica look at the lease, if it is time.
func (w *world) elect(s *slot) {
	p, now := s.p, time.Now()
	if p == nil || p.dead || now.Before(s.frozen) || !w.leaseMatters(p) {
		return
	}
	switch {
	case p.leads:
		if !now.Before(p.renewal) {
			w.say("-- %s notices that it lost the lease", p.nonce)
			p.retire()
		}
	case now.Before(w.expiry):
		p.renewal = w.expiry
	default:
		w.take(p)
	}
}

// take gives the lease to a process, whose controllers start.
func (w *world) take(p *process) {
	w.say("-- %s leads", p.nonce)
	for _, s := range w.slots {
		if before := s.p; before != nil && before != p && before.leads {
			// One that is frozen notices a moment after it goes on, one that is not when
			// it could not renew for long enough.
			before.renewal = time.Now().Add(renewDeadline)
			if time.Now().Before(s.frozen) {
				before.renewal = s.frozen.Add(w.grace())
			}
		}
	}
	w.holder = p.nonce
	var lease coordinationv1.Lease
	w.must(w.store.Get(types.NamespacedName{Namespace: ledgerNamespace, Name: operator.LeaseName}, &lease))
	before := lease.DeepCopy()
	lease.Spec.HolderIdentity = &p.nonce
	w.must(w.store.Patch(&lease, client.MergeFrom(before), false))
	p.lead()
}

func (w *world) grace() time.Duration {
	if w.plan.random {
		return time.Duration(w.random.IntN(200)) * time.Millisecond
	}
	return 100 * time.Millisecond
}

// steal gives the lease to the other replica while the process goes on.
func (w *world) steal(p *process) {
	other := w.slots[1-p.slot.index]
	if w.holder != p.nonce || other.p == nil || other.p.dead || other.p.leads || other.p.lost {
		return
	}
	w.take(other.p)
}

// freeze stops a replica for a while.
func (w *world) freeze(s *slot, d time.Duration) {
	s.frozen = time.Now().Add(d)
	w.lapse(s.p)
}

// lapse begins the time after which another process may take the lease.
func (w *world) lapse(p *process) {
	if w.holder == p.nonce {
		w.expiry = time.Now().Add(leaseDuration)
	}
}
