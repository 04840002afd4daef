// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// settleTime of the tests.
const settleTime = 30 * time.Minute

// resolver is what the process of s looks with.
func (w *world) resolver(s *Spender) *Resolver {
	return &Resolver{Spender: s, Cache: w.api, SettleTime: settleTime}
}

// look looks once for the order of the purchase of the given name, shows what came of
// it, and returns when to look again.
func (w *world) look(r *Resolver, name string) (*Search, time.Duration) {
	w.t.Helper()
	var p v1alpha1.RegfishPurchase
	if err := w.api.Get(context.Background(), client.ObjectKey{Namespace: ledger, Name: name}, &p); err != nil {
		w.t.Fatal(err)
	}
	s, _, next, err := r.Resolve(w.t.Context(), &p, time.Minute)
	if err != nil {
		w.t.Fatalf("Resolve: %v", err)
	}
	return s, next
}

// search looks for the order of the purchase, whenever a look is due, until it is known
// what became of it or the time is over. It returns what the last look came to.
func (w *world) search(r *Resolver, name string, most time.Duration) *Search {
	w.t.Helper()
	for end := w.clock.Now().Add(most); ; {
		s, next := w.look(r, name)
		if s.Finding == Proved || s.Finding == NotFound || w.clock.Now().Add(next).After(end) {
			return s
		}
		w.clock.SetTime(w.clock.Now().Add(next))
	}
}

// lists counts how often the account was listed.
func (w *world) lists() func() int {
	n := 0
	w.vendor.listing = func() { n++ }
	return func() int { defer func() { n = 0 }(); return n }
}

// lost makes the vendor take the next order and answer nothing. It is listed once the
// lag is over.
func (w *world) lost(cr *cmapi.CertificateRequest) *Spender {
	w.t.Helper()
	w.vendor.answer = answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")
	s := w.spender("one", none)
	if d := w.spend(s, cr); d.Step != StepFollow {
		w.t.Fatalf("step %d: %s", d.Step, d.Message)
	}
	w.vendor.answer = nil
	return s
}

// issue makes the account have the certificate of an order.
func (w *world) issue(id string, c []byte, names ...string) {
	w.vendor.mu.Lock()
	defer w.vendor.mu.Unlock()
	row := issuedAtVendor(id, noon, inHalfAYear, names...)
	row.Product = "RapidSSL"
	w.vendor.account = append(slices.DeleteFunc(w.vendor.account, func(o regfish.Certificate) bool { return o.ID == id }), row)
	if w.vendor.pem == nil {
		w.vendor.pem = map[string][]byte{}
	}
	w.vendor.pem[id] = c
}

// resolutions are how the attempts of p were resolved.
func resolutions(p v1alpha1.RegfishPurchase) []string {
	var all []string
	for _, a := range p.Spec.Attempts {
		line := "none"
		if a.Resolution != nil {
			line = strings.TrimSpace(a.Resolution.Result + " " + a.Resolution.CertificateID)
		}
		all = append(all, line)
	}
	return all
}

// A reply that is lost after the order was made: the order is followed as soon as the
// account shows it, and adopted once its key proves it.
func TestLostReplyIsFoundAndAdopted(t *testing.T) {
	const www = "www.example.com"
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	p := w.only()
	if p.Status.State != v1alpha1.StateResolving {
		t.Errorf("state %s: %s", p.Status.State, p.Status.Message)
	}
	r := w.resolver(s)
	if found, next := w.look(r, p.Name); found.Finding != Searching || next != settleTime/2 {
		t.Errorf("finding %d, next look after %s", found.Finding, next)
	}
	w.vendor.account = []regfish.Certificate{listed("C1", www)}
	w.clock.SetTime(noon.Add(settleTime / 2))
	found, next := w.look(r, p.Name)
	if found.Finding != Followed || found.Found.Certificate.ID != "C1" || next != time.Minute {
		t.Fatalf("finding %d, next look after %s", found.Finding, next)
	}
	p = w.only()
	if p.Spec.CertificateID != "" || phaseOf(&p) != phaseUnresolved {
		t.Errorf("what is not proved is recorded: %v", describe(w.purchases()))
	}
	lists := w.lists()
	w.issue("C1", certificatePEM(leaf(t, keyA, noon, inHalfAYear, www)), www)
	w.clock.SetTime(w.clock.Now().Add(next))
	if found, _ = w.look(r, p.Name); found.Finding != Proved {
		t.Errorf("finding %d", found.Finding)
	}
	if n := lists(); n != 0 {
		t.Errorf("what is followed is asked for by its id, and %d lists were read", n)
	}
	p = w.only()
	if diff := cmp.Diff([]string{"Adopted C1"}, resolutions(p)); diff != "" || p.Spec.CertificateID != "C1" || p.Spec.Attempts[0].Outcome.Result != v1alpha1.OutcomeUnknown {
		t.Errorf("%v %s", describe(w.purchases()), diff)
	}
	if d := w.spend(s, cr); d.Step != StepFollow || w.vendor.sent() != 1 || w.slots() != 1 {
		t.Errorf("step %d, %d orders, %d slots", d.Step, w.vendor.sent(), w.slots())
	}
}

