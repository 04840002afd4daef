// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

func TestPhaseOf(t *testing.T) {
	full := make([]change, maxAttempts)
	for i := range full {
		full[i] = attempted(v1alpha1.OutcomeNotSent, time.Hour)
	}
	for name, tt := range map[string]struct {
		number  int32
		changes []change
		want    phase
	}{
		"a plan":                               {0, nil, phasePlan},
		"a plan of another version":            {0, []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }}, phaseForeign},
		"an id":                                {1, []change{placed("C1", time.Hour)}, phasePlaced},
		"an id beside an attempt that is open": {1, []change{attempted("", time.Hour), imported("C1")}, phasePlaced},
		"an id beside an attempt that is unknown":        {1, []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), imported("C1")}, phasePlaced},
		"an id in a record of another version":           {1, []change{placed("C1", time.Hour), func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }}, phaseForeign},
		"an open attempt":                                {1, []change{attempted("", time.Hour)}, phaseUnresolved},
		"an open attempt after one that was refused":     {1, []change{attempted(v1alpha1.OutcomeRejected, time.Hour), attempted("", time.Hour)}, phaseUnresolved},
		"an unknown attempt before one that was refused": {1, []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), refusedForGood}, phaseUnresolved},
		"an unknown attempt and a successor":             {1, []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), succeeded(2)}, phaseUnresolved},
		"an accepted attempt without an id":              {1, []change{attempted(v1alpha1.OutcomeAccepted, time.Hour)}, phaseUnresolved},
		"an outcome that is not known":                   {1, []change{attempted("Later", time.Hour)}, phaseUnresolved},
		"an attempt that was not sent":                   {1, []change{attempted(v1alpha1.OutcomeNotSent, time.Hour)}, phaseUnplaced},
		"an attempt that was refused":                    {1, []change{attempted(v1alpha1.OutcomeRejected, time.Hour)}, phaseUnplaced},
		"an attempt that was refused for good":           {1, []change{refusedForGood}, phaseRefused},
		"a successor":                                    {1, []change{attempted(v1alpha1.OutcomeNotSent, time.Hour), succeeded(2)}, phaseRefused},
		"as many attempts as can be recorded":            {1, full, phaseRefused},
		"one attempt less than can be recorded":          {1, full[1:], phaseUnplaced},
		"an attempt that was not found":                  {1, []change{unfound(time.Hour)}, phaseUnplaced},
		"two attempts that were not found":               {1, []change{unfound(time.Hour), unfound(time.Hour)}, phaseSpent},
		"two attempts that failed at regfish":            {1, []change{failedAtRegfish(time.Hour), failedAtRegfish(time.Hour)}, phaseUnplaced},
		"two not found, and a successor":                 {1, []change{unfound(time.Hour), unfound(time.Hour), succeeded(2)}, phaseRefused},
		"one not found and one that is open":             {1, []change{unfound(time.Hour), attempted("", time.Hour)}, phaseUnresolved},
		"one that was adopted":                           {1, []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), adopted("C1")}, phasePlaced},
		"no attempt":                                     {1, nil, phaseRefused},
	} {
		if p := record(t, tt.number, tt.changes...); phaseOf(&p) != tt.want {
			t.Errorf("a record with %s is in phase %d, want %d", name, phaseOf(&p), tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	w := wanted(t)
	p := New(w, ledger, 7)
	if want := Name(w.NamesHash(), 7); p.Name != want || p.Namespace != ledger || IsPlan(p) {
		t.Errorf("it is %s/%s, want %s/%s", p.Namespace, p.Name, ledger, want)
	}
	want := v1alpha1.PurchaseSpec{
		RecordVersion: 1, NamesHash: w.NamesHash(), Number: 7, Endpoint: endpoint, IssuerRef: theIssuer, Beneficiary: w.Beneficiary,
		Action: v1alpha1.ActionNew, SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"},
		Request: w.Request.PEM, DCVMethod: v1alpha1.DCVMethodCNAME, ValidityDays: 199,
	}
	if diff := cmp.Diff(want, p.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if plan := New(w, ledger, 0); plan.Name != PlanName(w) || !IsPlan(plan) {
		t.Errorf("the plan is %s, want %s", plan.Name, PlanName(w))
	}
}

// Whatever a plan stands for has another name than the plan of anything else, and
// than every purchase.
func TestPlanName(t *testing.T) {
	names := map[string]string{}
	add := func(what string, w Want) {
		name := PlanName(w)
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s have the plan %s", what, other, name)
		}
		names[name] = what
		if len(validation.IsDNS1123Subdomain(name)) > 0 || !regexp.MustCompile(`^[0-9a-f]{16}-plan-[0-9a-f]{10}$`).MatchString(name) {
			t.Errorf("%s has the plan %s", what, name)
		}
	}
	add("the request", wanted(t))
	change := func(what string, f func(*Want)) {
		w := wanted(t)
		f(&w)
		add(what, w)
	}
	change("another key", func(w *Want) { w.Request = preflighted(t, keyB, "www.example.com") })
	change("another namespace", func(w *Want) { w.Beneficiary.Namespace = "blog" })
	change("another kind of issuer", func(w *Want) { w.Issuer.Kind = v1alpha1.KindIssuer })
	change("another issuer", func(w *Want) { w.Issuer.Name = "other" })
	change("an issuer of a namespace", func(w *Want) { w.Issuer.Namespace = "shop" })
	change("an issuer whose namespace and name read the same", func(w *Want) { w.Issuer.Namespace, w.Issuer.Name = "shopreg", "fish" })
	change("the name without www", func(w *Want) { w.Request = preflighted(t, keyA, "example.com") })
	change("another endpoint", func(w *Want) { w.Endpoint = "https://other.example" })

	w := wanted(t)
	w.Beneficiary.RequestName, w.Beneficiary.RequestUID, w.SKU = "www-2", "r2", "Other"
	if names[PlanName(w)] != "the request" {
		t.Error("a request that was made again has another plan: what a person decided on would be lost")
	}
	w.Request = preflighted(t, keyA, "www.example.com")
	w.Request.DNSNames = []string{"WWW.example.com."}
	if names[PlanName(w)] != "the request" {
		t.Error("another spelling of the names has another plan")
	}
}

func TestLabels(t *testing.T) {
	w := wanted(t)
	w.Labels = map[string]string{
		"team": "web", "cost-centre": "4711",
		v1alpha1.LabelNamespace:        "forged",
		v1alpha1.LabelIssuerName:       "forged",
		v1alpha1.Group + "/new":        "forged",
		"x." + v1alpha1.Group + "/new": "forged",
		"app.kubernetes.io/instance":   "shop", "argocd.argoproj.io/instance": "shop", "kapp.k14s.io/app": "1", "objectset.rio.cattle.io/hash": "1",
	}
	before := maps.Clone(w.Labels)
	want := map[string]string{
		"team": "web", "cost-centre": "4711",
		v1alpha1.LabelNamespace: "shop", v1alpha1.LabelIssuerKind: v1alpha1.KindClusterIssuer, v1alpha1.LabelIssuerName: "regfish",
	}
	if diff := cmp.Diff(want, New(w, ledger, 1).Labels); diff != "" {
		t.Errorf("a request can neither set our labels nor hand on those by which a tool finds what to prune (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.Labels); diff != "" {
		t.Errorf("the request's labels were changed:\n%s", diff)
	}

	w.Labels = nil
	w.Issuer.Name = strings.Repeat("long-", 13) + "name"
	if _, found := New(w, ledger, 1).Labels[v1alpha1.LabelIssuerName]; found {
		t.Error("a name that is no label value is a label: the API server refuses the purchase")
	}
}

func TestLineages(t *testing.T) {
	all := []string{"serves", "lineage", "bounds"}
	w := wanted(t)
	alone := wanted(t)
	alone.Beneficiary.CertificateName = ""
	for name, tt := range map[string]struct {
		want    Want
		changes []change
		is      []string
	}{
		"the request's own":                    {w, nil, all},
		"an earlier request of the same key":   {w, []change{forRequest("r0")}, all},
		"an earlier key":                       {w, []change{forKey(t, keyB)}, []string{"lineage", "bounds"}},
		"another issuer":                       {w, []change{withIssuer("other")}, all},
		"another product":                      {w, []change{withSKU("Other")}, []string{"serves"}},
		"another organization":                 {w, []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.OrganizationID = "hdl_other" }}, []string{"serves"}},
		"the product in capitals":              {w, []change{withSKU("RAPIDSSL")}, all},
		"another Certificate of the same key":  {w, []change{forCertificate("other")}, []string{"serves"}},
		"another namespace":                    {w, []change{inNamespace("blog")}, nil},
		"the bare name":                        {w, []change{forNames(t, "example.com")}, nil},
		"a name more":                          {w, []change{forNames(t, "www.example.com", "example.com")}, nil},
		"the names in capitals":                {w, []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.CommonName, p.Spec.DNSNames = "WWW.Example.com", nil }}, all},
		"a CSR that cannot be read":            {w, []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.Request = []byte("nonsense") }}, []string{"lineage", "bounds"}},
		"no Certificate, for one that has one": {w, []change{forCertificate(""), forKey(t, keyB)}, nil},
		"no Certificate, its own":              {alone, []change{forCertificate("")}, all},
		"no Certificate, another request":      {alone, []change{forCertificate(""), forKey(t, keyB)}, []string{"bounds"}},
		"a Certificate, for one without":       {alone, []change{forKey(t, keyB)}, nil},
		"no Certificate, in another namespace": {alone, []change{forCertificate(""), forKey(t, keyB), inNamespace("blog")}, nil},
	} {
		p := record(t, 1, tt.changes...)
		var is []string
		for kind, holds := range map[string]bool{"serves": serves(&p, tt.want), "lineage": inLineage(&p, tt.want, noon), "bounds": inBounds(&p, tt.want, noon)} {
			if holds {
				is = append(is, kind)
			}
		}
		if diff := cmp.Diff(asSet(tt.is), asSet(is)); diff != "" {
			t.Errorf("a purchase for %s (-want +got):\n%s", name, diff)
		}
	}
}

