// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/x509"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Want is what an approved, valid request asks to be bought.
type Want struct {
	Beneficiary v1alpha1.Beneficiary
	Issuer      v1alpha1.IssuerRef
	Endpoint    string // canonical
	Request     *pki.Request
	// SKU to buy: the issuer's, or its wildcardSKU where a name is a wildcard. Empty
	// while it is not known.
	SKU          string
	ValidityDays int32
	// OrganizationID that the order is placed for; empty for domain-validated
	// products.
	OrganizationID string
	DCVMethod      v1alpha1.DCVMethod
	// DCVEmails are the addresses that the order asks for, with DCVMethodEmail.
	DCVEmails []string
	// Publisher of the validation records, for the sentence that asks for them.
	Publisher v1alpha1.DCVPublisher
	// Reuse says whether what is paid for is used again.
	Reuse v1alpha1.ReusePolicy
	// Source is the certificate of the account that the request asks to be used instead of a
	// first order; empty if it asks for none.
	Source string
	// Labels of the request, copied onto the purchase for people.
	Labels map[string]string
}

// NamesHash names the set of purchases that w belongs to.
func (w Want) NamesHash() string { return pki.NamesHash(w.Endpoint, w.Request.DNSNames) }

// Facts is everything a decision depends on.
type Facts struct {
	// Now is the time of the decision.
	Now time.Time
	// Want is what is asked for.
	Want Want
	// Asked is when the request was made.
	Asked time.Time
	// Purchases are all records with the names hash of Want, plans included.
	Purchases []v1alpha1.RegfishPurchase
	// Elsewhere are the purchases of the same beneficiary at other endpoints.
	Elsewhere []v1alpha1.RegfishPurchase
	// Live has the UIDs of the requests that exist, are not being deleted and
	// have neither a certificate nor a final condition. Only the requests of the last
	// attempts of purchases that were never placed are looked up.
	Live map[types.UID]bool
	// Cluster is the UID of the cluster that the decision is made in.
	Cluster types.UID
	// Issuer is why the issuer cannot be used; nil if it can.
	Issuer *IssuerProblem
	// Override is why an annotation of the request cannot be followed; empty if there is
	// nothing to refuse.
	Override string
	// Slots is the use of the issuer's purchase limit.
	Slots Slots
	// InNamespace is the use of what the request's namespace may take of it; nil if that
	// is all.
	InNamespace *Slots
	// Ahead is who gets a slot first; only known to decisions that wait.
	Ahead Ahead
	// ReplacesNotAfter is when the certificate that the Certificate has now expires; only
	// known where the limit is short.
	ReplacesNotAfter *metav1.Time
	// Certificate owns the request; nil if none does or it is gone. It is only
	// read where a decision may depend on it.
	Certificate *cmapi.Certificate
	// Sources is what regfish says of the certificates of the lineage, by their ids; nil
	// until it was asked.
	Sources map[string]Source
	// Baseline is what the account holds that shares a name with Want; nil until
	// it was asked.
	Baseline *Baseline
}

// IssuerProblem is why an issuer cannot be used.
type IssuerProblem struct {
	// Reason of Placed that tells it, such as IssuerNotReady.
	Reason string
	// Message for the request, one sentence.
	Message string
}

// Baseline is what the account held just before an order.
type Baseline struct {
	// IDs are all certificates that share a canonical name with the request.
	IDs []string
	// Unclaimed are those among them that no purchase of the ledger holds.
	Unclaimed []Candidate
}

// Candidate is a certificate of the account that no purchase holds.
type Candidate struct {
	Certificate regfish.Certificate
	// Leaf is the certificate as delivered; nil unless it was issued and could be
	// read.
	Leaf *x509.Certificate
	// Earlier is the CSR of an earlier request of the same Certificate that was
	// given exactly this certificate; nil if there is none.
	Earlier []byte
	// Gone says that it was in the account at an earlier reading and could not be read
	// at the last one.
	Gone bool
	// Of is the purchase whose order is being placed and that this may be the order
	// of; empty if there is none.
	Of string
}
