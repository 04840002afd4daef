// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Endpoint names one call of the API, as Calls counts it.
type Endpoint string

// The endpoints of the simulator, as patterns of their paths.
const (
	EndpointProducts      Endpoint = "GET /tls/products"
	EndpointOrganizations Endpoint = "GET /tls/organization"
	EndpointList          Endpoint = "GET /tls/certificate"
	EndpointOrder         Endpoint = "POST /tls/certificate"
	EndpointReissue       Endpoint = "POST /tls/certificate/{id}/reissue"
	EndpointGet           Endpoint = "GET /tls/certificate/{id}"
	EndpointDownload      Endpoint = "GET /tls/certificate/{id}/download/{format}"
	EndpointRecords       Endpoint = "GET /dns/{domain}/rr"
	EndpointRecord        Endpoint = "GET /dns/rr/{rrid}"
	EndpointCreateRecord  Endpoint = "POST /dns/rr"
	EndpointUpdateByName  Endpoint = "PATCH /dns/rr"
	EndpointUpdateRecord  Endpoint = "PATCH /dns/rr/{rrid}"
	EndpointDeleteRecord  Endpoint = "DELETE /dns/rr/{rrid}"
)

// FaultKind says how the simulator misbehaves.
type FaultKind string

// Faults on every endpoint. Where AfterCommit is set, an order is made, or a reissue
// begun, before the fault strikes.
const (
	FaultDrop    FaultKind = "Drop"    // close the connection without an answer
	FaultStatus  FaultKind = "Status"  // answer with Status, in the vendor's form unless Bare
	FaultGarbage FaultKind = "Garbage" // 200 and the beginning of a JSON document
	FaultHTML    FaultKind = "HTML"    // Status (default 200) and a web page
	FaultSlow    FaultKind = "Slow"    // answer properly, but after Delay
	FaultHang    FaultKind = "Hang"    // never answer
)

// Faults on order, list and get: what the answer says of a certificate. All but
// the last are rewritings that the vendor's own sources show.
const (
	FaultProductSpelling    FaultKind = "ProductSpelling"    // RAPIDSSL for RapidSSL
	FaultCommonNameRepeated FaultKind = "CommonNameRepeated" // the common name among dns_names
	FaultNoTrailingDots     FaultKind = "NoTrailingDots"     // validation names and values without dots
	FaultNoPendingReason    FaultKind = "NoPendingReason"    // pending_reason is missing
	FaultEmptyCompletionURL FaultKind = "EmptyCompletionURL" // completion_url is empty though action is required
	FaultNoCompletionURL    FaultKind = "NoCompletionURL"    // completion_url is missing
	FaultPendingLeft        FaultKind = "PendingLeft"        // issued, but still with the words of a staged order
	FaultNoID               FaultKind = "NoID"               // success, but no id
)

// FaultNoReissue is for reissue and get: what is said of a reissue is missing.
const FaultNoReissue FaultKind = "NoReissue"

// Faults on order, list and get, and on the list of organizations.
const (
	FaultOrganizationIDNumber  FaultKind = "OrganizationIDNumber"  // 42 for the id of an organization
	FaultOrganizationValidated FaultKind = "OrganizationValidated" // validated for the status ready
)

// Faults on the list of products.
const (
	FaultTypeInCapitals         FaultKind = "TypeInCapitals"         // OV for ov
	FaultNoValidationLevel      FaultKind = "NoValidationLevel"      // validation_level is missing
	FaultNoOrganizationRequired FaultKind = "NoOrganizationRequired" // organization_required is missing
)

// FaultApexAdded is for orders alone: the CA adds the www name to an apex, or the
// apex to a www name, and the certificate has it, too.
const FaultApexAdded FaultKind = "ApexAdded"

// Faults on list.
const (
	FaultListLag       FaultKind = "ListLag"       // orders younger than Delay are missing
	FaultFirstPageOnly FaultKind = "FirstPageOnly" // all but the first Rows are missing
	FaultShortRows     FaultKind = "ShortRows"     // rows have neither validation, reissue nor dates
)