// A connection that breaks before the order is made: three readings over the settle
// time lack it, and it is ordered again.
func TestLostOrderIsNotFoundAndOrderedAgain(t *testing.T) {
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	s := w.lost(cr)
	lists := w.lists()
	name := w.only().Name
	if found := w.search(w.resolver(s), name, time.Hour); found.Finding != NotFound {
		t.Fatalf("finding %d, gap %q", found.Finding, found.Gap)
	}
	if n := lists(); n != 3 || !w.clock.Now().Equal(noon.Add(settleTime)) {
		t.Errorf("%d lists until %s", n, w.clock.Now())
	}
	p := w.only()
	if diff := cmp.Diff([]string{"NotFound"}, resolutions(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := w.spend(s, cr); d.Step != StepQueue || d.LookAgain != time.Minute || !strings.Contains(d.Message, "3 readings of the account within 30m0s lack it") {
		t.Errorf("step %d after %s: %s", d.Step, d.LookAgain, d.Message)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	if d := w.spend(s, cr); d.Step != StepFollow {
		t.Errorf("step %d: %s", d.Step, d.Message)
	}
	p = w.only()
	if w.vendor.sent() != 2 || p.Spec.CertificateID != "ID0002" || w.slots() != 2 {
		t.Errorf("%v, %d orders, %d slots", describe(w.purchases()), w.vendor.sent(), w.slots())
	}
}

// A process that died with the order under way is like a lost reply; that it died is
// recorded when the order is found or not.
func TestDiedWhileSendingIsResolved(t *testing.T) {
	for _, committed := range []bool{true, false} {
		open := record(t, 1, attempted("", time.Minute), sentWith("fingerprint"))
		w := newWorld(t, readyIssuer(50), &open)
		if committed {
			w.issue("C1", certificatePEM(leaf(t, keyA, noon, inHalfAYear, "www.example.com")), "www.example.com")
		}
		s := w.spender("two", none)
		s.Writer.PodUID = "another pod"
		found := w.search(w.resolver(s), open.Name, 2*time.Hour)
		p := w.only()
		if committed != (found.Finding == Proved) || committed != (p.Spec.CertificateID == "C1") || phaseOf(&p) == phaseUnresolved {
			t.Errorf("committed %v: finding %d, %v", committed, found.Finding, describe(w.purchases()))
		}
		if o := p.Spec.Attempts[0].Outcome; o == nil || o.Result != v1alpha1.OutcomeUnknown {
			t.Errorf("the outcome is %+v", o)
		}
	}
}

// Another process counts its own looks on its own clock, whatever the record says about
// when the order was sent.
func TestLooksAreCountedAnewByEveryProcess(t *testing.T) {
	old := record(t, 1, attempted(v1alpha1.OutcomeUnknown, days(3)), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &old)
	first := w.resolver(w.spender("one", none))
	for range 2 {
		_, next := w.look(first, old.Name)
		w.clock.SetTime(w.clock.Now().Add(next))
	}
	begun := w.clock.Now()
	second := w.resolver(w.spender("two", none))
	if found, _ := w.look(second, old.Name); found.Finding != Searching || found.Counted != 1 {
		t.Errorf("finding %d after %d looks", found.Finding, found.Counted)
	}
	if found := w.search(second, old.Name, time.Hour); found.Finding != NotFound || w.clock.Now().Sub(begun) != settleTime {
		t.Errorf("finding %d after %s", found.Finding, w.clock.Now().Sub(begun))
	}
}

// Every attempt is looked for on its own.
func TestLooksAreCountedAnewForEveryAttempt(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &p)
	r := w.resolver(w.spender("one", none))
	w.look(r, p.Name)
	now := w.only()
	now.Spec.Attempts[0].Resolution = &v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound}
	attempted(v1alpha1.OutcomeUnknown, 0)(&now)
	sentWith("fingerprint")(&now)
	if err := w.api.Update(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	w.clock.SetTime(noon.Add(settleTime))
	if found, _ := w.look(r, p.Name); found.Counted != 1 || !found.Begun.Equal(noon.Add(settleTime)) {
		t.Errorf("%d looks since %s", found.Counted, found.Begun)
	}
}

func TestLookReadsTheAccount(t *testing.T) {
	const www = "www.example.com"
	begin, end := noon, inHalfAYear
	for name, tt := range map[string]struct {
		reason string
		before func(*world)
		ledger []change // of another purchase
		want   Finding
		seen   []string // candidates
		gap    string
	}{
		"an account that holds nothing": {reason: "there is nothing to see", before: func(*world) {}, want: Searching},
		"a row without names": {
			reason: "its names are asked for by its id", want: Followed, seen: []string{"C1"},
			before: func(w *world) { w.vendor.account = []regfish.Certificate{listed("C1")} },
		},
		"an id that another purchase holds": {
			reason: "it is that one's", want: Searching, ledger: []change{placed("C1", time.Hour), inNamespace("blog")},
			before: func(w *world) { w.vendor.account = []regfish.Certificate{listed("C1", www)} },
		},
		"an id that a purchase at another endpoint holds": {
			reason: "two vendors may count alike", want: Followed, seen: []string{"C1"}, ledger: []change{placed("C1", time.Hour), elsewhere},
			before: func(w *world) { w.vendor.account = []regfish.Certificate{listed("C1", www)} },
		},
		"one that is followed by another purchase": {
			reason: "what is not proved excludes nobody", want: Followed, seen: []string{"C1"}, ledger: []change{attempted(v1alpha1.OutcomeUnknown, time.Hour), inNamespace("blog")},
			before: func(w *world) { w.vendor.account = []regfish.Certificate{listed("C1", www)} },
		},
		"one of another product": {
			reason: "the catalogue has that product", want: Searching,
			before: func(w *world) {
				c := listed("C1", www)
				c.Product = "SecureSite"
				w.vendor.account = []regfish.Certificate{c}
			},
		},
		"one with a product that the catalogue lacks": {
			reason: "it is a spelling", want: Followed, seen: []string{"C1"},
			before: func(w *world) {
				c := listed("C1", www)
				c.Product = "rapid ssl"
				w.vendor.account = []regfish.Certificate{c}
			},
		},
		"one with another product while the catalogue cannot be read": {
			reason: "it is not known whether there is such a product", want: Searching, gap: "read the catalogue: list products: HTTP 503",
			before: func(w *world) {
				c := listed("C1", www)
				c.Product = "rapid ssl"
				w.vendor.account, w.vendor.uncatalogued = []regfish.Certificate{c}, &regfish.Error{Op: "list products", Kind: regfish.KindUnavailable, Status: 503}
			},
		},
		"one that is issued with another key": {
			reason: "it is disproved", want: Searching,
			before: func(w *world) { w.issue("C1", certificatePEM(leaf(w.t, keyB, begin, end, www)), www) },
		},
		"one that is issued with another key and revoked": {
			reason: "what it is not stays so", want: Searching,
			before: func(w *world) {
				w.issue("C1", certificatePEM(leaf(w.t, keyB, begin, end, www)), www)
				w.vendor.account[0].RevocationScope = "order"
			},
		},
		"one with its key": {
			reason: "it is proved", want: Proved, seen: []string{"C1"},
			before: func(w *world) { w.issue("C1", certificatePEM(leaf(w.t, keyA, begin, end, www)), www) },
		},
		"one with its key, expired by now": {
			reason: "it is the order all the same", want: Proved, seen: []string{"C1"},
			before: func(w *world) {
				w.issue("C1", certificatePEM(leaf(w.t, keyA, begin, end, www)), www)
				w.vendor.account[0].Status = regfish.StatusExpired
			},
		},
		"one whose file is not there yet": {
			reason: "the word comes before the file", want: Followed, seen: []string{"C1"},
			before: func(w *world) { w.issue("C1", nil, www); delete(w.vendor.pem, "C1") },
		},
		"one whose file cannot be read": {
			reason: "it proves nothing", want: Followed, seen: []string{"C1"},
			before: func(w *world) { w.issue("C1", []byte("nonsense"), www) },
		},
		"one whose file cannot be fetched": {
			reason: "it is not known what it hides", want: Searching, gap: "download C1: download certificate: HTTP 500",
			before: func(w *world) {
				w.issue("C1", nil, www)
				w.vendor.unread = &regfish.Error{Op: "download certificate", Kind: regfish.KindUnavailable, Status: 500}
			},
		},
		"a list that breaks off": {
			reason: "what follows is not known", want: Searching, gap: "list certificates: no answer",
			before: func(w *world) {
				w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTransport, Message: "no answer in time"}
			},
		},
		"a list that lacks what the ledger holds": {
			reason: "it is no evidence", want: Searching, gap: "the list lacks C7, which the ledger holds", ledger: []change{placed("C7", time.Hour), sentWith("fingerprint"), inNamespace("blog")},
			before: func(*world) {},
		},
		"a list of another key": {
			reason: "it is no evidence", want: Searching, gap: "another API key",
			before: func(w *world) { w.vendor.key = "rotated" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
			objects := []client.Object{readyIssuer(50), &p}
			if tt.ledger != nil {
				other := record(t, 2, tt.ledger...)
				objects = append(objects, &other)
			}
			w := newWorld(t, objects...)
			tt.before(w)
			found, next := w.look(w.resolver(w.spender("one", none)), p.Name)
			var seen []string
			for _, c := range found.Candidates {
				seen = append(seen, c.Certificate.ID)
			}
			if diff := cmp.Diff(tt.seen, seen); diff != "" || found.Finding != tt.want {
				t.Errorf("%s: finding %d, want %d; candidates (-want +got):\n%s", tt.reason, found.Finding, tt.want, diff)
			}
			if (found.Gap == "") != (tt.gap == "") || !strings.Contains(found.Gap, tt.gap) || (tt.gap == "") != (found.Counted == 1) {
				t.Errorf("%s: gap %q, %d looks count", tt.reason, found.Gap, found.Counted)
			}
			if next > settleTime/2 || next < time.Second {
				t.Errorf("the next look is %s off", next)
			}
		})
	}
}

// What was found to have another key is remembered in the record, and not fetched again.
func TestDisprovedIsRemembered(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &p)
	w.issue("C1", certificatePEM(leaf(t, keyB, noon, inHalfAYear, "www.example.com")), "www.example.com")
	w.look(w.resolver(w.spender("one", none)), p.Name)
	if diff := cmp.Diff([]string{"C1"}, w.only().Spec.Attempts[0].DisprovedIDs); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	w.vendor.unread = &regfish.Error{Op: "download certificate", Kind: regfish.KindUnavailable, Status: 500}
	if found := w.search(w.resolver(w.spender("two", none)), p.Name, time.Hour); found.Finding != NotFound {
		t.Errorf("finding %d, gap %q", found.Finding, found.Gap)
	}
}

