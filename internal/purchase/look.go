// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// DefaultSettleTime is how long an order whose answer was lost may take to appear in
// the account's list.
const DefaultSettleTime = 30 * time.Minute

// lookAgain is the pause after a reading that failed, and lastLook the longest pause
// between two readings for an order that a person decides on.
const (
	lookAgain = time.Minute
	lastLook  = time.Hour
)

// Resolver finds out what became of orders whose outcome is unknown. It reads the
// account, and writes into the attempt what that shows. It never buys.
//
// What it remembers of its readings lives in this process. Another process begins to
// count anew, on its own clock: the times that are recorded were taken by clocks that
// may be wrong, and a list may have been read before the order could be in it.
type Resolver struct {
	// Spender connects to the vendor, and tells which purchases it is working on.
	Spender *Spender
	// Cache reads issuers, and the names that are of interest.
	Cache client.Reader
	// SettleTime is how long an order whose answer was lost may take to appear.
	SettleTime time.Duration

	mu       sync.Mutex
	searches map[string]*search
	watched  map[string]time.Time
	// rereadings of certificates whose reissue may have been taken.
	rereadings map[string]rereading
}

// search is what this process remembers of the search for one order.
type search struct {
	Search
	uid     types.UID
	attempt int32
	// next is when the account is read again, and follow when the candidate that is
	// followed is.
	next, follow time.Time
	// mayShow is the issuer by whose rules a page of the vendor may be shown.
	issuer v1alpha1.Issuer
}

// Resolve looks for the order of p, whose outcome is unknown and which this process is
// not working on, if a look is due. It returns what the search has come to, the issuer
// whose key was used, and when to call again. If it found out what became of the order,
// p is written and returned as it is then. pause is the pause between two looks at a
// candidate that is followed.
func (r *Resolver) Resolve(ctx context.Context, p *v1alpha1.RegfishPurchase, pause time.Duration) (*Search, v1alpha1.Issuer, time.Duration, error) {
	now := r.Spender.Clock.Now()
	s := r.of(p, now)
	var err error
	switch found, c := s.find(p, now); {
	case !now.Before(s.next):
		err = r.read(ctx, p, s, now)
	case found == Followed && !now.Before(s.follow):
		err = r.reread(ctx, p, s, c.Certificate.ID)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	s.follow = now.Add(pause)
	s.readable(p, now)
	s.Finding, s.Found = s.find(p, now)
	if err := r.settle(ctx, p, s); err != nil {
		return nil, nil, 0, err
	}
	next := s.next
	if s.Finding == Followed && s.follow.Before(next) {
		next = s.follow
	}
	return new(s.Search), s.issuer, max(time.Second, next.Sub(now)), nil
}

// readable notes since when the certificate that is followed is issued and not there to be
// read.
func (s *search) readable(p *v1alpha1.RegfishPurchase, now time.Time) {
	switch c := choose(p, s.Candidates); {
	case c == nil || pending(c.Certificate):
		s.Unread = time.Time{}
	case s.Unread.IsZero():
		s.Unread = now
	}
}

// of returns what is remembered of the search for the order of p.
func (r *Resolver) of(p *v1alpha1.RegfishPurchase, now time.Time) *search {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.searches == nil {
		r.searches = map[string]*search{}
	}
	number := lastUnresolved(p).Number
	if s, ok := r.searches[p.Name]; ok && s.uid == p.UID && s.attempt == number {
		return s
	}
	s := &search{uid: p.UID, attempt: number, Search: Search{Begun: now, Until: now.Add(r.SettleTime), Blind: now}, next: now}
	r.searches[p.Name] = s
	return s
}

// Forget forgets a purchase that is gone.
func (r *Resolver) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.searches, name)
	delete(r.watched, name)
	delete(r.rereadings, name)
}

