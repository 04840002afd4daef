// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// unreadVendor fails downloads of one id, and has ids that cannot be read or have no names.
type unreadVendor struct {
	*vendor
	undelivered string
	missing     string
	nameless    string
}

func (v *unreadVendor) Download(ctx context.Context, id string) ([]byte, error) {
	if id == v.undelivered {
		return nil, &regfish.Error{Op: "download certificate", Kind: regfish.KindUnavailable, Status: 500}
	}
	return v.vendor.Download(ctx, id)
}

func (v *unreadVendor) Certificate(ctx context.Context, id string) (regfish.Certificate, error) {
	switch id {
	case v.missing:
		return regfish.Certificate{}, &regfish.Error{Op: "read certificate", Kind: regfish.KindNotFound, Status: 404}
	case v.nameless:
		return regfish.Certificate{ID: id, Status: regfish.StatusPending}, nil
	}
	return v.vendor.Certificate(ctx, id)
}

// A row of the list that nothing can be read of may be the order.
func TestARowWithoutNamesShowsNothing(t *testing.T) {
	for name, bad := range map[string]unreadVendor{
		"not read by its id":               {missing: "X1"},
		"read by its id and without names": {nameless: "X1"},
	} {
		t.Run(name, func(t *testing.T) {
			cr := shopWWW(t)
			w := newWorld(t, readyIssuer(50), cr)
			s := w.lost(cr)
			w.vendor.account = []regfish.Certificate{{ID: "X1", Status: regfish.StatusPending}}
			bad.vendor = w.vendor
			s.Connect = func(context.Context, v1alpha1.Issuer) (Vendor, error) { return &bad, nil }
			r := w.resolver(s)
			found := w.search(r, w.only().Name, 2*time.Hour)
			if found.Finding == NotFound {
				t.Error("an order that is in the list counts as never placed")
			}
			w.clock.SetTime(w.clock.Now().Add(2 * time.Hour))
			if _, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID); err != nil {
				t.Fatal(err)
			}
			if w.vendor.sent() > 1 {
				t.Error("it is bought twice")
			}
		})
	}
}

// What a person adopted out of another account does not make that account the same.
func TestWhatAPersonAdoptedIsNoEvidence(t *testing.T) {
	p := record(t, 2, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("key-1"))
	earlier := record(t, 1, attempted(v1alpha1.OutcomeUnknown, days(2)), sentWith("key-1"))
	earlier.Spec.CertificateID = "X1" // adopt:X1, read with key-2 of another account
	earlier.Spec.Attempts[0].Resolution = &v1alpha1.Resolution{Result: v1alpha1.ResolutionAdopted, CertificateID: "X1", Message: "a person decided that it is the order.", Time: metav1.NewMicroTime(noon.Add(-days(1)))}
	other := reading{ids: map[string]bool{"X1": true}, fingerprint: "key-2"}
	if gap, strange := other.gap(&p, []v1alpha1.RegfishPurchase{earlier, p}, settleTime, noon); gap == "" || !strange {
		t.Error("the list of another account shows that an order of this one was never placed")
	}
	own := reading{ids: map[string]bool{}, fingerprint: "key-1"}
	if gap, _ := own.gap(&p, []v1alpha1.RegfishPurchase{earlier, p}, settleTime, noon); gap != "" {
		t.Errorf("the right account never counts again: %s", gap)
	}
}

// What was seen once and is gone may have been the order.
func TestSeenOnceAndGoneIsNotNeverPlaced(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	r := w.resolver(s)
	p := w.only()
	w.look(r, p.Name)
	w.clock.SetTime(noon.Add(settleTime / 2))
	w.vendor.account = []regfish.Certificate{listed("C1", "www.example.com")}
	if found, _ := w.look(r, p.Name); found.Finding != Followed {
		t.Fatalf("finding %d", found.Finding)
	}
	w.vendor.account = nil
	found := w.search(r, p.Name, 2*time.Hour)
	if found.Finding == NotFound {
		t.Errorf("an order that was seen counts as never placed at %s", w.clock.Now())
	}
}

