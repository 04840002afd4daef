// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RecordVersion is the version of purchase records that this controller writes
// and understands. A record of another version is held, never reinterpreted. A field that
// is added to an attempt or a reissue needs a new version: a patch replaces a whole list,
// and an older controller would drop it. Other fields that it does not know it leaves alone.
const RecordVersion int32 = 1

// The actions that a purchase can stand for.
const (
	// ActionNew buys a new certificate.
	ActionNew = "New"
	// ActionRenew buys a new certificate as the renewal of an earlier one, to which
	// regfish may add what is left of that.
	ActionRenew = "Renew"
	// ActionReissue has a certificate that is paid for issued again, with another key or
	// with later dates; it costs nothing. It stands on orders only.
	ActionReissue = "Reissue"
	// ActionImport records a certificate that the account already has; it costs
	// nothing.
	ActionImport = "Import"
	// ActionHandOut gives a request the certificate that was bought for the same
	// key; it costs nothing. It stands on orders only.
	ActionHandOut = "HandOut"
)

// The outcomes of an attempt to place an order.
const (
	// OutcomeAccepted says that regfish took the order and named its id.
	OutcomeAccepted = "Accepted"
	// OutcomeRejected says that regfish refused the order in its own words.
	OutcomeRejected = "Rejected"
	// OutcomeNotSent says that no byte of the order left the controller, or that
	// regfish turned it away before making an order.
	OutcomeNotSent = "NotSent"
	// OutcomeUnknown says that the order may or may not have been placed.
	OutcomeUnknown = "Unknown"
)

// How looking in the account ended an attempt whose outcome was unknown.
const (
	// ResolutionNotFound says that the account holds no order of the attempt: nothing
	// was bought.
	ResolutionNotFound = "NotFound"
	// ResolutionAdopted says that the order was found in the account, or that the reissue
	// was found on its certificate.
	ResolutionAdopted = "Adopted"
)

// How a reissue that regfish took ended.
const (
	// ReissueIssued says that the certificate of the reissue was issued.
	ReissueIssued = "Issued"
	// ReissueFailed says that regfish or the certificate authority ended the reissue
	// without a certificate.
	ReissueFailed = "Failed"
	// ReissueReplaced says that the certificate was issued again for a key that is not
	// that of the reissue: somebody else had it reissued.
	ReissueReplaced = "Replaced"
)

// Beneficiary is who a purchase was made for, as of its creation.
type Beneficiary struct {
	// namespace of the request.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// certificateName is the Certificate that owns the request, if one does.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CertificateName string `json:"certificateName,omitempty"`

	// requestName of the CertificateRequest.
	// +required
	// +kubebuilder:validation:MaxLength=253
	RequestName string `json:"requestName"`

	// requestUID of the CertificateRequest.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	RequestUID types.UID `json:"requestUID"`
}

// Writer is the process that made an attempt.
type Writer struct {
	// podUID of the pod the process ran in; empty outside a cluster.
	// +kubebuilder:validation:Type=string
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PodUID types.UID `json:"podUID,omitempty"`

	// podNamespace is the namespace of that pod.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	PodNamespace string `json:"podNamespace,omitempty"`

	// podName is its name. A pod is read by its name, to see whether the process may
	// still be there.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podName,omitempty"`

	// startNonce is drawn anew by every process, so that two processes of one
	// pod can be told apart.
	// +required
	// +kubebuilder:validation:MaxLength=64
	StartNonce string `json:"startNonce"`
}

