// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// apiKey is the key of the account, and canary the part of it that is looked for where
// no key may be.
const (
	apiKey = canary + ".0123456789abcdef"
	canary = "canary-9b1c7a"
)

// issuerName is the name of the issuers of both kinds.
const issuerName = "regfish"

// world is the chart installed, a vendor, and a tenant's namespace with an issuer of
// its own beside the cluster's.
type world struct {
	*release
	vendor *simulator.Server
	url    string
	spec   v1alpha1.IssuerSpec
	log    string // what the controllers print
}

// newWorld installs the chart. args are further arguments of the installation.
func newWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := emptyWorld(t)
	w.do("install", w.values(), args...)
	w.issuers()
	return w
}

// emptyWorld has everything but the chart and the issuers.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{release: newRelease(t), log: filepath.Join(t.TempDir(), "controller.log")}
	var err error
	if w.vendor, err = simulator.New(simulator.Options{Keys: []string{apiKey}}); err != nil {
		t.Fatal(err)
	}
	if w.url, err = w.vendor.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.vendor.Close() })
	w.spec = v1alpha1.IssuerSpec{
		APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"},
		URL:             w.url, CABundle: w.vendor.ServerCA(), SKU: "RapidSSL",
	}
	w.create(testenv.APIKeySecret(w.namespace, "regfish-api", apiKey))
	w.create(testenv.APIKeySecret(w.Namespace, "regfish-api", apiKey))
	return w
}

// issuers makes an issuer of each kind.
func (w *world) issuers() {
	w.t.Helper()
	w.create(&v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: issuerName}, Spec: w.spec})
	w.create(&v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuerName}, Spec: w.spec})
}

// values are those of an installation whose controller runs beside the API server and
// not in a pod.
func (w *world) values() string {
	return fmt.Sprintf(`
allowedEndpoints: [%q]
log: {format: text}
metrics: {enabled: false}
issuerNamespaces: [%s]
extraArgs: ["--poll-interval=1s", "--health-probe-bind-address=0"]
`, w.url, w.Namespace)
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.Client.Create(w.t.Context(), o); err != nil {
		w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

func (w *world) get(o client.Object) error {
	return w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
}

// program is the controller, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(testenv.Folder(), "regfish-issuer")
	return path, build(root, path)
})

// ours is the controller of this tree.
func ours(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build builds the controller of a tree.
func build(tree, path string) error {
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/regfish-issuer")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	return nil
}

// identity is how the controller reaches the API server: with a token of the
// ServiceAccount that its Deployment names, and nothing else.
func (w *world) identity() *rest.Config {
	w.t.Helper()
	token := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.deployment().Spec.Template.Spec.ServiceAccountName}}
	if err := w.Client.SubResource("token").Create(w.t.Context(), account, &token); err != nil {
		w.t.Fatalf("get a token: %v", err)
	}
	config := rest.AnonymousClientConfig(w.Config)
	config.BearerToken = token.Status.Token
	return config
}

func (w *world) deployment() *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "regfish-issuer"}}
	if err := w.get(d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// run starts the controller as a kubelet would: with the arguments and the environment
// that the Deployment has now, and with the token of its ServiceAccount. It ends when
// the test ends, or when stop is called, by SIGTERM; a controller that ends by itself
// or badly fails the test.
func (w *world) run() (stop func()) {
	w.t.Helper()
	return w.runProgram(ours(w.t))
}

// runProgram does that with a controller of another tree.
func (w *world) runProgram(path string) (stop func()) {
	w.t.Helper()
	kubeconfig := filepath.Join(w.t.TempDir(), "kubeconfig")
	if err := (&testenv.ControlPlane{Config: w.identity()}).WriteKubeconfig(kubeconfig); err != nil {
		w.t.Fatal(err)
	}
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	pod := w.deployment().Spec.Template.Spec
	cmd := exec.Command(path, pod.Containers[0].Args...)
	fields := map[string]string{
		"metadata.namespace": w.namespace, "metadata.name": "regfish-issuer", "metadata.uid": fmt.Sprintf("pod-%d", time.Now().UnixNano()), "spec.serviceAccountName": pod.ServiceAccountName,
	}
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "PATH=" + os.Getenv("PATH")}
	for _, e := range pod.Containers[0].Env {
		cmd.Env = append(cmd.Env, e.Name+"="+fields[e.ValueFrom.FieldRef.FieldPath])
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := <-ended; err != nil {
				w.t.Errorf("the controller ended: %v", err)
			}
			_ = log.Close()
		})
	}
	w.t.Cleanup(func() {
		stop()
		w.look()
	})
	return stop
}

// look fails the test for what the controller should not have printed.
func (w *world) look() {
	text, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	if strings.Contains(string(text), canary) {
		w.t.Error("the API key is in the log")
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "is forbidden: User") && !strings.Contains(line, "secrets") {
			w.t.Errorf("the controller tried what its role does not allow: %s", line)
		}
	}
	if w.t.Failed() {
		w.t.Logf("the controller's log:\n%s", text)
	}
}

