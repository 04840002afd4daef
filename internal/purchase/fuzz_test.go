// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// script is what a fuzzer wrote, read as one choice after the other. At its end every
// choice is the first one.
type script []byte

func (s *script) pick(n int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % n
}

func (s *script) yes() bool { return s.pick(2) == 1 }

// one picks one of the choices.
func one[T any](s *script, choices ...T) T { return choices[s.pick(len(choices))] }

// fixtures are what takes time to make.
type fixtures struct {
	requests map[string][]byte // by key and first name
	leaves   map[string]*x509.Certificate
	want     Want
}

func newFixtures(t testing.TB) *fixtures {
	t.Helper()
	f := &fixtures{requests: map[string][]byte{}, leaves: map[string]*x509.Certificate{}, want: wanted(t)}
	for _, name := range []string{"www.example.com", "example.com"} {
		f.requests["A"+name], f.requests["B"+name] = csr(t, keyA, name), csr(t, keyB, name)
	}
	f.leaves["A"] = leaf(t, keyA, noon.Add(-days(1)), noon.Add(days(198)), "www.example.com")
	f.leaves["B"] = leaf(t, keyB, noon.Add(-days(1)), noon.Add(days(198)), "www.example.com")
	return f
}

// attempt is any attempt that a record can have.
func (s *script) attempt(number int32) v1alpha1.Attempt {
	at := func(choices ...time.Duration) metav1.MicroTime {
		return metav1.NewMicroTime(noon.Add(-one(s, choices...)))
	}
	a := v1alpha1.Attempt{
		Number: number, Time: at(days(3), time.Hour, time.Second), RequestName: "www-1", RequestUID: one[types.UID](s, "r1", "r0", "r9"),
		Writer: v1alpha1.Writer{StartNonce: "writer"}, ClusterUID: one[types.UID](s, "here", "", "there"), KeyFingerprint: "fingerprint",
		BaselineIDs: one(s, nil, []string{"X1"}),
	}
	if s.pick(6) > 0 {
		a.Outcome = &v1alpha1.Outcome{
			Result:  one(s, v1alpha1.OutcomeUnknown, v1alpha1.OutcomeNotSent, v1alpha1.OutcomeRejected, v1alpha1.OutcomeAccepted, "Perhaps"),
			Message: "place order: something happened", Time: at(time.Second, time.Hour), HTTPStatus: one[int32](s, 0, 400, 502),
		}
		a.Outcome.Answered, a.Outcome.Final = s.yes(), a.Outcome.Result == v1alpha1.OutcomeRejected && s.yes()
		if s.pick(4) == 3 {
			a.Outcome.RetryAfter = metaTime(new(noon.Add(one(s, time.Minute, -time.Minute))))
		}
	}
	if s.pick(4) == 3 && a.Outcome != nil {
		a.Resolution = &v1alpha1.Resolution{Result: one(s, v1alpha1.ResolutionNotFound, v1alpha1.ResolutionAdopted, "Perhaps"), Proved: s.yes(), Time: at(0)}
	}
	if s.pick(8) == 7 {
		a.ReleaseTime = metaMicro(at(0))
	}
	if s.pick(8) == 7 {
		a.DisprovedIDs = []string{"X2"}
	}
	return a
}

func metaMicro(t metav1.MicroTime) *metav1.MicroTime { return &t }

