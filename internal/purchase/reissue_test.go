// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// rotated is a world in which C0 was bought for an earlier key of the Certificate of the
// request, and is paid for until next year.
func rotated(t *testing.T) (*world, *cmapi.CertificateRequest) {
	t.Helper()
	cr := shopWWW(t)
	from := noon.Add(-days(30))
	earlier := record(t, 1, forKey(t, keyB), placed("C0", days(30)), issuedFor(from, from.Add(days(199))), paidFor(from, from.Add(days(365))))
	w := newWorld(t, readyIssuer(50), cr, &earlier)
	c := sold("C0", from, from.Add(days(199)))
	until := from.Add(days(365))
	c.ContractValidUntil = &until
	w.vendor.account = []regfish.Certificate{c}
	w.serve("C0", keyB, from)
	return w, cr
}

// serve makes the vendor deliver a certificate for the key.
func (w *world) serve(id string, key *ecdsa.PrivateKey, notBefore time.Time) {
	w.t.Helper()
	l := leaf(w.t, key, notBefore, notBefore.Add(days(199)), "www.example.com")
	w.vendor.mu.Lock()
	defer w.vendor.mu.Unlock()
	if w.vendor.pem == nil {
		w.vendor.pem = map[string][]byte{}
	}
	w.vendor.pem[id] = certificatePEM(l)
}

// row changes what the vendor says of a certificate.
func (w *world) row(id string, change func(*regfish.Certificate)) regfish.Certificate {
	w.t.Helper()
	w.vendor.mu.Lock()
	defer w.vendor.mu.Unlock()
	i := slices.IndexFunc(w.vendor.account, func(c regfish.Certificate) bool { return c.ID == id })
	change(&w.vendor.account[i])
	return w.vendor.account[i]
}