// automateDNS is the stand-in for DNS automation: it reads nothing but the status of
// orders, and puts the records they show into the vendor's DNS.
func (w *world) automateDNS() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var orders v1alpha1.RegfishOrderList
			if err := w.Client.List(ctx, &orders); err != nil {
				continue
			}
			for _, o := range orders.Items {
				if o.Status.DCV == nil {
					continue
				}
				for _, r := range o.Status.DCV.Records {
					w.vendor.SetRecord(r.Name, r.Type, r.Value)
				}
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// issuer waits until the issuer's Ready has the reason, and returns its message.
func (w *world) issuer(i interface {
	client.Object
	v1alpha1.Issuer
}, reason string,
) (message string) {
	w.t.Helper()
	w.eventually("issuer "+i.GetName()+" is "+reason, func() error {
		if err := w.get(i); err != nil {
			return err
		}
		c := meta.FindStatusCondition(i.GetStatus().Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != reason || c.ObservedGeneration != i.GetGeneration() {
			return fmt.Errorf("conditions %+v", i.GetStatus().Conditions)
		}
		message = c.Message
		return nil
	})
	return message
}

func (w *world) namespaced() *v1alpha1.RegfishIssuer {
	return &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: issuerName}}
}

func (w *world) clusterWide() *v1alpha1.RegfishClusterIssuer {
	return &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuerName}}
}

// order waits until the order of the name satisfies check.
func (w *world) order(name, what string, check func(*v1alpha1.RegfishOrder) bool) *v1alpha1.RegfishOrder {
	w.t.Helper()
	o := &v1alpha1.RegfishOrder{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
	w.eventually("order "+name+" "+what, func() error {
		if err := w.get(o); err != nil {
			return err
		}
		if !check(o) {
			return fmt.Errorf("state %s: %s; conditions %+v", o.Status.State, o.Status.Message, o.Status.Conditions)
		}
		return nil
	})
	return o
}

func inState(s v1alpha1.State) func(*v1alpha1.RegfishOrder) bool {
	return func(o *v1alpha1.RegfishOrder) bool { return o.Status.State == s }
}

// certificate makes a Certificate for the issuer of the kind.
func (w *world) certificate(kind, name string) *cmapi.Certificate {
	w.t.Helper()
	c := testenv.Certificate(w.Namespace, name, testenv.WithIssuer(kind, issuerName), testenv.WithDNSNames(name+".example.com"))
	w.create(c)
	return c
}

// ready waits until cert-manager says that the Certificate is Ready.
func (w *world) ready(c *cmapi.Certificate) {
	w.t.Helper()
	w.eventually("certificate "+c.Name+" is Ready", func() error { return w.isReady(c) })
}

func (w *world) isReady(c *cmapi.Certificate) error {
	if err := w.get(c); err != nil {
		return err
	}
	if !apiutil.CertificateHasCondition(c, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) {
		return fmt.Errorf("certificate %s has conditions %+v", c.Name, c.Status.Conditions)
	}
	return nil
}

// purchases returns the records of the ledger.
func (w *world) purchases() []v1alpha1.RegfishPurchase {
	w.t.Helper()
	var list v1alpha1.RegfishPurchaseList
	if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// bought fails the test unless the vendor bills exactly n orders, and the ledger has
// every one of them.
func (w *world) bought(n int) {
	w.t.Helper()
	sold := w.vendor.Purchases()
	if len(sold) != n {
		w.t.Errorf("the vendor bills %d orders, want %d: %+v", len(sold), n, sold)
	}
	ids := map[string]bool{}
	for _, p := range w.purchases() {
		ids[p.Spec.CertificateID] = true
	}
	for _, s := range sold {
		if !ids[s.ID] {
			w.t.Errorf("the ledger lacks %s, which the vendor bills", s.ID)
		}
	}
}

// edit changes an object as a person with kubectl would.
func (r *release) edit(o client.Object, change func()) {
	r.t.Helper()
	if err := r.Client.Get(r.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		r.t.Fatal(err)
	}
	before := o.DeepCopyObject().(client.Object)
	change()
	if err := r.Client.Patch(r.t.Context(), o, client.MergeFrom(before)); err != nil {
		r.t.Fatal(err)
	}
}

// bind gives a user a role in a namespace.
func (r *release) bind(namespace, user, kind, role string) {
	r.t.Helper()
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if err := r.Client.Create(r.t.Context(), b); err != nil {
		r.t.Fatal(err)
	}
}

// kubectl runs kubectl as an administrator.
func (r *release) kubectl(args ...string) string {
	r.t.Helper()
	assets, err := testenv.Assets()
	if err != nil {
		r.t.Fatal(err)
	}
	kubeconfig := filepath.Join(r.t.TempDir(), "kubeconfig")
	if err := (&testenv.ControlPlane{Config: r.Config}).WriteKubeconfig(kubeconfig); err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.CommandContext(r.t.Context(), filepath.Join(assets, "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// freePort returns a port on which nobody listens.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}
