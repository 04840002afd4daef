// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestCertificates(t *testing.T) {
	row := strings.TrimSpace(fixture(t, "certificate.json"))
	row = row[strings.Index(row, `"response": `)+len(`"response": `) : strings.LastIndex(row, "}")]
	tests := map[string]struct {
		reason string
		body   string
		want   []Certificate // handed over, also before an error
		kind   Kind          // KindNone: success
		text   string        // part of the error
	}{
		"success after the rows": {
			reason: "The order of keys in JSON means nothing.",
			body:   fixture(t, "certificates.json"), want: []Certificate{issued, staged},
		},
		"success before the rows": {
			reason: "This is how the vendor's page shows it.",
			body:   `{"success":true,"code":0,"response":[` + row + `]}`, want: []Certificate{ordered},
		},
		"an empty list": {
			reason: "A new account has none.",
			body:   `{"success":true,"code":0,"response":[]}`,
		},
		"keys that nobody knows": {
			reason: "The vendor may add keys to the envelope.",
			body:   `{"meta":{"response":[1],"success":false},"success":true,"response":[{"id":"A"}],"z":[[]]}`, want: []Certificate{{ID: "A"}},
		},
		"a text in error beside success": {
			reason: "The vendor fills it on success, too. Only success decides.",
			body:   `{"success":true,"error":"Record successfully deleted","response":[]}`,
		},
		"a code that is no number": {
			reason: "The code does not decide.",
			body:   `{"success":true,"code":"none","message":{"a":1},"response":[]}`,
		},
		"success false after the rows": {
			reason: "The rows exist, but the list proves nothing.",
			body:   `{"response":[{"id":"A"}],"success":false,"error":"Record not found","code":15001}`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "(code 15001): Record not found",
		},
		"success false without rows": {
			reason: "The vendor answers 200 with success false.",
			body:   fixture(t, "zone-foreign.json"), kind: KindUnreadable, text: "Record not found",
		},
		"no success": {
			reason: "Nothing says that the list is whole.",
			body:   `{"response":[]}`, kind: KindUnreadable, text: "does not say that it succeeded",
		},
		"success null": {
			reason: "Nothing says that the list is whole.",
			body:   `{"success":null,"response":[]}`, kind: KindUnreadable, text: "does not say that it succeeded",
		},
		"success in another case": {
			reason: "It is another key, and a lax decoder would let it overrule the right one.",
			body:   `{"success":false,"SUCCESS":true,"response":[]}`, kind: KindUnreadable, text: "does not say that it succeeded",
		},
		"success twice": {
			reason: "Nobody can say which one holds.",
			body:   `{"success":false,"response":[],"success":true}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"success as text": {
			reason: "It is not the documented form.",
			body:   `{"success":"true","response":[]}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"no response": {
			reason: "An absent list is not an empty list.",
			body:   `{"success":true}`, kind: KindUnreadable, text: "no response",
		},
		"response null": {
			reason: "A null is not an empty list: a purchase may be decided on it.",
			body:   `{"success":true,"response":null}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"response an object": {
			reason: "It may be a page of a list; a page proves nothing.",
			body:   `{"success":true,"response":{"items":[]}}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"two responses": {
			reason: "Nobody can say which one holds.",
			body:   `{"success":true,"response":[{"id":"A"}],"response":[]}`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"a row without an id": {
			reason: "It could be the order that is looked for.",
			body:   `{"success":true,"response":[{"id":"A"},{"common_name":"example.com"}]}`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "without an id",
		},
		"a row that is null": {
			reason: "It could be the order that is looked for.",
			body:   `{"success":true,"response":[null]}`, kind: KindUnreadable, text: "without an id",
		},
		"a row that is text": {
			reason: "It could be the order that is looked for.",
			body:   `{"success":true,"response":["A"]}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"a list that breaks off": {
			reason: "What is missing could be the order that is looked for.",
			body:   `{"success":true,"response":[{"id":"A"},{"id":`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"an answer that breaks off after the list": {
			reason: "It was not read to its end.",
			body:   `{"success":true,"response":[{"id":"A"}]`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"something after the answer": {
			reason: "Two documents are not one answer.",
			body:   `{"success":true,"response":[]} {}`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"a web page": {
			reason: "A gateway in between answers with 200, too.",
			body:   htmlPage, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"nothing": {
			reason: "An empty answer is not an empty list.",
			body:   "", kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"an array": {
			reason: "It has no envelope.",
			body:   `[]`, kind: KindUnreadable, text: "not JSON of the documented form",
		},
		"a row larger than its bound": {
			reason: "One row must not fill the memory.",
			body:   `{"success":true,"response":[{"id":"A"},{"id":"B","serial_number":"` + strings.Repeat("0", maxValueBytes) + `"}]}`,
			want:   []Certificate{{ID: "A"}}, kind: KindUnreadable, text: "too large",
		},
		"a row just below its bound": {
			reason: "It is allowed.",
			body:   `{"success":true,"response":[{"id":"A","pending_message":"` + strings.Repeat("0", maxValueBytes-100) + `"}]}`,
			want:   []Certificate{{ID: "A", PendingMessage: strings.Repeat("0", maxValueBytes-100)}},
		},
		"blanks without end": {
			reason: "They must not be read without end either.",
			body:   `{"success":true,"response":[` + strings.Repeat(" ", 2*maxValueBytes) + `]}`, kind: KindUnreadable, text: "too large",
		},
		"an unknown value larger than its bound": {
			reason: "What is skipped is bounded like what is read.",
			body:   `{"success":true,"x":"` + strings.Repeat("0", maxValueBytes) + `","response":[]}`, kind: KindUnreadable, text: "too large",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answer(http.StatusOK, jsonType, tc.body))
			got, err := list(t.Context(), client)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("handed over\n%s\nwant\n%s\n%s", show(got), show(tc.want), tc.reason)
			}
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
			if err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error is %q, want one about %q. %s", err, tc.text, tc.reason)
			}
		})
	}
}

func TestCertificatesReadsAListLargerThanAnyOtherAnswer(t *testing.T) {
	const n = maxAnswerBytes/5000 + 1
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"response":[`)
		for i := range n {
			if i > 0 {
				_, _ = io.WriteString(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"id":"ID%d","pending_message":%q}`, i, strings.Repeat("m", 5000))
		}
		_, _ = io.WriteString(w, `],"success":true}`)
	})
	var read int
	err := client.Certificates(t.Context(), func(c Certificate) error {
		if c.ID != fmt.Sprintf("ID%d", read) {
			t.Fatalf("row %d is %s", read, c.ID)
		}
		read++
		return nil
	})
	if err != nil || read != n {
		t.Fatalf("read %d rows, %v, want %d", read, err, n)
	}
}

func TestDecoderBoundsTheWholeAnswer(t *testing.T) {
	doc := `{"success":true,"response":[{"id":"A"},{"id":"B"}]}`
	for total := range len(doc) + 2 {
		var got []string
		c := Client{key: mustKey(t, testKey)}
		e, err := newDecoder(strings.NewReader(doc), int64(total), maxValueBytes).envelope(c.certificates(func(c Certificate) error {
			got = append(got, c.ID)
			return nil
		}))
		if total >= len(doc) {
			if err != nil || !e.succeeded() || len(got) != 2 {
				t.Errorf("bound %d: %v %v, want the whole answer of %d bytes", total, got, err, len(doc))
			}
			continue
		}
		if !errors.Is(err, errTooLarge) {
			t.Errorf("bound %d: %v, want %v: an answer that was cut is not read to its end", total, err, errTooLarge)
		}
	}
}

// How large the list is decides how often it is read.
func TestCountBytes(t *testing.T) {
	body := fixture(t, "certificates.json")
	c := serve(t, answer(http.StatusOK, jsonType, body))
	var n int64
	for i := range int64(2) {
		if _, err := list(CountBytes(t.Context(), &n), c); err != nil || n != (i+1)*int64(len(body)) {
			t.Errorf("%d bytes counted, want %d: %v", n, (i+1)*int64(len(body)), err)
		}
	}
}

func TestCertificatesReturnsTheCallersOwnError(t *testing.T) {
	client := serve(t, answer(http.StatusOK, jsonType, fixture(t, "certificates.json")))
	enough := errors.New("enough")
	calls := 0
	err := client.Certificates(t.Context(), func(Certificate) error { calls++; return enough })
	if !errors.Is(err, enough) || KindOf(err) != KindNone || calls != 1 {
		t.Errorf("error is %v after %d calls, want the callback's own error after 1", err, calls)
	}
}

func TestCertificatesThatBreaksOffIsATransportError(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"success":true,"response":[{"id":"A"}`)
	})
	got, err := list(t.Context(), client)
	if len(got) != 1 || KindOf(err) != KindTransport {
		t.Errorf("got %d rows and %v, want the row that came and a transport error", len(got), err)
	}
}

func TestCertificate(t *testing.T) {
	tests := map[string]struct {
		reason string
		id     string
		path   string
		status int
		body   string
		want   Certificate
		kind   Kind
	}{
		"a certificate": {
			reason: "This is the vendor's own example.",
			id:     "ABCDEFGHJKM23", path: "/tls/certificate/ABCDEFGHJKM23", status: 200, body: fixture(t, "certificate.json"), want: ordered,
		},
		"an id that looks like a path": {
			reason: "It must not reach another endpoint.",
			id:     "../dns/rr?x=1#y", path: "/tls/certificate/..%2Fdns%2Frr%3Fx=1%23y", status: 404, body: fixture(t, "error.json"), kind: KindNotFound,
		},
		"an id that the account does not have": {
			reason: "The vendor answers 404.",
			id:     "A", path: "/tls/certificate/A", status: 404, body: fixture(t, "error.json"), kind: KindNotFound,
		},
		"an answer without an id": {
			reason: "It is not the certificate that was asked for.",
			id:     "A", path: "/tls/certificate/A", status: 200, body: `{"success":true,"response":{}}`, kind: KindUnreadable,
		},
		"an answer without success": {
			reason: "Only success decides.",
			id:     "A", path: "/tls/certificate/A", status: 200, body: `{"success":false,"response":{"id":"A"}}`, kind: KindUnreadable,
		},
		"a list":            {reason: "It is another answer.", id: "A", path: "/tls/certificate/A", status: 200, body: `{"success":true,"response":[{"id":"A"}]}`, kind: KindUnreadable},
		"an empty id":       {reason: "It would read the list.", id: "", kind: KindInvalid},
		"the id dot":        {reason: "It is a step in a path.", id: ".", kind: KindInvalid},
		"the id dot dot":    {reason: "It is a step in a path.", id: "..", kind: KindInvalid},
		"an id with spaces": {reason: "It is escaped.", id: "A B", path: "/tls/certificate/A%20B", status: 404, body: "{}", kind: KindNotFound},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var path string
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				path = r.RequestURI
				answer(tc.status, jsonType, tc.body)(w, r)
			})
			got, err := client.Certificate(t.Context(), tc.id)
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %s\nwant %s\n%s", show(got), show(tc.want), tc.reason)
			}
			if path != tc.path {
				t.Errorf("asked for %q, want %q. %s", path, tc.path, tc.reason)
			}
		})
	}
}

