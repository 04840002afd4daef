// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Record is a record in the simulator's DNS. Its zones are those of all accounts.
type Record struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"` // absolute, with a trailing dot
	Type       string `json:"type"`
	Data       string `json:"data"`
	TTL        int    `json:"ttl"`
	Annotation string `json:"annotation,omitempty"`
	Auto       bool   `json:"auto"`
	Active     bool   `json:"active"`
}

// The vendor's codes and bounds in the DNS API.
const (
	codeNotFound = 15001
	codeExists   = 15003

	minTTL     = 60
	maxTTL     = 604800
	defaultTTL = 3600 // Invented: the vendor does not say which
)

// SetRecord puts a record into the DNS. A CNAME takes the place of another one at
// its name, any other record stands beside those that are there.
func (s *Server) SetRecord(name, typ, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := normal(Record{Name: name, Type: typ, Data: data})
	if r.Type == "CNAME" {
		s.remove(func(have Record) bool { return have.Name == r.Name && have.Type == r.Type })
	}
	if s.indexOf(r) < 0 {
		s.add(r)
	}
}

// RemoveRecord takes all records of a name and type out of the DNS.
func (s *Server) RemoveRecord(name, typ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := normal(Record{Name: name, Type: typ})
	s.remove(func(have Record) bool { return have.Name == gone.Name && have.Type == gone.Type })
}

// Records returns all records in the order in which they were made.
func (s *Server) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// normal writes a record as the vendor does. Invented: that names have no case.
func normal(r Record) Record {
	r.Name = canonical(r.Name) + "."
	r.Type = strings.ToUpper(strings.TrimSpace(r.Type))
	if r.Type == "CNAME" {
		r.Data = canonical(r.Data) + "."
	}
	if r.TTL == 0 {
		r.TTL = defaultTTL
	}
	return r
}

// add stores a new record. The caller holds mu.
func (s *Server) add(r Record) Record {
	s.lastRecord++
	r.ID, r.Active = s.lastRecord, true
	s.records = append(s.records, r)
	s.stands(r)
	return r
}

// stands looks whether orders wait for a record that is there from now on. The
// caller holds mu.
func (s *Server) stands(r Record) {
	if r.Type != "CNAME" {
		return
	}
	name := canonical(r.Name)
	s.cnames[name] = canonical(r.Data)
	now := s.options.Now()
	for _, o := range s.waiting[name] {
		s.settle(o, now, nil)
	}
	s.waiting[name] = slices.DeleteFunc(s.waiting[name], func(o *order) bool { return len(o.awaited(now)) == 0 })
}

// remove takes records out. The caller holds mu.
func (s *Server) remove(gone func(Record) bool) {
	s.records = slices.DeleteFunc(s.records, func(r Record) bool {
		if gone(r) && r.Type == "CNAME" {
			delete(s.cnames, canonical(r.Name))
		}
		return gone(r)
	})
}

// indexOf finds a record that says the same as r, or returns -1.
func (s *Server) indexOf(r Record) int {
	return slices.IndexFunc(s.records, func(have Record) bool {
		return have.Name == r.Name && have.Type == r.Type && have.Data == r.Data
	})
}

// indexOfID finds the record that a request names, or returns -1.
func (s *Server) indexOfID(r *http.Request) int {
	id, err := strconv.ParseInt(r.PathValue("rrid"), 10, 64)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(s.records, func(have Record) bool { return have.ID == id })
}

// zoneOf returns the zone of a name, or "". The longest one counts.
func (s *Server) zoneOf(name string) string {
	if len(s.options.Zones) == 0 {
		base := baseDomain(canonical(name))
		if !isHostname(base) {
			return "" // nobody has a top-level domain
		}
		return base
	}
	var longest string
	for _, zone := range s.options.Zones {
		zone = canonical(zone)
		if within(canonical(name), zone) && len(zone) > len(longest) {
			longest = zone
		}
	}
	return longest
}

func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

