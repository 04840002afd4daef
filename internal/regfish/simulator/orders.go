// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Purchase is one sale. A sale is in the ledger from the moment at which the
// vendor has made the order, whether its customer heard of it or not.
type Purchase struct {
	Number       int       `json:"number"` // from 1, without gaps
	ID           string    `json:"id"`
	Account      int       `json:"account"` // index of the key in Options.Keys
	Time         time.Time `json:"time"`
	SKU          string    `json:"sku"`
	CommonName   string    `json:"commonName"`
	DNSNames     []string  `json:"dnsNames"`
	Names        []string  `json:"names"` // both, in lower case, sorted
	ValidityDays int       `json:"validityDays"`
	CSRHash      string    `json:"csrHash"`   // SHA-256 of the request's DER, hexadecimal
	KeyHash      string    `json:"keyHash"`   // SHA-256 of its public key's DER, hexadecimal
	ReplyLost    bool      `json:"replyLost"` // a fault kept the id from the customer
}

// Purchases returns the ledger, oldest first.
func (s *Server) Purchases() []Purchase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.purchases)
}

// order is what became of a purchase.
type order struct {
	purchase    Purchase
	csr         *x509.CertificateRequest
	validations []validation
	validated   time.Time // zero: not yet
	certificate *x509.Certificate
	status      string // set by SetStatus; empty: as things are
}

// sale is the envelope of a successful order. It carries the number beside the
// JSON, so that a reply that never leaves can be marked as lost.
type sale struct {
	Success  bool            `json:"success"`
	Code     int             `json:"code"`
	Response certificateView `json:"response"`
	number   int
}

