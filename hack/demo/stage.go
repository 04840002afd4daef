// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// knownKey is the one that the simulator knows.
const knownKey = "demo-key-of-the-shop"

// errEnded says that a part of the stage ended without being told to.
var errEnded = errors.New("a part of the stage ended by itself")

// A stage is where a scenario is played: a cluster with everything in it.
type stage struct {
	*screen
	shell  *shell
	broken string

	root   string // folder of the module
	assets string // folder of etcd, kube-apiserver and kubectl
	plane  *testenv.ControlPlane
	client client.Client
	clock  *testenv.Clock // by which everything goes; nil for the real one
	vendor *simulator.Server
	url    string // of the vendor

	log      string // file that the controller logs to
	logShown atomic.Bool

	abort  context.CancelCauseFunc // ends the scenario, with an errEnded
	ending []func() error          // ends each part, in the order of starting
}

func newStage(abort context.CancelCauseFunc, broken string, out io.Writer) *stage {
	return &stage{screen: &screen{out: out}, broken: broken, abort: abort}
}

// perform sets the stage and plays the scenario.
func (s *stage) perform(ctx context.Context, chosen scenario, keep bool) error {
	s.heading("The stage: " + chosen.title)
	if err := s.start(ctx, chosen); err != nil {
		return err
	}
	err := chosen.play(ctx, s)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.explain(ctx)
	}
	if keep {
		err = errors.Join(err, s.keep(ctx))
	}
	return err
}

// start starts everything.
func (s *stage) start(ctx context.Context, chosen scenario) error {
	var err error
	if s.root, err = testenv.Root(); err != nil {
		return err
	}
	if s.assets, err = testenv.Assets(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "regfish-issuer-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	s.atEnd(func() error { return os.RemoveAll(dir) })
	// The commands name the project's manifests as they are named from its root.
	if err := os.Symlink(filepath.Join(s.root, "config"), filepath.Join(dir, "config")); err != nil {
		return fmt.Errorf("link the manifests: %w", err)
	}
	s.shell = newShell(s.screen, dir, s.assets)

	if chosen.calendar {
		s.clock = &testenv.Clock{}
	}
	for _, part := range []struct {
		what  string
		start func() error
	}{
		{"build the controller", func() error { return s.build(ctx) }},
		{"etcd, kube-apiserver and kube-controller-manager", s.startControlPlane},
		{"cert-manager's own controllers", func() error { return s.startCertManager(ctx, chosen.noApprover) }},
		{"a simulator in place of regfish", s.startVendor},
	} {
		err := s.wait(part.what, part.start)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// atEnd registers how a part is ended.
func (s *stage) atEnd(end func() error) { s.ending = append(s.ending, end) }

// stop ends everything, the last first. The controller's log is kept if it was
// shown.
func (s *stage) stop() error {
	var errs []error
	for _, end := range slices.Backward(s.ending) {
		errs = append(errs, end())
	}
	if s.log != "" && !s.logShown.Load() {
		errs = append(errs, os.Remove(s.log))
	}
	return errors.Join(errs...)
}

// explain shows what a person would look at when something does not come.
func (s *stage) explain(ctx context.Context) {
	s.heading("A check failed; this is how it stands")
	for _, command := range []string{
		"kubectl get rfci,certificates,certificaterequests,regfishorders,regfishpurchases -A -o wide",
		"kubectl describe regfishorders -n shop | sed -n '/^Status:/,$p'",
	} {
		// What cannot be shown is no failure of its own.
		_ = s.shell.run(ctx, command)
	}
	if s.log == "" {
		return
	}
	s.say("the last lines of the controller's log, which is kept as %s:", s.log)
	s.output(s.showLog())
}

// keep waits for Ctrl-C and says how to look around meanwhile. It returns an error
// if a part does not wait for that.
func (s *stage) keep(ctx context.Context) error {
	s.heading("Everything goes on until you press Ctrl-C")
	s.output("export KUBECONFIG=" + filepath.Join(s.shell.dir, "kubeconfig"))
	s.output("export PATH=" + s.assets + ":$PATH")
	s.output("kubectl get rfci,certificates,certificaterequests,regfishorders -A -o wide")
	s.output("kubectl get regfishpurchases -n regfish-issuer -o wide")
	s.output("sed s/www/api/g " + filepath.Join(s.root, "config/samples/certificate.yaml") + " | kubectl apply -f -   # another certificate")
	s.say("")
	s.say("the controller logs to %s", s.log)
	<-ctx.Done()
	if cause := context.Cause(ctx); errors.Is(cause, errEnded) {
		return cause
	}
	return nil
}

// showLog returns the last lines of the controller's log.
func (s *stage) showLog() string {
	s.logShown.Store(true)
	const lines = 10
	log, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
