// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
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

	DCVMethod      string   `json:"dcvMethod"`
	DCVEmails      []string `json:"dcvEmails,omitempty"`      // as ordered
	OrganizationID string   `json:"organizationID,omitempty"` // as ordered
	RenewalOf      string   `json:"renewalOf,omitempty"`      // id of the certificate that it renews

	CSRHash   string `json:"csrHash"`   // SHA-256 of the request's DER, hexadecimal
	KeyHash   string `json:"keyHash"`   // SHA-256 of its public key's DER, hexadecimal
	ReplyLost bool   `json:"replyLost"` // a fault kept the id from the customer
}

// Purchases returns the ledger, oldest first.
func (s *Server) Purchases() []Purchase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.purchases)
}

// order is what became of a purchase.
type order struct {
	purchase     Purchase
	options      *Options // of the server
	product      product
	csr          *x509.CertificateRequest
	staged       bool          // waits for a person, and has not gone to the CA
	organization *Organization // nil: not bound to one
	validations  []validation  // by CNAME
	targets      []string      // by e-mail
	lag          int           // reads until the validation is shown
	validated    time.Time     // zero: not yet
	expires      time.Time     // unless it is validated by then; zero: never
	certificate  *x509.Certificate
	begun, ends  time.Time     // the contract; zero: not issued yet
	bonus        time.Duration // carried over from the certificate that it renews
	running      *reissue      // the running or the last one, nil: none
	revoked      string        // scope of a revocation by Revoke
	set          State         // by SetState
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
		DCVEmails    []string `json:"dcv_emails"`
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
	if request.DCVMethod != methodCNAME && request.DCVMethod != methodEmail {
		return bad("unknown dcv_method")
	}
	// Invented: how addresses are checked; the vendor documents neither which are
	// allowed nor how they go with the names.
	if slices.ContainsFunc(request.DCVEmails, func(address string) bool { return !strings.Contains(address, "@") }) {
		return bad("dcv_emails has something that is no address")
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

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	bonus, refusal := s.renews(account, request.RenewalOf, now)
	if refusal != nil {
		return *refusal
	}
	organization, staged, ok := s.organizationFor(product, request.OrgID)
	if !ok {
		return refuse(http.StatusConflict, notSubmittable)
	}
	purchase := Purchase{
		Number: len(s.purchases) + 1, ID: s.newID(), Account: account, Time: now,
		SKU: product.sku, CommonName: names[0], DNSNames: names[1:], ValidityDays: days,
		DCVMethod: request.DCVMethod, DCVEmails: request.DCVEmails, OrganizationID: request.OrgID, RenewalOf: request.RenewalOf,
		CSRHash: hash(csr.Raw), KeyHash: hash(csr.RawSubjectPublicKeyInfo), ReplyLost: has(faults, FaultNoID),
	}
	if has(faults, FaultApexAdded) {
		names = withCounterpart(names)
		purchase.DNSNames = names[1:]
	}
	purchase.Names = slices.Sorted(slices.Values(names))
	o := &order{purchase: purchase, options: &s.options, product: product, csr: csr, staged: staged, organization: organization, bonus: bonus}
	if s.options.OrderLifetime > 0 {
		o.expires = now.Add(s.options.OrderLifetime)
	}
	if request.DCVMethod == methodEmail {
		o.targets = emailTargets(names, request.DCVEmails)
	} else {
		o.validations = s.validationsOf(names)
	}
	s.purchases = append(s.purchases, purchase)
	s.orders = append(s.orders, o)
	s.byID[purchase.ID] = o
	for _, v := range o.validations {
		s.waiting[v.name] = append(s.waiting[v.name], o)
	}
	s.settle(o, now, nil)
	s.options.Log.Info("sold", "number", purchase.Number, "id", purchase.ID, "sku", purchase.SKU, "names", purchase.Names, "staged", staged)
	return reply{status: http.StatusOK, body: sale{Success: true, Response: o.view(now, faults, s.console(r)), number: purchase.Number}}
}

// orderedNames returns the names of an order, the common name first and none
// twice, or what is wrong with them. Invented: all of these rules.
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
	if p.wildcardOnly && !strings.HasPrefix(names[0], "*.") {
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

const idLength = 13

// newID makes an id in the form of the documented ones: 13 digits and capitals
// without those that are easily mistaken.
func (s *Server) newID() string {
	const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ" // 32: every random byte counts the same
	id := make([]byte, idLength)
	_, _ = io.ReadFull(s.options.Random, id) // it never fails
	for i := range id {
		id[i] = alphabet[int(id[i])%len(alphabet)]
	}
	return string(id)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
