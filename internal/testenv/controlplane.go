// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// startTimeout bounds the start of each component. It is generous because a busy CI machine with two cores needs most of
// it, and because it only costs time when something is broken anyway.
const startTimeout = 90 * time.Second

// Options say what a control plane has besides etcd, kube-apiserver and cert-manager's CRDs.
type Options struct {
	// CRDPaths are files or folders with further CRDs. Relative paths start at the module's root.
	CRDPaths []string
	// ControllerManager also runs kube-controller-manager, so that deleted namespaces disappear, owned objects are
	// collected, quotas are counted, and roles are aggregated.
	ControllerManager bool
	// Planes is how many control planes Main starts. With one, and that is what zero means, tests share it, each in a
	// namespace of its own. With more, a test has one to itself from New until it ends, and so may change what belongs to
	// the whole cluster; tests that run in parallel wait for one that is free.
	Planes int
	// AuditLog is a file to which the API server writes a line for each request that it has answered, with who asked for
	// what, and nothing of what was in it. Empty: none.
	AuditLog string
	// AddToScheme adds the types, besides Kubernetes' and cert-manager's, that the clients of New know. May be nil.
	AddToScheme func(*runtime.Scheme) error
}

// A ControlPlane is a running Kubernetes API server with its etcd. It ends with the process that started it, however that
// process ends.
type ControlPlane struct {
	// Config is that of an administrator (system:masters).
	Config *rest.Config

	dir   string         // certificates, data and logs
	guard *exec.Cmd      // ends the components, see startGuard
	alive io.WriteCloser // the guard acts when this closes
}

// Start starts a control plane and returns when it serves all CRDs. The caller must Stop it.
func Start(opts Options) (*ControlPlane, error) {
	cp, err := newControlPlane()
	if err != nil {
		return nil, err
	}
	if err := cp.start(opts); err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return cp, nil
}

// newControlPlane returns a control plane that has a folder and a guard, and must be stopped, but does not run yet.
func newControlPlane() (*ControlPlane, error) {
	dir, err := os.MkdirTemp("", "regfish-issuer-testenv-")
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	cp := &ControlPlane{dir: dir}
	if err := cp.startGuard(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), os.RemoveAll(dir))
	}
	return cp, nil
}

func (cp *ControlPlane) start(opts Options) error {
	assets, err := Assets()
	if err != nil {
		return err
	}
	crds, err := opts.crds()
	if err != nil {
		return err
	}
	if err := cp.startAPIServer(assets, crds, opts.AuditLog); err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	if opts.ControllerManager {
		if err := cp.startControllerManager(assets); err != nil {
			return fmt.Errorf("start kube-controller-manager: %w", err)
		}
	}
	return nil
}

