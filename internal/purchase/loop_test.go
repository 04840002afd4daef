// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/ecdsa"
	"fmt"
	"math"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmpki "github.com/cert-manager/cert-manager/pkg/util/pki"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// year is a model of a year of one Certificate: cert-manager asks at its own renewal time,
// Plan decides, and regfish issues at once.
type year struct {
	t           *testing.T
	f           Facts
	certificate *cmapi.Certificate
	rotates     bool
	keys        []*ecdsa.PrivateKey
	asked       []*pki.Request // with these keys
	contract    time.Duration  // what an order pays for
	skew        time.Duration  // this clock minus cert-manager's
	midnight    bool

	now                 time.Time // by cert-manager's clock
	notBefore, notAfter time.Time // of the certificate in the Secret
	requests, orders    int
	least               time.Duration // of life that was ever left
}

const termDays = 199

// issue makes what an order or a reissue brings.
func (y *year) issue(p *v1alpha1.RegfishPurchase) {
	from := y.now.Add(-time.Hour)
	if y.midnight {
		from = y.now.Truncate(24 * time.Hour)
	}
	if p.Status.ContractNotAfter == nil {
		paidFor(from, from.Add(y.contract))(p)
	}
	until := from.Add(days(termDays))
	if contract := p.Status.ContractNotAfter.Time; contract.Before(until) {
		until = contract
	}
	issuedFor(from, until)(p)
}

// ask is a request, which is decided until it has its certificate; it reports whether it got
// one. A purchase that has to wait is decided again every six hours, to save time.
func (y *year) ask(end time.Time) {
	y.requests++
	i := 0
	if y.rotates {
		i = y.requests % len(y.keys)
	}
	key := y.keys[i]
	y.f.Want.Request = y.asked[i]
	y.f.Want.Beneficiary.RequestUID = types.UID(fmt.Sprint("r", y.requests))
	for ; y.now.Before(end); y.now = y.now.Add(6 * time.Hour) {
		y.f.Now = y.now.Add(y.skew)
		y.f.Certificate = y.certificate
		if y.requests == 1 || !y.now.Before(y.notAfter) {
			y.f.Certificate = certificateOf(0, notReadyNow)
			y.f.Certificate.Spec = y.certificate.Spec
		}
		y.f.Sources = nil
		d := Plan(y.f)
		var p *v1alpha1.RegfishPurchase
		switch d.Step {
		case StepDeliver:
			p = d.Purchase
		case StepReissue:
			for i := range y.f.Purchases {
				if p = &y.f.Purchases[i]; p.Name == d.Purchase.Name {
					break
				}
			}
			reissuedFor(y.t, key, y.f.Want.Beneficiary.RequestUID, 0, func(r *v1alpha1.Reissue) {
				r.Time = metav1.NewMicroTime(y.f.Now)
				r.End = &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueIssued, Time: r.Time}
			})(p)
			y.issue(p)
		case StepBuy, StepRenew:
			y.orders++
			bought := New(y.f.Want, ledger, nextNumber(y.f.Purchases))
			bought.Spec.CertificateID = numberedID(y.orders)
			bought.Spec.Attempts = []v1alpha1.Attempt{{Number: 1, Time: metav1.NewMicroTime(y.f.Now), RequestUID: y.f.Want.Beneficiary.RequestUID, Outcome: &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted}}}
			if d.Step == StepRenew {
				bought.Spec.Action, bought.Spec.SourceCertificateID = v1alpha1.ActionRenew, d.Source.Spec.CertificateID
			}
			y.issue(bought)
			bought.Status.Vendor = &v1alpha1.Vendor{Status: regfish.StatusIssued}
			y.f.Purchases = append(y.f.Purchases, *bought)
			p = bought
		case StepQueue:
			if d.Reason == v1alpha1.ReasonRenewalEarly {
				continue
			}
			fallthrough
		default:
			y.t.Fatalf("day %.1f: step %d: %s", y.now.Sub(noon).Hours()/24, d.Step, d.Message)
		}
		if y.requests > 1 {
			y.least = min(y.least, y.notAfter.Sub(y.now))
		}
		y.notBefore, y.notAfter = p.Status.NotBefore.Time, p.Status.NotAfter.Time
		return
	}
}