// Faults on download.
const (
	FaultNotReady       FaultKind = "NotReady"       // 409 although issued
	FaultWrongKey       FaultKind = "WrongKey"       // a certificate for another key
	FaultWrongNames     FaultKind = "WrongNames"     // an ordered name is missing, or another has its place
	FaultForeignName    FaultKind = "ForeignName"    // a name that nobody ordered
	FaultOldCertificate FaultKind = "OldCertificate" // begun 30 days ago, valid for 30 more
	FaultExpired        FaultKind = "Expired"        // ended yesterday
	FaultNotYetValid    FaultKind = "NotYetValid"    // begins in 24 hours
	FaultCALeaf         FaultKind = "CALeaf"         // the leaf is a CA
	FaultSelfSigned     FaultKind = "SelfSigned"     // the leaf names itself as its issuer
	FaultBrokenChain    FaultKind = "BrokenChain"    // an issuer of the right name that did not sign
	FaultLeafOnly       FaultKind = "LeafOnly"       // no issuers
	FaultLeafLast       FaultKind = "LeafLast"       // issuers first
	FaultWithRoot       FaultKind = "WithRoot"       // the root at the end
	FaultTruncated      FaultKind = "Truncated"      // cut in the middle of the leaf
	FaultHuge           FaultKind = "Huge"           // megabytes of certificates
)

var (
	anywhere          = []FaultKind{FaultDrop, FaultStatus, FaultGarbage, FaultHTML, FaultSlow, FaultHang}
	organizationFault = []FaultKind{FaultOrganizationIDNumber, FaultOrganizationValidated}
	certFault         = append([]FaultKind{
		FaultProductSpelling, FaultCommonNameRepeated, FaultNoTrailingDots, FaultNoPendingReason, FaultEmptyCompletionURL,
		FaultNoCompletionURL, FaultPendingLeft, FaultNoID,
	}, organizationFault...)
	onlyAt = map[Endpoint][]FaultKind{
		EndpointOrder:   append([]FaultKind{FaultApexAdded}, certFault...),
		EndpointReissue: append([]FaultKind{FaultNoReissue}, certFault...),
		EndpointGet:     append([]FaultKind{FaultNoReissue}, certFault...),
		EndpointList:    append([]FaultKind{FaultListLag, FaultFirstPageOnly, FaultShortRows}, certFault...),
		EndpointDownload: {
			FaultNotReady, FaultWrongKey, FaultWrongNames, FaultForeignName, FaultOldCertificate, FaultExpired, FaultNotYetValid,
			FaultCALeaf, FaultSelfSigned, FaultBrokenChain, FaultLeafOnly, FaultLeafLast, FaultWithRoot, FaultTruncated, FaultHuge,
		},
		EndpointProducts:      {FaultTypeInCapitals, FaultNoValidationLevel, FaultNoOrganizationRequired},
		EndpointOrganizations: organizationFault,
		EndpointRecords:       nil, EndpointRecord: nil,
		EndpointCreateRecord: nil, EndpointUpdateByName: nil, EndpointUpdateRecord: nil, EndpointDeleteRecord: nil,
	}
)

// Fault is one planned misbehaviour. It strikes requests with a known key.
type Fault struct {
	Endpoint    Endpoint
	Kind        FaultKind
	ID          string        // only for this certificate; empty: for any
	Times       int           // 0: once; negative: until cleared
	AfterCommit bool          // do the work, then misbehave
	Status      int           // for FaultStatus (default 500) and FaultHTML (default 200)
	Bare        bool          // FaultStatus without the vendor's envelope
	Message     string        // for FaultStatus; default: the name of the status
	RetryAfter  string        // sent as the header of that name
	Rows        int           // for FaultFirstPageOnly
	Delay       time.Duration // for FaultSlow and FaultListLag
}

