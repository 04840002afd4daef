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
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// The addresses of the cluster. Nothing leaves the machine: pods reach the API server
// through the bridge, and there is no way out.
const (
	bridge     = "rfi-cluster0"
	gateway    = "10.244.0.1"
	podCIDR    = "10.244.0.0/24"
	services   = "10.96.0.0/24"
	apiService = "10.96.0.1"
	apiPort    = "16443"
	etcdURL    = "http://127.0.0.1:12379"
	etcdPeers  = "http://127.0.0.1:12380"
	nodeName   = "node1"
	pauseImage = "registry.example.com/pause:dev"
)

// patience is what only a broken machine needs.
const patience = 3 * time.Minute

// needed are the programs that the distribution has, and the packages in which Debian has
// them.
var needed = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "runc": "runc", "buildah": "buildah", "nft": "nftables", "ip": "iproute2",
	cniPlugins + "/bridge": "containernetworking-plugins", cniPlugins + "/host-local": "containernetworking-plugins",
	"mount": "mount", "conntrack": "conntrack",
}

const cniPlugins = "/usr/lib/cni"

// node is the machine as a node of a cluster.
type node struct {
	dir, assets string
	pki         *authority
	abort       context.CancelCauseFunc
	lock        *os.File
	parts       []part
}

// part is a process of the node.
type part struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

// newNode makes sure that this machine can be a node, and takes away what an earlier run
// that was killed left of its own.
func newNode(ctx context.Context) (*node, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a node needs root on Linux; elsewhere name a cluster, such as one of kind, by E2E_KUBECONFIG")
	}
	for program, pkg := range needed {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is missing; on Debian: apt-get install --no-install-recommends %s", program, pkg)
		}
	}
	assets, err := testenv.Assets()
	if err != nil {
		return nil, err
	}
	n := &node{assets: assets, dir: filepath.Join(os.TempDir(), "regfish-issuer-cluster")}
	for _, name := range []string{"kubelet", "kube-proxy", "kube-scheduler"} {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			return nil, fmt.Errorf("%w: run `make node`", err)
		}
	}
	if n.lock, err = os.OpenFile(n.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("lock the machine: %w", err)
	}
	if err := syscall.Flock(int(n.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another cluster runs on this machine: %s.lock: %w", n.dir, err)
	}
	if _, err := os.Stat(n.dir); err == nil {
		fmt.Println("taking away what an earlier run left in", n.dir)
		if err := n.clean(ctx); err != nil {
			return nil, err
		}
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/kubepods"); len(groups) > 0 {
		return nil, fmt.Errorf("another kubelet has run on this machine: %v", groups)
	}
	for _, dir := range []string{"", "logs", "pki", "cni", "kubelet", "pod-logs"} {
		if err := os.MkdirAll(n.path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
	}
	return n, n.remember()
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// start starts everything and waits until the node is Ready.
func (n *node) start(ctx context.Context, archives []string) error {
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"certificates", func(context.Context) error { return n.certificates() }},
		{"bridge", n.makeBridge},
		{"containerd", n.startContainerd},
		{"images", func(ctx context.Context) error { return n.load(ctx, archives) }},
		{"control plane", n.startControlPlane},
		{"kubelet and kube-proxy", func(context.Context) error { return n.startNode() }},
		{"a node that is Ready", n.ready},
	} {
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Printf("  %-24s %5.1fs\n", s.what, time.Since(began).Seconds())
	}
	return nil
}

