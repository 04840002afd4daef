// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/regfish/regfish-issuer/internal/operator"
)

func leading(o *operator.Options) { o.LeaderElection = true }

// probed returns an address for probes, and the option to listen there.
func (w *world) probed() (string, func(*operator.Options)) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		w.t.Fatal(err)
	}
	return address, func(o *operator.Options) { o.ProbeAddress = address }
}

// probe is what the kubelet is told.
func (w *world) probe(address, path string) (int, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// TestProbes: the kubelet is told that the process lives, and that its cache is filled,
// while it leads and also while it does not.
func TestProbes(t *testing.T) {
	w := newWorld(t)
	leader, listen := w.probed()
	w.run(leading, listen)
	w.issuersReady()
	standby, listen := w.probed()
	w.run(leading, listen)
	for who, address := range map[string]string{"leads": leader, "waits for the lease": standby} {
		for _, path := range []string{"/healthz", "/readyz"} {
			w.eventually(path+" of the process that "+who, func() error {
				status, err := w.probe(address, path)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("%d", status)
				}
				return err
			})
		}
	}
}

// TestNotReadyBeforeTheCacheIsFilled: a process that cannot read the ledger lives, and a
// rollout that waits for it keeps the one that can.
func TestNotReadyBeforeTheCacheIsFilled(t *testing.T) {
	w := newWorld(t)
	name := "half-" + w.Namespace
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "cert-manager.io", "coordination.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{"certmanager.regfish.com"}, Resources: []string{"regfishissuers", "regfishclusterissuers", "regfishorders"}, Verbs: []string{"get", "list", "watch"}},
	}}
	w.create(role)
	w.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	})
	address, listen := w.probed()
	w.run(listen, func(o *operator.Options) {
		o.REST = rest.CopyConfig(o.REST)
		o.REST.Impersonate = rest.ImpersonationConfig{UserName: name}
	})
	says := func(path string, want int) func() error {
		return func() error {
			status, err := w.probe(address, path)
			if err == nil && status != want {
				err = fmt.Errorf("%d", status)
			}
			return err
		}
	}
	w.eventually("the process lives", says("/healthz", http.StatusOK))
	if err := says("/readyz", http.StatusInternalServerError)(); err != nil {
		t.Error(errors.Join(errors.New("/readyz of a process that cannot read purchases"), err))
	}
	role.Rules[1].Resources = append(role.Rules[1].Resources, "regfishpurchases")
	if err := w.Client.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	w.eventually("the process is ready", says("/readyz", http.StatusOK))
}
