// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

func TestFind(t *testing.T) {
	const www, settle = "www.example.com", 30 * time.Minute
	// looked is a search that has made n readings that count since the given time.
	looked := func(n int, since time.Duration, changes ...func(*Search)) Search {
		s := Search{Begun: noon.Add(-since), Until: noon.Add(settle - since), Readings: n, Counted: n, Blind: noon}
		if n == 0 {
			s.Blind = s.Begun
		}
		for _, c := range changes {
			c(&s)
		}
		return s
	}
	with := func(candidates ...Candidate) func(*Search) { return func(s *Search) { s.Candidates = candidates } }
	uncounted := func(gap string) func(*Search) {
		return func(s *Search) { s.Gap, s.Counted, s.Blind = gap, 0, s.Begun }
	}
	pendingOrder := Candidate{Certificate: listed("C1", www)}
	foreign := Candidate{Certificate: listed("X1", www, "shop.example.org")}
	ours := Candidate{Certificate: listed("C2", www), Leaf: leaf(t, keyA, noon.Add(-time.Hour), inHalfAYear, www)}
	for name, tt := range map[string]struct {
		reason  string
		attempt string // how the attempt is recorded; default: unknown
		search  Search
		want    Finding
		about   string
	}{
		"no look yet":                              {reason: "nothing was looked at", search: looked(0, 0), want: Searching},
		"two looks":                                {reason: "three have to lack it", search: looked(2, settle), want: Searching},
		"three looks before the settle time":       {reason: "the list may lag behind the order", search: looked(3, settle-time.Second), want: Searching},
		"three looks over the settle time":         {reason: "the order was never placed", search: looked(3, settle), want: NotFound},
		"three looks of which the last is a gap":   {reason: "the last one has to count, too", search: looked(3, settle, func(s *Search) { s.Gap = "cut short" }), want: Searching},
		"three looks that do not count":            {reason: "a list that is cut short or of another account shows nothing", search: looked(3, settle, uncounted("cut short")), want: Searching},
		"many looks that do not count, for a day":  {reason: "a person has to see why", search: looked(90, blindFor, uncounted("cut short")), want: Undecided},
		"a day less a second":                      {reason: "it goes on by itself", search: looked(90, blindFor-time.Second, uncounted("cut short")), want: Searching},
		"no look for a day":                        {reason: "a person has to see why", search: looked(0, blindFor), want: Undecided},
		"three looks while the writer is there":    {reason: "what it was stopped before sending may come yet", search: looked(3, settle, func(s *Search) { s.Writer = "pod a/b" }), want: Searching},
		"a writer that is there for a day":         {reason: "a person can end it", search: looked(50, blindFor, func(s *Search) { s.Writer = "pod a/b" }), want: Undecided},
		"an order that fits, at the first look":    {reason: "its validation goes on", search: looked(1, 0, with(pendingOrder)), want: Followed, about: "C1"},
		"an order that fits, after a day":          {reason: "a person may take days to complete it", search: looked(90, 3*blindFor, with(pendingOrder)), want: Followed, about: "C1"},
		"an order that fits, in a list with a gap": {reason: "it is there, whatever is not", search: looked(1, 0, uncounted("cut short"), with(pendingOrder)), want: Followed, about: "C1"},
		"one that fits and one that does not":      {reason: "exactly one has the names", search: looked(1, 0, with(foreign, pendingOrder)), want: Followed, about: "C1"},
		"one that does not fit, at the first look": {reason: "the order may appear yet", search: looked(1, 0, with(foreign)), want: Searching},
		"one that does not fit, after the looks":   {reason: "being different rules nothing out", search: looked(3, settle, with(foreign)), want: Undecided},
		"one that does not fit, after looks that do not count": {
			reason: "it is there, whatever is not", search: looked(3, settle, uncounted("cut short"), with(foreign)), want: Undecided,
		},
		"one that does not fit, after two looks": {reason: "the third may tell", search: looked(2, settle, with(foreign)), want: Searching},
		"two that fit":                           {reason: "nothing but a key tells them apart", search: looked(3, settle, with(pendingOrder, Candidate{Certificate: listed("C2", www)})), want: Undecided},
		"one whose key is the request's":         {reason: "the key proves it", search: looked(1, 0, with(ours)), want: Proved, about: "C2"},
		"one whose key is the request's, and others": {
			reason: "the key proves it", search: looked(3, settle, with(foreign, pendingOrder, ours)), want: Proved, about: "C2",
		},
		"an id that cannot be recorded, with the key": {
			reason: "the API server would refuse it for ever", search: looked(3, settle, with(Candidate{Certificate: listed(strings.Repeat("x", 129), "else.example.com"), Leaf: ours.Leaf})), want: Undecided,
		},
		"nothing, for an order that was accepted": {
			reason: "regfish says that it took it", attempt: v1alpha1.OutcomeAccepted, search: looked(3, settle), want: Undecided,
		},
		"one that fits, for an order that was accepted": {
			reason: "it is looked for like any other", attempt: v1alpha1.OutcomeAccepted, search: looked(3, settle, with(pendingOrder)), want: Followed, about: "C1",
		},
	} {
		result := tt.attempt
		if result == "" {
			result = v1alpha1.OutcomeUnknown
		}
		p := record(t, 1, attempted(result, time.Hour))
		got, c := tt.search.find(&p, noon)
		about := ""
		if c != nil {
			about = c.Certificate.ID
		}
		if got != tt.want || about != tt.about {
			t.Errorf("%s: finding %d about %q, want %d about %q, because %s", name, got, about, tt.want, tt.about, tt.reason)
		}
	}
}

