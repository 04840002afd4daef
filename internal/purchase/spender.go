// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// maxReason bounds the sentence of a decision in a record, in bytes.
const maxReason = 512

// recordPause is the pause between attempts to record an outcome.
const recordPause = time.Second

// Vendor is what the spender needs of the API client.
type Vendor interface {
	Products(ctx context.Context) ([]regfish.Product, error)
	Certificates(ctx context.Context, each func(regfish.Certificate) error) error
	Certificate(ctx context.Context, id string) (regfish.Certificate, error)
	Download(ctx context.Context, id string) ([]byte, error)
	// Reserve waits, not for long, until an order may be sent, and returns a context with
	// which Order sends it at once. The function gives up what was reserved and not used.
	Reserve(ctx context.Context) (context.Context, func(), error)
	Order(ctx context.Context, r regfish.OrderRequest, mayWrite func() error) regfish.OrderResult
	Reissue(ctx context.Context, id string, r regfish.ReissueRequest, mayWrite func() error) regfish.OrderResult
	Fingerprint() string
}

// Spender buys. It is the only code that calls a paying endpoint, and it does so
// in one place.
type Spender struct {
	Gatherer
	// Client writes purchases and issuers.
	Client client.Client
	// Connect returns the client for an issuer, with the key that its Secret holds
	// now.
	Connect func(context.Context, v1alpha1.Issuer) (Vendor, error)
	// Writer identifies this process in attempts.
	Writer v1alpha1.Writer
	// Leader returns nil if this process is the leader of the ledger that it knows, by
	// live reads. Nil where nobody else can be.
	Leader func(context.Context) error
	// Times are how long an order may take.
	Times Times
	// Clock tells the time.
	Clock clock.PassiveClock
	// MayShow decides whether a completion URL may be shown.
	MayShow func(issuer v1alpha1.Issuer, completionURL string) bool
	// Warn tells people of a condition that a purchase has turned to; nil: nobody.
	Warn func(*v1alpha1.RegfishPurchase, metav1.Condition)

	work    sync.WaitGroup
	slots   sync.Mutex // one write of slots at a time
	mu      sync.Mutex
	changes map[v1alpha1.IssuerRef]*batch // of slots, not being written yet
	bulk    map[v1alpha1.IssuerRef]int    // how many more writes wait for others
	flying  map[string]bool
	// sent is, by the name of the purchase, the last attempt whose order this process may
	// have sent. It is kept for as long as the process lives: a restored record may say
	// of any of them that it has no outcome yet.
	sent map[string]int32
}

// Spend decides again on what the API server says now and, if the decision is
// still to buy, buys. It returns the decision that it acted on. It is called for
// a request that the caller's cache says is to be bought for; whatever repeats
// the call (a conflict, a restart, another leader, a re-created request) meets
// the records that an earlier call left.
//
// The problem, if there is one, is what the issuer's owner has to mend before
// anything is bought. The error is nil unless the decision could not be made or
// carried out; then nothing was bought, or what was bought is in the ledger.
func (s *Spender) Spend(ctx context.Context, name types.NamespacedName, uid types.UID) (Decision, *credentials.Problem, error) {
	s.work.Add(1)
	defer s.work.Done()
	cr, request, err := s.liveRequest(ctx, name, uid)
	if err != nil {
		return Decision{}, nil, err
	}
	facts, issuer, err := s.Facts(ctx, nil, cr, request, s.Clock.Now())
	if err != nil {
		return Decision{}, nil, err
	}
	d := Plan(facts)
	if !d.Sends() {
		return d, nil, nil
	}
	vendor, err := s.Connect(ctx, issuer)
	if err != nil {
		return queue(notReady("%s is not ready: %v", issuer.Ref(), err)), nil, nil
	}
	if d.Step != StepRetry {
		problem, err := s.ask(ctx, vendor, issuer, &facts)
		if err != nil {
			return Decision{}, nil, err
		}
		if d = Plan(facts); !d.Sends() {
			return d, problem, nil
		}
	}
	if d.Step == StepReissue {
		return s.reissue(ctx, vendor, issuer, facts, d)
	}
	if facts.Baseline, err = s.baseline(ctx, vendor, cr, facts.Want, facts.named()); err != nil {
		if regfish.KindOf(err) == regfish.KindNone {
			return Decision{}, nil, err
		}
		return queue(&IssuerProblem{v1alpha1.ReasonVendorUnavailable, "regfish could not be asked what the account holds, so nothing is bought yet: " + err.Error()}).notBefore(err), credentials.KeyProblem(issuer, err, "list certificates"), nil
	}
	if err := s.markDuplicates(ctx, vendor, facts.Baseline.unexplained(), facts.Purchases); err != nil {
		// It is found again by the next list.
		log.FromContext(ctx).V(1).Info("orders beside a purchase are not shown yet", "reason", err.Error())
	}
	d = Plan(facts)
	switch d.Step {
	case StepImport:
		p, err := s.create(ctx, facts, d, nil)
		if err != nil {
			return Decision{}, nil, err
		}
		return Plan(facts.with(p)), nil, nil
	case StepBuy, StepRenew, StepRetry:
		return s.buy(ctx, vendor, issuer, facts, d)
	default:
		return d, nil, nil
	}
}

