// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	ingressshim "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

// CertManagerOptions say how cert-manager runs. The zero value runs it as an installation without further flags does, as
// far as an external issuer sees it: the certificate controllers, the approver and ingress-shim.
//
// cert-manager's webhook does not run. So nothing checks whether an approver may approve for a signer, nothing stamps
// the requester's name on a request, and nothing keeps a request from being changed.
type CertManagerOptions struct {
	// Namespace is the only one served. Empty serves all.
	Namespace string
	// NoApprover leaves requests undecided. The approver knows no signers: if it runs it approves every request, and in a
	// real cluster it is the webhook that refuses it where a ClusterRole is missing.
	NoApprover bool
	// SelfSigned also signs requests for cert-manager's own SelfSigned issuers, whose Ready condition the test must set.
	SelfSigned bool
	// CA also signs requests for cert-manager's own CA issuers, whose Ready condition the test must set.
	CA bool
	// FailureBackoff is how long cert-manager waits before it replaces a failed request. Zero means cert-manager's default
	// of an hour; it doubles with every failure, up to 32 hours.
	FailureBackoff time.Duration
	// SharedInformers lets the controllers share what they watch, as cert-manager's do: for those who measure. See
	// startControllers.
	SharedInformers bool
	// Clock that the controllers go by; nil for the real one.
	Clock *Clock
}

// StartCertManager runs cert-manager's own controllers in this process. They log to the logger in ctx, or nowhere. They
// end when ctx is done or stop is called; stop returns when they have ended and may be called more than once. They may be
// started again.
func StartCertManager(ctx context.Context, config *rest.Config, opts CertManagerOptions) (stop func(), err error) {
	ctx, cancel := context.WithCancel(logf.NewContext(ctx, logr.FromContextOrDiscard(ctx), "cert-manager"))
	var running sync.WaitGroup
	stop = func() {
		cancel()
		running.Wait()
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()

	names := opts.controllers()
	if opts.SharedInformers {
		return stop, startControllers(ctx, &running, names, config, opts)
	}
	for _, name := range names {
		if err := startControllers(ctx, &running, []string{name}, config, opts); err != nil {
			return nil, err
		}
	}
	return stop, nil
}

// startControllers runs controllers that share their informers. In cert-manager all do, but in v1.21.2 the issuing
// controller writes to the cached Certificate of a failed request (failIssueCertificate) while the others read it, which
// the race detector would report in every test of a failure: in tests each has informers of its own.
func startControllers(ctx context.Context, running *sync.WaitGroup, names []string, config *rest.Config, opts CertManagerOptions) error {
	factory, err := contextFactory(ctx, config, opts)
	if err != nil {
		return fmt.Errorf("start cert-manager: %w", err)
	}
	if opts.Clock != nil {
		setClock(factory, opts.Clock)
	}
	// Every context of the factory has the same informers.
	informers, err := factory.Build(names[0])
	if err != nil {
		return fmt.Errorf("start cert-manager: %w", err)
	}
	controllers := map[string]controller.Interface{}
	for _, name := range names {
		if controllers[name], err = controller.Known()[name](factory); err != nil {
			return fmt.Errorf("start cert-manager's controller %s: %w", name, err)
		}
	}
	informers.SharedInformerFactory.Start(ctx.Done())
	informers.KubeSharedInformerFactory.Start(ctx.Done())
	for name, c := range controllers {
		running.Go(func() {
			const workers = 5
			if err := c.Run(workers, ctx); err != nil && ctx.Err() == nil {
				logf.FromContext(ctx).Error(err, "controller ended", "controller", name)
			}
		})
	}
	running.Go(func() {
		<-ctx.Done()
		informers.SharedInformerFactory.Shutdown()
		informers.KubeSharedInformerFactory.Shutdown()
	})
	return nil
}

func (o CertManagerOptions) controllers() []string {
	names := []string{
		trigger.ControllerName, keymanager.ControllerName, requestmanager.ControllerName, issuing.ControllerName,
		readiness.ControllerName, revisionmanager.ControllerName, ingressshim.ControllerName,
	}
	if !o.NoApprover {
		names = append(names, approver.ControllerName)
	}
	if o.SelfSigned {
		names = append(names, selfsigned.CRControllerName)
	}
	if o.CA {
		names = append(names, ca.CRControllerName)
	}
	return names
}

// contextFactory fills in what cert-manager's command line defaults to.
func contextFactory(ctx context.Context, config *rest.Config, opts CertManagerOptions) (*controller.ContextFactory, error) {
	backoff := opts.FailureBackoff
	if backoff == 0 {
		backoff = time.Hour
	}
	// The factory takes the path of a kubeconfig, not a rest.Config, and reads the file once.
	dir, err := os.MkdirTemp("", "regfish-issuer-testenv-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(kubeconfig, config); err != nil {
		return nil, err
	}
	return controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig: kubeconfig,
		// A kubeconfig has no limits, and cert-manager's own are 5 requests a second.
		KubernetesAPIQPS:   config.QPS,
		KubernetesAPIBurst: config.Burst,
		Namespace:          opts.Namespace,
		IssuerOptions: controller.IssuerOptions{
			ClusterResourceNamespace: "cert-manager",
		},
		IngressShimOptions: controller.IngressShimOptions{
			DefaultIssuerKind:                 "Issuer",
			DefaultIssuerGroup:                "cert-manager.io",
			DefaultAutoCertificateAnnotations: []string{"kubernetes.io/tls-acme"},
		},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: backoff,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	})
}
