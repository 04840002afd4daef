// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	good := func() Config {
		return Config{Endpoint: "https://API.regfish.com/", Key: mustKey(t, testKey), UserAgent: "regfish-issuer/v1"}
	}
	tests := map[string]struct {
		reason string
		change func(*Config)
		err    string
	}{
		"a plain configuration":           {reason: "All defaults.", change: func(*Config) {}},
		"no user agent":                   {reason: "The vendor demands none.", change: func(c *Config) { c.UserAgent = "" }},
		"a bad endpoint":                  {reason: "The key would go to a place nobody named.", change: func(c *Config) { c.Endpoint = "http://api.regfish.com" }, err: "https"},
		"no key":                          {reason: "Every call would be refused.", change: func(c *Config) { c.Key = Key{} }, err: "API key is missing"},
		"a CA bundle without certificate": {reason: "Trusting nobody looks like a broken server.", change: func(c *Config) { c.CABundle = []byte("nonsense") }, err: "CA bundle"},
		"a negative timeout":              {reason: "Every call would fail.", change: func(c *Config) { c.Timeout = -1 }, err: "timeout"},
		"a negative order timeout":        {reason: "Every order would fail.", change: func(c *Config) { c.OrderTimeout = -1 }, err: "timeout"},
		"a user agent with a line break":  {reason: "It would split the header.", change: func(c *Config) { c.UserAgent = "a\r\nx: y" }, err: "user agent"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			tc.change(&cfg)
			client, err := New(cfg)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("New: %v, want an error about %q. %s", err, tc.err, tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("New: %v. %s", err, tc.reason)
			}
			if client.Endpoint() != "https://api.regfish.com" || client.Fingerprint() != cfg.Key.Fingerprint() {
				t.Errorf("client is for %s and key %s", client.Endpoint(), client.Fingerprint())
			}
			if client.timeout != 30*time.Second || client.orderTimeout != time.Minute {
				t.Errorf("timeouts are %v and %v", client.timeout, client.orderTimeout)
			}
		})
	}
}

// reads are all calls that cost nothing.
var reads = map[string]func(context.Context, *Client) error{
	"GET /tls/products":     func(ctx context.Context, c *Client) error { _, err := c.Products(ctx); return err },
	"GET /tls/organization": func(ctx context.Context, c *Client) error { _, err := c.Organizations(ctx); return err },
	"GET /tls/certificate": func(ctx context.Context, c *Client) error {
		_, err := list(ctx, c)
		return err
	},
	"GET /tls/certificate/A":              func(ctx context.Context, c *Client) error { _, err := c.Certificate(ctx, "A"); return err },
	"GET /tls/certificate/A/download/pem": func(ctx context.Context, c *Client) error { _, err := c.Download(ctx, "A"); return err },
	"GET /dns/example.com/rr":             func(ctx context.Context, c *Client) error { _, err := c.Records(ctx, "example.com."); return err },
	"POST /dns/rr": func(ctx context.Context, c *Client) error {
		_, err := c.CreateRecord(ctx, Record{Name: "a.example.com", Type: "CNAME", Data: "b.example.com."})
		return err
	},
	"DELETE /dns/rr/42": func(ctx context.Context, c *Client) error { return c.DeleteRecord(ctx, 42) },
}

func TestEveryCallSendsTheSameHeaders(t *testing.T) {
	for name, do := range reads {
		t.Run(name, func(t *testing.T) {
			var got []*http.Request
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = append(got, r)
				answer(http.StatusTeapot, jsonType, "{}")(w, r)
			})
			if err := do(t.Context(), client); KindOf(err) != KindUnexpected {
				t.Fatalf("error is %v, want one of an unexpected status", err)
			}
			if len(got) != 1 {
				t.Fatalf("sent %d requests, want one: nothing is retried here", len(got))
			}
			r := got[0]
			if call := r.Method + " " + r.URL.Path; call != name {
				t.Errorf("call is %q", call)
			}
			if r.Header.Get("x-api-key") != testKey {
				t.Error("the key is missing")
			}
			if ua := r.Header.Get("User-Agent"); ua != "regfish-issuer/v0.1.0 (os=linux)" {
				t.Errorf("user agent is %q", ua)
			}
			for _, header := range []string{"Accept-Encoding", "Authorization", "Idempotency-Key", "X-Idempotency-Key", "Cookie"} {
				if r.Header.Get(header) != "" {
					t.Errorf("sent the header %s", header)
				}
			}
			if r.ProtoMajor != 1 {
				t.Errorf("spoke %s", r.Proto)
			}
			if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("content type is %q", r.Header.Get("Content-Type"))
			}
		})
	}
}