func queue(p *IssuerProblem) Decision {
	return Decision{Step: StepQueue, Reason: p.Reason, Message: p.Message, LookAgain: firstRetry}
}

// notBefore leaves the vendor alone for as long as it asked for. A call that was not even
// sent is tried again as soon as it may be.
func (d Decision) notBefore(err error) Decision {
	if regfish.KindOf(err) == regfish.KindNotNow {
		d.LookAgain = 0
	}
	d.LookAgain = max(d.LookAgain, regfish.RetryAfter(err))
	return d
}

// ErrGone says that the request is not there to be bought for any more.
var ErrGone = errors.New("the request is gone, denied or answered")

// liveRequest reads the request as the API server has it now.
func (s *Spender) liveRequest(ctx context.Context, name types.NamespacedName, uid types.UID) (*cmapi.CertificateRequest, *pki.Request, error) {
	var cr cmapi.CertificateRequest
	if err := s.Live.Get(ctx, name, &cr); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil, ErrGone
		}
		return nil, nil, fmt.Errorf("read certificate request: %w", err)
	}
	if cr.UID != uid || !ToServe(&cr) {
		return nil, nil, ErrGone
	}
	request, problems := Preflight(&cr)
	if len(problems) > 0 {
		return nil, nil, ErrGone
	}
	return &cr, request, nil
}

// buy reserves a slot, writes the intent, sends the order and records how it
// ended. From the intent on it does not stop for a shutdown.
func (s *Spender) buy(ctx context.Context, vendor Vendor, issuer v1alpha1.Issuer, facts Facts, d Decision) (Decision, *credentials.Problem, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, nil, err
	}
	// Before the intent: from that on an order is sent at once or not at all.
	reserved, giveUp, err := vendor.Reserve(ctx)
	if err != nil {
		if regfish.KindOf(err) != regfish.KindNotNow {
			return Decision{}, nil, err
		}
		return queue(&IssuerProblem{v1alpha1.ReasonVendorUnavailable, "no order can be sent to regfish just now, so nothing is bought yet: " + err.Error()}).notBefore(err), nil, nil
	}
	defer giveUp()
	ctx = context.WithoutCancel(reserved)
	name := Name(facts.Want.NamesHash(), nextNumber(facts.Purchases))
	if d.Step == StepRetry {
		name = d.Purchase.Name
	}
	release, err := s.claim(name)
	if err != nil {
		return Decision{}, nil, err
	}
	full, err := s.reserve(ctx, issuer, facts)
	if err != nil || full != nil {
		release()
		if full != nil {
			full.Purchase = d.Purchase
			return *full, nil, nil
		}
		return Decision{}, nil, err
	}
	attempt, begun := s.attempt(facts, vendor, d), time.Now()
	var p *v1alpha1.RegfishPurchase
	if d.Step == StepRetry {
		p, err = s.again(ctx, d.Purchase, attempt)
	} else {
		p, err = s.create(ctx, facts, d, &attempt)
	}
	if err != nil {
		// What could not be written was not spent. If the write did arrive after
		// all, Settle finds the attempt.
		release()
		s.giveBack(ctx, issuer, facts)
		return Decision{}, nil, err
	}
	result := s.post(ctx, vendor, facts, parcel{order: orderOf(p), record: p.Name, number: attempt.Number, intent: attempt.Time.Time, begun: begun})
	giveUp()
	ended := s.outcome(result)
	metrics.Attempt(p, p.Spec.Action, ended.Result)
	p = s.record(ctx, p, attempt.Number, ended, result)
	// Not deferred: what was sent stays marked until its outcome is recorded, so that
	// it is never settled as unsent.
	release()
	s.show(ctx, issuer, p, result)
	return Plan(facts.with(p)), refusal(issuer, result, p.Spec.Action == v1alpha1.ActionRenew), nil
}

