// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// unlimited lifts the limit of calls.
var unlimited = []string{"--vendor-rate=10000", "--vendor-burst=10000"}

// patience bounds what is waited for.
const patience = 10 * time.Minute

// ready waits until the issuer can be used.
func (r *rig) ready(ctx context.Context) error {
	return await(ctx, "the issuer is Ready", time.Minute, 50*time.Millisecond, func() (bool, error) {
		var i v1alpha1.RegfishClusterIssuer
		err := r.client.Get(ctx, client.ObjectKey{Name: issuer}, &i)
		return meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionReady), err
	})
}

// idle measures how long it takes from the approval of a request until its order arrives at
// the vendor, while nothing else goes on.
func (b *bench) idle(ctx context.Context, r *rig) error {
	rep, err := r.start(ctx, unlimited...)
	if err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	r.observe(ctx)
	n := b.scaled(200)
	approved := map[string]time.Time{}
	for i := range n {
		name := fmt.Sprintf("idle%d", i)
		_, at, err := r.ask(ctx, name, nil)
		if err != nil {
			return err
		}
		approved[hostOf(name)] = at
		pause(ctx, 150*time.Millisecond)
	}
	waits, err := r.untilOrdered(ctx, approved)
	if err != nil {
		return err
	}
	b.figure("approved-to-order-idle-p99", share(waits, .99))
	b.table("approval-to-order-idle", []string{"median s", "p99 s", "worst s"}, []any{share(waits, .5), share(waits, .99), share(waits, 1)})
	return b.limiter(ctx, rep, "idle")
}

// untilOrdered waits until all hosts were ordered, and returns how long each took.
func (r *rig) untilOrdered(ctx context.Context, approved map[string]time.Time) (waits []float64, err error) {
	var sold map[string]time.Time
	err = await(ctx, "all are ordered", patience, time.Second, func() (bool, error) {
		if sold, err = r.vendor.sold(ctx); err != nil {
			return false, err
		}
		for host := range approved {
			if _, ok := sold[host]; !ok {
				return false, nil
			}
		}
		return true, nil
	})
	for host, at := range approved {
		waits = append(waits, sold[host].Sub(at).Seconds())
	}
	return waits, err
}

// limiter shows how long calls waited for their turn.
func (b *bench) limiter(ctx context.Context, rep *replica, when string) error {
	s, err := rep.samples(ctx)
	if err != nil {
		return err
	}
	sum, err := s.sum("regfish_vendor_wait_seconds_sum")
	if err != nil {
		return err
	}
	count, err := s.sum("regfish_vendor_wait_seconds_count")
	if err != nil {
		return err
	}
	b.table("limiter-"+when, []string{"calls", "s waited by all of them"}, []any{count, sum})
	return nil
}

// burst measures 500 requests at once, with a limit of 20 calls a second.
func (b *bench) burst(ctx context.Context, r *rig) error {
	if _, err := r.start(ctx, "--vendor-rate=20"); err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	d := r.observe(ctx)
	if _, err := r.audit.since(); err != nil {
		return err
	}
	n := b.scaled(500)
	began := time.Now()
	if err := each(n, func(i int) error {
		_, _, err := r.ask(ctx, fmt.Sprintf("burst%d", i), nil)
		return err
	}); err != nil {
		return err
	}
	if err := await(ctx, "all are published", patience, 250*time.Millisecond, func() (bool, error) { return d.count(stepPublished) == n, nil }); err != nil {
		return err
	}
	// What is still written of the last ones belongs to them.
	pause(ctx, 5*time.Second)
	asked, err := r.audit.since()
	if err != nil {
		return err
	}
	sold, err := r.vendor.sold(ctx)
	if err != nil {
		return err
	}
	ordered, published := 0.0, 0.0
	valid, out := d.of(stepValidated), d.of(stepPublished)
	for _, at := range sold {
		ordered = max(ordered, at.Sub(began).Seconds())
	}
	for name, at := range out {
		published = max(published, at.Sub(valid[name]).Seconds())
	}
	b.figure("burst-ordered-after", ordered)
	b.figure("burst-published-after-issue", published)
	b.figure("writes-per-certificate", float64(writes(asked))/float64(n))
	b.requests("writes-of-a-certificate", asked, n)
	return b.calls(ctx, r, "vendor-calls-of-a-certificate", n)
}