func TestNoUserAgentSendsNone(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if ua, sent := r.Header["User-Agent"]; sent {
			t.Errorf("sent the user agent %q", ua)
		}
		answer(http.StatusOK, jsonType, `{"success":true,"response":[]}`)(w, r)
	}, func(c *Config) { c.UserAgent = "" })
	if _, err := client.Products(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStatusBecomesKind(t *testing.T) {
	tests := map[int]Kind{
		300: KindRedirect, 304: KindRedirect, 400: KindInvalid, 401: KindUnauthorized, 402: KindUnexpected, 403: KindForbidden,
		404: KindNotFound, 405: KindUnexpected, 408: KindUnexpected, 409: KindConflict, 417: KindUnexpected, 418: KindUnexpected,
		422: KindInvalid, 429: KindTooMany, 500: KindUnavailable, 502: KindUnavailable, 503: KindUnavailable, 599: KindUnavailable,
	}
	bodies := map[string]struct{ media, body, message string }{
		"with the documented envelope": {jsonType, `{"success":false,"message":"Words","error":"Words"}`, "Words"},
		"with the recorded envelope":   {jsonType, `{"success":false,"error":"Words","code":15001}`, "Words"},
		"with a message alone":         {jsonType, `{"message":"Words"}`, "Words"},
		"with a web page":              {htmlType, htmlPage, ""},
		"with nothing":                 {jsonType, "", ""},
		"with a list":                  {jsonType, `["Words"]`, ""},
		"with numbers for words":       {jsonType, `{"message":1,"error":{}}`, ""},
		"with words without end":       {jsonType, `{"message":"` + strings.Repeat("x", maxErrorBytes) + `"}`, ""},
	}
	var give http.HandlerFunc
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { give(w, r) })
	for status, kind := range tests {
		for name, b := range bodies {
			if status == http.StatusNotModified && b.body != "" {
				continue // it cannot have a body
			}
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				give = answer(status, b.media, b.body)
				_, err := client.Products(t.Context())
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("error is %v, want an *Error", err)
				}
				if e.Kind != kind || e.Status != status || e.Message != b.message || e.Op != "list products" {
					t.Errorf("error is %+v, want kind %d and message %q", *e, kind, b.message)
				}
			})
		}
	}
}

func TestMessagesAreFitToBeShown(t *testing.T) {
	tests := map[string]struct {
		reason  string
		message string
		want    string
	}{
		"a plain message":     {reason: "It is shown as it is.", message: "Unauthorized", want: "Unauthorized"},
		"control characters":  {reason: "It goes to terminals.", message: "a\x1b[2J\nb\x00", want: "a[2J b"},
		"a long message":      {reason: "It goes into conditions.", message: strings.Repeat("ä", 1000), want: strings.Repeat("ä", 126) + "…"},
		"the key":             {reason: "A server may answer with the key that it refused.", message: "bad key " + testKey, want: "(the vendor's message is withheld because it repeats the API key)"},
		"a part of the key":   {reason: "A part is enough to know which key it was, or to guess the rest.", message: "bad key " + testKey[4:20] + "...", want: "(the vendor's message is withheld because it repeats the API key)"},
		"the key in capitals": {reason: "It is the same key to a reader.", message: strings.ToUpper(testKey), want: "(the vendor's message is withheld because it repeats the API key)"},
		"the key in pieces":   {reason: "What is stripped must not put the key together again.", message: testKey[:10] + "\u200b" + testKey[10:], want: "(the vendor's message is withheld because it repeats the API key)"},
		"the key far behind":  {reason: "What is cut off is not shown.", message: strings.Repeat("x", 5000) + testKey, want: strings.Repeat("x", 253) + "…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			encoded, err := json.Marshal(map[string]any{"success": false, "message": tc.message})
			if err != nil {
				t.Fatal(err)
			}
			for _, status := range []int{http.StatusUnauthorized, http.StatusOK} {
				_, err = serve(t, answer(status, jsonType, string(encoded))).Products(t.Context())
				var e *Error
				if !errors.As(err, &e) || e.Message != tc.want {
					t.Errorf("%d: error is %v, want the message %q. %s", status, err, tc.want, tc.reason)
				}
				assertNoKey(t, fmt.Sprint(err))
			}
		})
	}
}