// The one reissue is written before it is asked for, and what became of it after. What
// repeats it asks for nothing.
func TestReissueIsAskedForOnce(t *testing.T) {
	again := func(w *world, cr *cmapi.CertificateRequest) *cmapi.CertificateRequest {
		w.remove(cr)
		other := approved(namespace, "www-2", "r2", cr.Spec.Request)
		w.create(other)
		return other
	}
	failing := func(when string) interceptor.Funcs {
		failed := false
		return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if failed {
				return c.Patch(ctx, o, patch, opts...)
			}
			failed = true
			if when == "after" {
				if err := c.Patch(ctx, o, patch, opts...); err != nil {
					return err
				}
			}
			return errServer
		}}
	}
	for name, tt := range map[string]struct {
		reason string
		given  func(*world, *cmapi.CertificateRequest)
		faults interceptor.Funcs
		leader func(context.Context) error
		then   func(*testing.T, *world, *Spender, *cmapi.CertificateRequest)
		sent   int
		want   []string // how each reissue of the record stands
	}{
		"the request is looked at again": {
			reason: "it is followed", sent: 1, want: []string{"Accepted"},
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) { w.spend(s, cr) },
		},
		"the request is made again with its key": {
			reason: "it is followed", sent: 1, want: []string{"Accepted"},
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) { w.spend(s, again(w, cr)) },
		},
		"another process takes over": {
			reason: "the record is on the API server", sent: 1, want: []string{"Accepted"},
			then: func(_ *testing.T, w *world, _ *Spender, cr *cmapi.CertificateRequest) {
				w.spend(w.spender("two", none), cr)
			},
		},
		"the answer is lost": {
			reason: "it may have been taken", sent: 1, want: []string{"Unknown"},
			given: func(w *world, _ *cmapi.CertificateRequest) {
				w.vendor.answer = answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")
			},
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) {
				w.vendor.answer = nil
				w.spend(s, again(w, cr))
				w.spend(w.spender("two", none), w.request("www-2"))
			},
		},
		"regfish answers with another certificate": {
			reason: "nobody knows what it did", sent: 1, want: []string{"Unknown"},
			given: func(w *world, _ *cmapi.CertificateRequest) {
				w.vendor.answer = func(int) regfish.OrderResult {
					return regfish.OrderResult{Outcome: regfish.Accepted, Status: 200, Certificate: regfish.Certificate{ID: "C9"}}
				}
			},
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) { w.spend(s, cr) },
		},
		"the intent cannot be written": {
			reason: "what is not written is not sent, and the next time it is", sent: 1, want: []string{"Accepted"}, faults: failing("before"),
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) { w.spend(s, cr) },
		},
		"the intent is written and its answer lost": {
			reason: "nothing was sent, which this process knows", sent: 1, want: []string{"NotSent", "Accepted"}, faults: failing("after"),
			then: func(t *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) {
				if d := w.spend(s, cr); d.Step != StepFollow {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
				p := w.only()
				if settled, err := s.Settle(t.Context(), &p); !settled || err != nil {
					t.Errorf("settled: %t, %v", settled, err)
				}
				if d := w.spend(s, cr); d.Step != StepQueue {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
				w.clock.SetTime(noon.Add(time.Minute))
				w.spend(s, cr)
			},
		},
		"the process dies while it sends": {
			reason: "it may have been taken", sent: 0, want: []string{""}, faults: failing("after"),
			then: func(t *testing.T, w *world, _ *Spender, cr *cmapi.CertificateRequest) {
				two := w.spender("two", none)
				p := w.only()
				if settled, err := two.Settle(t.Context(), &p); settled || err != nil {
					t.Errorf("another process settles it: %t, %v", settled, err)
				}
				if d := w.spend(two, cr); d.Step != StepFollow {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
			},
		},
		"another process asks at the same time": {
			reason: "the intent is there before", sent: 1, want: []string{"Accepted"},
			given: func(w *world, cr *cmapi.CertificateRequest) {
				w.vendor.before = once(func() { w.spend(w.spender("two", none), cr) })
			},
		},
		"another process asked in between": {
			reason: "the record changed since the decision", sent: 1, want: []string{"Accepted"},
			given: func(w *world, cr *cmapi.CertificateRequest) {
				w.vendor.reading = once(func() { w.spend(w.spender("two", none), cr) })
			},
		},
		"the record is deleted meanwhile": {
			reason: "what it says is true all the same", sent: 1, want: []string{"Accepted"},
			given: func(w *world, _ *cmapi.CertificateRequest) {
				w.vendor.before = once(func() { p := w.only(); w.remove(&p) })
			},
			then: func(_ *testing.T, w *world, s *Spender, cr *cmapi.CertificateRequest) { w.spend(s, cr) },
		},
		"a label is set meanwhile": {
			reason: "what the answer was is recorded all the same", sent: 1, want: []string{"Accepted"},
			given: func(w *world, _ *cmapi.CertificateRequest) {
				w.vendor.before = once(func() {
					p := w.only()
					p.Labels = map[string]string{"touched": "yes"}
					if err := w.api.Update(context.Background(), &p); err != nil {
						w.t.Error(err)
					}
				})
			},
		},
		"this process is not the leader any more": {
			reason: "another one may be asking", sent: 0, want: []string{"NotSent"}, leader: func(context.Context) error { return errServer },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, cr := rotated(t)
			s := w.spender("one", tt.faults)
			s.Leader = tt.leader
			if tt.given != nil {
				tt.given(w, cr)
			}
			d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
			if err != nil && tt.faults.Patch == nil && !apierrors.IsConflict(err) {
				t.Fatalf("step %d, %v", d.Step, err)
			}
			if tt.then != nil {
				tt.then(t, w, s, cr)
			}
			p := w.only()
			var stands []string
			for _, r := range reissuesInOrder(&p) {
				result := ""
				if r.Outcome != nil {
					result = r.Outcome.Result
				}
				stands = append(stands, result)
			}
			if diff := cmp.Diff(tt.want, stands); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if got := len(w.vendor.reissues); got != tt.sent || w.vendor.sent() != 0 || w.slots() != 0 {
				t.Errorf("%s: %d reissues, %d orders, %d slots; want %d, 0, 0", tt.reason, got, w.vendor.sent(), w.slots(), tt.sent)
			}
		})
	}
}

