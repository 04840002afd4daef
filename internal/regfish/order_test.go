// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var orderRequest = OrderRequest{
	SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"api.example.com"},
	CSR: "-----BEGIN CERTIFICATE REQUEST-----\nMIIC\n-----END CERTIFICATE REQUEST-----\n", DCVMethod: DCVMethodCNAME, ValidityDays: 199,
}

func yes() error { return nil }

func TestOrderOutcome(t *testing.T) {
	const accepted = `{"success":true,"code":0,"response":{"id":"A"}}`
	const refused = `{"success":false,"message":"Words","error":"Words"}`
	type test struct {
		reason string
		status int
		media  string
		body   string
		want   Outcome
		kind   Kind
		cert   Certificate
	}
	tests := map[string]test{
		"the vendor's own example": {
			reason: "The order exists.", status: 200, media: jsonType, body: fixture(t, "certificate.json"), want: Accepted, cert: ordered,
		},
		"201": {
			reason: "Any 2xx that names the order.", status: 201, media: jsonType, body: accepted, want: Accepted, cert: Certificate{ID: "A"},
		},
		"an id among things nobody understands": {
			reason: "An order that was paid must not be lost because another field changed its form.",
			status: 200, media: jsonType, body: `{"success":true,"response":{"id":"A","dns_names":"x","validity_days":"199"}}`, want: Accepted, cert: Certificate{ID: "A"},
		},
		"an id that is a number": {
			reason: "It is an id all the same.", status: 200, media: jsonType, body: `{"success":true,"response":{"id":17}}`, want: Accepted, cert: Certificate{ID: "17"},
		},
		"no id":                    {reason: "Something was ordered, but what?", status: 200, media: jsonType, body: `{"success":true,"response":{}}`, want: Unknown, kind: KindUnreadable},
		"a null id":                {reason: "Something was ordered, but what?", status: 200, media: jsonType, body: `{"success":true,"response":{"id":null}}`, want: Unknown, kind: KindUnreadable},
		"an id that is an object":  {reason: "Something was ordered, but what?", status: 200, media: jsonType, body: `{"success":true,"response":{"id":{}}}`, want: Unknown, kind: KindUnreadable},
		"a list":                   {reason: "Something was ordered, but what?", status: 200, media: jsonType, body: `{"success":true,"response":[{"id":"A"}]}`, want: Unknown, kind: KindUnreadable},
		"no response":              {reason: "Something was ordered, but what?", status: 200, media: jsonType, body: `{"success":true}`, want: Unknown, kind: KindUnreadable},
		"200 without success":      {reason: "The vendor is known to refuse with 200, but not known to refuse orders so.", status: 200, media: jsonType, body: refused, want: Unknown, kind: KindUnreadable},
		"200 that says nothing":    {reason: "Nothing is known.", status: 200, media: jsonType, body: `{"response":{"id":"A"}}`, want: Unknown, kind: KindUnreadable},
		"200 with half an answer":  {reason: "Nothing is known.", status: 200, media: jsonType, body: accepted[:30], want: Unknown, kind: KindUnreadable},
		"200 with two answers":     {reason: "Nothing is known.", status: 200, media: jsonType, body: accepted + accepted, want: Unknown, kind: KindUnreadable},
		"200 with garbage":         {reason: "Nothing is known.", status: 200, media: jsonType, body: "\x00\xff{", want: Unknown, kind: KindUnreadable},
		"200 with a web page":      {reason: "A gateway answered; what did the vendor do?", status: 200, media: htmlType, body: htmlPage, want: Unknown, kind: KindUnreadable},
		"200 without a body":       {reason: "Nothing is known.", status: 200, media: jsonType, want: Unknown, kind: KindUnreadable},
		"204":                      {reason: "Nothing is known.", status: 204, want: Unknown, kind: KindUnreadable},
		"an answer without end":    {reason: "It is bounded, and nothing is known.", status: 200, media: jsonType, body: `{"success":true,"x":"` + strings.Repeat("x", maxValueBytes) + `"}`, want: Unknown, kind: KindUnreadable},
		"a refusal that names one": {reason: "A refusal that names an order is no refusal.", status: 409, media: jsonType, body: `{"success":false,"response":{"id":"A"}}`, want: Unknown, kind: KindConflict},
		"a refusal with success":   {reason: "It contradicts itself.", status: 400, media: jsonType, body: `{"success":true}`, want: Unknown, kind: KindInvalid},
		"too many, but an order":   {reason: "It contradicts itself.", status: 429, media: jsonType, body: accepted, want: Unknown, kind: KindTooMany},
		"too many, but a success":  {reason: "It contradicts itself.", status: 429, media: jsonType, body: `{"success":true}`, want: Unknown, kind: KindTooMany},
		"too many, as a web page":  {reason: "A gateway turned it away at the door.", status: 429, media: htmlType, body: htmlPage, want: NotSent, kind: KindTooMany},
		"the vendor's words in a web page": {
			reason: "The body counts, not what the header calls it.", status: 400, media: htmlType, body: refused, want: Rejected, kind: KindInvalid,
		},
		"a refusal without words": {
			reason: "The envelope is the vendor's.", status: 409, media: jsonType, body: `{"success":false}`, want: Rejected, kind: KindConflict,
		},
	}
	// Every status with the vendor's envelope, with a web page, with an envelope
	// that does not say success, and with nothing.
	withEnvelope := map[int]Outcome{
		400: Rejected, 401: Rejected, 403: Rejected, 404: Rejected, 409: Rejected, 422: Rejected, 429: NotSent,
	}
	for _, status := range []int{300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 415, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 520, 524, 599} {
		want := withEnvelope[status]
		if want == 0 {
			want = Unknown
		}
		bare := Unknown
		if status == http.StatusTooManyRequests {
			bare = NotSent
		}
		kind := kindOfStatus(status)
		tests[fmt.Sprint(status, " with the vendor's envelope")] = test{reason: "Only these words and these numbers together are a refusal.", status: status, media: jsonType, body: refused, want: want, kind: kind}
		tests[fmt.Sprint(status, " with a web page")] = test{reason: "Proxies use the same numbers.", status: status, media: htmlType, body: htmlPage, want: bare, kind: kind}
		tests[fmt.Sprint(status, " with a message alone")] = test{reason: "Gateways send JSON, too; only success false is the vendor's word.", status: status, media: jsonType, body: `{"message":"Unauthorized"}`, want: bare, kind: kind}
		tests[fmt.Sprint(status, " with nothing")] = test{reason: "Proxies use the same numbers.", status: status, media: jsonType, want: bare, kind: kind}
	}
	var give http.HandlerFunc
	var arrived atomic.Int32
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { arrived.Add(1); give(w, r) })
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			arrived.Store(0)
			give = answer(tc.status, tc.media, tc.body)
			got := client.Order(t.Context(), orderRequest, yes)
			if got.Outcome != tc.want || got.Status != tc.status {
				t.Errorf("outcome is %v with status %d, want %v with %d. %s", got.Outcome, got.Status, tc.want, tc.status, tc.reason)
			}
			if !reflect.DeepEqual(got.Certificate, tc.cert) {
				t.Errorf("certificate is %s, want %s. %s", show(got.Certificate), show(tc.cert), tc.reason)
			}
			if (got.Err == nil) != (got.Outcome == Accepted) || got.Err != nil && got.Err.Kind != tc.kind {
				t.Errorf("error is %v, want kind %d. %s", got.Err, tc.kind, tc.reason)
			}
			if n := arrived.Load(); n != 1 {
				t.Errorf("%d orders arrived, want one", n)
			}
		})
	}
}