func TestAKeyInACertificateIsHidden(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType,
		`{"success":true,"response":{"id":"A","pending_message":"waits, key `+testKey+`","completion_url":"https://dash.regfish.com/?k=`+testKey+`"}}`))
	cert, err := client.Certificate(t.Context(), "A")
	if err != nil {
		t.Fatal(err)
	}
	if cert.PendingMessage != "waits, key [redacted]" {
		t.Errorf("message is %q: the vendor's words become conditions", cert.PendingMessage)
	}
	assertNoKey(t, show(cert))
}

func TestAKeyInAListIsHidden(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType,
		`{"success":true,"response":[{"id":"`+testKey+`","sku":"`+testKey+`","name":"`+testKey+`","annotation":"`+testKey+`"}]}`))
	organizations, err := client.Organizations(t.Context())
	if err != nil || len(organizations) != 1 || organizations[0].Name != "[redacted]" {
		t.Errorf("organizations are %+v, %v: their names become messages", organizations, err)
	}
	products, err := client.Products(t.Context())
	if err != nil || len(products) != 1 || products[0].Name != "[redacted]" {
		t.Errorf("products are %+v, %v: their names become messages", products, err)
	}
	assertNoKey(t, show(organizations))
	assertNoKey(t, show(products))
}

func TestRetryAfter(t *testing.T) {
	tests := map[string]struct {
		reason string
		header http.Header
		want   time.Duration
	}{
		"none":                   {reason: "Nothing was asked for.", header: http.Header{}},
		"seconds":                {reason: "The first of the two forms.", header: http.Header{"Retry-After": {"120"}}, want: 2 * time.Minute},
		"a date":                 {reason: "The second of the two forms, counted from the server's own clock.", header: http.Header{"Retry-After": {"Wed, 18 Mar 2026 10:05:00 GMT"}, "Date": {"Wed, 18 Mar 2026 10:00:00 GMT"}}, want: 5 * time.Minute},
		"a date in the past":     {reason: "It asks for nothing.", header: http.Header{"Retry-After": {"Wed, 18 Mar 2026 09:00:00 GMT"}, "Date": {"Wed, 18 Mar 2026 10:00:00 GMT"}}},
		"a date without a Date":  {reason: "Our own clock has to do.", header: http.Header{"Retry-After": {"Wed, 18 Mar 2020 09:00:00 GMT"}}},
		"a negative number":      {reason: "It is not one of the forms.", header: http.Header{"Retry-After": {"-5"}}},
		"milliseconds by a slip": {reason: "Nobody stops for a year because of a slip.", header: http.Header{"Retry-After": {"30000000"}}, want: 24 * time.Hour},
		"more than fits":         {reason: "It must not overflow.", header: http.Header{"Retry-After": {"99999999999999999999"}}},
		"a far date":             {reason: "Nobody stops for a year because of a slip.", header: http.Header{"Retry-After": {"Wed, 18 Mar 2099 10:00:00 GMT"}}, want: 24 * time.Hour},
		"words":                  {reason: "It is not one of the forms.", header: http.Header{"Retry-After": {"soon"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			status, body, media := http.StatusTooManyRequests, `{"success":false}`, jsonType
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tc.header {
					w.Header()[k] = v
				}
				answer(status, media, body)(w, r)
			})
			_, err := client.Products(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindTooMany || e.RetryAfter != tc.want {
				t.Errorf("error is %v with %v, want %v. %s", err, e.RetryAfter, tc.want, tc.reason)
			}
			// An order has a connection of its own, written and read by hand.
			for _, status = range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				for media, body = range map[string]string{jsonType: `{"success":false}`, htmlType: htmlPage} {
					result := client.Order(t.Context(), orderRequest, yes)
					if got := RetryAfter(result.Err); got != tc.want || result.Status != status {
						t.Errorf("an order answered with %d %s: %v, to be repeated after %v, want %v. %s", result.Status, media, result.Err, got, tc.want, tc.reason)
					}
				}
			}
		})
	}
}