// read reads the account once.
func (r *Resolver) read(ctx context.Context, p *v1alpha1.RegfishPurchase, s *search, now time.Time) error {
	vendor, issuer, gap, err := r.connect(ctx, p)
	if err != nil {
		return err
	}
	s.issuer = issuer
	if gap != "" {
		s.failed(gap, now, r.SettleTime, nil)
		return nil
	}
	account, err := r.account(ctx, vendor, p.Spec.Endpoint)
	if err == nil {
		err = r.examine(ctx, vendor, p, s, account, now)
	}
	if regfish.KindOf(err) == regfish.KindNone {
		return err
	}
	s.failed(err.Error(), now, r.SettleTime, err)
	return nil
}

// account is what a complete list of the account says of the names in the ledger.
type account struct {
	reading
	// rows are those that no record holds and that share a name with one, or show none.
	rows []regfish.Certificate
	// ledger as it is after the list was read: an id that is recorded meanwhile is found
	// to be held.
	ledger []v1alpha1.RegfishPurchase
}

// account lists the account that the vendor's key is of.
func (r *Resolver) account(ctx context.Context, vendor Vendor, endpoint string) (account, error) {
	// Which names are of interest does not have to be quite up to date.
	var known v1alpha1.RegfishPurchaseList
	if err := r.Cache.List(ctx, &known, client.InNamespace(r.Spender.Ledger), client.UnsafeDisableDeepCopy); err != nil {
		return account{}, fmt.Errorf("list purchases: %w", err)
	}
	ours, held := map[string]bool{}, map[string]bool{}
	for i := range known.Items {
		p := &known.Items[i]
		held[p.Spec.CertificateID] = held[p.Spec.CertificateID] || p.Spec.Endpoint == endpoint
		for _, name := range pki.CanonicalNames(exactNames(p)) {
			ours[name] = true
		}
	}
	found := account{reading: reading{ids: map[string]bool{}, fingerprint: vendor.Fingerprint()}}
	if err := vendor.Certificates(ctx, func(c regfish.Certificate) error {
		found.ids[c.ID] = true
		if names := c.Names(); held[c.ID] {
			return nil
		} else if len(names) == 0 || slices.ContainsFunc(pki.CanonicalNames(names), func(name string) bool { return ours[name] }) {
			found.rows = append(found.rows, c)
		}
		return nil
	}); err != nil {
		return account{}, err
	}
	var ledger v1alpha1.RegfishPurchaseList
	if err := r.Spender.Live.List(ctx, &ledger, client.InNamespace(r.Spender.Ledger)); err != nil {
		return account{}, fmt.Errorf("list purchases: %w", err)
	}
	found.ledger = ledger.Items
	return found, nil
}

// failed notes that a reading came to nothing.
func (s *search) failed(gap string, now time.Time, settle time.Duration, err error) {
	s.Gap = gap
	s.next = now.Add(max(min(lookAgain, settle/looks), regfish.RetryAfter(err)))
}

// examine judges what a reading of the account shows.
func (r *Resolver) examine(ctx context.Context, vendor Vendor, p *v1alpha1.RegfishPurchase, s *search, list account, now time.Time) error {
	held, rows := heldIDs(p, list.ledger), list.rows
	candidates, blank, err := r.candidates(ctx, vendor, p, rows, held)
	if err != nil {
		return err
	}
	// What was in the list once and is not any more is asked for by its id: lists that
	// differ from one time to the next show nothing by what they lack. What cannot be read
	// by its id either is not forgotten: it was there, and may have been the order.
	for _, seen := range s.Candidates {
		if list.ids[seen.Certificate.ID] {
			continue
		}
		again, _, err := r.candidates(ctx, vendor, p, []regfish.Certificate{{ID: seen.Certificate.ID}}, held)
		if err != nil {
			return err
		}
		if len(again) == 0 && !held[seen.Certificate.ID] && !knownBefore(p, seen.Certificate.ID) {
			seen.Gone = true
			again = []Candidate{seen}
		}
		candidates = append(candidates, again...)
	}
	if candidates, err = r.disprove(ctx, p, candidates); err != nil {
		return err
	}
	if s.Writer, err = r.writer(ctx, p, now.Sub(s.Begun)); err != nil {
		return err
	}
	s.Candidates = candidates
	s.Gap, s.Strange = list.gap(p, list.ledger, r.SettleTime, now)
	if blank != "" && s.Gap == "" {
		s.Gap = fmt.Sprintf("the list has %s, of which regfish does not say for what names it is", regfish.Sanitise(blank, 64))
	}
	s.Readings++
	if s.Gap == "" {
		s.Counted++
		s.Blind = now
	}
	pause := r.SettleTime / (looks - 1)
	if age := now.Sub(s.Begun); age > r.SettleTime {
		pause = min(max(pause, age/8), max(pause, lastLook))
	}
	s.next = now.Add(pause)
	if err := r.Spender.markDuplicates(ctx, vendor, list.rows, list.ledger); err != nil {
		// What is wrong with another order is no reason not to look for this one.
		log.FromContext(ctx).Error(err, "orders that may be duplicates are left to the next reading")
	}
	return nil
}

