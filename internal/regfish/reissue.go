// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"net/http"
)

// ReissueRequest asks for a certificate with another key, or with later dates, on an
// order that is paid already. See
// https://regfish.com/docs/reference/reissue-certificate.
type ReissueRequest struct {
	CSR       string `json:"csr"` // PEM
	DCVMethod string `json:"dcv_method"`
	// CommonName and DNSNames may be left out. What is sent has to be the list of the
	// order, exactly.
	CommonName string   `json:"common_name,omitempty"`
	DNSNames   []string `json:"dns_names,omitempty"`
}

const opReissue = "reissue certificate"

// Values of Reissue.Status, as far as the vendor's own client knows them.
const (
	ReissuePending         = "pending"
	ReissueProcessing      = "processing"
	ReissuePendingApproval = "pending_approval"
	ReissueIssued          = "issued"
	ReissueCancelled       = "cancelled"
	ReissueRejected        = "rejected"
	ReissueFailed          = "failed"
)

// Active reports whether the reissue runs: nothing final is known of it. A value that
// nobody knows counts as running, so that it is waited for and nothing is bought beside it.
func (r *Reissue) Active() bool {
	return r != nil && r.Status != "" && r.Status != ReissueIssued && !r.Failed()
}

// Failed reports whether the reissue ended without a certificate.
func (r *Reissue) Failed() bool {
	return r != nil && (r.Status == ReissueCancelled || r.Status == ReissueRejected || r.Status == ReissueFailed)
}

// Reissue asks for a reissue of the certificate with the id. The vendor makes no new
// order for it, so it is taken to be free; it is sent with the same care as an order all
// the same, because the vendor documents neither a price nor what a second reissue does to
// the first one. mayWrite and the result mean what they mean for Order; Accepted names the
// id of the certificate, which stays the same. Which errors the vendor answers with is
// documented nowhere; they are taken to be those of an order.
func (c *Client) Reissue(ctx context.Context, id string, r ReissueRequest, mayWrite func() error) OrderResult {
	return c.sendOnce(ctx, call{op: opReissue, method: http.MethodPost, path: []string{"tls", "certificate", id, "reissue"}, body: r}, mayWrite)
}
