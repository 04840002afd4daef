// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

const (
	vendorHost = "api.vendor.test"
	endpoint   = "https://" + vendorHost
)

// network connects processes with the vendor in memory.
type network struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{accept: make(chan net.Conn, 16), closed: make(chan struct{})}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

func (n *network) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.accept <- theirs:
		return ours, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// identity is the vendor's certificate, made once for all runs.
var identity = sync.OnceValues(func() (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	// The clock of a bubble begins in the year 2000.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: vendorHost}, DNSNames: []string{vendorHost},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
})

// bubbleTime is when time begins in a bubble.
var bubbleTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// authority is a vendor of which only the CA is used, by those of all runs.
var authority = sync.OnceValues(func() (*simulator.Server, error) {
	return simulator.New(simulator.Options{Now: func() time.Time { return bubbleTime }})
})

// shop is the vendor.
type shop struct {
	*simulator.Server
	net  *network
	http *http.Server
}

func newShop(o simulator.Options) (*shop, error) {
	same, err := authority()
	if err != nil {
		return nil, err
	}
	o.SameCA = same
	server, err := simulator.New(o)
	if err != nil {
		return nil, err
	}
	s := &shop{Server: server, net: newNetwork()}
	s.http = &http.Server{Handler: server.Handler(), ErrorLog: log.New(io.Discard, "", 0)}
	own, _ := identity()
	// Tickets are written before the client reads, which a pipe without a buffer would
	// wait for without end.
	listener := tls.NewListener(s.net, &tls.Config{Certificates: []tls.Certificate{own}, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"}})
	go func() { _ = s.http.Serve(listener) }()
	return s, nil
}

// deliver places an order as a network does that hands it over late: to whoever sent it
// nothing of the answer comes back.
func (s *shop) deliver(key string, body []byte) { s.post(key, "/tls/certificate", body) }

func (s *shop) post(key, path string, body []byte) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, endpoint+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("x-api-key", key)
	s.Handler().ServeHTTP(&nowhere{http.Header{}}, r)
}

// nowhere is where an answer goes that nobody waits for.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// vendor is the client of one process: the real one, each of whose calls is a step.
type vendor struct {
	*poller.Client
	p *process
}

func (v *vendor) Products(ctx context.Context) (found []regfish.Product, err error) {
	v.read(simulator.EndpointProducts, "", func() { found, err = v.Client.Products(ctx) })
	return found, err
}

func (v *vendor) Certificates(ctx context.Context, each func(regfish.Certificate) error) (err error) {
	v.read(simulator.EndpointList, "", func() { err = v.Client.Certificates(ctx, each) })
	return err
}

func (v *vendor) MayList(ctx context.Context) error {
	return v.Certificates(ctx, func(regfish.Certificate) error { return nil })
}

func (v *vendor) Certificate(ctx context.Context, id string) (c regfish.Certificate, err error) {
	v.read(simulator.EndpointGet, id, func() { c, err = v.Client.Certificate(ctx, id) })
	return c, err
}

func (v *vendor) Download(ctx context.Context, id string) (data []byte, err error) {
	v.read(simulator.EndpointDownload, id, func() { data, err = v.Client.Download(ctx, id) })
	return data, err
}

// read is a call that costs nothing.
func (v *vendor) read(e simulator.Endpoint, id string, do func()) {
	f := v.p.turn(string(e)+" "+id, vendorRead)
	switch f {
	case requestLost, replyLost, errorAfter:
		v.p.w.shop.InjectFault(simulator.Fault{Endpoint: e, Kind: simulator.FaultStatus, Status: 502, Bare: true})
	default:
	}
	do()
	v.p.w.slept.Load()
	v.p.after(f)
}

// Order sends an order. It can be stopped before it connects, before it is asked for the
// last time whether it may, and between that and the first byte.
func (v *vendor) Order(ctx context.Context, r regfish.OrderRequest, mayWrite func() error) regfish.OrderResult {
	mayWrite = v.p.w.leaves(mayWrite, func() { v.p.w.orderLeaves(r) })
	return v.send("order "+r.CommonName, mayWrite, func() { v.p.w.arriveLater(r) }, func(mayWrite func() error) regfish.OrderResult {
		return v.Client.Order(ctx, r, mayWrite)
	})
}

// Reissue sends a reissue, and can be stopped like an order. None arrives late.
func (v *vendor) Reissue(ctx context.Context, id string, r regfish.ReissueRequest, mayWrite func() error) regfish.OrderResult {
	w := v.p.w
	mayWrite = w.leaves(mayWrite, func() { w.reissueLeaves(id, r) })
	result := v.send("reissue "+id, mayWrite, nil, func(mayWrite func() error) regfish.OrderResult {
		return v.Client.Reissue(ctx, id, r, mayWrite)
	})
	w.reissueAnswered(r.CSR, result)
	return result
}

func (v *vendor) send(name string, mayWrite func() error, later func(), send func(func() error) regfish.OrderResult) regfish.OrderResult {
	w := v.p.w
	v.p.turn("connect to "+name, vendorConnect)
	var f fault
	sent, late := false, false
	result := send(func() error {
		v.p.turn("ask to "+name, vendorConnect)
		if err := mayWrite(); err != nil {
			return err
		}
		f = v.p.turn(name, vendorOrder)
		if w.plan.echo && len(w.shop.Purchases()) == 1 && later != nil {
			f = requestLost
			w.echo = w.shop.Purchases()[0].ID
		}
		if f == none && w.plan.late > 0 && later != nil && w.takeLate() {
			// It is on its way, and arrives when nobody waits for the answer any more.
			late, f = true, requestLost
		}
		endpoint := simulator.EndpointOrder
		if later == nil {
			endpoint = simulator.EndpointReissue
		}
		w.strike(endpoint, f)
		sent = true
		return nil
	})
	w.slept.Load()
	if sent {
		w.calm()
		if w.echoed(&result) {
			// The vendor names an order that it took before.
			return result
		}
		w.sent(result)
	}
	if late && result.Outcome == regfish.Unknown {
		later()
	}
	v.p.after(f)
	return result
}
