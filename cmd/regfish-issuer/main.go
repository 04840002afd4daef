// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command regfish-issuer is the controller. It holds flags and wiring only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	// The roots of public authorities, where the system has none: an image holds
	// nothing but this program.
	_ "golang.org/x/crypto/x509roots/fallback"
	ctrl "sigs.k8s.io/controller-runtime"

	purchasecontroller "github.com/regfish/regfish-issuer/internal/controller/purchase"
	"github.com/regfish/regfish-issuer/internal/operator"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// version is set when a release is built.
var version = "dev"

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "regfish-issuer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o := operator.Options{
		Version:        version,
		LeaderElection: true,
		PodUID:         os.Getenv("POD_UID"),
		PodNamespace:   os.Getenv("POD_NAMESPACE"),
		PodName:        os.Getenv("POD_NAME"),
		ServiceAccount: os.Getenv("POD_NAMESPACE") + ":" + os.Getenv("POD_SERVICE_ACCOUNT"),
	}
	var endpoints, hosts, namespaces, format string
	var verbosity int
	flags := flag.NewFlagSet("regfish-issuer", flag.ContinueOnError)
	flags.StringVar(&o.LedgerNamespace, "ledger-namespace", os.Getenv("POD_NAMESPACE"), "namespace of the RegfishPurchases and of the leader election's Lease (default: the pod's)")
	flags.StringVar(&o.ClusterResourceNamespace, "cluster-resource-namespace", os.Getenv("POD_NAMESPACE"), "namespace of the Secrets that RegfishClusterIssuers name (default: the pod's)")
	flags.StringVar(&namespaces, "namespaces", "", "comma-separated namespaces whose requests are served (default: all)")
	flags.StringVar(&endpoints, "allowed-endpoints", "https://api.regfish.com", "comma-separated endpoints that an issuer's spec.url may name; API keys are sent nowhere else")
	flags.StringVar(&hosts, "console-hosts", "", "comma-separated hosts whose pages may be shown as completion URLs, beside those under an endpoint's own domain")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8443", "address of the metrics endpoint, which speaks TLS and asks the API server who may get /metrics; 0 for none")
	flags.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "", "folder with tls.crt and tls.key of the metrics endpoint (default: a certificate that is made at start and signed by nobody)")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 for none")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true, "elect a leader; switch it off only where there can never be a second process")
	flags.IntVar(&o.Concurrency, "concurrency", 64, "how many objects of each kind are worked on at once; an order that is being sent takes a place until regfish answers")
	flags.DurationVar(&o.PollInterval, "poll-interval", purchasecontroller.DefaultLook, "pause between two looks at a fresh purchase; it grows with the purchase's age, up to eight minutes")
	flags.DurationVar(&o.DNSPatience, "dns-patience", defaultDNSPatience, "how long an order may wait for its DNS records before Warning events ask somebody to set them; 0 where no automation does")
	flags.Float64Var(&o.Limits.Rate, "vendor-rate", poller.DefaultLimits.Rate, "how many calls a second are made at regfish in the long run, for each endpoint and API key")
	flags.IntVar(&o.Limits.Burst, "vendor-burst", poller.DefaultLimits.Burst, "how many calls may be made at regfish at once after a pause, for each endpoint and API key")
	flags.DurationVar(&o.Retention, "ledger-retention", purchase.DefaultRetention, "how long a purchase is kept after what was paid for has ended; at least "+leastRetention.String())
	flags.DurationVar(&o.SettleTime, "settle-time", purchase.DefaultSettleTime, "how long an order whose answer was lost may take to appear in the account, before it counts as never placed; at least twice --write-window and --order-timeout together ("+purchase.MinSettleTime.String()+")")
	flags.DurationVar(&o.LeaseDuration, "lease-duration", operator.DefaultLeaseDuration, "how long a leader that is not heard of stays the leader")
	flags.DurationVar(&o.RenewDeadline, "renew-deadline", operator.DefaultRenewDeadline, "how long a leader tries to stay one before it ends; less than --lease-duration")
	flags.DurationVar(&o.RetryPeriod, "retry-period", operator.DefaultRetryPeriod, "pause between two tries to become the leader or to stay it; less than --renew-deadline")
	flags.DurationVar(&o.Times.WriteWindow, "write-window", purchase.WriteWindow, "how long after its intent an order may leave; from a second to the default, and shorter in tests only")
	flags.DurationVar(&o.Times.OrderTimeout, "order-timeout", regfish.DefaultOrderTimeout, "how long an order waits for its answer; from a second to the default, and shorter in tests only")
	flags.StringVar(&format, "log-format", "text", "text or json")
	flags.IntVar(&verbosity, "log-verbosity", 0, "0 for what matters to people, more for what matters to developers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are taken", flags.Arg(0))
	}
	if o.LedgerNamespace == "" {
		return fmt.Errorf("--ledger-namespace is needed outside a pod: the namespace that records what is bought")
	}
	if o.ClusterResourceNamespace == "" {
		return fmt.Errorf("--cluster-resource-namespace is needed outside a pod: the namespace of the Secrets of RegfishClusterIssuers")
	}
	if o.PollInterval < time.Second {
		return fmt.Errorf("--poll-interval %s: it has to be a second at least", o.PollInterval)
	}
	if o.DNSPatience < 0 {
		return fmt.Errorf("--dns-patience %s: it has to be 0 at least", o.DNSPatience)
	}
	if o.Limits.Rate < 0.1 || math.IsNaN(o.Limits.Rate) {
		return fmt.Errorf("--vendor-rate %g: it has to be 0.1 at least", o.Limits.Rate)
	}
	if o.Limits.Burst < 1 {
		return fmt.Errorf("--vendor-burst %d: it has to be 1 at least", o.Limits.Burst)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("--concurrency %d: it has to be 1 at least", o.Concurrency)
	}
	if err := checkTimes(o); err != nil {
		return err
	}
	o.WriterGrace = o.Times.MinSettleTime()
	o.Namespaces, o.ConsoleHosts = list(namespaces), list(strings.ToLower(hosts))
	for _, raw := range list(endpoints) {
		endpoint, err := regfish.CanonicalEndpoint(raw)
		if err != nil {
			return fmt.Errorf("--allowed-endpoints: %w", err)
		}
		o.AllowedEndpoints = append(o.AllowedEndpoints, endpoint)
	}
	if err := logTo(format, verbosity); err != nil {
		return err
	}
	var err error
	if o.REST, err = ctrl.GetConfig(); err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	// A second signal must not end the process: an order that is cut in half is an
	// unknown outcome. What must end at once is killed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go keepHeapSmall(ctx)
	return operator.Run(ctx, o)
}

