// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"slices"
)

func (s *Server) listCertificates(r *http.Request, account int, faults []Fault) reply {
	resolved := s.resolve(r.Context(), "")
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	views := []certificateView{}
	// Invented: that the newest comes first, and that rows are complete.
	for _, o := range slices.Backward(s.orders) {
		if o.purchase.Account != account {
			continue
		}
		s.look(o, now, resolved)
		if f, ok := find(faults, FaultListLag); ok && now.Sub(o.purchase.Time) < f.Delay {
			continue
		}
		views = append(views, o.view(now, faults, s.console(r)))
	}
	if f, ok := find(faults, FaultFirstPageOnly); ok && len(views) > f.Rows {
		views = views[:f.Rows]
	}
	return accept(views)
}

func (s *Server) getCertificate(r *http.Request, account int, faults []Fault) reply {
	id := r.PathValue("id")
	resolved := s.resolve(r.Context(), id)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(account, id)
	if o == nil {
		return refuse(http.StatusNotFound, "TLS certificate not found") // Invented: the text
	}
	now := s.options.Now()
	s.look(o, now, resolved)
	return accept(o.view(now, faults, s.console(r)))
}

func (s *Server) download(r *http.Request, account int, faults []Fault) reply {
	id := r.PathValue("id")
	resolved := s.resolve(r.Context(), id)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(account, id)
	// The vendor's client takes 404 for a zip that is not there; formats beyond
	// pem and zip are unknown.
	if o == nil || r.PathValue("format") != "pem" {
		return refuse(http.StatusNotFound, "TLS certificate not found")
	}
	now := s.options.Now()
	s.settle(o, now, resolved)
	if !o.downloadable(now) || has(faults, FaultNotReady) {
		return refuse(http.StatusConflict, "The certificate is not available yet") // Invented: the text
	}
	chain, err := s.ca.deliver(o, now, faults)
	if err != nil {
		return refuse(http.StatusInternalServerError, "Unexpected error")
	}
	return reply{status: http.StatusOK, raw: chain}
}

// find returns the order of an account by its id, or nil. The caller holds mu.
func (s *Server) find(account int, id string) *order {
	if o := s.byID[id]; o != nil && o.purchase.Account == account {
		return o
	}
	return nil
}
