// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultKey is the API key of a simulator that is not given any.
const DefaultKey = "simulator.0123456789abcdefghijklmnopqrstuvwxyz"

// defaultMaxDays is the documented maximum of validity_days, and what the
// vendor's example shows for an order that names none.
const defaultMaxDays = 199

// maxRequestBytes bounds what a request may send. Invented.
const maxRequestBytes = 1 << 20

// Options configure a Server. The zero value is useful.
type Options struct {
	// Keys are the API keys. Each is an account of its own, which sees only what
	// it ordered. Default: DefaultKey.
	Keys []string
	// Now is the clock of the vendor and of its CA. Default: time.Now.
	Now func() time.Time
	// IssueDelay is the time from the validation of an order to its certificate.
	IssueDelay time.Duration
	// Resolver looks up the CNAME of a name beside the simulator's own records,
	// see DNS. An error means that there is none.
	Resolver func(ctx context.Context, name string) (target string, err error)
	// Zones are the DNS zones that the accounts have. Default: every domain.
	Zones []string
	// Organizations are those of every account. Default: one that orders go on for
	// at once, one whose orders a person has to complete, and one that is not
	// usable; see OrganizationReady. Empty but not nil: none.
	Organizations []Organization
	// MissingOrganization is the answer to an order that needs an organization and
	// has none. Default: Refuse409.
	MissingOrganization MissingOrganization
	// ValidationLag is how often an order has to be read after it was completed
	// until it shows what it waits for. Default: 1. Negative: not at all.
	ValidationLag int
	// OrderLifetime is how long an order waits to be completed and validated
	// before it is cancelled. Default: forever.
	OrderLifetime time.Duration
	// ConsoleURL is where the pages of staged orders are said to be, such as
	// https://localhost:8443. Default: the address by which the API was asked.
	ConsoleURL string
	// MaxDays bounds validity_days. Default: 199.
	MaxDays int
	// ContractDays is the term that an order pays for. A certificate lives for no
	// longer than its order asks for, and another one can be issued on the order until
	// the term is over. Default: as long as the certificate lives.
	ContractDays int
	// Day is how long a day of a term lasts. Default: 24 hours.
	Day time.Duration
	// AtMidnight makes certificates begin at the midnight before they are issued.
	AtMidnight bool
	// CarryOver adds what is left of a certificate to the one that renews it.
	CarryOver bool
	// NoReissue and NoRenewal are for products that do without.
	NoReissue, NoRenewal bool
	// Hosts are names and addresses of the server beside localhost, 127.0.0.1
	// and ::1.
	Hosts []string
	// SameCA is a server whose CA and HTTPS certificate this one has, too: to make them
	// takes longer than to answer many calls. Default: its own.
	SameCA *Server
	// Random is where ids and tokens come from. Default: crypto/rand. Whoever replays
	// a schedule gives the same numbers again.
	Random io.Reader
	// Log gets a line for each request and each sale. Default: none.
	Log *slog.Logger
}

// Server is the stand-in vendor. Its methods are safe for concurrent use.
type Server struct {
	options  Options
	accounts map[string]int // API key to account
	ca       *authority
	identity tls.Certificate // of the HTTPS server
	serverCA []byte
	http     *http.Server
	handler  http.Handler
	ending   chan struct{}
	end      sync.Once

	mu            sync.Mutex // guards all below
	issueDelay    time.Duration
	orders        []*order // by purchase number
	byID          map[string]*order
	waiting       map[string][]*order // for the record at a canonical name
	purchases     []Purchase
	reissues      []Reissue
	records       []Record
	cnames        map[string]string // canonical name to canonical target
	lastRecord    int64
	organizations []Organization
	faults        []Fault
	calls         map[string]int
}