// with returns the facts with p as it was just written. What it leads to is for Plan
// to say: followed, tried again after a pause, or failed.
func (f Facts) with(p *v1alpha1.RegfishPurchase) Facts {
	f.Purchases = slices.DeleteFunc(slices.Clone(f.Purchases), func(o v1alpha1.RegfishPurchase) bool { return o.Name == p.Name })
	f.Purchases = append(f.Purchases, *p)
	f.Live = maps.Clone(f.Live)
	f.Live[f.Want.Beneficiary.RequestUID] = true
	return f
}

// attempt is the intent that is written before the order is sent.
func (s *Spender) attempt(facts Facts, vendor Vendor, d Decision) v1alpha1.Attempt {
	a := v1alpha1.Attempt{
		Number:         1,
		Time:           metav1.NewMicroTime(s.Clock.Now()),
		RequestName:    facts.Want.Beneficiary.RequestName,
		RequestUID:     facts.Want.Beneficiary.RequestUID,
		Writer:         s.Writer,
		ClusterUID:     s.ClusterUID,
		KeyFingerprint: vendor.Fingerprint(),
		BaselineIDs:    facts.Baseline.IDs,
	}
	if d.Step == StepRetry {
		a.Number = lastAttempt(d.Purchase).Number + 1
	}
	return a
}

// claim marks the purchase as being worked on by this process.
func (s *Spender) claim(name string) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[name] {
		return nil, fmt.Errorf("purchase %s is being worked on by this process", name)
	}
	if s.flying == nil {
		s.flying = map[string]bool{}
	}
	s.flying[name] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flying, name)
	}, nil
}

// Flying reports whether this process is working on the purchase right now.
func (s *Spender) Flying(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flying[name]
}

// reissuesOf is where it is remembered which reissues of a purchase were sent.
func reissuesOf(name string) string { return name + "/reissues" }

// sending marks the attempt, or the reissue, as one that may have been sent.
func (s *Spender) sending(name string, number int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil {
		s.sent = map[string]int32{}
	}
	s.sent[name] = max(s.sent[name], number)
}

// sentOnce reports whether this process may have sent the attempt or reissue, or a later
// one.
func (s *Spender) sentOnce(name string, number int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return number <= s.sent[name]
}