// faultJSON is Fault as the pages under /_simulator/ have it.
type faultJSON struct {
	Endpoint    Endpoint  `json:"endpoint"`
	Kind        FaultKind `json:"kind"`
	ID          string    `json:"id,omitempty"`
	Times       int       `json:"times,omitempty"`
	AfterCommit bool      `json:"afterCommit,omitempty"`
	Status      int       `json:"status,omitempty"`
	Bare        bool      `json:"bare,omitempty"`
	Message     string    `json:"message,omitempty"`
	RetryAfter  string    `json:"retryAfter,omitempty"`
	Rows        int       `json:"rows,omitempty"`
	Delay       string    `json:"delay,omitempty"` // such as 1m30s
}

// MarshalJSON writes the delay as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{f.Endpoint, f.Kind, f.ID, f.Times, f.AfterCommit, f.Status, f.Bare, f.Message, f.RetryAfter, f.Rows, ""}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads the delay as text.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var j faultJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelt field would make another fault
	if err := d.Decode(&j); err != nil {
		return err
	}
	*f = Fault{j.Endpoint, j.Kind, j.ID, j.Times, j.AfterCommit, j.Status, j.Bare, j.Message, j.RetryAfter, j.Rows, 0}
	if j.Delay == "" {
		return nil
	}
	var err error
	f.Delay, err = time.ParseDuration(j.Delay)
	return err
}

// check refuses a fault that would never strike: a test with such a fault would
// pass without having tested anything.
func (f Fault) check() error {
	kinds, known := onlyAt[f.Endpoint]
	switch {
	case !known:
		return fmt.Errorf("fault on the unknown endpoint %q", f.Endpoint)
	case !slices.Contains(anywhere, f.Kind) && !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("fault of kind %q on %q, where it does nothing", f.Kind, f.Endpoint)
	case f.Delay <= 0 && (f.Kind == FaultSlow || f.Kind == FaultListLag):
		return fmt.Errorf("fault of kind %q without a delay", f.Kind)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("fault with the status %d", f.Status)
	}
	return nil
}

// InjectFault plans a fault. Faults strike in the order in which they were
// planned; of those that replace the answer one strikes at a time, of the others
// all do. It panics if the fault could never strike.
func (s *Server) InjectFault(f Fault) {
	if err := s.inject(f); err != nil {
		panic("simulator: " + err.Error())
	}
}

func (s *Server) inject(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return nil
}

// Faults returns the faults that are still to strike.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// ClearFaults forgets all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// strike returns the faults that strike a request, and counts them down.
func (s *Server) strike(e Endpoint, id string) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var striking []Fault
	for i := range s.faults {
		f := &s.faults[i]
		if f.Endpoint != e || f.ID != "" && f.ID != id || f.replacesAnswer() && slices.ContainsFunc(striking, Fault.replacesAnswer) {
			continue
		}
		striking = append(striking, *f)
		f.Times--
	}
	s.faults = slices.DeleteFunc(s.faults, func(f Fault) bool { return f.Times == 0 })
	return striking
}

func (f Fault) replacesAnswer() bool { return slices.Contains(anywhere, f.Kind) }

func find(faults []Fault, kind FaultKind) (Fault, bool) {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Kind == kind })
	if i < 0 {
		return Fault{}, false
	}
	return faults[i], true
}

func has(faults []Fault, kind FaultKind) bool {
	_, ok := find(faults, kind)
	return ok
}

// answers has the faults that replace the answer, but for FaultSlow, which only
// delays it.
var answers = map[FaultKind]func(s *Server, w http.ResponseWriter, r *http.Request, f Fault){
	FaultDrop: func(*Server, http.ResponseWriter, *http.Request, Fault) {
		panic(http.ErrAbortHandler) // closes the connection
	},
	FaultHang: func(s *Server, _ http.ResponseWriter, r *http.Request, _ Fault) {
		s.wait(r.Context(), 0)
		panic(http.ErrAbortHandler)
	},
	FaultStatus: func(s *Server, w http.ResponseWriter, _ *http.Request, f Fault) {
		status := cmp.Or(f.Status, http.StatusInternalServerError)
		if f.Bare {
			w.WriteHeader(status)
			return
		}
		s.write(w, refuse(status, cmp.Or(f.Message, http.StatusText(status))))
	},
	FaultGarbage: func(_ *Server, w http.ResponseWriter, _ *http.Request, _ Fault) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"success":true,"code":0,"response":{"id":"`)
	},
	FaultHTML: func(_ *Server, w http.ResponseWriter, _ *http.Request, f Fault) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body>Please come back later.</body></html>\n")
	},
}

