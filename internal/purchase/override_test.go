// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"strings"
	"testing"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// What an annotation of a request asks for is used, or refused; in no case is something
// else bought in its place, by whatever repeats the request.
func TestOverride(t *testing.T) {
	begin, end := noon.Add(-days(10)), noon.Add(days(189))
	x1 := sold("X1", begin, end)
	with := func(change func(*regfish.Certificate)) regfish.Certificate {
		c := x1
		change(&c)
		return c
	}
	allows := func(i *v1alpha1.RegfishClusterIssuer) {
		i.Spec.AllowedOverrides = []v1alpha1.Override{v1alpha1.OverrideSourceCertificateID}
	}
	for name, tt := range map[string]struct {
		reason string
		issuer func(*v1alpha1.RegfishClusterIssuer) // nil: allows
		id     string                               // empty: X1
		ledger []v1alpha1.RegfishPurchase
		row    regfish.Certificate // without an id: x1
		names  []string            // of the certificate; nil: the request's
		step   Step
		says   string
		orders int
	}{
		"uses what was bought elsewhere": {
			reason: "it is paid for", step: StepWait, says: "waits for X1",
		},
		"takes no slot": {
			reason: "nothing is bought", issuer: func(i *v1alpha1.RegfishClusterIssuer) { allows(i); i.Spec.PurchaseLimit.Count = new(int32(0)) },
			step: StepWait, says: "waits for X1",
		},
		"refuses what the issuer does not allow": {
			reason: "whoever may create Certificates need not be whoever pays", issuer: func(*v1alpha1.RegfishClusterIssuer) {},
			step: StepFail, says: "annotation certmanager.regfish.com/source-certificate-id: RegfishClusterIssuer regfish does not allow it; its owner can, with SourceCertificateID in spec.allowedOverrides. Correct it on the Certificate, or remove it",
		},
		"does not tell whether anybody holds it where it is not allowed": {
			reason: "ids are nobody's business there", issuer: func(*v1alpha1.RegfishClusterIssuer) {},
			ledger: []v1alpha1.RegfishPurchase{record(t, 1, inNamespace("blog"), forCertificate("other"), placed("X1", days(10)), issuedFor(begin, end))},
			step:   StepFail, says: "does not allow it",
		},
		"refuses what another namespace holds": {
			reason: "it would be reissued for a tenant's own key", ledger: []v1alpha1.RegfishPurchase{record(t, 1, inNamespace("blog"), placed("X1", days(10)), issuedFor(begin, end))},
			step: StepFail, says: "another purchase holds X1.",
		},
		"refuses what another Certificate holds": {
			reason: "two Certificates that both exist are two lineages", ledger: []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), forCertificate("other"), placed("X1", days(10)), issuedFor(begin, end))},
			step: StepFail, says: "another purchase holds X1.",
		},
		"refuses what was bought with another issuer": {
			reason: "the id is one of the account", ledger: []v1alpha1.RegfishPurchase{record(t, 1, inNamespace("blog"), withIssuer("other"), placed("X1", days(10)), issuedFor(begin, end))},
			step: StepFail, says: "another purchase holds X1.",
		},
		"waits while it may be the order of another one": {
			reason: "it is not known yet whose it is", ledger: []v1alpha1.RegfishPurchase{record(t, 1, inNamespace("blog"), forNames(t, "www.example.com", "api.example.com"), ofAnotherSet, attempted(v1alpha1.OutcomeUnknown, days(1)))},
			step: StepWait, says: "waits for RegfishPurchase another-1: order X1 may be its",
		},
		"refuses an id that the account does not have": {
			reason: "the key may be of another account", id: "X2", step: StepFail, says: "the account has no X2 with a name of the request.",
		},
		"refuses what is no id": {
			reason: "it is never put into a path or a record", id: "../X1\n", step: StepFail, says: `"../X1" is no id of a certificate.`,
		},
		"refuses a certificate for other names": {
			reason: "it could not be handed out", names: []string{"www.example.com", "api.example.com"}, step: StepFail, says: "the names of X1 are not those of the request.",
		},
		"refuses what cannot be reissued": {
			reason: "it would have to be renewed, which costs money", row: with(func(c *regfish.Certificate) { c.ReissueSupported = false }),
			step: StepFail, says: "cannot be reissued for that: regfish offers no reissue.",
		},
		"refuses what is revoked": {
			reason: "nothing is got from it", row: with(func(c *regfish.Certificate) { c.RevocationScope = "order" }),
			step: StepFail, says: "regfish says that X1 is revoked.",
		},
		"refuses what is over": {
			reason: "nothing is got from it", row: with(func(c *regfish.Certificate) { c.Status = regfish.StatusExpired }),
			step: StepFail, says: "regfish says that X1 is expired.",
		},
		"refuses where nothing is used again": {
			reason: "it would be bought all the same", issuer: func(i *v1alpha1.RegfishClusterIssuer) { allows(i); i.Spec.ReusePolicy = v1alpha1.ReusePolicyNever },
			step: StepFail, says: "spec.reusePolicy of RegfishClusterIssuer regfish is Never.",
		},
		"waits for what is not delivered": {
			reason: "its key is not known", row: with(func(c *regfish.Certificate) { c.CertificatePEMAvailable = false }),
			step: StepQueue, says: "regfish does not deliver it yet.",
		},
		"does not count once the Certificate has purchases": {
			reason: "the annotation stays, and must not stop a renewal when it is not allowed any more", issuer: func(*v1alpha1.RegfishClusterIssuer) {}, id: "X9",
			ledger: []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), placed("C1", days(400)), issuedFor(noon.Add(-days(400)), noon.Add(-days(201))))},
			row:    with(func(c *regfish.Certificate) { c.Status = regfish.StatusExpired }),
			step:   StepFollow, orders: 1,
		},
		"does not count once it was used": {
			reason: "another product is another lineage, and it is bought", ledger: []v1alpha1.RegfishPurchase{record(t, 1, forKey(t, keyB), withSKU("SecureSite"), imported("X1"), issuedFor(begin, end))},
			step: StepFollow, orders: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, cr := readyIssuer(50), shopWWW(t)
			if tt.issuer == nil {
				tt.issuer = allows
			}
			tt.issuer(issuer)
			if tt.id == "" {
				tt.id = "X1"
			}
			cr.Annotations = map[string]string{v1alpha1.AnnotationSourceCertificateID: tt.id}
			w := newWorld(t, issuer, cr)
			for i := range tt.ledger {
				w.create(&tt.ledger[i])
			}
			if tt.row.ID == "" {
				tt.row = x1
			}
			if tt.names == nil {
				tt.names = []string{"www.example.com"}
			}
			tt.row.DNSNames = tt.names
			// What the list says of it need not say what can be done with it.
			w.vendor.account = []regfish.Certificate{tt.row}
			w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyB, begin, end, tt.names...))}
			s := w.spender("one", none)
			for range 3 {
				d := w.spend(s, cr)
				if d.Step != tt.step || !strings.Contains(d.Message, tt.says) {
					t.Errorf("%s: step %d, %s", tt.reason, d.Step, d.Message)
				}
				if tt.step == StepFail && d.Reason != v1alpha1.ReasonOverrideRefused {
					t.Errorf("it fails for %s", d.Reason)
				}
			}
			all := w.purchases()
			if w.vendor.sent() != tt.orders || int(w.slots()) != tt.orders {
				t.Errorf("%s: %d orders, %d slots, %v", tt.reason, w.vendor.sent(), w.slots(), describe(all))
			}
			imported := len(all) == 1 && len(tt.ledger) == 0
			if imported != (tt.says == "waits for X1") {
				t.Errorf("%s: %v", tt.reason, describe(all))
			}
			if imported && (all[0].Spec.Action != v1alpha1.ActionImport || all[0].Spec.CertificateID != "X1" || len(all[0].Spec.Request) > 0) {
				t.Errorf("%s: %v, request %q", tt.reason, describe(all), all[0].Spec.Request)
			}
		})
	}
}