// A candidate that a later list lacks is asked for by its id: a list that shows it at
// one time and not at another shows nothing by what it lacks.
func TestCandidateThatVanishesIsAskedFor(t *testing.T) {
	other := listed("C1", "www.example.com", "else.example.org")
	for name, gone := range map[string]bool{"it is still there": false, "the vendor does not know it any more": true} {
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
		w := newWorld(t, readyIssuer(50), &p)
		w.vendor.account = []regfish.Certificate{other}
		r := w.resolver(w.spender("one", none))
		_, next := w.look(r, p.Name)
		w.clock.SetTime(w.clock.Now().Add(next))
		w.vendor.unlisted = []string{"C1"}
		if gone {
			w.vendor.account = nil
		}
		found := w.search(r, p.Name, 2*time.Hour)
		// Whether it was the order cannot be told any more, if it is gone.
		if found.Finding != Undecided || len(found.Candidates) != 1 || found.Candidates[0].Gone != gone {
			t.Errorf("%s: finding %d with the candidates %+v", name, found.Finding, found.Candidates)
		}
	}
}

// A held purchase stops spending and never stops looking.
func TestHeldGoesOnLooking(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &p)
	w.vendor.account = []regfish.Certificate{listed("X1", "www.example.com", "else.example.org")}
	r := w.resolver(w.spender("one", none))
	lists := w.lists()
	found := w.search(r, p.Name, days(2))
	if n := lists(); found.Finding != Undecided || n < 48 || n > 60 {
		t.Errorf("finding %d after %d lists", found.Finding, n)
	}
	now := w.only()
	if now.Status = Observe(&now, Observation{RequestLive: true, Search: found}); now.Status.State != v1alpha1.StateHeld || !strings.Contains(now.Status.Message, "X1 (pending)") {
		t.Errorf("%s: %s", now.Status.State, now.Status.Message)
	}
	// What looking resolves releases it.
	w.issue("X1", certificatePEM(leaf(t, keyB, noon, inHalfAYear, "www.example.com")), "www.example.com", "else.example.org")
	if found := w.search(r, p.Name, 2*time.Hour); found.Finding != NotFound {
		t.Errorf("finding %d", found.Finding)
	}
}

