// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"errors"
	"net/http"
)

// admin adds the pages by which somebody outside the process looks at the
// simulator and steers it. Invented, all of them: the vendor has nothing of the
// kind. They ask for no key.
//
//	GET    /_simulator/purchases      the ledger
//	GET    /_simulator/reissues       the reissues that were begun
//	GET    /_simulator/calls          how often each endpoint was called
//	GET    /_simulator/ca.pem         the CA of the HTTPS server
//	GET    /_simulator/root.pem       the root of the certificates that are sold
//	GET    /_simulator/faults         the faults that are still to strike
//	POST   /_simulator/faults         plan a fault: {"endpoint":"POST /tls/certificate","kind":"Drop","afterCommit":true}
//	DELETE /_simulator/faults         forget all faults
//	GET    /_simulator/records        the DNS records
//	POST   /_simulator/records        put a record into DNS: {"name":...,"type":...,"data":...}
//	DELETE /_simulator/records        take it out again: {"name":...,"type":...}
//	POST   /_simulator/organizations  add or change one: {"id":...,"name":...,"status":"ready","usable":true}
//
// And for one certificate:
//
//	POST /_simulator/certificates/{id}/complete       complete a staged order, as the button on its page does
//	POST /_simulator/certificates/{id}/confirm-email  validate an order by e-mail
//	POST /_simulator/certificates/{id}/fail-reissue   end the reissue that is under way without a certificate
//	POST /_simulator/certificates/{id}/revoke         what is reported: {"scope":"certificate"} or {"scope":"order"}; {}: not revoked
//	POST /_simulator/certificates/{id}/status         what is reported: {"status":"rejected","pendingMessage":...}; {}: as things are
func (s *Server) admin(mux *http.ServeMux) {
	page := func(pattern string, content func() any) {
		mux.HandleFunc("GET /_simulator/"+pattern, func(w http.ResponseWriter, _ *http.Request) {
			s.write(w, reply{status: http.StatusOK, body: content()})
		})
	}
	file := func(name string, content func() []byte) {
		mux.HandleFunc("GET /_simulator/"+name, func(w http.ResponseWriter, _ *http.Request) {
			s.write(w, reply{status: http.StatusOK, raw: content()})
		})
	}
	command := func(method, path string, do func(r *http.Request) error) {
		mux.HandleFunc(method+" /_simulator/"+path, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxRequestBytes)
			if err := do(r); err != nil {
				s.write(w, refuse(http.StatusBadRequest, err.Error()))
				return
			}
			s.write(w, reply{status: http.StatusOK, body: map[string]any{"success": true}})
		})
	}
	page("purchases", func() any { return notNil(s.Purchases()) })
	page("reissues", func() any { return notNil(s.Reissues()) })
	page("calls", func() any { return s.Calls() })
	page("faults", func() any { return notNil(s.Faults()) })
	page("records", func() any { return notNil(s.Records()) })
	file("ca.pem", s.ServerCA)
	file("root.pem", s.Root)
	command("POST", "faults", with(s.inject))
	command("DELETE", "faults", func(*http.Request) error { s.ClearFaults(); return nil })
	command("POST", "records", with(func(r Record) error {
		if r.Name == "" || r.Type == "" || r.Data == "" {
			return errors.New("a record needs a name, a type and data")
		}
		s.SetRecord(r.Name, r.Type, r.Data)
		return nil
	}))
	command("DELETE", "records", with(func(r Record) error { s.RemoveRecord(r.Name, r.Type); return nil }))
	command("POST", "organizations", with(s.SetOrganization))
	command("POST", "certificates/{id}/complete", func(r *http.Request) error { return s.Complete(r.PathValue("id")) })
	command("POST", "certificates/{id}/confirm-email", func(r *http.Request) error { return s.ConfirmEmail(r.PathValue("id")) })
	command("POST", "certificates/{id}/fail-reissue", func(r *http.Request) error { return s.FailReissue(r.PathValue("id")) })
	command("POST", "certificates/{id}/revoke", func(r *http.Request) error {
		return with(func(v struct{ Scope string }) error { return s.Revoke(r.PathValue("id"), v.Scope) })(r)
	})
	command("POST", "certificates/{id}/status", func(r *http.Request) error {
		return with(func(state State) error { return s.SetState(r.PathValue("id"), state) })(r)
	})
}

// with hands the JSON of a request to do. A misspelt field is refused, because
// without it the request means something else.
func with[T any](do func(T) error) func(*http.Request) error {
	return func(r *http.Request) error {
		var v T
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return err
		}
		return do(v)
	}
}

// notNil makes an empty list a list in JSON, too.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
