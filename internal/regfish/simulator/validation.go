// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// resolveTimeout bounds the look-up of one name. Invented.
const resolveTimeout = 3 * time.Second

// The vendor's methods of validation.
const (
	methodCNAME = "dns-cname-token"
	methodEmail = "email"
)

// validation is a CNAME record that an order waits for.
type validation struct{ name, target string }

// validationsOf returns the records that an order for names waits for.
//
// Invented: one record for each distinct base domain. The vendor's example has
// one record _dnsauth.example.com for example.com and www.example.com; what
// happens with several domains is undocumented. Every order has a token of its
// own, so two orders for the same names want different targets at one name.
func (s *Server) validationsOf(names []string) []validation {
	var validations []validation
	for _, name := range names {
		host := "_dnsauth." + baseDomain(name)
		if slices.ContainsFunc(validations, func(v validation) bool { return v.name == host }) {
			continue
		}
		token := make([]byte, 16)
		_, _ = io.ReadFull(s.options.Random, token) // it never fails
		validations = append(validations, validation{host, hex.EncodeToString(token) + ".dcv.digicert.com"})
	}
	return validations
}

// emailTargets returns the addresses that the CA writes to. Invented: all of it.
// Without addresses in the order they are those that CAs make up for each base
// domain.
func emailTargets(names, ordered []string) []string {
	if len(ordered) > 0 {
		return ordered
	}
	var targets []string
	for _, name := range names {
		for _, mailbox := range []string{"admin", "administrator", "hostmaster", "postmaster", "webmaster"} {
			if target := mailbox + "@" + baseDomain(name); !slices.Contains(targets, target) {
				targets = append(targets, target)
			}
		}
	}
	return targets
}

// ConfirmEmail does what a person does with the link in the CA's e-mail. One of
// the addresses is enough. Invented: that it is.
func (s *Server) ConfirmEmail(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errNoCertificate
	}
	now := s.options.Now()
	if r := o.running; r.active() && len(r.targets) > 0 {
		r.validated, r.updated = now, now
		s.settle(o, now, nil)
		return nil
	}
	if len(o.targets) == 0 || o.staged || o.statusAt(now) != statusPending {
		return fmt.Errorf("order %s does not wait for an e-mail to be confirmed", id)
	}
	o.validated = now
	s.settle(o, now, nil)
	return nil
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
	now := s.options.Now()
	for _, o := range s.orders {
		if id == "" || o.purchase.ID == id {
			for _, v := range o.awaited(now) {
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