func TestAnAcceptedOrderAsksForNoPause(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, fixture(t, "certificate.json")))
	result := client.Order(t.Context(), orderRequest, yes)
	// Its Err is a nil *Error, which is an error that is not nil.
	if pause, kind := RetryAfter(result.Err), KindOf(result.Err); pause != 0 || kind != KindNone {
		t.Errorf("pause is %v and kind %d, want none", pause, kind)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, do := range reads {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				var elsewhere atomic.Int32
				other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					elsewhere.Add(1)
					t.Errorf("%s %s with the key %q", r.Method, r.URL, r.Header.Get("x-api-key"))
				}))
				t.Cleanup(other.Close)
				var here atomic.Int32
				client := serve(t, func(w http.ResponseWriter, r *http.Request) {
					here.Add(1)
					http.Redirect(w, r, other.URL+"/"+testKey, status)
				})
				err := do(t.Context(), client)
				if KindOf(err) != KindRedirect || here.Load() != 1 || elsewhere.Load() != 0 {
					t.Errorf("error is %v after %d calls here and %d elsewhere", err, here.Load(), elsewhere.Load())
				}
				assertNoKey(t, fmt.Sprint(err))
			})
		}
	}
}

func TestTransportErrors(t *testing.T) {
	silent := log.New(io.Discard, "", 0)
	start := func(t *testing.T, change func(*httptest.Server), h http.HandlerFunc) *httptest.Server {
		server := httptest.NewUnstartedServer(h)
		server.Config.ErrorLog = silent
		change(server)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	never := func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }
	tests := map[string]struct {
		reason string
		client func(t *testing.T) *Client
		text   string
	}{
		"nobody listens": {
			reason: "The port is closed.",
			client: func(t *testing.T) *Client {
				server := start(t, func(*httptest.Server) {}, never)
				client := clientOf(t, server)
				server.Close()
				return client
			},
			text: "connection was refused",
		},
		"a server signed by somebody else": {
			reason: "It may be anybody.",
			client: func(t *testing.T) *Client {
				server := start(t, func(*httptest.Server) {}, never)
				return clientOf(t, server, func(c *Config) { c.CABundle = nil })
			},
			text: "unknown authority",
		},
		"a server with the certificate of another host": {
			reason: "It may be anybody.",
			client: func(t *testing.T) *Client {
				server := start(t, func(*httptest.Server) {}, never)
				_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
				return clientOf(t, server, func(c *Config) { c.Endpoint = "https://localhost:" + port })
			},
			text: "another host",
		},
		"a server that speaks only TLS 1.1": {
			reason: "It is broken since long.",
			client: func(t *testing.T) *Client {
				server := start(t, func(s *httptest.Server) {
					s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
				}, never)
				return clientOf(t, server)
			},
			text: "127.0.0.1",
		},
		"a server without TLS": {
			reason: "It would read the key.",
			client: func(t *testing.T) *Client {
				plain := httptest.NewServer(http.HandlerFunc(never))
				plain.Config.ErrorLog = silent
				t.Cleanup(plain.Close)
				server := start(t, func(*httptest.Server) {}, never)
				return clientOf(t, server, func(c *Config) { c.Endpoint = "https://" + plain.Listener.Addr().String() })
			},
			text: "does not speak TLS",
		},
		"a server that hangs up": {
			reason: "There is no answer.",
			client: func(t *testing.T) *Client {
				return clientOf(t, start(t, func(*httptest.Server) {}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
			},
			text: "connection was closed before the answer was complete",
		},
		"a server that quotes the key in a broken header": {
			reason: "Go's own error quotes the header.",
			client: func(t *testing.T) *Client {
				return clientOf(t, start(t, func(*httptest.Server) {}, raw(t, "HTTP/1.1 200 OK\r\nbroken "+testKey+"\r\n\r\n")))
			},
			text: "connection failed",
		},
		"a server with headers without end": {
			reason: "They are bounded.",
			client: func(t *testing.T) *Client {
				return clientOf(t, start(t, func(*httptest.Server) {}, raw(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("a: b\r\n", maxHeaderBytes)+"\r\n")))
			},
			text: "connection failed",
		},
		"an unresolvable name": {
			reason: "The name is reserved to have no address.",
			client: func(t *testing.T) *Client {
				return clientOf(t, start(t, func(*httptest.Server) {}, never), func(c *Config) { c.Endpoint = "https://regfish.invalid" })
			},
			text: "regfish.invalid: host name cannot be resolved",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := tc.client(t)
			_, err := client.Products(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindTransport || e.Status != 0 || !strings.Contains(e.Message, tc.text) {
				t.Errorf("error is %v, want a transport error about %q. %s", err, tc.text, tc.reason)
			}
			if e.Err != nil {
				t.Errorf("the cause is %v, want none: nobody asks for it, and it quotes what the server sent", e.Err)
			}
			for _, printed := range print(err) {
				assertNoKey(t, printed)
			}
		})
	}
}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		err   error
		class string
		cause error
	}{
		"the kernel gave up":         {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, "no answer in time", context.DeadlineExceeded},
		"the time of a read":         {os.ErrDeadlineExceeded, "no answer in time", context.DeadlineExceeded},
		"a reset":                    {os.NewSyscallError("read", syscall.ECONNRESET), "connection was reset", nil},
		"a broken pipe":              {os.NewSyscallError("write", syscall.EPIPE), "connection was reset", nil},
		"no way to the host":         {os.NewSyscallError("connect", syscall.EHOSTUNREACH), "host cannot be reached", nil},
		"no way to its network":      {os.NewSyscallError("connect", syscall.ENETUNREACH), "host cannot be reached", nil},
		"a refused handshake":        {tls.AlertError(40), "TLS handshake was refused", nil},
		"a name that is slow":        {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, "no answer in time", context.DeadlineExceeded},
		"what nobody has thought of": {errors.New("canary"), "connection failed", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			class, cause := classify(fmt.Errorf("wrapped: %w", tc.err))
			if class != tc.class || !errors.Is(cause, tc.cause) {
				t.Errorf("class is %q and cause %v, want %q and %v", class, cause, tc.class, tc.cause)
			}
		})
	}
}

