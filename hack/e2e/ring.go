// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// The namespaces of the ring, and the release in one of them.
const (
	release = "regfish-issuer"
	tenant  = "e2e-shop"
	vendor  = "regfish-simulator" // config/simulator makes it
)

// apiKey is the simulator's own, and canary the part of it that is looked for where no
// key may be.
const (
	apiKey = simulator.DefaultKey
	canary = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// patience is what only a broken program needs: an order whose process was killed takes a
// minute until somebody else leads, two until it is over, and two until it is settled.
const patience = 10 * time.Minute

// ring is a cluster with everything in it.
type ring struct {
	options
	root, kubectl, helm string
	config              *rest.Config
	client              client.WithWatch
	clients             *kubernetes.Clientset

	url  string // of the simulator, as pods reach it
	logs *logs
	dns  *automation

	ending []func(context.Context) error // what takes away each part, in the order of making
	result result

	mu sync.Mutex // guards the terminal
}

// newRing finds the cluster and the programs.
func newRing(o options) (*ring, error) {
	r := &ring{options: o}
	var err error
	if r.root, err = testenv.Root(); err != nil {
		return nil, err
	}
	assets, err := testenv.Assets()
	if err != nil {
		return nil, err
	}
	r.kubectl, r.helm = filepath.Join(assets, "kubectl"), filepath.Join(r.root, "bin", "helm", "helm")
	if _, err := os.Stat(r.helm); err != nil {
		return nil, fmt.Errorf("find Helm: %w: run `make helm`", err)
	}
	if r.config, err = clientcmd.BuildConfigFromFlags("", o.kubeconfig); err != nil {
		return nil, fmt.Errorf("read E2E_KUBECONFIG: %w", err)
	}
	// cert-manager gets a copy of what it says.
	if err := rest.LoadTLSFiles(r.config); err != nil {
		return nil, fmt.Errorf("read E2E_KUBECONFIG: %w", err)
	}
	r.config.QPS = -1 // The API server says itself when it is too much.
	if r.client, err = client.NewWithWatch(r.config, client.Options{Scheme: operator.Scheme()}); err != nil {
		return nil, fmt.Errorf("reach the cluster of E2E_KUBECONFIG: %w", err)
	}
	if r.logs, err = newLogs(filepath.Join(o.out, "e2e-logs")); err != nil {
		return nil, err
	}
	if r.clients, err = kubernetes.NewForConfig(r.config); err != nil {
		return nil, fmt.Errorf("reach the cluster of E2E_KUBECONFIG: %w", err)
	}
	return r, nil
}

// step is one chapter of the run.
type step struct {
	title string
	do    func(context.Context) error
}

// play takes one step after another, and stops at the first that fails.
func (r *ring) play(ctx context.Context) error {
	if err := r.describe(ctx); err != nil {
		return err
	}
	for i, s := range r.steps() {
		r.print("\n%d. %s\n", i+1, s.title)
		began := time.Now()
		r.result.Steps = append(r.result.Steps, stepResult{Title: s.title})
		err := s.do(ctx)
		now := &r.result.Steps[i]
		now.Seconds = time.Since(began).Seconds()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			now.Failed = err.Error()
			return fmt.Errorf("%s: %w", s.title, err)
		}
		r.print("   done in %.0f s\n", now.Seconds)
	}
	return nil
}

// say tells what was seen, on the terminal and in the results.
func (r *ring) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.print("   %s\n", text)
	now := &r.result.Steps[len(r.result.Steps)-1]
	now.Seen = append(now.Seen, text)
}

func (r *ring) print(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Printf(format, args...)
}

// atEnd registers how something is taken away.
func (r *ring) atEnd(do func(context.Context) error) { r.ending = append(r.ending, do) }

// end takes everything away, the last first.
func (r *ring) end(ctx context.Context) error {
	var errs []error
	for _, do := range slices.Backward(r.ending) {
		errs = append(errs, do(ctx))
	}
	return errors.Join(errs...)
}

// until waits until check finds nothing wrong.
func (r *ring) until(ctx context.Context, what string, check func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, errors.Join(last, err))
	}
	return nil
}

// run runs a program against the cluster and returns what it prints.
func (r *ring) run(ctx context.Context, input []byte, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+r.kubeconfig, "HELM_NAMESPACE=")
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// explain shows what a person would look at when something does not come.
func (r *ring) explain(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "rfci,rfi,certificates,certificaterequests,regfishorders,regfishpurchases", "-A", "-o", "wide"},
		{"get", "events", "-A", "--field-selector=type=Warning"},
		{"logs", "-n", release, "-l", "app.kubernetes.io/name=regfish-issuer", "--tail=40", "--prefix"},
	} {
		// What cannot be shown is no failure of its own.
		out, err := r.run(ctx, nil, r.kubectl, args...)
		r.print("\n$ kubectl %s\n%s%v\n", strings.Join(args, " "), out, err)
	}
}