// A reading that fails is made again soon, and the vendor is left alone for as long as
// it asks.
func TestFailedLookIsMadeAgain(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &p)
	r := w.resolver(w.spender("one", none))
	lists := w.lists()
	w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTooMany, Status: 429, RetryAfter: 7 * time.Minute}
	if _, next := w.look(r, p.Name); next != 7*time.Minute {
		t.Errorf("the next look is %s off", next)
	}
	w.clock.SetTime(noon.Add(7*time.Minute - time.Second))
	if _, next := w.look(r, p.Name); next != time.Second || lists() != 1 {
		t.Errorf("the vendor is not left alone")
	}
	w.clock.SetTime(noon.Add(7 * time.Minute))
	w.vendor.unheard = &regfish.Error{Op: "list certificates", Kind: regfish.KindTransport}
	if _, next := w.look(r, p.Name); next != time.Minute {
		t.Errorf("the next look is %s off", next)
	}
	w.clock.SetTime(noon.Add(8 * time.Minute))
	w.vendor.unheard = nil
	if found, next := w.look(r, p.Name); next != settleTime/2 || found.Gap != "" || found.Counted != 1 {
		t.Errorf("the next look is %s off, gap %q", next, found.Gap)
	}
}

// An API server that does not answer says nothing about the account.
func TestLookWithoutAnAPIServer(t *testing.T) {
	for name, faults := range map[string]interceptor.Funcs{
		"lists": {List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errServer
		}},
		"writes": {Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return errServer
		}},
	} {
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
		w := newWorld(t, readyIssuer(50), &p)
		w.issue("C1", certificatePEM(leaf(t, keyA, noon, inHalfAYear, "www.example.com")), "www.example.com")
		r := w.resolver(w.spender("one", faults))
		if _, _, _, err := r.Resolve(t.Context(), &p, time.Minute); !errors.Is(err, errServer) {
			t.Errorf("%s fail: %v", name, err)
		}
		if now := w.only(); now.Spec.CertificateID != "" {
			t.Errorf("%s fail: %v", name, describe(w.purchases()))
		}
		// It is made up for.
		r.Spender = w.spender("one", none)
		if found := w.search(r, p.Name, time.Hour); found.Finding != Proved {
			t.Errorf("%s failed: finding %d", name, found.Finding)
		}
	}
}

