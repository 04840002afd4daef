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
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rounds := flag.Int("rounds", 20, "`number` of rounds")
	seed := flag.Uint64("seed", uint64(time.Now().Unix()), "`number` that the rounds follow from")
	out := flag.String("out", "bin", "`folder` for kill.json, kill.md and the logs")
	version := flag.String("version", "dev", "`version` of this tree, for the page")
	flag.Parse()
	if err := run(ctx, *rounds, *seed, *out, *version); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, seed uint64, out, version string) (err error) {
	if rounds < 1 {
		return errors.New("-rounds has to be 1 at least")
	}
	r := &ring{rounds: rounds, seed: seed, out: out}
	// What the libraries in this process say is not what the controllers say.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	r.result = result{Rounds: rounds, Seed: seed, Version: version, began: time.Now()}
	defer func() { err = errors.Join(err, r.end()) }()
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.play(ctx); err != nil {
		return err
	}
	return r.judge(ctx)
}
