// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// The vendor's codes in answers of the DNS API.
const (
	codeRecordNotFound = 15001 // also: the zone is not one of this account
	codeRecordExists   = 15003
)

// Record is a DNS record. See https://regfish.com/docs/reference/patch-record-by-rrid.
type Record struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"` // absolute, with a trailing dot, in answers
	Type       string `json:"type"`
	Data       string `json:"data"`
	TTL        int    `json:"ttl"` // seconds, 60 to 604800; 0 in CreateRecord: the vendor's default
	Annotation string `json:"annotation"`
	Priority   int    `json:"priority"`   // MX
	Tag        string `json:"tag"`        // CAA
	Flags      int    `json:"flags"`      // CAA
	Auto       bool   `json:"auto"`       // meaning undocumented
	Active     bool   `json:"active"`     // meaning undocumented
	Created    int64  `json:"ts_created"` // unit undocumented
	Updated    int64  `json:"ts_updated"` // unit undocumented
}

// Records lists the records of the zone domain, which is written without a
// trailing dot. KindZoneNotFound means that the account has no such zone; the
// vendor is known to say so in three ways: 404, 200 without success, and 500.
func (c *Client) Records(ctx context.Context, domain string) ([]Record, error) {
	var records []Record
	err := c.do(ctx, call{op: "list DNS records", method: http.MethodGet,
		path: []string{"dns", strings.TrimSuffix(domain, "."), "rr"}}, maxAnswerBytes, all(c, &records))
	if err != nil {
		var e *Error
		if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Code == codeRecordNotFound || e.Status == http.StatusInternalServerError) {
			e.Kind = KindZoneNotFound
		}
		return nil, err
	}
	return records, nil
}

// CreateRecord creates a record with the name, type, data, TTL and annotation
// of r; the vendor finds the zone from the name. A record that is there already
// is a success. The id in the result may be 0, because the vendor does not send
// one in every answer.
func (c *Client) CreateRecord(ctx context.Context, r Record) (Record, error) {
	// Relative names would be completed with a zone that we did not choose.
	r.Name = strings.TrimSuffix(r.Name, ".") + "."
	request := struct {
		Name       string `json:"name"`
		Type       string `json:"type"`
		Data       string `json:"data"`
		TTL        int    `json:"ttl,omitempty"`
		Annotation string `json:"annotation,omitempty"`
	}{r.Name, r.Type, r.Data, r.TTL, r.Annotation}
	created := r
	err := c.do(ctx, call{op: "create DNS record", method: http.MethodPost,
		path: []string{"dns", "rr"}, body: request, bare: true}, maxAnswerBytes, one(&created))
	if err == nil {
		return created, nil
	}
	var e *Error
	if errors.As(err, &e) {
		switch {
		case e.Status == http.StatusExpectationFailed, e.Code == codeRecordExists:
			return r, nil
		case e.Status == http.StatusNotFound, e.Code == codeRecordNotFound:
			e.Kind = KindZoneNotFound
		}
	}
	return Record{}, err
}

// DeleteRecord deletes a record. One that is not there is a success.
func (c *Client) DeleteRecord(ctx context.Context, id int64) error {
	err := c.do(ctx, call{op: "delete DNS record", method: http.MethodDelete,
		path: []string{"dns", "rr", strconv.FormatInt(id, 10)}, bare: true}, maxAnswerBytes, nil)
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Code == codeRecordNotFound) {
		return nil
	}
	return err
}
