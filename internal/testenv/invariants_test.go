// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestInvariantsOfARequest(t *testing.T) {
	now := metav1.Now()
	condition := func(kind cmapi.CertificateRequestConditionType, status cmmeta.ConditionStatus, reason string) cmapi.CertificateRequestCondition {
		return cmapi.CertificateRequestCondition{Type: kind, Status: status, Reason: reason, Message: "It is so.", LastTransitionTime: &now}
	}
	approved := condition("Approved", "True", "cert-manager.io")
	denied := condition("Denied", "True", "policy.cert-manager.io")
	pending := condition("Ready", "False", "Pending")
	issued := condition("Ready", "True", "Issued")
	failed := condition("Ready", "False", "Failed")

	with := func(c cmapi.CertificateRequestCondition, change func(*cmapi.CertificateRequestCondition)) cmapi.CertificateRequestCondition {
		change(&c)
		return c
	}
	message := func(text string) cmapi.CertificateRequestCondition {
		return with(pending, func(c *cmapi.CertificateRequestCondition) { c.Message = text })
	}
	conditions := func(cs ...cmapi.CertificateRequestCondition) cmapi.CertificateRequestStatus {
		return cmapi.CertificateRequestStatus{Conditions: cs}
	}

	cases := map[string]struct {
		status cmapi.CertificateRequestStatus
		want   []string
		reason string
	}{
		"nothing was said yet": {
			reason: "a new request has no conditions",
		},
		"approved and pending": {
			status: conditions(approved, pending),
			reason: "the usual wait; an approver signs with a domain",
		},
		"issued": {
			status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{approved, issued}, Certificate: []byte("pem")},
			reason: "the usual end",
		},
		"denied": {
			status: cmapi.CertificateRequestStatus{
				Conditions:  []cmapi.CertificateRequestCondition{denied, condition("Ready", "False", "Denied")},
				FailureTime: &now,
			},
			reason: "cert-manager sets the failure time of a denied request",
		},
		"failed as an invalid request": {
			status: cmapi.CertificateRequestStatus{
				Conditions:  []cmapi.CertificateRequestCondition{approved, failed, condition("InvalidRequest", "True", "NoDNSName")},
				FailureTime: &now,
			},
			reason: "the requester must change it",
		},
		"approved and denied": {
			status: conditions(approved, denied),
			want:   []string{"is both approved and denied"},
			reason: "the API server of a cluster with cert-manager's webhook refuses it",
		},
		"pending before any decision": {
			status: conditions(pending),
			want:   []string{"is Ready=False before anybody approved or denied it"},
			reason: "an issuer must not act before the approval",
		},
		"a reason of our own": {
			status: conditions(approved, condition("Ready", "False", "Waiting")),
			want:   []string{`reason of Ready is "Waiting", which is none of cert-manager's`},
			reason: "cert-manager would not understand it",
		},
		"ready with the reason of a wait": {
			status: conditions(approved, condition("Ready", "True", "Pending")),
			want:   []string{"Ready is True with reason Pending"},
			reason: "status and reason contradict each other",
		},
		"Denied although it was approved": {
			status: cmapi.CertificateRequestStatus{
				Conditions:  []cmapi.CertificateRequestCondition{approved, condition("Ready", "False", "Denied")},
				FailureTime: &now,
			},
			want:   []string{"reason of Ready is Denied, but it was not denied"},
			reason: "a user would look for who denied it",
		},
		"failed without a time": {
			status: conditions(approved, failed),
			want:   []string{`failureTime is "" with reason "Failed" of Ready`},
			reason: "cert-manager computes its next try from it",
		},
		"pending with a failure time": {
			status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{approved, pending}, FailureTime: &now},
			want:   []string{fmt.Sprintf("failureTime is %q with reason \"Pending\" of Ready", now.UTC().Format(time.RFC3339))},
			reason: "it has not failed",
		},
		"issued without a certificate": {
			status: conditions(approved, issued),
			want:   []string{`certificate has 0 bytes with reason "Issued" of Ready`},
			reason: "cert-manager would fail on it",
		},
		"pending with a certificate": {
			status: cmapi.CertificateRequestStatus{Conditions: []cmapi.CertificateRequestCondition{approved, pending}, Certificate: []byte("pem")},
			want:   []string{`certificate has 4 bytes with reason "Pending" of Ready`},
			reason: "the certificate and its condition are one write",
		},
		"a condition twice": {
			status: conditions(approved, pending, pending),
			want:   []string{"condition Ready occurs twice"},
			reason: "readers take either",
		},
		"an empty message": {
			status: conditions(approved, message("")),
			want:   []string{"condition Ready: message is empty"},
			reason: "each wait says what it waits for",
		},
		"a message of the greatest length": {
			status: conditions(approved, message(strings.Repeat("a", 1024))),
			reason: "the bound itself is allowed",
		},
		"a message too long": {
			status: conditions(approved, message(strings.Repeat("a", 1025))),
			want:   []string{"condition Ready: message has 1025 bytes, more than 1024"},
			reason: "vendor text must be cut",
		},
		"a message with an escape sequence": {
			status: conditions(approved, message("\x1b[2J")),
			want:   []string{`condition Ready: message has control characters: "\x1b[2J"`},
			reason: "kubectl would send it to the terminal",
		},
		"a reason with spaces": {
			status: conditions(approved, pending, condition("InvalidRequest", "True", "no DNS name")),
			want:   []string{`condition InvalidRequest: reason "no DNS name" is not CamelCase`},
			reason: "a reason is a word for programs",
		},
		"no time": {
			status: conditions(approved, with(pending, func(c *cmapi.CertificateRequestCondition) { c.LastTransitionTime = nil })),
			want:   []string{"condition Ready: lastTransitionTime is not set"},
			reason: "users ask since when",
		},
		"an unknown status": {
			status: conditions(approved, with(pending, func(c *cmapi.CertificateRequestCondition) { c.Status = "Maybe" })),
			want:   []string{`condition Ready: status is "Maybe"`},
			reason: "there are three",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			typed := &cmapi.CertificateRequest{Status: tc.status}
			if diff := cmp.Diff(tc.want, testenv.Invariants(typed)); diff != "" {
				t.Errorf("%s: typed (-want +got):\n%s", tc.reason, diff)
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
			if err != nil {
				t.Fatal(err)
			}
			untyped := &unstructured.Unstructured{Object: content}
			untyped.SetGroupVersionKind(cmapi.SchemeGroupVersion.WithKind("CertificateRequest"))
			if diff := cmp.Diff(tc.want, testenv.Invariants(untyped)); diff != "" {
				t.Errorf("%s: unstructured (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestInvariantsOfAnyObject(t *testing.T) {
	good := metav1.Condition{
		Type: "Placed", Status: "True", Reason: "Purchased", Message: "It was bought.",
		LastTransitionTime: metav1.Now(), ObservedGeneration: 2,
	}
	cases := map[string]struct {
		change func(*metav1.Condition)
		want   []string
		reason string
	}{
		"a condition as it should be": {
			change: func(*metav1.Condition) {},
			reason: "the present generation was observed",
		},
		"a generation that does not exist yet": {
			change: func(c *metav1.Condition) { c.ObservedGeneration = 3 },
			want:   []string{"condition Placed: observedGeneration is 3, but the generation is 2"},
			reason: "a later change would look as if it had been seen",
		},
		"everything empty": {
			change: func(c *metav1.Condition) { *c = metav1.Condition{} },
			want: []string{
				"condition : type is not CamelCase", `condition : status is ""`, `condition : reason "" is not CamelCase`,
				"condition : message is empty", "condition : lastTransitionTime is not set",
			},
			reason: "all is told at once",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			order := newOrder("ns", "www-1", c)
			order.SetGeneration(2)
			if diff := cmp.Diff(tc.want, testenv.Invariants(order)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func newOrder(namespace, name string, conditions ...metav1.Condition) *unstructured.Unstructured {
	var raw []any
	for _, c := range conditions {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&c)
		if err != nil {
			panic(err)
		}
		raw = append(raw, content)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "certmanager.regfish.com/v1alpha1",
		"kind":       "RegfishOrder",
		"metadata":   map[string]any{"namespace": namespace, "name": name},
		"status":     map[string]any{"conditions": raw},
	}}
}

// failures records how a test fails, and what it cleans up, instead of doing it.
type failures struct {
	testing.TB
	texts    []string
	cleanups []func()
}

func (f *failures) Cleanup(cleanup func()) { f.cleanups = append(f.cleanups, cleanup) }

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func TestCheckInvariantsFindsWhatIsInTheCluster(t *testing.T) {
	env := testenv.New(t)
	order := newOrder(env.Namespace, "www-1")
	if err := env.Client.Create(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	order.Object["status"] = newOrder("", "", metav1.Condition{
		Type: "Placed", Status: "False", Reason: "Rejected", LastTransitionTime: metav1.Now(),
	}).Object["status"]
	if err := env.Client.Status().Update(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	cr := testenv.CertificateRequest(t, env.Namespace, "www-1", testenv.WithDNSNames("www.example.com"))
	if err := env.Client.Create(t.Context(), cr); err != nil {
		t.Fatal(err)
	}
	testenv.Approve(t, env.Client, cr)
	testenv.Deny(t, env.Client, cr)

	found := &failures{TB: t}
	testenv.CheckInvariants(found, env.Client)
	for _, want := range []string{
		"RegfishOrder " + env.Namespace + "/www-1: condition Placed: message is empty",
		"CertificateRequest " + env.Namespace + "/www-1: is both approved and denied",
	} {
		if !slices.Contains(found.texts, want) {
			t.Errorf("missing %q in:\n%s", want, strings.Join(found.texts, "\n"))
		}
	}

	// They would fail this test and its neighbours as well.
	if err := env.Client.Delete(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.Delete(t.Context(), cr); err != nil {
		t.Fatal(err)
	}
}

func TestEachTestEndsWithTheInvariants(t *testing.T) {
	victim := &failures{TB: t}
	env := testenv.New(victim)
	cr := testenv.CertificateRequest(t, env.Namespace, "www-1", testenv.WithDNSNames("www.example.com"))
	if err := env.Client.Create(t.Context(), cr); err != nil {
		t.Fatal(err)
	}
	testenv.Approve(t, env.Client, cr)
	testenv.Deny(t, env.Client, cr)
	for _, cleanup := range slices.Backward(victim.cleanups) {
		cleanup()
	}
	if want := "CertificateRequest " + env.Namespace + "/www-1: is both approved and denied"; !slices.Contains(victim.texts, want) {
		t.Errorf("missing %q in:\n%s", want, strings.Join(victim.texts, "\n"))
	}
	// The namespace goes on its own time, so the request must go now: it would fail this test's neighbours as well.
	if err := client.IgnoreNotFound(env.Client.Delete(t.Context(), cr)); err != nil {
		t.Fatal(err)
	}
}
