// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

const (
	endpoint  = "https://api.regfish.com"
	namespace = "shop"
	ledger    = "regfish-issuer"
)

// noon is the time of every decision that a test makes.
var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// keyA is the key of the request that a decision is made for; keyB is another one.
var keyA, keyB = newKey(), newKey()

// theIssuer is the issuer that everything is bought with.
var theIssuer = v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}

func TestMain(m *testing.M) {
	// What goes wrong on purpose needs no log.
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// csr is a PEM request for the names, the first of them as common name.
func csr(t testing.TB, key *ecdsa.PrivateKey, names ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// preflighted is csr as it comes out of the preflight.
func preflighted(t testing.TB, key *ecdsa.PrivateKey, names ...string) *pki.Request {
	t.Helper()
	request, problems := pki.Preflight(pki.Spec{CSR: csr(t, key, names...)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return request
}

// leaf is a certificate for the key and names.
func leaf(t testing.TB, key *ecdsa.PrivateKey, notBefore, notAfter time.Time, names ...string) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notAfter, DNSNames: names, Subject: pkix.Name{CommonName: names[0]}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// wanted is what the request r1 of Certificate shop/www asks for, with keyA.
func wanted(t testing.TB) Want {
	t.Helper()
	return Want{
		Beneficiary:  v1alpha1.Beneficiary{Namespace: namespace, CertificateName: "www", RequestName: "www-1", RequestUID: "r1"},
		Issuer:       theIssuer,
		Endpoint:     endpoint,
		Request:      preflighted(t, keyA, "www.example.com"),
		SKU:          "RapidSSL",
		ValidityDays: 199,
		DCVMethod:    v1alpha1.DCVMethodCNAME,
		Publisher:    v1alpha1.DCVPublisherExternal,
	}
}

// change is one difference to the purchase that record makes.
type change func(*v1alpha1.RegfishPurchase)

// record is a purchase for what wanted asks for, without attempts.
func record(t testing.TB, number int32, changes ...change) v1alpha1.RegfishPurchase {
	t.Helper()
	p := New(wanted(t), ledger, number)
	for _, c := range changes {
		c(p)
	}
	return *p
}

// forKey makes it a purchase for another CSR key, hence for another request.
func forKey(t testing.TB, key *ecdsa.PrivateKey) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Request = csr(t, key, p.Spec.DNSNames...)
		p.Spec.Beneficiary.RequestUID, p.Spec.Beneficiary.RequestName = "r0", "www-0"
	}
}

// forRequest makes it a purchase for another request.
func forRequest(uid types.UID) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Beneficiary.RequestUID, p.Spec.Beneficiary.RequestName = uid, "request-"+string(uid)
	}
}

func forCertificate(name string) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.Beneficiary.CertificateName = name }
}

func inNamespace(name string) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.Beneficiary.Namespace = name }
}

func forNames(t testing.TB, names ...string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.CommonName, p.Spec.DNSNames, p.Spec.Request = names[0], names, csr(t, keyA, names...)
	}
}

func withIssuer(name string) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.IssuerRef.Name = name }
}

// elsewhere makes it a purchase at the endpoint that the issuer's url named before.
func elsewhere(p *v1alpha1.RegfishPurchase) { p.Spec.Endpoint = "https://old.example" }

func withSKU(sku string) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.SKU = sku }
}

// attempted adds an attempt that was begun and ended the given time before noon;
// an empty result leaves the outcome open.
func attempted(result string, before time.Duration) change {
	return func(p *v1alpha1.RegfishPurchase) {
		a := v1alpha1.Attempt{
			Number: int32(len(p.Spec.Attempts) + 1), Time: metav1.NewMicroTime(noon.Add(-before)),
			RequestName: p.Spec.Beneficiary.RequestName, RequestUID: p.Spec.Beneficiary.RequestUID, Writer: v1alpha1.Writer{StartNonce: "writer"},
		}
		if result != "" {
			a.Outcome = &v1alpha1.Outcome{Result: result, Time: a.Time}
			if result != v1alpha1.OutcomeAccepted {
				a.Outcome.Message = "place order: something happened"
			}
		}
		p.Spec.Attempts = append(p.Spec.Attempts, a)
	}
}

// unfound adds an attempt that was not answered and that the account was found to lack
// the given time before noon.
func unfound(before time.Duration) change {
	return func(p *v1alpha1.RegfishPurchase) {
		attempted(v1alpha1.OutcomeUnknown, before+time.Hour)(p)
		p.Spec.Attempts[len(p.Spec.Attempts)-1].Resolution = &v1alpha1.Resolution{
			Result: v1alpha1.ResolutionNotFound, Message: "three readings lack it.", Time: metav1.NewMicroTime(noon.Add(-before)),
		}
	}
}