// Settle records that an attempt of this process was never sent, if that is so:
// the process wrote the intent, did not see the write succeed, is not working on it
// and never came to send it. Everything that was sent stays marked until its outcome is
// recorded, and the resourceVersion keeps a stale p from settling what was recorded
// meanwhile. What was sent and has no outcome all the same was restored from a backup.
// It reports whether there was something to settle.
func (s *Spender) Settle(ctx context.Context, p *v1alpha1.RegfishPurchase) (bool, error) {
	if s.Flying(p.Name) {
		return false, nil
	}
	r, a := openReissue(p), pendingAttempt(p)
	ordered := a != nil && a.Writer == s.Writer && !s.sentOnce(p.Name, a.Number)
	reissued := r != nil && r.Outcome == nil && r.Writer == s.Writer && !s.sentOnce(reissuesOf(p.Name), r.Number)
	if !ordered && !reissued {
		return false, nil
	}
	before := p.DeepCopy()
	p = p.DeepCopy()
	unsent := &v1alpha1.Outcome{
		Result: v1alpha1.OutcomeNotSent, Message: "the intent was written and nothing was sent.", Time: metav1.NewMicroTime(s.Clock.Now()),
	}
	if ordered {
		pendingAttempt(p).Outcome = unsent
	} else {
		openReissue(p).Outcome = unsent
	}
	return true, s.Client.Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// Wait returns once no purchase is under way. Whoever ends the process calls it
// first: an order that is cut in half is an unknown outcome.
func (s *Spender) Wait() { s.work.Wait() }

func nextNumber(ps []v1alpha1.RegfishPurchase) int32 {
	if top := newest(ps); top != nil {
		return top.Spec.Number + 1
	}
	return 1
}

// reserve takes a slot of the purchase limit, guarded by the issuer's
// resourceVersion. It returns a decision if none is free.
func (s *Spender) reserve(ctx context.Context, issuer v1alpha1.Issuer, facts Facts) (*Decision, error) {
	var full *Decision
	err := s.updateSlots(ctx, issuer.Ref(), func(live v1alpha1.Issuer, now time.Time) {
		slots, buckets := SlotsOf(live, nil, now)
		f := facts
		f.Slots, f.InNamespace = slots, slotsIn(live, buckets, f.Want.Beneficiary.Namespace)
		if d, ok := limit(f); ok {
			full = &d
			return
		}
		full = nil
		use(live, take(buckets, facts.Want.Beneficiary.Namespace, now), now)
	})
	return full, err
}

// giveBack returns the slot of a purchase that was not begun. It is best effort: a slot that
// is lost comes back with the window, which is a long time where the limit is low, so that it
// is tried more often than a slot is asked for.
func (s *Spender) giveBack(ctx context.Context, issuer v1alpha1.Issuer, facts Facts) {
	err := errBusy
	for tries := 0; tries < 10 && errors.Is(err, errBusy); tries++ {
		err = s.updateSlots(ctx, issuer.Ref(), func(live v1alpha1.Issuer, now time.Time) {
			_, buckets := SlotsOf(live, nil, now)
			for i := range slices.Backward(buckets) {
				if buckets[i].Namespace == facts.Want.Beneficiary.Namespace && buckets[i].Count > 0 {
					buckets[i].Count--
					break
				}
			}
			use(live, buckets, now)
		})
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "a slot of the purchase limit was not given back; it comes back with the window")
	}
}

// use shows the buckets, and what they leave free, in the issuer's status.
func use(issuer v1alpha1.Issuer, buckets []v1alpha1.PurchaseBucket, now time.Time) {
	var queued int32
	if before := issuer.GetStatus().Purchases; before != nil {
		queued = before.Queued
	}
	issuer.GetStatus().Purchases = &v1alpha1.IssuerPurchases{Window: buckets}
	slots, _ := SlotsOf(issuer, nil, now)
	issuer.GetStatus().Purchases = UsageOf(slots, buckets, queued)
}

// batch is changes of one issuer's use of its limit that are written together.
type batch struct {
	changes []func(v1alpha1.Issuer, time.Time)
	done    chan struct{}
	err     error
}

// errNotWritten is what a writer leaves that broke down: without a slot nothing is bought.
var errNotWritten = errors.New("the purchase limit was not written")

// errBusy says that others change the issuer each time.
var errBusy = errors.New("it is being changed all the time")

const (
	// slotPause is how long a change waits for others, where several were written together of
	// late. In bulk the limit's use would otherwise be written for nearly every order, with all
	// that was used of it. It is short: each order that waits holds a call of the vendor meanwhile.
	slotPause = 100 * time.Millisecond
	// inBulk is how many writes wait for others once several were written together: calls of the
	// vendor come one by one, and that one had no company once does not end a rush.
	inBulk = 5
)

// updateSlots changes the issuer's use of its limit. Within this process the
// changes are made one after another, so that they do not conflict among
// themselves, and those that come while one is written are written together, or many orders
// at once would wait for each other; where several were, the next ones wait a moment for more.
// Against other processes the resourceVersion guards.
func (s *Spender) updateSlots(ctx context.Context, ref v1alpha1.IssuerRef, change func(v1alpha1.Issuer, time.Time)) error {
	s.mu.Lock()
	b := s.changes[ref]
	first := b == nil
	if first {
		if s.changes == nil {
			s.changes = map[v1alpha1.IssuerRef]*batch{}
		}
		b = &batch{done: make(chan struct{}), err: errNotWritten}
		s.changes[ref] = b
	}
	b.changes = append(b.changes, change)
	bulk := s.bulk[ref] > 0
	s.mu.Unlock()
	if !first {
		<-b.done
		return b.err
	}
	defer close(b.done)
	if bulk {
		<-time.After(slotPause)
	}
	s.slots.Lock()
	defer s.slots.Unlock()
	s.mu.Lock()
	// Whoever comes from here on waits for the next write.
	delete(s.changes, ref)
	switch {
	case len(b.changes) > 1:
		if s.bulk == nil {
			s.bulk = map[v1alpha1.IssuerRef]int{}
		}
		s.bulk[ref] = inBulk
	case s.bulk[ref] > 1:
		s.bulk[ref]--
	default:
		delete(s.bulk, ref)
	}
	s.mu.Unlock()
	b.err = s.writeSlots(ctx, ref, b.changes)
	return b.err
}