// A body that comes byte by byte is not waited for without end, and nothing of it is used,
// although what has come so far begins as a certificate does.
func TestDownloadOfASlowBodyEnds(t *testing.T) {
	gone := make(chan struct{})
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = io.WriteString(w, "-----BEGIN CERTIFICATE-----\n")
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = io.WriteString(w, "M")
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				close(gone)
				return
			case <-tick.C:
			}
		}
	}, func(c *Config) { c.Timeout = 200 * time.Millisecond })
	data, err := client.Download(t.Context(), "7K9QW3M2ZT8HJ")
	if KindOf(err) != KindTransport || !errors.Is(err, context.DeadlineExceeded) || data != nil {
		t.Errorf("Download: %q, %v", data, err)
	}
	// The connection is given up, too.
	<-gone
}

func TestDownload(t *testing.T) {
	const pemType = "application/x-pem-file"
	const block = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	padded := func(n int) string { return block + strings.Repeat("x", n-len(block)) }
	tests := map[string]struct {
		reason string
		status int
		media  string
		body   string
		kind   Kind
		text   string
	}{
		"a chain":                         {reason: "This is the usual answer.", status: 200, media: pemType, body: block + block},
		"an undocumented content type":    {reason: "The content type is not documented.", status: 200, media: "application/octet-stream", body: block},
		"plain text":                      {reason: "The content type is not documented.", status: 200, media: "text/plain; charset=utf-8", body: "\n" + block},
		"as much as may be read":          {reason: "The bound is inclusive.", status: 200, media: pemType, body: padded(maxDownloadBytes)},
		"one byte more than may be read":  {reason: "No chain is that long.", status: 200, media: pemType, body: padded(maxDownloadBytes + 1), kind: KindUnreadable, text: "too large"},
		"a web page":                      {reason: "A gateway in between answers with 200, too.", status: 200, media: htmlType, body: htmlPage, kind: KindUnreadable, text: "web page"},
		"a web page of another type":      {reason: "Gateways are careless with content types.", status: 200, media: pemType, body: "\n " + htmlPage, kind: KindUnreadable, text: "web page"},
		"PEM that says it is a web page":  {reason: "Who sent it is unclear.", status: 200, media: htmlType, body: block, kind: KindUnreadable, text: "web page"},
		"an envelope":                     {reason: "The vendor sends errors with 200.", status: 200, media: jsonType, body: fixture(t, "zone-foreign.json"), kind: KindUnreadable, text: "not a PEM"},
		"nothing":                         {reason: "It is no certificate.", status: 200, media: pemType, body: "", kind: KindUnreadable, text: "not a PEM"},
		"a key":                           {reason: "It is no certificate.", status: 200, media: pemType, body: "-----BEGIN PRIVATE KEY-----\n", kind: KindUnreadable, text: "not a PEM"},
		"not ready yet":                   {reason: "The vendor answers 409 even for a while after the status is issued.", status: 409, media: jsonType, body: fixture(t, "error.json"), kind: KindConflict, text: "409 Conflict: Invalid request"},
		"an id the account does not have": {reason: "The vendor answers 404.", status: 404, media: jsonType, body: fixture(t, "error.json"), kind: KindNotFound, text: "404"},
		"a web page with an error status": {reason: "The status counts, the page does not.", status: 502, media: htmlType, body: htmlPage, kind: KindUnavailable, text: "download certificate: HTTP 502 Bad Gateway"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var request *http.Request
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				request = r
				answer(tc.status, tc.media, tc.body)(w, r)
			})
			got, err := client.Download(t.Context(), "A/B")
			if KindOf(err) != tc.kind || (err == nil) != (tc.kind == KindNone) {
				t.Fatalf("error is %v of kind %d, want kind %d. %s", err, KindOf(err), tc.kind, tc.reason)
			}
			if err == nil && string(got) != tc.body {
				t.Errorf("got %q, want %q. %s", got, tc.body, tc.reason)
			}
			if err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error is %q, want one about %q. %s", err, tc.text, tc.reason)
			}
			if request.RequestURI != "/tls/certificate/A%2FB/download/pem" {
				t.Errorf("asked for %s", request.RequestURI)
			}
			if accept := request.Header["Accept"]; accept != nil {
				t.Errorf("sent Accept %q; the vendor's client sends none on downloads", accept)
			}
		})
	}
}

