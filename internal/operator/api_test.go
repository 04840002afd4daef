// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestIssuerSpecIsChecked: bad input is refused by the API server, with the field.
func TestIssuerSpecIsChecked(t *testing.T) {
	env := testenv.New(t)
	tests := []struct {
		name   string
		change func(*v1alpha1.IssuerSpec)
		says   string
	}{
		{"the defaults are fine", func(*v1alpha1.IssuerSpec) {}, ""},
		{"a port is fine", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.example.com:8443" }, ""},
		{"a trailing slash is fine", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.example.com/" }, ""},
		{"plain http would show the key", func(s *v1alpha1.IssuerSpec) { s.URL = "http://api.regfish.com" }, "spec.url"},
		{"a user in the url is a trick", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.regfish.com@evil.example" }, "spec.url"},
		{"a path is not the API", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.regfish.com/v2" }, "spec.url"},
		{"a query is not the API", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.regfish.com?x=y" }, "spec.url"},
		{"a fragment is not the API", func(s *v1alpha1.IssuerSpec) { s.URL = "https://api.regfish.com#x" }, "spec.url"},
		{"a url has a scheme", func(s *v1alpha1.IssuerSpec) { s.URL = "api.regfish.com" }, "spec.url"},
		{"a product is needed", func(s *v1alpha1.IssuerSpec) { s.SKU = "" }, "spec.sku"},
		{"a Secret is needed", func(s *v1alpha1.IssuerSpec) { s.APIKeySecretRef.Name = "" }, "spec.apiKeySecretRef.name"},
		{"public certificates live at most 199 days", func(s *v1alpha1.IssuerSpec) { s.ValidityDays = ptr.To[int32](200) }, "spec.validityDays"},
		{"a certificate lives at least a day", func(s *v1alpha1.IssuerSpec) { s.ValidityDays = ptr.To[int32](0) }, "spec.validityDays"},
		{"a limit of zero stops purchases", func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](0) }, ""},
		{"a negative limit means nothing", func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = ptr.To[int32](-1) }, "spec.purchaseLimit.count"},
		{"a window below its resolution limits nothing", func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Window = &metav1.Duration{Duration: time.Minute} }, "spec.purchaseLimit"},
		{"addresses are for validation by mail", func(s *v1alpha1.IssuerSpec) { s.DCV.Emails = []string{"admin@example.com"} }, "spec.dcv"},
		{"an address has a domain", func(s *v1alpha1.IssuerSpec) {
			s.DCV = v1alpha1.DCV{Method: v1alpha1.DCVMethodEmail, Emails: []string{"admin"}}
		}, "spec.dcv.emails"},
		{"validation by a file does not exist here", func(s *v1alpha1.IssuerSpec) { s.DCV.Method = "HTTP" }, "spec.dcv.method"},
	}
	for i, tc := range tests {
		issuer := &v1alpha1.RegfishIssuer{
			ObjectMeta: metav1.ObjectMeta{GenerateName: fmt.Sprintf("i-%02d-", i), Namespace: env.Namespace},
			Spec:       v1alpha1.IssuerSpec{APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "k"}, SKU: "RapidSSL"},
		}
		tc.change(&issuer.Spec)
		err := env.Client.Create(t.Context(), issuer)
		switch {
		case tc.says == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.says != "" && (err == nil || !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: got %v, want a complaint about %s", tc.name, err, tc.says)
		}
	}
	var made v1alpha1.RegfishIssuerList
	if err := env.Client.List(t.Context(), &made, client.InNamespace(env.Namespace)); err != nil {
		t.Fatal(err)
	}
	s := made.Items[0].Spec
	if s.URL == "" || s.APIKeySecretRef.Key != "api-key" || s.DCV.Method != v1alpha1.DCVMethodCNAME || s.DCV.Publisher != v1alpha1.DCVPublisherExternal || ptr.Deref(s.PurchaseLimit.Count, 0) != 50 || s.PurchaseLimit.Window.Duration != 24*time.Hour {
		t.Errorf("defaults: %+v", s)
	}
}

func samplePurchase(namespace string) *v1alpha1.RegfishPurchase {
	now := metav1.NewMicroTime(time.Now())
	return &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "0123456789abcdef-1"},
		Spec: v1alpha1.PurchaseSpec{
			RecordVersion: 1, NamesHash: "0123456789abcdef", Number: 1, Endpoint: "https://api.regfish.com",
			IssuerRef:   v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
			Beneficiary: v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "www", RequestName: "www-1", RequestUID: "u1"},
			Action:      v1alpha1.ActionNew, SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"},
			Request: []byte("csr"), DCVMethod: v1alpha1.DCVMethodCNAME, ValidityDays: 199,
			Attempts: []v1alpha1.Attempt{{Number: 1, Time: now, RequestName: "www-1", RequestUID: "u1", Writer: v1alpha1.Writer{StartNonce: "n"}, ClusterUID: "c", KeyFingerprint: "f", BaselineIDs: []string{"A"}}},
		},
	}
}