// writeSlots makes the changes on what the API server has, and writes that.
func (s *Spender) writeSlots(ctx context.Context, ref v1alpha1.IssuerRef, changes []func(v1alpha1.Issuer, time.Time)) error {
	for range 5 {
		live, err := LookUpIssuer(ctx, s.Live, ref)
		if err != nil {
			return err
		}
		if live == nil {
			return fmt.Errorf("reserve a slot: %s is gone", ref)
		}
		before := live.DeepCopyObject().(client.Object)
		for _, change := range changes {
			change(live, s.Clock.Now())
		}
		err = s.Client.Status().Patch(ctx, live, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return fmt.Errorf("reserve a slot of %s: %w", ref, errBusy)
}

// create announces the next purchase on the newest one and then creates it. The
// name is the lock: whoever creates it first has it, and everybody else decides
// again. The announcement makes sure that nobody adds an attempt to the older
// purchase meanwhile: it fails if the older one changed since the decision. A renewal is
// announced on what it renews as well, so that nobody has that reissued meanwhile.
func (s *Spender) create(ctx context.Context, facts Facts, d Decision, attempt *v1alpha1.Attempt) (*v1alpha1.RegfishPurchase, error) {
	number := nextNumber(facts.Purchases)
	p := New(facts.Want, s.Ledger, number)
	p.Spec.Reason = regfish.Sanitise(d.Message, maxReason)
	if d.Step == StepRenew {
		p.Spec.Action, p.Spec.SourceCertificateID = v1alpha1.ActionRenew, d.Source.Spec.CertificateID
	}
	if d.Step == StepImport {
		p.Spec.Action = v1alpha1.ActionImport
		p.Spec.CertificateID = d.Candidate.Certificate.ID
		switch {
		case d.Candidate.Earlier != nil:
			p.Spec.Request = d.Candidate.Earlier
		case d.Candidate.forOtherKey(facts.Want):
			p.Spec.Request = nil
		}
	}
	if attempt != nil {
		p.Spec.Attempts = []v1alpha1.Attempt{*attempt}
	}
	if d.Licence != nil {
		// From here on the plan licenses nothing more.
		p.Spec.PlanUID = d.Licence.UID
	}
	heralds := []*v1alpha1.RegfishPurchase{newest(facts.Purchases)}
	if d.Step == StepRenew && d.Source.Name != heralds[0].Name && len(d.Source.Spec.Successors) < maxSuccessors {
		heralds = append(heralds, d.Source)
	}
	for _, top := range heralds {
		if top == nil || announced(top, number, p) {
			continue
		}
		before := top.DeepCopy()
		top = top.DeepCopy()
		top.Spec.Successors = append(slices.DeleteFunc(top.Spec.Successors, func(s v1alpha1.Successor) bool { return s.Number == number }), v1alpha1.Successor{
			Number: number, Action: p.Spec.Action, RequestUID: facts.Want.Beneficiary.RequestUID, Time: metav1.NewMicroTime(s.Clock.Now()),
		})
		if err := s.Client.Patch(ctx, top, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return nil, fmt.Errorf("announce purchase %s: %w", p.Name, err)
		}
	}
	if err := s.Client.Create(ctx, p); err != nil {
		return nil, fmt.Errorf("create purchase %s: %w", p.Name, err)
	}
	return p, nil
}

// maxSuccessors is the most announcements that a purchase can record. What was renewed in
// vain as many times is renewed without one: the purchase that renews it shows it, too.
const maxSuccessors = 50

// announced reports whether top announces next, which is to get the number. That somebody
// else announced another one under it keeps top from being tried again, and not what next
// renews from being reissued: a renewal is announced there each time.
func announced(top *v1alpha1.RegfishPurchase, number int32, next *v1alpha1.RegfishPurchase) bool {
	if next.Spec.SourceCertificateID != "" && next.Spec.SourceCertificateID == top.Spec.CertificateID {
		return false
	}
	return slices.ContainsFunc(top.Spec.Successors, func(s v1alpha1.Successor) bool { return s.Number == number })
}

// again adds an attempt to a purchase that placed nothing, guarded by the
// resourceVersion that the decision was made on.
func (s *Spender) again(ctx context.Context, p *v1alpha1.RegfishPurchase, attempt v1alpha1.Attempt) (*v1alpha1.RegfishPurchase, error) {
	before := p.DeepCopy()
	p = p.DeepCopy()
	p.Spec.Attempts = append(p.Spec.Attempts, attempt)
	if err := s.Client.Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("add attempt %d to purchase %s: %w", attempt.Number, p.Name, err)
	}
	return p, nil
}

// parcel is what is sent: an order, or the reissue of the certificate with the id.
type parcel struct {
	order   regfish.OrderRequest
	id      string
	reissue regfish.ReissueRequest
	// record and number of what was written of it.
	record string
	number int32
	// intent is when what is sent was recorded, by the wall clock, and begun the same
	// with the monotonic clock.
	intent, begun time.Time
}

// orderOf is the order that p records.
func orderOf(p *v1alpha1.RegfishPurchase) regfish.OrderRequest {
	return regfish.OrderRequest{
		SKU:                    p.Spec.SKU,
		CommonName:             p.Spec.CommonName,
		DNSNames:               p.Spec.DNSNames,
		CSR:                    string(p.Spec.Request),
		DCVMethod:              vendorMethod(p.Spec.DCVMethod),
		DCVEmails:              p.Spec.DCVEmails,
		OrganizationID:         p.Spec.OrganizationID,
		RenewalOfCertificateID: p.Spec.SourceCertificateID,
		ValidityDays:           int(p.Spec.ValidityDays),
	}
}

// post sends the parcel. This is the one place in this program that sends what costs
// money, or what is taken to be free and documented by nobody to be so. It is called once
// for each attempt and each reissue that was written: the name of the purchase and the
// number are taken before, and nobody takes them twice.
func (s *Spender) post(ctx context.Context, vendor Vendor, facts Facts, what parcel) (result regfish.OrderResult) {
	defer func() {
		// A panic may have come after the order was sent. Recorded as unknown it is
		// held for a person; unrecorded it would look as if it were still being sent.
		if r := recover(); r != nil {
			result = unknown(result, "the client broke down while the order was being placed")
			log.FromContext(ctx).Error(nil, "panic while an order was being placed", "namesHash", facts.Want.NamesHash(), "stack", string(debug.Stack()))
		}
	}()
	window := s.Times.Window()
	asking, cancel := context.WithTimeout(ctx, window)
	defer cancel()
	if err := s.mayStillSpend(asking, facts); err != nil {
		return notSent(err)
	}
	s.sending(what.record, what.number)
	inTime := func() error {
		// Wall clock and monotonic clock both: a suspended machine may stop one of
		// them, and a clock that was set back must not open the window again.
		if time.Since(what.begun) > window || s.Clock.Now().Round(0).Sub(what.intent.Round(0)) > window {
			return fmt.Errorf("more than %s have passed since the intent was written", window)
		}
		return nil
	}
	if what.id != "" {
		result = vendor.Reissue(ctx, what.id, what.reissue, inTime)
	} else {
		result = vendor.Order(ctx, what.order, inTime)
	}
	switch id := result.Certificate.ID; {
	case result.Outcome != regfish.Accepted:
	case !recordable(id):
		return unknown(result, fmt.Sprintf("regfish named the order %q, which is no id that can be recorded", regfish.Sanitise(id, maxID)))
	case what.id != "" && id != what.id:
		return unknown(result, fmt.Sprintf("regfish answered the reissue of %s with %s", what.id, id))
	}
	return result
}

// maxID bounds the vendor's ids, in bytes.
const maxID = 128

// recordable reports whether the API server takes the id into a record, and people can
// read it there.
func recordable(id string) bool {
	return id != "" && len(id) <= maxID && regfish.Sanitise(id, maxID) == id
}

func unknown(r regfish.OrderResult, message string) regfish.OrderResult {
	return regfish.OrderResult{Outcome: regfish.Unknown, Status: r.Status, Err: &regfish.Error{Op: "place order", Status: r.Status, Kind: regfish.KindUnreadable, Message: message}}
}

// mayStillSpend asks once more, after the intent, what may have changed while it
// was written: this process may have lost the lease, and the request may be gone.
func (s *Spender) mayStillSpend(ctx context.Context, facts Facts) error {
	if s.Leader != nil {
		if err := s.Leader(ctx); err != nil {
			return fmt.Errorf("this process is not the leader: %w", err)
		}
	}
	b := facts.Want.Beneficiary
	_, _, err := s.liveRequest(ctx, types.NamespacedName{Namespace: b.Namespace, Name: b.RequestName}, b.RequestUID)
	return err
}

func notSent(err error) regfish.OrderResult {
	return regfish.OrderResult{Outcome: regfish.NotSent, Err: &regfish.Error{Op: "place order", Kind: regfish.KindRefused, Message: regfish.Sanitise(err.Error(), 256)}}
}

// vendorMethod is the vendor's word for the method. An unknown one is left empty
// and refused by the vendor, which costs nothing.
func vendorMethod(m v1alpha1.DCVMethod) string {
	switch m {
	case v1alpha1.DCVMethodCNAME:
		return regfish.DCVMethodCNAME
	case v1alpha1.DCVMethodEmail:
		return regfish.DCVMethodEmail
	}
	return ""
}

// outcome is how the attempt is recorded.
func (s *Spender) outcome(r regfish.OrderResult) v1alpha1.Outcome {
	o := v1alpha1.Outcome{Answered: r.Answered, HTTPStatus: int32(r.Status), Time: metav1.NewMicroTime(s.Clock.Now())} //nolint:gosec // an HTTP status is small
	if r.Err != nil {
		o.Message = regfish.Sanitise(r.Err.Error(), 512)
		if wait := regfish.RetryAfter(r.Err); wait > 0 {
			o.RetryAfter = metaTime(new(s.Clock.Now().Add(wait)))
		}
	}
	switch r.Outcome {
	case regfish.Accepted:
		o.Result = v1alpha1.OutcomeAccepted
	case regfish.Rejected:
		o.Result = v1alpha1.OutcomeRejected
		o.Final = regfish.KindOf(r.Err) == regfish.KindInvalid
	case regfish.NotSent:
		o.Result = v1alpha1.OutcomeNotSent
	default:
		o.Result = v1alpha1.OutcomeUnknown
	}
	return o
}

// record writes the outcome and the id in one write and does not return before
// that is durable: what was bought must not depend on this process living on.
func (s *Spender) record(ctx context.Context, p *v1alpha1.RegfishPurchase, number int32, o v1alpha1.Outcome, r regfish.OrderResult) *v1alpha1.RegfishPurchase {
	return s.untilDurable(ctx, p, o, r, func(live *v1alpha1.RegfishPurchase) error { return s.recordOn(ctx, live, p, number, o, r) })
}

// untilDurable writes what became of what was sent until it is written: first on p as it
// was written last, then each time on what the API server has by then.
func (s *Spender) untilDurable(ctx context.Context, p *v1alpha1.RegfishPurchase, o v1alpha1.Outcome, r regfish.OrderResult, change func(live *v1alpha1.RegfishPurchase) error) *v1alpha1.RegfishPurchase {
	for read := false; ; read = true {
		err := s.rewrite(ctx, p, read, change)
		switch {
		case err == nil:
			return p
		case apierrors.IsConflict(err), !read && apierrors.IsNotFound(err):
			// Somebody else wrote a label or a status, or deleted it: read again, apply again.
			continue
		}
		log.FromContext(ctx).Error(err, "an outcome is not recorded yet; trying again", "purchase", p.Name, "outcome", o.Result, "certificateID", regfish.Sanitise(r.Certificate.ID, 128))
		select {
		case <-time.After(recordPause):
		case <-ctx.Done():
			return p
		}
	}
}

// rewrite changes the record of p, as it is or as the API server has it, and p to what was
// written.
func (s *Spender) rewrite(ctx context.Context, p *v1alpha1.RegfishPurchase, read bool, change func(live *v1alpha1.RegfishPurchase) error) error {
	var live v1alpha1.RegfishPurchase
	var err error
	if read {
		err = s.Live.Get(ctx, client.ObjectKeyFromObject(p), &live)
	} else {
		p.DeepCopyInto(&live)
	}
	gone := apierrors.IsNotFound(err)
	switch {
	case gone:
		// Somebody deleted the record of what was sent: what it says is true all the same.
		live = v1alpha1.RegfishPurchase{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels}, Spec: *p.Spec.DeepCopy()}
	case err != nil:
		return err
	}
	before := live.DeepCopy()
	if err := change(&live); err != nil {
		return err
	}
	if gone {
		err = s.Client.Create(ctx, &live)
	} else {
		err = s.Client.Patch(ctx, &live, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}
	if err == nil {
		live.DeepCopyInto(p)
	}
	return err
}

// recordOn puts the outcome of the attempt of p with the number, and the id, on live.
func (s *Spender) recordOn(ctx context.Context, live, p *v1alpha1.RegfishPurchase, number int32, o v1alpha1.Outcome, r regfish.OrderResult) error {
	if r.Outcome == regfish.Accepted {
		held, err := s.claimed(ctx, live.Spec.Endpoint, r.Certificate.ID)
		if err != nil {
			return err
		}
		// An id that another purchase holds was not bought by this order. One that comes
		// after the purchase was given another is kept in what is said of the attempt, and
		// is reported as a duplicate once the account shows it.
		switch {
		case live.Spec.CertificateID != "" && live.Spec.CertificateID != r.Certificate.ID:
			o.Message = fmt.Sprintf("regfish named the order %s, and the purchase holds %s already", r.Certificate.ID, live.Spec.CertificateID)
			log.FromContext(ctx).Error(nil, "an order was placed beside the one that the purchase holds", "purchase", p.Name, "attempt", number, "certificateID", r.Certificate.ID, "holds", live.Spec.CertificateID)
		case held && live.Spec.CertificateID == "":
			o.Message = fmt.Sprintf("regfish named the order %s, which another purchase holds already", r.Certificate.ID)
		case live.Spec.CertificateID == "":
			live.Spec.CertificateID = r.Certificate.ID
		}
	}
	a := attemptOf(live, number)
	if a == nil {
		// A record that was restored from a backup older than the intent. Without the
		// attempt it would look as if nothing had been sent.
		live.Spec.Attempts = append(live.Spec.Attempts, *attemptOf(p, number).DeepCopy())
		a = attemptOf(live, number)
	}
	if a.Outcome == nil {
		a.Outcome = &o
	}
	return nil
}

// show writes what the answer said into the status, which saves the first look.
// It may fail: looking will tell the same.
func (s *Spender) show(ctx context.Context, issuer v1alpha1.Issuer, p *v1alpha1.RegfishPurchase, r regfish.OrderResult) {
	o := Observation{RequestLive: true, MayShow: func(u string) bool { return s.MayShow != nil && s.MayShow(issuer, u) }}
	if r.Outcome == regfish.Accepted && r.Certificate.ID == p.Spec.CertificateID {
		o.Vendor = &r.Certificate
	}
	before := p.DeepCopy()
	p.Status = Observe(p, o)
	if err := s.Client.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		log.FromContext(ctx).V(1).Info("the status of a new purchase is left to the next look", "purchase", p.Name, "reason", err.Error())
	}
}

// refusal is what the issuer's owner has to mend before another attempt. That something
// cannot be renewed or reissued is nothing to mend: something else follows.
func refusal(issuer v1alpha1.Issuer, r regfish.OrderResult, renewal bool) *credentials.Problem {
	if r.Outcome != regfish.Rejected {
		return nil
	}
	if regfish.KindOf(r.Err) == regfish.KindConflict && !renewal {
		return &credentials.Problem{Reason: v1alpha1.ReasonOrganizationRequired, Message: fmt.Sprintf("regfish cannot take an order for %s in its present state, for example because a usable organization is missing: %v", issuer.GetSpec().SKU, r.Err)}
	}
	return credentials.KeyProblem(issuer, r.Err, "order certificates")
}