// New makes a server with a new CA. It listens nowhere yet.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxDays = cmp.Or(o.MaxDays, defaultMaxDays)
	o.Day = cmp.Or(o.Day, day)
	o.MissingOrganization = cmp.Or(o.MissingOrganization, Refuse409)
	if o.MissingOrganization != Refuse409 && o.MissingOrganization != Stage {
		return nil, fmt.Errorf("missing organizations are answered with %s or %s, not with %q", Refuse409, Stage, o.MissingOrganization)
	}
	o.ValidationLag = max(cmp.Or(o.ValidationLag, 1), 0)
	if o.Organizations == nil {
		o.Organizations = defaultOrganizations()
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if len(o.Keys) == 0 {
		o.Keys = []string{DefaultKey}
	}
	s := &Server{
		options: o, accounts: map[string]int{}, ending: make(chan struct{}),
		issueDelay: o.IssueDelay, calls: map[string]int{},
		byID: map[string]*order{}, waiting: map[string][]*order{}, cnames: map[string]string{},
		organizations: slices.Clone(o.Organizations),
	}
	for i, key := range o.Keys {
		if _, twice := s.accounts[key]; twice || key == "" {
			return nil, errors.New("an API key is empty or there twice")
		}
		s.accounts[key] = i
	}
	if err := s.identify(); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	s.http = &http.Server{
		Handler:           s.handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.identity}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		// Clients that give up in the handshake are part of many tests.
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// identify makes the CA and the certificate of the HTTPS server, or takes those of
// another server.
func (s *Server) identify() (err error) {
	if same := s.options.SameCA; same != nil {
		s.ca, s.identity, s.serverCA = same.ca, same.identity, same.serverCA
		return nil
	}
	if s.ca, err = newAuthority(s.options.Now()); err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	if s.identity, s.serverCA, err = newIdentity(s.options.Hosts); err != nil {
		return fmt.Errorf("make server certificate: %w", err)
	}
	return nil
}

// Handler returns the API and the pages under /_simulator/.
func (s *Server) Handler() http.Handler { return s.handler }

// Listen serves HTTPS on addr, such as 127.0.0.1:0, and returns the URL. It
// returns at once.
func (s *Server) Listen(addr string) (url string, err error) {
	address, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", err
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return "", err
	}
	go func() { _ = s.http.ServeTLS(listener, "", "") }()
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", err
	}
	if address.IP == nil || address.IP.IsUnspecified() {
		host = "localhost" // it listens on every address
	}
	return "https://" + net.JoinHostPort(host, port), nil
}

// Close stops the server at once.
func (s *Server) Close() error { return s.http.Close() }

// Shutdown stops the server when the requests under way have been answered.
// Those that a fault keeps waiting are ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end.Do(func() { close(s.ending) })
	return s.http.Shutdown(ctx)
}

// ServerCA returns the PEM certificate that signs the server's own.
func (s *Server) ServerCA() []byte { return bytes.Clone(s.serverCA) }

// Root returns the PEM certificate at the root of what the simulator sells.
func (s *Server) Root() []byte { return pemOf(s.ca.root.Raw) }

// SetIssueDelay changes Options.IssueDelay for what is not issued yet.
func (s *Server) SetIssueDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issueDelay = d
}

// Calls counts the requests that reached an endpoint, refused ones included. The
// keys are the Endpoint constants.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make(map[string]int, len(s.calls))
	for k, n := range s.calls {
		calls[k] = n
	}
	return calls
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for endpoint, h := range map[Endpoint]handler{
		EndpointProducts:      s.listProducts,
		EndpointOrganizations: s.listOrganizations,
		EndpointList:          s.listCertificates,
		EndpointOrder:         s.placeOrder,
		EndpointReissue:       s.startReissue,
		EndpointGet:           s.getCertificate,
		EndpointDownload:      s.download,
		EndpointCreateRecord:  s.createRecord,
		EndpointUpdateByName:  s.updateRecordByName,
		EndpointUpdateRecord:  s.updateRecord,
		EndpointDeleteRecord:  s.deleteRecord,
	} {
		mux.Handle(string(endpoint), s.endpoint(endpoint, h))
	}
	// GET /dns/{domain}/rr and GET /dns/rr/{rrid} both match /dns/rr/rr, which
	// ServeMux does not accept, so they are told apart here.
	records, record := s.endpoint(EndpointRecords, s.listRecords), s.endpoint(EndpointRecord, s.getRecord)
	mux.HandleFunc("GET /dns/{first}/{second}", func(w http.ResponseWriter, r *http.Request) {
		switch first, second := r.PathValue("first"), r.PathValue("second"); {
		case second == "rr":
			r.SetPathValue("domain", first)
			records.ServeHTTP(w, r)
		case first == "rr":
			r.SetPathValue("rrid", second)
			record.ServeHTTP(w, r)
		default:
			s.write(w, refuse(http.StatusNotFound, "Not found"))
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.write(w, refuse(http.StatusNotFound, "Not found")) // Invented: the text
	})
	s.pages(mux)
	s.admin(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// These two were on every recorded answer.
		w.Header().Set("Ratelimit-Policy", "500; w=60")
		w.Header().Set("Server", "regfish")
		s.options.Log.Debug("request", "method", r.Method, "path", r.URL.Path)
		mux.ServeHTTP(w, r)
	})
}