// purchase is any record, of whatever phase, with a status that fits it or not.
func (s *script) purchase(t testing.TB, f *fixtures, number int32) v1alpha1.RegfishPurchase {
	t.Helper()
	p := *New(f.want, ledger, number)
	p.UID = types.UID(p.Name)
	name := one(s, "www.example.com", "www.example.com", "www.example.com", "example.com")
	p.Spec.CommonName, p.Spec.DNSNames = name, []string{name}
	p.Spec.Request = f.requests[one(s, "A", "B")+name]
	p.Spec.Beneficiary.Namespace = one(s, namespace, namespace, namespace, "blog")
	p.Spec.Beneficiary.CertificateName = one(s, "www", "www", "other", "")
	p.Spec.Beneficiary.RequestUID = one[types.UID](s, "r1", "r0", "r9")
	p.Spec.IssuerRef.Name = one(s, theIssuer.Name, theIssuer.Name, "old")
	p.Spec.SKU = one(s, "RapidSSL", "RapidSSL", "RAPIDSSL", "SecureSite")
	if s.pick(16) == 15 {
		p.Spec.RecordVersion = one[int32](s, 2, 0)
	}
	for n := range s.pick(4) {
		p.Spec.Attempts = append(p.Spec.Attempts, s.attempt(int32(n+1)))
	}
	if s.pick(3) == 2 {
		p.Spec.CertificateID = fmt.Sprintf("C%d", number)
		if len(p.Spec.Attempts) == 0 {
			p.Spec.Action = v1alpha1.ActionImport
		}
	}
	if s.pick(8) == 7 {
		p.Spec.AbandonTime = metaMicro(metav1.NewMicroTime(noon))
	}
	if s.pick(4) == 3 {
		succeeded(number + 1)(&p)
	}
	if s.pick(16) == 15 {
		p.Spec.Takeovers = []v1alpha1.Takeover{{Number: 1, ClusterUID: one[types.UID](s, "here", "there")}}
	}
	if s.pick(16) == 15 {
		p.Spec.PlanUID = "plan-1"
	}
	p.Status.Message = "waits."
	switch s.pick(6) {
	case 1, 2:
		begin := noon.Add(-one(s, days(1), days(150), days(250)))
		issuedFor(begin, begin.Add(days(199)))(&p)
		if s.yes() {
			p.Status.ContractNotBefore, p.Status.ContractNotAfter = at(begin), at(begin.Add(one(s, days(199), days(365))))
		}
	case 3:
		cameToNothing(&p)
	case 4:
		issuedFor(noon.Add(-days(1)), noon.Add(days(198)))(&p)
		heldFor(v1alpha1.ReasonCertificateRefused)(&p)
	case 5:
		heldFor(v1alpha1.ReasonNotFoundAtVendor)(&p)
	}
	return p
}

// reissue is any reissue that a record can have. Of all but the last one the end is known:
// no other is appended before.
func (s *script) reissue(f *fixtures, p *v1alpha1.RegfishPurchase, number int32) v1alpha1.Reissue {
	at := metav1.NewMicroTime(noon.Add(-one(s, time.Hour, time.Second, days(2))))
	r := v1alpha1.Reissue{
		Number: number, Time: at, IssuerRef: p.Spec.IssuerRef, Beneficiary: p.Spec.Beneficiary,
		KeySHA256: requestKey(p.Spec.Request), KeyAlgorithm: "ECDSA", DCVMethod: v1alpha1.DCVMethodCNAME,
		Writer: v1alpha1.Writer{StartNonce: "writer"}, ClusterUID: one[types.UID](s, "here", "here", "there"), KeyFingerprint: "fingerprint",
	}
	r.Beneficiary.RequestUID = one[types.UID](s, "r1", "r0", "r9")
	if s.yes() {
		r.KeySHA256 = one(s, "another", f.want.Request.KeySHA256)
	}
	if last := len(p.Spec.Reissues); last > 0 {
		if before := &p.Spec.Reissues[last-1]; taken(before) && before.End == nil {
			before.End = &v1alpha1.ReissueEnd{Result: v1alpha1.ReissueIssued, Time: before.Time}
		}
	}
	if s.pick(4) > 0 {
		r.Outcome = &v1alpha1.Outcome{
			Result:  one(s, v1alpha1.OutcomeAccepted, v1alpha1.OutcomeUnknown, v1alpha1.OutcomeNotSent, v1alpha1.OutcomeRejected, "Perhaps"),
			Message: "reissue certificate: something happened", Time: at, HTTPStatus: one[int32](s, 0, 404, 409, 422, 502),
		}
		r.Outcome.Final = r.Outcome.Result == v1alpha1.OutcomeRejected && s.yes()
	}
	if inDoubt(&r) && r.Outcome != nil && s.yes() {
		r.Resolution = &v1alpha1.Resolution{Result: one(s, v1alpha1.ResolutionAdopted, v1alpha1.ResolutionNotFound, "Perhaps"), Message: "readings do not show it.", Time: at}
	}
	if taken(&r) && !inDoubt(&r) && s.yes() {
		r.End = &v1alpha1.ReissueEnd{Result: one(s, v1alpha1.ReissueIssued, v1alpha1.ReissueFailed, v1alpha1.ReissueReplaced, "Perhaps"), Message: "it ended.", Time: at}
	}
	return r
}

