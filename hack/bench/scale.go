// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

const (
	// age of the orders under way.
	age = 4 * 24 * time.Hour
	// starts are how often a start is measured; the median counts.
	starts = 5
	// quietly has nobody be told of orders that have waited for minutes here, and for days in
	// the account.
	quietly = "--dns-patience=24h"
	// settling is how long after its start a process is asked what it has in memory.
	settling = 30 * time.Second
)

// tenThousand measures what 10,000 requests, orders and purchases that wait cost.
func (b *bench) tenThousand(ctx context.Context, r *rig) error {
	n := b.scaled(10000)
	if err := b.populate(ctx, r, n); err != nil {
		return err
	}
	alone, err := b.start(ctx, r, n)
	if err != nil {
		return err
	}
	b.figure("seen-after-cold-start", alone.seen)
	b.figure("peak-rss", alone.peak)
	b.figure("settled-rss", alone.settled)
	if err := r.foreignSecrets(ctx, b.scaled(10000)); err != nil {
		return err
	}
	secrets, err := b.start(ctx, r, n)
	if err != nil {
		return err
	}
	b.figure("peak-rss-added-by-foreign-secrets", secrets.peak-alone.peak)
	b.figure("settled-rss-added-by-foreign-secrets", secrets.settled-alone.settled)
	if err := r.foreignRequests(ctx, b.scaled(20000)); err != nil {
		return err
	}
	foreign, err := b.start(ctx, r, n)
	if err != nil {
		return err
	}
	b.figure("peak-rss-added-by-foreign-requests", foreign.peak-secrets.peak)
	b.figure("settled-rss-added-by-foreign-requests", foreign.settled-secrets.settled)
	rep, err := b.firstMinute(ctx, r)
	if err != nil {
		return err
	}
	if err := b.among(ctx, r, rep); err != nil {
		return err
	}
	return b.still(ctx, r, rep, n)
}

// populate makes n requests of Certificates whose orders wait for a DNS record. What was
// ordered stands in the ledger, as after a restore; all that follows from that is written by
// the controller.
func (b *bench) populate(ctx context.Context, r *rig, n int) error {
	began := time.Now()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	sample, err := r.sample(ctx)
	if err != nil {
		return err
	}
	if err := each(n, func(i int) error {
		name := fmt.Sprintf("%s%d", waiting, i)
		cr, _, err := r.ask(ctx, name, key)
		if err != nil {
			return err
		}
		return r.restore(ctx, sample, cr)
	}); err != nil {
		return err
	}
	fmt.Printf("  %d requests and purchases made after %.0f s\n", n, time.Since(began).Seconds())
	rep, err := r.start(ctx, append(unlimited, quietly)...)
	if err != nil {
		return err
	}
	if err := rep.sees(ctx, n); err != nil {
		return err
	}
	if err := r.rest(ctx); err != nil {
		return err
	}
	var orders v1alpha1.RegfishOrderList
	if err := r.client.List(ctx, &orders, client.InNamespace(tenant)); err != nil {
		return err
	}
	found := 0
	for _, o := range orders.Items {
		if o.Status.State == v1alpha1.StateValidating && o.Status.DCV != nil && len(o.Status.DCV.Records) > 0 {
			found++
		}
	}
	if found != n {
		return fmt.Errorf("of %d orders %d wait for a record, and not %d", len(orders.Items), found, n)
	}
	fmt.Printf("  all wait for their records after %.0f s\n", time.Since(began).Seconds())
	return rep.stop(ctx)
}

// sample has the controller buy one certificate, and returns the record of that.
func (r *rig) sample(ctx context.Context) (*v1alpha1.RegfishPurchase, error) {
	rep, err := r.start(ctx, append(unlimited, "--poll-interval=1s")...)
	if err != nil {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	if _, _, err := r.ask(ctx, "sample", nil); err != nil {
		return nil, err
	}
	key, published := client.ObjectKey{Namespace: tenant, Name: "sample"}, false
	err = await(ctx, "the sample is issued", time.Minute, 100*time.Millisecond, func() (bool, error) {
		var o v1alpha1.RegfishOrder
		if err := r.client.Get(ctx, key, &o); client.IgnoreNotFound(err) != nil {
			return false, err
		}
		if o.Status.DCV == nil || len(o.Status.DCV.Records) == 0 || published {
			return o.Status.State == v1alpha1.StateIssued, nil
		}
		published = true
		return false, r.vendor.publish(ctx, o.Status.DCV.Records[0])
	})
	if err != nil {
		return nil, err
	}
	var list v1alpha1.RegfishPurchaseList
	if err := r.client.List(ctx, &list, client.InNamespace(ledger)); err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("the sample has %d purchases", len(list.Items))
	}
	return &list.Items[0], rep.stop(ctx)
}

