// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// TestInstall: the API server takes every object that any value makes, and has it
// afterwards.
func TestInstall(t *testing.T) {
	r := newRelease(t)
	text := strings.NewReplacer("clusterResourceNamespace: keys", "clusterResourceNamespace: "+r.Namespace, "shop", r.Namespace, "[system", "[system").Replace(everything)
	withoutIssuers, _, _ := strings.Cut(text, "issuers:")
	_, rest, _ := strings.Cut(text, "serviceAccount:")
	r.do("install", withoutIssuers+"serviceAccount:"+rest)
	r.exists()
	r.do("upgrade", text)
	r.exists()
	for _, kind := range []string{"PodMonitor", "ServiceMonitor", "RegfishIssuer", "RegfishClusterIssuer", "ValidatingAdmissionPolicyBinding"} {
		if !slices.ContainsFunc(r.manifest(), func(o *unstructured.Unstructured) bool { return o.GetKind() == kind }) {
			t.Errorf("there was no %s to install", kind)
		}
	}
	r.do("upgrade", nothing)
	r.exists()
}

// manifest is what Helm believes to have installed.
func (r *release) manifest() []*unstructured.Unstructured {
	r.t.Helper()
	out, err := helm(r.t, r.Config, "get", "manifest", r.name, "--namespace", r.namespace)
	if err != nil {
		r.t.Fatalf("helm get manifest: %v\n%s", err, out)
	}
	return objects(r.t, out)
}

// exists fails the test unless all objects of the release are in the cluster.
func (r *release) exists() {
	r.t.Helper()
	for _, o := range r.manifest() {
		if err := r.Client.Get(r.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			r.t.Errorf("%s %s: %v", o.GetKind(), client.ObjectKeyFromObject(o), err)
		}
	}
}

// TestPodSecurity: the pods are admitted where the restricted standard is enforced.
func TestPodSecurity(t *testing.T) {
	env := testenv.New(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "restricted-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := env.Client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Client.Delete(t.Context(), ns) })
	admit := func(values string) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, GenerateName: "pod-"}}
		for _, o := range render(t, values) {
			if o.GetKind() == "Deployment" {
				pod.Spec = into[appsv1.Deployment](t, o).Spec.Template.Spec
			}
		}
		return env.Client.Create(t.Context(), pod, client.DryRunAll)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "regfish-issuer"}}
	if err := env.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string]string{"default": "", "everything": strings.Replace(everything, "priorityClassName: system-cluster-critical", "", 1), "nothing": nothing} {
		if err := admit(values); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := admit("securityContext: {allowPrivilegeEscalation: true}"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("a pod that may escalate its privileges was to be refused, or the others prove nothing: %v", err)
	}
}

