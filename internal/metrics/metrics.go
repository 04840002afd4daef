// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// described are all metrics, in the order of docs/metrics.md.
var described []description

type description struct {
	name, kind, help string
	labels           []string
}

func describe(kind, name, help string, labels []string) string {
	described = append(described, description{name, kind, help, labels})
	return name
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: describe("counter", name, help, labels), Help: help}, labels)
	metrics.Registry.MustRegister(c)
	return c
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: describe("histogram", name, help, labels), Help: help, Buckets: buckets}, labels)
	metrics.Registry.MustRegister(h)
	return h
}

// standing is a gauge that is computed when somebody asks.
func standing(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(describe("gauge", name, help, labels), help, labels, nil)
}

const (
	issuerKind      = "issuer_kind"
	issuerName      = "issuer_name"
	issuerNamespace = "issuer_namespace"
)

// waits are the buckets of what takes from seconds to weeks.
var waits = []float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600, 14 * 24 * 3600}

var (
	ordersDesc = standing("regfish_orders", "RegfishOrders, by namespace, issuer and state.",
		"namespace", issuerKind, issuerNamespace, issuerName, "state")
	purchasesDesc = standing("regfish_purchases", "RegfishPurchases in the ledger, by the namespace that they were made for, issuer, product, action and state. Resolving: nobody knows yet whether the order was placed. Held: a person has to decide.",
		"namespace", issuerKind, issuerNamespace, issuerName, "sku", "action", "state")
	heldDesc = standing("regfish_held_purchases", "RegfishPurchases about which a person has to decide, by why.",
		"namespace", issuerKind, issuerNamespace, issuerName, "reason")
	actionDesc = standing("regfish_action_required_purchases", "RegfishPurchases for which a person has to act at regfish, by what is to be done.",
		"namespace", issuerKind, issuerNamespace, issuerName, "reason")
	actionAgeDesc = standing("regfish_action_required_age_seconds", "For how long somebody has had to act at regfish, of the purchase that has waited longest.",
		"namespace", issuerKind, issuerNamespace, issuerName, "reason")
	queueDesc = standing("regfish_purchase_queue_length", "Orders that wait for the purchase limit of their issuer.",
		issuerKind, issuerNamespace, issuerName)
	nextSlotDesc = standing("regfish_purchase_next_slot_timestamp_seconds", "When the purchase limit of the issuer lets the next purchase begin, in Unix time; absent while it is not reached.",
		issuerKind, issuerNamespace, issuerName)

	attempts = counter("regfish_purchase_attempts_total", "Orders, renewals and reissues that were sent to regfish, or were about to be, by how they ended: Accepted, Rejected, NotSent, or Unknown, which is looked for.",
		"namespace", issuerKind, issuerNamespace, issuerName, "sku", "action", "reason")
	toOrder = histogram("regfish_approval_to_order_seconds", "Time from the approval of a request until an order for it stands at regfish.", waits,
		"namespace", issuerKind, issuerNamespace, issuerName)
	toCertificate = histogram("regfish_approval_to_certificate_seconds", "Time from the approval of a request until it has its certificate.", waits,
		"namespace", issuerKind, issuerNamespace, issuerName)

	calls = counter("regfish_vendor_calls_total", "Calls of regfish, by how they ended: the HTTP status, or none where no answer came.",
		"endpoint", "code")
	wait = histogram("regfish_vendor_wait_seconds", "How long calls of regfish waited for their turn (--vendor-rate).", []float64{.001, .01, .1, .25, .5, 1, 2.5, 5, 10, 15},
		"endpoint")
	heldBack = counter("regfish_vendor_held_back_total", "Calls that were not made: Closed, because regfish asked to be left alone; Broken, because the last calls failed; Waiting, because too many waited.",
		"endpoint", "reason")
	broken = gauge("regfish_vendor_breakers_open", "API keys of the endpoint with which no calls are made because the last ones failed.",
		"endpoint")
)

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: describe("gauge", name, help, labels), Help: help}, labels)
	metrics.Registry.MustRegister(g)
	return g
}

func of(ref v1alpha1.IssuerRef) []string { return []string{ref.Kind, ref.Namespace, ref.Name} }

// Attempt counts an order of p, or a reissue, that ended.
func Attempt(p *v1alpha1.RegfishPurchase, action, result string) {
	labels := append([]string{p.Spec.Beneficiary.Namespace}, of(p.Spec.IssuerRef)...)
	attempts.WithLabelValues(append(labels, p.Spec.SKU, action, result)...).Inc()
}

// Ordered counts a request for which an order stands, so long after its approval.
func Ordered(namespace string, issuer v1alpha1.IssuerRef, after time.Duration) {
	toOrder.WithLabelValues(append([]string{namespace}, of(issuer)...)...).Observe(after.Seconds())
}

// Issued counts a request that has its certificate, so long after its approval.
func Issued(namespace string, issuer v1alpha1.IssuerRef, after time.Duration) {
	toCertificate.WithLabelValues(append([]string{namespace}, of(issuer)...)...).Observe(after.Seconds())
}

// Called counts a call of regfish that was made and ended with err.
func Called(endpoint string, err error) {
	code := "200"
	var e *regfish.Error
	if errors.As(err, &e) && e != nil {
		code = "none"
		if e.Status != 0 {
			code = strconv.Itoa(e.Status)
		}
	}
	calls.WithLabelValues(endpoint, code).Inc()
}

// Waited counts how long a call waited for its turn.
func Waited(endpoint string, d time.Duration) { wait.WithLabelValues(endpoint).Observe(d.Seconds()) }

// HeldBack counts a call that was not made.
func HeldBack(endpoint, reason string) { heldBack.WithLabelValues(endpoint, reason).Inc() }

// Broken counts a breaker that opened or, with -1, closed.
func Broken(endpoint string, by float64) { broken.WithLabelValues(endpoint).Add(by) }

// Markdown is docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Generated from the code by ` + "`make generate`" + `. The endpoint is described with the flag
[` + "`--metrics-bind-address`" + `](install.md#flags). Beside these there are those of
[controller-runtime](https://book.kubebuilder.io/reference/metrics-reference).

Gauges are computed from the cache when somebody asks. A replica that stands by has
them too: take ` + "`max`" + ` over the pods. No label names a request, an order, a certificate or a
domain. ` + "`namespace`" + ` is that of the requests: a scraper that adds its own keeps it with
` + "`honor_labels`" + `, as the chart's monitors do.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
`)
	for _, d := range described {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", d.name, d.kind, strings.Join(d.labels, "`, `"), d.help)
	}
	return b.String()
}
