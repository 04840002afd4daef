// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// process is a program that runs beside the bench until the rig ends.
type process struct {
	cmd     *exec.Cmd
	log     string
	started time.Time
	ended   chan struct{}
}

// launch starts a program on the rig's cluster. What it says goes to the log of the name.
func (r *rig) launch(program, name string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), log: filepath.Join(r.logs, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer log.Close()
	// What the shell of whoever runs the bench says of AWS would lead to AWS.
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "AWS_") }), "KUBECONFIG="+r.kubeconfig)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before its turn.
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // It is killed, some of the time.
		close(p.ended)
	}()
	r.atEnd(func() error { p.kill(); return nil })
	return p, nil
}

// replica is a process of the controller. Its pod is real as far as the API server knows.
type replica struct {
	*process
	rig *rig
	// metrics and probes are addresses.
	metrics, probes string
}

// start starts a controller with the defaults and the flags.
func (r *rig) start(ctx context.Context, flags ...string) (*replica, error) {
	r.replicas++
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ledger, Name: fmt.Sprintf("regfish-issuer-%d", r.replicas)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "registry.example.com/regfish-issuer:dev"}}},
	}
	if err := r.client.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("create pod: %w", err)
	}
	rep := &replica{rig: r}
	for _, address := range []*string{&rep.metrics, &rep.probes} {
		var err error
		if *address, err = free(); err != nil {
			return nil, err
		}
	}
	var err error
	rep.process, err = r.launch(r.controller, pod.Name,
		[]string{"POD_NAMESPACE=" + ledger, "POD_NAME=" + pod.Name, "POD_UID=" + string(pod.UID), "POD_SERVICE_ACCOUNT=regfish-issuer"},
		append([]string{"--allowed-endpoints=" + r.vendor.url, "--metrics-bind-address=" + rep.metrics, "--health-probe-bind-address=" + rep.probes}, flags...)...)
	return rep, err
}

// free returns an address that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // One that has ended cannot be killed.
	<-p.ended
}

// stop ends the process as a kubelet does, and waits for it.
func (p *process) stop(ctx context.Context) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // One that has ended is what was asked for.
	return await(ctx, "stop the controller", 2*time.Minute, 5*time.Millisecond, func() (bool, error) { return !p.alive(), nil })
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// leads waits until the process leads.
func (rep *replica) leads(ctx context.Context) error {
	return await(ctx, "lead", 2*time.Minute, 20*time.Millisecond, func() (bool, error) {
		if !rep.alive() {
			return false, fmt.Errorf("the controller ended: %s", rep.tail())
		}
		return rep.leading(), nil
	})
}

// ready reports whether the process says that it can take over.
func (rep *replica) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+rep.probes+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := scraper.Do(req)
	if err != nil {
		return false // It does not listen yet.
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (rep *replica) leading() bool {
	text, err := os.ReadFile(rep.log)
	return err == nil && bytes.Contains(bytes.ToLower(text), []byte("successfully acquired lease"))
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// cpu is the time that a process has used, in seconds.
func cpu(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const ticks = 100 // a second, on Linux
	// The name of the program, in parentheses, may have spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	sum := 0.0
	for _, i := range []int{11, 12} { // utime and stime
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return 0, err
		}
		sum += n / ticks
	}
	return sum, nil
}

// memory returns the peak of what the process had in memory, and what it has now, in MiB.
func (rep *replica) memory() (peak, now float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", rep.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		name, value, _ := strings.Cut(line, ":")
		var kib float64
		if name != "VmHWM" && name != "VmRSS" {
			continue
		}
		if _, err := fmt.Sscan(value, &kib); err != nil {
			return 0, 0, err
		}
		if name == "VmHWM" {
			peak = kib / 1024
		} else {
			now = kib / 1024
		}
	}
	return peak, now, nil
}

// metricsReader makes a ServiceAccount that may read metrics, and returns its token.
func metricsReader(ctx context.Context, c client.Client) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "prometheus"}}
	for _, o := range []client.Object{account,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "metrics"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: tenant, Name: account.Name}},
		},
	} {
		if err := c.Create(ctx, o); err != nil {
			return "", fmt.Errorf("create %T: %w", o, err)
		}
	}
	request := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3 * 3600))}}
	if err := c.SubResource("token").Create(ctx, account, &request); err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	return request.Status.Token, nil
}

// scraper reads metrics of endpoints whose certificates nobody signed.
var scraper = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// samples are the lines of a scrape.
type samples []string

func (rep *replica) samples(ctx context.Context) (samples, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+rep.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+rep.rig.token)
	resp, err := scraper.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return strings.Split(string(body), "\n"), nil
}

// sum is the sum of the samples of a metric whose labels contain all the texts.
func (s samples) sum(name string, labels ...string) (float64, error) {
	sum := 0.0
next:
	for _, line := range s {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (!strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ")) {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue next
			}
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("read metrics: %w", err)
		}
		sum += value
	}
	return sum, nil
}

// childrenOf are the processes that a process started, by the names of their programs.
func childrenOf(pid int) (map[string]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // It ended just now.
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		var id, parent int
		var state string
		if _, err := fmt.Sscan(string(text[:open]), &id); err != nil {
			return nil, err
		}
		if _, err := fmt.Sscan(string(text[end+1:]), &state, &parent); err != nil {
			return nil, err
		}
		if parent == pid {
			found[string(text[open+1:end])] = id
		}
	}
	return found, nil
}