// source is anything that regfish may say of what a purchase holds.
func (s *script) source(p *v1alpha1.RegfishPurchase) Source {
	switch s.pick(6) {
	case 4:
		return Source{NotFound: true}
	case 5:
		return Source{Problem: notReady("%s is not ready.", theIssuer)}
	}
	c := regfish.Certificate{ID: p.Spec.CertificateID, Status: regfish.StatusIssued, CertificatePEMAvailable: true, ReissueSupported: s.pick(4) < 3, RenewalSupported: s.yes()}
	if p.Status.NotBefore != nil && p.Status.NotAfter != nil {
		c.ValidFrom, c.ValidUntil = &p.Status.NotBefore.Time, &p.Status.NotAfter.Time
	}
	if p.Status.ContractNotAfter != nil {
		c.ContractValidFrom, c.ContractValidUntil = &p.Status.ContractNotBefore.Time, &p.Status.ContractNotAfter.Time
	}
	if s.pick(8) == 7 {
		c.RevocationScope = one(s, "certificate", "order")
	}
	if s.pick(4) == 3 {
		c.Reissue = &regfish.Reissue{ID: one(s, "1", "2"), Status: one(s, regfish.ReissuePending, regfish.ReissueIssued, "failed")}
	}
	return Source{Certificate: c}
}

// facts are any facts. The ledger is one that people, backups and other versions of this
// program may have left, and not only what this one would have written.
func (s *script) facts(t testing.TB, fix *fixtures) Facts {
	t.Helper()
	f := Facts{Now: noon, Want: fix.want, Live: map[types.UID]bool{}, Cluster: "here", Slots: Slots{Limit: 50, Window: 24 * time.Hour}}
	f.Want.Beneficiary.CertificateName = one(s, "www", "")
	for n := range s.pick(5) {
		f.Purchases = append(f.Purchases, s.purchase(t, fix, int32(n+1)))
	}
	for _, uid := range []types.UID{"r0", "r1", "r9"} {
		f.Live[uid] = s.yes()
	}
	if s.pick(4) == 3 {
		p := s.purchase(t, fix, 1)
		p.Spec.Endpoint, p.Name = "https://old.example", "elsewhere-1"
		f.Elsewhere = append(f.Elsewhere, p)
	}
	if s.pick(8) == 7 {
		f.Issuer = notReady("%s is not ready.", theIssuer)
	}
	f.Slots.Used = one[int32](s, 0, 49, 50)
	f.Slots.Limit = one[int32](s, 50, 50, 50, 0)
	f.Ahead.All = one[int32](s, 0, 0, 1)
	if s.pick(8) == 7 {
		f.InNamespace = &Slots{Limit: one[int32](s, 1, 0), Used: one[int32](s, 0, 1)}
	}
	if s.yes() {
		f.Certificate = &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon.Add(-one(s, time.Hour, days(30))))}}
	}
	if s.yes() {
		f.Baseline = &Baseline{}
		for n := range s.pick(3) {
			id := fmt.Sprintf("X%d", n+1)
			c := Candidate{Certificate: regfish.Certificate{
				ID: id, Status: one(s, regfish.StatusPending, regfish.StatusIssued, regfish.StatusCancelled, "dreaming"), CommonName: one(s, "www.example.com", "example.com"),
			}}
			if c.Certificate.Status == regfish.StatusIssued {
				if c.Leaf = fix.leaves[one(s, "A", "B", "")]; c.Leaf != nil && s.pick(4) == 3 {
					c.Earlier = fix.requests["Bwww.example.com"]
				}
			}
			c.Of = one(s, "", "", "", "other-1")
			f.Baseline.IDs, f.Baseline.Unclaimed = append(f.Baseline.IDs, id), append(f.Baseline.Unclaimed, c)
		}
	}
	for i := range f.Purchases {
		p := &f.Purchases[i]
		for n := range s.pick(4) {
			p.Spec.Reissues = append(p.Spec.Reissues, s.reissue(fix, p, int32(n+1)))
		}
	}
	if s.pick(3) > 0 {
		f.Sources = map[string]Source{}
		for _, p := range f.toAsk() {
			f.Sources[p.Spec.CertificateID] = s.source(p)
		}
	}
	f.Want.Reuse = one(s, v1alpha1.ReusePolicyAuto, v1alpha1.ReusePolicyAuto, v1alpha1.ReusePolicyAuto, v1alpha1.ReusePolicyNever)
	switch s.pick(8) {
	case 6:
		f.Override = "annotation a: it is not allowed."
	case 7:
		f.Want.Source = one(s, "X1", "X2", "X9")
	}
	if s.yes() {
		// A person decided on what was shown without that plan.
		plan := *New(f.Want, ledger, 0)
		plan.UID = "plan-1"
		if hold := Plan(f); hold.Step == StepHold {
			plan.Status = PlanStatus(plan.Status, hold)
		}
		annotated(one(s, "purchase", "adopt:X1", "retry:1", "abandon", "hurry"))(&plan)
		f.Purchases = append(f.Purchases, plan)
	}
	return f
}