func (w *world) request(name string) *cmapi.CertificateRequest {
	w.t.Helper()
	var cr cmapi.CertificateRequest
	if err := w.api.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, &cr); err != nil {
		w.t.Fatal(err)
	}
	return &cr
}

// A renewal is announced on what it renews also where another purchase of its number was
// announced there before: whoever decides at the same time to have that reissued is told.
func TestRenewalAndReissueExcludeEachOther(t *testing.T) {
	cr := shopWWW(t)
	from := noon.Add(-days(140))
	source := record(t, 1, forKey(t, keyB), placed("C0", days(140)), issuedFor(from, from.Add(days(199))), paidFor(from, from.Add(days(199))), succeeded(2))
	w := newWorld(t, readyIssuer(50), cr, &source)
	w.vendor.account = []regfish.Certificate{sold("C0", from, from.Add(days(199)))}
	w.serve("C0", keyB, from)
	w.vendor.listing = once(func() {
		p := w.only()
		reissuedFor(t, keyB, "r9", 0, func(r *v1alpha1.Reissue) { r.Outcome = nil })(&p)
		if err := w.api.Update(t.Context(), &p); err != nil {
			t.Error(err)
		}
	})
	s := w.spender("one", none)
	if d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID); !apierrors.IsConflict(err) || w.vendor.sent() != 0 {
		t.Fatalf("step %d, error %v, %d orders: %s", d.Step, err, w.vendor.sent(), d.Message)
	}
	// Without the other one it is announced, once, and placed.
	p := w.only()
	p.Spec.Reissues = nil
	if err := w.api.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	w.spend(s, cr)
	if all := w.purchases(); len(all) != 2 || len(all[0].Spec.Successors) != 1 || all[0].Spec.Successors[0].Action != v1alpha1.ActionRenew || w.vendor.sent() != 1 {
		t.Errorf("%d orders, %v", w.vendor.sent(), describe(all))
	}
}

// What is paid for goes over to a Certificate of another name only if the earlier one is
// gone now, and not if it was when that was noted last.
func TestInheritsOnlyWhatNobodyHas(t *testing.T) {
	from := noon.Add(-days(30))
	for name, tt := range map[string]struct {
		exists           bool
		orders, reissues int
	}{
		"it was created again": {true, 1, 0},
		"it is gone":           {false, 0, 1},
	} {
		cr := shopWWW(t)
		p := record(t, 1, forKey(t, keyB), forCertificate("other"), placed("C0", days(30)), issuedFor(from, from.Add(days(199))), paidFor(from, from.Add(days(365))), goneSince(25*time.Hour))
		w := newWorld(t, readyIssuer(50), cr, &p)
		c := sold("C0", from, from.Add(days(199)))
		c.ContractValidUntil = &p.Status.ContractNotAfter.Time
		w.vendor.account = []regfish.Certificate{c}
		w.serve("C0", keyB, from)
		if tt.exists {
			w.create(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other"}})
		}
		w.spend(w.spender("one", none), cr)
		if w.vendor.sent() != tt.orders || len(w.vendor.reissues) != tt.reissues {
			t.Errorf("%s: %d orders, %d reissues; want %d, %d", name, w.vendor.sent(), len(w.vendor.reissues), tt.orders, tt.reissues)
		}
	}
}

// A row of a list may say nothing of reissues, and shows nothing by that.
func TestReissueInDoubtIsReadByItsID(t *testing.T) {
	w, cr := rotated(t)
	w.vendor.answer = answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")
	s := w.spender("one", none)
	w.spend(s, cr)
	row := w.row("C0", func(*regfish.Certificate) {})
	w.row("C0", func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissuePending} })
	p := w.only()
	if err := w.resolver(s).Reissued(t.Context(), w.vendor, &p, row); err != nil {
		t.Fatal(err)
	}
	if r := w.only().Spec.Reissues[0].Resolution; r == nil || r.Result != v1alpha1.ResolutionAdopted {
		t.Errorf("it is found to be %+v", r)
	}
}

