// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
	"strings"
	"time"
)

// certificateView is the certificate object of the vendor's documentation.
// Fields that the example of a new order does not have are left out until they
// have a value.
type certificateView struct {
	ID                      string         `json:"id,omitempty"`
	Status                  string         `json:"status"`
	CommonName              string         `json:"common_name"`
	Product                 string         `json:"product"`
	Provider                string         `json:"provider"`
	DNSNames                []string       `json:"dns_names"`
	OrderState              string         `json:"order_state"`
	ActionRequired          bool           `json:"action_required"`
	PendingReason           string         `json:"pending_reason"`
	PendingMessage          string         `json:"pending_message"`
	CompletionURL           string         `json:"completion_url"`
	OrganizationID          *string        `json:"organization_id"`
	ValidityDays            int            `json:"validity_days"`
	CertificatePEMAvailable bool           `json:"certificate_pem_available"`
	Validation              validationView `json:"validation"`
	*issuedView
}

type issuedView struct {
	SerialNumber          string `json:"serial_number"`
	ValidFrom             string `json:"valid_from"`
	ValidUntil            string `json:"valid_until"`
	ContractValidFrom     string `json:"contract_valid_from"`
	ContractValidUntil    string `json:"contract_valid_until"`
	LastStatusCheck       string `json:"last_status_check"`
	RenewalSupported      bool   `json:"renewal_supported"`
	ReissueSupported      bool   `json:"reissue_supported"`
	OrderCancellable      bool   `json:"order_cancellable"`
	OrderCancellationMode string `json:"order_cancellation_mode"`
	OrderCancellableUntil string `json:"order_cancellable_until"`
}

type validationView struct {
	Method     string       `json:"method"`
	DNSRecords []recordView `json:"dns_records"`
}

type recordView struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// view describes the order as the vendor would at now, with the rewritings that
// faults ask for.
func (o *order) view(now time.Time, faults []Fault) certificateView {
	p := o.purchase
	v := certificateView{
		ID: p.ID, Status: o.statusAt(now), CommonName: p.CommonName, Product: p.SKU, Provider: "digicert",
		DNSNames: p.DNSNames, ValidityDays: p.ValidityDays,
		CertificatePEMAvailable: o.downloadable(now),
		Validation:              validationView{Method: "dns-cname-token"},
	}
	for _, record := range o.validations {
		v.Validation.DNSRecords = append(v.Validation.DNSRecords, recordView{record.name + ".", "CNAME", record.target + "."})
	}
	switch v.Status {
	case statusPending:
		v.OrderState = "PENDING"
		v.PendingReason = "validation_pending"
		v.PendingMessage = "The TLS certificate order is waiting for domain validation."
	case statusIssued, statusExpired:
		v.OrderState = "ISSUED"
	default:
		v.OrderState = strings.ToUpper(v.Status) // Invented: the vendor shows no such order
	}
	if cert := o.certificate; cert != nil {
		from, until := timestamp(cert.NotBefore), timestamp(cert.NotAfter)
		v.issuedView = &issuedView{
			SerialNumber: cert.SerialNumber.Text(16), // Invented: the notation
			ValidFrom:    from, ValidUntil: until, ContractValidFrom: from, ContractValidUntil: until,
			LastStatusCheck:  timestamp(now),
			OrderCancellable: now.Sub(cert.NotBefore) < 2*day, OrderCancellationMode: "revoke_issued",
			OrderCancellableUntil: timestamp(cert.NotBefore.Add(2 * day)), // as in the vendor's fixture
		}
	}
	if has(faults, FaultNoID) {
		v.ID = ""
	}
	if has(faults, FaultProductSpelling) {
		v.Product = strings.ToUpper(v.Product)
	}
	if has(faults, FaultCommonNameRepeated) {
		v.DNSNames = append([]string{v.CommonName}, v.DNSNames...)
	}
	if has(faults, FaultNoTrailingDots) {
		for i, record := range v.Validation.DNSRecords {
			record.Name, record.Value = strings.TrimSuffix(record.Name, "."), strings.TrimSuffix(record.Value, ".")
			v.Validation.DNSRecords[i] = record
		}
	}
	return v
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func acceptableKey(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve)
	default:
		return false
	}
}
