// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxMessage is the longest message of a condition, in bytes. The API server takes 32768, but the message is a column of
// kubectl and one sentence.
const maxMessage = 1024

// camelCase is what a reason must be, so that a program can compare it and a user can search for it.
var camelCase = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)

// checked are the kinds whose objects CheckInvariants lists.
var checked = []schema.GroupVersionKind{
	{Group: "cert-manager.io", Version: "v1", Kind: "CertificateRequest"},
	{Group: group, Version: "v1alpha1", Kind: "RegfishIssuer"},
	{Group: group, Version: "v1alpha1", Kind: "RegfishClusterIssuer"},
	{Group: group, Version: "v1alpha1", Kind: "RegfishOrder"},
	{Group: group, Version: "v1alpha1", Kind: "RegfishPurchase"},
}

// CheckInvariants fails the test for each invariant that any CertificateRequest or any object of ours in the cluster
// violates, whichever test made it. Kinds whose CRD is not installed are passed over.
func CheckInvariants(t testing.TB, c client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, kind := range checked {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		err := c.List(ctx, list)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			t.Errorf("check invariants: list %s: %v", kind.Kind, err)
			continue
		}
		for _, item := range list.Items {
			for _, violation := range Invariants(&item) {
				t.Errorf("%s %s: %s", kind.Kind, client.ObjectKeyFromObject(&item), violation)
			}
		}
	}
}

// Invariants returns what is wrong with the conditions of an object, typed or not, in one sentence each.
//
// For every object: each type occurs once, its status is one of the three, its reason is CamelCase, its message is one
// that can be shown, the time of its last transition is set, and no generation was observed that does not exist yet.
// A CertificateRequest has cert-manager's rules on top, which cert-manager and its users rely on.
func Invariants(obj client.Object) []string {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return []string{fmt.Sprintf("cannot be read: %v", err)}
	}
	u := &unstructured.Unstructured{Object: content}
	raw, _, err := unstructured.NestedSlice(content, "status", "conditions")
	if err != nil {
		return []string{fmt.Sprintf("status.conditions cannot be read: %v", err)}
	}
	conditions := map[string]condition{}
	var violations []string
	for _, entry := range raw {
		c, err := newCondition(entry)
		if err != nil {
			violations = append(violations, err.Error())
			continue
		}
		if _, exists := conditions[c.Type]; exists {
			violations = append(violations, fmt.Sprintf("condition %s occurs twice", c.Type))
		}
		conditions[c.Type] = c
		violations = append(violations, c.violations(u.GetGeneration())...)
	}
	_, typed := obj.(*cmapi.CertificateRequest)
	if typed || u.GroupVersionKind().GroupKind() == checked[0].GroupKind() {
		violations = append(violations, requestViolations(u, conditions)...)
	}
	return violations
}

// A condition is a metav1.Condition or one of cert-manager's, which has the same fields but no observedGeneration.
type condition struct {
	Type               string
	Status             string
	Reason             string
	Message            string
	LastTransitionTime string
	ObservedGeneration int64
}

func newCondition(entry any) (condition, error) {
	fields, ok := entry.(map[string]any)
	if !ok {
		return condition{}, errors.New("a condition is not an object")
	}
	text := func(name string) string {
		value, _ := fields[name].(string)
		return value
	}
	generation, _, err := unstructured.NestedInt64(fields, "observedGeneration")
	if err != nil {
		return condition{}, fmt.Errorf("condition %s: %w", text("type"), err)
	}
	return condition{
		Type: text("type"), Status: text("status"), Reason: text("reason"), Message: text("message"),
		LastTransitionTime: text("lastTransitionTime"), ObservedGeneration: generation,
	}, nil
}

func (c condition) violations(generation int64) []string {
	var violations []string
	violate := func(format string, args ...any) {
		violations = append(violations, fmt.Sprintf("condition %s: ", c.Type)+fmt.Sprintf(format, args...))
	}
	if !camelCase.MatchString(c.Type) {
		violate("type is not CamelCase")
	}
	if !slices.Contains([]string{"True", "False", "Unknown"}, c.Status) {
		violate("status is %q", c.Status)
	}
	// cert-manager's approvers sign with their own name, which is a domain.
	decision := c.Type == string(cmapi.CertificateRequestConditionApproved) || c.Type == string(cmapi.CertificateRequestConditionDenied)
	if c.Reason == "" || !decision && !camelCase.MatchString(c.Reason) {
		violate("reason %q is not CamelCase", c.Reason)
	}
	switch {
	case c.Message == "":
		violate("message is empty")
	case len(c.Message) > maxMessage:
		violate("message has %d bytes, more than %d", len(c.Message), maxMessage)
	case !utf8.ValidString(c.Message):
		violate("message is not UTF-8")
	case strings.ContainsFunc(c.Message, unicode.IsControl):
		violate("message has control characters: %q", c.Message)
	}
	if c.LastTransitionTime == "" {
		violate("lastTransitionTime is not set")
	}
	if c.ObservedGeneration > generation {
		violate("observedGeneration is %d, but the generation is %d", c.ObservedGeneration, generation)
	}
	return violations
}

// requestViolations checks what cert-manager expects of whoever serves a CertificateRequest.
func requestViolations(request *unstructured.Unstructured, conditions map[string]condition) []string {
	var violations []string
	violate := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }

	ready, answered := conditions[string(cmapi.CertificateRequestConditionReady)]
	approved := conditions[string(cmapi.CertificateRequestConditionApproved)].Status == "True"
	denied := conditions[string(cmapi.CertificateRequestConditionDenied)].Status == "True"
	if approved && denied {
		violate("is both approved and denied")
	}
	if answered && !approved && !denied {
		violate("is Ready=%s before anybody approved or denied it", ready.Status)
	}

	issued := ready.Reason == cmapi.CertificateRequestReasonIssued
	ended := ready.Reason == cmapi.CertificateRequestReasonFailed || ready.Reason == cmapi.CertificateRequestReasonDenied
	if answered && !issued && !ended && ready.Reason != cmapi.CertificateRequestReasonPending {
		violate("reason of Ready is %q, which is none of cert-manager's", ready.Reason)
	}
	if answered && issued != (ready.Status == "True") {
		violate("Ready is %s with reason %s", ready.Status, ready.Reason)
	}
	if ready.Reason == cmapi.CertificateRequestReasonDenied && !denied {
		violate("reason of Ready is Denied, but it was not denied")
	}
	failureTime, _, _ := unstructured.NestedString(request.Object, "status", "failureTime")
	if ended != (failureTime != "") {
		violate("failureTime is %q with reason %q of Ready", failureTime, ready.Reason)
	}
	certificate, _, _ := unstructured.NestedString(request.Object, "status", "certificate")
	if issued != (certificate != "") {
		violate("certificate has %d bytes with reason %q of Ready", len(certificate), ready.Reason)
	}
	return violations
}
