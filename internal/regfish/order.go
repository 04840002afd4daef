// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// OrderRequest is an order, or the renewal of an earlier one. See
// https://regfish.com/docs/reference/create-certificate.
type OrderRequest struct {
	SKU                    string   `json:"sku"`
	CommonName             string   `json:"common_name"`
	DNSNames               []string `json:"dns_names,omitempty"`
	CSR                    string   `json:"csr"` // PEM
	DCVMethod              string   `json:"dcv_method"`
	DCVEmails              []string `json:"dcv_emails,omitempty"`
	OrganizationID         string   `json:"org_id,omitempty"`
	RenewalOfCertificateID string   `json:"renewal_of_certificate_id,omitempty"`
	ValidityDays           int      `json:"validity_days,omitempty"` // 0: the vendor's default
}

// Outcome is what is known about an order after it was, or was not, sent.
type Outcome int

const (
	// Accepted: the order exists, and its id is known.
	Accepted Outcome = iota + 1
	// Rejected: the vendor said in its own words that there is no order.
	Rejected
	// NotSent: no byte of the order left, or it was turned away at the door
	// (429). There is no order.
	NotSent
	// Unknown: there may be an order. It must not be sent again before somebody
	// has looked.
	Unknown
)

// String returns the name of the constant.
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "Accepted"
	case Rejected:
		return "Rejected"
	case NotSent:
		return "NotSent"
	case Unknown:
		return "Unknown"
	default:
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
}

// OrderResult is the result of Order.
type OrderResult struct {
	Outcome Outcome
	// Certificate is set when Accepted. If the vendor's description of it could
	// not be understood, it holds the id alone.
	Certificate Certificate
	// Status is the HTTP status, 0 without an answer.
	Status int
	// Answered is set when the vendor itself said, in its own form, that it failed.
	// A lost answer and that of a proxy in between do not set it.
	Answered bool
	// Err says why, nil when Accepted.
	Err *Error
}

const opOrder = "place order"

// Order places an order or a renewal. It is the only method that costs money
// (https://regfish.com/docs/reference/create-certificate), and the vendor has
// no idempotency key: an order that is sent twice is bought twice.
//
// The order is sent once, on a connection of its own that is neither pooled nor
// upgraded nor redirected. It is written by hand because the rules by which
// http.Transport re-sends a request differ between its protocols and change
// between releases of Go. After the timeout nothing of it is delivered any
// more, not even what the kernel still holds: the connection is reset.
//
// When the connection stands, and just before the first byte of the order is
// written, mayWrite is asked; its error means that nothing is written. A nil
// mayWrite refuses. See Outcome for what the result means.
func (c *Client) Order(ctx context.Context, r OrderRequest, mayWrite func() error) OrderResult {
	return c.sendOnce(ctx, call{op: opOrder, method: http.MethodPost, path: []string{"tls", "certificate"}, body: r}, mayWrite)
}

// sendOnce sends a call in the way that Order describes.
func (c *Client) sendOnce(ctx context.Context, call call, mayWrite func() error) OrderResult {
	ctx, cancel := context.WithTimeout(ctx, c.orderTimeout)
	defer cancel()

	request, err := c.encode(ctx, call)
	if err != nil {
		return OrderResult{Outcome: NotSent, Err: &Error{Op: call.op, Kind: KindInvalid, Message: "it cannot be encoded"}}
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return OrderResult{Outcome: NotSent, Err: c.sendError(ctx, call.op, 0, err)}
	}
	defer conn.close()

	if mayWrite == nil {
		mayWrite = func() error { return errors.New("nobody vouches for the order") }
	}
	if err := mayWrite(); err != nil {
		return OrderResult{Outcome: NotSent, Err: &Error{Op: call.op, Kind: KindRefused, Err: err,
			Message: c.words("not sent: "+err.Error(), "")}}
	}
	if err := conn.arm(ctx); err != nil {
		return OrderResult{Outcome: NotSent, Err: c.sendError(ctx, call.op, 0, err)}
	}
	// From here on there may be an order.
	if _, err := conn.tls.Write(request); err != nil {
		return OrderResult{Outcome: Unknown, Err: c.sendError(ctx, call.op, 0, err)}
	}
	resp, err := conn.answer()
	if err != nil {
		return OrderResult{Outcome: Unknown, Err: c.sendError(ctx, call.op, 0, err)}
	}
	defer func() {
		// In this order: a body reads what is left before it closes, which may
		// take for ever.
		conn.close()
		_ = resp.Body.Close()
	}()
	return c.result(ctx, call.op, resp)
}

