// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxMessageBytes bounds the vendor's words in an Error.
const maxMessageBytes = 256

// Kind says what went wrong in terms a caller can act on.
type Kind int

const (
	// KindNone is the kind of nil and of errors that are not of this package.
	KindNone Kind = iota
	// KindTransport: no answer, or an answer that broke off.
	KindTransport
	// KindUnauthorized: 401, the key is missing or wrong.
	KindUnauthorized
	// KindForbidden: 403, the key may not do this.
	KindForbidden
	// KindNotFound: 404.
	KindNotFound
	// KindConflict: 409, not possible in the present state; for a download: not
	// ready yet.
	KindConflict
	// KindInvalid: 400 or 422, or arguments this package refuses to send.
	KindInvalid
	// KindTooMany: 429; RetryAfter may be set.
	KindTooMany
	// KindUnavailable: 5xx; RetryAfter may be set.
	KindUnavailable
	// KindRedirect: 3xx. Redirects are never followed: a following client would
	// send the key, and for an order the order, to wherever it is told to.
	KindRedirect
	// KindUnreadable: HTML, undecodable, too large, or a 2xx that does not say
	// success.
	KindUnreadable
	// KindZoneNotFound: the DNS zone is not one of this account.
	KindZoneNotFound
	// KindRefused: the caller's own check refused to let the order be written.
	KindRefused
	// KindUnexpected: any other status; the vendor documents none.
	KindUnexpected
	// KindNotNow: this side did not send the request, because regfish asked to be left
	// alone, fails, or is called as often as may be. RetryAfter says when to try again.
	// No method of Client fails with it; those who limit its calls do.
	KindNotNow
)

// Error is what every method of Client fails with, but for errors of a
// caller's own callback. It never holds the key, an address with a path, a
// header or unbounded text of the vendor.
type Error struct {
	// Op is the operation, such as "list certificates".
	Op string
	// Status is the HTTP status, 0 without an answer.
	Status int
	// Code is the vendor's own code, 0 if it sent none.
	Code int
	// Message is what the vendor said, or what was wrong with the answer; at
	// most 256 bytes without control characters.
	Message string
	// Kind is never KindNone.
	Kind Kind
	// RetryAfter is how long the vendor asks to be left alone; 0 if it does not.
	RetryAfter time.Duration
	// Err is the cause, if it is one a caller can ask for with errors.Is:
	// context.Canceled, context.DeadlineExceeded or the error of a callback.
	Err error
}

// Error names the operation, the status and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
		if name := http.StatusText(e.Status); name != "" {
			b.WriteString(" " + name)
		}
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, " (code %d)", e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RetryAfter returns how long the vendor asked to be left alone in the first *Error in
// err's chain, 0 if it did not.
func RetryAfter(err error) time.Duration {
	var e *Error
	// OrderResult.Err is a nil *Error when the order was accepted.
	if errors.As(err, &e) && e != nil {
		return e.RetryAfter
	}
	return 0
}

// KindOf returns the kind of the first *Error in err's chain, else KindNone.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e.Kind
	}
	return KindNone
}

func kindOfStatus(status int) Kind {
	switch {
	case status >= 300 && status <= 399:
		return KindRedirect
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return KindInvalid
	case status == http.StatusUnauthorized:
		return KindUnauthorized
	case status == http.StatusForbidden:
		return KindForbidden
	case status == http.StatusNotFound:
		return KindNotFound
	case status == http.StatusConflict:
		return KindConflict
	case status == http.StatusTooManyRequests:
		return KindTooMany
	case status >= 500 && status <= 599:
		return KindUnavailable
	default:
		return KindUnexpected
	}
}

// maxRetryAfter bounds what a server can ask for: a slip of theirs, such as
// milliseconds for seconds, must not stop this side for months.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads Retry-After in both of its forms. A date counts from the
// server's own Date if there is one, so that the clocks need not agree.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(until.Sub(now), 0), maxRetryAfter)
}

// classify names an error of a connection in words of our own, and returns the
// cause if it is one that callers ask for.
func classify(err error) (class string, cause error) {
	var (
		timeout   net.Error
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "call was canceled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", context.DeadlineExceeded
	case errors.As(err, &dns):
		return "host name cannot be resolved", nil
	case errors.As(err, &authority):
		return "server certificate is signed by an unknown authority", nil
	case errors.As(err, &hostname):
		return "server certificate is for another host", nil
	case errors.As(err, &verify):
		return "server certificate is not valid", nil
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "server does not speak TLS", nil
	case errors.As(err, &alert):
		return "TLS handshake was refused", nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection was refused", nil
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection was reset", nil
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "host cannot be reached", nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection was closed before the answer was complete", nil
	default:
		return "connection failed", nil
	}
}