// TestLedgerCannotBeRewritten: what a record says was decided and sent stays, whoever
// writes.
func TestLedgerCannotBeRewritten(t *testing.T) {
	env := testenv.New(t)
	outcome := &v1alpha1.Outcome{Result: v1alpha1.OutcomeAccepted, Time: metav1.NewMicroTime(time.Now())}
	recorded := func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Attempts[0].Outcome = outcome
		p.Spec.CertificateID = "ID1"
		p.Spec.Successors = []v1alpha1.Successor{{Number: 2, Action: v1alpha1.ActionNew, RequestUID: "u2", Time: outcome.Time}}
	}
	renewed := func(p *v1alpha1.RegfishPurchase) {
		recorded(p)
		p.Spec.Successors[0].Action = v1alpha1.ActionRenew
	}
	resolved := func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Attempts[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Time: outcome.Time}
		p.Spec.Attempts[0].Resolution = &v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound, Time: outcome.Time}
		p.Spec.Attempts[0].DisprovedIDs = []string{"X1"}
		p.Spec.Attempts[0].ReleaseTime = &outcome.Time
		p.Spec.AbandonTime = &outcome.Time
		p.Spec.Takeovers = []v1alpha1.Takeover{{Number: 1, ClusterUID: "here", Time: outcome.Time}}
	}
	licensed := func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "plan" }
	later := metav1.NewMicroTime(outcome.Time.Add(time.Hour))
	tests := []struct {
		name   string
		before func(*v1alpha1.RegfishPurchase)
		change func(*v1alpha1.RegfishPurchase)
		fine   bool
	}{
		{"the outcome and the id are added", nil, recorded, true},
		{"an attempt is added", nil, func(p *v1alpha1.RegfishPurchase) {
			a := p.Spec.Attempts[0]
			a.Number = 2
			p.Spec.Attempts = append(p.Spec.Attempts, a)
		}, true},
		{"labels are for people", nil, func(p *v1alpha1.RegfishPurchase) { p.Labels = map[string]string{"team": "shop"} }, true},
		{"what looking and people found out is added", nil, resolved, true},
		{"another id is disproved", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"X2", "X1"} }, true},
		{"another cluster takes it over", resolved, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Takeovers = append(p.Spec.Takeovers, v1alpha1.Takeover{Number: 2, ClusterUID: "there", Time: outcome.Time})
		}, true},
		{"the resolution changes", resolved, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Attempts[0].Resolution.Result = v1alpha1.ResolutionAdopted
		}, false},
		{"the resolution is removed", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Resolution = nil }, false},
		{"a disproved id is removed", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = []string{"X2"} }, false},
		{"all disproved ids are removed", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].DisprovedIDs = nil }, false},
		{"the release changes", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].ReleaseTime = &later }, false},
		{"the release is removed", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].ReleaseTime = nil }, false},
		{"what was given up is taken back", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = nil }, false},
		{"what was given up is given up later", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.AbandonTime = &later }, false},
		{"a takeover is removed", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Takeovers = nil }, false},
		{"a takeover changes", resolved, func(p *v1alpha1.RegfishPurchase) { p.Spec.Takeovers[0].ClusterUID = "there" }, false},
		{"a plan is named later", nil, licensed, false},
		{"the plan changes", licensed, func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "other" }, false},
		{"the plan is removed", licensed, func(p *v1alpha1.RegfishPurchase) { p.Spec.PlanUID = "" }, false},
		{"an attempt is removed", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts = nil }, false},
		{"an attempt changes its writer", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Writer.StartNonce = "other" }, false},
		{"an attempt changes its baseline", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].BaselineIDs = nil }, false},
		{"an attempt changes its time", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Time = metav1.NewMicroTime(time.Unix(0, 0)) }, false},
		{"an attempt is renumbered", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Number = 7 }, false},
		{"the names change", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.DNSNames = []string{"evil.example.com"} }, false},
		{"the beneficiary changes", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Beneficiary.Namespace = "other" }, false},
		{"the endpoint changes", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Endpoint = "https://api.example.com" }, false},
		{"the CSR changes", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.Request = []byte("other") }, false},
		{"the term changes", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.ValidityDays = 1 }, false},
		{"the version changes", nil, func(p *v1alpha1.RegfishPurchase) { p.Spec.RecordVersion = 2 }, false},
		{"the id changes", recorded, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "ID2" }, false},
		{"the id is removed", recorded, func(p *v1alpha1.RegfishPurchase) { p.Spec.CertificateID = "" }, false},
		{"the outcome changes", recorded, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Attempts[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeNotSent, Time: outcome.Time}
		}, false},
		{"the outcome is removed", recorded, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Outcome = nil }, false},
		{"a successor is removed", recorded, func(p *v1alpha1.RegfishPurchase) { p.Spec.Successors = nil }, false},
		{"a successor changes", recorded, func(p *v1alpha1.RegfishPurchase) { p.Spec.Successors[0].Action = v1alpha1.ActionImport }, false},
		{"a renewal is announced under the number of what was never made", recorded, func(p *v1alpha1.RegfishPurchase) {
			p.Spec.Successors[0] = v1alpha1.Successor{Number: 2, Action: v1alpha1.ActionRenew, RequestUID: "u3", Time: later}
		}, true},
		{"a renewal is taken back", renewed, func(p *v1alpha1.RegfishPurchase) { p.Spec.Successors[0].Action = v1alpha1.ActionNew }, false},
	}
	for _, tc := range tests {
		p := samplePurchase(env.Namespace)
		p.GenerateName, p.Name = "p-", ""
		if tc.before != nil {
			tc.before(p)
		}
		if err := env.Client.Create(t.Context(), p); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		tc.change(p)
		switch err := env.Client.Update(t.Context(), p); {
		case tc.fine && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case !tc.fine && !apierrors.IsInvalid(err):
			t.Errorf("%s: the API server takes it: %v", tc.name, err)
		}
	}
}