// restore orders for a request and makes the record of that, like the sample.
func (r *rig) restore(ctx context.Context, sample *v1alpha1.RegfishPurchase, cr *cmapi.CertificateRequest) error {
	host := hostOf(cr.Name)
	order, err := r.vendor.order(ctx, host, cr.Spec.Request, int(sample.Spec.ValidityDays))
	if err != nil {
		return err
	}
	hash := pki.NamesHash(sample.Spec.Endpoint, []string{host})
	p := &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: ledger, Name: purchase.Name(hash, 1), Labels: sample.Labels},
		Spec:       *sample.Spec.DeepCopy(),
	}
	s := &p.Spec
	s.NamesHash, s.CommonName, s.DNSNames, s.Request, s.CertificateID = hash, "", []string{host}, cr.Spec.Request, order.ID
	if sample.Spec.CommonName != "" {
		s.CommonName = host
	}
	s.Beneficiary.CertificateName, s.Beneficiary.RequestName, s.Beneficiary.RequestUID = cr.Name, cr.Name, cr.UID
	for i := range s.Attempts {
		a := &s.Attempts[i]
		a.RequestName, a.RequestUID, a.Time = cr.Name, cr.UID, metav1.NewMicroTime(a.Time.Add(-age))
		if a.Outcome != nil {
			a.Outcome.Time = metav1.NewMicroTime(a.Outcome.Time.Add(-age))
		}
	}
	if err := r.client.Create(ctx, p); err != nil {
		return fmt.Errorf("create purchase: %w", err)
	}
	p.Status = purchase.Observe(p, purchase.Observation{Vendor: order})
	if err := r.client.Status().Update(ctx, p); err != nil {
		return fmt.Errorf("show purchase: %w", err)
	}
	return nil
}

// rest waits until the controller has written nothing for a while.
func (r *rig) rest(ctx context.Context) error {
	const quiet = 10 * time.Second
	last := time.Now()
	return await(ctx, "the controller writes nothing more", 20*time.Minute, time.Second, func() (bool, error) {
		all, err := r.audit.since()
		if writes(all) > 0 {
			last = time.Now()
		}
		return time.Since(last) > quiet, err
	})
}

// foreignSecrets makes Secrets that are no business of the controller's.
func (r *rig) foreignSecrets(ctx context.Context, n int) error {
	payload := []byte(strings.Repeat("x", 7<<10))
	return each(n, func(i int) error {
		return r.client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("foreign%d", i)}, Data: map[string][]byte{"tls.crt": payload},
		})
	})
}

// foreignRequests makes requests for other issuers.
func (r *rig) foreignRequests(ctx context.Context, n int) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	csr, err := signed("foreign.example.com", key)
	if err != nil {
		return err
	}
	return each(n, func(i int) error {
		return r.client.Create(ctx, &cmapi.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("foreign%d", i)},
			Spec:       cmapi.CertificateRequestSpec{Request: csr, IssuerRef: ref("cert-manager.io", cmapi.IssuerKind, "ca")},
		})
	})
}

// started is what a start came to.
type started struct{ seen, peak, settled float64 }

// start starts the controller several times, and returns the medians.
func (b *bench) start(ctx context.Context, r *rig, n int) (started, error) {
	var seen, peak, settled []float64
	for range starts {
		rep, err := r.start(ctx, quietly)
		if err != nil {
			return started{}, err
		}
		if err := rep.sees(ctx, n); err != nil {
			return started{}, err
		}
		seen = append(seen, time.Since(rep.started).Seconds())
		pause(ctx, settling-time.Since(rep.started))
		p, s, err := rep.memory()
		if err != nil {
			return started{}, err
		}
		peak, settled = append(peak, p), append(settled, s)
		if err := rep.stop(ctx); err != nil {
			return started{}, err
		}
	}
	var rows [][]any
	for i := range seen {
		rows = append(rows, []any{seen[i], peak[i], settled[i]})
	}
	b.table("starts", []string{"all seen after s", "peak MiB", "settled MiB"}, rows...)
	return started{share(seen, .5), share(peak, .5), share(settled, .5)}, nil
}

// kinds are the controllers of the objects that there are many of, as metrics call them.
var kinds = []string{"certificaterequest", "regfishorder", "regfishpurchase"}

