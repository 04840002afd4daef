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
	ID                      string               `json:"id,omitempty"`
	Status                  string               `json:"status"`
	CommonName              string               `json:"common_name"`
	Product                 string               `json:"product"`
	Provider                string               `json:"provider"`
	DNSNames                []string             `json:"dns_names"`
	OrderState              string               `json:"order_state"`
	ActionRequired          bool                 `json:"action_required"`
	PendingReason           *string              `json:"pending_reason,omitempty"`
	PendingMessage          string               `json:"pending_message"`
	CompletionURL           *string              `json:"completion_url,omitempty"`
	OrganizationID          any                  `json:"organization_id"` // null, an id or its number
	Organization            *organizationSummary `json:"organization,omitempty"`
	ValidityDays            int                  `json:"validity_days"`
	CertificatePEMAvailable bool                 `json:"certificate_pem_available"`
	// Validation is absent while there is nothing to be done with it. Invented:
	// that it is then not there, rather than empty.
	Validation *validationView `json:"validation,omitempty"`
	Reissue    *reissueView    `json:"reissue,omitempty"`
	*issuedView
}

type issuedView struct {
	SerialNumber          string `json:"serial_number"`
	ValidFrom             string `json:"valid_from"`
	ValidUntil            string `json:"valid_until"`
	ContractValidFrom     string `json:"contract_valid_from"`
	ContractValidUntil    string `json:"contract_valid_until"`
	LastStatusCheck       string `json:"last_status_check"`
	RenewalBonusDays      *int   `json:"renewal_bonus_days,omitempty"`
	RenewalSupported      bool   `json:"renewal_supported"`
	ReissueSupported      bool   `json:"reissue_supported"`
	OrderCancellable      bool   `json:"order_cancellable"`
	OrderCancellationMode string `json:"order_cancellation_mode"`
	OrderCancellableUntil string `json:"order_cancellable_until"`
	RevocationScope       string `json:"revocation_scope,omitempty"`
}

type validationView struct {
	Method       string       `json:"method"`
	DNSRecords   []recordView `json:"dns_records,omitempty"`
	EmailTargets []string     `json:"email_targets,omitempty"`
}

type recordView struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// view describes the order as the vendor would at now, with its page under
// console, and with the rewritings that faults ask for.
func (o *order) view(now time.Time, faults []Fault, console string) certificateView {
	p, state := o.purchase, o.stateAt(now)
	v := certificateView{
		ID: p.ID, Status: state.Status, CommonName: p.CommonName, Product: p.SKU, Provider: "digicert",
		DNSNames: p.DNSNames, ValidityDays: p.ValidityDays,
		OrderState: state.OrderState, ActionRequired: o.waitsForCompletion(now),
		PendingReason: &state.PendingReason, PendingMessage: state.PendingMessage, CompletionURL: new(string),
		CertificatePEMAvailable: o.downloadable(now),
	}
	if v.ActionRequired {
		*v.CompletionURL = completionURL(console, p.ID)
	}
	if has(faults, FaultPendingLeft) && state.Status == statusIssued {
		*v.PendingReason, v.PendingMessage = stagedState.PendingReason, stagedState.PendingMessage
		*v.CompletionURL = completionURL(console, p.ID)
	}
	if o.organization != nil {
		summary := o.organization.summary(faults)
		v.OrganizationID, v.Organization = summary.ID, &summary
	}
	if !o.staged && o.lag == 0 {
		v.Validation = o.validationView()
	}
	if cert := o.certificate; cert != nil {
		from, until := timestamp(cert.NotBefore), timestamp(cert.NotAfter)
		v.issuedView = &issuedView{
			SerialNumber: cert.SerialNumber.Text(16), // Invented: the notation
			ValidFrom:    from, ValidUntil: until,
			ContractValidFrom: timestamp(o.begun), ContractValidUntil: timestamp(o.ends.Add(-time.Second)),
			LastStatusCheck: timestamp(now), RenewalBonusDays: o.bonusDays(),
			RenewalSupported: !o.options.NoRenewal, ReissueSupported: !o.options.NoReissue, RevocationScope: o.revoked,
			OrderCancellable: now.Sub(o.begun) < 2*day, OrderCancellationMode: "revoke_issued",
			OrderCancellableUntil: timestamp(o.begun.Add(2 * day)), // as in the vendor's fixture
		}
	}
	if o.running != nil && !has(faults, FaultNoReissue) {
		v.Reissue = o.running.view(o)
	}
	v.rewrite(faults)
	return v
}

func (o *order) validationView() *validationView {
	return viewOf(o.purchase.DCVMethod, o.validations, o.targets)
}

func viewOf(method string, records []validation, targets []string) *validationView {
	v := &validationView{Method: method, EmailTargets: targets}
	for _, record := range records {
		v.DNSRecords = append(v.DNSRecords, recordView{record.name + ".", "CNAME", record.target + "."})
	}
	return v
}

// rewrite makes of a view what faults ask for.
func (v *certificateView) rewrite(faults []Fault) {
	if has(faults, FaultNoID) {
		v.ID = ""
	}
	if has(faults, FaultShortRows) {
		v.Validation, v.Reissue, v.issuedView = nil, nil, nil
	}
	if has(faults, FaultProductSpelling) {
		v.Product = strings.ToUpper(v.Product)
	}
	if has(faults, FaultCommonNameRepeated) {
		v.DNSNames = append([]string{v.CommonName}, v.DNSNames...)
	}
	if has(faults, FaultNoTrailingDots) && v.Validation != nil {
		for i, record := range v.Validation.DNSRecords {
			record.Name, record.Value = strings.TrimSuffix(record.Name, "."), strings.TrimSuffix(record.Value, ".")
			v.Validation.DNSRecords[i] = record
		}
	}
	if has(faults, FaultNoPendingReason) {
		v.PendingReason = nil
	}
	if has(faults, FaultEmptyCompletionURL) {
		*v.CompletionURL = ""
	}
	if has(faults, FaultNoCompletionURL) {
		v.CompletionURL = nil
	}
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