// Two leaders that do not know of each other ask for one reissue.
func TestTwoProcessesReissueOnce(t *testing.T) {
	for range 10 {
		w, cr := rotated(t)
		together([]*Spender{w.spender("one", none), w.spender("two", none)}, func(s *Spender) {
			for range 4 {
				d, _, err := s.Spend(t.Context(), client.ObjectKeyFromObject(cr), cr.UID)
				// Whoever read the record before the other one wrote it may be told by regfish.
				told := d.Step == StepQueue && d.Reason == v1alpha1.ReasonWaitingForPurchase
				if err == nil && d.Step != StepFollow && !told {
					t.Errorf("step %d: %s", d.Step, d.Message)
				}
				if err != nil && !apierrors.IsConflict(err) {
					t.Errorf("error %v", err)
				}
			}
		})
		if p := w.only(); len(w.vendor.reissues) != 1 || len(p.Spec.Reissues) != 1 || w.vendor.sent() != 0 {
			t.Fatalf("%d reissues, %d recorded, %d orders", len(w.vendor.reissues), len(p.Spec.Reissues), w.vendor.sent())
		}
	}
}

// What is written is what regfish said before, and why it was decided so; what is sent are
// the names as regfish has them.
func TestReissueRecordsItsSource(t *testing.T) {
	w, cr := rotated(t)
	w.row("C0", func(c *regfish.Certificate) {
		c.SerialNumber, c.DNSNames = "0A:0B", []string{"www.example.com", "example.com"}
		c.Reissue = &regfish.Reissue{ID: "7", Status: regfish.ReissueIssued, RequestedAt: &noon}
	})
	if d := w.spend(w.spender("one", none), cr); d.Step != StepFollow || d.Reason != v1alpha1.ReasonReissued {
		t.Fatalf("step %d: %s", d.Step, d.Message)
	}
	p := w.only()
	got := p.Spec.Reissues[0]
	served, err := w.vendor.Download(t.Context(), "C0")
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.ReissueSource{ReissueID: "7", RequestTime: at(noon), NotAfter: at(noon.Add(days(169))), SerialNumber: "0A:0B", SHA256: sumOfPEM(t, served)}
	if diff := cmp.Diff(want, got.Source); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.Reason, "C0 is paid for until") || got.Beneficiary.RequestUID != "r1" || got.KeySHA256 != requestKey(cr.Spec.Request) || got.KeyAlgorithm != "ECDSA" || got.IssuerRef != theIssuer {
		t.Errorf("recorded: %+v", got)
	}
	sent := w.vendor.reissues[0]
	if diff := cmp.Diff(regfish.ReissueRequest{CSR: string(cr.Spec.Request), DCVMethod: regfish.DCVMethodCNAME, CommonName: "www.example.com", DNSNames: []string{"www.example.com", "example.com"}}, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if placed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionPlaced); placed == nil || placed.Reason != v1alpha1.ReasonReissued || !strings.Contains(placed.Message, got.Reason) || p.Status.Reissues != 1 {
		t.Errorf("status: %+v", p.Status)
	}
}