func (n *node) certificates() error {
	var err error
	if n.pki, err = newAuthority(n.path("pki")); err != nil {
		return err
	}
	_, err = n.pki.newKey("service-accounts")
	return errors.Join(err,
		n.pki.issue("apiserver", "kube-apiserver", nil, "127.0.0.1", gateway, apiService, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
		n.pki.issue("apiserver-kubelet", "kube-apiserver", []string{"system:masters"}),
		n.pki.user("admin", "admin", "system:masters"),
		n.pki.user("controller-manager", "system:kube-controller-manager"),
		n.pki.user("scheduler", "system:kube-scheduler"),
		n.pki.user("kube-proxy", "system:kube-proxy"),
		n.pki.user("kubelet", "system:node:"+nodeName, "system:nodes"),
	)
}

// makeBridge makes the bridge before the API server that advertises its address.
func (n *node) makeBridge(ctx context.Context) error {
	for _, line := range []string{
		"ip link add " + bridge + " type bridge",
		"ip address add " + gateway + "/24 dev " + bridge,
		"ip link set " + bridge + " up",
	} {
		if _, err := command(ctx, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) startContainerd(ctx context.Context) error {
	// The machine may lack CAP_SYS_RESOURCE, without which runc cannot lower an OOM score.
	config := fmt.Sprintf(`version = 2
root = %[1]q
state = %[2]q
[grpc]
  address = %[3]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[4]q
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[5]q
    conf_dir = %[6]q
`, n.path("containerd"), n.path("containerd-state"), n.socket(), pauseImage, cniPlugins, n.path("cni"))
	network := fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "cluster", "plugins": [{"type": "bridge", "bridge": %q, "isGateway": true,
"ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, bridge, n.path("addresses"), podCIDR)
	if err := errors.Join(n.write("containerd.toml", config), n.write("cni/cluster.conflist", network)); err != nil {
		return err
	}
	if err := n.run("containerd", "containerd", "--config", n.path("containerd.toml")); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		_, err := n.ctr(ctx, "version")
		return err
	})
}

func (n *node) socket() string { return n.path("containerd.sock") }

// ctr runs containerd's own client on the images and containers of Kubernetes.
func (n *node) ctr(ctx context.Context, args ...string) (string, error) {
	return command(ctx, slices.Concat([]string{"ctr", "--address", n.socket(), "--namespace", "k8s.io"}, args)...)
}

// load loads the image that holds a pod's namespaces, and those of the archives.
func (n *node) load(ctx context.Context, archives []string) error {
	archive := n.path("pause.tar")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", n.path("pause/pause"), "./pause")
	root, err := testenv.Root()
	if err != nil {
		return err
	}
	build.Dir = filepath.Join(root, "hack", "cluster")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the pause program: %w\n%s", err, out)
	}
	if err := n.write("pause/Dockerfile", "FROM scratch\nCOPY pause /pause\nUSER 65532:65532\nENTRYPOINT [\"/pause\"]\n"); err != nil {
		return err
	}
	buildah := []string{"buildah", "--root", n.path("buildah"), "--runroot", n.path("buildah-run"), "--storage-driver", "vfs"}
	if _, err := command(ctx, append(buildah, "build", "--isolation", "chroot", "--tag", pauseImage, n.path("pause"))...); err != nil {
		return err
	}
	if _, err := command(ctx, append(buildah, "push", pauseImage, "docker-archive:"+archive+":"+pauseImage)...); err != nil {
		return err
	}
	for _, a := range append([]string{archive}, archives...) {
		if _, err := n.ctr(ctx, "images", "import", a); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) startControlPlane(ctx context.Context) error {
	kubeconfig := func(user string) string { return "--kubeconfig=" + n.pki.file(user+".kubeconfig") }
	err := errors.Join(
		n.run("etcd", "etcd", "--data-dir="+n.path("etcd"), "--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
			"--listen-peer-urls="+etcdPeers, "--initial-advertise-peer-urls="+etcdPeers, "--initial-cluster=default="+etcdPeers, "--unsafe-no-fsync", "--log-level=warn"),
		n.run("kube-apiserver", "kube-apiserver", "--etcd-servers="+etcdURL, "--bind-address=0.0.0.0", "--advertise-address="+gateway, "--secure-port="+apiPort,
			"--service-cluster-ip-range="+services, "--cert-dir="+n.path("pki"),
			"--tls-cert-file="+n.pki.file("apiserver.crt"), "--tls-private-key-file="+n.pki.file("apiserver.key"), "--client-ca-file="+n.pki.file("ca.crt"),
			"--kubelet-client-certificate="+n.pki.file("apiserver-kubelet.crt"), "--kubelet-client-key="+n.pki.file("apiserver-kubelet.key"), "--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+n.pki.file("service-accounts.key"), "--service-account-signing-key-file="+n.pki.file("service-accounts.key"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged"),
	)
	if err != nil {
		return err
	}
	clients, err := n.client()
	if err != nil {
		return err
	}
	// The others end when they cannot reach it.
	err = until(ctx, func(ctx context.Context) error {
		return clients.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return err
	}
	return errors.Join(
		n.run("kube-controller-manager", "kube-controller-manager", kubeconfig("controller-manager"), "--leader-elect=false", "--secure-port=0", "--use-service-account-credentials",
			"--service-account-private-key-file="+n.pki.file("service-accounts.key"), "--root-ca-file="+n.pki.file("ca.crt")),
		n.run("kube-scheduler", "kube-scheduler", kubeconfig("scheduler"), "--leader-elect=false", "--secure-port=0"),
	)
}

func (n *node) startNode() error {
	kubelet := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]q}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: "unix://%[2]s"
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
podLogsDir: %[3]q
volumePluginDir: %[4]q
healthzPort: 0
resolvConf: ""
# How full the machine's disk is, is somebody else's business.
evictionHard: {nodefs.available: "0%%", imagefs.available: "0%%", memory.available: 50Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`, n.pki.file("ca.crt"), n.socket(), n.path("pod-logs"), n.path("volume-plugins"))
	// A pod that calls a Service would be answered by the other pod itself, past the
	// address that it called; so what is called looks as if it came from the node.
	proxy := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {masqueradeAll: true}
clusterCIDR: %[1]q
hostnameOverride: %[2]q
clientConnection: {kubeconfig: %[3]q}
conntrack: {maxPerCore: 0}
`, podCIDR, nodeName, n.pki.file("kube-proxy.kubeconfig"))
	return errors.Join(
		n.write("kubelet.yaml", kubelet),
		n.write("kube-proxy.yaml", proxy),
		n.run("kubelet", "kubelet", "--config="+n.path("kubelet.yaml"), "--kubeconfig="+n.pki.file("kubelet.kubeconfig"), "--root-dir="+n.path("kubelet"),
			"--cert-dir="+n.path("pki"), "--hostname-override="+nodeName, "--node-ip="+gateway),
		n.run("kube-proxy", "kube-proxy", "--config="+n.path("kube-proxy.yaml")),
	)
}

// client is the administrator's.
func (n *node) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", n.pki.file("admin.kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return kubernetes.NewForConfig(config)
}

func (n *node) ready(ctx context.Context) error {
	clients, err := n.client()
	if err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		found, err := clients.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range found.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", found.Status.Conditions)
	})
}

// run starts a process of the node. One that ends by itself ends the run.
func (n *node) run(name, program string, args ...string) error {
	if own := filepath.Join(n.assets, program); exists(own) {
		program = own
	}
	log, err := os.OpenFile(n.path("logs/"+name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a log: %w", err)
	}
	defer func() { _ = log.Close() }() // The process has its own copy.
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before its turn.
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := part{name: name, cmd: cmd, ended: make(chan struct{})}
	n.parts = append(n.parts, p)
	go func() {
		defer close(p.ended)
		err := cmd.Wait()
		n.abort(fmt.Errorf("%s ended by itself: %w; the end of its log:\n%s", name, err, tail(log.Name())))
	}()
	return nil
}

func (n *node) write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	return os.WriteFile(n.path(name), []byte(text), 0o600)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tail is the end of a log.
func tail(path string) string {
	const lines = 20
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// until waits until check finds nothing wrong.
func until(ctx context.Context, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// command runs a command and returns what it prints.
func command(ctx context.Context, line ...string) (string, error) {
	out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
	}
	return string(out), nil
}
