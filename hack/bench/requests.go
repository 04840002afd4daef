// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// signed is a signing request for one host.
func signed(host string, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// newKey makes a key.
func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// waiting begins the names of requests whose orders nobody validates.
const waiting = "waiting"

// hostOf is the domain that a request of that name is for.
func hostOf(name string) string { return name + "-example.com" }

// create creates a request as cert-manager makes them.
func (r *rig) create(ctx context.Context, name string, csr []byte, owner *cmapi.Certificate) (*cmapi.CertificateRequest, error) {
	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: tenant, Name: name,
			Annotations: map[string]string{
				cmapi.CertificateNameKey: owner.Name, cmapi.CertificateRequestRevisionAnnotationKey: "1",
				cmapi.CertificateRequestPrivateKeyAnnotationKey: owner.Name + "-abcde",
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, cmapi.SchemeGroupVersion.WithKind(cmapi.CertificateKind))},
		},
		Spec: cmapi.CertificateRequestSpec{Request: csr, IssuerRef: ref(v1alpha1.Group, v1alpha1.KindClusterIssuer, issuer)},
	}
	if err := r.client.Create(ctx, cr); err != nil {
		return nil, fmt.Errorf("create request %s: %w", name, err)
	}
	return cr, nil
}

func ref(group, kind, name string) cmmeta.IssuerReference {
	return cmmeta.IssuerReference{Group: group, Kind: kind, Name: name}
}

// approve approves the request, and returns when it began to.
func (r *rig) approve(ctx context.Context, cr *cmapi.CertificateRequest) (time.Time, error) {
	before := cr.DeepCopy()
	apiutil.SetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "ApprovedByBench", "The bench approved.")
	began := time.Now()
	if err := r.client.Status().Patch(ctx, cr, client.MergeFrom(before)); err != nil {
		return began, fmt.Errorf("approve request %s: %w", cr.Name, err)
	}
	return began, nil
}

// certificate creates a Certificate for our issuer.
func (r *rig) certificate(ctx context.Context, name string) (*cmapi.Certificate, error) {
	c := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name},
		Spec:       cmapi.CertificateSpec{SecretName: name, DNSNames: []string{hostOf(name)}, IssuerRef: ref(v1alpha1.Group, v1alpha1.KindClusterIssuer, issuer)},
	}
	if err := r.client.Create(ctx, c); err != nil {
		return nil, fmt.Errorf("create Certificate: %w", err)
	}
	return c, nil
}

// ask creates a Certificate and its request, with the key or a new one, and approves that.
// It returns the request and when it was approved.
func (r *rig) ask(ctx context.Context, name string, key crypto.Signer) (*cmapi.CertificateRequest, time.Time, error) {
	var err error
	if key == nil {
		if key, err = newKey(); err != nil {
			return nil, time.Time{}, err
		}
	}
	csr, err := signed(hostOf(name), key)
	if err != nil {
		return nil, time.Time{}, err
	}
	c, err := r.certificate(ctx, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	cr, err := r.create(ctx, name, csr, c)
	if err != nil {
		return nil, time.Time{}, err
	}
	at, err := r.approve(ctx, cr)
	return cr, at, err
}

// each does something for the numbers below n, in parallel.
func each(n int, do func(i int) error) error {
	const parallel = 16
	var (
		mu    sync.Mutex
		first error
		next  int
		work  sync.WaitGroup
	)
	for range parallel {
		work.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := first != nil || i >= n
				mu.Unlock()
				if stop {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	return first
}

// The steps on the way from a request to its certificate, as the API server and the vendor
// show them.
const (
	stepAsked     = "request made"
	stepApproved  = "request approved"
	stepOrdered   = "ordered at the vendor"
	stepValidated = "validated and issued at the vendor"
	stepPublished = "certificate published on the request"
	stepReady     = "Certificate ready"
)

// diary is when things were seen to have come so far.
type diary struct {
	mu sync.Mutex
	at map[string]map[string]time.Time // by step and name
}

func (d *diary) note(step, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at[step] == nil {
		d.at[step] = map[string]time.Time{}
	}
	if _, ok := d.at[step][name]; ok {
		return false
	}
	d.at[step][name] = time.Now()
	return true
}

// of is a copy of the times of a step.
func (d *diary) of(step string) map[string]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	times := make(map[string]time.Time, len(d.at[step]))
	for name, at := range d.at[step] {
		times[name] = at
	}
	return times
}

func (d *diary) count(step string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.at[step])
}

// observe writes the diary until the rig ends, and stands in for DNS automation: it reads
// nothing but the status of orders, and puts the records there into the vendor's DNS, but
// for those that are to go on waiting.
func (r *rig) observe(ctx context.Context) *diary {
	d := &diary{at: map[string]map[string]time.Time{}}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	r.atEnd(func() error { stop(); running.Wait(); return nil })
	free := make(chan struct{}, 8)
	for _, w := range []struct {
		list client.ObjectList
		see  func(client.Object)
	}{
		{&cmapi.CertificateRequestList{}, func(o client.Object) { d.request(o.(*cmapi.CertificateRequest)) }},
		{&cmapi.CertificateList{}, func(o client.Object) {
			c := o.(*cmapi.Certificate)
			if apiutil.CertificateHasCondition(c, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) {
				d.note(stepReady, c.Name)
			}
		}},
		{&v1alpha1.RegfishOrderList{}, func(o client.Object) {
			order := o.(*v1alpha1.RegfishOrder)
			if order.Status.DCV == nil || len(order.Status.DCV.Records) == 0 || strings.HasPrefix(order.Name, waiting) || !d.note("record", order.Name) {
				return
			}
			record := order.Status.DCV.Records[0]
			free <- struct{}{}
			running.Go(func() {
				if r.vendor.publish(ctx, record) == nil {
					d.note(stepValidated, order.Name)
				}
				<-free
			})
		}},
	} {
		running.Go(func() {
			// The API server ends a watch after some minutes, and one that is slow at once.
			for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
				r.watch(ctx, w.list, w.see)
			}
		})
	}
	return d
}

// watch shows what there is, and then what changes, until the watch ends. What goes wrong is
// tried again by the caller.
func (r *rig) watch(ctx context.Context, list client.ObjectList, see func(client.Object)) {
	if err := r.client.List(ctx, list); err != nil {
		return
	}
	if err := meta.EachListItem(list, func(o runtime.Object) error { see(o.(client.Object)); return nil }); err != nil {
		return
	}
	watcher, err := r.client.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	if err != nil {
		return
	}
	defer watcher.Stop()
	for e := range watcher.ResultChan() {
		if o, ok := e.Object.(client.Object); ok && e.Type != watch.Deleted {
			see(o)
		}
	}
}

func (d *diary) request(cr *cmapi.CertificateRequest) {
	d.note(stepAsked, cr.Name)
	if apiutil.CertificateRequestIsApproved(cr) {
		d.note(stepApproved, cr.Name)
	}
	if apiutil.CertificateRequestReadyReason(cr) == cmapi.CertificateRequestReasonIssued {
		d.note(stepPublished, cr.Name)
	}
}

// share returns the value that this share of the values do not exceed.
func share(values []float64, of float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(of*float64(len(sorted))))]
}
