// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// That a Certificate is gone is noted, and that it is back; what is over is removed, and
// nothing before that.
func TestRetain(t *testing.T) {
	until := noon.Add(100 * 24 * time.Hour)
	p := bought(regfish.Certificate{ID: "C1", Status: regfish.StatusIssued, CertificatePEMAvailable: true, ValidFrom: &noon, ValidUntil: &until, ContractValidFrom: &noon, ContractValidUntil: &until})
	p.Spec.Beneficiary = v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "www", RequestName: "www-1", RequestUID: "r1"}
	r, api := reconciler(t, p)
	recorder := events.NewFakeRecorder(10)
	r.Recorder = recorder
	clock := r.Clock.(*clocktesting.FakePassiveClock)
	look := func(known time.Duration) *v1alpha1.RegfishPurchase {
		t.Helper()
		var got v1alpha1.RegfishPurchase
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(p), &got); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			t.Fatal(err)
		}
		if next, err := r.retain(t.Context(), &got, known); err != nil || next < 0 || next > longestSleep {
			t.Fatalf("again after %v, %v", next, err)
		}
		err := api.Get(t.Context(), client.ObjectKeyFromObject(p), &got)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return &got
	}
	if got := look(0); got.Status.BeneficiaryGoneSince != nil {
		t.Error("a process that has just started asks about every Certificate at once")
	}
	if got := look(certificateEvery); got.Status.BeneficiaryGoneSince == nil || !got.Status.BeneficiaryGoneSince.Time.Equal(noon) {
		t.Errorf("gone since %v", got.Status.BeneficiaryGoneSince)
	}
	if len(recorder.Events) != 1 {
		t.Errorf("%d events", len(recorder.Events))
	}
	clock.SetTime(noon.Add(time.Hour))
	if got := look(certificateEvery); !got.Status.BeneficiaryGoneSince.Time.Equal(noon) || len(recorder.Events) != 1 {
		t.Errorf("gone since %v, %d events", got.Status.BeneficiaryGoneSince, len(recorder.Events))
	}
	certificate := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "www"}}
	if err := api.Create(t.Context(), certificate); err != nil {
		t.Fatal(err)
	}
	if got := look(certificateEvery); got.Status.BeneficiaryGoneSince != nil {
		t.Error("it is back and counts as gone")
	}
	clock.SetTime(until.Add(400*24*time.Hour - time.Second))
	if look(certificateEvery) == nil {
		t.Fatal("removed too early")
	}
	clock.SetTime(until.Add(400 * 24 * time.Hour))
	if look(certificateEvery) != nil {
		t.Error("it is not removed")
	}
}