// heldIDs are the ids that purchases other than p hold at its endpoint.
func heldIDs(p *v1alpha1.RegfishPurchase, ledger []v1alpha1.RegfishPurchase) map[string]bool {
	held := map[string]bool{}
	for i := range ledger {
		if other := &ledger[i]; other.Spec.Endpoint == p.Spec.Endpoint && other.Name != p.Name && other.Spec.CertificateID != "" {
			held[other.Spec.CertificateID] = true
		}
	}
	return held
}

// candidates are the rows that may be the order of p, with the certificates of those
// that are issued, by id. blank is a row that may be anything: it shows no names, and its id
// does not either.
func (r *Resolver) candidates(ctx context.Context, vendor Vendor, p *v1alpha1.RegfishPurchase, rows []regfish.Certificate, held map[string]bool) (_ []Candidate, blank string, _ error) {
	found := map[string]Candidate{}
	var catalogue []regfish.Product
	for _, c := range rows {
		if held[c.ID] || knownBefore(p, c.ID) {
			continue
		}
		if len(c.Names()) == 0 {
			// A row without names says nothing about its names; the id does.
			whole, err := vendor.Certificate(ctx, c.ID)
			if regfish.KindOf(err) == regfish.KindNotFound || (err == nil && len(whole.Names()) == 0) {
				blank = c.ID
				continue
			}
			if err != nil {
				return nil, "", fmt.Errorf("read %s: %w", regfish.Sanitise(c.ID, 64), err)
			}
			c = whole
		}
		if !couldBe(p, c, held, nil) {
			continue
		}
		if c.Product != p.Spec.SKU && catalogue == nil {
			var err error
			if catalogue, err = vendor.Products(ctx); err != nil {
				return nil, "", fmt.Errorf("read the catalogue: %w", err)
			}
		}
		if otherProduct(p, c, catalogue) {
			continue
		}
		leaf, err := leafOf(ctx, vendor, c)
		if err != nil {
			return nil, "", err
		}
		found[c.ID] = Candidate{Certificate: c, Leaf: leaf}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Candidate) int { return cmp.Compare(a.Certificate.ID, b.Certificate.ID) }), blank, nil
}

// disprove records which candidates have another key than p, and returns the others.
func (r *Resolver) disprove(ctx context.Context, p *v1alpha1.RegfishPurchase, candidates []Candidate) ([]Candidate, error) {
	last := lastUnresolved(p)
	var left []Candidate
	var ids []string
	for _, c := range candidates {
		if !disproves(p, c.Leaf) {
			left = append(left, c)
			continue
		}
		if len(last.DisprovedIDs)+len(ids) < maxDisproved && recordable(c.Certificate.ID) {
			ids = append(ids, c.Certificate.ID)
		}
	}
	if len(ids) == 0 {
		return left, nil
	}
	return left, r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
		last := lastUnresolved(p)
		last.DisprovedIDs = append(last.DisprovedIDs, ids...)
	})
}

// maxDisproved is the most ids that an attempt can record as disproved.
const maxDisproved = 64

