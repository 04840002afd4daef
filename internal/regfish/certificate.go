// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Values of Certificate.Status. The vendor publishes no complete list, so a
// value that is not among these is possible and means neither success nor
// failure.
const (
	StatusPending        = "pending"
	StatusIssued         = "issued"
	StatusExpired        = "expired"
	StatusCancelled      = "cancelled"
	StatusOrderCancelled = "order_cancelled"
	StatusRejected       = "rejected"
	StatusUnknown        = "unknown"
)

// Values of OrderRequest.DCVMethod and Validation.Method.
const (
	DCVMethodCNAME = "dns-cname-token"
	DCVMethodEmail = "email"
)

// Certificate is one certificate order as the vendor describes it. The id stays
// the same while an order is staged, validated, issued and reissued.
// See https://regfish.com/docs/reference/create-certificate; fields that page
// does not show are those the vendor's own client reads.
type Certificate struct {
	ID         string   `json:"id"`
	Status     string   `json:"status"`
	CommonName string   `json:"common_name"`
	DNSNames   []string `json:"dns_names"` // with or without the common name
	Product    string   `json:"product"`   // what an order calls the SKU
	Provider   string   `json:"provider"`  // the CA behind the vendor

	OrderState     string `json:"order_state"`
	ActionRequired bool   `json:"action_required"` // staged: nothing has gone to the CA yet
	PendingReason  string `json:"pending_reason"`  // may be filled on an issued certificate
	PendingMessage string `json:"pending_message"`
	CompletionURL  string `json:"completion_url"`

	OrganizationID string        `json:"organization_id"` // empty for null
	Organization   *Organization `json:"organization"`

	ValidityDays     int  `json:"validity_days"` // the term bought, not the term issued
	RenewalBonusDays *int `json:"renewal_bonus_days"`

	CertificatePEMAvailable bool   `json:"certificate_pem_available"`
	SerialNumber            string `json:"serial_number"` // notation undocumented

	ValidFrom          *time.Time `json:"valid_from"` // of the certificate served now
	ValidUntil         *time.Time `json:"valid_until"`
	ContractValidFrom  *time.Time `json:"contract_valid_from"` // may outlive the certificate
	ContractValidUntil *time.Time `json:"contract_valid_until"`
	LastStatusCheck    *time.Time `json:"last_status_check"` // when regfish last asked the CA

	RenewalSupported bool `json:"renewal_supported"`
	ReissueSupported bool `json:"reissue_supported"`

	RevocationScope        string `json:"revocation_scope"`
	RevocationPendingScope string `json:"revocation_pending_scope"`

	OrderCancellable      bool       `json:"order_cancellable"`
	OrderCancellationMode string     `json:"order_cancellation_mode"`
	OrderCancellableUntil *time.Time `json:"order_cancellable_until"`

	Validation *Validation `json:"validation"` // may stay after issuance
	Reissue    *Reissue    `json:"reissue"`    // the running or the last one
}

// Validation says how control over the names is to be shown.
type Validation struct {
	Method       string      `json:"method"`
	DNSRecords   []DNSRecord `json:"dns_records"`
	EmailTargets []string    `json:"email_targets"`
}

// DNSRecord is a record the CA looks for, as it came: the vendor writes names
// and values with a trailing dot in some places and without in others.
type DNSRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Reissue is the running or the last reissue of a certificate. Status is
// pending, processing or pending_approval while it runs, then issued,
// cancelled, rejected or failed, as far as the vendor's client knows.
type Reissue struct {
	ID            string      `json:"id"` // a number at the vendor
	Status        string      `json:"status"`
	CommonName    string      `json:"common_name"`
	DNSNames      []string    `json:"dns_names"`
	OrderState    string      `json:"order_state"`
	RequestedAt   *time.Time  `json:"requested_at"`
	LastUpdatedAt *time.Time  `json:"last_updated_at"`
	Validation    *Validation `json:"validation"`
}

// Names returns the common name and the DNS names as one sorted list without
// duplicates, in lower case and without a trailing dot. The vendor repeats the
// common name among the DNS names or leaves it out; this hides the difference.
func (c Certificate) Names() []string {
	names := make([]string, 0, len(c.DNSNames)+1)
	for _, name := range append([]string{c.CommonName}, c.DNSNames...) {
		name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// UnmarshalJSON decodes what the vendor sends, in the spellings it is known to
// use: an organization id is a string, a number (older answers) or null.
func (c *Certificate) UnmarshalJSON(data []byte) error {
	type plain Certificate
	wire := struct {
		*plain
		OrganizationID        text   `json:"organization_id"`
		ValidFrom             moment `json:"valid_from"`
		ValidUntil            moment `json:"valid_until"`
		ContractValidFrom     moment `json:"contract_valid_from"`
		ContractValidUntil    moment `json:"contract_valid_until"`
		LastStatusCheck       moment `json:"last_status_check"`
		OrderCancellableUntil moment `json:"order_cancellable_until"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	c.OrganizationID = string(wire.OrganizationID)
	c.ValidFrom = wire.ValidFrom.Time
	c.ValidUntil = wire.ValidUntil.Time
	c.ContractValidFrom = wire.ContractValidFrom.Time
	c.ContractValidUntil = wire.ContractValidUntil.Time
	c.LastStatusCheck = wire.LastStatusCheck.Time
	c.OrderCancellableUntil = wire.OrderCancellableUntil.Time
	return nil
}

// UnmarshalJSON accepts the id as a string, a number or null.
func (r *Reissue) UnmarshalJSON(data []byte) error {
	type plain Reissue
	wire := struct {
		*plain
		ID            text   `json:"id"`
		RequestedAt   moment `json:"requested_at"`
		LastUpdatedAt moment `json:"last_updated_at"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	r.ID = string(wire.ID)
	r.RequestedAt = wire.RequestedAt.Time
	r.LastUpdatedAt = wire.LastUpdatedAt.Time
	return nil
}

// text is a string that the vendor sometimes sends as a number or as null.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*t = ""
		return nil
	}
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return err
	}
	*t = text(number)
	return nil
}

// moment is a time that may be absent, null, empty or Go's zero time; all of
// these mean unknown. So does text that is not RFC 3339: one odd date must not
// make a whole list of certificates unreadable, and everyone who reads a date
// has to handle an absent one anyway.
type moment struct{ *time.Time }

func (m *moment) UnmarshalJSON(data []byte) error {
	var s string
	if len(data) > 1 && data[0] == '"' && bytes.IndexByte(data, '\\') < 0 {
		// No date has anything escaped in it, and a row has six of them.
		s = string(data[1 : len(data)-1])
	} else if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	m.Time = nil
	// An offset can move a date out of the years that can be encoded again.
	t, err := time.Parse(time.RFC3339, s)
	if t = t.UTC(); err == nil && !t.IsZero() && t.Year() >= 0 && t.Year() <= 9999 {
		m.Time = &t
	}
	return nil
}
