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
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
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

// programs are what is measured and what it calls, as a user has them.
type programs struct{ dir, controller, simulator string }

// build builds the programs.
func build(ctx context.Context, dir string) (programs, error) {
	root, err := testenv.Root()
	if err != nil {
		return programs{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/...")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return programs{}, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return programs{dir, filepath.Join(dir, "regfish-issuer"), filepath.Join(dir, "regfish-simulator")}, nil
}

// rig is a cluster and a vendor, for one part of the bench.
type rig struct {
	programs
	dir, kubeconfig string
	logs            string // folder, which outlives the rig
	pca             string // program of the issuer for AWS Private CA, where it takes part
	audit           *audit // nil where requests are not counted
	config          *rest.Config
	client          client.WithWatch
	vendor          *vendor
	token           string // of somebody who may read metrics
	replicas        int    // so far
	ending          []func() error
}

// newRig starts a control plane and a vendor, and makes an issuer whose purchase limit
// nothing here reaches.
func (b *bench) newRig(ctx context.Context, has plane) (_ *rig, err error) {
	r := &rig{programs: b.programs, logs: filepath.Join("bin", "bench-logs", b.part)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.end())
		}
	}()
	if r.dir, err = os.MkdirTemp(b.programs.dir, "rig-"); err == nil {
		err = errors.Join(os.RemoveAll(r.logs), os.MkdirAll(r.logs, 0o700))
	}
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if err := r.startControlPlane(has); err != nil { //nolint:contextcheck // it runs until the end of the rig
		return nil, err
	}
	if r.vendor, err = startVendor(r.simulator, r.dir, r.logs); err != nil {
		return nil, err
	}
	r.atEnd(r.vendor.stop)
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ledger}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}},
		testenv.APIKeySecret(ledger, "regfish-api", simulator.DefaultKey),
		&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuer}, Spec: v1alpha1.IssuerSpec{
			APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}, URL: r.vendor.url, CABundle: r.vendor.ca, SKU: "RapidSSL",
			PurchaseLimit: v1alpha1.PurchaseLimit{Count: new(int32(100000))},
		}},
	} {
		if err := r.client.Create(ctx, o); err != nil {
			return nil, fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	if r.token, err = metricsReader(ctx, r.client); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rig) startControlPlane(has plane) error {
	options := testenv.Options{CRDPaths: []string{"config/crd/bases"}, ControllerManager: has.controllerManager}
	if has.audited {
		options.AuditLog = filepath.Join(r.dir, "audit.log")
		r.audit = &audit{path: options.AuditLog}
	}
	if has.peers {
		program, crds, err := pcaFiles()
		if err != nil {
			return err
		}
		r.pca, options.CRDPaths = program, append(options.CRDPaths, crds)
	}
	cp, err := testenv.Start(options)
	if err != nil {
		return err
	}
	r.atEnd(cp.Stop)
	r.kubeconfig = filepath.Join(r.dir, "kubeconfig")
	if err := cp.WriteKubeconfig(r.kubeconfig); err != nil {
		return err
	}
	r.config = rest.CopyConfig(cp.Config)
	r.config.QPS = -1 // The API server's own fairness limits.
	if r.client, err = client.NewWithWatch(r.config, client.Options{Scheme: operator.Scheme()}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return nil
}

func (r *rig) atEnd(do func() error) { r.ending = append(r.ending, do) }

// end ends everything, the last first.
func (r *rig) end() error {
	var errs []error
	for _, do := range slices.Backward(r.ending) {
		errs = append(errs, do())
	}
	return errors.Join(errs...)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// await waits until check says so, or fails after the given time.
func await(ctx context.Context, what string, within, every time.Duration, check func() (bool, error)) error {
	deadline := time.Now().Add(within)
	for {
		done, err := check()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case done:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%s: not within %s", what, within)
		}
		pause(ctx, every)
	}
}