// FuzzPlan holds every decision, on whatever ledger, against what may never happen.
func FuzzPlan(f *testing.F) {
	fix := newFixtures(f)
	f.Add([]byte{})
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1})
	f.Add([]byte{0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1})
	f.Add([]byte(strings.Repeat("\x01\x03\x02\x07", 60)))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		s := script(bytes)
		facts := s.facts(t, fix)
		before := slices.Clone(facts.Purchases)
		for i := range before {
			before[i] = *before[i].DeepCopy()
		}
		d := Plan(facts)
		if !equality.Semantic.DeepEqual(before, facts.Purchases) {
			t.Error("Plan changed what it decides on")
		}
		// The API server gives purchases in any order.
		reversed := facts
		reversed.Purchases = slices.Clone(facts.Purchases)
		slices.Reverse(reversed.Purchases)
		if diff := cmp.Diff(verdictOf(d), verdictOf(Plan(reversed))); diff != "" {
			t.Errorf("another order of the ledger is another decision (-want +got):\n%s", diff)
		}
		checkDecision(t, facts, d)
		if t.Failed() {
			t.Logf("step %d, %s: %s\n%s", d.Step, d.Reason, d.Message, strings.Join(describe(facts.Purchases), "\n"))
		}
	})
}

// free are the steps that send nothing to regfish.
var free = []Step{StepFollow, StepDeliver, StepWait, StepQueue, StepHold, StepImport, StepFail}

// checkDecision is the oracle. It goes by what stands in the records.
func checkDecision(t *testing.T, f Facts, d Decision) {
	t.Helper()
	if d.Step == 0 || d.Reason == "" || !printable(d.Message, 1024) || (!strings.HasSuffix(d.Message, ".") && !strings.HasSuffix(d.Message, "…")) || d.LookAgain < 0 {
		t.Errorf("a decision without a step, a reason or a sentence: %+v", d)
	}
	event := d.Purchase != nil || d.Reason == v1alpha1.ReasonIssuerNotReady || d.Reason == v1alpha1.ReasonPurchasesPaused
	if (d.Step == StepWait || d.Step == StepQueue || d.Step == StepHold) && d.LookAgain == 0 && !event {
		t.Errorf("a wait that neither time nor an event ends: %+v", d)
	}
	if p := d.Purchase; (d.Step == StepFollow || d.Step == StepDeliver) && (p == nil || p.Spec.Beneficiary.Namespace != namespace || !slices.Equal(p.Spec.DNSNames, f.Want.Request.DNSNames)) {
		t.Errorf("the request is served by %+v", p)
	}
	switch d.Step { //nolint:exhaustive // the others are judged below
	case StepImport:
		checkImport(t, f, d)
	case StepFail:
		if d.Reason == v1alpha1.ReasonOverrideRefused {
			if f.Override == "" && f.Want.Source == "" || slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool {
				return stillPaid(&p) && !OfOtherCluster(&p, f.Cluster) && p.Spec.RecordVersion == v1alpha1.RecordVersion && inLineage(&p, f.Want, f.Now)
			}) {
				t.Errorf("a request fails for an annotation that does not count: %s", d.Message)
			}
			break
		}
		if p := d.Purchase; p != nil && slices.ContainsFunc(p.Spec.Reissues, func(r v1alpha1.Reissue) bool {
			return r.Beneficiary.RequestUID == "r1" && r.Outcome != nil && r.Outcome.Final
		}) {
			// Its reissue was refused for what is in the request.
			break
		}
		if p := d.Purchase; p == nil || stillPaid(p) || (lives(p) && !namesRequest(p, "r1")) {
			t.Errorf("a request fails whose order lives, or for another request's order: %+v", p)
		}
	}
	if slices.Contains(free, d.Step) {
		return
	}
	if l := d.Licence; l != nil && strings.HasPrefix(l.Annotations[v1alpha1.AnnotationResolve], "adopt:") {
		// The account is asked, and then there is an order to adopt or there is not.
		if f.Baseline != nil {
			t.Error("a person wanted to use an order, and another one is sent")
		}
		return
	}
	if (f.Want.Source != "" || f.Override != "") && len(f.lineage()) == 0 && d.Step != StepRetry {
		// The same for what an annotation asks to be used, and nothing where it is refused.
		if f.Baseline != nil || f.Override != "" {
			t.Error("a request asks for a certificate to be used, and another one is bought")
		}
		return
	}
	checkSpending(t, f, d)
}