func TestProof(t *testing.T) {
	const www = "www.example.com"
	end := noon.Add(days(199))
	sent := noon.Add(-time.Hour) // the first attempt
	second := func(p *v1alpha1.RegfishPurchase) { attempted("", 0)(p) }
	afterUnfound := func(p *v1alpha1.RegfishPurchase) {
		p.Spec.Attempts = nil
		unfound(time.Hour)(p)
		p.Spec.Attempts[0].Time = metav1.NewMicroTime(noon.Add(-days(10)))
		attempted("", 0)(p)
	}
	for name, tt := range map[string]struct {
		reason               string
		changes              []change
		leaf                 *x509.Certificate
		proved, disprovedToo bool
	}{
		"none":                             {reason: "there is nothing to see"},
		"the key, issued after":            {reason: "only this order had the key", leaf: leaf(t, keyA, noon, end, www), proved: true},
		"the key and other names":          {reason: "the key is proof of the order; whether it may be published is another question", leaf: leaf(t, keyA, noon, end, "else.example.org"), proved: true},
		"the key, backdated by two days":   {reason: "authorities backdate", leaf: leaf(t, keyA, sent.Add(-48*time.Hour), end, www), proved: true},
		"the key, older than that":         {reason: "an earlier order had the same key", leaf: leaf(t, keyA, sent.Add(-48*time.Hour-time.Second), end, www)},
		"the names and another key":        {reason: "an account may hold many with the same names", leaf: leaf(t, keyB, noon, end, www), disprovedToo: true},
		"the key, older than the second":   {reason: "it may be of the first", changes: []change{second}, leaf: leaf(t, keyA, sent.Add(-47*time.Hour), end, www), proved: true},
		"the key, older than the one sent": {reason: "the attempt that was not found is over", changes: []change{afterUnfound}, leaf: leaf(t, keyA, noon.Add(-days(9)), end, www)},
		"any, for a request that cannot be read": {
			reason: "nothing is known of its key", changes: []change{func(p *v1alpha1.RegfishPurchase) { p.Spec.Request = []byte("nonsense") }}, leaf: leaf(t, keyB, noon, end, www),
		},
	} {
		p := record(t, 1, append([]change{attempted(v1alpha1.OutcomeUnknown, time.Hour)}, tt.changes...)...)
		if proved, no := proves(&p, tt.leaf), disproves(&p, tt.leaf); proved != tt.proved || no != tt.disprovedToo {
			t.Errorf("a certificate with %s: proved %v, disproved %v, because %s", name, proved, no, tt.reason)
		}
	}
}

// What is said of a search names who has to act, until when, and on what.
func TestSearchSays(t *testing.T) {
	s := Search{Begun: noon, Until: noon.Add(30 * time.Minute), Blind: noon, Readings: 2, Counted: 2}
	change := func(f func(*Search)) Search { c := s; f(&c); return c }
	var many []Candidate
	for n := range 7 {
		many = append(many, Candidate{Certificate: regfish.Certificate{ID: numberedID(n), Status: "pending"}})
	}
	for name, tt := range map[string]struct {
		search Search
		says   []string
		not    string
	}{
		"looks that go on":                 {change(func(s *Search) { s.Finding = Searching }), []string{"the order of attempt 1", "the account is looked at until 2026-06-01T12:30:00Z (2 of 3 looks done), and nobody has to act."}, "A person"},
		"looks that do not count":          {change(func(s *Search) { s.Finding, s.Gap = Searching, "the list lacks C7, which the ledger holds" }), []string{"(the list lacks C7, which the ledger holds)", "a person is asked if that goes on until 2026-06-02T12:00:00Z"}, ""},
		"a writer that is there":           {change(func(s *Search) { s.Finding, s.Counted, s.Writer = Searching, 3, "pod regfish-issuer/regfish-issuer-0" }), []string{"once pod regfish-issuer/regfish-issuer-0, which sent it, is gone", "until 2026-06-02T12:00:00Z"}, ""},
		"an order that does not fit":       {change(func(s *Search) { s.Finding, s.Candidates = Searching, many[:1] }), []string{"order ID0000 (pending) may be it", "until 2026-06-01T12:30:00Z to tell (2 of 3 looks done)"}, "A person"},
		"orders to decide on":              {change(func(s *Search) { s.Finding, s.Candidates = Undecided, many }), []string{"ID0000 (pending), ID0001 (pending), ID0002 (pending), ID0003 (pending), ID0004 (pending), and 2 more", "A person has to decide", v1alpha1.AnnotationResolve, theName, "retry:1"}, "ID0005"},
		"a day without a look that counts": {change(func(s *Search) { s.Finding, s.Gap = Undecided, "the list lacks C7" }), []string{"for 24 hours no list of the account could show that there is none: the list lacks C7", "A person has to decide"}, ""},
		"a day with a writer":              {change(func(s *Search) { s.Finding, s.Writer = Undecided, "pod a/b" }), []string{"pod a/b, which sent it, is still there after 24 hours", "A person has to decide"}, ""},
	} {
		p := record(t, 1, attempted(v1alpha1.OutcomeUnknown, time.Hour))
		message := Observe(&p, Observation{RequestLive: true, Search: &tt.search}).Message
		for _, part := range tt.says {
			if !strings.Contains(message, part) {
				t.Errorf("%s: %q does not say %q", name, message, part)
			}
		}
		if tt.not != "" && strings.Contains(message, tt.not) {
			t.Errorf("%s: %q says %q", name, message, tt.not)
		}
	}
}
