// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// patience is how long a cache that is not filled yet is waited for.
const patience = time.Second

// Source is what the gauges are computed from.
type Source struct {
	// Issuers reads the issuers, from the cache.
	Issuers client.Reader
	// Orders and Purchases are all that the cache has. They are only read.
	Orders    iter.Seq[*v1alpha1.RegfishOrder]
	Purchases iter.Seq[*v1alpha1.RegfishPurchase]
}

var source atomic.Pointer[Source]

// From has the gauges computed from s from now on. A process has one controller; where
// tests run several, the last one counts.
func From(s Source) { source.Store(&s) }

func init() { metrics.Registry.MustRegister(collector{}) }

// collector computes what stands.
type collector struct{}

// Describe names the gauges.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ordersDesc, purchasesDesc, heldDesc, actionDesc, actionAgeDesc, queueDesc, nextSlotDesc} {
		out <- d
	}
}

// series are the values of one gauge, by its labels.
type series[K comparable] map[K]float64

type ofOrders struct {
	namespace string
	issuer    v1alpha1.IssuerRef
	state     v1alpha1.State
}

type ofPurchases struct {
	namespace   string
	issuer      v1alpha1.IssuerRef
	sku, action string
	state       v1alpha1.State
}

type ofReasons struct {
	namespace string
	issuer    v1alpha1.IssuerRef
	reason    string
}

// Collect computes the gauges.
func (collector) Collect(out chan<- prometheus.Metric) {
	s := source.Load()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.orders(out)
	s.purchases(out)
	s.issuers(ctx, out)
}

func emit(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, namespace []string, issuer v1alpha1.IssuerRef, more ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append(append(namespace, of(issuer)...), more...)...)
}

func (s *Source) orders(out chan<- prometheus.Metric) {
	count := series[ofOrders]{}
	for o := range s.Orders {
		issuer := v1alpha1.IssuerRef{Kind: o.Spec.IssuerRef.Kind, Name: o.Spec.IssuerRef.Name}
		if issuer.Kind != v1alpha1.KindClusterIssuer {
			issuer.Namespace = o.Namespace
		}
		count[ofOrders{o.Namespace, issuer, o.Status.State}]++
	}
	for k, n := range count {
		emit(out, ordersDesc, n, []string{k.namespace}, k.issuer, string(k.state))
	}
}

func (s *Source) purchases(out chan<- prometheus.Metric) {
	count, held, action, age := series[ofPurchases]{}, series[ofReasons]{}, series[ofReasons]{}, series[ofReasons]{}
	for p := range s.Purchases {
		count[ofPurchases{p.Spec.Beneficiary.Namespace, p.Spec.IssuerRef, p.Spec.SKU, p.Spec.Action, p.Status.State}]++
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHeld); c != nil && c.Status == "True" {
			held[ofReasons{p.Spec.Beneficiary.Namespace, p.Spec.IssuerRef, c.Reason}]++
		}
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionActionRequired); c != nil && c.Status == "True" {
			k := ofReasons{p.Spec.Beneficiary.Namespace, p.Spec.IssuerRef, c.Reason}
			action[k]++
			age[k] = max(age[k], time.Since(c.LastTransitionTime.Time).Seconds())
		}
	}
	for k, n := range count {
		emit(out, purchasesDesc, n, []string{k.namespace}, k.issuer, k.sku, k.action, string(k.state))
	}
	for d, all := range map[*prometheus.Desc]series[ofReasons]{heldDesc: held, actionDesc: action, actionAgeDesc: age} {
		for k, n := range all {
			emit(out, d, n, []string{k.namespace}, k.issuer, k.reason)
		}
	}
}

func (s *Source) issuers(ctx context.Context, out chan<- prometheus.Metric) {
	var everywhere v1alpha1.RegfishClusterIssuerList
	var namespaced v1alpha1.RegfishIssuerList
	if s.Issuers.List(ctx, &everywhere, client.UnsafeDisableDeepCopy) != nil || s.Issuers.List(ctx, &namespaced, client.UnsafeDisableDeepCopy) != nil {
		return
	}
	queue := func(i v1alpha1.Issuer) {
		use := i.GetStatus().Purchases
		if use == nil {
			return
		}
		emit(out, queueDesc, float64(use.Queued), nil, i.Ref())
		if use.NextSlotTime != nil {
			emit(out, nextSlotDesc, float64(use.NextSlotTime.Unix()), nil, i.Ref())
		}
	}
	for i := range everywhere.Items {
		queue(&everywhere.Items[i])
	}
	for i := range namespaced.Items {
		queue(&namespaced.Items[i])
	}
}
