// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is handed out has to be fresh by cert-manager's own reckoning, or
// cert-manager renews it at once and a loop begins that costs money.
func TestFresh(t *testing.T) {
	day := func(n int) *metav1.Duration { return &metav1.Duration{Duration: days(n)} }
	percent := func(n int32) *int32 { return &n }
	spec := func(s cmapi.CertificateSpec) *cmapi.Certificate { return &cmapi.Certificate{Spec: s} }
	year := days(360)

	for name, tt := range map[string]struct {
		reason      string
		lifetime    time.Duration
		certificate *cmapi.Certificate
		// until is how long after notBefore it is fresh; 0 if it never is.
		until time.Duration
	}{
		"without a Certificate it is fresh for two thirds of its life": {
			reason:   "that is when cert-manager would renew it by default",
			lifetime: year, until: days(240),
		},
		"by default it is fresh until a hundredth of its life before two thirds of it": {
			reason:      "clock skew must not hand out what is renewed at once",
			certificate: spec(cmapi.CertificateSpec{}),
			lifetime:    year, until: days(240) - year/100,
		},
		"a certificate for a day keeps an hour's distance": {
			reason:      "a hundredth of a day would be less than clocks differ",
			certificate: spec(cmapi.CertificateSpec{}),
			lifetime:    days(1), until: 15 * time.Hour,
		},
		"renewBefore moves the time": {
			reason:      "the live Certificate decides when cert-manager renews",
			certificate: spec(cmapi.CertificateSpec{RenewBefore: day(30)}),
			lifetime:    year, until: days(330) - year/100,
		},
		"renewBeforePercentage moves the time": {
			reason:      "the live Certificate decides when cert-manager renews",
			certificate: spec(cmapi.CertificateSpec{RenewBeforePercentage: percent(10)}),
			lifetime:    year, until: days(324) - year/100,
		},
		"a renewBefore as long as the certificate lives counts for nothing": {
			reason:      "cert-manager falls back to its default then",
			certificate: spec(cmapi.CertificateSpec{RenewBefore: day(400)}),
			lifetime:    year, until: days(240) - year/100,
		},
		"a renewBefore almost as long as the certificate lives leaves no time": {
			reason:      "cert-manager renews it within the margin",
			certificate: spec(cmapi.CertificateSpec{RenewBefore: day(358)}),
			lifetime:    year, until: 0,
		},
		"a certificate that is never renewed is fresh while it lives": {
			reason:      "nothing will ask for another one",
			certificate: spec(cmapi.CertificateSpec{Renewal: &cmapi.CertificateRenewal{Policy: cmapi.CertificateRenewalPolicyDisabled}}),
			lifetime:    year, until: year,
		},
		"a renewal policy that cannot be reckoned counts as never": {
			reason:      "cert-manager does not renew it either",
			certificate: spec(cmapi.CertificateSpec{Renewal: &cmapi.CertificateRenewal{Policy: "Whenever"}}),
			lifetime:    year, until: year,
		},
		"the policy RenewBefore is the same as none": {
			reason:      "it is cert-manager's name for what it always did",
			certificate: spec(cmapi.CertificateSpec{RenewBefore: day(30), Renewal: &cmapi.CertificateRenewal{Policy: cmapi.CertificateRenewalPolicyRenewBefore}}),
			lifetime:    year, until: days(330) - year/100,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Certificate: tt.certificate}
			ask := func(after time.Duration) bool {
				f.Now = noon.Add(after)
				return fresh(f, noon, noon.Add(tt.lifetime))
			}
			if tt.until == 0 {
				if ask(0) {
					t.Errorf("%s: it is fresh on its first day", tt.reason)
				}
				return
			}
			if !ask(tt.until-time.Second) || ask(tt.until) {
				t.Errorf("%s: it is not fresh for exactly %s: %v a second before, %v then", tt.reason, tt.until, ask(tt.until-time.Second), ask(tt.until))
			}
		})
	}
	if !fresh(Facts{Now: noon}, time.Time{}, noon) || !fresh(Facts{Now: noon}, noon, time.Time{}) {
		t.Error("a certificate with an unknown date is not fresh: its dates are known once it was fetched, and buying does not bring them")
	}
}
