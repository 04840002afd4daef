// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"crypto"
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

const aDay = 24 * time.Hour

// yearOf sells a year of certificates that live for 199 days.
func yearOf(o *simulator.Options) { o.ContractDays = 365 }

func reissueFor(t testing.TB, key crypto.Signer, c regfish.Certificate) regfish.ReissueRequest {
	t.Helper()
	return regfish.ReissueRequest{
		CSR: requestFor(t, key, c.CommonName).CSR, DCVMethod: regfish.DCVMethodCNAME, CommonName: c.CommonName, DNSNames: c.DNSNames,
	}
}

// issued orders names and validates them.
func (v *vendor) issued(t testing.TB, names ...string) regfish.Certificate {
	t.Helper()
	cert := v.order(t, names...)
	v.publish(cert)
	return v.get(t, cert.ID)
}

func TestAReissueServesTheOldCertificateUntilItIsIssued(t *testing.T) {
	v := start(t, yearOf)
	old := v.issued(t, "www.example.com", "api.example.com")
	before, err := v.client.Download(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	v.clock.advance(30 * aDay)
	key := newKey()
	begun := v.client.Reissue(t.Context(), old.ID, reissueFor(t, key, old), yes)
	if begun.Outcome != regfish.Accepted || begun.Certificate.ID != old.ID || !begun.Certificate.Reissue.Active() {
		t.Fatalf("reissue is %v: %v, %+v", begun.Outcome, begun.Err, begun.Certificate.Reissue)
	}
	during := v.get(t, old.ID)
	if during.Status != regfish.StatusIssued || !during.CertificatePEMAvailable || !during.ValidUntil.Equal(*old.ValidUntil) {
		t.Errorf("during the reissue the certificate is %s until %v", during.Status, during.ValidUntil)
	}
	if delivered, err := v.client.Download(t.Context(), old.ID); err != nil || string(before) != string(delivered) {
		t.Errorf("during the reissue another certificate is delivered (%v)", err)
	}
	for _, r := range during.Reissue.Validation.DNSRecords {
		v.SetRecord(r.Name, r.Type, r.Value)
	}
	after := v.get(t, old.ID)
	if after.Reissue.Status != regfish.ReissueIssued || after.Reissue.Validation != nil {
		t.Errorf("after its records stand the reissue is %+v", after.Reissue)
	}
	delivered, err := v.client.Download(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.verify(t, delivered, "api.example.com"); err != nil {
		t.Error(err)
	}
	leaf := chain(t, delivered)[0]
	if !key.PublicKey.Equal(leaf.PublicKey) {
		t.Error("the certificate is not for the key of the reissue")
	}
	if got, want := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour), 199*aDay; got != want {
		t.Errorf("it lives for %v, want %v", got, want)
	}
	if !after.ContractValidUntil.Equal(*old.ContractValidUntil) || after.ContractValidUntil.Sub(*after.ContractValidFrom).Round(time.Hour) != 365*aDay {
		t.Errorf("the contract was from %v until %v and is until %v", old.ContractValidFrom, old.ContractValidUntil, after.ContractValidUntil)
	}
	if len(v.Purchases()) != 1 || len(v.Reissues()) != 1 {
		t.Errorf("%d purchases and %d reissues, want 1 of each", len(v.Purchases()), len(v.Reissues()))
	}
}

func TestNoCertificateOutlivesItsContract(t *testing.T) {
	v := start(t, yearOf, func(o *simulator.Options) { o.Day, o.AtMidnight = time.Hour, true })
	v.clock.advance(20 * time.Minute)
	cert := v.issued(t, "www.example.com")
	if got := cert.ValidUntil.Sub(*cert.ValidFrom); got != 199*time.Hour-time.Second || !cert.ValidFrom.Equal(v.clock.Now().Truncate(time.Hour)) {
		t.Errorf("a certificate of 199 short days is from %v and lives for %v", cert.ValidFrom, got)
	}
	v.clock.advance(190 * time.Hour)
	if r := v.client.Reissue(t.Context(), cert.ID, reissueFor(t, newKey(), cert), yes); r.Outcome != regfish.Accepted {
		t.Fatal(r.Err)
	}
	for _, r := range v.get(t, cert.ID).Reissue.Validation.DNSRecords {
		v.SetRecord(r.Name, r.Type, r.Value)
	}
	if again := v.get(t, cert.ID); !again.ValidUntil.Equal(*cert.ContractValidUntil) {
		t.Errorf("it lives until %v, want the end of the contract %v", again.ValidUntil, cert.ContractValidUntil)
	}
}

func TestReissuesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		given  func(*simulator.Options)
		when   func(*vendor, regfish.Certificate)
		change func(*regfish.ReissueRequest)
		status int
	}{
		"of other names":       {"the list has to be the order's", yearOf, nil, func(r *regfish.ReissueRequest) { r.DNSNames = []string{"other.example.com"} }, 400},
		"of a product without": {"reissue_supported says so", func(o *simulator.Options) { o.NoReissue = true }, nil, nil, 409},
		"during another one": {"one at a time", yearOf, func(v *vendor, c regfish.Certificate) {
			v.client.Reissue(t.Context(), c.ID, reissueFor(t, leafKey, c), yes)
		}, nil, 409},
		"after the contract":     {"the term is over", nil, func(v *vendor, _ regfish.Certificate) { v.clock.advance(200 * aDay) }, nil, 409},
		"of a revoked order":     {"nothing stands any more", yearOf, func(v *vendor, c regfish.Certificate) { _ = v.Revoke(c.ID, "order") }, nil, 409},
		"without a CSR":          {"there is nothing to certify", yearOf, nil, func(r *regfish.ReissueRequest) { r.CSR = "" }, 400},
		"with an unknown method": {"nothing could be validated", yearOf, nil, func(r *regfish.ReissueRequest) { r.DCVMethod = "http" }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			change := tc.given
			if change == nil {
				change = func(*simulator.Options) {}
			}
			v := start(t, change)
			cert := v.issued(t, "www.example.com")
			if tc.when != nil {
				tc.when(v, cert)
			}
			before := len(v.Reissues())
			request := reissueFor(t, newKey(), cert)
			if tc.change != nil {
				tc.change(&request)
			}
			got := v.client.Reissue(t.Context(), cert.ID, request, yes)
			if got.Outcome != regfish.Rejected || got.Status != tc.status || len(v.Reissues()) != before {
				t.Errorf("%v with %d (%v) and %d reissues; want %d because %s", got.Outcome, got.Status, got.Err, len(v.Reissues()), tc.status, tc.reason)
			}
		})
	}
	t.Run("but not of a revoked certificate", func(t *testing.T) {
		v := start(t, yearOf)
		cert := v.issued(t, "www.example.com")
		if err := v.Revoke(cert.ID, "certificate"); err != nil {
			t.Fatal(err)
		}
		if got := v.get(t, cert.ID); got.RevocationScope != "certificate" {
			t.Errorf("the revocation is shown as %q", got.RevocationScope)
		}
		if got := v.client.Reissue(t.Context(), cert.ID, reissueFor(t, newKey(), cert), yes); got.Outcome != regfish.Accepted {
			t.Error(got.Err)
		}
	})
}