// completePurchase is a record that says all that one can.
func completePurchase(namespace string) *v1alpha1.RegfishPurchase {
	p := samplePurchase(namespace)
	now := metav1.NewMicroTime(time.Now())
	end := metav1.NewTime(now.Time)
	outcome := &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Final: true, Answered: true, HTTPStatus: 500, Message: "said", RetryAfter: &end, Time: now}
	resolution := &v1alpha1.Resolution{Result: v1alpha1.ResolutionAdopted, CertificateID: "ID1", Proved: true, Message: "seen", Time: now}
	writer := v1alpha1.Writer{PodNamespace: "ns", PodName: "pod", PodUID: "uid", StartNonce: "n"}
	s := &p.Spec
	s.IssuerRef.Namespace, s.Reason, s.SourceCertificateID, s.DCVEmails, s.OrganizationID = "shop", "due", "ID0", []string{"a@example.com"}, "org"
	s.PlanUID, s.CertificateID, s.AbandonTime = "plan", "ID1", &now
	s.Takeovers = []v1alpha1.Takeover{{Number: 1, ClusterUID: "there", Time: now}}
	s.Successors = []v1alpha1.Successor{{Number: 2, Action: v1alpha1.ActionNew, RequestUID: "u2", Time: now}}
	a := &s.Attempts[0]
	a.Writer, a.Outcome, a.Resolution, a.DisprovedIDs, a.ReleaseTime = writer, outcome, resolution, []string{"X1"}, &now
	s.Reissues = []v1alpha1.Reissue{{
		Number: 1, Time: now, IssuerRef: s.IssuerRef, Beneficiary: s.Beneficiary, KeySHA256: "aa", KeyAlgorithm: "RSA", DCVMethod: v1alpha1.DCVMethodCNAME,
		Reason: "due", PlanUID: "plan", Writer: writer, ClusterUID: "c", KeyFingerprint: "f", Outcome: outcome, Resolution: resolution,
		Source: v1alpha1.ReissueSource{ReissueID: "1", RequestTime: &end, NotAfter: &end, SerialNumber: "01", SHA256: "bb"},
		End:    &v1alpha1.ReissueEnd{Result: "Issued", Message: "came", Time: now},
	}}
	return p
}

