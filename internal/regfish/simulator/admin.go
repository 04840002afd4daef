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
//	GET    /_simulator/purchases  the ledger
//	GET    /_simulator/calls      how often each endpoint was called
//	GET    /_simulator/ca.pem     the CA of the HTTPS server
//	GET    /_simulator/root.pem   the root of the certificates that are sold
//	GET    /_simulator/faults     the faults that are still to strike
//	POST   /_simulator/faults     plan a fault: {"endpoint":"POST /tls/certificate","kind":"Drop","afterCommit":true}
//	DELETE /_simulator/faults     forget all faults
//	GET    /_simulator/records    the DNS records
//	POST   /_simulator/records    put a record into DNS: {"name":...,"type":...,"data":...}
//	DELETE /_simulator/records    take it out again: {"name":...,"type":...}
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
	page("purchases", func() any { return notNil(s.Purchases()) })
	page("calls", func() any { return s.Calls() })
	page("faults", func() any { return notNil(s.Faults()) })
	page("records", func() any { return notNil(s.Records()) })
	file("ca.pem", s.ServerCA)
	file("root.pem", s.Root)
	mux.HandleFunc("POST /_simulator/faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		err := readJSON(w, r, &f)
		if err == nil {
			err = s.inject(f)
		}
		s.done(w, err)
	})
	mux.HandleFunc("DELETE /_simulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		s.done(w, nil)
	})
	mux.HandleFunc("POST /_simulator/records", func(w http.ResponseWriter, r *http.Request) {
		var record Record
		err := readJSON(w, r, &record)
		if err == nil && (record.Name == "" || record.Type == "" || record.Data == "") {
			err = errors.New("a record needs a name, a type and data")
		}
		if err == nil {
			s.SetRecord(record.Name, record.Type, record.Data)
		}
		s.done(w, err)
	})
	mux.HandleFunc("DELETE /_simulator/records", func(w http.ResponseWriter, r *http.Request) {
		var record Record
		err := readJSON(w, r, &record)
		if err == nil {
			s.RemoveRecord(record.Name, record.Type)
		}
		s.done(w, err)
	})
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(v)
}

func (s *Server) done(w http.ResponseWriter, err error) {
	if err != nil {
		s.write(w, refuse(http.StatusBadRequest, err.Error()))
		return
	}
	s.write(w, reply{status: http.StatusOK, body: map[string]any{"success": true}})
}

// notNil makes an empty list a list in JSON, too.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
