// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultOrderTimeout bounds an order where Config names no other bound.
const DefaultOrderTimeout = 60 * time.Second

const (
	defaultTimeout = 30 * time.Second

	// maxAnswerBytes bounds every JSON answer but the list of certificates.
	maxAnswerBytes = 4 << 20
	// maxErrorBytes bounds what is read of an answer that reports an error.
	maxErrorBytes = 64 << 10
	// maxValueBytes bounds one certificate, product or record in an answer.
	maxValueBytes = 256 << 10
	// maxHeaderBytes bounds the headers of an answer.
	maxHeaderBytes = 64 << 10
)

// Config configures a Client.
type Config struct {
	// Endpoint is the API's address; see CanonicalEndpoint.
	Endpoint string
	// Key is sent as x-api-key, and only to Endpoint.
	Key Key
	// CABundle holds PEM certificates to trust instead of the system's roots.
	// Empty: the system's roots.
	CABundle []byte
	// UserAgent is sent as it is; see the function UserAgent.
	UserAgent string
	// Timeout bounds every call but Order, reading the answer included; 0 means
	// 30 seconds, which is what the vendor's own client allows.
	Timeout time.Duration
	// OrderTimeout bounds Order; 0 means 60 seconds, because the vendor calls
	// the CA before it answers.
	OrderTimeout time.Duration
	// Dial makes the connections; nil: over the network. It is for simulations, whose
	// network is in memory.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client calls one endpoint with one key. It is safe for concurrent use.
type Client struct {
	endpoint     string // canonical
	host         string // host[:port], for errors
	key          Key
	userAgent    string
	timeout      time.Duration
	orderTimeout time.Duration
	tls          *tls.Config
	dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network
	transport    *http.Transport
}

// New checks the configuration and makes a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	endpoint, err := CanonicalEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if cfg.Key.IsZero() {
		return nil, errors.New("API key is missing")
	}
	if cfg.Timeout < 0 || cfg.OrderTimeout < 0 {
		return nil, errors.New("timeout is negative")
	}
	if Sanitise(cfg.UserAgent, len(cfg.UserAgent)) != cfg.UserAgent {
		return nil, errors.New("user agent has control characters or needless white space")
	}
	tlsConfig := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
	}
	if len(cfg.CABundle) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(cfg.CABundle) {
			return nil, errors.New("CA bundle holds no PEM certificate")
		}
	}
	c := &Client{
		endpoint:     endpoint,
		host:         strings.TrimPrefix(endpoint, "https://"),
		key:          cfg.Key,
		userAgent:    cfg.UserAgent,
		timeout:      cfg.Timeout,
		orderTimeout: cfg.OrderTimeout,
		tls:          tlsConfig,
		dial:         cfg.Dial,
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.orderTimeout == 0 {
		c.orderTimeout = DefaultOrderTimeout
	}
	c.transport = &http.Transport{
		// No proxy from the environment: a variable in the pod must not decide
		// through whose hands the key goes.
		Proxy:           nil,
		DialContext:     cfg.Dial,
		TLSClientConfig: tlsConfig,
		// HTTP/2 is off because Go's transport re-sends requests there after a
		// stream was reset, and every call here is meant to be sent once.
		Protocols: http1(),
		// A compressed answer could be a thousand times larger than its bound.
		DisableCompression: true,
		// As many as call at once when orders come at once: each new one is a handshake.
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	return c, nil
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Endpoint returns the canonical endpoint.
func (c *Client) Endpoint() string { return c.endpoint }

// Fingerprint returns the fingerprint of the key.
func (c *Client) Fingerprint() string { return c.key.Fingerprint() }

// call is one request. Those that do sends may be repeated without cost.
type call struct {
	op     string
	method string
	path   []string // elements, escaped when the address is made
	body   any      // encoded as JSON; nil: no body
	bare   bool     // the answer need not have a response
}

// do makes the call and hands the response of a successful answer to take, which
// may be nil. Nil means that the answer was read to its end and said success.
func (c *Client) do(ctx context.Context, call call, total int64, take func(*decoder) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, call, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if !isSuccess(resp.StatusCode) {
		return c.statusError(call.op, resp)
	}
	d := newDecoder(resp.Body, total, maxValueBytes)
	e, err := d.envelope(take)
	AddBytes(ctx, d.body.read)
	return c.judge(call, resp.StatusCode, e, err)
}

type countKey struct{}

// CountBytes returns a context with which a call that succeeds or breaks off adds the
// bytes that it read of the answer's body to n. The calls have to be made one after
// another. An account's list has no pages, and how large it is says how dear it is.
func CountBytes(ctx context.Context, n *int64) context.Context {
	return context.WithValue(ctx, countKey{}, n)
}

// AddBytes counts bytes of an answer where ctx comes from CountBytes. Besides a Client,
// what stands in for one calls it.
func AddBytes(ctx context.Context, read int64) {
	if n, ok := ctx.Value(countKey{}).(*int64); ok {
		*n += read
	}
}

// judge returns nil only if a 2xx answer was read to its end and said success.
func (c *Client) judge(call call, status int, e envelope, err error) error {
	var own *callbackError
	switch {
	case errors.As(err, &own):
		return own.err
	case err != nil:
		return c.readError(call.op, status, err)
	case !e.succeeded():
		return &Error{Op: call.op, Status: status, Code: e.code, Kind: KindUnreadable,
			Message: c.words(e.message, string(errNoSuccess))}
	case !e.answered && !call.bare:
		return c.readError(call.op, status, errNoAnswer)
	}
	return nil
}

// send sends the request once and returns the answer, whatever its status.
func (c *Client) send(ctx context.Context, call call, accept string) (*http.Response, error) {
	address, err := c.address(call.path)
	if err != nil {
		return nil, &Error{Op: call.op, Kind: KindInvalid, Message: err.Error()}
	}
	var body io.Reader
	if call.body != nil {
		encoded, err := json.Marshal(call.body)
		if err != nil {
			return nil, &Error{Op: call.op, Kind: KindInvalid, Message: "request cannot be encoded"}
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, call.method, address, body)
	if err != nil {
		return nil, &Error{Op: call.op, Kind: KindInvalid, Message: "request cannot be made"}
	}
	c.setHeaders(req)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	// The transport itself and not an http.Client: that would follow redirects.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, c.transportError(call.op, 0, err)
	}
	return resp, nil
}

func (c *Client) setHeaders(req *http.Request) {
	req.Header.Set("x-api-key", c.key.reveal())
	// An empty value keeps net/http from sending a User-Agent of its own.
	req.Header.Set("User-Agent", c.userAgent)
	if req.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
}

// address joins the escaped elements. Escaping leaves "." and ".." as they
// are, and a server may take them for steps in the path to another endpoint.
func (c *Client) address(path []string) (string, error) {
	var b strings.Builder
	b.WriteString(c.endpoint)
	for _, element := range path {
		if element == "" || element == "." || element == ".." {
			return "", errors.New("id or domain is empty or a step in a path")
		}
		b.WriteString("/" + url.PathEscape(element))
	}
	return b.String(), nil
}

// statusError makes an error of an answer that is not a 2xx. It reads a bounded
// part of the body for the vendor's words; a body that is not the vendor's says
// nothing, and the status is reported all the same.
func (c *Client) statusError(op string, resp *http.Response) *Error {
	e, err := newDecoder(resp.Body, maxErrorBytes, maxErrorBytes).envelope(nil)
	if err != nil {
		e = envelope{}
	}
	return c.answerError(op, resp.StatusCode, resp.Header, e)
}

func (c *Client) answerError(op string, status int, header http.Header, e envelope) *Error {
	return &Error{
		Op: op, Status: status, Code: e.code,
		Kind:       kindOfStatus(status),
		Message:    c.words(e.message, ""),
		RetryAfter: retryAfter(header),
	}
}

// readError makes an error of a 2xx answer that could not be read.
func (c *Client) readError(op string, status int, err error) *Error {
	var why unreadable
	if errors.As(err, &why) {
		return &Error{Op: op, Status: status, Kind: KindUnreadable, Message: string(why)}
	}
	return c.transportError(op, status, err)
}

// transportError reduces an error of the connection to the host and a class.
// The errors of net/http quote addresses, header values and whatever a broken
// server sent, which must not get into conditions and logs.
func (c *Client) transportError(op string, status int, err error) *Error {
	class, cause := classify(err)
	return &Error{Op: op, Status: status, Kind: KindTransport, Message: c.host + ": " + class, Err: cause}
}

// words returns the vendor's message, fit to be shown, or else instead.
func (c *Client) words(message, instead string) string {
	// Long before the vendor's answers are that long, nobody reads them; the
	// search for the key below takes time in proportion.
	message = Sanitise(message, 4096)
	switch {
	case message == "":
		return instead
	case c.repeatsKey(message):
		return "(the vendor's message is withheld because it repeats the API key)"
	}
	return Sanitise(message, maxMessageBytes)
}

// repeatsKey tells whether text holds a telling part of the key: a server that
// answers "invalid key abc..." must not put the key into a condition.
func (c *Client) repeatsKey(text string) bool {
	const part = 12
	text, key := strings.ToLower(text), strings.ToLower(c.key.reveal())
	if len(key) < part {
		return strings.Contains(text, key)
	}
	for i := 0; i+part <= len(key); i++ {
		if strings.Contains(text, key[i:i+part]) {
			return true
		}
	}
	return false
}

// withoutKey hides the key in what the vendor sent. Its words become conditions,
// and no key may get there, however odd the answer. A key too short to be real
// would match by accident.
func (c *Client) withoutKey(raw []byte) []byte {
	if key := []byte(c.key.reveal()); len(key) >= 12 {
		return bytes.ReplaceAll(raw, key, []byte(redacted))
	}
	return raw
}

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// one returns a take that decodes the response into v.
func one(v any) func(*decoder) error {
	return func(d *decoder) error { return d.Decode(v) }
}

// rows returns a take that decodes the elements of an array one by one.
func rows[T any](each func(T) error) func(*decoder) error {
	return func(d *decoder) error {
		// A null is not an empty list: whoever concludes from a list that
		// something does not exist needs one that says so.
		if err := d.delim('['); err != nil {
			return err
		}
		for d.more() {
			var row T
			if err := d.Decode(&row); err != nil {
				return err
			}
			if err := each(row); err != nil {
				return err
			}
		}
		return d.delim(']')
	}
}

// all returns a take that appends the elements of an array to list.
func all[T any](c *Client, list *[]T) func(*decoder) error {
	return rows(func(raw json.RawMessage) error {
		var row T
		if err := json.Unmarshal(c.withoutKey(raw), &row); err != nil {
			return err
		}
		*list = append(*list, row)
		return nil
	})
}