// sees waits until all requests, orders and purchases were reconciled once and nothing waits
// for its turn.
func (rep *replica) sees(ctx context.Context, n int) error {
	return await(ctx, "all are seen", 20*time.Minute, 250*time.Millisecond, func() (bool, error) {
		if !rep.alive() {
			return false, errors.New(rep.tail())
		}
		s, err := rep.samples(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		for _, kind := range kinds {
			done, err := s.sum("controller_runtime_reconcile_total", `controller="`+kind+`"`)
			if err != nil || int(done) < n {
				return false, err
			}
		}
		waiting, err := s.sum("workqueue_depth")
		return waiting == 0, err
	})
}

// firstMinute watches what a start costs, and leaves the process running.
func (b *bench) firstMinute(ctx context.Context, r *rig) (*replica, error) {
	if _, err := r.audit.since(); err != nil {
		return nil, err
	}
	_, before, err := r.vendor.calls(ctx)
	if err != nil {
		return nil, err
	}
	rep, err := r.start(ctx, quietly)
	if err != nil {
		return nil, err
	}
	pause(ctx, time.Minute)
	all, err := r.audit.since()
	if err != nil {
		return nil, err
	}
	_, after, err := r.vendor.calls(ctx)
	if err != nil {
		return nil, err
	}
	b.figure("writes-in-the-first-minute", float64(writes(all)))
	b.figure("vendor-calls-in-the-first-minute", float64(after-before))
	b.requests("first-minute", all, 1)
	return rep, nil
}

// among measures how long it takes from an approval to the order beside those that wait,
// until the poller has read one list for all of them, and with that list under way.
func (b *bench) among(ctx context.Context, r *rig, rep *replica) error {
	r.observe(ctx)
	approved, swept := map[string]time.Time{}, map[string]time.Time{}
	ask := func(into map[string]time.Time) error {
		name := fmt.Sprintf("among%d", len(approved)+len(swept))
		_, at, err := r.ask(ctx, name, nil)
		into[hostOf(name)] = at
		return err
	}
	lists := func() (int, int, error) {
		calls, _, err := r.vendor.calls(ctx)
		return calls[string(simulator.EndpointList)], calls[string(simulator.EndpointOrder)], err
	}
	// A list is read after eight minutes, give or take a sixth, and as the budget allows. It
	// shares that of an order, if there is one, and is none of its own then.
	const alone, longest = 6 * time.Minute, 11 * time.Minute
	for len(swept) == 0 && time.Since(rep.started) < longest {
		if time.Since(rep.started) < alone {
			_, placed, err := lists()
			if err != nil {
				return err
			}
			if err := ask(approved); err != nil {
				return err
			}
			if err := await(ctx, "the order is placed", patience, 50*time.Millisecond, func() (bool, error) {
				_, now, err := lists()
				return now > placed, err
			}); err != nil {
				return err
			}
		}
		// What is read now is for nobody's order.
		before, _, err := lists()
		if err != nil {
			return err
		}
		for quiet := time.Now(); time.Since(quiet) < 2*time.Second && len(swept) == 0; pause(ctx, 10*time.Millisecond) {
			now, _, err := lists()
			if err != nil {
				return err
			}
			for i := 0; now > before && i < 5; i++ {
				if err := ask(swept); err != nil {
					return err
				}
			}
		}
	}
	waits, err := r.untilOrdered(ctx, approved)
	if err != nil {
		return err
	}
	b.figure("approved-to-order-among-10000-p99", share(waits, .99))
	b.table("approval-to-order-among-10000", []string{"orders", "median s", "p99 s", "worst s"}, []any{len(waits), share(waits, .5), share(waits, .99), share(waits, 1)})
	if len(swept) > 0 {
		if waits, err = r.untilOrdered(ctx, swept); err != nil {
			return err
		}
		b.figure("approved-to-order-during-a-sweep", share(waits, 1))
	}
	return b.limiter(ctx, rep, "among-10000")
}

// still watches a process that has nothing to do but to wait.
func (b *bench) still(ctx context.Context, r *rig, rep *replica, n int) error {
	if err := r.rest(ctx); err != nil {
		return err
	}
	if _, err := r.audit.since(); err != nil {
		return err
	}
	_, called, err := r.vendor.calls(ctx)
	if err != nil {
		return err
	}
	before, err := cpu(rep.cmd.Process.Pid)
	if err != nil {
		return err
	}
	began := time.Now()
	for time.Since(began) < b.steady && ctx.Err() == nil {
		pause(ctx, min(time.Minute, b.steady-time.Since(began)))
		now, err := cpu(rep.cmd.Process.Pid)
		if err != nil {
			return err
		}
		fmt.Printf("  steady for %.0f s: %.2f %% of a core\n", time.Since(began).Seconds(), 100*(now-before)/time.Since(began).Seconds())
	}
	took := time.Since(began)
	after, err := cpu(rep.cmd.Process.Pid)
	if err != nil {
		return err
	}
	all, err := r.audit.since()
	if err != nil {
		return err
	}
	_, calledThen, err := r.vendor.calls(ctx)
	if err != nil {
		return err
	}
	peak, now, err := rep.memory()
	if err != nil {
		return err
	}
	b.figure("steady-lists-of-the-api-server", float64(verbs(all, "list")))
	b.figure("steady-writes-of-a-purchase", float64(writes(all))/float64(n))
	b.figure("steady-share-of-a-core", 100*(after-before)/took.Seconds())
	b.figure("steady-vendor-calls-of-a-purchase", float64(calledThen-called)/float64(n)/took.Hours())
	b.requests("steady", all, 1)
	b.table("steady-memory", []string{"peak MiB", "at the end MiB"}, []any{peak, now})
	return nil
}