// defaultDNSPatience leaves DNS automation and the certificate authority time for what is
// done within minutes, and no more.
const defaultDNSPatience = 5 * time.Minute

// leastRetention is the least time for which a purchase is kept.
const leastRetention = 24 * time.Hour

// checkTimes refuses times with which an order could be taken for lost that is still
// under way.
func checkTimes(o operator.Options) error {
	for _, f := range []struct {
		name       string
		value, max time.Duration
	}{
		{"--write-window", o.Times.WriteWindow, purchase.WriteWindow},
		{"--order-timeout", o.Times.OrderTimeout, regfish.DefaultOrderTimeout},
	} {
		if f.value < time.Second || f.value > f.max {
			return fmt.Errorf("%s %s: it has to be from 1s to %s; a pod that is stopped would be killed while a later order is under way", f.name, f.value, f.max)
		}
	}
	if o.Retention < leastRetention {
		return fmt.Errorf("--ledger-retention %s: it has to be %s at least, so that what was just paid for is not forgotten", o.Retention, leastRetention)
	}
	if least := o.Times.MinSettleTime(); o.SettleTime < least {
		return fmt.Errorf("--settle-time %s: it has to be %s at least, because an order may still leave for %s after its intent, and takes up to %s to be answered", o.SettleTime, least, o.Times.WriteWindow, o.Times.OrderTimeout)
	}
	// The library's own messages name no flag.
	switch {
	case o.RetryPeriod < 100*time.Millisecond:
		return fmt.Errorf("--retry-period %s: it has to be 100ms at least", o.RetryPeriod)
	case o.RenewDeadline < 2*o.RetryPeriod:
		return fmt.Errorf("--renew-deadline %s: it has to be twice --retry-period (%s) at least", o.RenewDeadline, o.RetryPeriod)
	case o.LeaseDuration <= o.RenewDeadline:
		return fmt.Errorf("--lease-duration %s: it has to be longer than --renew-deadline (%s), or a leader goes on that is none", o.LeaseDuration, o.RenewDeadline)
	}
	return nil
}

// list splits a comma-separated flag.
func list(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