// A record that changed since it was read is not written.
func TestStaleRecordIsNotResolved(t *testing.T) {
	p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith("fingerprint"))
	w := newWorld(t, readyIssuer(50), &p)
	stale := w.only()
	now := w.only()
	now.Labels["touched"] = "yes"
	if err := w.api.Update(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	w.issue("C1", certificatePEM(leaf(t, keyA, noon, inHalfAYear, "www.example.com")), "www.example.com")
	if _, _, _, err := w.resolver(w.spender("one", none)).Resolve(t.Context(), &stale, time.Minute); !apierrors.IsConflict(err) {
		t.Errorf("error %v", err)
	}
}

// Only when nobody can be sending the order any more does it count as never placed.
func TestWriter(t *testing.T) {
	const settled, twice = settleTime, 2 * settleTime
	began := noon.Add(-time.Hour)
	pod := func(uid types.UID, changes ...func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ledger, Name: "issuer-0", UID: uid}}
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began.Add(-time.Hour))}}}}
		for _, c := range changes {
			c(p)
		}
		return p
	}
	inPod := func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Attempts[0].Writer = v1alpha1.Writer{PodUID: "pod-1", PodNamespace: ledger, PodName: "issuer-0", StartNonce: "one"}
	}
	for name, tt := range map[string]struct {
		reason  string
		outcome string
		changes []change
		pod     *corev1.Pod
		faults  interceptor.Funcs
		after   time.Duration // when it is found that there is no order
	}{
		"a process that recorded that it does not know": {
			reason: "it is not sending any more", outcome: v1alpha1.OutcomeUnknown, changes: []change{inPod}, pod: pod("pod-1"), after: settled,
		},
		"this process": {
			reason: "it does not work on it", changes: []change{func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Attempts[0].Writer = v1alpha1.Writer{PodUID: "pod", StartNonce: "two"}
			}}, after: settled,
		},
		"an earlier process of this pod": {
			reason: "a container runs one process at a time", changes: []change{func(p *v1alpha1.RegfishPurchase) {
				p.Spec.Attempts[0].Writer = v1alpha1.Writer{PodUID: "pod", StartNonce: "one"}
			}}, after: settled,
		},
		"a pod that does not exist any more": {reason: "its process cannot go on", changes: []change{inPod}, after: settled},
		"a pod of the name that is another":  {reason: "its process cannot go on", changes: []change{inPod}, pod: pod("pod-2"), after: settled},
		"a pod that is there":                {reason: "its process may have been stopped and go on", changes: []change{inPod}, pod: pod("pod-1")},
		"a pod whose containers were restarted": {
			reason: "the process that sent it ended", changes: []change{inPod}, after: settled,
			pod: pod("pod-1", func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(began.Add(time.Second))
			}),
		},
		"a pod whose container was started in the same second": {
			reason: "the time of a start has no smaller unit: before or after the order", changes: []change{inPod}, after: twice,
			pod: pod("pod-1", func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(began)
			}),
		},
		"a pod of which one container was restarted": {
			reason: "it may have been the other one's", changes: []change{inPod},
			pod: pod("pod-1", func(p *corev1.Pod) {
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}}})
			}),
		},
		"a pod whose container waits to be restarted": {
			reason: "its process ended", changes: []change{inPod}, after: settled,
			pod: pod("pod-1", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = corev1.ContainerState{} }),
		},
		"a pod that ended":                {reason: "its process ended", changes: []change{inPod}, pod: pod("pod-1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), after: settled},
		"a pod of which nothing is known": {reason: "its process may be there", changes: []change{inPod}, pod: pod("pod-1", func(p *corev1.Pod) { p.Status.ContainerStatuses = nil })},
		"a process without a pod":         {reason: "only time tells", after: twice},
		"a pod that was not named":        {reason: "it cannot be read", changes: []change{inPod, func(p *v1alpha1.RegfishPurchase) { p.Spec.Attempts[0].Writer.PodName = "" }}, after: twice},
		"a pod that must not be read": {reason: "only time tells", changes: []change{inPod}, after: twice, faults: interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if _, ok := o.(*corev1.Pod); ok {
					return apierrors.NewForbidden(corev1.Resource("pods"), key.Name, nil)
				}
				return c.Get(ctx, key, o, opts...)
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := record(t, 1, append([]change{attempted(tt.outcome, time.Hour), sentWith("fingerprint")}, tt.changes...)...)
			objects := []client.Object{readyIssuer(50), &p}
			if tt.pod != nil {
				objects = append(objects, tt.pod)
			}
			w := newWorld(t, objects...)
			found := w.search(w.resolver(w.spender("two", tt.faults)), p.Name, 3*settleTime)
			switch took := w.clock.Now().Sub(noon); {
			case tt.after == 0 && found.Finding != Searching:
				t.Errorf("%s: finding %d after %s", tt.reason, found.Finding, took)
			case tt.after == 0 && !strings.Contains(searchMessage(&p, found), "pod regfish-issuer/issuer-0, which sent it"):
				t.Errorf("it says %q", searchMessage(&p, found))
			case tt.after != 0 && (found.Finding != NotFound || took != tt.after):
				t.Errorf("%s: finding %d after %s, want %s", tt.reason, found.Finding, took, tt.after)
			}
		})
	}
}

