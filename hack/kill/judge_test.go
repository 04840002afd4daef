// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// TestOracle: whatever the ring is there to find, it finds.
func TestOracle(t *testing.T) {
	recorded := v1alpha1.RegfishPurchase{Spec: v1alpha1.PurchaseSpec{CertificateID: "A"}}
	tells := func(kind string, status metav1.ConditionStatus) v1alpha1.RegfishPurchase {
		return v1alpha1.RegfishPurchase{Status: v1alpha1.PurchaseStatus{Conditions: []metav1.Condition{{Type: kind, Status: status, Message: "order B may be it"}}}}
	}
	a, b := simulator.Purchase{ID: "A", KeyHash: "1"}, simulator.Purchase{ID: "B", KeyHash: "2"}
	again := simulator.Purchase{ID: "B", KeyHash: "1"}
	tests := []struct {
		name, reason            string
		sold                    []simulator.Purchase
		purchases               []v1alpha1.RegfishPurchase
		duplicates, lost, wrong int
	}{
		{"all is well", "one order, and it is recorded", []simulator.Purchase{a}, []v1alpha1.RegfishPurchase{recorded}, 0, 0, 0},
		{"lost", "no record has it", []simulator.Purchase{a, b}, []v1alpha1.RegfishPurchase{recorded}, 0, 1, 0},
		{"held", "a person is told of it", []simulator.Purchase{a, b}, []v1alpha1.RegfishPurchase{recorded, tells(v1alpha1.ConditionHeld, metav1.ConditionTrue)}, 0, 0, 0},
		{"held no more", "nobody reads a condition that is False", []simulator.Purchase{a, b}, []v1alpha1.RegfishPurchase{recorded, tells(v1alpha1.ConditionHeld, metav1.ConditionFalse)}, 0, 1, 0},
		{"bought twice", "the key was bought for before", []simulator.Purchase{a, again}, []v1alpha1.RegfishPurchase{recorded, {Spec: v1alpha1.PurchaseSpec{CertificateID: "B"}}}, 1, 0, 0},
		{"bought twice and reported", "it is paid for all the same", []simulator.Purchase{a, again}, []v1alpha1.RegfishPurchase{recorded, tells(v1alpha1.ConditionDuplicateFound, metav1.ConditionTrue)}, 1, 0, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := &ring{}
			findings := r.compare(&cluster{purchases: tc.purchases}, tc.sold)
			if r.result.Duplicates != tc.duplicates || r.result.Lost != tc.lost || r.result.Wrong != tc.wrong {
				t.Errorf("%s: got %d duplicates, %d lost, %d wrong", tc.reason, r.result.Duplicates, r.result.Lost, r.result.Wrong)
			}
			if len(findings) != tc.duplicates+tc.lost+tc.wrong {
				t.Errorf("%s: findings %q", tc.reason, findings)
			}
		})
	}
}

// TestOracleLooksAtCertificates: what was published has to be for the request's key and
// its name.
func TestOracleLooksAtCertificates(t *testing.T) {
	q, err := newRequest(0, "www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	other, err := newRequest(1, "www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		certificate []byte
		wrong       int
	}{
		"its own":         {leaf(t, q.key, "www.example.com"), 0},
		"of another key":  {leaf(t, other.key, "www.example.com"), 1},
		"of another name": {leaf(t, q.key, "api.example.com"), 1},
		"none":            {[]byte("none"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			cr := cmapi.CertificateRequest{Status: cmapi.CertificateRequestStatus{
				Certificate: tc.certificate,
				Conditions:  []cmapi.CertificateRequestCondition{{Type: cmapi.CertificateRequestConditionReady, Status: cmmeta.ConditionTrue, Reason: cmapi.CertificateRequestReasonIssued}},
			}}
			r := &ring{requests: []*request{q}}
			if r.compare(&cluster{requests: map[string]cmapi.CertificateRequest{q.name: cr}}, nil); r.result.Wrong != tc.wrong || r.result.Issued != 1 {
				t.Errorf("got %d wrong of %d issued, want %d", r.result.Wrong, r.result.Issued, tc.wrong)
			}
		})
	}
}

func leaf(t *testing.T, key *ecdsa.PrivateKey, host string) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestPlans: a seed says what happens, and what happens is mostly in the middle of an
// order, inside the times that the design promises to survive.
func TestPlans(t *testing.T) {
	const rounds = 1000
	inPost := 0
	for i := range rounds {
		p := newPlan(7, i)
		if again := newPlan(7, i); fmt.Sprintf("%+v %+v", p, p.fault) != fmt.Sprintf("%+v %+v", again, again.fault) {
			t.Fatalf("round %d is not the same twice: %+v, %+v", i, p, again)
		}
		late := writeWindow + p.lag
		if p.fault != nil {
			late += p.fault.Delay
			if p.inPost && (p.strike == killLeader || p.strike == killBoth) {
				inPost++
			}
		}
		if late >= settle || p.frozen <= lease {
			t.Errorf("round %d is outside of what is promised: an order appears %s after its intent, a leader is stopped for %s", i, late, p.frozen)
		}
	}
	if inPost < rounds/4 {
		t.Errorf("the leader is killed in the middle of an order in %d of %d rounds only", inPost, rounds)
	}
}