// stillPaid reports whether the order stands at regfish as far as is known.
func stillPaid(p *v1alpha1.RegfishPurchase) bool {
	return p.Spec.CertificateID != "" && p.Spec.AbandonTime == nil && !failed(p)
}

func lives(p *v1alpha1.RegfishPurchase) bool { return p.Spec.AbandonTime == nil }

func namesRequest(p *v1alpha1.RegfishPurchase, uid types.UID) bool {
	if slices.ContainsFunc(p.Spec.Reissues, func(r v1alpha1.Reissue) bool { return r.Beneficiary.RequestUID == uid }) {
		return true
	}
	return p.Spec.Beneficiary.RequestUID == uid || slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool { return a.RequestUID == uid })
}

// mayHaveBought reports whether an attempt of p may have placed an order that nobody
// knows: only three ends of an attempt exclude that, and a person's word.
func mayHaveBought(p *v1alpha1.RegfishPurchase) bool {
	return p.Spec.CertificateID == "" && p.Spec.AbandonTime == nil && slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool {
		refused := a.Outcome != nil && (a.Outcome.Result == v1alpha1.OutcomeRejected || a.Outcome.Result == v1alpha1.OutcomeNotSent)
		absent := a.Resolution != nil && a.Resolution.Result == v1alpha1.ResolutionNotFound
		return !refused && !absent && a.ReleaseTime == nil
	})
}

func checkImport(t *testing.T, f Facts, d Decision) {
	t.Helper()
	switch c := d.Candidate; {
	case c == nil || f.Baseline == nil || !slices.ContainsFunc(f.Baseline.Unclaimed, func(o Candidate) bool { return o.Certificate.ID == c.Certificate.ID }):
		t.Errorf("what is imported is not in the account: %+v", c)
	case c.Certificate.Status == regfish.StatusCancelled:
		t.Errorf("what is over is imported: %+v", c)
	case c.Leaf == nil && d.Licence == nil:
		t.Errorf("what no key proves is imported, and nobody said so: %+v", c)
	}
}

// checkSpending holds a step that sends an order, or may, against the ledger.
func checkSpending(t *testing.T, f Facts, d Decision) {
	t.Helper()
	accepted := 0
	for i := range f.Purchases {
		p := &f.Purchases[i]
		switch {
		case p.Spec.Number == 0:
			continue
		case p.Spec.RecordVersion != v1alpha1.RecordVersion:
			t.Errorf("something is sent beside %s, which may mean anything", p.Name)
			continue
		case OfOtherCluster(p, f.Cluster):
			if newest(f.Purchases) == p && d.Licence == nil && d.Step != StepRetry {
				t.Errorf("something is sent beside %s of another cluster", p.Name)
			}
			continue
		case mayHaveBought(p):
			t.Errorf("something is sent while it is not known what became of %s", p.Name)
		}
		same := p.Spec.Beneficiary.Namespace == namespace && slices.Equal(p.Spec.DNSNames, f.Want.Request.DNSNames)
		lineage := same && f.Want.Beneficiary.CertificateName != "" && lastBeneficiary(p).CertificateName == f.Want.Beneficiary.CertificateName && strings.EqualFold(p.Spec.SKU, f.Want.SKU)
		ourKey := same && serves(p, f.Want)
		if stillPaid(p) && (ourKey || lineage) && !issued(p) && !f.stuck(p) {
			t.Errorf("something is sent while %s is on its way for this request", p.Name)
		}
		if stillPaid(p) && ourKey && issued(p) && len(p.Spec.Reissues) == 0 && p.Spec.Beneficiary.RequestUID == "r1" && d.Step == StepBuy {
			t.Errorf("something is bought although %s was issued for this request", p.Name)
		}
		if lineage && stillPaid(p) && d.Step != StepReissue && d.Licence == nil {
			checkPaidFor(t, f, p)
		}
		for _, r := range p.Spec.Reissues {
			if lineage && stillPaid(p) && r.Outcome != nil && r.Outcome.Result == v1alpha1.OutcomeAccepted && f.Now.Sub(r.Time.Time) < 24*time.Hour {
				accepted++
			}
		}
		for _, a := range p.Spec.Attempts {
			if lineage && (stillPaid(p) || failed(p)) && p.Spec.CertificateID != "" && lives(p) && a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted && f.Now.Sub(a.Time.Time) < 24*time.Hour {
				accepted++
			}
		}
	}
	if accepted >= 3 && d.Step != StepRetry && d.Licence == nil {
		t.Errorf("something is sent after %d orders within a day", accepted)
	}
	if f.Issuer != nil {
		t.Error("something is sent with an issuer that is not ready")
	}
	if (d.Step == StepBuy || d.Step == StepRetry) && f.Slots.Used+f.Ahead.All >= f.Slots.Limit {
		t.Error("something is bought without a slot")
	}
	if f.Baseline != nil {
		for _, c := range f.Baseline.Unclaimed {
			if c.Certificate.Status == regfish.StatusPending && d.Licence == nil && (d.Step == StepBuy || d.Step == StepRetry) && !f.foreign(c.Certificate.ID) {
				t.Errorf("something is bought beside %s, which nobody claims", c.Certificate.ID)
			}
		}
	}
	if l := d.Licence; l != nil && (l.Spec.Number != 0 || slices.ContainsFunc(f.Purchases, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.PlanUID == l.UID })) {
		t.Error("a licence is used twice")
	}
	if d.Step == StepRetry {
		checkRetry(t, f, d)
	}
	if d.Step == StepReissue {
		checkReissue(t, f, d)
	}
}

