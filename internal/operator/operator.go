// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/controller/issuer"
	"github.com/regfish/regfish-issuer/internal/controller/order"
	purchasecontroller "github.com/regfish/regfish-issuer/internal/controller/purchase"
	"github.com/regfish/regfish-issuer/internal/controller/request"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/metrics"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=regfish-issuer

// LeaseName is the name of the leader election's Lease.
const LeaseName = "regfish-issuer"

// SecretReaderRole is the ClusterRole that lets the controller read Secrets in the
// namespaces it is bound in.
const SecretReaderRole = "regfish-issuer-secret-reader"

// The leader election is slow on purpose: an order is worth more than a minute, and
// an overloaded API server must not make the leader change. What it asks for often is
// whether the lease was given up, so that a rollout keeps nobody waiting: the election
// spreads its tries over more than twice the period.
const (
	DefaultLeaseDuration = 60 * time.Second
	DefaultRenewDeadline = 40 * time.Second
	DefaultRetryPeriod   = time.Second
)

// ledgerPeriod is how often it is looked whether the ledger is still there, beside the
// look before each order.
const ledgerPeriod = 10 * time.Second

// stopPatience is how long a stop waits for the reconcilers: an order that is
// being sent takes up to a minute, and its outcome has to be written.
const stopPatience = 100 * time.Second

// Options of the controller.
type Options struct {
	// REST is how the API server is reached.
	REST *rest.Config
	// Version of this program, for the User-Agent.
	Version string
	// LedgerNamespace holds the purchases and the leader election's Lease.
	LedgerNamespace string
	// ClusterResourceNamespace holds the Secrets of RegfishClusterIssuers.
	ClusterResourceNamespace string
	// Namespaces whose requests are served; empty for all.
	Namespaces []string
	// AllowedEndpoints that issuers may name.
	AllowedEndpoints []string
	// ConsoleHosts whose pages may be shown as completion URLs, beside those of the
	// endpoint's own domain.
	ConsoleHosts []string
	// MetricsAddress and ProbeAddress to listen on; "0" for none.
	MetricsAddress, ProbeAddress string
	// MetricsCertDir holds tls.crt and tls.key of the metrics endpoint; empty for a
	// certificate that is made at start and signed by nobody.
	MetricsCertDir string
	// LeaderElection is only switched off in tests.
	LeaderElection bool
	// LeaseDuration, RenewDeadline and RetryPeriod of the leader election. Zero means
	// the default.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// Times are how long an order may take.
	Times purchase.Times
	// Concurrency is how many objects of each kind are worked on at once.
	Concurrency int
	// PollInterval is the pause between two looks at a fresh purchase.
	PollInterval time.Duration
	// DNSPatience is how long an order may wait for its DNS records before events ask
	// somebody to set them.
	DNSPatience time.Duration
	// Limits of the calls of regfish with each key.
	Limits poller.Limits
	// WriterGrace is how long an attempt of another process may still be under way.
	WriterGrace time.Duration
	// SettleTime is how long an order whose answer was lost may take to appear in the
	// account; zero means purchase.DefaultSettleTime. Less than that of Times is for
	// tests.
	SettleTime time.Duration
	// Retention is for how long a purchase is kept after what was paid for has ended; zero
	// means purchase.DefaultRetention.
	Retention time.Duration
	// PodUID, PodNamespace and PodName of this process, and its ServiceAccount
	// (namespace:name).
	PodUID, PodNamespace, PodName, ServiceAccount string
	// Clock tells the time; nil for the real one. Another one is for tests.
	Clock clock.PassiveClock
	// Wrap, if set, replaces the client that writes; tests make it fail.
	Wrap func(client.Client) client.Client
	// SkipNameValidation lets tests run several in one process.
	SkipNameValidation bool
}

func (o Options) clock() clock.PassiveClock {
	if o.Clock != nil {
		return o.Clock
	}
	return clock.RealClock{}
}