// TestNothingInARecordChangesOrGoes: each value that a record may have is refused in another
// form, and each part of it is kept, whatever it is part of.
func TestNothingInARecordChangesOrGoes(t *testing.T) {
	env := testenv.New(t)
	p := completePurchase(env.Namespace)
	if err := env.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, field := range empty(reflect.ValueOf(p.Spec), "spec") {
		t.Errorf("the record has no %s, so it is not known whether that stays", field)
	}
	record, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		t.Fatal(err)
	}
	record["apiVersion"], record["kind"] = v1alpha1.GroupVersion.String(), "RegfishPurchase"
	tried := 0
	for name, change := range changes(record["spec"], "spec") {
		other := runtime.DeepCopyJSON(record)
		other["spec"] = change(other["spec"])
		tried++
		if err := env.Client.Update(t.Context(), &unstructured.Unstructured{Object: other}, client.DryRunAll); !apierrors.IsInvalid(err) {
			t.Errorf("%s: the API server takes it: %v", name, err)
		}
	}
	if tried < 150 {
		t.Errorf("only %d changes were tried", tried)
	}
}

// TestNothingThatWasDecidedIsAdded: what was decided without a value stays without it.
func TestNothingThatWasDecidedIsAdded(t *testing.T) {
	env := testenv.New(t)
	all, p := completePurchase(env.Namespace).Spec, completePurchase(env.Namespace)
	s := &p.Spec
	s.Reason, s.SourceCertificateID, s.Request, s.DCVEmails, s.OrganizationID, s.PlanUID = "", "", nil, nil, "", ""
	s.Attempts[0].BaselineIDs, s.Reissues[0].Reason, s.Reissues[0].PlanUID, s.Reissues[0].Source = nil, "", "", v1alpha1.ReissueSource{}
	if err := env.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for name, add := range map[string]func(*v1alpha1.PurchaseSpec){
		"reason":              func(s *v1alpha1.PurchaseSpec) { s.Reason = all.Reason },
		"sourceCertificateID": func(s *v1alpha1.PurchaseSpec) { s.SourceCertificateID = all.SourceCertificateID },
		"request":             func(s *v1alpha1.PurchaseSpec) { s.Request = all.Request },
		"dcvEmails":           func(s *v1alpha1.PurchaseSpec) { s.DCVEmails = all.DCVEmails },
		"organizationID":      func(s *v1alpha1.PurchaseSpec) { s.OrganizationID = all.OrganizationID },
		"planUID":             func(s *v1alpha1.PurchaseSpec) { s.PlanUID = all.PlanUID },
		"baselineIDs":         func(s *v1alpha1.PurchaseSpec) { s.Attempts[0].BaselineIDs = all.Attempts[0].BaselineIDs },
		"reason of a reissue": func(s *v1alpha1.PurchaseSpec) { s.Reissues[0].Reason = all.Reissues[0].Reason },
		"plan of a reissue":   func(s *v1alpha1.PurchaseSpec) { s.Reissues[0].PlanUID = all.Reissues[0].PlanUID },
		"source of a reissue": func(s *v1alpha1.PurchaseSpec) { s.Reissues[0].Source = all.Reissues[0].Source },
	} {
		other := p.DeepCopy()
		add(&other.Spec)
		if err := env.Client.Update(t.Context(), other, client.DryRunAll); !apierrors.IsInvalid(err) {
			t.Errorf("%s: the API server takes it: %v", name, err)
		}
	}
}