// placeOrder is POST /tls/certificate. The order is made and written into the
// ledger in one step, or not at all.
func (s *Server) placeOrder(r *http.Request, account int, faults []Fault) reply {
	var request struct {
		SKU          string   `json:"sku"`
		CommonName   string   `json:"common_name"`
		DNSNames     []string `json:"dns_names"`
		CSR          string   `json:"csr"`
		DCVMethod    string   `json:"dcv_method"`
		OrgID        string   `json:"org_id"`
		RenewalOf    string   `json:"renewal_of_certificate_id"`
		ValidityDays *int     `json:"validity_days"`
	}
	// The vendor documents one text for all of these; what follows the colon is
	// invented, for whoever reads it.
	bad := func(why string) reply {
		return refuse(http.StatusBadRequest, "Invalid request payload, TLS product, or CSR: "+why)
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return bad("not JSON of the documented form")
	}
	product, ok := productOf(request.SKU)
	if !ok {
		return bad("unknown sku")
	}
	if request.DCVMethod != "dns-cname-token" {
		return bad("dcv_method is not dns-cname-token") // e-mail is not simulated
	}
	names, why := orderedNames(product, request.CommonName, request.DNSNames)
	if why != "" {
		return bad(why)
	}
	csr, why := parseCSR(request.CSR)
	if why != "" {
		return bad(why)
	}
	days := s.options.MaxDays
	if request.ValidityDays != nil {
		days = *request.ValidityDays
	}
	if days < 1 || days > s.options.MaxDays { // Invented: what is answered then
		return bad("validity_days is out of range")
	}
	if request.OrgID != "" {
		return refuse(http.StatusConflict, "A usable CA organization is missing")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if request.RenewalOf != "" {
		if s.find(account, request.RenewalOf) == nil {
			return refuse(http.StatusNotFound, "Renewal source TLS certificate not found")
		}
		return refuse(http.StatusConflict, "The renewal is invalid") // renewals are not simulated
	}
	now := s.options.Now()
	purchase := Purchase{
		Number: len(s.purchases) + 1, ID: newID(), Account: account, Time: now,
		SKU: product.SKU, CommonName: names[0], DNSNames: names[1:], ValidityDays: days,
		CSRHash: hash(csr.Raw), KeyHash: hash(csr.RawSubjectPublicKeyInfo), ReplyLost: has(faults, FaultNoID),
	}
	if has(faults, FaultApexAdded) {
		names = withCounterpart(names)
		purchase.DNSNames = names[1:]
	}
	purchase.Names = slices.Sorted(slices.Values(names))
	o := &order{purchase: purchase, csr: csr, validations: validationsOf(names)}
	s.purchases = append(s.purchases, purchase)
	s.orders = append(s.orders, o)
	s.byID[purchase.ID] = o
	for _, v := range o.validations {
		s.waiting[v.name] = append(s.waiting[v.name], o)
	}
	s.settle(o, now, nil)
	s.options.Log.Info("sold", "number", purchase.Number, "id", purchase.ID, "sku", purchase.SKU, "names", purchase.Names)
	return reply{status: http.StatusOK, body: sale{Success: true, Response: o.view(now, faults), number: purchase.Number}}
}

// orderedNames returns the names of an order, the common name first and none
// twice, or what is wrong with them. Invented: all of these rules, but that only
// one SKU is named for wildcards.
func orderedNames(p product, commonName string, dnsNames []string) (names []string, why string) {
	for _, name := range append([]string{commonName}, dnsNames...) {
		name = canonical(name)
		host, wildcard := strings.CutPrefix(name, "*.")
		switch {
		case !isHostname(host):
			return nil, "a name is not a fully qualified domain name"
		case wildcard && !p.wildcard:
			return nil, "the product does not cover wildcards"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if p.wildcard && !strings.HasPrefix(names[0], "*.") {
		return nil, "common_name is not a wildcard"
	}
	return names, ""
}

func isHostname(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(labels) > 1 && len(name) <= 253
}

// withCounterpart adds the www name of an apex, or the apex of a www name.
func withCounterpart(names []string) []string {
	counterpart, isWWW := strings.CutPrefix(names[0], "www.")
	if !isWWW {
		counterpart = "www." + names[0]
	}
	if slices.Contains(names, counterpart) || strings.HasPrefix(names[0], "*.") {
		return names
	}
	return append(slices.Clone(names), counterpart)
}

// parseCSR reads a request and says what is wrong with it. Invented: which keys
// are taken. They are those that the vendor's own client makes.
func parseCSR(text string) (csr *x509.CertificateRequest, why string) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, "csr is not one PEM certificate request"
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, "csr cannot be parsed"
	}
	if csr.CheckSignature() != nil {
		return nil, "csr is not signed by its key"
	}
	if !acceptableKey(csr.PublicKey) {
		return nil, "csr has a key that is not RSA of at least 2048 bits or ECDSA P-256, P-384 or P-521"
	}
	return csr, ""
}

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
		s.settle(o, now, resolved)
		if f, ok := find(faults, FaultListLag); ok && now.Sub(o.purchase.Time) < f.Delay {
			continue
		}
		views = append(views, o.view(now, faults))
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
	s.settle(o, now, resolved)
	return accept(o.view(now, faults))
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

// settle brings an order up to date: validated if its records are there, and
// issued when the delay is over. It is done whenever somebody looks or a record
// changes, so nothing happens behind the back of a test. The caller holds mu.
func (s *Server) settle(o *order, now time.Time, resolved map[string]string) {
	if o.validated.IsZero() && s.recordsStand(o.validations, resolved) {
		o.validated = now
	}
	due := !o.validated.IsZero() && now.Sub(o.validated) >= s.issueDelay && o.status == ""
	if o.certificate == nil && (due || o.status == statusIssued) {
		s.issue(o, now)
	}
}

// issue makes the certificate. The caller holds mu.
func (s *Server) issue(o *order, now time.Time) {
	names := append([]string{o.purchase.CommonName}, o.purchase.DNSNames...)
	cert, err := sign(leaf(names, now.Add(-backdated), time.Duration(o.purchase.ValidityDays)*day),
		s.ca.intermediate, o.csr.PublicKey, s.ca.intermediateKey)
	if err != nil {
		panic(err) // the names and the key were checked when they were ordered
	}
	o.certificate = cert
	s.options.Log.Info("issued", "id", o.purchase.ID, "names", names)
}

// The states of the vendor's documentation that the simulator reaches by itself.
const (
	statusPending = "pending"
	statusIssued  = "issued"
	statusExpired = "expired"
)

// SetStatus makes the vendor report a status for a certificate: one of its own,
// such as cancelled, rejected or unknown, or one that nobody has seen yet.
// "issued" issues the certificate whatever DNS says; "" lets things take their
// course again.
func (s *Server) SetStatus(id, status string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil {
		return errors.New("no such certificate")
	}
	o.status = status
	s.settle(o, s.options.Now(), nil)
	return nil
}

func (o *order) statusAt(now time.Time) string {
	switch {
	case o.status != "":
		return o.status
	case o.certificate == nil:
		return statusPending
	case now.After(o.certificate.NotAfter):
		return statusExpired
	default:
		return statusIssued
	}
}

func (o *order) downloadable(now time.Time) bool {
	status := o.statusAt(now)
	return o.certificate != nil && (status == statusIssued || status == statusExpired)
}

const idLength = 13

// newID makes an id in the form of the documented ones: 13 digits and capitals
// without those that are easily mistaken.
func newID() string {
	const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ" // 32: every random byte counts the same
	id := make([]byte, idLength)
	_, _ = rand.Read(id) // it never fails
	for i := range id {
		id[i] = alphabet[int(id[i])%len(alphabet)]
	}
	return string(id)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