// misbehave gives the answer, or none, that a fault stands for.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, f Fault) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	answers[f.Kind](s, w, r, f)
}

// deliver returns the certificate and its issuers as PEM, or what faults make of
// them.
func (a *authority) deliver(o *order, now time.Time, faults []Fault) ([]byte, error) {
	leafDER, issuers := o.certificate.Raw, [][]byte{a.intermediate.Raw}
	for _, f := range faults {
		forge := forgeries[f.Kind]
		if forge == nil {
			continue
		}
		names := append([]string{o.purchase.CommonName}, o.purchase.DNSNames...)
		lifetime := o.certificate.NotAfter.Sub(o.certificate.NotBefore) + time.Second
		forged := forgery{authority: a, now: now, Certificate: leaf(names, o.certificate.NotBefore, lifetime),
			key: o.certificate.PublicKey, issuer: a.intermediate, signer: a.intermediateKey}
		forge(&forged)
		cert, err := sign(forged.Certificate, forged.issuer, forged.key, forged.signer)
		if err != nil {
			return nil, err
		}
		leafDER = cert.Raw
	}
	if has(faults, FaultSelfSigned) || has(faults, FaultLeafOnly) {
		issuers = nil
	}
	if has(faults, FaultBrokenChain) {
		issuers = [][]byte{a.impostor.Raw}
	}
	if has(faults, FaultWithRoot) {
		issuers = append(issuers, a.root.Raw)
	}
	chain := pemOf(append([][]byte{leafDER}, issuers...)...)
	switch {
	case has(faults, FaultLeafLast):
		chain = pemOf(append(issuers, leafDER)...)
	case has(faults, FaultTruncated):
		chain = chain[:len(pemOf(leafDER))/2]
	case has(faults, FaultHuge):
		chain = bytes.Repeat(chain, 1000)
	}
	return chain, nil
}

// forgery is a certificate that takes the place of the one that was issued.
type forgery struct {
	*x509.Certificate
	authority *authority
	now       time.Time
	key       crypto.PublicKey
	issuer    *x509.Certificate
	signer    crypto.Signer
}

// forgeries has the faults that deliver another leaf.
var forgeries = map[FaultKind]func(*forgery){
	FaultWrongKey: func(f *forgery) { f.key = f.authority.impostorKey.Public() },
	FaultWrongNames: func(f *forgery) {
		f.DNSNames = f.DNSNames[:len(f.DNSNames)-1]
		if len(f.DNSNames) == 0 {
			f.DNSNames = []string{"other." + baseDomain(f.Subject.CommonName)}
		}
		f.Subject.CommonName = f.DNSNames[0]
	},
	FaultForeignName:    func(f *forgery) { f.DNSNames = append(f.DNSNames, "foreign.example.net") },
	FaultOldCertificate: func(f *forgery) { f.NotBefore, f.NotAfter = f.now.Add(-30*day), f.now.Add(30*day) },
	FaultExpired:        func(f *forgery) { f.NotBefore, f.NotAfter = f.now.Add(-60*day), f.now.Add(-day) },
	FaultNotYetValid:    func(f *forgery) { f.NotBefore, f.NotAfter = f.now.Add(day), f.now.Add(90*day) },
	FaultCALeaf: func(f *forgery) {
		f.IsCA = true
		f.KeyUsage |= x509.KeyUsageCertSign
	},
	FaultSelfSigned: func(f *forgery) {
		// The key is the customer's, which only the customer can sign with, so
		// the signature is somebody else's.
		f.issuer, f.signer = f.Certificate, f.authority.impostorKey
	},
}
