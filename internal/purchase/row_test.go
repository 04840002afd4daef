// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

func TestCompare(t *testing.T) {
	validation := &regfish.Validation{Method: "dns-cname-token", DNSRecords: []regfish.DNSRecord{{Name: "_x.example.com", Type: "CNAME", Value: "y.example"}}}
	read := regfish.Certificate{ID: "C1", Status: regfish.StatusPending, OrderState: "dcv", PendingReason: "dcv_pending", Validation: validation}
	staged := regfish.Certificate{ID: "C1", Status: regfish.StatusPending, ActionRequired: true, PendingReason: "organization_required", CompletionURL: "https://dash.regfish.com/c"}
	until := noon.Add(time.Hour)
	for name, tt := range map[string]struct {
		reason      string
		read        regfish.Certificate // what the status has from
		row         regfish.Certificate
		reissuing   bool
		short, same bool
	}{
		"a row with validation":                            {reason: "it has what a read has", read: read, row: read, same: true},
		"a row without validation":                         {reason: "the records stay", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, short: true, same: true},
		"a row with another order state":                   {reason: "something happened", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, OrderState: "vetting"}, short: true},
		"a row with another reason":                        {reason: "somebody else has to act", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, PendingReason: "caa"}, short: true},
		"a row with another message":                       {reason: "it says what is to be done", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, PendingMessage: "call us"}, short: true},
		"an issued row with dates":                         {reason: "it has what a read has", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until, CertificatePEMAvailable: true}},
		"an issued row that does not say what is there":    {reason: "it would never be fetched", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, short: true},
		"an issued row without dates":                      {reason: "the status shows them", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued}, short: true},
		"an issued row after a read without a certificate": {reason: "it may be there by now", read: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued}, short: true},
		"a row that ended":                                 {reason: "an end is believed of a read only", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusRejected, Validation: validation}, short: true},
		"no records yet":                                   {reason: "they may come later", read: regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, short: true},
		"a staged row":                                     {reason: "a person has not acted", read: staged, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, ActionRequired: true}, short: true, same: true},
		"a staged order whose row does not ask for action": {reason: "a person acted, or the row does not say", read: staged, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending}, short: true},
		"a row that asks for action":                       {reason: "the page is in a read", read: read, row: regfish.Certificate{ID: "C1", Status: regfish.StatusPending, ActionRequired: true}, short: true},
		"a reissue runs and the row has none":              {reason: "it says nothing of the reissue", read: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, reissuing: true, short: true},
		"a reissue runs and the row lacks its records":     {reason: "the records stay", read: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until, CertificatePEMAvailable: true, Reissue: &regfish.Reissue{Status: "pending"}}, reissuing: true, short: true},
		"a reissue runs and the row has it":                {reason: "it has what a read has", read: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until, CertificatePEMAvailable: true, Reissue: &regfish.Reissue{Status: "pending", Validation: validation}}, reissuing: true},
		"a reissue ended and the row has it":               {reason: "what came of it is read by the id", read: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until}, row: regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, ValidUntil: &until, Reissue: &regfish.Reissue{Status: "issued"}}, reissuing: true, short: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := record(t, 1, attempted(v1alpha1.OutcomeAccepted, time.Hour))
			p.Spec.CertificateID = "C1"
			if tt.reissuing {
				p.Spec.Reissues = []v1alpha1.Reissue{{Number: 1, Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted}}}
			}
			p.Status = Observe(&p, Observation{Vendor: &tt.read, MayShow: func(string) bool { return true }})
			short, same := Compare(&p, tt.row)
			if short != tt.short || same != tt.same && short {
				t.Errorf("%s: short %v, same %v", tt.reason, short, same)
			}
		})
	}
	if _, same := Compare(&v1alpha1.RegfishPurchase{}, read); same {
		t.Error("nothing was told yet, and a row is the same as that")
	}
}