func TestAReissueThatFailsLeavesTheOldCertificate(t *testing.T) {
	v := start(t, yearOf)
	cert := v.issued(t, "www.example.com")
	if err := v.FailReissue(cert.ID); err == nil {
		t.Error("a reissue failed that was never begun")
	}
	if r := v.client.Reissue(t.Context(), cert.ID, reissueFor(t, newKey(), cert), yes); r.Outcome != regfish.Accepted {
		t.Fatal(r.Err)
	}
	if err := v.FailReissue(cert.ID); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); !got.Reissue.Failed() || got.Status != regfish.StatusIssued {
		t.Errorf("the certificate is %s, its reissue %+v", got.Status, got.Reissue)
	}
}

func TestRenewals(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.CarryOver = true })
	cert := v.issued(t, "www.example.com")
	v.clock.advance(192*aDay - time.Hour)
	order := request(t, "www.example.com")
	order.RenewalOfCertificateID = cert.ID
	renewed := v.client.Order(t.Context(), order, yes)
	if renewed.Outcome != regfish.Accepted || renewed.Certificate.ID == cert.ID {
		t.Fatalf("renewal is %v of %s: %v", renewed.Outcome, renewed.Certificate.ID, renewed.Err)
	}
	v.publish(renewed.Certificate)
	got := v.get(t, renewed.Certificate.ID)
	// As in the vendor's fixture: 199 days bought, 7 carried over.
	if got.RenewalBonusDays == nil || *got.RenewalBonusDays != 6 && *got.RenewalBonusDays != 7 {
		t.Fatalf("the bonus is %v", got.RenewalBonusDays)
	}
	if days := got.ValidUntil.Sub(*got.ValidFrom).Round(time.Hour); days != time.Duration(199+*got.RenewalBonusDays)*aDay {
		t.Errorf("it lives for %v with a bonus of %d days", days, *got.RenewalBonusDays)
	}
	if p := v.Purchases()[1]; p.RenewalOf != cert.ID {
		t.Errorf("the ledger says that it renews %q", p.RenewalOf)
	}
	if again := v.client.Order(t.Context(), order, yes); again.Outcome != regfish.Rejected || again.Status != 409 {
		t.Errorf("it is renewed twice: %v %v", again.Outcome, again.Err)
	}
	order.RenewalOfCertificateID = "ABCDEFGHJKM23"
	if none := v.client.Order(t.Context(), order, yes); none.Outcome != regfish.Rejected || none.Status != 404 {
		t.Errorf("nothing is renewed: %v %v", none.Outcome, none.Err)
	}
}