// The account is looked at with the key that the order was sent with, whoever has it.
func TestConnectToTheAccountOfTheOrder(t *testing.T) {
	const fingerprint = "fingerprint"
	issuer := func(name string, changes ...func(*v1alpha1.RegfishClusterIssuer)) *v1alpha1.RegfishClusterIssuer {
		i := readyIssuer(50)
		i.Name = name
		for _, c := range changes {
			c(i)
		}
		return i
	}
	notReady := func(i *v1alpha1.RegfishClusterIssuer) { i.Status.Conditions[0].Status = metav1.ConditionFalse }
	moved := func(i *v1alpha1.RegfishClusterIssuer) { i.Spec.URL = "https://other.example" }
	namespaced := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "blog", Name: "other"}, Spec: readyIssuer(50).Spec, Status: readyIssuer(50).Status}
	for name, tt := range map[string]struct {
		reason  string
		issuers []client.Object
		keys    map[string]string // by issuer; none: no Secret
		want    string            // name of the issuer
		gap     string
	}{
		"its own issuer": {reason: "it has the key", issuers: []client.Object{issuer("regfish")}, keys: map[string]string{"regfish": fingerprint}, want: "regfish"},
		"its own issuer, which is not Ready": {
			reason: "why it is not Ready is seen when it is used", issuers: []client.Object{issuer("regfish", notReady), issuer("other")}, keys: map[string]string{"regfish": fingerprint, "other": fingerprint}, want: "regfish",
		},
		"another issuer, its own is gone": {
			reason: "it has the key", issuers: []client.Object{issuer("a"), issuer("other")}, keys: map[string]string{"a": "k2", "other": fingerprint}, want: "other",
		},
		"another issuer, its own has no Secret": {
			reason: "it has the key", issuers: []client.Object{issuer("regfish"), issuer("other")}, keys: map[string]string{"other": fingerprint}, want: "other",
		},
		"another issuer, its own has another key": {
			reason: "it has the key", issuers: []client.Object{issuer("regfish"), issuer("other")}, keys: map[string]string{"regfish": "k2", "other": fingerprint}, want: "other",
		},
		"an issuer of a namespace": {
			reason: "it has the key", issuers: []client.Object{namespaced}, keys: map[string]string{"other": fingerprint}, want: "other",
		},
		"its own issuer with another key, which nobody else has": {
			reason: "it may be a newer key of the account", issuers: []client.Object{issuer("regfish"), issuer("other")}, keys: map[string]string{"regfish": "k2", "other": "k3"}, want: "regfish",
		},
		"no other issuer that is not Ready": {
			reason: "it may not be used", issuers: []client.Object{issuer("other", notReady)}, keys: map[string]string{"other": fingerprint}, gap: "there is no RegfishClusterIssuer regfish",
		},
		"no other issuer of another endpoint": {
			reason: "the order was not sent there", issuers: []client.Object{issuer("other", moved)}, keys: map[string]string{"other": fingerprint}, gap: "there is no RegfishClusterIssuer regfish",
		},
		"not its own issuer after its url was changed": {
			reason: "the key must not go to another host", issuers: []client.Object{issuer("regfish", moved)}, keys: map[string]string{"regfish": fingerprint}, gap: "spec.url of RegfishClusterIssuer regfish is not " + endpoint + ", where the order was sent",
		},
		"nobody without a Secret": {
			reason: "there is no key", issuers: []client.Object{issuer("regfish")}, gap: "RegfishClusterIssuer regfish cannot be used: no Secret.",
		},
	} {
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour), sentWith(fingerprint))
		w := newWorld(t, append(tt.issuers, &p)...)
		s := w.spender("one", none)
		used := ""
		s.Connect = func(_ context.Context, i v1alpha1.Issuer) (Vendor, error) {
			key := tt.keys[i.GetName()]
			if key == "" {
				return nil, &credentials.Problem{Message: "no Secret."}
			}
			return &vendor{key: key}, nil
		}
		v, i, gap, err := w.resolver(s).connect(t.Context(), &p)
		if err != nil {
			t.Fatal(err)
		}
		if v != nil {
			used = i.GetName()
		}
		if used != tt.want || gap != tt.gap {
			t.Errorf("%s: issuer %q, gap %q, because %s", name, used, gap, tt.reason)
		}
		found, next := w.look(w.resolver(s), p.Name)
		if (tt.gap == "") != (found.Readings == 1) || next > settleTime/2 {
			t.Errorf("%s: %d readings, gap %q", name, found.Readings, found.Gap)
		}
	}
}