func sumOfPEM(t *testing.T, data []byte) string {
	t.Helper()
	l, err := leafOf(t.Context(), &vendor{pem: map[string][]byte{"X": data}}, regfish.Certificate{ID: "X", CertificatePEMAvailable: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(l.Raw)
	return hex.EncodeToString(sum[:])
}

// What regfish says of the certificate tells what became of a reissue.
func TestReissued(t *testing.T) {
	unknown := answers(regfish.Unknown, regfish.KindTransport, 0, "no answer in time")
	running := func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissuePending} }
	done := func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissueIssued} }
	for name, tt := range map[string]struct {
		reason   string
		given    func(*world)
		answer   func(int) regfish.OrderResult
		change   func(*regfish.Certificate)
		serve    *ecdsa.PrivateKey
		at       []time.Duration // when it is read, after the reissue
		resolved string
		end      string
	}{
		"runs on": {reason: "nothing has changed", change: running, at: []time.Duration{time.Minute}},
		"is issued": {
			reason: "the key is the reissue's", change: done, serve: keyA, at: []time.Duration{time.Minute}, end: v1alpha1.ReissueIssued,
		},
		"is said to be issued while the certificate before it is served": {
			reason: "it is still the old one", change: done, at: []time.Duration{time.Minute, time.Hour},
		},
		"is issued and regfish says nothing of reissues": {
			reason: "the dates and the key tell", serve: keyA, at: []time.Duration{time.Minute}, end: v1alpha1.ReissueIssued,
			change: func(c *regfish.Certificate) {
				until := c.ValidUntil.Add(days(30))
				c.Reissue, c.ValidUntil = nil, &until
			},
		},
		"cannot be told from the certificate before it, which could not be read then": {
			reason: "the key was the same", given: func(w *world) {
				w.serve("C0", keyA, noon)
				w.vendor.unread = &regfish.Error{Op: "download certificate", Kind: regfish.KindUnreadable}
			}, at: []time.Duration{time.Minute, time.Hour}, change: done, serve: keyA,
		},
		"failed": {
			reason: "regfish says so", at: []time.Duration{time.Minute}, end: v1alpha1.ReissueFailed,
			change: func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissueRejected} },
		},
		"ends with its order": {
			reason: "nothing comes of a cancelled order", at: []time.Duration{time.Minute}, end: v1alpha1.ReissueFailed,
			change: func(c *regfish.Certificate) { running(c); c.Status = regfish.StatusOrderCancelled },
		},
		"goes on after the certificate has run out": {
			reason: "what is paid for runs on, and a person may still have to act", at: []time.Duration{time.Minute},
			change: func(c *regfish.Certificate) { running(c); c.Status = regfish.StatusExpired },
		},
		"whose answer was lost is running after the certificate has run out": {
			reason: "regfish shows it", answer: unknown, at: []time.Duration{time.Minute}, resolved: v1alpha1.ResolutionAdopted,
			change: func(c *regfish.Certificate) { running(c); c.Status = regfish.StatusExpired },
		},
		"was overtaken by another one": {
			reason: "the key is neither of the two", change: done, serve: newKey(), at: []time.Duration{time.Minute}, end: v1alpha1.ReissueReplaced,
		},
		"has a status that nobody knows": {
			reason: "it is waited for", at: []time.Duration{time.Minute},
			change: func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: "mulling"} },
		},
		"whose answer was lost is running": {
			reason: "regfish shows it", answer: unknown, change: running, at: []time.Duration{time.Minute}, resolved: v1alpha1.ResolutionAdopted,
		},
		"whose answer was lost was taken and failed": {
			reason: "its number is new", answer: unknown, at: []time.Duration{time.Minute}, resolved: v1alpha1.ResolutionAdopted, end: v1alpha1.ReissueFailed,
			change: func(c *regfish.Certificate) { c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissueFailed} },
		},
		"whose answer was lost is issued": {
			reason: "the key is the reissue's, whatever else regfish says", answer: unknown, serve: keyA, at: []time.Duration{time.Minute}, resolved: v1alpha1.ResolutionAdopted, end: v1alpha1.ReissueIssued,
		},
		"whose answer was lost does not show yet": {
			reason: "regfish may be slow", answer: unknown, at: []time.Duration{time.Minute, 10 * time.Minute, 20 * time.Minute},
		},
		"whose answer was lost was read too rarely": {
			reason: "two readings are no three", answer: unknown, at: []time.Duration{time.Minute, time.Hour},
		},
		"whose answer was lost never shows": {
			reason: "it was not taken", answer: unknown, at: []time.Duration{time.Minute, 10 * time.Minute, 32 * time.Minute}, resolved: v1alpha1.ResolutionNotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, cr := rotated(t)
			w.vendor.answer = tt.answer
			if tt.given != nil {
				tt.given(w)
			}
			s := w.spender("one", none)
			w.spend(s, cr)
			w.vendor.answer, w.vendor.unread = nil, nil
			if tt.change != nil {
				w.row("C0", tt.change)
			}
			if tt.serve != nil {
				w.serve("C0", tt.serve, noon)
			}
			r := w.resolver(s)
			for _, after := range tt.at {
				w.clock.SetTime(noon.Add(after))
				p := w.only()
				if err := r.Reissued(t.Context(), w.vendor, &p, w.row("C0", func(*regfish.Certificate) {})); err != nil {
					t.Fatal(err)
				}
			}
			p := w.only()
			got := p.Spec.Reissues[0]
			resolved, end := "", ""
			if got.Resolution != nil {
				resolved = got.Resolution.Result
			}
			if got.End != nil {
				end = got.End.Result
			}
			if resolved != tt.resolved || end != tt.end {
				t.Errorf("%s: resolved %q, ended %q; want %q, %q", tt.reason, resolved, end, tt.resolved, tt.end)
			}
			// Whatever became of it, the request gets no second one while it is open, and nothing is bought.
			w.spend(s, cr)
			if open := p.Spec.Reissues[0].End == nil && tt.resolved != v1alpha1.ResolutionNotFound; open && len(w.vendor.reissues) != 1 {
				t.Errorf("%d reissues", len(w.vendor.reissues))
			}
			if tt.end != v1alpha1.ReissueFailed && w.vendor.sent() != 0 {
				t.Errorf("%d orders", w.vendor.sent())
			}
		})
	}
}

