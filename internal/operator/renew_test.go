// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

const aDay = 24 * time.Hour

// calendar is a world in which days pass at once.
type calendar struct {
	*world
	clock       *testenv.Clock
	begun       time.Time
	certificate *cmapi.Certificate
}

// newCalendar runs everything by one clock, with a vendor that sells terms of so many days.
func newCalendar(t *testing.T, contract int, mods ...testenv.Mod) *calendar {
	t.Helper()
	c := &calendar{clock: &testenv.Clock{}, begun: time.Now()}
	c.world = newWorldOf(t, simulator.Options{Now: c.clock.Now, ContractDays: contract})
	c.StartCertManager(testenv.CertManagerOptions{Clock: c.clock})
	c.run(func(o *operator.Options) { o.Clock = c.clock })
	c.automateDNS()
	c.certificate = testenv.Certificate(c.Namespace, "www", append([]testenv.Mod{
		testenv.WithIssuer(v1alpha1.KindClusterIssuer, c.cluster), testenv.WithECDSA(), testenv.WithCommonName("www.example.com"), testenv.WithDNSNames("www.example.com"),
	}, mods...)...)
	c.create(c.certificate)
	c.served("")
	return c
}

// served waits until the Secret has another certificate than the given one, which is for
// its key, and cert-manager is content.
func (c *calendar) served(before string) string {
	c.t.Helper()
	now := ""
	c.eventually("the Secret has a new certificate", func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "www-tls"}}
		if err := c.get(secret); err != nil {
			return err
		}
		if now = string(secret.Data[corev1.TLSCertKey]); now == before {
			return fmt.Errorf("it has the one before")
		}
		if _, err := x509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err != nil {
			return err
		}
		if err := c.get(c.certificate); err != nil {
			return err
		}
		if !apiutil.CertificateHasCondition(c.certificate, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) ||
			apiutil.CertificateHasCondition(c.certificate, cmapi.CertificateCondition{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue}) {
			return fmt.Errorf("conditions %+v", c.certificate.Status.Conditions)
		}
		return nil
	})
	return now
}

// current is the certificate in the Secret.
func (c *calendar) current() string {
	c.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "www-tls"}}
	if err := c.get(secret); err != nil {
		c.t.Fatal(err)
	}
	return string(secret.Data[corev1.TLSCertKey])
}

// expires is when the certificate in the Secret does.
func (c *calendar) expires() time.Time {
	c.t.Helper()
	leaf, err := pki.ParseLeaf([]byte(c.current()))
	if err != nil {
		c.t.Fatal(err)
	}
	return leaf.NotAfter
}

// sleep lets time pass, and makes cert-manager look.
func (c *calendar) sleep(d time.Duration) {
	c.t.Helper()
	c.clock.Advance(d)
	c.change(func(o *cmapi.Certificate) {
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels["looked"] = fmt.Sprint(c.clock.Now().Unix())
	})
}

func (c *calendar) change(change func(*cmapi.Certificate)) {
	c.t.Helper()
	if err := c.get(c.certificate); err != nil {
		c.t.Fatal(err)
	}
	before := c.certificate.DeepCopy()
	change(c.certificate)
	if err := c.Client.Patch(c.t.Context(), c.certificate, client.MergeFrom(before)); err != nil {
		c.t.Fatal(err)
	}
}

// force does what cmctl renew does.
func (c *calendar) force() {
	c.t.Helper()
	if err := c.get(c.certificate); err != nil {
		c.t.Fatal(err)
	}
	before := c.certificate.DeepCopy()
	apiutil.SetCertificateCondition(c.certificate, c.certificate.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "Certificate re-issuance manually triggered")
	if err := c.Client.Status().Patch(c.t.Context(), c.certificate, client.MergeFrom(before)); err != nil {
		c.t.Fatal(err)
	}
}

// untilDue lets time pass until cert-manager renews the certificate.
func (c *calendar) untilDue() {
	c.t.Helper()
	c.eventually("cert-manager knows when to renew", func() error {
		if err := c.get(c.certificate); err != nil {
			return err
		}
		if c.certificate.Status.NotAfter == nil || !c.certificate.Status.NotAfter.Time.Equal(c.expires()) {
			return fmt.Errorf("status %+v", c.certificate.Status)
		}
		return nil
	})
	before := c.current()
	c.sleep(c.certificate.Status.RenewalTime.Sub(c.clock.Now()) + time.Minute)
	c.served(before)
}

// billed fails the test unless the vendor bills so many orders and made so many reissues.
func (c *calendar) billed(when string, orders, reissues int) {
	c.t.Helper()
	if got := len(c.vendor.Purchases()); got != orders {
		c.t.Errorf("%s: %d orders, want %d", when, got, orders)
	}
	if got := len(c.vendor.Reissues()); got != reissues {
		c.t.Errorf("%s: %d reissues, want %d", when, got, reissues)
	}
	for _, p := range c.purchases() {
		c.t.Logf("%s: %s %s %s until %v: %d reissues, %s", when, p.Name, p.Spec.Action, p.Spec.CertificateID, p.Status.ContractNotAfter, p.Status.Reissues, p.Spec.Reason)
	}
}

