// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// DCVMethod is how regfish lets the certificate authority check that the
// requester controls the names.
// +kubebuilder:validation:Enum=CNAME;Email
type DCVMethod string

const (
	// DCVMethodCNAME proves control with a CNAME record that the order names.
	DCVMethodCNAME DCVMethod = "CNAME"
	// DCVMethodEmail proves control by an answer to a mail that the certificate
	// authority sends.
	DCVMethodEmail DCVMethod = "Email"
)

// DCVPublisher is who puts the validation records into DNS.
// +kubebuilder:validation:Enum=External
type DCVPublisher string

// DCVPublisherExternal leaves DNS to automation outside this controller, which
// reads the records from the status of the RegfishOrder.
const DCVPublisherExternal DCVPublisher = "External"

// ReusePolicy is whether what is paid for is used again.
// +kubebuilder:validation:Enum=Auto;Never
type ReusePolicy string

const (
	// ReusePolicyAuto hands a certificate out again for the same key, has it reissued for
	// another one while its contract runs, and renews it afterwards.
	ReusePolicyAuto ReusePolicy = "Auto"
	// ReusePolicyNever buys a certificate for every request.
	ReusePolicyNever ReusePolicy = "Never"
)

// Override is something of an order that the annotations of a request may decide.
// +kubebuilder:validation:Enum=SourceCertificateID
type Override string

// OverrideSourceCertificateID lets the annotation source-certificate-id of a Certificate
// name a certificate of the account that is reissued for it instead of a first order.
const OverrideSourceCertificateID Override = "SourceCertificateID"

// SecretKeyReference names one key of a Secret. It has no namespace: a
// RegfishIssuer reads Secrets of its own namespace, a RegfishClusterIssuer those
// of the controller's cluster resource namespace, and nothing else.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in the Secret that holds the API key.
	// +optional
	// +default="api-key"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// DCV says how control of the requested names is proved.
// +kubebuilder:validation:XValidation:rule="!has(self.emails) || self.method == 'Email'",message="emails are only used with method Email: set method to Email, or remove emails"
type DCV struct {
	// method of domain control validation that orders ask for. CNAME: the order
	// names CNAME records, which stand in the status of the RegfishOrder. Email:
	// the certificate authority sends a mail, and a person follows the link in it.
	// +optional
	// +default="CNAME"
	Method DCVMethod `json:"method,omitempty"`

	// publisher of the validation records. External: your own DNS automation
	// reads them from the status of the RegfishOrder and sets them.
	// +optional
	// +default="External"
	Publisher DCVPublisher `json:"publisher,omitempty"`

	// emails are the addresses that orders with method Email ask for the mail to
	// be sent to. regfish and the certificate authority decide which addresses may
	// vouch for a name; those that the mail goes to stand in the status of the
	// RegfishOrder.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^[^@\s]+@[^@\s]+$`
	Emails []string `json:"emails,omitempty"`
}

// PurchaseLimit bounds how many orders an issuer may place in a rolling window.
// What exceeds it is queued and goes on by itself; it is never failed.
// +kubebuilder:validation:XValidation:rule="!has(self.window) || (duration(self.window) >= duration('1h') && duration(self.window) <= duration('720h'))",message="window must be between 1h and 720h"
type PurchaseLimit struct {
	// count of purchases that one window may hold; 0 stops purchases.
	// +optional
	// +default=50
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	Count *int32 `json:"count,omitempty"`

	// countPerNamespace is how many of them the requests of one namespace may take,
	// so that one tenant cannot use up what all share; 0 stops purchases of every
	// namespace. Without it a namespace may take them all.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	CountPerNamespace *int32 `json:"countPerNamespace,omitempty"`

	// window is the length of the rolling window, in whole hours' resolution:
	// a purchase leaves it at the end of the hour in which it turns that old.
	// +kubebuilder:validation:Type=string
	// +optional
	// +default="24h"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
	Window *metav1.Duration `json:"window,omitempty"`
}

