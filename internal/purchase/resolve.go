// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
)

// How an unknown outcome is looked for.
const (
	// looks is how many readings of the account have to lack an order before it
	// counts as never placed. They are spread over the settle time.
	looks = 3
	// blindFor is for how long readings that show nothing are made before a person is
	// asked.
	blindFor = 24 * time.Hour
	// triedFor is for how long a process tries itself before it asks for what others could
	// not see either.
	triedFor = time.Hour
	// unreadFor is for how long a certificate that is issued may not be there to be read
	// before it is not taken for the order any more.
	unreadFor = time.Hour
)

// Search is what looking for the order of a purchase has come to so far.
type Search struct {
	// Begun is when this process began to look, and Until is when the settle time is
	// over, after which a list that lacks the order says that it was never placed.
	Begun, Until time.Time
	// Readings is how often the list was read to its end, and Counted is how many of
	// those would have shown the order.
	Readings, Counted int
	// Blind is since when no reading would have shown it.
	Blind time.Time
	// Strange says that the last reading may be of another account than the order's.
	Strange bool
	// Unread is since when the certificate that is followed is issued and cannot be read;
	// zero if it is not so.
	Unread time.Time
	// Gap is why the last reading, or the last attempt at one, does not count.
	Gap string
	// Writer is the process that may still be sending the order; empty if it is gone.
	Writer string
	// Candidates are the certificates of the account that may be the order.
	Candidates []Candidate
	// Finding is what the search has come to, and Found is the candidate that it is
	// about, if it is about one.
	Finding Finding
	Found   *Candidate
}

// Finding is what a search has come to.
type Finding int

const (
	// Searching: it goes on by itself, and nobody has to act.
	Searching Finding = iota + 1
	// Proved: the key of a candidate proves that it is the order.
	Proved
	// Followed: one candidate has the names, and is followed until its key can prove
	// it.
	Followed
	// NotFound: the order was never placed.
	NotFound
	// Undecided: a person has to decide. The search goes on.
	Undecided
)

// find returns what the search for the order of p has come to at now, and the
// candidate that it is about.
func (s Search) find(p *v1alpha1.RegfishPurchase, now time.Time) (Finding, *Candidate) {
	if i := slices.IndexFunc(s.Candidates, func(c Candidate) bool { return recordable(c.Certificate.ID) && proves(p, c.Leaf) }); i >= 0 {
		return Proved, &s.Candidates[i]
	}
	if c := choose(p, s.Candidates); c != nil && !s.Strange && (s.Unread.IsZero() || now.Sub(s.Unread) < unreadFor) {
		return Followed, c
	}
	settled := !now.Before(s.Until)
	switch {
	case accepted(p):
		// Something was bought, so that nothing is found is no answer.
		return Undecided, nil
	case len(s.Candidates) > 0 && settled && s.Readings >= looks:
		return Undecided, nil
	case len(s.Candidates) > 0:
		return Searching, nil
	case settled && s.Counted >= looks && s.Gap == "" && s.Writer == "":
		return NotFound, nil
	case s.blind(p, now) >= blindFor || (s.Writer != "" && now.Sub(s.Begun) >= blindFor):
		return Undecided, nil
	}
	return Searching, nil
}

// blind returns for how long nothing was seen that counts. A process that has not seen
// anything itself goes by when the order was begun, once it has tried for a while: a process
// that lives for less than a day would never ask. A clock that is wrong only asks too early.
func (s Search) blind(p *v1alpha1.RegfishPurchase, now time.Time) time.Duration {
	if s.Counted == 0 && now.Sub(s.Begun) >= triedFor {
		return max(now.Sub(s.Blind), now.Sub(firstUnresolved(p)))
	}
	return now.Sub(s.Blind)
}

// accepted reports whether regfish said that it took the order of an attempt of p, but
// named it by an id that another purchase holds.
func accepted(p *v1alpha1.RegfishPurchase) bool {
	return slices.ContainsFunc(p.Spec.Attempts, func(a v1alpha1.Attempt) bool {
		return a.Outcome != nil && a.Outcome.Result == v1alpha1.OutcomeAccepted && unresolved(a)
	})
}

// proves reports whether the certificate is the result of an unresolved attempt of p:
// its key is that of the signing request, and it was not issued before the order was
// sent, but for the two days by which authorities backdate. Nothing else proves it.
func proves(p *v1alpha1.RegfishPurchase, leaf *x509.Certificate) bool {
	intent, key := firstUnresolved(p), requestKey(p.Spec.Request)
	return leaf != nil && key != "" && pki.Proves(leaf, &pki.Request{KeySHA256: key}, intent)
}

// disproves reports whether the certificate cannot be the result of any attempt of p,
// because its key is another one.
func disproves(p *v1alpha1.RegfishPurchase, leaf *x509.Certificate) bool {
	if leaf == nil {
		return false
	}
	key := requestKey(p.Spec.Request)
	sum, err := pki.KeySHA256(leaf.PublicKey)
	return err == nil && key != "" && sum != key
}

// firstUnresolved is when the first attempt of p whose end is not known was begun.
func firstUnresolved(p *v1alpha1.RegfishPurchase) time.Time {
	var first time.Time
	for _, a := range p.Spec.Attempts {
		if unresolved(a) && (first.IsZero() || a.Time.Time.Before(first)) {
			first = a.Time.Time
		}
	}
	return first
}

// lastUnresolved is the last attempt of p whose end is not known, nil if there is none.
func lastUnresolved(p *v1alpha1.RegfishPurchase) *v1alpha1.Attempt {
	var last *v1alpha1.Attempt
	for i := range p.Spec.Attempts {
		if a := &p.Spec.Attempts[i]; unresolved(*a) && (last == nil || a.Number > last.Number) {
			last = a
		}
	}
	return last
}
