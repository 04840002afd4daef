// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The states of a reissue.
const (
	reissuePending = "pending"
	reissueIssued  = "issued"
	reissueFailed  = "failed"
)

// Reissue is one reissue that was begun, whether its customer heard of it or not.
type Reissue struct {
	Number        int       `json:"number"`        // from 1, without gaps, for all certificates together; also its id
	CertificateID string    `json:"certificateID"` // of the order
	Time          time.Time `json:"time"`
	CSRHash       string    `json:"csrHash"`
	KeyHash       string    `json:"keyHash"`
}

// Reissues returns all that were begun, oldest first.
func (s *Server) Reissues() []Reissue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reissues)
}

// reissue is what became of a Reissue. Invented: that control over the names has to be
// shown anew, by the method that the reissue asks for.
type reissue struct {
	Reissue
	csr         *x509.CertificateRequest
	method      string
	status      string
	updated     time.Time
	validations []validation
	targets     []string
	validated   time.Time // zero: not yet
}

// reissueView is the sub-object of a certificate. The vendor's client reads its fields;
// no example of it is published.
type reissueView struct {
	ID            int             `json:"id"`
	Status        string          `json:"status"`
	CommonName    string          `json:"common_name"`
	DNSNames      []string        `json:"dns_names"`
	OrderState    string          `json:"order_state"`
	RequestedAt   string          `json:"requested_at"`
	LastUpdatedAt string          `json:"last_updated_at"`
	Validation    *validationView `json:"validation,omitempty"`
}

func (r *reissue) active() bool { return r != nil && r.status == reissuePending }

func (r *reissue) view(o *order) *reissueView {
	v := &reissueView{
		ID: r.Number, Status: r.status, CommonName: o.purchase.CommonName, DNSNames: o.purchase.DNSNames,
		OrderState:  strings.ToUpper(r.status), // Invented: its values
		RequestedAt: timestamp(r.Time), LastUpdatedAt: timestamp(r.updated),
	}
	if r.active() {
		v.Validation = viewOf(r.method, r.validations, r.targets)
	}
	return v
}