// IssuerSpec says which regfish account is used and what is bought with it.
// RegfishIssuer and RegfishClusterIssuer share it.
type IssuerSpec struct {
	// apiKeySecretRef names the Secret that holds the regfish API key. It is read
	// anew at every use, so a rotated key needs no restart.
	// +required
	APIKeySecretRef SecretKeyReference `json:"apiKeySecretRef"`

	// url of the regfish API. It must be on the list of endpoints that whoever
	// runs the controller allows (--allowed-endpoints).
	// +optional
	// +default="https://api.regfish.com"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getEscapedPath() in ['', '/'] && size(url(self).getQuery()) == 0 && !self.contains('@') && !self.contains('#') && !self.contains('?')",message="url must be https://host[:port] without user, path, query or fragment"
	URL string `json:"url,omitempty"`

	// caBundle is a PEM bundle of certificate authorities that the API's server
	// certificate is checked against, instead of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	CABundle []byte `json:"caBundle,omitempty"`

	// sku of the product to buy, for example RapidSSL; compared without case
	// against the catalogue of the account.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SKU string `json:"sku"`

	// wildcardSKU of the product to buy when a requested name is a wildcard, for
	// example RapidSSLWildcard. Without it such requests wait. It may be the same
	// as sku, where that product takes wildcards.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	WildcardSKU string `json:"wildcardSKU,omitempty"`

	// organizationID of the organization that organization-validated products are
	// ordered for, for example hdl_7K9QW3M2ZT8HJ. It is not sent with
	// domain-validated products.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	OrganizationID string `json:"organizationID,omitempty"`

	// validityDays is the term to buy. Without it the longest that public
	// certificates may have on the day of the order is bought: 199, from
	// 2027-03-14 99, from 2029-03-14 46.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=199
	ValidityDays *int32 `json:"validityDays,omitempty"`

	// dcv says how control of the requested names is proved.
	// +optional
	// +default={}
	DCV DCV `json:"dcv,omitempty"`

	// purchaseLimit bounds the number of purchases in a rolling window.
	// +optional
	// +default={}
	PurchaseLimit PurchaseLimit `json:"purchaseLimit,omitempty"`

	// reusePolicy says whether what is paid for is used again. Auto: a certificate is
	// handed out again for the same key, reissued for another one while its contract
	// runs, and renewed afterwards. Never: every request is a purchase of its own.
	// +optional
	// +default="Auto"
	ReusePolicy ReusePolicy `json:"reusePolicy,omitempty"`

	// allowedOverrides are what the annotations of a Certificate may decide; none without
	// it. SourceCertificateID: certmanager.regfish.com/source-certificate-id names a
	// certificate of the account, bought elsewhere, that is used instead of a first order.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	AllowedOverrides []Override `json:"allowedOverrides,omitempty"`
}

// Product is what the vendor's catalogue says about a product.
type Product struct {
	// sku in the catalogue's own spelling, which is what orders are placed with.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SKU string `json:"sku"`

	// name of the product.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// validationLevel of the product, for example dv.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ValidationLevel string `json:"validationLevel,omitempty"`

	// organizationRequired says that the product can only be ordered for an
	// organization.
	// +optional
	OrganizationRequired bool `json:"organizationRequired,omitempty"`
}

// PurchaseBucket counts the purchases that one namespace made in one hour.
type PurchaseBucket struct {
	// hour in which the purchases were begun, truncated to the hour, UTC.
	// +required
	Hour metav1.Time `json:"hour"`

	// namespace of the CertificateRequests that were bought for.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// count of purchases begun.
	// +required
	Count int32 `json:"count"`
}

// IssuerPurchases is the use of the purchase limit.
type IssuerPurchases struct {
	// count of purchases begun in the present window.
	// +required
	Count int32 `json:"count"`

	// window lists them by hour and namespace, oldest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10000
	Window []PurchaseBucket `json:"window,omitempty"`

	// queued is how many orders wait for the limit. Renewals get the next slots, the
	// nearest expiry first, then what was asked for first.
	// +optional
	Queued int32 `json:"queued,omitempty"`

	// nextSlotTime is when the next purchase can be begun, while the limit is
	// reached.
	// +optional
	NextSlotTime *metav1.Time `json:"nextSlotTime,omitempty"`
}

// Ledger identifies the namespace that holds the purchases of an issuer.
type Ledger struct {
	// namespace of the RegfishPurchases.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// namespaceUID is the UID of that namespace, so that a namespace of the same
	// name in another installation is not taken for it.
	// +kubebuilder:validation:Type=string
	// +required
	// +kubebuilder:validation:MaxLength=64
	NamespaceUID types.UID `json:"namespaceUID"`
}

