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
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// The CRDs of this project are not among those that are there from the start: the
// chart brings them.
func TestMain(m *testing.M) {
	crds, err := monitoringCRDs()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testenv.Main(m, testenv.Options{CRDPaths: crds, ControllerManager: true, Planes: 2, AddToScheme: v1alpha1.AddToScheme})
}

// patience is what only a broken program needs.
const patience = 2 * time.Minute

// root is the module's folder, seen from this package's.
const root = "../.."

// monitoringCRDs are the CRDs of the Prometheus operator that the chart has objects of.
func monitoringCRDs() ([]string, error) {
	dir, err := testenv.ModuleDir("hack/helm", "github.com/prometheus-operator/prometheus-operator")
	if err != nil {
		return nil, fmt.Errorf("find the CRDs of the Prometheus operator: %w: run `make helm`", err)
	}
	var paths []string
	for _, plural := range []string{"servicemonitors", "podmonitors"} {
		paths = append(paths, filepath.Join(dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+plural+".yaml"))
	}
	return paths, nil
}

// helm runs Helm and returns what it prints, both ways. config may be nil: then there
// is no cluster.
func helm(t *testing.T, config *rest.Config, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	path, err := filepath.Abs(filepath.Join(root, "bin", "helm", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find Helm: %v: run `make helm`", err)
	}
	kubeconfig := filepath.Join(home, "kubeconfig")
	if config != nil {
		if err := (&testenv.ControlPlane{Config: config}).WriteKubeconfig(kubeconfig); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, args...) // Also after the test, to clean up.
	// Helm remembers for ten minutes which kinds a cluster has; tests remove kinds.
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home,
		"KUBECACHEDIR="+home, "KUBECONFIG="+kubeconfig, "HELM_NAMESPACE=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// values writes values to a file and returns the arguments that name it.
func values(t *testing.T, text string) []string {
	t.Helper()
	// The test's own folder may have a comma in its name, which Helm takes for a list.
	dir, err := os.MkdirTemp("", "values-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--values", path}
}

// here is the chart of this tree.
func here() string { return filepath.Join(root, chart) }

// render returns what the chart makes of the values, without a cluster.
func render(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, nil, append([]string{"template", "regfish-issuer", here(), "--namespace", "regfish-issuer"}, values(t, text)...)...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	return objects(t, out)
}

// objects reads YAML as the API server would.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, document := range strings.Split("\n"+text, "\n---") {
		var content map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &content); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if len(content) > 0 {
			found = append(found, &unstructured.Unstructured{Object: content})
		}
	}
	if len(found) == 0 {
		t.Fatalf("no object in %q", text)
	}
	return found
}

// into reads an object as the type it is of.
func into[T any](t *testing.T, o *unstructured.Unstructured) *T {
	t.Helper()
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return typed
}

// release is an installation of the chart.
type release struct {
	*testenv.Env
	t         *testing.T
	name      string
	namespace string
}

// newRelease prepares an installation in a namespace of its own, and removes it, CRDs
// and all, when the test ends. The test has a cluster to itself, beside another that runs
// at the same time.
func newRelease(t *testing.T) *release {
	t.Helper()
	t.Parallel()
	env := testenv.New(t)
	r := &release{Env: env, t: t, name: "regfish-issuer", namespace: testenv.Namespace(t, env.Client)}
	t.Cleanup(r.wipe)
	return r
}

// wipe leaves nothing to the next test.
func (r *release) wipe() {
	if out, err := helm(r.t, r.Config, "uninstall", r.name, "--namespace", r.namespace, "--ignore-not-found"); err != nil {
		r.t.Errorf("helm uninstall: %v\n%s", err, out)
	}
	r.deleteCRDs()
}

// deleteCRDs deletes the CRDs of this project, with whatever there is of their kinds.
func (r *release) deleteCRDs() {
	r.t.Helper()
	for _, crd := range r.crds() {
		if err := client.IgnoreNotFound(r.Client.Delete(context.Background(), &crd)); err != nil {
			r.t.Errorf("delete %s: %v", crd.GetName(), err)
		}
	}
	r.noCRDs()
}

// noCRDs waits until the CRDs that are being deleted are gone.
func (r *release) noCRDs() {
	r.t.Helper()
	testenv.Eventually(r.t, patience, func() error {
		left := []error{}
		for _, crd := range r.crds() {
			conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
			if strings.Contains(fmt.Sprint(conditions), "InstanceDeletionFailed") {
				// The API server was not ready to look for instances of a kind so young, and
				// would look again after minutes: a change makes it look now.
				again := fmt.Appendf(nil, `{"metadata":{"annotations":{"test/again":"%d"}}}`, time.Now().UnixNano())
				left = append(left, client.IgnoreNotFound(r.Client.Patch(context.Background(), &crd, client.RawPatch(types.MergePatchType, again))))
			}
			left = append(left, fmt.Errorf("%s is still there, deleted at %v: %v", crd.GetName(), crd.GetDeletionTimestamp(), conditions))
		}
		return errors.Join(left...)
	})
}

// crds are the CRDs of this project in the cluster.
func (r *release) crds() []unstructured.Unstructured {
	r.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("apiextensions.k8s.io/v1")
	list.SetKind("CustomResourceDefinitionList")
	if err := r.Client.List(context.Background(), list); err != nil {
		r.t.Fatal(err)
	}
	var ours []unstructured.Unstructured
	for _, crd := range list.Items {
		if group, _, _ := unstructured.NestedString(crd.Object, "spec", "group"); group == v1alpha1.Group {
			ours = append(ours, crd)
		}
	}
	return ours
}

// do runs Helm for this release and fails the test if Helm fails.
func (r *release) do(verb, values string, args ...string) string {
	r.t.Helper()
	out, err := r.try(verb, values, args...)
	if err != nil {
		r.t.Fatalf("helm %s: %v\n%s", verb, err, out)
	}
	return out
}

// try runs Helm for this release. The chart is this tree's, unless args begin with
// another.
func (r *release) try(verb, text string, args ...string) (string, error) {
	r.t.Helper()
	line := []string{verb, r.name, "--namespace", r.namespace}
	if verb == "install" || verb == "upgrade" {
		if len(args) == 0 || strings.HasPrefix(args[0], "--") {
			args = slices.Concat([]string{here()}, args)
		}
		line = append(line, values(r.t, text)...)
	}
	out, err := helm(r.t, r.Config, append(line, args...)...)
	if err == nil && verb == "install" {
		r.settled()
	}
	return out, err
}

// settled waits until the API server serves what was installed.
func (r *release) settled() {
	r.t.Helper()
	testenv.Eventually(r.t, patience, func() error {
		for _, crd := range r.crds() {
			conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
			if !slices.ContainsFunc(conditions, func(c any) bool {
				fields := c.(map[string]any)
				return fields["type"] == "Established" && fields["status"] == "True"
			}) {
				return fmt.Errorf("%s is not established: %v", crd.GetName(), conditions)
			}
		}
		return nil
	})
}