// purchase puts a record into the ledger, as a stand-in for one that was paid for.
func (r *release) purchase() *v1alpha1.RegfishPurchase {
	r.t.Helper()
	p := &v1alpha1.RegfishPurchase{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "0123456789abcdef-1", Labels: map[string]string{v1alpha1.LabelNamespace: "shop", "team": "shop"}},
		Spec: v1alpha1.PurchaseSpec{
			RecordVersion: 1, NamesHash: "0123456789abcdef", Number: 1, Endpoint: "https://api.regfish.com",
			IssuerRef:   v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
			Beneficiary: v1alpha1.Beneficiary{Namespace: "shop", CertificateName: "www", RequestName: "www-1", RequestUID: "u1"},
			Action:      v1alpha1.ActionNew, SKU: "RapidSSL", CommonName: "www.example.com", DNSNames: []string{"www.example.com"},
			Request: []byte("csr"), DCVMethod: v1alpha1.DCVMethodCNAME, ValidityDays: 199,
		},
	}
	if err := r.Client.Create(r.t.Context(), p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// kept fails the test unless the purchase is there as it was.
func (r *release) kept(p *v1alpha1.RegfishPurchase) {
	r.t.Helper()
	var now v1alpha1.RegfishPurchase
	if err := r.Client.Get(r.t.Context(), client.ObjectKeyFromObject(p), &now); err != nil {
		r.t.Fatalf("the ledger lost a purchase: %v", err)
	}
	if now.UID != p.UID || now.DeletionTimestamp != nil {
		r.t.Errorf("the purchase is another one, or is being deleted: %+v", now.ObjectMeta)
	}
}

// TestUninstall: the ledger stays, and whoever installs again has it.
func TestUninstall(t *testing.T) {
	r := newRelease(t)
	r.do("install", "")
	p := r.purchase()

	if out := r.do("uninstall", ""); !strings.Contains(out, "regfishpurchases.certmanager.regfish.com") {
		t.Errorf("uninstall does not say that it keeps the CRDs:\n%s", out)
	}
	r.kept(p)
	if err := r.Client.Get(t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "regfish-issuer"}, &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("the controller is still there: %v", err)
	}

	r.do("install", "")
	r.kept(p)
	r.do("uninstall", "")

	r.name = "another"
	if out, err := r.try("install", ""); err == nil || !strings.Contains(out, "release-name") {
		t.Errorf("Helm was to say that the CRDs belong to another release: %v\n%s", err, out)
	}
	r.do("install", "", "--take-ownership")
	r.kept(p)
	r.exists()
}

// TestUninstallWithCRDs: whoever says so gets rid of everything.
func TestUninstallWithCRDs(t *testing.T) {
	r := newRelease(t)
	if out := r.do("install", "crds: {keep: false}"); !strings.Contains(out, "WARNING: crds.keep is false") {
		t.Errorf("nobody warns:\n%s", out)
	}
	r.purchase()
	r.do("uninstall", "")
	r.noCRDs()
}

// TestSecondRelease: a second controller would compete for the same issuers.
func TestSecondRelease(t *testing.T) {
	r := newRelease(t)
	r.do("install", "")
	second := &release{Env: r.Env, t: t, name: "second", namespace: r.Namespace}
	if out, err := second.try("install", ""); err == nil || !strings.Contains(out, "cannot be imported into the current release") {
		t.Errorf("a second release was to be refused: %v\n%s", err, out)
	}
	r.exists()
}

// TestCRDsAreUpgraded: Helm itself never changes CRDs that are in a chart's folder of
// that name, and a controller writes fields that an old CRD drops in silence.
func TestCRDsAreUpgraded(t *testing.T) {
	r := newRelease(t)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(here())); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(old, "files", "crds", "certmanager.regfish.com_regfishpurchases.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	crd := objects(t, string(text))[0]
	properties := []string{"schema", "openAPIV3Schema", "properties", "status", "properties"}
	change := func(crd *unstructured.Unstructured, change func(map[string]any)) {
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		status, found, err := unstructured.NestedMap(versions[0].(map[string]any), properties...)
		if !found || err != nil {
			t.Fatalf("the CRD has no status: %v", err)
		}
		change(status)
		if err := unstructured.SetNestedMap(versions[0].(map[string]any), status, properties...); err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
	}
	change(crd, func(status map[string]any) { delete(status, "completionURL") })
	if text, err = yaml.Marshal(crd.Object); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	knows := func() (known bool) {
		for _, crd := range r.crds() {
			if crd.GetName() == "regfishpurchases.certmanager.regfish.com" {
				change(&crd, func(status map[string]any) { _, known = status["completionURL"] })
			}
		}
		return known
	}
	r.do("install", "", old)
	if knows() {
		t.Fatal("the old CRD knows the field, so the upgrade would prove nothing")
	}
	p := r.purchase()
	r.do("upgrade", "")
	if !knows() {
		t.Error("the CRD is still the old one")
	}
	r.kept(p)
}

