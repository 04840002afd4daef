// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestMove is docs/operations.md, "Move to another cluster": what was bought in one
// cluster is used in another, what is under way there is followed here, and nothing is
// bought.
func TestMove(t *testing.T) {
	old := newWorld(t)
	stopCertManager := old.StartCertManager(testenv.CertManagerOptions{})
	stop := old.run()
	issued := []*cmapi.Certificate{old.certificate(v1alpha1.KindIssuer, "own"), old.certificate(v1alpha1.KindClusterIssuer, "common")}
	old.validate(issued...)
	old.certificate(v1alpha1.KindClusterIssuer, "under-way")
	underWay := old.order("under-way-1", "shows its record", func(o *v1alpha1.RegfishOrder) bool {
		return o.Status.State == v1alpha1.StateValidating && o.Status.DCV != nil && len(o.Status.DCV.Records) > 0 && o.Status.PurchaseRef.CertificateID != ""
	})

	// The old cluster stops.
	stop()
	stopCertManager()
	backed := &v1alpha1.RegfishPurchaseList{}
	old.bind(old.namespace, backup, "Role", "regfish-issuer-ledger-restorer")
	old.eventually("the backup reads the ledger", func() error {
		return old.as(backup).List(t.Context(), backed, client.InNamespace(old.namespace))
	})
	if len(backed.Items) != len(issued)+1 {
		t.Fatalf("the ledger has %d purchases", len(backed.Items))
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem}}
	if err := old.get(system); err != nil {
		t.Fatal(err)
	}

	// The new one gets the chart, Secrets, the ledger, issuers and Certificates.
	now := old.elsewhere()
	now.do("install", now.values(), "--set", "replicas=0")
	for _, c := range issued {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Spec.SecretName}}
		if err := old.get(secret); err != nil {
			t.Fatal(err)
		}
		now.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations},
			Type:       secret.Type, Data: secret.Data,
		})
	}
	now.create(testenv.APIKeySecret(now.namespace, "regfish-api", apiKey))
	now.create(testenv.APIKeySecret(now.Namespace, "regfish-api", apiKey))
	now.bind(now.namespace, backup, "Role", "regfish-issuer-ledger-restorer")
	for _, p := range backed.Items {
		restored := &v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels}, Spec: p.Spec}
		now.eventually("the backup restores "+p.Name, func() error { return now.as(backup).Create(t.Context(), restored) })
	}
	takeover := map[string]string{v1alpha1.AnnotationTakeover: string(system.UID)}
	now.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: issuerName, Annotations: takeover}, Spec: old.spec})
	now.create(&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuerName, Annotations: takeover}, Spec: old.spec})
	for _, c := range issued {
		now.create(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}, Spec: c.Spec})
	}
	stopCertManager, err := testenv.StartCertManager(t.Context(), now.Config, testenv.CertManagerOptions{Namespace: now.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopCertManager)
	now.do("upgrade", now.values())
	now.run()

	for _, c := range issued {
		now.ready(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}})
	}
	for _, r := range underWay.Status.DCV.Records {
		now.vendor.SetRecord(r.Name, r.Type, r.Value)
	}
	now.eventually("what was under way is issued in the new ledger", func() error {
		for _, p := range now.purchases() {
			if p.Spec.CertificateID != underWay.Status.PurchaseRef.CertificateID {
				continue
			}
			if p.Status.State != v1alpha1.StateIssued {
				return fmt.Errorf("it is %s: %s", p.Status.State, p.Status.Message)
			}
			return nil
		}
		return errors.New("it is not there")
	})
	var requests cmapi.CertificateRequestList
	if err := now.Client.List(t.Context(), &requests); err != nil {
		t.Fatal(err)
	}
	if len(requests.Items) != 0 {
		t.Errorf("cert-manager asked for %d certificates that it had", len(requests.Items))
	}
	now.bought(len(issued) + 1)
}

// validate sets the records that the orders of the certificates show, until all of them
// are Ready. They want different records at one name, and which of them is shown first is
// not for a test to say.
func (w *world) validate(certificates ...*cmapi.Certificate) {
	w.t.Helper()
	w.eventually("the certificates are Ready", func() error {
		var orders v1alpha1.RegfishOrderList
		if err := w.Client.List(w.t.Context(), &orders, client.InNamespace(w.Namespace)); err != nil {
			return err
		}
		for _, o := range orders.Items {
			if o.Status.DCV == nil || !slices.ContainsFunc(certificates, func(c *cmapi.Certificate) bool { return o.Name == c.Name+"-1" }) {
				continue
			}
			for _, r := range o.Status.DCV.Records {
				w.vendor.SetRecord(r.Name, r.Type, r.Value)
			}
		}
		for _, c := range certificates {
			if err := w.isReady(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// elsewhere returns the same vendor and the same namespaces in a cluster of its own.
func (w *world) elsewhere() *world {
	w.t.Helper()
	crds, err := monitoringCRDs()
	if err != nil {
		w.t.Fatal(err)
	}
	plane, err := testenv.Start(testenv.Options{CRDPaths: crds, ControllerManager: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	c, err := client.NewWithWatch(plane.Config, client.Options{Scheme: w.Client.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	there := &world{
		release: &release{Env: &testenv.Env{Config: plane.Config, Client: c, Namespace: w.Namespace}, t: w.t, name: w.name, namespace: w.namespace},
		vendor:  w.vendor, url: w.url, spec: w.spec, log: filepath.Join(w.t.TempDir(), "controller.log"),
	}
	for _, name := range []string{w.namespace, w.Namespace} {
		there.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return there
}
