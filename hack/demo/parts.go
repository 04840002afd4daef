// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// The parts that a stage is made of. Each registers how it is ended.

func (s *stage) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", "bin/", "./cmd/regfish-issuer")
	cmd.Dir = s.root
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
	stop, err := testenv.StartCertManager(context.WithoutCancel(ctx), s.plane.Config, testenv.CertManagerOptions{NoApprover: noApprover, Clock: s.clock})
	if err != nil {
		return err
	}
	s.atEnd(func() error { stop(); return nil })
	return nil
}

func (s *stage) startVendor() error {
	options := simulator.Options{Keys: []string{knownKey}, IssueDelay: time.Second}
	if s.clock != nil {
		options.Now = s.clock.Now
	}
	vendor, err := simulator.New(options)
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
	config, err := s.account(ctx, "regfish-issuer", "regfish-issuer")
	if err != nil {
		return err
	}
	if s.clock != nil {
		s.runController(ctx, config)
		return nil
	}
	kubeconfig := filepath.Join(s.shell.dir, "controller.kubeconfig")
	if err := (&testenv.ControlPlane{Config: config}).WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	log, err := os.CreateTemp("", "regfish-issuer-demo-*.log")
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer func() { _ = log.Close() }()
	s.log = log.Name()

	// It outlives the scenario: it is stopped before what it talks to, and by SIGTERM as in a cluster.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "bin", "regfish-issuer"),
		"--allowed-endpoints="+s.url, "--poll-interval=1s", "--leader-elect",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "POD_NAMESPACE=regfish-issuer", "POD_SERVICE_ACCOUNT=regfish-issuer")
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
		// How it ended says more than the error of the wait.
		_ = cmd.Wait()
		if ctx.Err() == nil {
			s.abort(fmt.Errorf("%w: the controller (%s); its log is %s:\n%s", errEnded, cmd.ProcessState, s.log, s.showLog()))
		}
	}()
	s.atEnd(func() error { stop(); <-ended; return nil })
	return nil
}

// runController runs the controller in this process, where it goes by the same clock as
// everything else.
func (s *stage) runController(ctx context.Context, config *rest.Config) {
	s.say("(it runs in this process, so that days can pass at once)")
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := operator.Run(ctx, operator.Options{
			REST: config, Version: "demo", LedgerNamespace: "regfish-issuer", ClusterResourceNamespace: "regfish-issuer", AllowedEndpoints: []string{s.url},
			MetricsAddress: "0", ProbeAddress: "0", Concurrency: 4, PollInterval: time.Second, WriterGrace: purchase.MinSettleTime, Clock: s.clock,
		})
		if ctx.Err() == nil {
			s.abort(fmt.Errorf("%w: the controller: %w", errEnded, err))
		}
	}()
	s.atEnd(func() error { stop(); <-ended; return nil })
}

// account returns how a service account reaches the API server, with no rights
// but those it was given.
func (s *stage) account(ctx context.Context, namespace, name string) (*rest.Config, error) {
	token := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(86400))}}
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := s.client.SubResource("token").Create(ctx, object, &token); err != nil {
		return nil, fmt.Errorf("get a token for service account %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(s.plane.Config)
	config.BearerToken = token.Status.Token
	return config, nil
}
