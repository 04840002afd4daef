// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

const (
	// maxListBytes bounds the list of certificates: a hundred thousand large
	// rows. The list has no pages, so it is read as one stream.
	maxListBytes = 256 << 20
	// maxDownloadBytes bounds a certificate with its chain. It is what
	// cert-manager accepts as a chain; nothing larger could be published.
	maxDownloadBytes = 95_000
)

// Certificates hands every certificate of the account to each, in the order in
// which they arrive. Only nil means that the list was read to its end and said
// that it succeeded; rows that were handed over before an error prove that
// those certificates exist, but never that another does not. An error of each
// stops the reading and is returned as it is.
//
// The vendor documents neither pages nor filters nor an order. See
// https://regfish.com/docs/reference.
func (c *Client) Certificates(ctx context.Context, each func(Certificate) error) error {
	return c.do(ctx, call{op: "list certificates", method: http.MethodGet, path: []string{"tls", "certificate"}},
		maxListBytes, c.certificates(each))
}

// certificates returns a take that decodes an array of certificates.
func (c *Client) certificates(each func(Certificate) error) func(*decoder) error {
	return rows(func(raw json.RawMessage) error {
		cert, err := c.certificate(raw)
		if err != nil {
			return err
		}
		if err := each(cert); err != nil {
			return &callbackError{err}
		}
		return nil
	})
}

// Certificate reads one certificate. An id that the account does not have is
// KindNotFound. See https://regfish.com/docs/recipes/tls-explicit-renewal.
func (c *Client) Certificate(ctx context.Context, id string) (Certificate, error) {
	var cert Certificate
	err := c.do(ctx, call{op: "read certificate", method: http.MethodGet, path: []string{"tls", "certificate", id}},
		maxAnswerBytes, func(d *decoder) error {
			var raw json.RawMessage
			err := d.Decode(&raw)
			if err == nil {
				cert, err = c.certificate(raw)
			}
			return err
		})
	if err != nil {
		return Certificate{}, err
	}
	return cert, nil
}

// certificate decodes one certificate. One without an id is an error: whoever
// looks for an order in a list could not tell which order it is.
func (c *Client) certificate(raw json.RawMessage) (Certificate, error) {
	var cert Certificate
	// Not json.Unmarshal, which would go over all of a row twice more: a list has thousands.
	if err := cert.UnmarshalJSON(c.withoutKey(raw)); err != nil {
		return Certificate{}, err
	}
	if cert.ID == "" {
		return Certificate{}, errNoID
	}
	return cert, nil
}

// Download reads the certificate and its issuers as PEM, as they come: whether
// it is the certificate that was asked for is for the caller to check, and while
// a reissue runs it is the old one. KindConflict means not ready yet, which the
// vendor answers even for some time after the status is issued; KindUnreadable
// means that the answer is something else than PEM, such as a web page, or
// larger than any certificate.
func (c *Client) Download(ctx context.Context, id string) ([]byte, error) {
	call := call{op: "download certificate", method: http.MethodGet, path: []string{"tls", "certificate", id, "download", "pem"}}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, call, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if !isSuccess(resp.StatusCode) {
		return nil, c.statusError(call.op, resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDownloadBytes+1))
	if err != nil {
		return nil, c.transportError(call.op, resp.StatusCode, err)
	}
	// The content type is not documented, so only that of a web page counts.
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case len(data) > maxDownloadBytes:
		err = errTooLarge
	case media == "text/html" || bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")):
		err = errHTML
	case !bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")):
		err = errNotPEM
	}
	if err != nil {
		return nil, c.readError(call.op, resp.StatusCode, err)
	}
	return data, nil
}