// calls shows what the vendor was asked for, for each of n certificates.
func (b *bench) calls(ctx context.Context, r *rig, name string, n int) error {
	calls, sum, err := r.vendor.calls(ctx)
	if err != nil {
		return err
	}
	rows := [][]any{{"all", float64(sum) / float64(n)}}
	for _, e := range sorted(calls) {
		rows = append(rows, []any{e, float64(calls[e]) / float64(n)})
	}
	b.table(name, []string{"call", "for each certificate"}, rows...)
	return nil
}

const (
	// namespaces are how many the Certificates are in: cert-manager goes through all requests
	// of a namespace for each of its Certificates.
	namespaces = 20
	// rounds are how often all issuers are measured, in turns; the median counts.
	rounds = 5
)

func namespaceOf(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i%namespaces) }

// throughput measures how long 500 Certificates take, with cert-manager's own CA issuer, with
// the controller and no limit of calls, and with another external issuer. Each round has a rig
// of its own: what one leaves behind slows the next one down.
func (b *bench) throughput(ctx context.Context) error {
	seconds := map[string][]float64{}
	var ratios []float64
	var errs []error
	for i := 0; i < rounds && ctx.Err() == nil; i++ {
		// Whoever counts requests slows them down.
		errs = append(errs, real(func(b *bench, ctx context.Context, r *rig) error {
			took, err := b.round(ctx, r, i)
			for by, s := range took {
				seconds[by] = append(seconds[by], s)
			}
			// The issuer that comes last has no bar, and spoils none.
			if took[byOwn] > 0 {
				ratios = append(ratios, took[byCA]/took[byOwn])
			}
			return err
		}, plane{controllerManager: true, peers: true})(b, ctx))
	}
	if len(ratios) == 0 {
		return errors.Join(errs...)
	}
	n := float64(b.scaled(500))
	var rows [][]any
	for _, by := range []string{byCA, byOwn, byPCA} {
		if took := seconds[by]; len(took) > 0 {
			rows = append(rows, []any{by, share(took, .5), n / share(took, .5)})
		}
	}
	b.table("certificates-by-issuer", []string{"issuer", "s", "in a second"}, rows...)
	b.table("throughput-ratios", []string{"least", "median", "most"}, []any{share(ratios, 0), share(ratios, .5), share(ratios, 1)})
	b.figure("throughput-ratio", share(ratios, .5))
	return errors.Join(errs...)
}

// The issuers of throughput.
const (
	byCA  = "cert-manager's CA issuer"
	byOwn = "this one"
	byPCA = "aws-privateca-issuer"
)

// round is one round of throughput. It returns how long each issuer took, in seconds, as far as
// it came. The other external issuer comes last, when the controller has ended, and is started
// for its turn only: it watches all requests, and would take part in what goes before.
func (b *bench) round(ctx context.Context, r *rig, i int) (map[string]float64, error) {
	took := map[string]float64{}
	ca, err := newAuthority()
	if err != nil {
		return took, err
	}
	if err := r.certificateAuthority(ctx, ca); err != nil {
		return took, err
	}
	stop, err := testenv.StartCertManager(ctx, r.config, testenv.CertManagerOptions{CA: true, SharedInformers: true})
	if err != nil {
		return took, err
	}
	r.atEnd(func() error { stop(); return nil })
	own, err := r.start(ctx, append(unlimited, "--poll-interval=2s")...)
	if err != nil {
		return took, err
	}
	if err := r.ready(ctx); err != nil {
		return took, err
	}
	d, n := r.observe(ctx), b.scaled(500)
	issue := func(by, prefix string, ref cmmeta.IssuerReference, controller *process) error {
		s, err := b.certificates(ctx, r, d, fmt.Sprintf("%s%d", prefix, i), n, ref, controller)
		if err == nil {
			took[by] = s
		}
		return err
	}
	if err := issue(byCA, "ca", ref("cert-manager.io", cmapi.ClusterIssuerKind, "ca"), own.process); err != nil {
		return took, err
	}
	if err := issue(byOwn, "own", ref(v1alpha1.Group, v1alpha1.KindClusterIssuer, issuer), own.process); err != nil {
		return took, err
	}
	if err := errors.Join(b.reconciles(ctx, own, fmt.Sprintf("own%d", i), n), b.calls(ctx, r, fmt.Sprintf("vendor-calls-of-own%d", i), n), own.stop(ctx)); err != nil {
		return took, err
	}
	pca, err := r.startPCA(ctx, ca)
	if err != nil {
		return took, err
	}
	return took, issue(byPCA, "pca", ref(pcaGroup, pcaKind, "pca"), pca)
}

