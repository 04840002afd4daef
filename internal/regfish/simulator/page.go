// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bytes"
	"cmp"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageHTML string

var completionPage = template.Must(template.New("page").Parse(pageHTML))

// completionPath is the path that the vendor's console has.
const completionPath = "/my/certs/{id}/complete"

// pages adds the page on which a person completes a staged order. Invented: all of
// it but the path; the vendor's console asks for a login.
func (s *Server) pages(mux *http.ServeMux) {
	mux.HandleFunc("GET "+completionPath, func(w http.ResponseWriter, r *http.Request) {
		s.showOrder(w, r.PathValue("id"), http.StatusOK)
	})
	mux.HandleFunc("POST "+completionPath, func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if s.Complete(id) != nil {
			// Such as a second click: the page says what became of the order.
			s.showOrder(w, id, http.StatusConflict)
			return
		}
		w.Header().Set("Location", completionURL("", id))
		w.WriteHeader(http.StatusSeeOther)
	})
}

// console returns where the pages are: at the host by which the API was asked,
// unless Options.ConsoleURL says another.
func (s *Server) console(r *http.Request) string {
	return cmp.Or(s.options.ConsoleURL, "https://"+r.Host)
}

// completionURL returns the address of an order's page.
func completionURL(console, id string) string { return console + "/my/certs/" + id + "/complete" }

// pageContent is what the page tells of an order.
type pageContent struct {
	Purchase
	Status        string
	Message       string
	Organization  string
	Completable   bool
	Found, Issued bool
}

func (s *Server) showOrder(w http.ResponseWriter, id string, status int) {
	content := s.pageContent(id)
	if !content.Found {
		status = http.StatusNotFound
	}
	var page bytes.Buffer
	if err := completionPage.Execute(&page, content); err != nil {
		panic(err) // the template and what it is given are both of this package
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

func (s *Server) pageContent(id string) pageContent {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return pageContent{}
	}
	now := s.options.Now()
	s.settle(o, now, nil)
	view := o.view(now, nil, "")
	content := pageContent{
		Purchase: o.purchase, Found: true, Status: view.Status, Message: view.PendingMessage,
		Completable: o.waitsForCompletion(now), Issued: view.Status == statusIssued,
	}
	switch {
	case o.organization != nil:
		content.Organization = o.organization.Name
	case content.Completable:
		content.Organization = s.completer(o).Name
	}
	return content
}
