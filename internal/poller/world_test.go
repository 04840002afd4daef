// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

const rowBytes = 974 // what the vendor's own client reads of a row

// vendor is an account without a network. Times are those of the bubble that a test
// runs in.
type vendor struct {
	fingerprint string
	latency     time.Duration
	// unlisted are ids that the list leaves out.
	unlisted map[string]bool

	mu     sync.Mutex
	fault  func(op string) error // answers instead, if set
	status map[string]string
	ids    []string
	calls  []made
	bytes  int64
}

// made is one call, at the time at which it was sent.
type made struct {
	op string
	at time.Time
}

func newVendor(n int) *vendor {
	v := &vendor{fingerprint: "key", latency: 200 * time.Millisecond, status: map[string]string{}}
	for i := range n {
		v.add(orderID(i))
	}
	return v
}

func orderID(i int) string { return fmt.Sprintf("C%05d", i) }

func (v *vendor) add(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ids, v.status[id] = append(v.ids, id), regfish.StatusPending
}

func (v *vendor) set(id, status string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status[id] = status
}

// called is what every call does first.
func (v *vendor) called(ctx context.Context, op string) error {
	v.mu.Lock()
	v.calls = append(v.calls, made{op, time.Now()})
	v.mu.Unlock()
	select {
	case <-time.After(v.latency):
	case <-ctx.Done():
		return &regfish.Error{Op: op, Kind: regfish.KindTransport, Err: ctx.Err()}
	}
	v.mu.Lock()
	fault := v.fault
	v.mu.Unlock()
	if fault != nil {
		return fault(op)
	}
	return nil
}

// fails makes every call answer with an error from now on; nil: none.
func (v *vendor) fails(fault func(op string) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = fault
}

// spent are the bytes of all answers.
func (v *vendor) spent() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bytes
}

func (v *vendor) made(op string) (times []time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.calls {
		if op == "" || c.op == op {
			times = append(times, c.at)
		}
	}
	return times
}

func (v *vendor) Products(ctx context.Context) ([]regfish.Product, error) {
	return nil, v.called(ctx, "products")
}

func (v *vendor) Organizations(ctx context.Context) ([]regfish.Organization, error) {
	return nil, v.called(ctx, "organizations")
}

func (v *vendor) Certificates(ctx context.Context, each func(regfish.Certificate) error) error {
	if err := v.called(ctx, "list"); err != nil {
		return err
	}
	v.mu.Lock()
	ids := slices.Clone(v.ids)
	v.mu.Unlock()
	for _, id := range ids {
		if v.unlisted[id] {
			continue
		}
		v.mu.Lock()
		c := regfish.Certificate{ID: id, Status: v.status[id]}
		v.bytes += rowBytes
		v.mu.Unlock()
		regfish.AddBytes(ctx, rowBytes)
		if err := each(c); err != nil {
			return err
		}
	}
	return nil
}