// FuzzCertificates compares the streaming decoder with a plain decoding of the
// whole document. A list that is accepted must say in plain JSON what was handed
// over, must be accepted however it is cut into reads, and must not be accepted
// when its end is missing. A list that is plainly right must be accepted.
func FuzzCertificates(f *testing.F) {
	for _, name := range []string{"certificates.json", "certificate.json", "zone-foreign.json", "error.json", "record-deleted.json", "products.json"} {
		f.Add([]byte(fixture(f, name)))
	}
	for _, seed := range []string{
		`{"success":true,"response":[]}`, `{"response":[{"id":"A"}],"success":false}`, `{"success":true,"response":null}`,
		`{"success":true,"success":true,"response":[]}`, `{"success":true,"response":[{"id":"A"}]}{}`, `{"SUCCESS":true,"response":[]}`,
		`{"success":true,"code":{"a":[1]},"x":"\ud800","response":[{"ID":"A","id":"B"}]}`,
	} {
		f.Add([]byte(seed))
	}
	c := &Client{host: "api.regfish.com", key: mustKey(f, testKey)}
	read := func(r io.Reader) ([]Certificate, error) {
		var certs []Certificate
		e, err := newDecoder(r, maxListBytes, maxValueBytes).envelope(c.certificates(func(cert Certificate) error {
			certs = append(certs, cert)
			return nil
		}))
		return certs, c.judge(call{op: "list"}, http.StatusOK, e, err)
	}
	// plain decodes a list with encoding/json alone.
	plain := func(document map[string]json.RawMessage) ([]Certificate, bool) {
		var success bool
		var rows []json.RawMessage
		if json.Unmarshal(document["success"], &success) != nil || !success ||
			json.Unmarshal(document["response"], &rows) != nil || rows == nil {
			return nil, false
		}
		var certs []Certificate
		for _, row := range rows {
			var cert Certificate
			if len(row) > maxValueBytes/2 || json.Unmarshal(row, &cert) != nil || cert.ID == "" {
				return nil, false
			}
			certs = append(certs, cert)
		}
		return certs, true
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := read(bytes.NewReader(data))
		slow, slowErr := read(iotest.OneByteReader(bytes.NewReader(data)))
		if !reflect.DeepEqual(got, slow) || fmt.Sprint(err) != fmt.Sprint(slowErr) {
			t.Fatalf("read at once: %s %v\nread byte by byte: %s %v", show(got), err, show(slow), slowErr)
		}
		var document map[string]json.RawMessage
		isObject := json.Unmarshal(data, &document) == nil && document != nil
		if err == nil {
			if !isObject {
				t.Fatalf("accepted %q, which is no JSON object", data)
			}
			want, ok := plain(document)
			if !ok || !reflect.DeepEqual(got, want) {
				t.Fatalf("accepted %q as %s, but it says %s", data, show(got), show(want))
			}
			whole := bytes.TrimSpace(data)
			for _, end := range []int{len(whole) - 1, len(whole) / 2, len(whole) / 3} {
				if _, err := read(bytes.NewReader(whole[:end])); err == nil {
					t.Fatalf("accepted %q, the beginning of %q", whole[:end], whole)
				}
			}
			return
		}
		if KindOf(err) != KindUnreadable || len(err.Error()) > 400 || Sanitise(err.Error(), 400) != err.Error() {
			t.Fatalf("error %q is not of the right kind or not fit to be shown", err)
		}
		if !isObject || len(data) > maxValueBytes/2 {
			return
		}
		// Encoding the document again leaves one value for each key.
		if want, ok := plain(document); ok {
			clean, encodeErr := json.Marshal(document)
			if encodeErr != nil {
				t.Fatal(encodeErr)
			}
			if got, err := read(bytes.NewReader(clean)); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("refused %q: %v", clean, err)
			}
		}
	})
}