// reconciles shows how often the controllers worked on each of n certificates.
func (b *bench) reconciles(ctx context.Context, rep *replica, prefix string, n int) error {
	s, err := rep.samples(ctx)
	if err != nil {
		return err
	}
	var rows [][]any
	for _, kind := range kinds {
		times, err := s.sum("controller_runtime_reconcile_total", `controller="`+kind+`"`)
		if err != nil {
			return err
		}
		took, err := s.sum("controller_runtime_reconcile_time_seconds_sum", `controller="`+kind+`"`)
		if err != nil {
			return err
		}
		rows = append(rows, []any{kind, times / float64(n), took / float64(n)})
	}
	b.table("reconciles-of-"+prefix, []string{"controller", "times", "s"}, rows...)
	return nil
}

// certificates makes n Certificates at once, waits until they are ready, and says where the
// time went. It returns the seconds.
func (b *bench) certificates(ctx context.Context, r *rig, d *diary, prefix string, n int, by cmmeta.IssuerReference, controller *process) (float64, error) {
	for i := range namespaces {
		if err := r.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(prefix, i)}}); err != nil {
			return 0, fmt.Errorf("create namespace: %w", err)
		}
	}
	processes, err := r.processes(controller)
	if err != nil {
		return 0, err
	}
	if err := quiet(ctx, processes); err != nil {
		return 0, err
	}
	before, err := used(processes)
	if err != nil {
		return 0, err
	}
	ready, began := d.count(stepReady), time.Now()
	if err := each(n, func(i int) error {
		name := fmt.Sprintf("%s-%d", prefix, i)
		return r.client.Create(ctx, &cmapi.Certificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(prefix, i), Name: name},
			Spec: cmapi.CertificateSpec{
				SecretName: name, DNSNames: []string{hostOf(name)}, IssuerRef: by,
				PrivateKey: &cmapi.CertificatePrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256},
			},
		})
	}); err != nil {
		return 0, fmt.Errorf("create Certificates: %w", err)
	}
	if err := await(ctx, "all Certificates are ready", patience, 50*time.Millisecond, func() (bool, error) { return d.count(stepReady) == ready+n, nil }); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	after, err := used(processes)
	if err != nil {
		return 0, err
	}
	var rows [][]any
	for _, name := range sorted(processes) {
		rows = append(rows, []any{name, after[name] - before[name]})
	}
	b.table("cpu-of-"+prefix, []string{"process", "CPU s"}, append(rows, []any{"wall time", took})...)
	sold, err := r.vendor.sold(ctx)
	if err != nil {
		return 0, err
	}
	rows = nil
	for _, step := range []string{stepAsked, stepApproved, stepOrdered, stepValidated, stepPublished, stepReady} {
		times := d.of(step)
		if step == stepOrdered {
			times = sold
		}
		var after []float64
		for _, at := range times {
			if at.After(began) {
				after = append(after, at.Sub(began).Seconds())
			}
		}
		if len(after) > 0 {
			rows = append(rows, []any{step, share(after, 0), share(after, .5), share(after, 1)})
		}
	}
	b.table("steps-of-"+prefix, []string{"step", "first after s", "half after s", "all after s"}, rows...)
	return took, nil
}

// quiet waits until the processes have nothing to do: cert-manager goes on for seconds after
// the last Certificate is Ready, which is none of the next issuer's time.
func quiet(ctx context.Context, processes map[string]int) error {
	const tenth = .1 // of a core
	before := math.Inf(-1)
	return await(ctx, "what went before is done", patience, time.Second, func() (bool, error) {
		times, err := used(processes)
		sum := 0.0
		for _, t := range times {
			sum += t
		}
		idle := sum-before < tenth
		before = sum
		return idle, err
	})
}

// processes are those that take part, by what they are.
func (r *rig) processes(controller *process) (map[string]int, error) {
	found := map[string]int{"bench with cert-manager": os.Getpid(), "simulator": r.vendor.cmd.Process.Pid, "controller": controller.cmd.Process.Pid}
	children, err := childrenOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	for name, pid := range children {
		if name == "etcd" || name == "kube-apiserver" {
			found[name] = pid
		}
	}
	return found, nil
}

// used is the CPU time of processes.
func used(processes map[string]int) (map[string]float64, error) {
	times := map[string]float64{}
	for name, pid := range processes {
		t, err := cpu(pid)
		if err != nil {
			return nil, err
		}
		times[name] = t
	}
	return times, nil
}
