// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// shared is what the tests of this test binary share. Main sets it before any test runs.
var shared struct {
	plane  *ControlPlane      // the first; the controllers' log is in its folder
	free   chan *ControlPlane // those that no test has to itself; nil where there is one for all
	scheme *runtime.Scheme
	log    logr.Logger
}

// Main is a package's TestMain: it starts the control planes for all tests, runs them, stops them and exits. Controllers
// log to a file; its end is printed if a test failed.
func Main(m *testing.M, opts Options) {
	code, err := run(m, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, opts Options) (code int, err error) {
	shared.scheme = runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, cmapi.AddToScheme, opts.AddToScheme} {
		if add == nil {
			continue
		}
		if err := add(shared.scheme); err != nil {
			return 0, fmt.Errorf("build scheme: %w", err)
		}
	}
	shared.plane, err = newControlPlane()
	if err != nil {
		return 0, err
	}
	defer func() {
		if code != 0 {
			fmt.Fprint(os.Stderr, shared.plane.tail("controllers"))
		}
		err = errors.Join(err, shared.plane.Stop())
	}()

	file, err := shared.plane.log("controllers")
	if err != nil {
		return 0, err
	}
	shared.log = funcr.New(func(prefix, args string) { fmt.Fprintln(file, prefix, args) }, funcr.Options{LogTimestamp: true, Verbosity: verbosity})
	klog.SetLogger(shared.log)
	ctrllog.SetLogger(shared.log)

	planes := []*ControlPlane{shared.plane}
	for len(planes) < opts.Planes {
		further, ferr := newControlPlane()
		if ferr != nil {
			return 0, ferr
		}
		defer func() { err = errors.Join(err, further.Stop()) }()
		planes = append(planes, further)
	}
	if err := startAll(planes, opts); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// Folder is removed when the tests of this test binary end, however they end.
func Folder() string { return shared.plane.dir }

// startAll starts control planes side by side.
func startAll(planes []*ControlPlane, opts Options) error {
	started := make(chan error, len(planes))
	for _, plane := range planes {
		go func() { started <- plane.start(opts) }()
	}
	var errs []error
	for range planes {
		errs = append(errs, <-started)
	}
	if len(planes) > 1 {
		shared.free = make(chan *ControlPlane, len(planes))
		for _, plane := range planes {
			shared.free <- plane
		}
	}
	return errors.Join(errs...)
}

// verbosity of the logs: higher than anything that the program logs, so that nothing it can log stays unseen.
const verbosity = 4

// Env is what one test gets: a namespace of its own on the control plane of its package.
type Env struct {
	Config *rest.Config
	// Client reads and writes live, without a cache, as an administrator.
	Client client.WithWatch
	// Namespace was made for this test and is deleted after it.
	Namespace string

	t     testing.TB
	plane *ControlPlane
}

// New prepares a test. When the test ends, all conditions in the cluster are checked (see Invariants). Whatever else the
// test registers with Cleanup runs before that.
func New(t testing.TB) *Env {
	t.Helper()
	if shared.plane == nil {
		t.Fatal("no control plane: the package's TestMain must call testenv.Main")
	}
	plane := shared.plane
	if shared.free != nil {
		plane = <-shared.free
		t.Cleanup(func() { shared.free <- plane })
	}
	c, err := client.NewWithWatch(plane.Config, client.Options{Scheme: shared.scheme})
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	env := &Env{Config: plane.Config, Client: c, Namespace: Namespace(t, c), t: t, plane: plane}
	t.Cleanup(func() { CheckInvariants(t, c) })
	return env
}

// Logs returns everything that controllers have logged in this test binary so far. A test looks there for what must never
// be logged.
func (e *Env) Logs() string {
	e.t.Helper()
	logs, err := os.ReadFile(shared.plane.logPath("controllers"))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(logs)
}

// StartCertManager runs cert-manager's controllers for the test's namespace until the test ends, or until the returned
// function is called.
func (e *Env) StartCertManager(opts CertManagerOptions) (stop func()) {
	e.t.Helper()
	opts.Namespace = e.Namespace
	// Its plain messages are about optimistic locking, which is all in a day's work: so high a level leaves its errors.
	stop, err := StartCertManager(logr.NewContext(context.Background(), shared.log.V(verbosity+1)), e.Config, opts)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(stop)
	return stop
}