// raw returns a handler that writes bytes to the connection and closes it.
func raw(t *testing.T, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

func TestTheEndOfAContextIsToldApart(t *testing.T) {
	hang := func(arrived chan<- struct{}) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			close(arrived)
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // returning would end the answer properly
		}
	}
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		arrived := make(chan struct{})
		client := serve(t, hang(arrived))
		go func() { <-arrived; cancel() }()
		_, err := client.Products(ctx)
		if KindOf(err) != KindTransport || !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
	})
	t.Run("timed out", func(t *testing.T) {
		client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived: the time was over before") },
			func(c *Config) { c.Timeout = time.Nanosecond })
		for name, do := range reads {
			if err := do(t.Context(), client); KindOf(err) != KindTransport || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error is %v, want context.DeadlineExceeded: the client's own timeout bounds every call", name, err)
			}
		}
	})
}

func TestCompressedAnswersAreNotInflated(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write([]byte(`{"success":true,"response":[]}`))
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = z.Close()
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	if _, err := list(t.Context(), client); KindOf(err) != KindUnreadable {
		t.Errorf("error is %v, want an unreadable answer: a small answer must not become a large one", err)
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, `{"success":true,"response":[]}`))
	if client.transport.Proxy != nil {
		t.Error("the transport has a proxy function: a variable in the pod would decide through whose hands the key goes")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(answer(http.StatusOK, jsonType, `{"success":true,"response":[]}`))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := clientOf(t, server)
	for range 5 {
		if _, err := client.Products(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("five calls made %d connections, want 1: answers are read to their end", n)
	}
}

func TestErrorText(t *testing.T) {
	tests := map[string]struct {
		err  Error
		want string
	}{
		"everything":    {Error{Op: "read certificate", Status: 404, Code: 15001, Message: "Record not found"}, "read certificate: HTTP 404 Not Found (code 15001): Record not found"},
		"no answer":     {Error{Op: "place order", Message: "api.regfish.com: no answer in time"}, "place order: api.regfish.com: no answer in time"},
		"no words":      {Error{Op: "place order", Status: 502}, "place order: HTTP 502 Bad Gateway"},
		"an odd status": {Error{Op: "place order", Status: 599}, "place order: HTTP 599"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.want {
				t.Errorf("error is %q, want %q", got, tc.want)
			}
		})
	}
	if got := KindOf(fmt.Errorf("wrapped: %w", &Error{Kind: KindConflict})); got != KindConflict {
		t.Errorf("kind of a wrapped error is %d", got)
	}
	if got := KindOf(errors.New("other")); got != KindNone {
		t.Errorf("kind of a foreign error is %d", got)
	}
}