// previous is this project as it was before the chart last changed: its chart, packaged,
// and its controller. In a clone without history both are this tree's.
func previous(t *testing.T) (packaged, program string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	// While a change of the chart is not committed, the last commit is the earlier one.
	commit, err := git("rev-parse", "--verify", "HEAD")
	if _, changed := git("diff", "--quiet", "HEAD", "--", chart); err == nil && changed == nil {
		if commit, err = git("log", "-1", "--format=%H", "--", chart); err == nil {
			// The commit that adds the chart has none before it.
			if before, first := git("rev-parse", "--verify", commit+"^"); first == nil {
				if _, first := git("cat-file", "-e", before+":"+chart); first == nil {
					commit = before
				}
			}
		}
	}
	dir := t.TempDir()
	if err == nil {
		_, err = git("archive", "--format=tar", "--output="+filepath.Join(dir, "tree.tar"), commit)
	}
	if err != nil {
		t.Logf("there is no earlier chart: %v", err)
		return pack(t, here(), "0.0.1"), ours(t)
	}
	t.Logf("the earlier chart and controller are those of %s", commit)
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", filepath.Join(dir, "tree.tar"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program = filepath.Join(dir, "regfish-issuer")
	if err := build(dir, program); err != nil {
		t.Fatal(err)
	}
	return pack(t, filepath.Join(dir, chart), "0.0.1"), program
}

// pack packages a chart and returns the package.
func pack(t *testing.T, source, version string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := helm(t, nil, "package", source, "--destination", dir, "--version", version, "--app-version", "v"+version)
	if err != nil {
		t.Fatalf("helm package: %v\n%s", err, out)
	}
	return filepath.Join(dir, "regfish-issuer-"+version+".tgz")
}

// TestIssuersNeedTheirCRDs: Helm's own message names neither the value nor the way out.
func TestIssuersNeedTheirCRDs(t *testing.T) {
	r := newRelease(t)
	issuer := "issuers: [{kind: RegfishClusterIssuer, name: regfish, spec: {apiKeySecretRef: {name: regfish-api}, sku: RapidSSL}}]"
	if out, err := r.try("install", issuer); err == nil || !strings.Contains(out, "Install without issuers first") {
		t.Errorf("got %v\n%s", err, out)
	}
	r.do("install", "")
	r.do("upgrade", issuer)
	r.exists()
	wrong := strings.Replace(issuer, "sku:", "product: x, sku:", 1)
	if out, err := r.try("upgrade", wrong); err == nil || !strings.Contains(out, "product") {
		t.Errorf("a field that an issuer does not have was to be refused: %v\n%s", err, out)
	}
}

