// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Every JSON answer is wrapped: {"success":true,"code":0,"response":...}, or
// {"success":false,"message":...,"error":...,"code":...} with any of the last
// three left out. Only success decides: the vendor also fills error when a
// deletion succeeded, and answers 200 with success false.
type envelope struct {
	success  *bool // nil: not said
	code     int
	message  string
	answered bool // the response was there
}

func (e envelope) succeeded() bool { return e.success != nil && *e.success }
func (e envelope) refused() bool   { return e.success != nil && !*e.success }

// unreadable says why an answer cannot be used although all of it arrived.
type unreadable string

func (u unreadable) Error() string { return string(u) }

const (
	errTooLarge  unreadable = "answer is too large"
	errNotJSON   unreadable = "answer is not JSON of the documented form"
	errNoAnswer  unreadable = "answer has no response"
	errNoSuccess unreadable = "answer does not say that it succeeded"
	errNoID      unreadable = "answer has a certificate without an id"
	errHTML      unreadable = "answer is a web page"
	errNotPEM    unreadable = "answer is not a PEM certificate"
)

// body reads an answer within two bounds: one for all of it, and one for each
// value, so that a single endless value is not collected in memory.
type body struct {
	r     io.Reader
	read  int64
	total int64 // bound of the whole answer
	until int64 // bound of the value being read
	err   error // what ended the reading, if it was not the end of the answer
}

func (b *body) Read(p []byte) (int, error) {
	left := min(b.until, b.total) - b.read
	if left <= 0 {
		// At the bound: this is fine if the answer ends right here.
		var one [1]byte
		_, err := io.ReadFull(b.r, one[:])
		switch err {
		case io.EOF:
			return 0, io.EOF
		case nil:
			err = errTooLarge
		}
		b.err = err
		return 0, err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), left)])
	b.read += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// decoder decodes one envelope, whatever the order of its keys.
type decoder struct {
	*json.Decoder
	body  *body
	value int64 // bound of one value in bytes
}

func newDecoder(r io.Reader, total, value int64) *decoder {
	b := &body{r: r, total: total, until: value}
	return &decoder{Decoder: json.NewDecoder(b), body: b, value: value}
}

// next grants the bound of one more value from here on.
func (d *decoder) next() { d.body.until = d.InputOffset() + d.value }

// envelope reads the answer to its end. The response is handed to take, or
// skipped if take is nil. An error of the connection is returned as it is.
func (d *decoder) envelope(take func(*decoder) error) (envelope, error) {
	var e envelope
	var errorText string
	seen := map[string]bool{}
	if err := d.delim('{'); err != nil {
		return e, err
	}
	for d.more() {
		token, err := d.Token()
		if err != nil {
			return e, d.cause(err)
		}
		key, _ := token.(string)
		if seen[key] {
			// Two values for one key: nobody can say which one holds.
			return e, errNotJSON
		}
		// Only the known keys are remembered: there may be any number of others.
		switch d.next(); key {
		case "success":
			seen[key] = true
			err = d.Decode(&e.success)
		case "code":
			seen[key] = true
			e.code, err = d.number()
		case "message":
			seen[key] = true
			e.message, err = d.text()
		case "error":
			seen[key] = true
			errorText, err = d.text()
		case "response":
			seen[key] = true
			e.answered = true
			if take != nil {
				err = take(d)
				break
			}
			err = d.Decode(new(json.RawMessage))
		default:
			err = d.Decode(new(json.RawMessage))
		}
		if err != nil {
			return e, d.cause(err)
		}
	}
	if err := d.delim('}'); err != nil {
		return e, err
	}
	// What follows must be nothing: two documents are not one answer.
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, d.cause(err)
	}
	if e.message == "" {
		e.message = errorText
	}
	return e, nil
}

// more grants the bound of the next value and tells whether there is one.
func (d *decoder) more() bool {
	d.next()
	return d.More()
}

func (d *decoder) delim(want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return d.cause(err)
	}
	if token != want {
		return errNotJSON
	}
	return nil
}

// text reads a value that should be a string; anything else counts as none.
func (d *decoder) text() (string, error) {
	var v any
	err := d.Decode(&v)
	s, _ := v.(string)
	return s, err
}

// number reads a value that should be an integer; anything else counts as 0.
func (d *decoder) number() (int, error) {
	var raw json.RawMessage
	err := d.Decode(&raw)
	n, _ := strconv.Atoi(string(raw))
	return n, err
}

// cause returns what broke the connection, a callback's own error, or else that
// the answer cannot be read. Errors of encoding/json are not passed on, because
// they quote what they could not read.
func (d *decoder) cause(err error) error {
	var own *callbackError
	var why unreadable
	switch {
	case d.body.err != nil:
		return d.body.err
	case errors.As(err, &own), errors.As(err, &why):
		return err
	default:
		return errNotJSON
	}
}

// callbackError carries the error of a caller's callback out of the decoder.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }
