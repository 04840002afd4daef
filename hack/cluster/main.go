// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// errUsage says that the command line is wrong; what is wrong was said.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode()) // The command said what is wrong.
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// images are the archives to load.
type images []string

func (i *images) String() string { return strings.Join(*i, ",") }

func (i *images) Set(path string) error {
	*i = append(*i, path)
	return nil
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	var archives images
	flags.Var(&archives, "image", "docker `archive` to load onto the node; may be given more than once")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	n, err := newNode(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop(context.WithoutCancel(ctx))) }()
	ctx, n.abort = context.WithCancelCause(ctx)
	began := time.Now()
	if err := n.start(ctx, archives); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	kubeconfig := n.pki.file("admin.kubeconfig")
	fmt.Printf("a node is ready after %.0f s\n", time.Since(began).Seconds())
	if flags.NArg() == 0 {
		fmt.Printf("\n  export KUBECONFIG=%s\n  export PATH=%s:$PATH\n\nIt runs until Ctrl-C. Its logs are in %s.\n", kubeconfig, n.assets, n.path("logs"))
		<-ctx.Done()
		return broken(ctx)
	}
	cmd := exec.CommandContext(ctx, flags.Arg(0), flags.Args()[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "E2E_KUBECONFIG="+kubeconfig)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return cmp.Or(broken(ctx), err)
	}
	return nil
}

// broken is why the node ended before it was told to; nil if it did not.
func broken(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