// What was taken into the ledger for a key of somebody else is reissued for the request's,
// once, and never handed out as it is.
func TestImportIsReissued(t *testing.T) {
	begin, end := noon.Add(-days(10)), noon.Add(days(189))
	issuer, cr := readyIssuer(50), shopWWW(t)
	issuer.Spec.AllowedOverrides = []v1alpha1.Override{v1alpha1.OverrideSourceCertificateID}
	cr.Annotations = map[string]string{v1alpha1.AnnotationSourceCertificateID: "X1"}
	w := newWorld(t, issuer, cr)
	w.vendor.account = []regfish.Certificate{sold("X1", begin, end)}
	w.vendor.pem = map[string][]byte{"X1": certificatePEM(leaf(t, keyB, begin, end, "www.example.com"))}
	s := w.spender("one", none)
	w.spend(s, cr)
	p := w.only()
	issuedFor(begin, end)(&p)
	if err := w.api.Status().Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if d := w.spend(s, cr); d.Step != StepFollow || d.Purchase.Spec.CertificateID != "X1" {
			t.Errorf("step %d: %s", d.Step, d.Message)
		}
	}
	if p := w.only(); len(p.Spec.Reissues) != 1 || len(w.vendor.reissues) != 1 || w.vendor.sent() != 0 || w.vendor.reissues[0].CSR != string(cr.Spec.Request) {
		t.Errorf("%d reissues in the ledger, %d at regfish, %d orders", len(p.Spec.Reissues), len(w.vendor.reissues), w.vendor.sent())
	}
}

// ofAnotherSet makes it a purchase that shares the lock of no other one.
func ofAnotherSet(p *v1alpha1.RegfishPurchase) { p.Spec.NamesHash, p.Name = "another", "another-1" }