// Attempt is one attempt to place the order of a purchase. It is written before
// the order is sent, and its outcome is added once it is known.
// +kubebuilder:validation:XValidation:rule="has(self.baselineIDs) == has(oldSelf.baselineIDs)",message="baselineIDs is immutable"
// +kubebuilder:validation:XValidation:rule="(!has(oldSelf.outcome) || has(self.outcome)) && (!has(oldSelf.resolution) || has(self.resolution)) && (!has(oldSelf.disprovedIDs) || has(self.disprovedIDs)) && (!has(oldSelf.releaseTime) || has(self.releaseTime))",message="what became of an attempt is not removed: outcome, resolution, disprovedIDs and releaseTime"
type Attempt struct {
	// number of the attempt; attempts are counted, never ordered by time.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number"`

	// time at which the intent was written.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="time is immutable"
	Time metav1.MicroTime `json:"time"`

	// requestName of the CertificateRequest that the attempt was made for: one that
	// was created again with the same key may have another name.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="requestName is immutable"
	RequestName string `json:"requestName"`

	// requestUID of the CertificateRequest that the attempt was made for.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="requestUID is immutable"
	RequestUID types.UID `json:"requestUID"`

	// writer is the process that made the attempt.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="writer is immutable"
	Writer Writer `json:"writer"`

	// clusterUID is the UID of the namespace kube-system of the cluster that the
	// attempt was made in.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterUID is immutable"
	ClusterUID types.UID `json:"clusterUID"`

	// keyFingerprint tells API keys apart without showing them.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyFingerprint is immutable"
	KeyFingerprint string `json:"keyFingerprint"`

	// baselineIDs are the certificates sharing a name that the account had
	// before the order was sent: none of them is its result.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="baselineIDs is immutable"
	BaselineIDs []string `json:"baselineIDs,omitempty"`

	// outcome of the attempt, once known.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="outcome is set once"
	Outcome *Outcome `json:"outcome,omitempty"`

	// resolution is what looking in the account found out about an outcome that was
	// not known.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="resolution is set once"
	Resolution *Resolution `json:"resolution,omitempty"`

	// disprovedIDs are certificates of the account that could have been the result
	// of this attempt by their names, and whose keys show that they are not.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="oldSelf.all(id, id in self)",message="disprovedIDs are only added"
	DisprovedIDs []string `json:"disprovedIDs,omitempty"`

	// releaseTime is when a person licensed one more attempt, although it was not known
	// what became of this one or as many had been made as are made without asking.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="releaseTime is set once"
	ReleaseTime *metav1.MicroTime `json:"releaseTime,omitempty"`
}

// Outcome is how an attempt ended.
type Outcome struct {
	// result is Accepted, Rejected, NotSent or Unknown.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Result string `json:"result"`

	// final says that the same order will be refused again, so that only a
	// changed request can succeed.
	// +optional
	Final bool `json:"final,omitempty"`

	// answered says that regfish itself answered that it failed, in its own form, and
	// not a proxy or nobody.
	// +optional
	Answered bool `json:"answered,omitempty"`

	// httpStatus that regfish answered with; absent if it did not answer.
	// +optional
	HTTPStatus int32 `json:"httpStatus,omitempty"`

	// message says what happened; vendor text in it is bounded and stripped of
	// control characters.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// retryAfter is until when regfish asked to be left alone.
	// +optional
	RetryAfter *metav1.Time `json:"retryAfter,omitempty"`

	// time at which the outcome was known.
	// +required
	Time metav1.MicroTime `json:"time"`
}

// Resolution is how looking in the account ended an attempt whose outcome was unknown.
type Resolution struct {
	// result is NotFound or Adopted.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Result string `json:"result"`

	// certificateID that was adopted.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	CertificateID string `json:"certificateID,omitempty"`

	// proved says that the certificate's own key showed it, and not a person.
	// +optional
	Proved bool `json:"proved,omitempty"`

	// message says on what grounds.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// time at which it was resolved.
	// +required
	Time metav1.MicroTime `json:"time"`
}

// Successor announces the next purchase of the same names. A purchase with a
// successor gets no further attempt. One that was never made, or is removed, gives way
// to the announcement of a renewal.
// +kubebuilder:validation:XValidation:rule="self == oldSelf || self.action == 'Renew'",message="a successor only gives way to a renewal"
type Successor struct {
	// number of the purchase that is announced.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number"`

	// action of the purchase that is announced.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Action string `json:"action"`

	// requestUID of the CertificateRequest that the purchase is made for.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	RequestUID types.UID `json:"requestUID"`

	// time of the announcement.
	// +required
	Time metav1.MicroTime `json:"time"`
}

