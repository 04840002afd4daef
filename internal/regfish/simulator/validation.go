// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// resolveTimeout bounds the look-up of one name. Invented.
const resolveTimeout = 3 * time.Second

// validation is a CNAME record that an order waits for.
type validation struct{ name, target string }

// validationsOf returns the records that an order for names waits for.
//
// Invented: one record for each distinct base domain. The vendor's example has
// one record _dnsauth.example.com for example.com and www.example.com; what
// happens with several domains is undocumented. Every order has a token of its
// own, so two orders for the same names want different targets at one name.
func validationsOf(names []string) []validation {
	var validations []validation
	for _, name := range names {
		host := "_dnsauth." + baseDomain(name)
		if slices.ContainsFunc(validations, func(v validation) bool { return v.name == host }) {
			continue
		}
		token := make([]byte, 16)
		_, _ = rand.Read(token) // it never fails
		validations = append(validations, validation{host, hex.EncodeToString(token) + ".dcv.digicert.com"})
	}
	return validations
}

// baseDomain returns what looks like the registrable part of a name: its last two
// labels, or three for the likes of example.co.uk. Invented: a CA goes by the
// Public Suffix List.
func baseDomain(name string) string {
	labels := strings.Split(strings.TrimPrefix(name, "*."), ".")
	n := 2
	if len(labels) > 2 && len(labels[len(labels)-1]) == 2 &&
		slices.Contains([]string{"ac", "co", "com", "gov", "net", "or", "org"}, labels[len(labels)-2]) {
		n = 3
	}
	return strings.Join(labels[max(len(labels)-n, 0):], ".")
}

// recordsStand tells whether all records of an order are there, among the
// simulator's own or among those that were resolved. The caller holds mu.
func (s *Server) recordsStand(validations []validation, resolved map[string]string) bool {
	for _, v := range validations {
		if s.cnames[v.name] != v.target && resolved[v.name] != v.target {
			return false
		}
	}
	return true
}

// resolve looks up the names that pending orders wait for, or those of one order
// if id is not empty. Invented: that the CA looks when somebody asks; the real
// one looks by itself, at times that are not documented.
func (s *Server) resolve(ctx context.Context, id string) map[string]string {
	if s.options.Resolver == nil {
		return nil
	}
	resolved := map[string]string{}
	s.mu.Lock()
	for _, o := range s.orders {
		if o.validated.IsZero() && (id == "" || o.purchase.ID == id) {
			for _, v := range o.validations {
				resolved[v.name] = ""
			}
		}
	}
	s.mu.Unlock()
	for name := range resolved {
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		target, err := s.options.Resolver(ctx, name)
		cancel()
		if err != nil {
			s.options.Log.Debug("resolve", "name", name, "error", err)
		}
		resolved[name] = canonical(target)
	}
	return resolved
}