// A Certificate asks no more often than its renewBefore forces, and what is bought is what
// the lifetimes force, however the two clocks differ.
func TestNoRenewalLoop(t *testing.T) {
	type spec struct {
		name string
		set  func(*cmapi.Certificate)
		// before is how long before the end cert-manager asks for the next certificate.
		before func(lifetime time.Duration) time.Duration
	}
	var specs []spec
	for _, n := range []int{0, 30, 60, 90, 100, 150} {
		renewBefore := days(n)
		specs = append(specs, spec{fmt.Sprintf("renewBefore %d days", n), func(c *cmapi.Certificate) {
			if n > 0 {
				c.Spec.RenewBefore = &metav1.Duration{Duration: renewBefore}
			}
		}, func(l time.Duration) time.Duration {
			if n == 0 || renewBefore >= l {
				return l / 3
			}
			return renewBefore
		}})
	}
	for _, n := range []int32{10, 50, 90} {
		specs = append(specs, spec{fmt.Sprintf("renewBeforePercentage %d", n), func(c *cmapi.Certificate) { c.Spec.RenewBeforePercentage = &n }, func(l time.Duration) time.Duration { return l * time.Duration(n) / 100 }})
	}
	asked := []*pki.Request{preflighted(t, keyA, "www.example.com"), preflighted(t, keyB, "www.example.com")}
	checked := 0
	for _, s := range specs {
		for _, contract := range []int{termDays, 365} {
			for _, rotates := range []bool{true, false} {
				for _, skew := range []time.Duration{-5 * time.Second, 0, 5 * time.Second} {
					for _, midnight := range []bool{false, true} {
						checked++
						name := fmt.Sprintf("%s, contract %d days, rotation %t, skew %s, midnight %t", s.name, contract, rotates, skew, midnight)
						y := &year{t: t, f: situation(t), certificate: certificateOf(0, s.set), rotates: rotates, keys: []*ecdsa.PrivateKey{keyA, keyB}, asked: asked, contract: days(contract), skew: skew, midnight: midnight, now: noon, least: days(999)}
						end := noon.Add(days(365))
						for y.now.Before(end) {
							y.ask(end)
							due, err := cmpki.RenewalTime(y.notBefore, y.notAfter, y.certificate.Spec.RenewBefore, y.certificate.Spec.RenewBeforePercentage, nil)
							if err != nil {
								t.Fatal(err)
							}
							if due.After(y.now) {
								y.now = due.Time
							} else {
								// cert-manager asks again at once: a loop, if it goes on.
								y.now = y.now.Add(time.Second)
							}
						}
						// The last certificate of a contract may be shorter than the others, and half of it is waited for.
						lifetime := days(termDays)
						most := int(math.Ceil(float64(days(365))/float64(lifetime-s.before(lifetime)-days(1)))) + 1
						if contract > termDays {
							most++
						}
						if y.requests > most {
							t.Errorf("%s: %d requests, want at most %d", name, y.requests, most)
						}
						// No earlier than half of a lifetime, or at the end of the contract less what cert-manager asks for.
						between := max(lifetime/2, lifetime-s.before(lifetime))
						if contract > termDays {
							between = days(contract) - max(s.before(lifetime), lifetime/2)
						}
						if want := int(math.Ceil(float64(days(365)) / float64(between-days(2)))); y.orders > want {
							t.Errorf("%s: %d orders, want at most %d", name, y.orders, want)
						}
						if y.least <= 0 {
							t.Errorf("%s: the certificate ran out", name)
						}
					}
				}
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d years passed", checked)
	}
}