// Another certificate of the account that cannot be downloaded stops no search.
func TestAnUnrelatedDownloadStopsNoSearch(t *testing.T) {
	cr := shopWWW(t)
	other := record(t, 1, placed("B1", days(3)), forNames(t, "blog.example.com"), inNamespace("blog"))
	other.Name, other.Spec.NamesHash = "0123456789abcdef-1", "0123456789abcdef"
	for i := range other.Spec.Attempts {
		other.Spec.Attempts[i].KeyFingerprint = "fingerprint"
	}
	w := newWorld(t, readyIssuer(50), cr, &other)
	s := w.lost(cr)
	w.vendor.account = append(w.vendor.account, issuedAtVendor("B1", noon.Add(-days(3)), inHalfAYear, "blog.example.com"), issuedAtVendor("B2", noon.Add(-days(1)), inHalfAYear, "blog.example.com"))
	bad := &unreadVendor{vendor: w.vendor, undelivered: "B2"}
	s.Connect = func(context.Context, v1alpha1.Issuer) (Vendor, error) { return bad, nil }
	r := w.resolver(s)
	var p v1alpha1.RegfishPurchase
	for _, q := range w.purchases() {
		if q.Name != other.Name {
			p = q
		}
	}
	found := w.search(r, p.Name, 26*time.Hour)
	if found.Finding != NotFound {
		t.Error("an order that was never placed is still looked for after a day")
	}
}

// Nothing of an order that was followed stays once it is not followed any more: it may be
// somebody else's.
func TestWhatWasFollowedLeavesNothingBehind(t *testing.T) {
	staged := withValidation(regfish.DNSRecord{Name: "_dnsauth.www.example.com", Type: "CNAME", Value: "x1.dcv.example"})
	staged.ID, staged.Status, staged.CommonName = "X1", regfish.StatusPending, "www.example.com"
	staged.ActionRequired, staged.CompletionURL, staged.PendingReason = true, "https://dash.regfish.com/x1", "organization_required"
	for name, end := range map[string]change{
		"not found": func(p *v1alpha1.RegfishPurchase) {
			resolve(&p.Spec.Attempts[0], v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound, Time: metav1.NewMicroTime(noon)})
		},
		"retry licensed": func(p *v1alpha1.RegfishPurchase) {
			m := metav1.NewMicroTime(noon)
			p.Spec.Attempts[0].ReleaseTime = &m
		},
		"another one adopted": adopted("C2"),
		"abandoned":           abandoned,
	} {
		t.Run(name, func(t *testing.T) {
			p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
			s := &Search{Begun: noon, Until: noon, Readings: 3, Finding: Followed, Candidates: []Candidate{{Certificate: staged}}}
			s.Found = &s.Candidates[0]
			p.Status = Observe(&p, Observation{Search: s, RequestLive: true, MayShow: func(string) bool { return true }})
			end(&p)
			p.Status = Observe(&p, Observation{RequestLive: true})
			if p.Status.DCV != nil || p.Status.CompletionURL != "" || p.Status.Vendor != nil || meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionActionRequired) {
				t.Errorf("phase %d, state %s (%s): vendor %v, DCV %v, page %q", phaseOf(&p), p.Status.State, p.Status.Message, p.Status.Vendor, p.Status.DCV, p.Status.CompletionURL)
			}
		})
	}
}