// checkReissue: what is reissued stands, and of its reissues none may still be under way.
func checkReissue(t *testing.T, f Facts, d Decision) {
	t.Helper()
	p := d.Purchase
	if p == nil || !stillPaid(p) || p.Spec.CertificateID == "" || f.Want.Reuse == v1alpha1.ReusePolicyNever || !slices.Equal(p.Spec.DNSNames, f.Want.Request.DNSNames) || p.Spec.Beneficiary.Namespace != namespace {
		t.Fatalf("a reissue of %+v", p)
	}
	for _, r := range p.Spec.Reissues {
		refused := r.Outcome != nil && (r.Outcome.Result == v1alpha1.OutcomeRejected || r.Outcome.Result == v1alpha1.OutcomeNotSent)
		absent := r.Resolution != nil && r.Resolution.Result == v1alpha1.ResolutionNotFound
		if r.End == nil && !refused && !absent {
			t.Errorf("two reissues of %s may be under way at once", p.Name)
		}
	}
	if s, ok := f.Sources[p.Spec.CertificateID]; ok {
		switch c := s.Certificate; {
		case s.Problem != nil, s.NotFound:
			t.Errorf("a reissue of %s, which could not be read", p.Name)
		case !c.ReissueSupported, c.RevocationScope == "order":
			t.Errorf("a reissue of %s, for which regfish offers none", p.Name)
		case c.Reissue.Active():
			t.Errorf("a reissue of %s beside one that regfish shows", p.Name)
		}
	}
}

// checkPaidFor: something is bought, so p, which is paid for, cannot serve the request: its
// contract is half over or ends with the certificate, or regfish offers no reissue, or one for this
// request came to nothing, or one has been under way for too long, or a person decided to do
// without it.
func checkPaidFor(t *testing.T, f Facts, p *v1alpha1.RegfishPurchase) {
	t.Helper()
	s, asked := f.Sources[p.Spec.CertificateID]
	begin, end, until := p.Status.ContractNotBefore, p.Status.ContractNotAfter, p.Status.NotAfter
	if !asked || s.Problem != nil || s.NotFound || !s.Certificate.ReissueSupported || s.Certificate.RevocationScope == "order" || begin == nil || end == nil || until == nil {
		return
	}
	half := begin.Add(end.Sub(begin.Time) / 2)
	tried := slices.ContainsFunc(p.Spec.Reissues, func(r v1alpha1.Reissue) bool { return r.Beneficiary.RequestUID == "r1" })
	done := slices.ContainsFunc(f.Purchases, func(o v1alpha1.RegfishPurchase) bool { return o.Spec.PlanUID != "" && o.Spec.Number > p.Spec.Number })
	if f.Now.Before(half) && end.Sub(until.Time) > 48*time.Hour && !tried && !done && !f.stuck(p) && wasIssued(p) && f.Want.Reuse != v1alpha1.ReusePolicyNever {
		t.Errorf("something is bought although %s is paid for until %s and can be reissued", p.Name, end)
	}
}

// checkRetry: another attempt is for the same order, and follows only what certainly
// bought nothing, or what a person released.
func checkRetry(t *testing.T, f Facts, d Decision) {
	t.Helper()
	p := d.Purchase
	if p == nil || p.Spec.CertificateID != "" || p.Spec.AbandonTime != nil || len(p.Spec.Attempts) == 0 || len(p.Spec.Successors) > 0 || p.Spec.IssuerRef != f.Want.Issuer {
		t.Fatalf("another attempt of %+v", p)
	}
	last := lastAttempt(p)
	switch {
	case last.Outcome == nil && last.ReleaseTime == nil:
		t.Error("another attempt while one is under way")
	case last.Outcome != nil && last.Outcome.Final:
		t.Error("another attempt of what was refused for good")
	case last.ReleaseTime == nil && last.Outcome.RetryAfter != nil && last.Outcome.RetryAfter.After(f.Now):
		t.Error("another attempt before regfish asked for it")
	}
}