// reread asks for the candidate that is followed, which may be issued by now.
func (r *Resolver) reread(ctx context.Context, p *v1alpha1.RegfishPurchase, s *search, id string) error {
	vendor, issuer, gap, err := r.connect(ctx, p)
	if err != nil || gap != "" {
		return err
	}
	s.issuer = issuer
	c, err := vendor.Certificate(ctx, id)
	if err == nil {
		i := slices.IndexFunc(s.Candidates, func(c Candidate) bool { return c.Certificate.ID == id })
		s.Candidates[i].Certificate = c
		s.Candidates[i].Leaf, err = leafOf(ctx, vendor, c)
	}
	if regfish.KindOf(err) == regfish.KindNone {
		if err != nil {
			return err
		}
		s.Candidates, err = r.disprove(ctx, p, s.Candidates)
		return err
	}
	// It is seen in the next reading whether it is still there.
	return nil
}

// leafOf is the certificate that the vendor has for an id; nil if there is none that
// can be read.
func leafOf(ctx context.Context, vendor Vendor, c regfish.Certificate) (*x509.Certificate, error) {
	if !c.CertificatePEMAvailable {
		return nil, nil
	}
	delivery, err := vendor.Download(ctx, c.ID)
	switch regfish.KindOf(err) { //nolint:exhaustive // every other kind may pass, and what it hides is not known then
	case regfish.KindConflict, regfish.KindNotFound, regfish.KindUnreadable:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", regfish.Sanitise(c.ID, 64), err)
	}
	leaf, err := pki.ParseLeaf(delivery)
	if err != nil {
		return nil, nil //nolint:nilerr // what cannot be read proves nothing
	}
	return leaf, nil
}

// settle records what became of the order of p, if that was found out.
func (r *Resolver) settle(ctx context.Context, p *v1alpha1.RegfishPurchase, s *search) error {
	at := metav1.NewMicroTime(r.Spender.Clock.Now())
	switch s.Finding {
	case Proved:
		id := s.Found.Certificate.ID
		held, err := r.Spender.claimed(ctx, p.Spec.Endpoint, id)
		if err != nil {
			return err
		}
		if held {
			// Another purchase took it meanwhile. One id is one order.
			s.Candidates = slices.DeleteFunc(s.Candidates, func(c Candidate) bool { return c.Certificate.ID == id })
			s.Finding, s.Found = s.find(p, at.Time)
			return nil
		}
		return r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
			resolve(lastUnresolved(p), v1alpha1.Resolution{
				Result: v1alpha1.ResolutionAdopted, CertificateID: id, Proved: true, Time: at, Message: "its key is that of the signing request, and it was issued after the order was sent.",
			})
			p.Spec.CertificateID = id
		})
	case NotFound:
		message := fmt.Sprintf("%d readings of the account within %s lack it.", s.Counted, at.Sub(s.Begun).Round(time.Second))
		return r.write(ctx, p, func(p *v1alpha1.RegfishPurchase) {
			for a := lastUnresolved(p); a != nil; a = lastUnresolved(p) {
				resolve(a, v1alpha1.Resolution{Result: v1alpha1.ResolutionNotFound, Time: at, Message: message})
			}
		})
	case Searching, Followed, Undecided:
	}
	return nil
}

// resolve ends an attempt. One whose process never recorded an outcome gets one, so
// that what was sent and what was found out are told apart.
func resolve(a *v1alpha1.Attempt, resolution v1alpha1.Resolution) {
	heard(a, resolution.Time)
	a.Resolution = &resolution
}

func heard(a *v1alpha1.Attempt, at metav1.MicroTime) {
	if a.Outcome == nil {
		a.Outcome = &v1alpha1.Outcome{Result: v1alpha1.OutcomeUnknown, Message: "the process that sent the order ended before its answer was recorded.", Time: at}
	}
}

// write changes the record of p, unless it changed since it was read or this process
// works on it.
func (r *Resolver) write(ctx context.Context, p *v1alpha1.RegfishPurchase, change func(*v1alpha1.RegfishPurchase)) error {
	before, after := p.DeepCopy(), p.DeepCopy()
	change(after)
	if err := r.Spender.Client.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("resolve purchase %s: %w", p.Name, err)
	}
	after.DeepCopyInto(p)
	return nil
}