func (s *Server) listRecords(r *http.Request, _ int, _ []Fault) reply {
	domain := canonical(r.PathValue("domain"))
	if s.zoneOf(domain) != domain {
		// The recorded form; a fault of kind Status gives the other two.
		return refuseRecord(http.StatusOK, codeNotFound, "Record not found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Record{}
	for _, record := range s.records {
		if s.zoneOf(record.Name) == domain {
			found = append(found, record)
		}
	}
	return accept(found)
}

func (s *Server) getRecord(r *http.Request, _ int, _ []Fault) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOfID(r)
	if i < 0 {
		return notFound()
	}
	return accept(s.records[i])
}

func (s *Server) createRecord(r *http.Request, _ int, _ []Fault) reply {
	record, refusal := s.readRecord(r)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.indexOf(record) >= 0 {
		return refuseRecord(http.StatusExpectationFailed, codeExists, "Record already exists")
	}
	if s.conflicts(record) {
		return conflict()
	}
	return accept(s.add(record))
}

// updateRecordByName is PATCH /dns/rr. Invented: of several records with the name
// and type, the oldest is changed.
func (s *Server) updateRecordByName(r *http.Request, _ int, _ []Fault) reply {
	record, refusal := s.readRecord(r)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.records, func(have Record) bool { return have.Name == record.Name && have.Type == record.Type })
	if i < 0 {
		return notFound()
	}
	return s.replace(i, record)
}

func (s *Server) updateRecord(r *http.Request, _ int, _ []Fault) reply {
	record, refusal := s.readRecord(r)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOfID(r)
	if i < 0 {
		return notFound()
	}
	return s.replace(i, record)
}

// replace changes all of a record but its id. The caller holds mu.
func (s *Server) replace(i int, record Record) reply {
	record.ID, record.Active = s.records[i].ID, true
	if s.conflicts(record) {
		return conflict()
	}
	if s.records[i].Type == "CNAME" {
		delete(s.cnames, canonical(s.records[i].Name))
	}
	s.records[i] = record
	s.stands(record)
	return accept(record)
}

// deleteRecord answers with the vendor's odd text in the field error.
func (s *Server) deleteRecord(r *http.Request, _ int, _ []Fault) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOfID(r)
	if i < 0 {
		return notFound()
	}
	id := s.records[i].ID
	s.remove(func(have Record) bool { return have.ID == id })
	return reply{status: http.StatusOK, body: map[string]any{"success": true, "error": "Record successfully deleted", "code": 0}}
}

// readRecord reads and checks the body of a request. Invented: everything about
// how a bad one is refused.
func (s *Server) readRecord(r *http.Request) (Record, *reply) {
	var record Record
	err := json.NewDecoder(r.Body).Decode(&record)
	record = normal(record)
	bad := refuse(http.StatusBadRequest, "Invalid request payload")
	switch {
	case err != nil, record.Data == "" || record.Data == ".", record.TTL < minTTL, record.TTL > maxTTL,
		!slices.Contains([]string{"A", "AAAA", "CNAME", "ALIAS", "TXT", "MX", "CAA"}, record.Type):
		return Record{}, &bad
	case s.zoneOf(record.Name) == "":
		foreign := notFound()
		return Record{}, &foreign
	}
	return record, nil
}

// conflicts tells whether a record cannot stand beside another one: a CNAME
// stands alone at its name, and never at the apex. The caller holds mu.
func (s *Server) conflicts(r Record) bool {
	if r.Type == "CNAME" && s.zoneOf(r.Name) == canonical(r.Name) {
		return true
	}
	return slices.ContainsFunc(s.records, func(have Record) bool {
		return have.ID != r.ID && have.Name == r.Name && (have.Type == "CNAME" || r.Type == "CNAME")
	})
}

// conflict is the answer to a record that cannot stand. Invented: the status and
// the text.
func conflict() reply {
	return refuse(http.StatusBadRequest, "A CNAME record cannot stand beside another record")
}

// notFound is the answer for a record or zone that is not there. Invented: that
// the code of the recorded answer comes with 404.
func notFound() reply { return refuseRecord(http.StatusNotFound, codeNotFound, "Record not found") }
