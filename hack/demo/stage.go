// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// apiKey is the one that the simulator knows.
const apiKey = "demo-key-of-the-shop"

// A stage is where a scenario is played: a cluster with everything in it.
type stage struct {
	*screen
	shell  *shell
	broken string

	plane  *testenv.ControlPlane
	client client.Client
	vendor *simulator.Server
	url    string // of the vendor
	log    string // file that the controller logs to

	abort  context.CancelCauseFunc // ends the scenario when a part of the stage ends by itself
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
		s.keep(ctx)
	}
	return err
}

// start starts everything.
func (s *stage) start(ctx context.Context, chosen scenario) error {
	assets, err := testenv.Assets()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "regfish-issuer-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	s.atEnd(func() error { return os.RemoveAll(dir) })
	s.shell = newShell(s.screen, dir, assets)

	for _, part := range []struct {
		what  string
		start func() error
	}{
		{"build the controller", func() error { return s.build(ctx) }},
		{"etcd, kube-apiserver and kube-controller-manager", s.startControlPlane},
		{"cert-manager's own controllers", func() error { return s.startCertManager(ctx, chosen.noApprover) }},
		{"a simulator in place of regfish", s.startVendor},
	} {
		if err := s.wait(part.what, part.start); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *stage) atEnd(end func() error) { s.ending = append(s.ending, end) }

// stop ends everything, the last first. The controller's log is kept if the demo
// failed.
func (s *stage) stop(success bool) error {
	var errs []error
	for _, end := range slices.Backward(s.ending) {
		errs = append(errs, end())
	}
	if success && s.log != "" {
		errs = append(errs, os.Remove(s.log))
	}
	return errors.Join(errs...)
}

func (s *stage) build(ctx context.Context) error {
	root, err := testenv.Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", "bin/", "./cmd/regfish-issuer")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	return nil
}

func (s *stage) startControlPlane() error {
	plane, err := testenv.Start(testenv.Options{CRDPaths: []string{"config/crd/bases"}, ControllerManager: true})
	if err != nil {
		return err
	}
	s.atEnd(plane.Stop)
	s.plane = plane
	if s.client, err = client.New(plane.Config, client.Options{Scheme: operator.Scheme()}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return plane.WriteKubeconfig(filepath.Join(s.shell.dir, "kubeconfig"))
}

func (s *stage) startCertManager(ctx context.Context, noApprover bool) error {
	stop, err := testenv.StartCertManager(context.WithoutCancel(ctx), s.plane.Config, testenv.CertManagerOptions{NoApprover: noApprover})
	if err != nil {
		return err
	}
	s.atEnd(func() error { stop(); return nil })
	return nil
}

func (s *stage) startVendor() error {
	vendor, err := simulator.New(simulator.Options{Keys: []string{apiKey}, IssueDelay: time.Second})
	if err != nil {
		return fmt.Errorf("make simulator: %w", err)
	}
	s.atEnd(vendor.Close)
	s.vendor = vendor
	if s.url, err = vendor.Listen("127.0.0.1:0"); err != nil {
		return fmt.Errorf("start simulator: %w", err)
	}
	return nil
}

// startController starts the program that a user installs, in a process of its
// own, and aborts the demo if it ends before it is stopped.
func (s *stage) startController(ctx context.Context) error {
	root, err := testenv.Root()
	if err != nil {
		return err
	}
	log, err := os.CreateTemp("", "regfish-issuer-demo-*.log")
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	s.log = log.Name()

	// It outlives the scenario: it is stopped before what it talks to, and by SIGTERM as in a cluster.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "regfish-issuer"), //nolint:gosec // Built above.
		"--ledger-namespace=regfish-issuer", "--cluster-resource-namespace=regfish-issuer",
		"--allowed-endpoints="+s.url, "--poll-interval=1s", "--leader-elect",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(s.shell.dir, "kubeconfig"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before its turn.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		stop()
		return fmt.Errorf("start the controller: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := cmd.Wait(); ctx.Err() == nil {
			s.abort(fmt.Errorf("the controller ended by itself (%w); its log is %s:\n%s", err, s.log, s.logTail()))
		}
	}()
	s.atEnd(func() error { stop(); <-ended; return nil })
	return nil
}

// logTail returns the last lines of the controller's log.
func (s *stage) logTail() string {
	const lines = 15
	log, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// startDNS has the DNS automation start, with the rights of its own service
// account.
func (s *stage) startDNS(ctx context.Context) error {
	if s.broken == breakDNS {
		s.say("(-break=dns: the DNS automation sleeps)")
		return nil
	}
	token := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(86400))}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "dns", Name: "dns-automation"}}
	if err := s.client.SubResource("token").Create(ctx, account, &token); err != nil {
		return fmt.Errorf("get a token for the DNS automation: %w", err)
	}
	config := rest.AnonymousClientConfig(s.plane.Config)
	config.BearerToken = token.Status.Token
	orders, err := client.NewWithWatch(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	dns := &dnsAutomation{orders: orders, set: s.vendor.SetRecord, say: s.say}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := dns.run(ctx); err != nil && ctx.Err() == nil {
			s.abort(fmt.Errorf("DNS automation: %w", err))
		}
	}()
	s.atEnd(func() error { stop(); <-ended; return nil })
	return nil
}

// explain shows what a person would look at when something does not come.
func (s *stage) explain(ctx context.Context) {
	s.heading("A check failed; this is how it stands")
	for _, command := range []string{
		"kubectl get rfci,certificates,certificaterequests,regfishorders,regfishpurchases -A -o wide",
		"kubectl describe regfishorders -n shop",
		"kubectl describe regfishpurchases -n regfish-issuer",
	} {
		// What cannot be shown is no failure of its own.
		_ = s.shell.run(ctx, command)
	}
	s.say("the last lines of the controller's log, which is kept as %s:", s.log)
	s.output(s.logTail())
	s.say("")
}

// keep waits for Ctrl-C and says how to look around meanwhile.
func (s *stage) keep(ctx context.Context) {
	assets, err := testenv.Assets()
	if err != nil {
		return
	}
	s.heading("Everything goes on until you press Ctrl-C")
	s.output("export KUBECONFIG=" + filepath.Join(s.shell.dir, "kubeconfig"))
	s.output("export PATH=" + assets + ":$PATH")
	s.output("kubectl get rfci,certificates,certificaterequests,regfishorders -A")
	s.output("kubectl get regfishpurchases -n regfish-issuer -o wide")
	s.output("kubectl apply -f " + filepath.Join(s.shell.dir, "certificate.yaml") + "   # change its name first")
	s.say("")
	s.say("the controller logs to %s; the DNS automation sets whatever record an order names", s.log)
	<-ctx.Done()
	s.say("")
}
