// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are the command line.
type options struct {
	kubeconfig, image, simulator, version, out string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := options{kubeconfig: os.Getenv("E2E_KUBECONFIG")}
	flag.StringVar(&o.image, "image", "registry.example.com/regfish-issuer:e2e", "`image` of the controller, which the nodes have or can pull")
	flag.StringVar(&o.simulator, "simulator", "registry.example.com/regfish-simulator:e2e", "`image` of the simulator")
	flag.StringVar(&o.version, "version", "dev", "`version` that the images were built from")
	flag.StringVar(&o.out, "out", "bin", "`folder` for e2e.json, e2e.md and the logs")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.kubeconfig == "" {
		return errors.New("E2E_KUBECONFIG names no cluster; `make e2e` brings one up where there is root on Linux")
	}
	r, err := newRing(o)
	if err != nil {
		return err
	}
	err = r.play(ctx)
	if err != nil {
		r.explain(context.WithoutCancel(ctx))
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return errors.Join(err, r.write(err), r.end(ending))
}