// ReissueSource is what regfish said of a certificate just before it was to be reissued.
// What is different afterwards is the doing of the reissue.
type ReissueSource struct {
	// reissueID is the vendor's number of the last reissue there was.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ReissueID string `json:"reissueID,omitempty"`

	// requestTime is when that reissue was asked for.
	// +optional
	RequestTime *metav1.Time `json:"requestTime,omitempty"`

	// notAfter of the certificate that was served.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// serialNumber of the certificate that was served, in the vendor's notation.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	SerialNumber string `json:"serialNumber,omitempty"`

	// sha256 of the certificate that was served, hexadecimal: it is still served while
	// the reissue runs, and is not handed out as its result.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256,omitempty"`
}

// ReissueEnd is how a reissue that regfish took ended.
type ReissueEnd struct {
	// result is Issued, Failed or Replaced.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Result string `json:"result"`

	// message says what happened; vendor text in it is bounded and stripped of
	// control characters.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// time at which the end was seen.
	// +required
	Time metav1.MicroTime `json:"time"`
}

// Reissue is one reissue of the certificate of a purchase. It is written before it is
// asked for, like an attempt, and what became of it is added.
// +kubebuilder:validation:XValidation:rule="has(self.reason) == has(oldSelf.reason) && has(self.planUID) == has(oldSelf.planUID) && has(self.source) == has(oldSelf.source)",message="reason, planUID and source are immutable"
// +kubebuilder:validation:XValidation:rule="(!has(oldSelf.outcome) || has(self.outcome)) && (!has(oldSelf.resolution) || has(self.resolution)) && (!has(oldSelf.end) || has(self.end))",message="what became of a reissue is not removed: outcome, resolution and end"
type Reissue struct {
	// number of the reissue; reissues are counted, never ordered by time.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=500
	Number int32 `json:"number"`

	// time at which the intent was written.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="time is immutable"
	Time metav1.MicroTime `json:"time"`

	// issuerRef is the issuer that the request named, and with whose key the
	// certificate is read from then on.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuerRef is immutable"
	IssuerRef IssuerRef `json:"issuerRef"`

	// beneficiary is who the certificate was reissued for.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="beneficiary is immutable"
	Beneficiary Beneficiary `json:"beneficiary"`

	// keySHA256 of the key in the signing request, hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keySHA256 is immutable"
	KeySHA256 string `json:"keySHA256"`

	// keyAlgorithm of that key, RSA or ECDSA.
	// +required
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyAlgorithm is immutable"
	KeyAlgorithm string `json:"keyAlgorithm"`

	// dcvMethod that the reissue asks for.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dcvMethod is immutable"
	DCVMethod DCVMethod `json:"dcvMethod"`

	// reason why the certificate was reissued, in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="reason is immutable"
	Reason string `json:"reason,omitempty"`

	// planUID is the plan on which a person licensed this reissue.
	// +kubebuilder:validation:Type=string
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="planUID is immutable"
	PlanUID types.UID `json:"planUID,omitempty"`

	// writer is the process that asked for the reissue.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="writer is immutable"
	Writer Writer `json:"writer"`

	// clusterUID is the UID of the namespace kube-system of the cluster that asked
	// for it.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterUID is immutable"
	ClusterUID types.UID `json:"clusterUID"`

	// keyFingerprint tells API keys apart without showing them.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyFingerprint is immutable"
	KeyFingerprint string `json:"keyFingerprint"`

	// source is what regfish said of the certificate before.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="source is immutable"
	Source ReissueSource `json:"source,omitempty"`

	// outcome of asking for it, once known.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="outcome is set once"
	Outcome *Outcome `json:"outcome,omitempty"`

	// resolution is what reading the certificate found out about an outcome that was
	// not known.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="resolution is set once"
	Resolution *Resolution `json:"resolution,omitempty"`

	// end of a reissue that regfish took.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="end is set once"
	End *ReissueEnd `json:"end,omitempty"`
}

// Takeover records that another cluster took the purchase over.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a takeover is immutable"
type Takeover struct {
	// number of the takeover.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number"`

	// clusterUID of the cluster that took it over.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	ClusterUID types.UID `json:"clusterUID"`

	// time of the takeover.
	// +required
	Time metav1.MicroTime `json:"time"`
}