// FuzzRecord: a record that is written is read back as it was, and whatever the program
// writes into it keeps the rules by which the API server refuses a write: what is known of
// an attempt is only added to.
func FuzzRecord(f *testing.F) {
	fix := newFixtures(f)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 1, 1, 1, 1, 0, 3})
	f.Add([]byte(strings.Repeat("\x05\x01\x00\x02", 40)))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		s := script(bytes)
		p := s.purchase(t, fix, int32(s.pick(3)))
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon)
		}
		for range 4 {
			encoded, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var back v1alpha1.RegfishPurchase
			if err := json.Unmarshal(encoded, &back); err != nil {
				t.Fatal(err)
			}
			if !equality.Semantic.DeepEqual(p, back) || phaseOf(&p) != phaseOf(&back) {
				t.Fatalf("what was written is read back as something else:\n%s", cmp.Diff(p, back))
			}
			p = *back.DeepCopy()
			s.write(&p)
			checkRules(t, back.Spec, p.Spec)
			checkPhases(t, &back, &p)
		}
		// A record of another version may mean anything, whatever stands in it.
		p.Spec.RecordVersion = v1alpha1.RecordVersion + one[int32](&s, 1, -1, 41)
		if phaseOf(&p) != phaseForeign || !OfOtherVersion(&p) {
			t.Errorf("a record of version %d is taken for one of this version", p.Spec.RecordVersion)
		}
	})
}

// write changes the record as the program does, where it does.
func (s *script) write(p *v1alpha1.RegfishPurchase) {
	now := metav1.NewMicroTime(noon)
	ph := phaseOf(p)
	switch s.pick(5) {
	case 1:
		if ph == phaseUnplaced {
			p.Spec.Attempts = append(p.Spec.Attempts, v1alpha1.Attempt{Number: lastAttempt(p).Number + 1, Time: now, RequestName: "www-1", RequestUID: "r1", Writer: v1alpha1.Writer{StartNonce: "one"}})
		}
	case 2:
		for a := lastUnresolved(p); ph == phaseUnresolved && a != nil; a = lastUnresolved(p) {
			if a.Resolution != nil {
				// An end that this version does not know stays as it is.
				break
			}
			resolve(a, v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound, Time: now})
		}
	case 3:
		if a := lastUnresolved(p); ph == phaseUnresolved && a.Resolution == nil {
			resolve(a, v1alpha1.Resolution{Result: v1alpha1.ResolutionAdopted, CertificateID: "C9", Proved: true, Time: now})
			p.Spec.CertificateID = "C9"
		}
	case 4:
		for a := lastUnresolved(p); ph == phaseUnresolved && a != nil; a = lastUnresolved(p) {
			heard(a, now)
			a.ReleaseTime = &now
		}
	}
}

// checkRules are the rules of the CustomResourceDefinition on a change of the spec.
func checkRules(t *testing.T, before, after v1alpha1.PurchaseSpec) {
	t.Helper()
	for i := range before.Attempts {
		a := before.Attempts[i]
		b := attemptNumbered(after, a.Number)
		if b == nil {
			t.Errorf("attempt %d is gone", a.Number)
			continue
		}
		kept := *b
		if a.Outcome == nil {
			kept.Outcome = nil
		}
		if a.Resolution == nil {
			kept.Resolution = nil
		}
		if a.ReleaseTime == nil {
			kept.ReleaseTime = nil
		}
		if !equality.Semantic.DeepEqual(a, kept) {
			t.Errorf("what was known of attempt %d changed:\n%s", a.Number, cmp.Diff(a, kept))
		}
	}
	if before.CertificateID != "" && after.CertificateID != before.CertificateID {
		t.Error("the id changed")
	}
	after.Attempts, after.CertificateID = before.Attempts, before.CertificateID
	if !equality.Semantic.DeepEqual(before, after) {
		t.Errorf("what cannot change changed:\n%s", cmp.Diff(before, after))
	}
}

func attemptNumbered(spec v1alpha1.PurchaseSpec, number int32) *v1alpha1.Attempt {
	return attemptOf(&v1alpha1.RegfishPurchase{Spec: spec}, number)
}