func TestOrderSendsWhatTheVendorDocuments(t *testing.T) {
	full := OrderRequest{
		SKU: "SecureSite", CommonName: "www.example.com", DNSNames: []string{"api.example.com"}, CSR: orderRequest.CSR,
		DCVMethod: DCVMethodEmail, DCVEmails: []string{"admin@example.com", "hostmaster@example.com"}, OrganizationID: "hdl_7K9QW3M2ZT8HJ", RenewalOfCertificateID: "A", ValidityDays: 90,
	}
	tests := map[string]struct {
		reason string
		order  OrderRequest
		want   string
	}{
		"all fields": {
			reason: "The names are those of the vendor's page.", order: full,
			want: `{"sku":"SecureSite","common_name":"www.example.com","dns_names":["api.example.com"],"csr":"-----BEGIN CERTIFICATE REQUEST-----\nMIIC\n-----END CERTIFICATE REQUEST-----\n",` +
				`"dcv_method":"email","dcv_emails":["admin@example.com","hostmaster@example.com"],"org_id":"hdl_7K9QW3M2ZT8HJ","renewal_of_certificate_id":"A","validity_days":90}`,
		},
		"required fields alone": {
			reason: "An empty field could mean something else than an absent one.",
			order:  OrderRequest{SKU: "RapidSSL", CommonName: "www.example.com", CSR: orderRequest.CSR, DCVMethod: DCVMethodCNAME},
			want: `{"sku":"RapidSSL","common_name":"www.example.com","csr":"-----BEGIN CERTIFICATE REQUEST-----\nMIIC\n-----END CERTIFICATE REQUEST-----\n",` +
				`"dcv_method":"dns-cname-token"}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var request *http.Request
			var sent []byte
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				request = r
				var err error
				if sent, err = io.ReadAll(r.Body); err != nil {
					t.Error(err)
				}
				answer(http.StatusOK, jsonType, fixture(t, "certificate.json"))(w, r)
			})
			if got := client.Order(t.Context(), tc.order, yes); got.Outcome != Accepted {
				t.Fatalf("outcome is %v: %v", got.Outcome, got.Err)
			}
			if string(sent) != tc.want {
				t.Errorf("sent\n%s\nwant\n%s\n%s", sent, tc.want, tc.reason)
			}
			if request.Method != http.MethodPost || request.RequestURI != "/tls/certificate" || request.Proto != "HTTP/1.1" || !request.Close {
				t.Errorf("sent %s %s in %s, close: %t", request.Method, request.RequestURI, request.Proto, request.Close)
			}
			for header, want := range map[string]string{
				"X-Api-Key": testKey, "Content-Type": "application/json", "Accept": "application/json",
				"User-Agent": "regfish-issuer/v0.1.0 (os=linux)", "Idempotency-Key": "", "X-Idempotency-Key": "", "Accept-Encoding": "", "Expect": "",
			} {
				if got := request.Header.Get(header); got != want {
					t.Errorf("header %s is %q, want %q", header, got, want)
				}
			}
		})
	}
}

func TestOrderAsksBeforeTheFirstByte(t *testing.T) {
	server := newBareServer(t, "http/1.1")
	var arrived atomic.Int32
	server.handle = func(conn *tls.Conn) {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			arrived.Add(1)
		}
	}
	client := server.client(t)

	no := errors.New("the lease is lost")
	var asked int
	got := client.Order(t.Context(), orderRequest, func() error {
		asked++
		server.waitForHandshake(t)
		return no
	})
	server.Close()
	if asked != 1 || got.Outcome != NotSent || got.Err.Kind != KindRefused || !errors.Is(got.Err, no) {
		t.Errorf("asked %d times, outcome %v: %v; want one question, NotSent and the caller's own error", asked, got.Outcome, got.Err)
	}
	if n := arrived.Load(); n != 0 {
		t.Error("bytes of the order left although its writer was refused")
	}
}

func TestOrderWithoutAVoucherIsNotSent(t *testing.T) {
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("an order arrived") })
	if got := client.Order(t.Context(), orderRequest, nil); got.Outcome != NotSent || got.Err.Kind != KindRefused {
		t.Errorf("outcome is %v: %v", got.Outcome, got.Err)
	}
}

func TestOrderThatCannotBeSent(t *testing.T) {
	tests := map[string]struct {
		reason  string
		prepare func(t *testing.T) (context.Context, *Client)
		cause   error
	}{
		"nobody listens": {
			reason: "There is no connection.",
			prepare: func(t *testing.T) (context.Context, *Client) {
				server := httptest.NewTLSServer(nil)
				client := clientOf(t, server)
				server.Close()
				return t.Context(), client
			},
		},
		"the server is not trusted": {
			reason: "The order would go to anybody.",
			prepare: func(t *testing.T) (context.Context, *Client) {
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an order arrived") }))
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				server.StartTLS()
				t.Cleanup(server.Close)
				return t.Context(), clientOf(t, server, func(c *Config) { c.CABundle = nil })
			},
		},
		"the server hangs up in the handshake": {
			reason: "The order had not been written.",
			prepare: func(t *testing.T) (context.Context, *Client) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = listener.Close() })
				go func() {
					for {
						conn, err := listener.Accept()
						if err != nil {
							return
						}
						_ = conn.Close()
					}
				}()
				return t.Context(), clientOf(t, httptest.NewTLSServer(nil), func(c *Config) { c.Endpoint = "https://" + listener.Addr().String() })
			},
		},
		"the context has ended": {
			reason: "Nobody waits for the answer.",
			prepare: func(t *testing.T) (context.Context, *Client) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				return ctx, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("an order arrived") })
			},
			cause: context.Canceled,
		},
		"the time is over at once": {
			reason: "OrderTimeout bounds everything.",
			prepare: func(t *testing.T) (context.Context, *Client) {
				return t.Context(), serve(t, func(http.ResponseWriter, *http.Request) { t.Error("an order arrived") },
					func(c *Config) { c.OrderTimeout = time.Nanosecond })
			},
			cause: context.DeadlineExceeded,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, client := tc.prepare(t)
			got := client.Order(ctx, orderRequest, func() error { t.Error("asked for leave to write without a connection"); return nil })
			if got.Outcome != NotSent || got.Err == nil || got.Err.Kind != KindTransport || got.Status != 0 {
				t.Fatalf("outcome is %v: %v, want NotSent. %s", got.Outcome, got.Err, tc.reason)
			}
			if !errors.Is(got.Err.Err, tc.cause) {
				t.Errorf("cause is %v, want %v", got.Err.Err, tc.cause)
			}
		})
	}
}

func TestOrderIsNotWrittenOnceTheContextHasEnded(t *testing.T) {
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("an order arrived") })
	ctx, cancel := context.WithCancel(t.Context())
	got := client.Order(ctx, orderRequest, func() error { cancel(); return nil })
	if got.Outcome != NotSent || !errors.Is(got.Err, context.Canceled) {
		t.Errorf("outcome is %v: %v, want NotSent: leave to write took longer than the time there was", got.Outcome, got.Err)
	}
}

func TestOrderWithoutAnswerIsUnknown(t *testing.T) {
	tests := map[string]struct {
		reason string
		handle func(t *testing.T, conn *tls.Conn)
	}{
		"the server closes after reading": {
			reason: "It may have ordered before it died.",
			handle: func(t *testing.T, conn *tls.Conn) { readOrder(t, conn) },
		},
		"the server resets after reading": {
			reason: "It may have ordered before it died.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
				_ = conn.NetConn().Close()
			},
		},
		"the server answers with half a header": {
			reason: "It may have ordered before it died.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 O")
			},
		},
		"the server answers with half a body": {
			reason: "It may have ordered before it died.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"success\":true,")
			},
		},
		"the server answers with half a chunk": {
			reason: "It may have ordered before it died.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"success\":true,")
			},
		},
		"the refusal breaks off": {
			reason: "It is not the vendor's whole word.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{\"success\":false}")
			},
		},
		"the server speaks something else": {
			reason: "Nothing is known.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "220 smtp.example.com "+testKey+"\r\n")
			},
		},
		"the server hangs up before it reads": {
			reason: "What it held when it died is not known here.",
			handle: func(*testing.T, *tls.Conn) {},
		},
		"the server informs without end": {
			reason: "The answer never comes, and what is read is bounded.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				information := "HTTP/1.1 102 Processing\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n"
				for {
					if _, err := io.WriteString(conn, information); err != nil {
						return // the client has had enough
					}
				}
			},
		},
		"the server switches protocols": {
			reason: "Nothing is known.",
			handle: func(t *testing.T, conn *tls.Conn) {
				readOrder(t, conn)
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := newBareServer(t, "http/1.1")
			var connections atomic.Int32
			server.handle = func(conn *tls.Conn) { connections.Add(1); tc.handle(t, conn) }
			got := server.client(t).Order(t.Context(), orderRequest, yes)
			server.Close()
			if got.Outcome != Unknown || got.Err == nil || got.Certificate.ID != "" {
				t.Errorf("outcome is %v: %v, want Unknown. %s", got.Outcome, got.Err, tc.reason)
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections were made, want one", n)
			}
			for _, printed := range print(got) {
				assertNoKey(t, printed)
			}
		})
	}
}

func TestOrderSkipsInformation(t *testing.T) {
	server := newBareServer(t, "http/1.1")
	server.handle = func(conn *tls.Conn) {
		readOrder(t, conn)
		_, _ = io.WriteString(conn, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20)+"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"success\":true,\"response\":{\"id\":\"A\"}}")
	}
	if got := server.client(t).Order(t.Context(), orderRequest, yes); got.Outcome != Accepted || got.Certificate.ID != "A" {
		t.Errorf("outcome is %v: %v, want the answer that follows", got.Outcome, got.Err)
	}
}

func TestOrderThatNeverEndsIsUnknown(t *testing.T) {
	ends := map[string]func(*ending){
		"canceled":  func(e *ending) { e.end(context.Canceled) },
		"timed out": func(e *ending) { e.end(context.DeadlineExceeded) },
	}
	answers := map[string]string{
		"without an answer":   "",
		"in the header":       "HTTP/1.1 200 OK\r\nX: ",
		"in the body":         "HTTP/1.1 200 OK\r\n\r\n{\"success\":true,\"response\":{\"id\":\"A\"",
		"at the very end":     "HTTP/1.1 200 OK\r\n\r\n{\"success\":true,\"response\":{\"id\":\"A\"}}",
		"in a refusal's body": "HTTP/1.1 400 Bad Request\r\n\r\n{\"success\":false",
	}
	for name, end := range ends {
		for where, text := range answers {
			t.Run(name+" "+where, func(t *testing.T) {
				ctx := &ending{Context: t.Context(), done: make(chan struct{})}
				server := newBareServer(t, "http/1.1")
				server.handle = func(conn *tls.Conn) {
					readOrder(t, conn)
					_, _ = io.WriteString(conn, text)
					end(ctx)
					_, _ = io.Copy(io.Discard, conn) // until the client resets the connection
				}
				got := server.client(t).Order(ctx, orderRequest, yes)
				server.Close()
				if got.Outcome != Unknown || got.Err == nil {
					t.Fatalf("outcome is %v: %v, want Unknown: the order arrived", got.Outcome, got.Err)
				}
				if got.Status < 300 && !errors.Is(got.Err, ctx.Err()) {
					t.Errorf("error is %v, want %v as its cause", got.Err, ctx.Err())
				}
			})
		}
	}
}

// ending is a context that ends when a test says so, in the way it says.
type ending struct {
	context.Context
	once sync.Once
	done chan struct{}
	err  error
}

func (e *ending) end(err error) {
	e.once.Do(func() { e.err = err; close(e.done) })
}

func (e *ending) Done() <-chan struct{} { return e.done }

func (e *ending) Err() error {
	select {
	case <-e.done:
		return e.err
	default:
		return nil
	}
}

func TestOrderTimeoutBoundsTheAnswer(t *testing.T) {
	// How long a connection takes is not known; the time is doubled until one
	// stands within it. Whatever the time, a timeout is NotSent or Unknown
	// according to whether the order arrived.
	for timeout := 20 * time.Millisecond; ; timeout *= 2 {
		release := make(chan struct{})
		var arrived atomic.Bool
		client := serve(t, func(http.ResponseWriter, *http.Request) { arrived.Store(true); <-release },
			func(c *Config) { c.OrderTimeout = timeout })
		got := client.Order(t.Context(), orderRequest, yes)
		close(release)
		if !errors.Is(got.Err, context.DeadlineExceeded) || got.Outcome != Unknown && got.Outcome != NotSent {
			t.Fatalf("outcome is %v: %v, want the end of the time", got.Outcome, got.Err)
		}
		if got.Outcome == Unknown && arrived.Load() {
			return
		}
		if got.Outcome == NotSent && arrived.Load() {
			t.Fatal("the order arrived, but the outcome is NotSent")
		}
	}
}

func TestOrderIsNotRedirected(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("%s %s with the key %q", r.Method, r.URL, r.Header.Get("x-api-key"))
			}))
			t.Cleanup(other.Close)
			var here atomic.Int32
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				here.Add(1)
				http.Redirect(w, r, other.URL+"/tls/certificate", status)
			})
			got := client.Order(t.Context(), orderRequest, yes)
			if got.Outcome != Unknown || got.Err.Kind != KindRedirect || here.Load() != 1 {
				t.Errorf("outcome is %v: %v after %d calls", got.Outcome, got.Err, here.Load())
			}
		})
	}
}

func TestOrderIsSentOnceToAServerThatResetsStreams(t *testing.T) {
	// The server offers HTTP/2 and refuses every stream, which permits a client
	// to send it again; over HTTP/1.1 it reads an order and hangs up.
	server := newBareServer(t, "h2", "http/1.1")
	var orders atomic.Int32
	var protocol atomic.Value
	second := make(chan struct{})
	server.handle = func(conn *tls.Conn) {
		protocol.Store(conn.ConnectionState().NegotiatedProtocol)
		if conn.ConnectionState().NegotiatedProtocol != "h2" {
			orders.Add(1)
			readOrder(t, conn)
			return
		}
		resetStreams(conn, func() (goOn bool) {
			n := orders.Add(1)
			if n == 2 {
				close(second)
			}
			return n < 2
		})
	}

	got := server.client(t).Order(t.Context(), orderRequest, yes)
	if got.Outcome != Unknown {
		t.Errorf("outcome is %v: %v, want Unknown", got.Outcome, got.Err)
	}
	if n := orders.Load(); n != 1 || protocol.Load() != "http/1.1" {
		t.Errorf("%d orders arrived over %v, want one over HTTP/1.1", n, protocol.Load())
	}

	// The server is as described: Go's usual client sends a POST to it again.
	orders.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-second; cancel() }()
	usual := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.roots(t)}, ForceAttemptHTTP2: true}}
	defer usual.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.url(), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := usual.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the server answered")
	}
	if n := orders.Load(); n < 2 || protocol.Load() != "h2" {
		t.Fatalf("%d requests of the usual client arrived over %v, want two over h2: the server tests nothing", n, protocol.Load())
	}
}

// resetStreams speaks as much HTTP/2 as is needed to refuse every stream, until
// opened says that it is enough.
func resetStreams(conn io.ReadWriter, opened func() bool) {
	const frameHeaders, frameReset, frameSettings, refusedStream = 1, 3, 4, 7
	r := bufio.NewReader(conn)
	if _, err := io.CopyN(io.Discard, r, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	write := func(kind, flags byte, stream uint32, payload []byte) {
		frame := append(make([]byte, 9), payload...)
		binary.BigEndian.PutUint32(frame, uint32(len(payload))<<8|uint32(kind))
		frame[4] = flags
		binary.BigEndian.PutUint32(frame[5:], stream)
		_, _ = conn.Write(frame)
	}
	write(frameSettings, 0, 0, nil)
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[:])>>8)); err != nil {
			return
		}
		switch kind, stream := head[3], binary.BigEndian.Uint32(head[5:]); {
		case kind == frameHeaders:
			if !opened() {
				return
			}
			write(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, refusedStream))
		case kind == frameSettings && head[4] == 0:
			write(frameSettings, 1, 0, nil)
		}
	}
}

// bareServer is a TLS server that is not more than its handler, for what no HTTP
// server does.
type bareServer struct {
	net.Listener
	certificate tls.Certificate
	bundle      []byte
	handle      func(*tls.Conn)
	handshakes  chan struct{}
	running     sync.WaitGroup
}

func newBareServer(t *testing.T, protocols ...string) *bareServer {
	t.Helper()
	// Only its certificate is wanted.
	donor := httptest.NewUnstartedServer(nil)
	donor.StartTLS()
	defer donor.Close()
	s := &bareServer{
		certificate: donor.TLS.Certificates[0],
		bundle:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: donor.Certificate().Raw}),
		handshakes:  make(chan struct{}, 1),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = listener
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer func() { _ = conn.Close() }()
				secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.certificate}, NextProtos: protocols})
				if err := secure.Handshake(); err != nil {
					return
				}
				select {
				case s.handshakes <- struct{}{}:
				default:
				}
				s.handle(secure)
				_ = secure.Close()
			})
		}
	})
	t.Cleanup(s.Close)
	return s
}

// Close waits for all handlers, so that what they count is complete.
func (s *bareServer) Close() {
	_ = s.Listener.Close()
	s.running.Wait()
}

func (s *bareServer) waitForHandshake(t *testing.T) {
	select {
	case <-s.handshakes:
	case <-t.Context().Done():
	}
}

func (s *bareServer) url() string { return "https://" + s.Addr().String() }

func (s *bareServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.bundle) {
		t.Fatal("the server's certificate is unreadable")
	}
	return roots
}

func (s *bareServer) client(t *testing.T) *Client {
	t.Helper()
	client, err := New(Config{Endpoint: s.url(), Key: mustKey(t, testKey), CABundle: s.bundle})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// readOrder reads one request and checks that it is a whole order.
func readOrder(t *testing.T, conn io.Reader) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Errorf("read order: %v", err)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Contains(body, []byte(`"sku":"RapidSSL"`)) {
		t.Errorf("read order: %v, %q", err, body)
	}
}

func TestOutcomeString(t *testing.T) {
	for outcome, want := range map[Outcome]string{Accepted: "Accepted", Rejected: "Rejected", NotSent: "NotSent", Unknown: "Unknown", 0: "Outcome(0)", 9: "Outcome(9)"} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d is %q, want %q", int(outcome), got, want)
		}
	}
}