// PurchaseSpec records what was decided, what was sent and how it ended. It
// survives a backup that drops status.
// +kubebuilder:validation:XValidation:rule="has(self.reason) == has(oldSelf.reason) && has(self.sourceCertificateID) == has(oldSelf.sourceCertificateID) && has(self.request) == has(oldSelf.request) && has(self.dcvEmails) == has(oldSelf.dcvEmails) && has(self.organizationID) == has(oldSelf.organizationID) && has(self.planUID) == has(oldSelf.planUID)",message="what was decided is immutable: reason, sourceCertificateID, request, dcvEmails, organizationID and planUID"
// +kubebuilder:validation:XValidation:rule="(!has(oldSelf.attempts) || has(self.attempts)) && (!has(oldSelf.reissues) || has(self.reissues)) && (!has(oldSelf.successors) || has(self.successors)) && (!has(oldSelf.certificateID) || has(self.certificateID)) && (!has(oldSelf.abandonTime) || has(self.abandonTime)) && (!has(oldSelf.takeovers) || has(self.takeovers))",message="what became of a purchase is not removed: attempts, reissues, successors, certificateID, abandonTime and takeovers"
type PurchaseSpec struct {
	// What a rule can say of one field stands at that field. For each field that a rule names
	// of its own object the API server copies the schema of all of them, with every write; the
	// rules above say only what may not go.

	// recordVersion of this record.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="recordVersion is immutable"
	RecordVersion int32 `json:"recordVersion"`

	// namesHash names the set of purchases that one order at a time may be
	// placed in: the first 16 hexadecimal digits of SHA-256 over the endpoint
	// and the names, without regard to a leading "www.".
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{16}$`
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="namesHash is immutable"
	NamesHash string `json:"namesHash"`

	// number of the purchase in that set; 0 for a plan, which stands for a
	// purchase that a person has to decide on and was never sent.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="number is immutable"
	Number int32 `json:"number"`

	// endpoint of the API that the order is placed at.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="endpoint is immutable"
	Endpoint string `json:"endpoint"`

	// issuerRef is the issuer that the request named.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuerRef is immutable"
	IssuerRef IssuerRef `json:"issuerRef"`

	// beneficiary is who the purchase was made for.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="beneficiary is immutable"
	Beneficiary Beneficiary `json:"beneficiary"`

	// action is New, Renew or Import.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="action is immutable"
	Action string `json:"action"`

	// reason for the action, in one sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="reason is immutable"
	Reason string `json:"reason,omitempty"`

	// sourceCertificateID is the certificate that a Renew renews.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sourceCertificateID is immutable"
	SourceCertificateID string `json:"sourceCertificateID,omitempty"`

	// sku that is bought.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sku is immutable"
	SKU string `json:"sku"`

	// commonName that is ordered.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="commonName is immutable"
	CommonName string `json:"commonName"`

	// dnsNames that are ordered, the common name among them.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=250
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dnsNames is immutable"
	DNSNames []string `json:"dnsNames"`

	// request is the certificate signing request, PEM; empty in an Import of a certificate
	// that was issued for a key of somebody else, which is reissued before it is handed out.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="request is immutable"
	Request []byte `json:"request,omitempty"`

	// dcvMethod that the order asks for.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dcvMethod is immutable"
	DCVMethod DCVMethod `json:"dcvMethod"`

	// dcvEmails that the order asks for the mail to be sent to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="dcvEmails is immutable"
	DCVEmails []string `json:"dcvEmails,omitempty"`

	// organizationID of the organization that the order is placed for.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="organizationID is immutable"
	OrganizationID string `json:"organizationID,omitempty"`

	// validityDays that are bought.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="validityDays is immutable"
	ValidityDays int32 `json:"validityDays"`

	// planUID is the plan on which a person licensed this purchase. It licenses no
	// other one.
	// +kubebuilder:validation:Type=string
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="planUID is immutable"
	PlanUID types.UID `json:"planUID,omitempty"`

	// attempts to place the order. Each is written before the order is sent.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="oldSelf.all(o, self.exists(n, n.number == o.number))",message="attempts are only added"
	Attempts []Attempt `json:"attempts,omitempty"`

	// reissues of the certificate, which cost nothing. Each is written before it is asked
	// for.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:XValidation:rule="self.all(r, r.number <= size(self))",message="reissues are numbered from 1 without gaps"
	// +kubebuilder:validation:XValidation:rule="size(self) >= size(oldSelf)",message="reissues are only added"
	Reissues []Reissue `json:"reissues,omitempty"`

	// successors announce later purchases of the same names.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="oldSelf.all(o, self.exists(n, n.number == o.number))",message="successors are only added"
	Successors []Successor `json:"successors,omitempty"`

	// certificateID is the vendor's id of the certificate. It is set once: by
	// the vendor's answer to the order, by its key when it was found in the account,
	// or at the creation of an Import.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="certificateID is set once"
	CertificateID string `json:"certificateID,omitempty"`

	// abandonTime is when a person gave the purchase up.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="abandonTime is set once"
	AbandonTime *metav1.MicroTime `json:"abandonTime,omitempty"`

	// takeovers by other clusters than the one that made the purchase. The last one
	// holds it; others read it only.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="oldSelf.all(o, self.exists(n, n.number == o.number))",message="takeovers are only added"
	Takeovers []Takeover `json:"takeovers,omitempty"`
}

// PurchaseStatus is what the vendor last said about a purchase.
type PurchaseStatus struct {
	// state in one word; see docs/spec for each. It is derived from conditions.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	State State `json:"state,omitempty"`

	// message says in one sentence what is waited for and who has to act.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// vendor is what regfish last said.
	// +optional
	Vendor *Vendor `json:"vendor,omitempty"`

	// completionURL is the page on which a person finishes the order.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	CompletionURL string `json:"completionURL,omitempty"`

	// dcv lists the records that prove control of the names.
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

	// contractNotBefore is the beginning of what was paid for.
	// +optional
	ContractNotBefore *metav1.Time `json:"contractNotBefore,omitempty"`

	// contractNotAfter is the end of what was paid for.
	// +optional
	ContractNotAfter *metav1.Time `json:"contractNotAfter,omitempty"`

	// reissues is how many reissues regfish took.
	// +optional
	Reissues int32 `json:"reissues,omitempty"`

	// beneficiaryGoneSince is since when the Certificate that the purchase was last used
	// for has not existed. After 24 hours a Certificate of another name may go on with it.
	// +optional
	BeneficiaryGoneSince *metav1.Time `json:"beneficiaryGoneSince,omitempty"`

	// conditions of the purchase: Placed, Held, ActionRequired, Issued, and
	// DuplicateFound where there is one.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RegfishPurchase is one entry of the ledger: what regfish bills.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rfp,categories=cert-manager
// +kubebuilder:selectablefield:JSONPath=`.spec.namesHash`
// +kubebuilder:selectablefield:JSONPath=`.spec.beneficiary.namespace`
// +kubebuilder:selectablefield:JSONPath=`.spec.beneficiary.certificateName`
// +kubebuilder:selectablefield:JSONPath=`.spec.certificateID`
// +kubebuilder:selectablefield:JSONPath=`.spec.action`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.beneficiary.namespace`
// +kubebuilder:printcolumn:name="Certificate",type=string,JSONPath=`.spec.beneficiary.certificateName`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="SKU",type=string,JSONPath=`.spec.sku`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.spec.certificateID`
// +kubebuilder:printcolumn:name="Reissues",type=integer,JSONPath=`.status.reissues`
// +kubebuilder:printcolumn:name="Contract Until",type=string,JSONPath=`.status.contractNotAfter`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Common Name",type=string,priority=1,JSONPath=`.spec.commonName`
// +kubebuilder:printcolumn:name="Completion URL",type=string,priority=1,JSONPath=`.status.completionURL`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
type RegfishPurchase struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec records what was decided, what was sent and how it ended.
	// +required
	Spec PurchaseSpec `json:"spec"`

	// status is what the vendor last said.
	// +optional
	Status PurchaseStatus `json:"status,omitempty"`
}

// RegfishPurchaseList is a list of RegfishPurchases.
// +kubebuilder:object:root=true
type RegfishPurchaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RegfishPurchase `json:"items"`
}