// IssuerStatus is what the controller observed of an issuer.
type IssuerStatus struct {
	// conditions of the issuer: Ready says whether it can be used, and if not,
	// what has to be done by whom.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// product is the catalogue's entry of spec.sku.
	// +optional
	Product *Product `json:"product,omitempty"`

	// wildcardProduct is the catalogue's entry of spec.wildcardSKU.
	// +optional
	WildcardProduct *Product `json:"wildcardProduct,omitempty"`

	// purchases is the use of spec.purchaseLimit.
	// +optional
	Purchases *IssuerPurchases `json:"purchases,omitempty"`

	// ledger is the one that records this issuer's purchases. It is set once; a
	// controller with another ledger does not spend for this issuer, since two
	// installations would otherwise buy everything twice.
	// +optional
	Ledger *Ledger `json:"ledger,omitempty"`
}

// RegfishIssuer lets the Certificates of its own namespace be bought at
// regfish.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rfi,categories=cert-manager
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="SKU",type=string,JSONPath=`.spec.sku`
// +kubebuilder:printcolumn:name="Purchases",type=integer,JSONPath=`.status.purchases.count`
// +kubebuilder:printcolumn:name="Limit",type=integer,JSONPath=`.spec.purchaseLimit.count`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RegfishIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which account is used and what is bought.
	// +required
	Spec IssuerSpec `json:"spec"`

	// status is what the controller observed.
	// +optional
	Status IssuerStatus `json:"status,omitempty"`
}

// RegfishIssuerList is a list of RegfishIssuers.
// +kubebuilder:object:root=true
type RegfishIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RegfishIssuer `json:"items"`
}

// RegfishClusterIssuer lets the Certificates of every namespace be bought at
// regfish.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rfci,categories=cert-manager
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="SKU",type=string,JSONPath=`.spec.sku`
// +kubebuilder:printcolumn:name="Purchases",type=integer,JSONPath=`.status.purchases.count`
// +kubebuilder:printcolumn:name="Limit",type=integer,JSONPath=`.spec.purchaseLimit.count`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RegfishClusterIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which account is used and what is bought.
	// +required
	Spec IssuerSpec `json:"spec"`

	// status is what the controller observed.
	// +optional
	Status IssuerStatus `json:"status,omitempty"`
}

// RegfishClusterIssuerList is a list of RegfishClusterIssuers.
// +kubebuilder:object:root=true
type RegfishClusterIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RegfishClusterIssuer `json:"items"`
}

// Issuer is either issuer kind.
//
// +kubebuilder:object:generate=false
type Issuer interface {
	runtime.Object
	metav1.Object
	// GetSpec returns the object's own spec, not a copy.
	GetSpec() *IssuerSpec
	// GetStatus returns the object's own status, not a copy.
	GetStatus() *IssuerStatus
	// Ref names the issuer as orders and purchases record it.
	Ref() IssuerRef
}

var (
	_ Issuer = &RegfishIssuer{}
	_ Issuer = &RegfishClusterIssuer{}
)

// GetSpec returns the object's own spec, not a copy.
func (i *RegfishIssuer) GetSpec() *IssuerSpec { return &i.Spec }

// GetStatus returns the object's own status, not a copy.
func (i *RegfishIssuer) GetStatus() *IssuerStatus { return &i.Status }

// Ref names the issuer as orders and purchases record it.
func (i *RegfishIssuer) Ref() IssuerRef {
	return IssuerRef{Kind: KindIssuer, Namespace: i.Namespace, Name: i.Name}
}

// GetSpec returns the object's own spec, not a copy.
func (i *RegfishClusterIssuer) GetSpec() *IssuerSpec { return &i.Spec }

// GetStatus returns the object's own status, not a copy.
func (i *RegfishClusterIssuer) GetStatus() *IssuerStatus { return &i.Status }

// Ref names the issuer as orders and purchases record it.
func (i *RegfishClusterIssuer) Ref() IssuerRef {
	return IssuerRef{Kind: KindClusterIssuer, Name: i.Name}
}