// encode returns the bytes of the whole HTTP request, so that they can be
// written in one piece.
func (c *Client) encode(ctx context.Context, call call) ([]byte, error) {
	body, err := json.Marshal(call.body)
	if err != nil {
		return nil, err
	}
	address, err := c.address(call.path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, call.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	c.setHeaders(req)
	req.Header.Set("Accept", "application/json")
	req.Close = true
	var encoded bytes.Buffer
	if err := req.Write(&encoded); err != nil {
		return nil, err
	}
	return encoded.Bytes(), nil
}

// result reads the answer and decides what it says about what was sent. In
// doubt the outcome is Unknown: that costs a look, while a wrong Rejected or
// NotSent costs a second purchase.
func (c *Client) result(ctx context.Context, op string, resp *http.Response) OrderResult {
	var cert Certificate
	e, err := newDecoder(resp.Body, maxAnswerBytes, maxValueBytes).envelope(func(d *decoder) (err error) {
		cert, err = c.ordered(d)
		return err
	})
	status := resp.StatusCode
	result := OrderResult{Outcome: Unknown, Status: status}
	switch {
	case isSuccess(status) && err != nil:
		result.Err = c.sendError(ctx, op, status, err)
	case isSuccess(status) && !e.succeeded():
		result.Err = &Error{Op: op, Status: status, Code: e.code, Kind: KindUnreadable,
			Message: c.words(e.message, string(errNoSuccess))}
	case isSuccess(status) && cert.ID == "":
		result.Err = c.readError(op, status, errNoID)
	case isSuccess(status):
		result.Outcome, result.Certificate = Accepted, cert
	default:
		if err != nil {
			e = envelope{} // not the vendor's words
		}
		result.Err, result.Answered = c.answerError(op, status, resp.Header, e), e.refused()
		switch {
		case cert.ID != "" || e.succeeded():
			// A refusal that names an order is no refusal.
		case status == http.StatusTooManyRequests:
			result.Outcome = NotSent
		case e.refused() && refuses(status):
			result.Outcome = Rejected
		}
	}
	return result
}

// refuses tells whether a status, together with the vendor's own words, means
// that no order was made. A proxy in between uses the same numbers, but not the
// words; and 408 and every 5xx may come after the vendor has called the CA.
func refuses(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
}

// ordered decodes the certificate that was ordered. If all but its id cannot be
// understood, it has the id alone: an order that was paid must not be lost
// because the vendor changed the form of another field.
func (c *Client) ordered(d *decoder) (Certificate, error) {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return Certificate{}, err
	}
	if cert, err := c.certificate(raw); err == nil {
		return cert, nil
	}
	var only struct {
		ID text `json:"id"`
	}
	_ = json.Unmarshal(raw, &only) // what has no id that can be read has none
	return Certificate{ID: string(only.ID)}, nil
}

// sendError is readError, but for the end of the context: it is brought about by
// closing the connection, whose errors then say nothing.
func (c *Client) sendError(ctx context.Context, op string, status int, err error) *Error {
	if cause := ctx.Err(); cause != nil {
		err = cause
	}
	return c.readError(op, status, err)
}

// orderConn is the connection of one order.
type orderConn struct {
	tls  *tls.Conn
	raw  net.Conn
	stop func() bool
}

// connect makes a connection on which nothing of an order has been sent yet.
func (c *Client) connect(ctx context.Context) (*orderConn, error) {
	endpoint, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, err
	}
	port := endpoint.Port()
	if port == "" {
		port = "443"
	}
	dial := c.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(endpoint.Hostname(), port))
	if err != nil {
		return nil, err
	}
	// Closing discards what was not sent and resets the connection. Without it
	// the kernel goes on delivering the order after the caller was told that
	// its time is over.
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	} else if c.dial == nil {
		err = errors.New("connection is not TCP")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	cfg := c.tls.Clone()
	cfg.ServerName = endpoint.Hostname()
	// Full-sized records from the start: the order leaves in one write and not
	// in slices, between which the process could be stopped.
	cfg.DynamicRecordSizingDisabled = true
	order := &orderConn{tls: tls.Client(conn, cfg), raw: conn}
	if err := order.tls.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	order.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return order, nil
}

// arm makes the kernel give up the connection at the deadline of ctx even if
// this process cannot, and tells whether there is time left at all.
func (o *orderConn) arm(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	if left <= 0 {
		return context.DeadlineExceeded
	}
	tcp, ok := o.raw.(*net.TCPConn)
	if !ok {
		// No kernel holds anything back.
		return nil
	}
	return setUserTimeout(tcp, left)
}

// answer reads the head of the answer and whatever only informs before it. All
// that is read, the body included, is bounded together.
func (o *orderConn) answer() (*http.Response, error) {
	r := bufio.NewReader(io.LimitReader(o.tls, maxHeaderBytes+maxAnswerBytes))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil || resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}

func (o *orderConn) close() {
	o.stop()
	_ = o.raw.Close()
}
