// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/cache"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

const purchaseText = `{
	"metadata": {"namespace": "regfish-issuer", "name": "a-1", "labels": {"team": "payments"}, "creationTimestamp": "2026-11-29T20:46:52Z"},
	"spec": {"endpoint": "https://api.regfish.com", "dnsNames": ["a.example.com", "b.example.com", "c.example.com"], "request": "Y3Ny", "attempts": [{"number": 1, "requestUID": "u", "outcome": {"result": "Accepted"}}]},
	"status": {"state": "Issued", "conditions": [{"type": "Held", "status": "False", "reason": "NotHeld", "message": "nobody has to decide.", "lastTransitionTime": "2026-11-29T20:46:52Z"}]}
}`

// TestObjectsShareWhatTheySay: what two objects say alike is kept once, wherever it stands,
// and nothing else about them is changed.
func TestObjectsShareWhatTheySay(t *testing.T) {
	transform := newWords().after(func(o any) (any, error) { return o, nil })
	decoded := func() *v1alpha1.RegfishPurchase {
		p := &v1alpha1.RegfishPurchase{}
		if err := json.Unmarshal([]byte(purchaseText), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	seen := func(p *v1alpha1.RegfishPurchase) *v1alpha1.RegfishPurchase {
		o, err := transform(p)
		if err != nil {
			t.Fatal(err)
		}
		return o.(*v1alpha1.RegfishPurchase)
	}
	a, b := seen(decoded()), seen(decoded())
	if diff := cmp.Diff(decoded(), b); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	for what, of := range map[string]func(*v1alpha1.RegfishPurchase) string{
		"a field":           func(p *v1alpha1.RegfishPurchase) string { return p.Spec.Endpoint },
		"metadata":          func(p *v1alpha1.RegfishPurchase) string { return p.Namespace },
		"a label":           func(p *v1alpha1.RegfishPurchase) string { return p.Labels["team"] },
		"a list of strings": func(p *v1alpha1.RegfishPurchase) string { return p.Spec.DNSNames[0] },
		"a typed string":    func(p *v1alpha1.RegfishPurchase) string { return string(p.Status.State) },
		"behind a pointer":  func(p *v1alpha1.RegfishPurchase) string { return p.Spec.Attempts[0].Outcome.Result },
		"a condition":       func(p *v1alpha1.RegfishPurchase) string { return p.Status.Conditions[0].Message },
	} {
		if of(a) == "" || unsafe.StringData(of(a)) != unsafe.StringData(of(b)) {
			t.Errorf("%s (%q) is kept twice", what, of(a))
		}
	}
	if reflect.ValueOf(a.Labels).Pointer() != reflect.ValueOf(b.Labels).Pointer() {
		t.Error("the labels are kept twice")
	}
	if unsafe.SliceData(a.Spec.Request) != unsafe.SliceData(b.Spec.Request) {
		t.Error("the signing request is kept twice")
	}
	if p := decoded(); cap(p.Spec.DNSNames) == len(p.Spec.DNSNames) {
		t.Fatal("there is no room in what is decoded")
	}
	for what, room := range map[string]int{
		"attempts": cap(a.Spec.Attempts) - len(a.Spec.Attempts), "conditions": cap(a.Status.Conditions) - len(a.Status.Conditions), "names": cap(a.Spec.DNSNames) - len(a.Spec.DNSNames),
	} {
		if room != 0 {
			t.Errorf("there is room for %d more %s", room, what)
		}
	}
	other := decoded()
	other.Labels["team"], other.Spec.Request = "search", []byte("another")
	if seen(other); other.Labels["team"] != "search" || string(other.Spec.Request) != "another" || a.Labels["team"] != "payments" || string(b.Spec.Request) != "csr" {
		t.Errorf("labels %v and %v, requests %q and %q", other.Labels, a.Labels, other.Spec.Request, b.Spec.Request)
	}
	// What is long would stay when its object has gone, as often as somebody makes one.
	long := func() *v1alpha1.RegfishPurchase {
		p := decoded()
		p.Spec.Reason, p.Spec.Request = strings.Repeat("x", longest+1), bytes.Repeat([]byte("x"), longest+1)
		p.Annotations = map[string]string{"why": p.Spec.Reason}
		return seen(p)
	}
	if a, b := long(), long(); unsafe.StringData(a.Spec.Reason) == unsafe.StringData(b.Spec.Reason) || unsafe.SliceData(a.Spec.Request) == unsafe.SliceData(b.Spec.Request) ||
		reflect.ValueOf(a.Annotations).Pointer() == reflect.ValueOf(b.Annotations).Pointer() {
		t.Error("what is long is kept for others")
	}
	// A tombstone holds what the cache has shown already.
	old := decoded()
	message := unsafe.StringData(old.Status.Conditions[0].Message)
	if _, err := transform(cache.DeletedFinalStateUnknown{Key: "a", Obj: old}); err != nil || unsafe.StringData(old.Status.Conditions[0].Message) != message {
		t.Errorf("%v: an object that others read is changed", err)
	}
}
