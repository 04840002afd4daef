// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// stateOf sums up conditions in one word. It is the only place that derives a
// state, for purchases and orders alike.
func stateOf(conditions []metav1.Condition, dcv *v1alpha1.DCVStatus, vendor *v1alpha1.Vendor) v1alpha1.State {
	get := func(kind string) metav1.Condition {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			return *c
		}
		return metav1.Condition{Status: metav1.ConditionUnknown}
	}
	placed, issued := get(v1alpha1.ConditionPlaced), get(v1alpha1.ConditionIssued)
	published := get(v1alpha1.ConditionValidationPublished)
	switch {
	case issued.Status == metav1.ConditionFalse && placed.Status == metav1.ConditionFalse:
		return v1alpha1.StateEnded
	case issued.Status == metav1.ConditionFalse:
		return v1alpha1.StateFailed
	case get(v1alpha1.ConditionHeld).Status == metav1.ConditionTrue:
		return v1alpha1.StateHeld
	case issued.Status == metav1.ConditionTrue:
		return v1alpha1.StateIssued
	case get(v1alpha1.ConditionActionRequired).Status == metav1.ConditionTrue:
		return v1alpha1.StateActionRequired
	case placed.Status == metav1.ConditionUnknown && placed.Reason == v1alpha1.ReasonOutcomeUnknown:
		return v1alpha1.StateResolving
	case placed.Status == metav1.ConditionUnknown:
		return v1alpha1.StatePlacing
	case placed.Status == metav1.ConditionFalse:
		switch placed.Reason {
		case v1alpha1.ReasonNotDecided:
			return v1alpha1.StatePlanned
		case v1alpha1.ReasonWaitingForPurchase:
			return v1alpha1.StateWaiting
		}
		return v1alpha1.StateQueued
	case dcv != nil, published.Status == metav1.ConditionFalse:
		return v1alpha1.StateValidating
	case vendor != nil && vendor.PendingReason == "validation_pending":
		return v1alpha1.StateValidating
	}
	return v1alpha1.StateProcessing
}

// Turned returns the condition if it is True and was not, or was for another reason.
func Turned(before, after []metav1.Condition, kind string) *metav1.Condition {
	now, was := meta.FindStatusCondition(after, kind), meta.FindStatusCondition(before, kind)
	if now == nil || now.Status != metav1.ConditionTrue || (was != nil && was.Status == now.Status && was.Reason == now.Reason) {
		return nil
	}
	return now
}

// arrange puts conditions in the order in which they come true, which is the order in
// which people read them.
func arrange(conditions []metav1.Condition) {
	order := []string{
		v1alpha1.ConditionPlaced, v1alpha1.ConditionHeld, v1alpha1.ConditionActionRequired, v1alpha1.ConditionValidationPublished, v1alpha1.ConditionIssued, v1alpha1.ConditionDuplicateFound,
	}
	slices.SortStableFunc(conditions, func(a, b metav1.Condition) int {
		return slices.Index(order, a.Type) - slices.Index(order, b.Type)
	})
}

// sentence is the message of the condition that governs: the first that is not
// as it should be, in the order in which they come true.
func sentence(conditions []metav1.Condition) string {
	message := ""
	for _, c := range []struct {
		kind string
		good metav1.ConditionStatus
	}{
		{v1alpha1.ConditionHeld, metav1.ConditionFalse},
		{v1alpha1.ConditionPlaced, metav1.ConditionTrue},
		{v1alpha1.ConditionActionRequired, metav1.ConditionFalse},
		{v1alpha1.ConditionValidationPublished, metav1.ConditionTrue},
		{v1alpha1.ConditionIssued, metav1.ConditionTrue},
	} {
		found := meta.FindStatusCondition(conditions, c.kind)
		if found == nil {
			continue
		}
		if c.kind == v1alpha1.ConditionIssued || found.Status != c.good {
			message = found.Message
			if found.Status != c.good {
				break
			}
		}
	}
	if issued := meta.FindStatusCondition(conditions, v1alpha1.ConditionIssued); issued != nil && issued.Status == metav1.ConditionFalse {
		if placed := meta.FindStatusCondition(conditions, v1alpha1.ConditionPlaced); placed == nil || placed.Status == metav1.ConditionTrue {
			return issued.Message
		}
	}
	return message
}