// TestNotes: what Helm prints names the first thing that is missing, and only that.
func TestNotes(t *testing.T) {
	r := newRelease(t)
	image := "image: {repository: registry.example.com/ours}\n"
	approver := func(namespace string) string {
		return fmt.Sprintf("approver: {subjects: [{kind: ServiceAccount, name: cert-manager, namespace: %s}]}\n", namespace)
	}
	issuer := func(kind, namespace string) string {
		if namespace != "" {
			namespace = "namespace: " + namespace + ", "
		}
		return fmt.Sprintf("issuers: [{kind: %s, name: regfish, %sspec: {apiKeySecretRef: {name: regfish-api}, sku: RapidSSL}}]\n", kind, namespace)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "cert-manager"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "regfish-api"}, Data: map[string][]byte{"key": []byte("x")}}
	elsewhere := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "regfish-api"}, Data: map[string][]byte{"api-key": []byte("x")}}
	create := func(o client.Object) func() {
		return func() {
			if err := r.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	ready := image + approver(r.Namespace)
	steps := []struct {
		name, verb, values string
		before             func()
		says               string
	}{
		{"nobody set the image", "install", approver("nowhere"), nil, "NOT READY: The image is the placeholder"},
		{"cert-manager is not there", "upgrade", image + approver("nowhere"), r.withoutCertManager, "NOT READY: cert-manager is not installed"},
		{"the approver's account is not there", "upgrade", image + approver("nowhere"), r.withCertManager, "NOT READY: approver.subjects names the ServiceAccount cert-manager in namespace nowhere"},
		{"all is there", "upgrade", ready, create(account), "Each new Certificate that names the issuer is an order"},
		{"nobody approves on purpose", "upgrade", image + "approver: {enabled: false}\n", nil, "approver-policy, or a person"},
		{"an issuer's Secret is not there", "upgrade", ready + issuer("RegfishClusterIssuer", ""), nil, "NOT READY: RegfishClusterIssuer regfish names Secret \"regfish-api\" in namespace " + r.namespace},
		{"the Secret has another key", "upgrade", ready + issuer("RegfishClusterIssuer", ""), create(secret), "has no key \"api-key\""},
		{"a namespace's Secret is not there", "upgrade", ready + issuer("RegfishIssuer", r.Namespace), nil, "NOT READY: RegfishIssuer regfish names Secret \"regfish-api\" in namespace " + r.Namespace},
		{"a namespace did not allow it", "upgrade", ready + issuer("RegfishIssuer", r.Namespace), create(elsewhere), "add " + r.Namespace + " to issuerNamespaces"},
		{"the Secret's name is not allowed", "upgrade", ready + issuer("RegfishIssuer", r.Namespace) + "issuerNamespaces: [" + r.Namespace + "]\nsecretNames: [other]\n", nil, "secretNames does not let the controller read"},
		{"the issuer can work", "upgrade", ready + issuer("RegfishIssuer", r.Namespace) + "issuerNamespaces: [" + r.Namespace + "]\n", nil, "Everything it needs was found."},
	}
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		var args []string
		if s.verb == "upgrade" {
			// It prints the same, and what is there stays.
			args = []string{"--dry-run=server"}
		}
		out := r.do(s.verb, s.values, args...)
		if !strings.Contains(out, s.says) {
			t.Errorf("%s: want %q in:\n%s", s.name, s.says, out)
		}
		if got := strings.Count(out, "NOT READY"); got > 1 || got == 0 && strings.HasPrefix(s.says, "NOT READY") {
			t.Errorf("%s: %d things are said to be missing:\n%s", s.name, got, out)
		}
	}
	r.do("uninstall", "")
	r.deleteCRDs()
	if out := r.do("install", ready+"crds: {enabled: false}"); !strings.Contains(out, "NOT READY: The CRDs of regfish-issuer are not in the cluster") {
		t.Errorf("CRDs are missing and not said to be:\n%s", out)
	}
}

// certManagerCRD is what the chart looks for.
const certManagerCRD = "certificaterequests.cert-manager.io"

// saved is what withoutCertManager took away.
var saved *unstructured.Unstructured

// withoutCertManager makes the cluster one without cert-manager, as far as the chart
// sees it, until withCertManager or the end of the test.
func (r *release) withoutCertManager() {
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName(certManagerCRD)
	if err := r.Client.Get(r.t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
		r.t.Fatal(err)
	}
	saved = crd.DeepCopy()
	saved.SetResourceVersion("")
	saved.SetUID("")
	unstructured.RemoveNestedField(saved.Object, "status")
	r.t.Cleanup(r.withCertManager)
	if err := r.Client.Delete(r.t.Context(), crd); err != nil {
		r.t.Fatal(err)
	}
	r.served(false)
}

// withCertManager undoes it.
func (r *release) withCertManager() {
	if err := r.Client.Create(r.t.Context(), saved.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) && r.t.Context().Err() == nil {
		r.t.Fatal(err)
	}
	if r.t.Context().Err() == nil {
		r.served(true)
	}
}

// served waits until the API server serves CertificateRequests, or does not.
func (r *release) served(want bool) {
	r.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("cert-manager.io/v1")
	list.SetKind("CertificateRequestList")
	testenv.Eventually(r.t, patience, func() error {
		if err := r.Client.List(r.t.Context(), list); (err == nil) != want {
			return fmt.Errorf("served is %v: %w", !want, err)
		}
		return nil
	})
}