func (v *vendor) Certificate(ctx context.Context, id string) (regfish.Certificate, error) {
	if err := v.called(ctx, "get"); err != nil {
		return regfish.Certificate{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bytes += rowBytes
	status := v.status[id]
	if status == "" {
		return regfish.Certificate{}, &regfish.Error{Op: "get", Kind: regfish.KindNotFound, Status: 404}
	}
	return regfish.Certificate{ID: id, Status: status}, nil
}

func (v *vendor) Download(ctx context.Context, _ string) ([]byte, error) {
	return nil, v.called(ctx, "download")
}

func (v *vendor) Order(ctx context.Context, _ regfish.OrderRequest, _ func() error) regfish.OrderResult {
	if err := v.called(ctx, "order"); err != nil {
		return regfish.OrderResult{Outcome: regfish.Unknown, Err: &regfish.Error{Op: "order", Kind: regfish.KindOf(err)}}
	}
	return regfish.OrderResult{Outcome: regfish.Accepted}
}

func (v *vendor) Reissue(ctx context.Context, _ string, _ regfish.ReissueRequest, _ func() error) regfish.OrderResult {
	return v.Order(ctx, regfish.OrderRequest{}, nil)
}

func (v *vendor) Endpoint() string    { return "https://api.example" }
func (v *vendor) Fingerprint() string { return v.fingerprint }
func (v *vendor) Close()              {}

// ledger is what purchases show: the last status that they were woken for.
type ledger struct {
	*Poller
	mu    sync.Mutex
	shown map[types.NamespacedName]string
	told  map[types.NamespacedName]time.Time
	woken int
	// short says that rows of a list only hint at news.
	short bool
	// lost says that wake-ups come to nothing.
	lost bool
	// unconnected is why the source cannot be read.
	unconnected error
	ended       chan struct{}
}

var source = Source{Issuer: v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"}, Endpoint: "https://api.example"}

// follows starts a poller that reads with c, and follows nothing yet.
func follows(t *testing.T, c *Client) *ledger {
	t.Helper()
	l := &ledger{shown: map[types.NamespacedName]string{}, told: map[types.NamespacedName]time.Time{}, ended: make(chan struct{})}
	l.Poller = New(Options{
		Connect: func(context.Context, Source) (Reader, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return c, l.unconnected
		},
		Judge: func(_ context.Context, name types.NamespacedName, a Answer) Said {
			l.mu.Lock()
			defer l.mu.Unlock()
			switch {
			case l.shown[name] == said(a):
				return Nothing
			case a.Row && l.short:
				return Unclear
			}
			return News
		},
		Wake: func(_ context.Context, name types.NamespacedName) {
			a := l.Take(name)
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.woken++; l.lost {
				return
			}
			l.shown[name], l.told[name] = said(*a), time.Now()
			l.Done(name)
		},
		Clock: clock.RealClock{}, Every: DefaultEvery,
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(l.ended)
		if err := l.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-l.ended
	})
	return l
}

// now sets what holds from now on.
func (l *ledger) now(lost bool, unconnected error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.unconnected = lost, unconnected
}

// shows is what the purchase of an order shows.
func (l *ledger) shows(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shown[nameOf(id)]
}

// toldAt is since when it shows that.
func (l *ledger) toldAt(id string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[nameOf(id)]
}

// wakes is how often purchases were woken.
func (l *ledger) wakes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.woken
}

func said(a Answer) string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return a.Certificate.Status
}

func nameOf(id string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ledger", Name: id}
}

// follow follows an order that was placed so long ago, and shows that it is pending.
func (l *ledger) follow(id string, age time.Duration) {
	l.mu.Lock()
	l.shown[nameOf(id)] = regfish.StatusPending
	l.mu.Unlock()
	l.Follow(Order{Name: nameOf(id), ID: id, Source: source, Placed: time.Now().Add(-age), Told: true})
}

// nap lets virtual time pass in one of many goroutines.
func nap(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // in a bubble nobody races it

// pass lets virtual time pass, and everything happen that is due by then.
func pass(d time.Duration) {
	nap(d)
	synctest.Wait()
}

// figure tells `make bench` a figure, and fails the test if it is above its bar.
func figure(t *testing.T, name string, value, most float64) {
	t.Helper()
	t.Attr("bench."+name, strconv.FormatFloat(value, 'g', 4, 64))
	if value > most {
		t.Errorf("%s is %g, and may be %g", name, value, most)
	}
}

// within fails the test if a window of a second saw more calls than rate and burst.
func within(t *testing.T, calls []time.Time, l Limits) {
	t.Helper()
	above, i := 0, 0
	for j := range calls {
		for calls[j].Sub(calls[i]) >= time.Second {
			i++
		}
		above = max(above, j-i+1-int(l.Rate)-l.Burst)
	}
	figure(t, "calls-in-a-second-above-rate-and-burst", float64(above), 0)
}
