// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
)

// DNS returns a resolver for Options.Resolver that asks the DNS server at
// address (host:port) over UDP for CNAME records. Go's own resolver is of no use
// here: it follows the CNAME, and the CA's host names at its end do not exist.
func DNS(address string) func(ctx context.Context, name string) (target string, err error) {
	return func(ctx context.Context, name string) (string, error) {
		query, err := cnameQuery(name)
		if err != nil {
			return "", err
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", address)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		if _, err := conn.Write(query); err != nil {
			return "", err
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if err != nil {
			return "", err
		}
		return cnameAnswer(answer[:n], query, name)
	}
}

const (
	dnsHeader  = 12
	typeCNAME  = 5
	classIN    = 1
	maxPointer = 16 // jumps in one compressed name
)

var errBadAnswer = errors.New("DNS answer cannot be read")

// cnameQuery encodes the question for the CNAME of a name, with a random id.
func cnameQuery(name string) ([]byte, error) {
	query := make([]byte, dnsHeader, 512)
	_, _ = rand.Read(query[:2]) // it never fails
	query[2] = 1                // recursion desired
	query[5] = 1                // one question
	for label := range strings.SplitSeq(canonical(name), ".") {
		n := len(label)
		if n < 1 || n > 63 {
			return nil, fmt.Errorf("%q is not a domain name", name)
		}
		query = append(append(query, byte(n)), label...)
	}
	return append(query, 0, 0, typeCNAME, 0, classIN), nil
}

// cnameAnswer returns the target of the CNAME at name.
func cnameAnswer(answer, query []byte, name string) (string, error) {
	if len(answer) < dnsHeader || answer[0] != query[0] || answer[1] != query[1] || answer[2]&0x80 == 0 {
		return "", errBadAnswer
	}
	if code := answer[3] & 0xf; code != 0 && code != 3 { // a dangling CNAME comes with code 3
		return "", fmt.Errorf("DNS answer has the code %d", code)
	}
	questions, records := binary.BigEndian.Uint16(answer[4:]), binary.BigEndian.Uint16(answer[6:])
	at := dnsHeader
	for range questions {
		_, end, err := domainName(answer, at)
		if err != nil {
			return "", err
		}
		at = end + 4
	}
	for range records {
		owner, end, err := domainName(answer, at)
		if err != nil || end+10 > len(answer) {
			return "", errBadAnswer
		}
		kind, size := binary.BigEndian.Uint16(answer[end:]), int(binary.BigEndian.Uint16(answer[end+8:]))
		at = end + 10 + size
		if at > len(answer) {
			return "", errBadAnswer
		}
		if kind == typeCNAME && canonical(owner) == canonical(name) {
			target, _, err := domainName(answer, end+10)
			return target, err
		}
	}
	return "", fmt.Errorf("%s has no CNAME record", name)
}

// domainName decodes the name at an offset and returns the offset behind it.
func domainName(message []byte, at int) (name string, end int, err error) {
	var labels []string
	for jumps := 0; ; {
		if at >= len(message) {
			return "", 0, errBadAnswer
		}
		size := int(message[at])
		switch {
		case size == 0:
			if jumps == 0 {
				end = at + 1
			}
			return strings.Join(labels, "."), end, nil
		case size >= 0xc0:
			if at+1 >= len(message) || jumps == maxPointer {
				return "", 0, errBadAnswer
			}
			if jumps == 0 {
				end = at + 2
			}
			jumps++
			at = int(binary.BigEndian.Uint16(message[at:]) & 0x3fff)
		case size > 63 || at+1+size > len(message):
			return "", 0, errBadAnswer
		default:
			labels = append(labels, string(message[at+1:at+1+size]))
			at += 1 + size
		}
	}
}