// startReissue is POST /tls/certificate/{id}/reissue. Invented: every refusal but that of a
// list of names that is not the order's, which is documented without its answer.
func (s *Server) startReissue(r *http.Request, account int, faults []Fault) reply {
	var request struct {
		CSR        string   `json:"csr"`
		DCVMethod  string   `json:"dcv_method"`
		CommonName string   `json:"common_name"`
		DNSNames   []string `json:"dns_names"`
	}
	bad := func(why string) reply {
		return refuse(http.StatusBadRequest, "Invalid request payload or CSR: "+why)
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return bad("not JSON of the documented form")
	}
	if request.DCVMethod != methodCNAME && request.DCVMethod != methodEmail {
		return bad("unknown dcv_method")
	}
	csr, why := parseCSR(request.CSR)
	if why != "" {
		return bad(why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(account, r.PathValue("id"))
	if o == nil {
		return refuse(http.StatusNotFound, "TLS certificate not found")
	}
	now := s.options.Now()
	s.settle(o, now, nil)
	if why := o.notReissuable(now); why != "" {
		return refuse(http.StatusConflict, "The TLS certificate cannot be reissued in its present state: "+why)
	}
	if !o.sameNames(request.CommonName, request.DNSNames) {
		return bad("dns_names are not those of the order")
	}
	begun := &reissue{
		Reissue: Reissue{Number: len(s.reissues) + 1, CertificateID: o.purchase.ID, Time: now, CSRHash: hash(csr.Raw), KeyHash: hash(csr.RawSubjectPublicKeyInfo)},
		csr:     csr, method: request.DCVMethod, status: reissuePending, updated: now,
	}
	if request.DCVMethod == methodEmail {
		begun.targets = emailTargets(o.purchase.Names, nil)
	} else {
		begun.validations = s.validationsOf(o.purchase.Names)
	}
	o.running = begun
	s.reissues = append(s.reissues, begun.Reissue)
	for _, v := range begun.validations {
		s.waiting[v.name] = append(s.waiting[v.name], o)
	}
	s.settle(o, now, nil)
	s.options.Log.Info("reissue begun", "id", o.purchase.ID, "reissue", begun.Number)
	return accept(o.view(now, faults, s.console(r)))
}

// notReissuable says why an order cannot be reissued; empty if it can.
func (o *order) notReissuable(now time.Time) string {
	switch {
	case o.options.NoReissue:
		return "the product has no reissues"
	case o.certificate == nil:
		return "it was not issued yet"
	case o.running.active():
		return "a reissue is under way"
	case !now.Before(o.ends):
		return "its term is over"
	case o.revoked == "order" || o.set.Status != "" && o.set.Status != statusIssued:
		return "its order has ended"
	}
	return ""
}

// sameNames reports whether the names are those of the order. Names that are left out
// are.
func (o *order) sameNames(commonName string, dnsNames []string) bool {
	if commonName != "" && canonical(commonName) != o.purchase.CommonName {
		return false
	}
	if len(dnsNames) == 0 {
		return true
	}
	sent := []string{o.purchase.CommonName}
	for _, name := range dnsNames {
		sent = append(sent, canonical(name))
	}
	slices.Sort(sent)
	return slices.Equal(slices.Compact(sent), o.purchase.Names)
}

// settleReissue brings a reissue up to date. Until it is issued the certificate before it
// is served, as the vendor's client expects. The caller holds mu.
func (s *Server) settleReissue(o *order, now time.Time, resolved map[string]string) {
	r := o.running
	if r.validated.IsZero() && len(r.validations) > 0 && s.recordsStand(r.validations, resolved) {
		r.validated, r.updated = now, now
	}
	if !r.validated.IsZero() && now.Sub(r.validated) >= s.issueDelay {
		o.certificate = s.certify(o, r.csr, now, 0)
		r.status, r.updated = reissueIssued, now
		o.revoked = ""
		s.options.Log.Info("reissued", "id", o.purchase.ID, "reissue", r.Number)
	}
}

// Term is what an order pays for, and what its certificate covers of it.
type Term struct {
	NotBefore, NotAfter time.Time // of the certificate
	Begin, End          time.Time // of the contract
}

// Term returns the term of an order, whoever asks; false if nothing was issued on it yet.
func (s *Server) Term(id string) (Term, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil || o.certificate == nil {
		return Term{}, false
	}
	return Term{o.certificate.NotBefore, o.certificate.NotAfter, o.begun, o.ends}, true
}

// SetContractDays changes Options.ContractDays for what is not issued yet.
func (s *Server) SetContractDays(days int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.ContractDays = days
}

// FailReissue makes the CA refuse the reissue of a certificate that is under way.
func (s *Server) FailReissue(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errNoCertificate
	}
	if !o.running.active() {
		return fmt.Errorf("no reissue of %s is under way", id)
	}
	o.running.status, o.running.updated = reissueFailed, s.options.Now()
	return nil
}

// Revoke makes the vendor report that a certificate was revoked: alone, with the scope
// "certificate", or with its order, with the scope "order". Invented: that its status stays
// issued; the vendor's word for the status is not known.
func (s *Server) Revoke(id, scope string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errNoCertificate
	}
	o.revoked = scope
	return nil
}

// renews returns what an order carries over from the certificate that it renews, or why
// it is refused. Invented: that a certificate can be renewed at any time after it was
// issued, once, and with other names. The caller holds mu.
func (s *Server) renews(account int, id string, now time.Time) (bonus time.Duration, refusal *reply) {
	if id == "" {
		return 0, nil
	}
	source := s.find(account, id)
	switch {
	case source == nil:
		return 0, new(refuse(http.StatusNotFound, "Renewal source TLS certificate not found"))
	case s.options.NoRenewal, source.certificate == nil, slices.ContainsFunc(s.orders, func(o *order) bool { return o.purchase.RenewalOf == id }):
		return 0, new(refuse(http.StatusConflict, notSubmittable))
	case s.options.CarryOver:
		// Whole days, as the vendor reports them.
		left := max(0, source.certificate.NotAfter.Sub(now))
		return left - left%s.options.Day, nil
	}
	return 0, nil
}

// bonusDays is what was carried over; nil if nothing was.
func (o *order) bonusDays() *int {
	if o.bonus == 0 {
		return nil
	}
	return new(int(o.bonus / o.options.Day))
}

// awaited are the records that the CA looks for: those of the order, or of a reissue.
func (o *order) awaited(now time.Time) []validation {
	switch {
	case o.waitsForRecords(now):
		return o.validations
	case o.running.active() && o.running.validated.IsZero():
		return o.running.validations
	}
	return nil
}