// What is said of a purchase while its certificate is reissued: the records of the
// reissue, that it is waited for, and nothing of the certificate before it as if it were new.
func TestStatusOfAReissue(t *testing.T) {
	w, cr := rotated(t)
	w.spend(w.spender("one", none), cr)
	p := w.only()
	record := regfish.DNSRecord{Name: "_dnsauth.example.com", Type: "CNAME", Value: "new.dcv.example"}
	c := w.row("C0", func(c *regfish.Certificate) {
		c.Validation = &regfish.Validation{DNSRecords: []regfish.DNSRecord{{Name: "_dnsauth.example.com", Type: "CNAME", Value: "old.dcv.example"}}}
		c.Reissue = &regfish.Reissue{ID: "1", Status: regfish.ReissuePending, Validation: &regfish.Validation{DNSRecords: []regfish.DNSRecord{record}}}
	})
	p.Status = Observe(&p, Observation{Vendor: &c, RequestLive: true})
	if p.Status.State != v1alpha1.StateValidating || issued(&p) || failed(&p) || Resting(&p) {
		t.Errorf("state %s: %s", p.Status.State, p.Status.Message)
	}
	if d := p.Status.DCV; d == nil || len(d.Records) != 1 || d.Records[0].Value != "new.dcv.example." {
		t.Errorf("records: %+v", d)
	}
	if p.Status.Vendor.ReissueStatus != "pending" {
		t.Errorf("vendor: %+v", p.Status.Vendor)
	}
	f := situation(t, p)
	f.Want.Request.KeySHA256 = requestKey(cr.Spec.Request)
	o := OrderStatus(v1alpha1.OrderStatus{}, OrderFacts{Want: f.Want, Decision: Plan(f), Now: noon, Contenders: []Contender{{Purchase: &p, Wanted: true}}})
	if o.Plan.Action != v1alpha1.ActionReissue || o.Plan.SourceCertificateID != "C0" || !strings.Contains(o.Plan.Reason, "C0 is paid for until") {
		t.Errorf("plan: %+v", o.Plan)
	}
	if o.SerialNumber != "" || o.NotAfter != nil || o.ContractNotAfter == nil || o.State != v1alpha1.StateValidating {
		t.Errorf("order: %+v", o)
	}
	if o.DCV == nil || len(o.DCV.Records) != 1 || !strings.Contains(o.Message, "new.dcv.example.") {
		t.Errorf("order: %s, %+v", o.Message, o.DCV)
	}

	// An outcome that is not known is said to be so.
	p.Spec.Reissues[0].Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Message: "no answer in time."}
	p.Status = Observe(&p, Observation{RequestLive: true})
	if p.Status.State != v1alpha1.StateResolving || !strings.Contains(p.Status.Message, "regfish may or may not have taken reissue 1 of C0") {
		t.Errorf("state %s: %s", p.Status.State, p.Status.Message)
	}
	// Nobody who waits for it any more is told to cancel what is paid for.
	p.Status = Observe(&p, Observation{Vendor: &c, Unwanted: true})
	if strings.Contains(p.Status.Message, "cancel") {
		t.Errorf("it says %q", p.Status.Message)
	}
}
