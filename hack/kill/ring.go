// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// The namespaces and the issuer.
const (
	ledger = "regfish-issuer"
	tenant = "shop"
	issuer = "regfish"
)

// The times of the controller. What the simulator delays stays inside them.
const (
	lease        = 3 * time.Second
	writeWindow  = time.Second
	orderTimeout = 3 * time.Second
	settle       = 5 * time.Second
)

// ring is a cluster, a vendor and two replicas.
type ring struct {
	rounds int
	seed   uint64
	out    string

	root, kubeconfig, program string
	client                    client.WithWatch
	vendor                    *simulator.Server
	url                       string
	replicas                  []*replica
	requests                  []*request

	ending []func() error
	result result
}

// start starts everything.
func (r *ring) start(ctx context.Context) error {
	var err error
	if r.root, err = testenv.Root(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "regfish-issuer-kill-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	r.atEnd(func() error { return os.RemoveAll(dir) })
	r.program, r.kubeconfig = filepath.Join(dir, "regfish-issuer"), filepath.Join(dir, "kubeconfig")
	build := exec.CommandContext(ctx, "go", "build", "-o", r.program, "./cmd/regfish-issuer")
	build.Dir = r.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	logs := filepath.Join(r.out, "kill-logs")
	if err := errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o700)); err != nil {
		return fmt.Errorf("make a folder for logs: %w", err)
	}
	for _, start := range []func() error{r.startControlPlane, r.startVendor} {
		if err := start(); err != nil {
			return err
		}
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ledger}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}},
		testenv.APIKeySecret(ledger, "regfish-api", simulator.DefaultKey),
		&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuer}, Spec: v1alpha1.IssuerSpec{
			APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}, URL: r.url, CABundle: r.vendor.ServerCA(), SKU: "RapidSSL",
			PurchaseLimit: v1alpha1.PurchaseLimit{Count: new(int32(100000))},
		}},
	} {
		if err := r.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	for i := range 2 {
		rep := &replica{ring: r, name: fmt.Sprintf("replica-%d", i), logs: logs}
		r.replicas = append(r.replicas, rep)
		r.atEnd(rep.kill)
		if err := rep.start(ctx, true); err != nil {
			return err
		}
	}
	r.automateDNS(ctx)
	return nil
}

func (r *ring) startControlPlane() error {
	plane, err := testenv.Start(testenv.Options{CRDPaths: []string{"config/crd/bases"}, ControllerManager: true})
	if err != nil {
		return err
	}
	r.atEnd(plane.Stop)
	if err := plane.WriteKubeconfig(r.kubeconfig); err != nil {
		return err
	}
	if r.client, err = client.NewWithWatch(plane.Config, client.Options{Scheme: operator.Scheme()}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return nil
}

func (r *ring) startVendor() error {
	var err error
	if r.vendor, err = simulator.New(simulator.Options{}); err != nil {
		return fmt.Errorf("make simulator: %w", err)
	}
	r.atEnd(r.vendor.Close)
	if r.url, err = r.vendor.Listen("127.0.0.1:0"); err != nil {
		return fmt.Errorf("start simulator: %w", err)
	}
	return nil
}

func (r *ring) atEnd(do func() error) { r.ending = append(r.ending, do) }

// end ends everything, the last first.
func (r *ring) end() error {
	var errs []error
	for _, do := range slices.Backward(r.ending) {
		errs = append(errs, do())
	}
	return errors.Join(errs...)
}

// automateDNS is the stand-in for DNS automation: it reads nothing but the status of
// orders.
func (r *ring) automateDNS(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			var orders v1alpha1.RegfishOrderList
			if err := r.client.List(ctx, &orders, client.InNamespace(tenant)); err == nil {
				for _, o := range orders.Items {
					if o.Status.DCV == nil {
						continue
					}
					for _, record := range o.Status.DCV.Records {
						r.vendor.SetRecord(record.Name, record.Type, record.Value)
					}
				}
			}
			pause(ctx, 500*time.Millisecond)
		}
	})
	r.atEnd(func() error { stop(); running.Wait(); return nil })
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
