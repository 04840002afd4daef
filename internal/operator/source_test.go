// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"strings"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// elsewhere returns the id of a certificate for www.example.com that was bought and that no
// ledger has, for another key than any that is asked for later.
func (w *world) elsewhere() string {
	w.t.Helper()
	stop := w.run()
	cr := w.request("elsewhere", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	stop()
	for _, p := range w.purchases() {
		w.remove(&p)
	}
	w.remove(cr)
	return w.vendor.Purchases()[0].ID
}

// TestCertificateBoughtElsewhereIsUsed: the annotation on the Certificate reaches the request
// by way of cert-manager, and nobody else gets the certificate with it, before or after.
func TestCertificateBoughtElsewhereIsUsed(t *testing.T) {
	w := newWorldOf(t, simulator.Options{ContractDays: 365})
	w.automateDNS()
	id := w.elsewhere()
	names := []testenv.Mod{testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithECDSA(), testenv.WithDNSNames("www.example.com")}
	source := map[string]string{v1alpha1.AnnotationSourceCertificateID: id}
	other := testenv.Namespace(t, w.Client)
	w.run(func(o *operator.Options) { o.Namespaces = append(o.Namespaces, other) })
	refused := func(namespace, name, says string, mods ...testenv.Mod) {
		t.Helper()
		cr := testenv.CertificateRequest(t, namespace, name, append(names[:len(names):len(names)], mods...)...)
		cr.Annotations = source
		w.create(cr)
		testenv.Approve(t, w.Client, cr)
		w.answered(cr, cmapi.CertificateRequestReasonFailed)
		if !apiutil.CertificateRequestHasCondition(cr, cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionInvalidRequest, Status: cmmeta.ConditionTrue}) ||
			!strings.Contains(readyMessage(cr), "annotation "+v1alpha1.AnnotationSourceCertificateID+": "+says) {
			t.Errorf("request %s/%s: %+v", namespace, name, cr.Status.Conditions)
		}
	}
	refused(w.Namespace, "not-allowed", "RegfishClusterIssuer "+w.cluster+" does not allow it; its owner can, with SourceCertificateID in spec.allowedOverrides.")

	w.edit(func(s *v1alpha1.IssuerSpec) {
		s.AllowedOverrides = []v1alpha1.Override{v1alpha1.OverrideSourceCertificateID}
	})
	w.issuersReady()
	w.StartCertManager(testenv.CertManagerOptions{})
	c := testenv.Certificate(w.Namespace, "www", names...)
	c.Annotations = source
	w.create(c)
	w.certificateReady(c)
	w.verifySecret("www-tls", "www.example.com")
	p := w.only("is reissued", func(p *v1alpha1.RegfishPurchase) bool {
		return p.Status.State == v1alpha1.StateIssued && p.Status.Reissues == 1
	})
	if p.Spec.Action != v1alpha1.ActionImport || p.Spec.CertificateID != id {
		t.Errorf("the ledger has %s %s", p.Spec.Action, p.Spec.CertificateID)
	}

	// A tenant of another namespace, another issuer of the account, and a request of the
	// same namespace that is of no Certificate.
	for _, namespace := range []string{other, w.Namespace} {
		refused(namespace, "thief", "another purchase holds "+id+".")
	}
	issuer := &v1alpha1.RegfishIssuer{}
	issuer.Name, issuer.Namespace = issuerName, w.Namespace
	if err := w.get(issuer); err != nil {
		t.Fatal(err)
	}
	issuer.Spec.AllowedOverrides = []v1alpha1.Override{v1alpha1.OverrideSourceCertificateID}
	if err := w.Client.Update(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	w.issuersReady()
	refused(w.Namespace, "another-issuer", "another purchase holds "+id+".", testenv.WithIssuer(v1alpha1.KindIssuer, issuerName))

	// What it was used for goes on by itself, also when nothing is allowed any more.
	w.edit(func(s *v1alpha1.IssuerSpec) { s.AllowedOverrides = nil })
	w.loseSecret("www")
	w.only("is reissued again", func(p *v1alpha1.RegfishPurchase) bool {
		return p.Status.State == v1alpha1.StateIssued && p.Status.Reissues == 2
	})
	w.certificateReady(c)
	w.bought(1)
}

// TestPersonAdoptsForAnotherKey: what was issued for a key that is lost is reissued for the
// one of the request.
func TestPersonAdoptsForAnotherKey(t *testing.T) {
	w := newWorldOf(t, simulator.Options{ContractDays: 365})
	w.automateDNS()
	id := w.elsewhere()
	w.run()
	cr := w.request("www", testenv.WithECDSA(), testenv.WithDNSNames("www.example.com"))
	w.order("www", "is held", heldFor(v1alpha1.ReasonUnclaimedOrder))
	w.runbook("UnclaimedOrder", "=adopt", "PURCHASE", w.plan().Name, ":ID", ":"+id)
	w.answered(cr, cmapi.CertificateRequestReasonIssued)
	w.verify(cr.Status.Certificate, "www.example.com")
	w.only("is reissued", func(p *v1alpha1.RegfishPurchase) bool { return p.Spec.CertificateID == id && p.Status.Reissues == 1 })
	w.bought(1)
}