// failedAtRegfish is unfound, after regfish itself had said that it failed.
func failedAtRegfish(before time.Duration) change {
	return func(p *v1alpha1.RegfishPurchase) {
		unfound(before)(p)
		o := p.Spec.Attempts[len(p.Spec.Attempts)-1].Outcome
		o.Answered, o.HTTPStatus = true, 502
	}
}

// adopted says that the order of the last attempt was found in the account.
func adopted(id string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.CertificateID = id
		p.Spec.Attempts[len(p.Spec.Attempts)-1].Resolution = &v1alpha1.Resolution{Result: v1alpha1.ResolutionAdopted, CertificateID: id, Time: metav1.NewMicroTime(noon)}
	}
}

// proved adopts an id that the certificate's own key proves.
func proved(id string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		adopted(id)(p)
		p.Spec.Attempts[len(p.Spec.Attempts)-1].Resolution.Proved = true
	}
}

// theName is the name of the first purchase for what wanted asks for.
const theName = "a1ef6328868614ab-1"

// undecided is a search that a person has to decide on, with these candidates.
func undecided(ids ...string) *Search {
	s := &Search{Begun: noon.Add(-time.Hour), Until: noon.Add(-30 * time.Minute), Blind: noon, Readings: 3, Counted: 3, Finding: Undecided}
	for _, id := range ids {
		s.Candidates = append(s.Candidates, Candidate{Certificate: regfish.Certificate{ID: id, Status: regfish.StatusCancelled, CommonName: "www.example.com"}})
	}
	return s
}

// refusedForGood is an attempt that regfish refused for what is in the order.
func refusedForGood(p *v1alpha1.RegfishPurchase) {
	attempted(v1alpha1.OutcomeRejected, time.Hour)(p)
	p.Spec.Attempts[len(p.Spec.Attempts)-1].Outcome.Final = true
}

func succeeded(number int32) change {
	return func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Successors = append(p.Spec.Successors, v1alpha1.Successor{Number: number, Action: v1alpha1.ActionNew, RequestUID: "r9"})
	}
}

// placed gives it the id that regfish answered with to an order placed the given
// time before noon.
func placed(id string, before time.Duration) change {
	return func(p *v1alpha1.RegfishPurchase) {
		attempted(v1alpha1.OutcomeAccepted, before)(p)
		p.Spec.CertificateID = id
	}
}

// imported makes it the record of a certificate that was in the account.
func imported(id string) change {
	return func(p *v1alpha1.RegfishPurchase) { p.Spec.Action, p.Spec.CertificateID = v1alpha1.ActionImport, id }
}

func stands(kind string, status metav1.ConditionStatus, reason, message string) change {
	return func(p *v1alpha1.RegfishPurchase) {
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
		p.Status.Message = message
	}
}

// issuedFor says that regfish issued its certificate for the given span.
func issuedFor(notBefore, notAfter time.Time) change {
	return func(p *v1alpha1.RegfishPurchase) {
		stands(v1alpha1.ConditionIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued, "issued.")(p)
		p.Status.SerialNumber = "01"
		p.Status.NotBefore, p.Status.NotAfter = at(notBefore), at(notAfter)
	}
}

// cameToNothing says that regfish ended the order without a certificate.
func cameToNothing(p *v1alpha1.RegfishPurchase) {
	stands(v1alpha1.ConditionIssued, metav1.ConditionFalse, v1alpha1.ReasonFailed, "regfish says that order C1 was rejected.")(p)
}

func heldFor(reason string) change {
	return stands(v1alpha1.ConditionHeld, metav1.ConditionTrue, reason, "a person must decide.")
}

func at(t time.Time) *metav1.Time {
	m := metav1.NewTime(t)
	return &m
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// issuedAtVendor is a certificate as the vendor describes it once it is issued.
func issuedAtVendor(id string, notBefore, notAfter time.Time, names ...string) regfish.Certificate {
	return regfish.Certificate{
		ID: id, Status: regfish.StatusIssued, CommonName: names[0], DNSNames: names, CertificatePEMAvailable: true,
		ValidFrom: &notBefore, ValidUntil: &notAfter,
	}
}

// sold is what regfish says of a certificate for www.example.com that can be reissued and
// renewed, and whose contract ends with it.
func sold(id string, notBefore, notAfter time.Time) regfish.Certificate {
	c := issuedAtVendor(id, notBefore, notAfter, "www.example.com")
	c.ContractValidFrom, c.ContractValidUntil, c.RenewalSupported, c.ReissueSupported = c.ValidFrom, c.ValidUntil, true, true
	return c
}

func numberedID(n int) string { return fmt.Sprintf("ID%04d", n) }