// Scheme knows every kind that the controller touches.
func Scheme() *kruntime.Scheme {
	s := kruntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(cmapi.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// Run runs the controller until ctx ends or the lease is lost, and does not return
// before every order in flight is recorded.
func Run(ctx context.Context, o Options) error {
	// To pack lists takes the API server and this process longer than to send them as they
	// are. It does not pack the events of a watch in any case.
	o.REST = rest.CopyConfig(o.REST)
	o.REST.DisableCompression = true
	identity := identity()
	kept := &stores{}
	mgr, err := newManager(ctx, o, identity, kept)
	if err != nil {
		return err
	}
	metrics.From(metrics.Source{Issuers: mgr.GetCache(), Orders: all[*v1alpha1.RegfishOrder](kept), Purchases: all[*v1alpha1.RegfishPurchase](kept)})
	spender, err := register(ctx, mgr, o, identity)
	if err != nil {
		return err
	}
	err = mgr.Start(ctx)
	// Also when the lease was lost: the manager does not wait then.
	spender.Wait()
	return err
}

// identity tells processes apart, in the lease and in attempts.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%.40s_%s", host, rand.Text()[:16])
}

func newManager(ctx context.Context, o Options, identity string, kept *stores) (ctrl.Manager, error) {
	cached, err := cacheOptions(ctx, o)
	if err != nil {
		return nil, err
	}
	kept.note(&cached)
	alive, patience := healthz.Ping, stopPatience
	lease, renew, retry := cmp.Or(o.LeaseDuration, DefaultLeaseDuration), cmp.Or(o.RenewDeadline, DefaultRenewDeadline), cmp.Or(o.RetryPeriod, DefaultRetryPeriod)
	options := manager.Options{
		Scheme:         Scheme(),
		Cache:          cached,
		MapperProvider: newMapper,
		// Metrics tell how many orders there are and for whom. They go to those only
		// whom the API server lets get /metrics.
		Metrics: server.Options{
			BindAddress: o.MetricsAddress, SecureServing: true, CertDir: o.MetricsCertDir,
			FilterProvider: access,
		},
		HealthProbeBindAddress:        o.ProbeAddress,
		GracefulShutdownTimeout:       &patience,
		LeaderElection:                o.LeaderElection,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Controller:                    config.Controller{SkipNameValidation: &o.SkipNameValidation},
	}
	if o.LeaderElection {
		leases, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.LedgerNamespace, LeaseName,
			resourcelock.ResourceLockConfig{Identity: identity}, o.REST, renew)
		if err != nil {
			return nil, fmt.Errorf("prepare leader election: %w", err)
		}
		watched := &lock{Interface: leases, clock: clock.RealClock{}}
		options.LeaderElectionResourceLockInterface, alive = watched, watched.held(lease)
	}
	mgr, err := ctrl.NewManager(o.REST, options)
	if err != nil {
		return nil, fmt.Errorf("create manager: %w", err)
	}
	return mgr, mgr.AddHealthzCheck("lease", alive)
}

