// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// IssuerRef names an issuer of this group.
type IssuerRef struct {
	// kind is RegfishIssuer or RegfishClusterIssuer.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`

	// namespace of a RegfishIssuer; empty for a RegfishClusterIssuer.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the issuer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// String is the form in which messages name an issuer.
func (r IssuerRef) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// RequestRef names the CertificateRequest an order works for.
type RequestRef struct {
	// name of the CertificateRequest, in the order's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// uid of the CertificateRequest: another one of the same name is not served.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid"`
}

// OrderIssuerRef repeats the issuerRef of the CertificateRequest.
type OrderIssuerRef struct {
	// group of the issuer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group"`

	// kind of the issuer.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`

	// name of the issuer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// OrderSpec is for people to read. The controller takes everything that
// matters from the CertificateRequest itself, so a forged order has no power.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable"
type OrderSpec struct {
	// requestRef names the CertificateRequest the order works for.
	// +required
	RequestRef RequestRef `json:"requestRef"`

	// issuerRef names the issuer that the CertificateRequest names.
	// +required
	IssuerRef OrderIssuerRef `json:"issuerRef"`
}

// Plan is what the controller decided to do for a request, and why.
type Plan struct {
	// action that serves the request: New, Renew, Reissue, Import or HandOut.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Action string `json:"action"`

	// sku that is bought or was bought.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	SKU string `json:"sku,omitempty"`

	// validityDays is the term that is bought.
	// +optional
	ValidityDays int32 `json:"validityDays,omitempty"`

	// sourceCertificateID is the certificate that is reissued or renewed.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	SourceCertificateID string `json:"sourceCertificateID,omitempty"`

	// reason for the action, in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// PurchaseRef names a RegfishPurchase and what it stands for at the vendor.
type PurchaseRef struct {
	// name of the RegfishPurchase, in the ledger's namespace.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// certificateID is the vendor's id of the certificate, once known.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	CertificateID string `json:"certificateID,omitempty"`
}

// Vendor is what regfish last said about a certificate. Every text in it is
// bounded and stripped of control characters.
type Vendor struct {
	// status of the certificate, for example pending or issued.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Status string `json:"status,omitempty"`

	// orderState of the order at the certificate authority.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	OrderState string `json:"orderState,omitempty"`

	// pendingReason is the vendor's word for what the order waits for.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PendingReason string `json:"pendingReason,omitempty"`

	// pendingMessage is the vendor's sentence for what the order waits for.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	PendingMessage string `json:"pendingMessage,omitempty"`

	// provider is the certificate authority that issues, for example digicert.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Provider string `json:"provider,omitempty"`

	// reissueStatus is the status of the running or the last reissue.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ReissueStatus string `json:"reissueStatus,omitempty"`

	// cancellableUntil is until when the order can be cancelled at regfish.
	// +optional
	CancellableUntil *metav1.Time `json:"cancellableUntil,omitempty"`
}

// DNSRecord is one record that proves control of a name.
type DNSRecord struct {
	// name of the record, absolute, with its trailing dot.
	// +required
	// +kubebuilder:validation:MaxLength=255
	Name string `json:"name"`

	// type of the record.
	// +required
	// +kubebuilder:validation:MaxLength=16
	Type string `json:"type"`

	// value of the record; for a CNAME its target, absolute, with its trailing
	// dot.
	// +required
	// +kubebuilder:validation:MaxLength=512
	Value string `json:"value"`
}

// DCVStatus is what has to be published so that the order is validated.
type DCVStatus struct {
	// method of validation of the order.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Method DCVMethod `json:"method,omitempty"`

	// records to set in DNS.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=250
	Records []DNSRecord `json:"records,omitempty"`

	// emails are the addresses that the certificate authority sent its mail to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=254
	Emails []string `json:"emails,omitempty"`
}

// OrderStatus is the state of the work on one CertificateRequest.
type OrderStatus struct {
	// state in one word; see docs/spec for each. It is derived from conditions.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	State State `json:"state,omitempty"`

	// message says in one sentence what is waited for and who has to act.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// commonName that the certificate is ordered with.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CommonName string `json:"commonName,omitempty"`

	// plan is what was decided, and why.
	// +optional
	Plan *Plan `json:"plan,omitempty"`

	// purchaseRef names the purchase that serves the request, or the one it
	// waits for.
	// +optional
	PurchaseRef *PurchaseRef `json:"purchaseRef,omitempty"`

	// vendor is what regfish last said.
	// +optional
	Vendor *Vendor `json:"vendor,omitempty"`

	// completionURL is the page on which a person finishes the order.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	CompletionURL string `json:"completionURL,omitempty"`

	// dcv lists the records to set in DNS. Of two orders that want different
	// records at one name only the one whose turn it is shows its record.
	// +optional
	DCV *DCVStatus `json:"dcv,omitempty"`

	// serialNumber of the issued certificate, hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	SerialNumber string `json:"serialNumber,omitempty"`

	// notBefore of the issued certificate.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// notAfter of the issued certificate.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// contractNotAfter is the end of what was paid for.
	// +optional
	ContractNotAfter *metav1.Time `json:"contractNotAfter,omitempty"`

	// replacesNotAfter is when the certificate that this order is to replace expires,
	// while the order waits for the purchase limit: renewals get the next slots, the
	// nearest expiry first. Absent for a first certificate.
	// +optional
	ReplacesNotAfter *metav1.Time `json:"replacesNotAfter,omitempty"`

	// conditions of the order: Placed, Held, ActionRequired,
	// ValidationPublished, Issued.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RegfishOrder shows the work on one CertificateRequest. It has the request's
// name and goes with it; what was paid for is kept by RegfishPurchase.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rfo,categories=cert-manager
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.status.plan.action`
// +kubebuilder:printcolumn:name="SKU",type=string,JSONPath=`.status.plan.sku`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.status.purchaseRef.certificateID`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.notAfter`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Common Name",type=string,priority=1,JSONPath=`.status.commonName`
// +kubebuilder:printcolumn:name="Completion URL",type=string,priority=1,JSONPath=`.status.completionURL`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
type RegfishOrder struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the request and its issuer; it is immutable.
	// +required
	Spec OrderSpec `json:"spec"`

	// status is the state of the work.
	// +optional
	Status OrderStatus `json:"status,omitempty"`
}

// RegfishOrderList is a list of RegfishOrders.
// +kubebuilder:object:root=true
type RegfishOrderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RegfishOrder `json:"items"`
}
