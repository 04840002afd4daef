// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// answerDNS starts a DNS server that gives one answer, made of the query.
func answerDNS(t *testing.T, answer func(query []byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if reply := answer(query[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// respond makes a response of a query with some records behind its question.
func respond(query []byte, code byte, records ...string) []byte {
	answer := append([]byte{}, query...)
	answer[2] |= 0x80
	answer[3] = 0x80 | code
	answer[7] = byte(len(records))
	for _, r := range records {
		answer = append(answer, r...)
	}
	return answer
}

// pointer is the name of the question.
const pointer = "\xc0\x0c"

func cname(owner, target string) string {
	return owner + "\x00\x05\x00\x01\x00\x00\x00\x3c\x00" + string(rune(len(target))) + target
}

func TestDNS(t *testing.T) {
	const target = "\x05token\x03dcv\x08digicert\x03com\x00"
	const name = "_dnsauth.example.com"
	const a = pointer + "\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
	tests := map[string]struct {
		reason string
		name   string
		answer func(query []byte) []byte
		want   string // empty: an error
	}{
		"a CNAME": {
			reason: "The usual answer.", name: name, want: "token.dcv.digicert.com",
			answer: func(q []byte) []byte { return respond(q, 0, cname(pointer, target)) },
		},
		"a CNAME that leads nowhere": {
			reason: "The CA's host names do not exist, which servers that follow the CNAME report.", name: name, want: "token.dcv.digicert.com",
			answer: func(q []byte) []byte { return respond(q, 3, cname(pointer, target)) },
		},
		"a name in another case and with a dot": {
			reason: "It is the same name.", name: "_DNSauth.example.com.", want: "token.dcv.digicert.com",
			answer: func(q []byte) []byte {
				return respond(q, 0, cname("\x08_dnsauth\x07EXAMPLE\x03com\x00", target))
			},
		},
		"a compressed target": {
			reason: "Servers compress names.", name: name, want: "token.example.com",
			answer: func(q []byte) []byte { return respond(q, 0, cname(pointer, "\x05token\xc0\x15")) },
		},
		"another record first": {
			reason: "It is skipped.", name: name, want: "token.dcv.digicert.com",
			answer: func(q []byte) []byte { return respond(q, 0, a, cname(pointer, target)) },
		},
		"the CNAME of another name": {
			reason: "It says nothing about this one.", name: name,
			answer: func(q []byte) []byte { return respond(q, 0, cname("\x05other\x00", target)) },
		},
		"no record":        {reason: "There is none.", name: name, answer: func(q []byte) []byte { return respond(q, 0) }},
		"no such name":     {reason: "There is none.", name: name, answer: func(q []byte) []byte { return respond(q, 3) }},
		"a failing server": {reason: "It cannot tell.", name: name, answer: func(q []byte) []byte { return respond(q, 2, cname(pointer, target)) }},
		"a query with records": {
			reason: "It is no answer.", name: name,
			answer: func(q []byte) []byte { r := respond(q, 0, cname(pointer, target)); r[2] &^= 0x80; return r },
		},
		"an owner compressed twice": {
			reason: "The record goes on behind the first of the pointers.", name: name, want: "token.dcv.digicert.com",
			answer: func(q []byte) []byte {
				return respond(q, 0, a, cname("\xc0"+string([]byte{byte(len(q))}), target))
			},
		},
		"an answer to another": {reason: "It may be forged.", name: name, answer: func(q []byte) []byte { q[0]++; return respond(q, 0, cname(pointer, target)) }},
		"a short answer":       {reason: "It is broken.", name: name, answer: func(q []byte) []byte { return q[:5] }},
		"a missing record":     {reason: "It is broken.", name: name, answer: func(q []byte) []byte { r := respond(q, 0); r[7] = 1; return r }},
		"half a record": {
			reason: "It is broken.", name: name,
			answer: func(q []byte) []byte { r := respond(q, 0, cname(pointer, target)); return r[:len(r)-3] },
		},
		"half a question": {reason: "It is broken.", name: name, answer: func(q []byte) []byte { r := respond(q, 0); return r[:20] }},
		"a name that points at itself": {
			reason: "It must not be followed for ever.", name: name,
			answer: func(q []byte) []byte { r := respond(q, 0); r[7] = 1; return append(r, 0xc0, byte(len(r))) },
		},
		"a pointer beyond the end": {
			reason: "It is broken.", name: name,
			answer: func(q []byte) []byte { return respond(q, 0, cname(pointer, "\xc1\xff")) },
		},
		"a label of a reserved kind": {
			reason: "It is broken.", name: name,
			answer: func(q []byte) []byte { return respond(q, 0, cname(pointer, "\x85token\x00")) },
		},
		"a name with an empty label": {reason: "It cannot be asked for.", name: "a..example.com", answer: func([]byte) []byte { return nil }},
		"a name with a long label":   {reason: "It cannot be asked for.", name: strings.Repeat("a", 64) + ".com", answer: func([]byte) []byte { return nil }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := simulator.DNS(answerDNS(t, tc.answer))(t.Context(), tc.name)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("answer is %q, %v, want %q. %s", got, err, tc.want, tc.reason)
			}
		})
	}
}

func TestDNSGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := answerDNS(t, func([]byte) []byte { cancel(); return nil })
	if _, err := simulator.DNS(address)(ctx, "example.com"); err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestAnOrderIsValidatedThroughDNS(t *testing.T) {
	var target atomic.Value
	address := answerDNS(t, func(q []byte) []byte {
		labels := ""
		for label := range strings.SplitSeq(strings.TrimSuffix(target.Load().(string), "."), ".") {
			labels += string(rune(len(label))) + label
		}
		return respond(q, 3, cname(pointer, labels+"\x00"))
	})
	v := start(t, func(o *simulator.Options) { o.Resolver = simulator.DNS(address) })
	cert := v.order(t, "www.example.com")
	target.Store(cert.Validation.DNSRecords[0].Value)
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

// FuzzDNSAnswer looks for answers that cannot be handled, and for targets that
// are not in the answer.
func FuzzDNSAnswer(f *testing.F) {
	f.Add([]byte("\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x05\x00\x01\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x03\x01b\x00"))
	f.Add([]byte("\x00\x00\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		target, err := simulator.CNAMEAnswer(answer, make([]byte, 12), "a")
		if err != nil {
			if target != "" {
				t.Errorf("target %q beside the error %v", target, err)
			}
			return
		}
		for label := range strings.SplitSeq(target, ".") {
			if !strings.Contains(string(answer), label) {
				t.Errorf("label %q is not in %q", label, answer)
			}
		}
	})
}