// reply is an answer before it is written.
type reply struct {
	status int
	body   any    // encoded as JSON, unless raw is set
	raw    []byte // sent as PEM
}

// handler answers a request of an account. The faults are those that the
// handler may have to act upon.
type handler func(r *http.Request, account int, faults []Fault) reply

// accept returns a successful answer.
func accept(response any) reply {
	return reply{status: http.StatusOK, body: map[string]any{"success": true, "code": 0, "response": response}}
}

// refuse returns a refusal in the form of the vendor's documentation.
func refuse(status int, message string) reply {
	return reply{status: status, body: map[string]any{"success": false, "message": message, "error": message}}
}

// refuseRecord returns a refusal in the form recorded from the DNS API.
func refuseRecord(status, code int, message string) reply {
	return reply{status: status, body: map[string]any{"success": false, "error": message, "code": code}}
}

// endpoint counts the call, checks the key, lets faults strike and answers.
func (s *Server) endpoint(e Endpoint, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read first: what arrived in part is no request, and only
		// then does the server notice a client that hangs up.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
		if err != nil {
			s.write(w, refuse(http.StatusBadRequest, "Invalid request payload"))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		account, known := s.accounts[r.Header.Get("x-api-key")]
		s.count(e)
		if !known {
			s.write(w, refuse(http.StatusUnauthorized, "Unauthorized"))
			return
		}
		faults := s.strike(e, r.PathValue("id"))
		i := slices.IndexFunc(faults, Fault.replacesAnswer)
		if i < 0 {
			s.finish(w, r, h(r, account, faults))
			return
		}
		fault := faults[i]
		s.options.Log.Info("fault", "kind", fault.Kind, "endpoint", e)
		var done reply
		if fault.AfterCommit {
			done = h(r, account, faults)
		}
		if fault.Kind != FaultSlow {
			s.lose(done)
			s.misbehave(w, r, fault)
			return
		}
		s.wait(r.Context(), fault.Delay)
		if !fault.AfterCommit {
			done = h(r, account, faults)
		}
		s.finish(w, r, done)
	})
}

// finish writes a reply, unless nobody is there any more to read it.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, done reply) {
	if r.Context().Err() != nil {
		s.lose(done)
		return
	}
	s.write(w, done)
}

func (s *Server) count(e Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[string(e)]++
}

// lose marks what a reply would have told the customer as never told.
func (s *Server) lose(r reply) {
	sold, ok := r.body.(sale)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purchases[sold.number-1].ReplyLost = true
}

// wait waits for d, the end of the request or the end of the server; 0 is
// forever.
func (s *Server) wait(ctx context.Context, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-ctx.Done():
	case <-s.ending:
	}
}

func (s *Server) write(w http.ResponseWriter, r reply) {
	if r.raw != nil {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.WriteHeader(r.status)
		_, _ = w.Write(r.raw)
		return
	}
	encoded, err := json.Marshal(r.body)
	if err != nil {
		panic(err) // a type that cannot be encoded is a mistake in this package
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(r.status)
	_, _ = w.Write(encoded)
}

// canonical returns a DNS name in lower case without a trailing dot.
func canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
}