// A baseline that no record can hold is told; the API server would refuse the intent for
// ever.
func TestABaselineThatNoRecordHoldsIsTold(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	row := listed(strings.Repeat("x", 129), "www.example.com")
	row.Status = regfish.StatusCancelled
	w.vendor.account = []regfish.Certificate{row}
	for range 1001 {
		c := listed(numberedID(len(w.vendor.account)+100), "www.example.com")
		c.Status = regfish.StatusCancelled
		w.vendor.account = append(w.vendor.account, c)
	}
	d := w.spend(w.spender("one", none), cr)
	if d.Step != StepQueue || !strings.Contains(d.Message, "more than 1000 certificates share a name") || w.vendor.sent() != 0 {
		t.Errorf("step %d (%s), %d orders", d.Step, d.Message, w.vendor.sent())
	}
	w.vendor.account = w.vendor.account[:2]
	w.spend(w.spender("one", none), cr)
	if ids := w.only().Spec.Attempts[0].BaselineIDs; len(ids) != 1 || len(ids[0]) > maxID {
		t.Errorf("the baseline is %q", ids)
	}
}

// A person is asked after a day also where no process lives that long.
func TestRestartsDoNotHideTheQuestion(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindUnavailable, Status: 500}
	p := w.only()
	var found *Search
	for range 5 {
		found = w.search(w.resolver(s), p.Name, 20*time.Hour)
		w.clock.SetTime(w.clock.Now().Add(4 * time.Hour))
	}
	if found.Finding != Undecided {
		t.Errorf("blind for %s, and nobody is asked", w.clock.Now().Sub(noon))
	}
}

// What is issued and can never be proved is not followed without end.
func TestWhatCannotBeProvedIsNotFollowedForEver(t *testing.T) {
	const www = "www.example.com"
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
	early := noon.Add(-days(30))
	for name, c := range map[string]Candidate{
		"our key, issued long before the intent":       {Certificate: issuedAtVendor("X1", early, inHalfAYear, www), Leaf: leaf(t, keyA, early, inHalfAYear, www)},
		"issued, and what is delivered cannot be read": {Certificate: issuedAtVendor("X1", noon, inHalfAYear, www)},
	} {
		s := Search{Begun: noon, Until: noon.Add(settleTime), Blind: noon.Add(days(60)), Readings: 99, Counted: 99, Unread: noon, Candidates: []Candidate{c}}
		if found, _ := s.find(&p, noon.Add(days(60))); found != Undecided {
			t.Errorf("%s: after 60 days the finding is %d", name, found)
		}
	}
}

// One certificate is held by one purchase.
func TestOneIDIsAdoptedOnce(t *testing.T) {
	both, star := []string{"*.example.com", "example.com"}, []string{"*.example.com"}
	issuer := readyIssuer(50)
	issuer.Spec.WildcardSKU = "RapidSSL"
	request := func(name string, uid types.UID, names ...string) *cmapi.CertificateRequest {
		return approved(namespace, name, uid, csr(t, keyA, names...))
	}
	a, b := request("star-1", "r1", star...), request("both-1", "r2", both...)
	w := newWorld(t, issuer, a, b)
	s := w.lost(a)
	w.lost(b)
	r := w.resolver(s)
	w.vendor.account = []regfish.Certificate{listed("C1", both...)}
	for _, p := range w.purchases() {
		if found, _ := w.look(r, p.Name); found.Finding != Followed {
			t.Fatalf("finding %d", found.Finding)
		}
	}
	w.issue("C1", certificatePEM(leaf(t, keyA, noon, inHalfAYear, both...)), both...)
	w.clock.SetTime(noon.Add(2 * time.Minute))
	for _, p := range w.purchases() {
		w.look(r, p.Name)
	}
	ps := w.purchases()
	if ps[0].Spec.CertificateID == ps[1].Spec.CertificateID {
		t.Errorf("two purchases hold %s", ps[0].Spec.CertificateID)
	}
}

// What another account holds is not followed as ours.
func TestOnlyTheSameAccountIsFollowed(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	w.vendor.key = "key-of-another-account"
	w.vendor.account = []regfish.Certificate{listed("X1", "www.example.com")}
	r := w.resolver(s)
	if found := w.search(r, w.only().Name, 26*time.Hour); found.Finding == Followed {
		t.Errorf("followed, although %s", found.Gap)
	}
}
