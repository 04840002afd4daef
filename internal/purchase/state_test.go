// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

const (
	yes  = metav1.ConditionTrue
	no   = metav1.ConditionFalse
	open = metav1.ConditionUnknown
)

// standing are conditions whose messages are their types.
func standing(placed, held, action, published, issued metav1.ConditionStatus, reason string) []metav1.Condition {
	var list []metav1.Condition
	for _, c := range []metav1.Condition{
		{Type: v1alpha1.ConditionPlaced, Status: placed, Reason: reason},
		{Type: v1alpha1.ConditionHeld, Status: held},
		{Type: v1alpha1.ConditionActionRequired, Status: action},
		{Type: v1alpha1.ConditionValidationPublished, Status: published},
		{Type: v1alpha1.ConditionIssued, Status: issued},
	} {
		if c.Status != "" {
			c.Message = c.Type
			list = append(list, c)
		}
	}
	return list
}

func TestStateAndSentence(t *testing.T) {
	const absent = ""
	dcv := &v1alpha1.DCVStatus{}
	for name, tt := range map[string]struct {
		conditions []metav1.Condition
		dcv        *v1alpha1.DCVStatus
		vendor     *v1alpha1.Vendor
		state      v1alpha1.State
		says       string // the type of the condition whose message governs
	}{
		"nothing decided":                                {standing(no, no, no, open, open, v1alpha1.ReasonNotDecided), nil, nil, v1alpha1.StatePlanned, v1alpha1.ConditionPlaced},
		"waiting for another purchase":                   {standing(no, no, no, open, open, v1alpha1.ReasonWaitingForPurchase), nil, nil, v1alpha1.StateWaiting, v1alpha1.ConditionPlaced},
		"waiting for another purchase and its records":   {standing(no, no, no, no, open, v1alpha1.ReasonWaitingForPurchase), nil, nil, v1alpha1.StateWaiting, v1alpha1.ConditionPlaced},
		"waiting for a slot":                             {standing(no, no, no, open, open, v1alpha1.ReasonPurchaseLimitReached), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"waiting while purchases are stopped":            {standing(no, no, no, open, open, v1alpha1.ReasonPurchasesPaused), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"waiting for the issuer":                         {standing(no, no, no, open, open, v1alpha1.ReasonIssuerNotReady), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"waiting for the vendor":                         {standing(no, no, no, open, open, v1alpha1.ReasonVendorUnavailable), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"placed at another endpoint":                     {standing(no, no, no, open, open, v1alpha1.ReasonEndpointChanged), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"a reason that a later version gives":            {standing(no, no, no, open, open, "Later"), nil, nil, v1alpha1.StateQueued, v1alpha1.ConditionPlaced},
		"being sent":                                     {standing(open, no, no, open, open, v1alpha1.ReasonPlacing), nil, nil, v1alpha1.StatePlacing, v1alpha1.ConditionPlaced},
		"looked for in the account":                      {standing(open, no, no, open, open, v1alpha1.ReasonOutcomeUnknown), nil, nil, v1alpha1.StateResolving, v1alpha1.ConditionPlaced},
		"held before anything was sent":                  {standing(no, yes, no, open, open, v1alpha1.ReasonNotDecided), nil, nil, v1alpha1.StateHeld, v1alpha1.ConditionHeld},
		"held with an unknown outcome":                   {standing(open, yes, no, open, open, v1alpha1.ReasonOutcomeUnknown), nil, nil, v1alpha1.StateHeld, v1alpha1.ConditionHeld},
		"held with a certificate that was refused":       {standing(yes, yes, no, yes, yes, ""), nil, nil, v1alpha1.StateHeld, v1alpha1.ConditionHeld},
		"held and staged":                                {standing(yes, yes, yes, no, open, ""), nil, nil, v1alpha1.StateHeld, v1alpha1.ConditionHeld},
		"staged":                                         {standing(yes, no, yes, no, open, ""), dcv, nil, v1alpha1.StateActionRequired, v1alpha1.ConditionActionRequired},
		"a record to set":                                {standing(yes, no, no, no, open, ""), nil, nil, v1alpha1.StateValidating, v1alpha1.ConditionValidationPublished},
		"a purchase with records":                        {standing(yes, no, no, absent, open, ""), dcv, nil, v1alpha1.StateValidating, v1alpha1.ConditionIssued},
		"a purchase that waits for records":              {standing(yes, no, no, absent, open, ""), nil, &v1alpha1.Vendor{PendingReason: "validation_pending"}, v1alpha1.StateValidating, v1alpha1.ConditionIssued},
		"at work":                                        {standing(yes, no, no, absent, open, ""), nil, &v1alpha1.Vendor{PendingReason: "ca_processing"}, v1alpha1.StateProcessing, v1alpha1.ConditionIssued},
		"being fetched":                                  {standing(yes, no, no, yes, open, ""), nil, nil, v1alpha1.StateProcessing, v1alpha1.ConditionIssued},
		"issued":                                         {standing(yes, no, no, yes, yes, ""), nil, nil, v1alpha1.StateIssued, v1alpha1.ConditionIssued},
		"a purchase that was issued":                     {standing(yes, no, no, absent, yes, ""), nil, nil, v1alpha1.StateIssued, v1alpha1.ConditionIssued},
		"placed and came to nothing":                     {standing(yes, no, no, no, no, ""), dcv, nil, v1alpha1.StateFailed, v1alpha1.ConditionIssued},
		"placed, held and came to nothing":               {standing(yes, yes, no, no, no, ""), nil, nil, v1alpha1.StateFailed, v1alpha1.ConditionIssued},
		"never placed and never will be":                 {standing(no, no, no, open, no, v1alpha1.ReasonRejected), nil, nil, v1alpha1.StateEnded, v1alpha1.ConditionPlaced},
		"nothing known at all, so perhaps it was placed": {nil, nil, nil, v1alpha1.StatePlacing, ""},
	} {
		if got := stateOf(tt.conditions, tt.dcv, tt.vendor); got != tt.state {
			t.Errorf("%s: state %s, want %s", name, got, tt.state)
		}
		if got := sentence(tt.conditions); got != tt.says {
			t.Errorf("%s: the sentence is that of %q, want %q", name, got, tt.says)
		}
	}
}

// However conditions stand, there is one state out of the closed set, and each of
// them says something.
func TestStateOfEveryCombination(t *testing.T) {
	all := []metav1.ConditionStatus{yes, no, open}
	reached := map[v1alpha1.State]bool{}
	for _, placed := range all {
		for _, held := range all {
			for _, action := range all {
				for _, published := range append(all, "") {
					for _, issued := range all {
						for _, reason := range []string{v1alpha1.ReasonNotDecided, v1alpha1.ReasonWaitingForPurchase, v1alpha1.ReasonPurchaseLimitReached, v1alpha1.ReasonOutcomeUnknown} {
							conditions := standing(placed, held, action, published, issued, reason)
							state := stateOf(conditions, nil, nil)
							reached[state] = true
							if !slices.Contains(states, state) {
								t.Errorf("%v: state %q", conditions, state)
							}
							if sentence(conditions) == "" {
								t.Errorf("%v: nothing is said", conditions)
							}
							if state == v1alpha1.StateHeld && held != yes {
								t.Errorf("%v: held, and nobody has to decide", conditions)
							}
							if issued == no && state != v1alpha1.StateFailed && state != v1alpha1.StateEnded {
								t.Errorf("%v: no certificate will come, and the state is %s", conditions, state)
							}
						}
					}
				}
			}
		}
	}
	for _, s := range states {
		if !reached[s] {
			t.Errorf("no conditions lead to %s", s)
		}
	}
}