// TestAYearOfOneCertificate is what a Certificate costs in a year with a contract of a year,
// whatever happens to it: one order, and one more as the renewal when the contract ends.
func TestAYearOfOneCertificate(t *testing.T) {
	c := newCalendar(t, 365)
	c.billed("at first", 1, 0)

	before := c.current()
	c.sleep(10 * aDay)
	c.loseSecret("www")
	before = c.served(before)
	c.billed("after the Secret was lost", 1, 1)

	c.sleep(10 * aDay)
	c.force()
	before = c.served(before)
	c.billed("after a forced renewal", 1, 2)

	// A request that is gone is compared with the Secret, and nothing is asked for.
	c.sleep(10 * aDay)
	var requests cmapi.CertificateRequestList
	if err := c.Client.List(t.Context(), &requests, client.InNamespace(c.Namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range requests.Items {
		c.remove(&requests.Items[i])
	}
	c.sleep(aDay)

	c.remove(c.certificate)
	c.certificate = testenv.Certificate(c.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, c.cluster), testenv.WithECDSA(), testenv.WithCommonName("www.example.com"), testenv.WithDNSNames("www.example.com"))
	c.loseSecret("www")
	c.create(c.certificate)
	c.served(before)
	c.billed("after the Certificate was created again", 1, 3)

	c.untilDue()
	c.billed("when it was due", 1, 4)
	// Some days of the contract are left beyond it, so the last reissue lives until its end.
	c.untilDue()
	c.billed("when it was due again", 1, 5)
	if end := c.purchases()[0].Status.ContractNotAfter; !c.expires().Equal(end.Time) {
		t.Errorf("it lives until %v, want the end of the contract at %v", c.expires(), end)
	}
	c.untilDue()
	c.billed("when the contract ended", 2, 5)
	if p := c.vendor.Purchases()[1]; p.RenewalOf != c.vendor.Purchases()[0].ID {
		t.Errorf("the second order renews %q", p.RenewalOf)
	}
	if passed := c.clock.Now().Sub(c.begun); passed < 290*aDay {
		t.Errorf("the second order was placed on day %d", passed/aDay)
	}
	c.bought(2)
}

// TestContractAsLongAsTheCertificate: only what the lifetime forces is bought.
func TestContractAsLongAsTheCertificate(t *testing.T) {
	c := newCalendar(t, 0)
	before := c.current()
	c.sleep(20 * aDay)
	c.loseSecret("www")
	before = c.served(before)
	c.billed("after the Secret was lost", 1, 1)

	// The same key is handed out again, and nothing is asked for.
	c.change(func(o *cmapi.Certificate) { o.Spec.PrivateKey.RotationPolicy = cmapi.RotationPolicyNever })
	c.force()
	c.eventually("the same certificate is handed out", func() error {
		if err := c.get(c.certificate); err != nil {
			return err
		}
		var orders v1alpha1.RegfishOrderList
		if err := c.Client.List(t.Context(), &orders, client.InNamespace(c.Namespace)); err != nil {
			return err
		}
		for _, o := range orders.Items {
			if o.Status.Plan != nil && o.Status.Plan.Action == v1alpha1.ActionHandOut && o.Status.State == v1alpha1.StateIssued {
				return nil
			}
		}
		return fmt.Errorf("%d orders", len(orders.Items))
	})
	if c.current() != before {
		t.Error("another certificate was handed out")
	}
	c.billed("after a forced renewal with the same key", 1, 1)
	c.untilDue()
	c.billed("when it was due", 2, 1)
}

// TestNamesThatTheCAAdds: cert-manager compares the names of the certificate with those of
// the spec once the request is gone, and finds one too many. It costs at most a reissue for
// each request that is lost, and never an order.
func TestNamesThatTheCAAdds(t *testing.T) {
	c := &calendar{clock: &testenv.Clock{}, begun: time.Now()}
	c.world = newWorldOf(t, simulator.Options{Now: c.clock.Now, ContractDays: 365})
	c.vendor.InjectFault(simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultApexAdded, Times: -1})
	c.StartCertManager(testenv.CertManagerOptions{Clock: c.clock})
	c.run(func(o *operator.Options) { o.Clock = c.clock })
	c.automateDNS()
	c.certificate = testenv.Certificate(c.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, c.cluster), testenv.WithECDSA(), testenv.WithCommonName("www.example.com"), testenv.WithDNSNames("www.example.com"))
	c.create(c.certificate)
	before := c.served("")
	block, _ := pem.Decode([]byte(before))
	if !bytes.Contains(block.Bytes, []byte("example.com")) || !strings.Contains(fmt.Sprint(c.vendor.Purchases()[0].Names), "[example.com www.example.com]") {
		t.Fatalf("the vendor added no name: %v", c.vendor.Purchases()[0].Names)
	}
	for lost := 1; lost <= 2; lost++ {
		c.sleep(2 * aDay)
		var requests cmapi.CertificateRequestList
		if err := c.Client.List(t.Context(), &requests, client.InNamespace(c.Namespace)); err != nil {
			t.Fatal(err)
		}
		for i := range requests.Items {
			c.remove(&requests.Items[i])
		}
		before = c.served(before)
		if got := len(c.vendor.Reissues()); got > lost || len(c.vendor.Purchases()) != 1 {
			t.Errorf("after %d lost requests: %d reissues, %d orders", lost, got, len(c.vendor.Purchases()))
		}
	}
	c.bought(1)
}