func TestCABundleReplacesTheSystemsRoots(t *testing.T) {
	server := httptest.NewTLSServer(answer(http.StatusOK, jsonType, `{"success":true,"response":[]}`))
	t.Cleanup(server.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client := clientOf(t, server, func(c *Config) { c.CABundle = append([]byte("# a comment\n"), bundle...) })
	if _, err := client.Products(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAVendorThatRepeatsTheKeyEverywhereGetsItNowhere(t *testing.T) {
	echo := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			key := r.Header.Get("x-api-key")
			for _, header := range []string{"Location", "Retry-After", "Www-Authenticate", "Content-Language", "X-Error"} {
				w.Header().Set(header, key)
			}
			answer(status, media, strings.ReplaceAll(body, "KEY", key))(w, r)
		}
	}
	answers := map[string]http.HandlerFunc{
		"a refusal":              echo(401, jsonType, `{"success":false,"message":"bad key KEY","error":"KEY","code":15001}`),
		"a refusal with 200":     echo(200, jsonType, `{"success":false,"error":"bad key KEY"}`),
		"a redirect":             echo(307, htmlType, `<a href="https://example.com/KEY">KEY</a>`),
		"a web page":             echo(200, htmlType, `<!DOCTYPE html>KEY`),
		"a failure in words":     echo(502, "text/plain", "KEY"),
		"the key for JSON":       echo(200, jsonType, "KEY"),
		"the key for a number":   echo(200, jsonType, `{"success":true,"code":0,"response":{"id":"A","validity_days":"KEY"}}`),
		"the key for a field":    echo(200, jsonType, `{"success":true,"KEY":KEY}`),
		"the key for a success":  echo(200, jsonType, `{"success":"KEY","response":[]}`),
		"the key for a media":    func(w http.ResponseWriter, r *http.Request) { answer(200, r.Header.Get("x-api-key"), "KEY")(w, r) },
		"the key for a protocol": raw(t, testKey+" 200 OK\r\n\r\n"),
		"the key for a status":   raw(t, "HTTP/1.1 "+testKey+"\r\n\r\n"),
		"the key for a length":   raw(t, "HTTP/1.1 200 OK\r\nContent-Length: "+testKey+"\r\n\r\n"),
		"the key for a chunk":    raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+testKey+"\r\n"),
		"the key for a transfer": raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+testKey+"\r\n\r\n"),
	}
	calls := maps.Clone(reads)
	calls["POST /tls/certificate"] = func(ctx context.Context, c *Client) error {
		result := c.Order(ctx, orderRequest, yes)
		for _, printed := range print(result) {
			assertNoKey(t, printed)
		}
		if result.Err == nil {
			return nil
		}
		return result.Err
	}
	var give http.HandlerFunc
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { give(w, r) })
	var failed int
	for name, h := range answers {
		t.Run(name, func(t *testing.T) {
			give = h
			for call, do := range calls {
				err := do(t.Context(), client)
				if err == nil {
					continue // some calls read less of an answer than others
				}
				failed++
				if text := err.Error(); len(text) > 400 || Sanitise(text, 400) != text {
					t.Errorf("%s: error is not fit to be shown: %q", call, text)
				}
				for _, printed := range print(err) {
					assertNoKey(t, printed)
				}
				var e *Error
				if errors.As(err, &e) {
					for _, printed := range append(print(*e), print(e.Err)...) {
						assertNoKey(t, printed)
					}
				}
			}
		})
	}
	if want := len(answers) * len(calls) * 3 / 4; failed < want {
		t.Errorf("%d calls failed, want at least %d: the test looks at errors", failed, want)
	}
}