// register adds everything to the manager.
func register(ctx context.Context, mgr ctrl.Manager, o Options, identity string) (*purchase.Spender, error) {
	if err := controller.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	for _, kind := range []client.Object{
		&cmapi.CertificateRequest{}, &v1alpha1.RegfishIssuer{}, &v1alpha1.RegfishClusterIssuer{}, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{},
	} {
		// Watched from the start, also while another process leads.
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	ledger, clusterUID, err := installation(ctx, mgr.GetAPIReader(), o.LedgerNamespace)
	if err != nil {
		return nil, err
	}
	resolver := &credentials.Resolver{
		Reader:                   mgr.GetAPIReader(),
		ClusterResourceNamespace: o.ClusterResourceNamespace,
		AllowedEndpoints:         o.AllowedEndpoints,
		UserAgent:                regfish.UserAgent("regfish-issuer", o.Version, "os="+runtime.GOOS, "arch="+runtime.GOARCH),
		ReaderRole:               SecretReaderRole,
		ServiceAccount:           o.ServiceAccount,
		OrderTimeout:             o.Times.OrderTimeout,
		Accounts:                 poller.NewAccounts(o.Limits),
	}
	writer := mgr.GetClient()
	if o.Wrap != nil {
		writer = o.Wrap(writer)
	}
	spender := &purchase.Spender{
		Gatherer: purchase.Gatherer{Live: mgr.GetAPIReader(), Ledger: ledger.Namespace, LedgerUID: ledger.NamespaceUID, ClusterUID: clusterUID, Endpoint: resolver.Endpoint},
		Client:   writer,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (purchase.Vendor, error) {
			c, err := resolver.Client(ctx, i)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Writer: v1alpha1.Writer{PodUID: types.UID(o.PodUID), PodNamespace: o.PodNamespace, PodName: o.PodName, StartNonce: identity},
		Times:  o.Times,
		Clock:  o.clock(),
		MayShow: func(i v1alpha1.Issuer, url string) bool {
			return controller.MayShow(i.GetSpec().URL, o.ConsoleHosts, url)
		},
	}
	recorder := mgr.GetEventRecorder(controller.Component)
	spender.Warn = func(p *v1alpha1.RegfishPurchase, c metav1.Condition) {
		recorder.Eventf(p, nil, corev1.EventTypeWarning, c.Reason, c.Type, "%s", c.Message)
	}
	stands := ledgerStands(mgr.GetAPIReader(), ledger)
	if err := mgr.Add(untilReplaced{stands}); err != nil {
		return nil, err
	}
	spender.Leader = stands
	if o.LeaderElection {
		lease := leads(mgr.GetAPIReader(), o.LedgerNamespace, identity)
		spender.Leader = func(ctx context.Context) error {
			if err := lease(ctx); err != nil {
				return err
			}
			return stands(ctx)
		}
	}
	if err := reconcilers(mgr, o, writer, spender, resolver, ledger, recorder); err != nil {
		return nil, err
	}
	return spender, mgr.AddReadyzCheck("cache", func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	})
}

func reconcilers(mgr ctrl.Manager, o Options, writer client.Client, spender *purchase.Spender, resolver *credentials.Resolver, ledger v1alpha1.Ledger, recorder events.EventRecorder) error {
	outcomes := &purchase.Resolver{Spender: spender, Cache: mgr.GetClient(), SettleTime: cmp.Or(o.SettleTime, purchase.DefaultSettleTime)}
	for _, r := range []interface{ Register(ctrl.Manager) error }{
		issuer.New(v1alpha1.KindIssuer, issuerOptions(o, writer, resolver, ledger)),
		issuer.New(v1alpha1.KindClusterIssuer, issuerOptions(o, writer, resolver, ledger)),
		issuer.NewQueue(v1alpha1.KindIssuer, issuerOptions(o, writer, resolver, ledger)),
		issuer.NewQueue(v1alpha1.KindClusterIssuer, issuerOptions(o, writer, resolver, ledger)),
		request.New(request.Options{Client: writer, Clock: o.clock(), Concurrency: o.Concurrency}),
		order.New(order.Options{Client: writer, Spender: spender, Recorder: recorder, Clock: o.clock(), DNSPatience: o.DNSPatience, Concurrency: o.Concurrency}),
		purchasecontroller.New(purchasecontroller.Options{Client: writer, Spender: spender, Resolver: outcomes, Recorder: recorder, Clock: o.clock(), Concurrency: o.Concurrency, Look: o.PollInterval, WriterGrace: o.WriterGrace, Retention: o.Retention}),
	} {
		if err := r.Register(mgr); err != nil {
			return fmt.Errorf("register %T: %w", r, err)
		}
	}
	return nil
}

func issuerOptions(o Options, writer client.Client, resolver *credentials.Resolver, ledger v1alpha1.Ledger) issuer.Options {
	return issuer.Options{
		Client: writer, Ledger: ledger, Clock: o.clock(), Concurrency: o.Concurrency,
		Connect: func(ctx context.Context, i v1alpha1.Issuer) (issuer.Vendor, error) {
			c, err := resolver.Client(ctx, i)
			if err != nil {
				return nil, err
			}
			return c.Checks(), nil
		},
	}
}

// installation identifies the ledger and the cluster.
func installation(ctx context.Context, live client.Reader, namespace string) (v1alpha1.Ledger, types.UID, error) {
	var ledger, system corev1.Namespace
	if err := live.Get(ctx, client.ObjectKey{Name: namespace}, &ledger); err != nil {
		return v1alpha1.Ledger{}, "", fmt.Errorf("read the ledger's namespace %q (--ledger-namespace): %w", namespace, err)
	}
	if err := live.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return v1alpha1.Ledger{}, "", fmt.Errorf("identify the cluster: %w", err)
	}
	return v1alpha1.Ledger{Namespace: namespace, NamespaceUID: ledger.UID}, system.UID, nil
}

// errLedgerReplaced says that what this process knows as the ledger is no more.
var errLedgerReplaced = errors.New("its namespace was deleted, and created again if it is there")

// ledgerStands returns a check that the namespace of the ledger is the one that this
// process began with, by a live read. With it the records were deleted: in one of the same
// name everything would seem to be unbought.
func ledgerStands(live client.Reader, ledger v1alpha1.Ledger) func(context.Context) error {
	return func(ctx context.Context) error {
		var ns corev1.Namespace
		err := live.Get(ctx, client.ObjectKey{Name: ledger.Namespace}, &ns)
		switch {
		case apierrors.IsNotFound(err), err == nil && (ns.UID != ledger.NamespaceUID || !ns.DeletionTimestamp.IsZero()):
			return fmt.Errorf("the ledger in namespace %s (uid %s) is gone: %w", ledger.Namespace, ledger.NamespaceUID, errLedgerReplaced)
		case err != nil:
			return fmt.Errorf("read the ledger's namespace: %w", err)
		}
		return nil
	}
}

// untilReplaced ends the process once the ledger is gone. The next process takes the
// namespace for another ledger, and the issuers say what to do.
type untilReplaced struct {
	stands func(context.Context) error
}

// NeedLeaderElection makes it run in every replica.
func (untilReplaced) NeedLeaderElection() bool { return false }

// Start checks until ctx ends.
func (u untilReplaced) Start(ctx context.Context) error {
	tick := time.NewTicker(ledgerPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// An API server that does not answer says nothing about the ledger.
			if err := u.stands(ctx); errors.Is(err, errLedgerReplaced) {
				return err
			}
		}
	}
}
