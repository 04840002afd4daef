// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// get reads one of the simulator's pages. The API server fetches it.
func (r *ring) get(ctx context.Context, page string) ([]byte, error) {
	out, err := r.clients.CoreV1().RESTClient().Get().AbsPath(pages + page).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the simulator's %s: %w", page, err)
	}
	return out, nil
}

const pages = "/api/v1/namespaces/" + vendor + "/services/https:" + vendor + ":https/proxy/_simulator/"

// tell tells the simulator something.
func (r *ring) tell(ctx context.Context, page string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("tell the simulator %s: %w", page, err)
	}
	if out, err := r.clients.CoreV1().RESTClient().Post().AbsPath(pages+page).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx); err != nil {
		return fmt.Errorf("tell the simulator %s: %w: %s", page, err, out)
	}
	return nil
}

// sold is the ledger of the simulator.
func (r *ring) sold(ctx context.Context) ([]simulator.Purchase, error) {
	text, err := r.get(ctx, "purchases")
	if err != nil {
		return nil, err
	}
	var sold []simulator.Purchase
	if err := json.Unmarshal(text, &sold); err != nil {
		return nil, fmt.Errorf("read the simulator's ledger: %w", err)
	}
	return sold, nil
}

// bought compares the two ledgers, and fails unless the vendor bills exactly n orders, no
// two of them for one key, and all of them are in the ledger.
func (r *ring) bought(ctx context.Context, n int) error {
	sold, err := r.sold(ctx)
	if err != nil {
		return err
	}
	var ledger v1alpha1.RegfishPurchaseList
	if err := r.client.List(ctx, &ledger, client.InNamespace(release)); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	recorded, keys := map[string]bool{}, map[string]bool{}
	for _, p := range ledger.Items {
		recorded[p.Spec.CertificateID] = true
	}
	r.result.Billed, r.result.Duplicates, r.result.Lost = len(sold), 0, 0
	for _, s := range sold {
		if keys[s.KeyHash] {
			r.result.Duplicates++
		}
		if !recorded[s.ID] {
			r.result.Lost++
		}
		keys[s.KeyHash] = true
	}
	if len(sold) != n || r.result.Duplicates > 0 || r.result.Lost > 0 {
		return fmt.Errorf("the vendor bills %d orders where %d were asked for; bought twice %d, lost %d", len(sold), n, r.result.Duplicates, r.result.Lost)
	}
	r.say("the vendor bills %d orders, one for each key, and the ledger has all of them", n)
	return nil
}

// startSimulator runs config/simulator. There may be no DNS in the cluster, so that pods
// reach the simulator at its Service's address, which its certificate has to name.
func (r *ring) startSimulator(ctx context.Context) error {
	manifest, err := os.ReadFile(filepath.Join(r.root, "config", "simulator", "simulator.yaml"))
	if err != nil {
		return fmt.Errorf("read the simulator's manifest: %w", err)
	}
	text := strings.Replace(string(manifest), "registry.example.com/regfish-simulator:dev", r.simulator, 1)
	apply := func(text string) error {
		_, err := r.run(ctx, []byte(text), r.kubectl, "apply", "-f", "-")
		return err
	}
	r.atEnd(func(ctx context.Context) error {
		_, err := r.run(ctx, []byte(text), r.kubectl, "delete", "--ignore-not-found", "-f", "-")
		return err
	})
	if err := apply(text); err != nil {
		return err
	}
	var service corev1.Service
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: vendor, Name: vendor}, &service); err != nil {
		return fmt.Errorf("find the simulator: %w", err)
	}
	address := service.Spec.ClusterIP
	r.url = "https://" + address + ":8443"
	if err := apply(strings.Replace(text, ".svc\n", ".svc,"+address+"\n", 1)); err != nil {
		return err
	}
	if _, err := r.run(ctx, nil, r.kubectl, "rollout", "status", "deployment/"+vendor, "-n", vendor, "--timeout=3m"); err != nil {
		return err
	}
	r.say("the simulator runs in a pod, in a namespace that enforces restricted Pod Security, and is reached at its Service")
	return r.until(ctx, "the simulator answers", func() error {
		_, err := r.get(ctx, "ca.pem")
		return err
	})
}

// automation is the stand-in for DNS automation: all that it is told is the status of
// orders, and it puts the records that they show into the vendor's DNS.
type automation struct {
	ring *ring
	mu   sync.Mutex
	// asleep leaves the names of this Certificate alone.
	asleep string
	done   map[v1alpha1.DNSRecord]bool
}

func (a *automation) leaveAlone(certificate string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asleep = certificate
}

func (a *automation) publish(ctx context.Context, o v1alpha1.RegfishOrder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.Status.DCV == nil || a.asleep != "" && strings.HasPrefix(o.Name, a.asleep+"-") {
		return
	}
	for _, record := range o.Status.DCV.Records {
		if a.done[record] {
			continue
		}
		// What fails is done again.
		if a.ring.tell(ctx, "records", simulator.Record{Name: record.Name, Type: record.Type, Data: record.Value}) == nil {
			a.done[record] = true
		}
	}
}

// startDNS runs the automation until the ring ends.
func (r *ring) startDNS(ctx context.Context) {
	r.dns = &automation{ring: r, done: map[v1alpha1.DNSRecord]bool{}}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			var orders v1alpha1.RegfishOrderList
			if err := r.client.List(ctx, &orders, client.InNamespace(tenant)); err == nil {
				for _, o := range orders.Items {
					r.dns.publish(ctx, o)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	r.atEnd(func(context.Context) error { stop(); <-ended; return nil })
}