func (o Options) crds() ([]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	certManager, err := CertManagerCRDs()
	if err != nil {
		return nil, err
	}
	paths := []string{certManager}
	for _, path := range o.CRDPaths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Stop ends all components at once and removes their data.
func (cp *ControlPlane) Stop() error {
	if err := cp.alive.Close(); err != nil {
		return fmt.Errorf("stop control plane: %w", err)
	}
	if err := cp.guard.Wait(); err != nil {
		return fmt.Errorf("stop control plane: %w", err)
	}
	return nil
}

// WriteKubeconfig writes a kubeconfig with the administrator's rights, readable by the present user only.
func (cp *ControlPlane) WriteKubeconfig(path string) error {
	return writeKubeconfig(path, cp.Config)
}

// startGuard starts a shell that reads process ids until the pipe to it closes, then kills those processes and removes the
// data. The kernel closes the pipe when this process ends, and that is the only thing that works for a panic in some
// goroutine of a test, for a test's deadline and for Ctrl-C: none of them runs TestMain's deferred calls. Nothing is lost
// by killing, because the data is thrown away.
func (cp *ControlPlane) startGuard() error {
	cp.guard = exec.Command("/bin/sh", "-c", `pids=$(cat); [ -z "$pids" ] || kill -KILL $pids; rm -rf "$1"`, "guard", cp.dir)
	cp.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal must not reach the guard.
	alive, err := cp.guard.StdinPipe()
	if err != nil {
		return err
	}
	cp.alive = alive
	return cp.guard.Start()
}

// auditPolicy has every request logged once, when it has been answered.
const auditPolicy = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived","ResponseStarted"],"rules":[{"level":"Metadata"}]}`

func (cp *ControlPlane) startAPIServer(assets string, crds []string, auditLog string) error {
	etcdLog, err := cp.log("etcd")
	if err != nil {
		return err
	}
	defer func() { _ = etcdLog.Close() }() // The component has its own copy.
	apiLog, err := cp.log("kube-apiserver")
	if err != nil {
		return err
	}
	defer func() { _ = apiLog.Close() }()

	etcd := &envtest.Etcd{Path: filepath.Join(assets, "etcd"), DataDir: filepath.Join(cp.dir, "etcd"), Out: etcdLog, Err: etcdLog}
	etcd.Configure().Set("unsafe-no-fsync", "true").Set("log-level", "warn")
	apiServer := &envtest.APIServer{Path: filepath.Join(assets, "kube-apiserver"), CertDir: cp.dir, Out: apiLog, Err: apiLog}
	if auditLog != "" {
		policy := filepath.Join(cp.dir, "audit-policy.json")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return err
		}
		apiServer.Configure().Set("audit-policy-file", policy).Set("audit-log-path", auditLog)
	}
	env := &envtest.Environment{
		ControlPlane:             envtest.ControlPlane{Etcd: etcd, APIServer: apiServer},
		CRDDirectoryPaths:        crds,
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	config, err := env.Start()
	if err != nil {
		return errors.Join(fmt.Errorf("%w\n%s%s", err, cp.tail("etcd"), cp.tail("kube-apiserver")), env.Stop())
	}
	cp.Config = config
	if _, err := fmt.Fprintln(cp.alive, pid(etcd), pid(apiServer)); err != nil {
		return err
	}
	// Its certificates are in a folder that the guard does not know. There is no webhook.
	return env.WebhookInstallOptions.Cleanup()
}

// pid digs the id of a component's process out of envtest, which does not tell it.
func pid(component any) int64 {
	state := reflect.ValueOf(component).Elem().FieldByName("processState").Elem()
	return state.FieldByName("Cmd").Elem().FieldByName("Process").Elem().FieldByName("Pid").Int()
}

func (cp *ControlPlane) startControllerManager(assets string) error {
	kubeconfig := filepath.Join(cp.dir, "kubeconfig")
	if err := cp.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	log, err := cp.log("kube-controller-manager")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()

	manager := exec.Command(filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+kubeconfig,
		"--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller,resourcequota-controller,clusterrole-aggregation-controller",
		"--leader-elect=false",
		"--secure-port=0", // Nobody asks for its health or its metrics.
		"--kube-api-qps=500", "--kube-api-burst=1000",
	)
	manager.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	manager.Stdout, manager.Stderr = log, log
	if err := manager.Start(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(cp.alive, manager.Process.Pid); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeoutCause(context.Background(), startTimeout, fmt.Errorf("not ready within %s", startTimeout))
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	go func() { ended(fmt.Errorf("ended: %w", manager.Wait())) }()

	// It is ready when it has done something: each namespace gets a service account called default.
	clients, err := kubernetes.NewForConfig(cp.Config)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		_, err := clients.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", context.Cause(ctx), cp.tail("kube-controller-manager"))
	}
	return nil
}

func (cp *ControlPlane) log(component string) (*os.File, error) {
	return os.OpenFile(cp.logPath(component), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (cp *ControlPlane) logPath(component string) string {
	return filepath.Join(cp.dir, component+".log")
}

// tail returns the last lines a component logged, for the message of a failure.
func (cp *ControlPlane) tail(component string) string {
	const lines = 30
	log, err := os.ReadFile(cp.logPath(component))
	if err != nil {
		return fmt.Sprintf("%s: no log: %v\n", component, err)
	}
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Sprintf("last lines of %s:\n%s\n", component, strings.Join(all[max(0, len(all)-lines):], "\n"))
}