// empty are the fields below v that have no value.
func empty(v reflect.Value, path string) (found []string) {
	switch {
	case v.IsZero():
		return []string{path}
	case v.Kind() == reflect.Pointer:
		return empty(v.Elem(), path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return empty(v.Index(0), path)
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[v1alpha1.PurchaseSpec]().PkgPath():
		for i := range v.NumField() {
			found = append(found, empty(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	}
	return found
}

// changes are all ways to change or remove one value below v, each by what it does.
func changes(v any, path string) map[string]func(any) any {
	found := map[string]func(any) any{}
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			found[path+"."+key+" is removed"] = func(v any) any { delete(v.(map[string]any), key); return v }
			for name, change := range changes(v[key], path+"."+key) {
				found[name] = func(v any) any { m := v.(map[string]any); m[key] = change(m[key]); return m }
			}
		}
	case []any:
		for i := range v {
			found[fmt.Sprintf("%s[%d] is removed", path, i)] = func(v any) any { return slices.Delete(v.([]any), i, i+1) }
			for name, change := range changes(v[i], fmt.Sprintf("%s[%d]", path, i)) {
				found[name] = func(v any) any { l := v.([]any); l[i] = change(l[i]); return l }
			}
		}
	default:
		found[path+" changes"] = func(v any) any { return another(v) }
	}
	return found
}

// another is a value that is as good as v.
func another(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case int64:
		return v + 1
	case string:
		if v == string(v1alpha1.DCVMethodCNAME) {
			return string(v1alpha1.DCVMethodEmail) // Any other one is refused for what it is.
		}
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at.Add(time.Hour).Format("2006-01-02T15:04:05.000000Z07:00")
		}
		if strings.HasSuffix(v, "a") {
			return v[:len(v)-1] + "b"
		}
		return v[:len(v)-1] + "a"
	}
	return nil
}

// TestPurchasesAreSelectedByTheServer: decisions read the ledger live by these.
func TestPurchasesAreSelectedByTheServer(t *testing.T) {
	env := testenv.New(t)
	p := samplePurchase(env.Namespace)
	p.Spec.CertificateID = "ID1"
	if err := env.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]string{
		"spec.namesHash": p.Spec.NamesHash, "spec.certificateID": "ID1", "spec.beneficiary.namespace": "shop",
		"spec.beneficiary.certificateName": "www", "spec.action": v1alpha1.ActionNew,
	} {
		for want, selected := range map[string]int{value: 1, "other": 0} {
			var list v1alpha1.RegfishPurchaseList
			if err := env.Client.List(t.Context(), &list, client.InNamespace(env.Namespace), client.MatchingFields{field: want}); err != nil {
				t.Errorf("%s: %v", field, err)
			} else if len(list.Items) != selected {
				t.Errorf("%s=%s selects %d, want %d", field, want, len(list.Items), selected)
			}
		}
	}
}

// TestOrderIsImmutable: what an order says it is for stays.
func TestOrderIsImmutable(t *testing.T) {
	env := testenv.New(t)
	o := &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "www"},
		Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: "www", UID: "u"},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindIssuer, Name: "regfish"},
		},
	}
	if err := env.Client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Spec.RequestRef.UID = "v"
	if err := env.Client.Update(t.Context(), o); !apierrors.IsInvalid(err) {
		t.Errorf("the API server takes another request: %v", err)
	}
}
