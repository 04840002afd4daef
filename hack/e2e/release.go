// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// verbosity of the controller's log: all that there is.
const verbosity = 9

// crds are the names of this project's.
func crds() []string {
	var names []string
	for _, plural := range []string{"regfishissuers", "regfishclusterissuers", "regfishorders", "regfishpurchases"} {
		names = append(names, plural+"."+v1alpha1.Group)
	}
	return names
}

// alone fails if the cluster has anything that the ring would use, and take away in the
// end: somebody's ledger, for example.
func (r *ring) alone(ctx context.Context) error {
	for _, name := range []string{release, tenant, vendor} {
		if err := r.client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
			return errors.Join(fmt.Errorf("the cluster has the namespace %s, which the ring makes and deletes: use a cluster that nobody needs", name), err)
		}
	}
	found, err := r.run(ctx, nil, r.kubectl, append([]string{"get", "crd", "--ignore-not-found", "-o", "name"}, crds()...)...)
	if err != nil {
		return err
	}
	if found != "" {
		return fmt.Errorf("the cluster has CRDs of this project, with which the ring would delete a ledger: use a cluster that nobody needs: %s", strings.Fields(found))
	}
	return nil
}

// startCertManager installs cert-manager's CRDs and runs its controllers, unless the
// cluster has them; then it is taken to run there.
func (r *ring) startCertManager(ctx context.Context) error {
	if _, err := r.run(ctx, nil, r.kubectl, "get", "crd", "certificates.cert-manager.io"); err == nil {
		r.say("the cluster has cert-manager")
		return nil
	}
	theirs, err := testenv.CertManagerCRDs()
	if err != nil {
		return err
	}
	r.atEnd(func(ctx context.Context) error {
		_, err := r.run(ctx, nil, r.kubectl, "delete", "--ignore-not-found", "-f", theirs)
		return err
	})
	if _, err := r.run(ctx, nil, r.kubectl, "apply", "--server-side", "-f", theirs); err != nil {
		return err
	}
	if _, err := r.run(ctx, nil, r.kubectl, "wait", "--for=condition=Established", "--timeout=1m", "-f", theirs); err != nil {
		return err
	}
	stop, err := testenv.StartCertManager(logr.NewContext(ctx, klog.Background().V(1)), r.config, testenv.CertManagerOptions{})
	if err != nil {
		return err
	}
	r.atEnd(func(context.Context) error { stop(); return nil })
	r.say("cert-manager's CRDs are in the cluster, and its own controllers run beside it; its webhook does not")
	return nil
}

// namespace makes a namespace that enforces restricted Pod Security.
func (r *ring) namespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
	}}}
	if err := r.client.Create(ctx, ns); err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	r.atEnd(func(ctx context.Context) error {
		if err := client.IgnoreNotFound(r.client.Delete(ctx, ns)); err != nil {
			return fmt.Errorf("delete namespace %s: %w", name, err)
		}
		return r.until(ctx, "namespace "+name+" is gone", func() error {
			err := r.client.Get(ctx, client.ObjectKeyFromObject(ns), ns)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(errors.New("it is there"), err)
		})
	})
	return nil
}

// values of the release, beside those that args set.
func (r *ring) values() string {
	repository, tag := r.image, ""
	if i := strings.LastIndex(r.image, ":"); i > strings.LastIndex(r.image, "/") {
		repository, tag = r.image[:i], r.image[i+1:]
	}
	return fmt.Sprintf(`
image: {repository: %q, tag: %q}
allowedEndpoints: [%q]
issuerNamespaces: [%s]
log: {format: text, verbosity: %d}
metrics: {readers: [{kind: ServiceAccount, name: prometheus, namespace: %s}]}
# The least that is possible: two minutes, and looks every second.
extraArgs: [--settle-time=2m, --poll-interval=1s]
`, repository, tag, r.url, tenant, verbosity, tenant)
}

// do installs or upgrades the release with the packaged chart, and waits until its pods
// are ready.
func (r *ring) do(ctx context.Context, verb string, args ...string) error {
	dir, err := os.MkdirTemp("", "regfish-issuer-e2e-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := r.run(ctx, nil, r.helm, "package", filepath.Join(r.root, "charts", "regfish-issuer"), "--version", "0.0.1", "--app-version", "v0.0.1", "--destination", dir); err != nil {
		return err
	}
	path := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(path, []byte(r.values()), 0o600); err != nil {
		return fmt.Errorf("write values: %w", err)
	}
	line := append([]string{verb, release, filepath.Join(dir, "regfish-issuer-0.0.1.tgz"), "--namespace", release, "--values", path, "--wait", "--timeout=5m"}, args...)
	_, err = r.run(ctx, nil, r.helm, line...)
	return err
}

// install installs the chart.
func (r *ring) install(ctx context.Context) error {
	if err := errors.Join(r.namespace(ctx, release), r.namespace(ctx, tenant)); err != nil {
		return err
	}
	r.atEnd(func(ctx context.Context) error {
		_, err := r.run(ctx, nil, r.helm, "uninstall", release, "--namespace", release, "--ignore-not-found")
		_, gone := r.run(ctx, nil, r.kubectl, append([]string{"delete", "crd", "--ignore-not-found"}, crds()...)...)
		return errors.Join(err, gone)
	})
	r.followLogs(ctx)
	if err := r.do(ctx, "install"); err != nil {
		return err
	}
	pods, err := r.pods(ctx)
	if err != nil {
		return err
	}
	if len(pods) != 2 {
		return fmt.Errorf("%d pods run, and two were to", len(pods))
	}
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	r.say("helm installed the packaged chart; both replicas are ready where restricted Pod Security is enforced, and %s leads", leader.Name)
	return nil
}

// pods are those of the release that are ready and not ending.
func (r *ring) pods(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := r.client.List(ctx, &list, client.InNamespace(release), client.MatchingLabels{"app.kubernetes.io/name": "regfish-issuer"}); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var ready []corev1.Pod
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
				ready = append(ready, p)
			}
		}
	}
	return ready, nil
}

// leader waits until a pod of the release leads, and returns it.
func (r *ring) leader(ctx context.Context) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := r.until(ctx, "a pod leads", func() error {
		var lease coordinationv1.Lease
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: release, Name: operator.LeaseName}, &lease); err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil {
			return errors.New("the lease names nobody")
		}
		name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		return r.client.Get(ctx, client.ObjectKey{Namespace: release, Name: name}, pod)
	})
	return pod, err
}
