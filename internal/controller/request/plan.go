// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package request

import (
	"fmt"
	"strings"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
)

// approvalPatience is how long a request may stand without a decision before an
// event tells what is probably missing.
const approvalPatience = 2 * time.Minute

// facts is everything an answer depends on.
type facts struct {
	now     time.Time
	request *cmapi.CertificateRequest
	// order of the request's name, nil if there is none.
	order *v1alpha1.RegfishOrder
	// problems that the preflight found.
	problems []pki.Problem
}

// step is what is done besides writing the request's status.
type step int

const (
	// stepNone: nothing.
	stepNone step = iota + 1
	// stepMissing: tell that nobody decides on the request.
	stepMissing
	// stepCreate: create the order.
	stepCreate
	// stepReplace: delete the order that an earlier request of this name left.
	stepReplace
)

// answer is one step and what the request shows. An empty reason leaves its
// status alone.
type answer struct {
	step      step
	reason    string
	message   string
	invalid   bool
	action    *metav1.Condition
	lookAgain time.Duration
}

// plan decides how a request is answered.
func plan(f facts) answer {
	cr := f.request
	switch {
	case cr.Spec.IssuerRef.Group != v1alpha1.Group || !cr.DeletionTimestamp.IsZero() || finished(cr):
		return answer{step: stepNone}
	case cmutil.CertificateRequestIsDenied(cr):
		return answer{step: stepNone, reason: cmapi.CertificateRequestReasonDenied, message: "the request was denied, so nothing is bought for it."}
	case !cmutil.CertificateRequestIsApproved(cr):
		if left := cr.CreationTimestamp.Add(approvalPatience).Sub(f.now); left > 0 {
			return answer{step: stepNone, lookAgain: left}
		}
		return answer{step: stepMissing, message: missing(cr)}
	}
	if !known(cr.Spec.IssuerRef.Kind) {
		return refuse(fmt.Sprintf("spec.issuerRef.kind %q is no kind of %s; use %s or %s.", cr.Spec.IssuerRef.Kind, v1alpha1.Group, v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer))
	}
	if len(f.problems) > 0 {
		var all []string
		for _, p := range f.problems {
			all = append(all, p.Field+": "+p.Message)
		}
		return refuse(strings.Join(all, " "))
	}
	switch o := f.order; {
	case o == nil:
		return answer{step: stepCreate, reason: cmapi.CertificateRequestReasonPending, message: "the request was accepted for work; RegfishOrder " + cr.Name + " shows how it goes."}
	case o.Spec.RequestRef.UID != cr.UID || !metav1.IsControlledBy(o, cr):
		return answer{step: stepReplace, reason: cmapi.CertificateRequestReasonPending, message: "RegfishOrder " + cr.Name + " belongs to an earlier request of this name and is removed first."}
	case !o.DeletionTimestamp.IsZero():
		return answer{step: stepNone, reason: cmapi.CertificateRequestReasonPending, message: "RegfishOrder " + cr.Name + " is being deleted; a new one follows."}
	default:
		return mirror(o)
	}
}

// mirror repeats the order.
func mirror(o *v1alpha1.RegfishOrder) answer {
	a := answer{step: stepNone, reason: cmapi.CertificateRequestReasonPending, message: o.Status.Message}
	if o.Status.State == "" {
		// The order controller has not looked yet; what stands there is true.
		return answer{step: stepNone}
	}
	if o.Status.State == v1alpha1.StateFailed {
		a.reason = cmapi.CertificateRequestReasonFailed
		placed := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionPlaced)
		a.invalid = placed != nil && placed.Reason == v1alpha1.ReasonOverrideRefused
	}
	if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionActionRequired); c != nil {
		a.action = c
	}
	return a
}

// refuse is for what the requester has to change.
func refuse(message string) answer {
	return answer{step: stepNone, reason: cmapi.CertificateRequestReasonFailed, invalid: true, message: message}
}

// finished reports whether the request was answered for good.
func finished(cr *cmapi.CertificateRequest) bool {
	switch cmutil.CertificateRequestReadyReason(cr) {
	case cmapi.CertificateRequestReasonIssued, cmapi.CertificateRequestReasonFailed, cmapi.CertificateRequestReasonDenied:
		return true
	}
	return len(cr.Status.Certificate) > 0
}

// known reports whether the kind is one of our issuers. Without a kind cert-manager
// means the namespaced one of its own group, and so do we of ours.
func known(kind string) bool {
	return kind == "" || kind == v1alpha1.KindIssuer || kind == v1alpha1.KindClusterIssuer
}

// missing says why nobody decides on a request, as far as can be told.
func missing(cr *cmapi.CertificateRequest) string {
	if !known(cr.Spec.IssuerRef.Kind) {
		return fmt.Sprintf("nobody approved or denied this request. Its spec.issuerRef.kind %q is no kind of %s; use %s or %s.",
			cr.Spec.IssuerRef.Kind, v1alpha1.Group, v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer)
	}
	return fmt.Sprintf("nobody approved or denied this request. For cert-manager to approve it, its service account needs the verb \"approve\" on signers %q, as the ClusterRole regfish-issuer-approver gives it; with approver-policy, a policy has to match.",
		strings.ToLower(purchase.IssuerRefOf(cr).Kind)+"s."+v1alpha1.Group+"/*")
}
