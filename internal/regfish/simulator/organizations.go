// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// Organization is whom OV certificates can be issued to. Every account has all of
// them.
type Organization struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"` // the vendor is known to use ready and validated
	Usable bool   `json:"usable"` // an order may name it
	// Incomplete makes orders for a usable organization wait all the same until
	// a person has completed its details.
	Incomplete bool `json:"incomplete"`
}

// The organizations of a simulator that is not given any.
const (
	OrganizationReady      = "hdl_7K9QW3M2ZT8HJ" // orders for it go on at once
	OrganizationIncomplete = "hdl_3F6NX8RB5WQ2C" // usable, but a person has to complete its orders
	OrganizationUnusable   = "hdl_9D4TH7KM3VZ6P" // orders for it are as if it were missing
)

func defaultOrganizations() []Organization {
	return []Organization{
		{ID: OrganizationReady, Name: "Example GmbH", Status: statusReady, Usable: true},
		{ID: OrganizationIncomplete, Name: "Example Research GmbH", Status: statusReady, Usable: true, Incomplete: true},
		{ID: OrganizationUnusable, Name: "Example Trading Ltd", Status: "pending"}, // Invented: the status
	}
}

const (
	statusReady     = "ready"
	statusValidated = "validated"
)

// MissingOrganization says how an order is answered that needs an organization
// and names none, or one that does not exist or is not usable. The vendor
// documents both ways and not which one is taken when.
type MissingOrganization string

// The two answers to an order whose organization is missing.
const (
	Refuse409 MissingOrganization = "Refuse409" // nothing is ordered
	Stage     MissingOrganization = "Stage"     // ordered, but waits for a person
)

// notSubmittable is the vendor's text for 409, whatever the cause.
const notSubmittable = "The TLS certificate order cannot be submitted in its current state, for example because the renewal is invalid or a usable CA organization is missing"

// SetOrganization adds an organization, or changes the one with its id for the
// orders to come.
func (s *Server) SetOrganization(o Organization) error {
	if o.ID == "" || o.Name == "" {
		return errors.New("an organization needs an id and a name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.organization(o.ID); have != nil {
		*have = o
		return nil
	}
	s.organizations = append(s.organizations, o)
	return nil
}

// organization returns the organization with an id, or nil. The caller holds mu.
func (s *Server) organization(id string) *Organization {
	i := slices.IndexFunc(s.organizations, func(o Organization) bool { return o.ID == id })
	if i < 0 {
		return nil
	}
	return &s.organizations[i]
}

// organizationFor returns the organization that an order is bound to, nil for
// none, whether the order waits for a person before it goes to the CA, and whether
// it is taken at all. Invented: that a DV order which names an organization is treated as an OV order.
// The caller holds mu.
func (s *Server) organizationFor(p product, id string) (bound *Organization, staged, ok bool) {
	if !p.ov() && id == "" {
		return nil, false, true
	}
	o := s.organization(id)
	switch {
	case o != nil && o.Usable && !o.Incomplete:
		found := *o
		return &found, false, true
	case o != nil && o.Usable, s.options.MissingOrganization == Stage:
		return nil, true, true
	default:
		return nil, false, false
	}
}

// organizationView is an organization as the list has it. Invented: the details
// of the person, which no order depends on.
type organizationView struct {
	ID                any    `json:"id"`
	Organization      string `json:"organization"`
	Status            string `json:"status"`
	UsableForOrdering bool   `json:"usable_for_ordering"`
	FirstName         string `json:"first_name"`
	LastName          string `json:"last_name"`
	Address           string `json:"address"`
	PostalCode        string `json:"postal_code"`
	City              string `json:"city"`
	CountryCode       string `json:"country_code"`
	Phone             string `json:"phone"`
	Email             string `json:"email"`
}

// organizationSummary is an organization as a certificate has it: the name has
// another key.
type organizationSummary struct {
	ID                any    `json:"id"`
	Name              string `json:"name"`
	Status            string `json:"status"`
	UsableForOrdering bool   `json:"usable_for_ordering"`
}

func (s *Server) listOrganizations(_ *http.Request, _ int, faults []Fault) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	views := []organizationView{}
	for _, o := range s.organizations {
		sum := o.summary(faults)
		views = append(views, organizationView{
			ID: sum.ID, Organization: sum.Name, Status: sum.Status, UsableForOrdering: sum.UsableForOrdering,
			FirstName: "Erika", LastName: "Mustermann", Address: "Musterstraße 1", PostalCode: "10115", City: "Berlin",
			CountryCode: "DE", Phone: "+49.301234567", Email: "erika@example.com",
		})
	}
	return accept(views)
}

// summary describes the organization with the rewritings that faults ask for.
func (o Organization) summary(faults []Fault) organizationSummary {
	sum := organizationSummary{ID: o.ID, Name: o.Name, Status: o.Status, UsableForOrdering: o.Usable}
	if has(faults, FaultOrganizationIDNumber) {
		sum.ID = organizationNumber(o.ID)
	}
	if has(faults, FaultOrganizationValidated) && o.Status == statusReady {
		sum.Status = statusValidated
	}
	return sum
}

// organizationNumber returns an id as older answers had it. Invented: which number
// stands for an id that is none; 42 is the one in the vendor's fixture.
func organizationNumber(id string) int {
	if n, err := strconv.Atoi(id); err == nil {
		return n
	}
	return 42
}

// Complete does what a person does on the page of a staged order: the order is
// bound to an organization and goes to the CA.
//
// Invented: which organization that is (see completer), and that completing one
// order leaves the next one of an incomplete organization to be completed, too.
func (s *Server) Complete(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errNoCertificate
	}
	if !o.waitsForCompletion(s.options.Now()) {
		return fmt.Errorf("order %s does not wait for completion", id)
	}
	bound := s.completer(o)
	bound.Status, bound.Usable, bound.Incomplete = statusReady, true, false
	if s.organization(bound.ID) == nil {
		s.organizations = append(s.organizations, bound)
	}
	o.staged, o.organization = false, &bound
	o.lag = s.options.ValidationLag + 1
	s.options.Log.Info("completed", "id", id, "organization", bound.ID)
	return nil
}

// completer returns the organization that a staged order is bound to when it is
// completed: the one that it names, or else the first one that is usable, or else
// a new one, whose details the person fills in. The caller holds mu.
func (s *Server) completer(o *order) Organization {
	if named := s.organization(o.purchase.OrganizationID); named != nil {
		return *named
	}
	for _, usable := range s.organizations {
		if usable.Usable {
			return usable
		}
	}
	return Organization{ID: "hdl_" + o.purchase.ID, Name: "Example GmbH"}
}
