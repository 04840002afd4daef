// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// replica is a pod of the controller, of which this program is the kubelet: the pod is
// real as far as the API server knows, and its process runs here.
type replica struct {
	ring       *ring
	name, logs string
	pod        *corev1.Pod
	number     int // of processes so far

	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	// acquired is when its process was seen to have the lease; zero: never.
	acquired time.Time
	stopped  bool
}

// start starts a process, in a new pod or in the one that there is.
func (rep *replica) start(ctx context.Context, newPod bool) error {
	r := rep.ring
	if newPod {
		if rep.pod != nil {
			if err := client.IgnoreNotFound(r.client.Delete(ctx, rep.pod, client.GracePeriodSeconds(0))); err != nil {
				return fmt.Errorf("delete pod: %w", err)
			}
		}
		rep.pod = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ledger, Name: fmt.Sprintf("%s-%d", rep.name, rep.number)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "registry.example.com/regfish-issuer:dev"}}},
		}
		if err := r.client.Create(ctx, rep.pod); err != nil {
			return fmt.Errorf("create pod: %w", err)
		}
	}
	rep.log = filepath.Join(rep.logs, fmt.Sprintf("%s-%03d.log", rep.name, rep.number))
	rep.number++
	log, err := os.Create(rep.log)
	if err != nil {
		return fmt.Errorf("make a log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(r.program, "--allowed-endpoints="+r.url, "--poll-interval=1s", "--metrics-bind-address=0", "--health-probe-bind-address=0",
		"--lease-duration="+lease.String(), "--renew-deadline=2s", "--retry-period=500ms",
		"--write-window="+writeWindow.String(), "--order-timeout="+orderTimeout.String(), "--settle-time="+settle.String())
	cmd.Env = append(os.Environ(), "KUBECONFIG="+r.kubeconfig, "POD_NAMESPACE="+ledger, "POD_NAME="+rep.pod.Name, "POD_UID="+string(rep.pod.UID), "POD_SERVICE_ACCOUNT=regfish-issuer")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before its turn.
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	rep.cmd, rep.ended, rep.acquired, rep.stopped = cmd, make(chan struct{}), time.Time{}, false
	go func(ended chan struct{}) {
		_ = cmd.Wait() // It is killed, most of the time.
		close(ended)
	}(rep.ended)
	before := rep.pod.DeepCopy()
	rep.pod.Status.Phase = corev1.PodRunning
	rep.pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "controller", RestartCount: int32(rep.number), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	if err := r.client.Status().Patch(ctx, rep.pod, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("show that the pod runs: %w", err)
	}
	return nil
}

// alive reports whether its process has not ended.
func (rep *replica) alive() bool {
	if rep.cmd == nil {
		return false
	}
	select {
	case <-rep.ended:
		return false
	default:
		return true
	}
}

func (rep *replica) signal(s syscall.Signal) {
	// One that has ended meanwhile cannot be signalled.
	_ = rep.cmd.Process.Signal(s)
	rep.stopped = s == syscall.SIGSTOP
}

// kill ends its process at once.
func (rep *replica) kill() error {
	if rep.alive() {
		rep.signal(syscall.SIGKILL)
		<-rep.ended
	}
	return nil
}

// leader returns the replica that got the lease last and whose process is alive; nil if
// there is none. The lease itself names the machine, which both share.
func (r *ring) leader() *replica {
	var leader *replica
	for _, rep := range r.replicas {
		if !rep.alive() {
			continue
		}
		if rep.acquired.IsZero() {
			text, err := os.ReadFile(rep.log)
			if err != nil || !bytes.Contains(bytes.ToLower(text), []byte("successfully acquired lease")) {
				continue
			}
			rep.acquired = time.Now()
		}
		if leader == nil || rep.acquired.After(leader.acquired) {
			leader = rep
		}
	}
	return leader
}

// awaitLeader waits until a replica leads, and starts again what ended by itself, as it
// does when it loses the lease.
func (r *ring) awaitLeader(ctx context.Context) (*replica, error) {
	deadline := time.Now().Add(time.Minute)
	for ctx.Err() == nil {
		if err := r.revive(ctx); err != nil {
			return nil, err
		}
		if l := r.leader(); l != nil && !l.stopped {
			return l, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("nobody leads after a minute; the logs are in %s", r.replicas[0].logs)
		}
		pause(ctx, 50*time.Millisecond)
	}
	return nil, context.Cause(ctx)
}

// revive starts again, in its pod, what ended by itself.
func (r *ring) revive(ctx context.Context) error {
	for _, rep := range r.replicas {
		if rep.alive() {
			continue
		}
		if text, _ := os.ReadFile(rep.log); !strings.Contains(string(text), "leader election lost") {
			return fmt.Errorf("%s ended by itself (%s); its log is %s", rep.name, rep.cmd.ProcessState, rep.log)
		}
		r.result.LeasesLost++
		if err := rep.start(ctx, false); err != nil {
			return err
		}
	}
	return nil
}

// orders is how many orders have reached the vendor.
func (r *ring) orders() int { return r.vendor.Calls()[string(simulator.EndpointOrder)] }
