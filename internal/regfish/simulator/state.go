// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// The states of the vendor's documentation that the simulator reaches by itself.
const (
	statusPending        = "pending"
	statusIssued         = "issued"
	statusExpired        = "expired"
	statusOrderCancelled = "order_cancelled"
)

var errNoCertificate = errors.New("no such certificate")

// State is what the vendor reports of a certificate. An empty field leaves what it
// would report by itself. Any value is taken, also one that nobody has seen yet.
type State struct {
	Status         string `json:"status"`
	OrderState     string `json:"orderState"`
	PendingReason  string `json:"pendingReason"`
	PendingMessage string `json:"pendingMessage"`
}

// SetState makes the vendor report a state for a certificate from now on. The
// status "issued" issues it, whatever DNS says and whether it is staged or not;
// the zero State lets things take their course again.
func (s *Server) SetState(id string, state State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errNoCertificate
	}
	o.set = state
	s.settle(o, s.options.Now(), nil)
	return nil
}

// SetStatus is SetState for the status alone.
func (s *Server) SetStatus(id, status string) error { return s.SetState(id, State{Status: status}) }

// look settles an order for somebody who reads it. The caller holds mu.
func (s *Server) look(o *order, now time.Time, resolved map[string]string) {
	s.settle(o, now, resolved)
	o.lag = max(o.lag-1, 0)
}

// settle brings an order up to date: validated if its records are there, and
// issued when the delay is over. It is done whenever somebody looks or a record
// changes, so nothing happens behind the back of a test. The caller holds mu.
func (s *Server) settle(o *order, now time.Time, resolved map[string]string) {
	if o.waitsForRecords(now) && s.recordsStand(o.validations, resolved) {
		o.validated = now
	}
	due := !o.validated.IsZero() && now.Sub(o.validated) >= s.issueDelay && o.set.Status == ""
	if o.certificate == nil && (due || o.set.Status == statusIssued) {
		s.issue(o, now)
	}
	if o.running.active() {
		s.settleReissue(o, now, resolved)
	}
}

// issue makes the first certificate of an order. The caller holds mu.
func (s *Server) issue(o *order, now time.Time) {
	term := max(s.options.ContractDays, o.purchase.ValidityDays)
	o.begun = s.begin(now)
	o.ends = o.begun.Add(time.Duration(term)*s.options.Day + o.bonus)
	o.certificate = s.certify(o, o.csr, now, o.bonus)
	s.options.Log.Info("issued", "id", o.purchase.ID, "names", o.purchase.Names)
}

// begin is when a certificate that is issued now begins.
func (s *Server) begin(now time.Time) time.Time {
	if s.options.AtMidnight {
		return now.UTC().Truncate(s.options.Day)
	}
	return now.Add(-min(backdated, s.options.Day/24)).UTC().Truncate(time.Second)
}

// certify makes a certificate for a key, with the names of the order, that lives for as
// long as the order asks for, the bonus added, and not beyond its contract.
func (s *Server) certify(o *order, csr *x509.CertificateRequest, now time.Time, bonus time.Duration) *x509.Certificate {
	names := append([]string{o.purchase.CommonName}, o.purchase.DNSNames...)
	notBefore := s.begin(now)
	lifetime := min(time.Duration(o.purchase.ValidityDays)*s.options.Day+bonus, o.ends.Sub(notBefore))
	template := leaf(names, notBefore, lifetime)
	if o.product.ov() && o.organization != nil {
		template.Subject.Organization = []string{o.organization.Name}
	}
	cert, err := sign(template, s.ca.intermediate, csr.PublicKey, s.ca.intermediateKey)
	if err != nil {
		panic(err) // the names and the key were checked when they were ordered
	}
	return cert
}

// stagedState is what the vendor reports of an order that a person has to
// complete. Invented: the message.
var stagedState = State{
	Status: statusPending, OrderState: "ACTION_REQUIRED",
	PendingReason: "organization_required", PendingMessage: "Organization or contact details are needed before the TLS certificate order can be submitted.",
}

// stateAt returns what the vendor reports.
func (o *order) stateAt(now time.Time) State {
	state := State{Status: o.statusAt(now)}
	switch {
	case o.waitsForCompletion(now):
		state = stagedState
	case state.Status == statusPending:
		state.OrderState = "PENDING"
		if o.product.ov() {
			state.OrderState = "PENDING_APPROVAL"
		}
		state.PendingReason = "validation_pending"
		state.PendingMessage = "The TLS certificate order is waiting for domain validation."
	case state.Status == statusIssued, state.Status == statusExpired:
		state.OrderState = "ISSUED"
	default:
		state.OrderState = strings.ToUpper(state.Status) // Invented: the vendor shows no such order
	}
	return State{
		Status:         state.Status,
		OrderState:     cmp.Or(o.set.OrderState, state.OrderState),
		PendingReason:  cmp.Or(o.set.PendingReason, state.PendingReason),
		PendingMessage: cmp.Or(o.set.PendingMessage, state.PendingMessage),
	}
}

func (o *order) statusAt(now time.Time) string {
	switch {
	case o.set.Status != "":
		return o.set.Status
	case o.certificate == nil && o.lapsed(now):
		return statusOrderCancelled
	case o.certificate == nil:
		return statusPending
	case now.After(o.certificate.NotAfter):
		return statusExpired
	default:
		return statusIssued
	}
}

// lapsed tells whether an order was left alone for too long. Invented: all of it;
// the vendor does not say how long an order waits, or what becomes of it then.
func (o *order) lapsed(now time.Time) bool {
	return o.validated.IsZero() && !o.expires.IsZero() && !now.Before(o.expires)
}

// waitsForCompletion tells whether a person can complete the order.
func (o *order) waitsForCompletion(now time.Time) bool {
	return o.staged && o.statusAt(now) == statusPending
}

// waitsForRecords tells whether the CA looks for records of the order.
func (o *order) waitsForRecords(now time.Time) bool {
	return o.validated.IsZero() && !o.staged && len(o.validations) > 0 && !o.lapsed(now)
}

func (o *order) downloadable(now time.Time) bool {
	status := o.statusAt(now)
	return o.certificate != nil && (status == statusIssued || status == statusExpired)
}