func asSet(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}

func TestNumbers(t *testing.T) {
	if got := nextNumber(nil); got != 1 {
		t.Errorf("the first purchase is number %d", got)
	}
	ps := []v1alpha1.RegfishPurchase{record(t, 2), record(t, 0), record(t, 10), record(t, 9)}
	if got := nextNumber(ps); got != 11 {
		t.Errorf("the next purchase is number %d, want 11", got)
	}
	var order []int32
	for _, p := range numbered(ps) {
		order = append(order, p.Spec.Number)
	}
	if diff := cmp.Diff([]int32{10, 9, 2}, order); diff != "" {
		t.Errorf("newest first, without plans (-want +got):\n%s", diff)
	}
	if newest(ps[1:2]) != nil {
		t.Error("a plan is the newest purchase")
	}
}

func TestAttempts(t *testing.T) {
	p := record(t, 1)
	if !FirstIntent(&p).IsZero() || lastAttempt(&p) != nil || PendingWriter(&p) != nil {
		t.Error("a record without attempts has one")
	}
	p = record(t, 1, attempted(v1alpha1.OutcomeNotSent, 2*time.Hour), attempted("", time.Hour))
	p.Spec.Attempts[1].Writer.StartNonce = "two"
	p.Spec.Attempts[0], p.Spec.Attempts[1] = p.Spec.Attempts[1], p.Spec.Attempts[0]
	if got := FirstIntent(&p); !got.Equal(noon.Add(-2 * time.Hour)) {
		t.Errorf("the first intent was at %s", got)
	}
	if got := lastAttempt(&p).Number; got != 2 {
		t.Errorf("the last attempt is number %d", got)
	}
	if got := PendingWriter(&p); got == nil || got.StartNonce != "two" {
		t.Errorf("the open attempt is by %v", got)
	}
}