// checkPhases: what was placed, given up or cannot be judged stays so.
func checkPhases(t *testing.T, before, after *v1alpha1.RegfishPurchase) {
	t.Helper()
	switch was, is := phaseOf(before), phaseOf(after); was { //nolint:exhaustive // the others go on
	case phasePlan, phaseForeign, phaseAbandoned, phasePlaced, phaseRefused, phaseSpent:
		if is != was {
			t.Errorf("phase %d became %d", was, is)
		}
	case phaseUnplaced:
		if is != phaseUnplaced && is != phaseUnresolved {
			t.Errorf("what placed nothing became phase %d", is)
		}
	}
}

// FuzzMatch: however the vendor rewrites a lost order, it stays a candidate, and what is
// followed is one candidate whose names are those that were ordered.
func FuzzMatch(f *testing.F) {
	request := csr(f, keyA, "www.example.com")
	f.Add("www.example.com,api.example.com", "RapidSSL", []byte{1, 2, 3, 4})
	f.Add("*.example.com", "rapidssl", []byte{})
	f.Add("xn--bcher-kva.example,b.example", "SecureSite", []byte{7, 7, 7, 7, 7, 7})
	f.Add("..", "RapidSSL", []byte{})
	f.Add("www.www.example.com", "RapidSSL", []byte{3, 4, 3, 4})
	f.Fuzz(func(t *testing.T, joined, product string, bytes []byte) {
		var names []string
		for name := range strings.SplitSeq(strings.ToLower(joined), ",") {
			// Nothing else is ordered: the preflight refuses what is no DNS name with a domain above it.
			if name = strings.TrimSuffix(name, "."); strings.Contains(strings.TrimPrefix(name, "www."), ".") && len(validation.IsDNS1123Subdomain(strings.TrimPrefix(name, "*."))) == 0 {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return
		}
		s := script(bytes)
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
		p.Spec.CommonName, p.Spec.DNSNames, p.Spec.Request = names[0], names, request
		row := regfish.Certificate{ID: "X1", Status: one(&s, regfish.StatusPending, regfish.StatusIssued, "dreaming", ""), Product: product}
		shown := slices.Clone(names)
		for i, name := range shown {
			switch s.pick(5) {
			case 1:
				shown[i] = strings.ToUpper(name)
			case 2:
				shown[i] = name + "."
			case 3:
				shown[i] = "www." + strings.TrimPrefix(name, "www.")
			case 4:
				shown[i] = strings.TrimPrefix(name, "www.")
			}
		}
		switch s.pick(4) {
		case 0:
			row.CommonName, row.DNSNames = shown[0], shown
		case 1:
			row.CommonName, row.DNSNames = shown[len(shown)-1], shown[:len(shown)-1]
		case 2:
			row.DNSNames = append([]string{"added.example"}, shown...)
		case 3:
			row.DNSNames = shown[:1]
		}
		if !couldBe(&p, row, nil, nil) {
			t.Errorf("%q with the names %q, which is the order for %q, is ruled out", row.Product, row.Names(), names)
		}
		catalogue := []regfish.Product{{SKU: "RapidSSL"}, {SKU: "SecureSite"}}
		if other := row.Product == "SecureSite"; couldBe(&p, row, nil, catalogue) == other {
			t.Errorf("product %q: another product of the catalogue: %v", row.Product, other)
		}
		for what, ruledOut := range map[string]bool{
			"held by another purchase": !couldBe(&p, row, map[string]bool{"X1": true}, nil),
			"there before": func() bool {
				p := *p.DeepCopy()
				p.Spec.Attempts[0].BaselineIDs = []string{"X1"}
				return !couldBe(&p, row, nil, nil)
			}(),
			"disproved": func() bool {
				p := *p.DeepCopy()
				p.Spec.Attempts[0].DisprovedIDs = []string{"X1"}
				return !couldBe(&p, row, nil, nil)
			}(),
		} {
			if !ruledOut {
				t.Errorf("what is %s is a candidate", what)
			}
		}

		candidates := []Candidate{{Certificate: row}}
		if s.yes() {
			twin := row
			twin.ID = "X2"
			candidates = append(candidates, Candidate{Certificate: twin, Gone: s.yes()})
		}
		c := choose(&p, candidates)
		if c == nil {
			return
		}
		if len(candidates) == 2 && !candidates[1].Gone {
			t.Errorf("one of two that look alike is followed: %s", c.Certificate.ID)
		}
		if strings.Contains(strings.Join(row.Names(), ","), "added.example") && !slices.Contains(names, "added.example") {
			t.Errorf("one with a foreign name is followed: %q for %q", row.Names(), names)
		}
	})
}
