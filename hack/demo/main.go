// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// A scenario is one story.
type scenario struct {
	title string
	// noApprover leaves requests for a person to approve or deny.
	noApprover bool
	play       func(context.Context, *stage) error
}

var scenarios = map[string]scenario{
	"dv":      {title: "a Certificate becomes a Secret", play: dv},
	"denied":  {title: "a person denies the request", noApprover: true, play: denied},
	"bad-key": {title: "regfish does not know the API key", play: badKey},
}

// The parts of dv that can be broken, to show that the demo notices.
const (
	breakDNS    = "dns"    // nobody sets the validation records
	breakGate   = "gate"   // regfish delivers a certificate for another key
	breakLedger = "ledger" // somebody buys the same certificate again
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C cleans up; one who cannot wait for that presses it again.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	var failed *failure
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.As(err, &failed):
		_, _ = fmt.Fprintf(os.Stdout, "\nFAIL: %v\n", err)
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	name := flags.String("scenario", "dv", "dv, denied or bad-key")
	keep := flags.Bool("keep", false, "leave everything running until Ctrl-C")
	broken := flags.String("break", "", "break one part of dv: dns, gate or ledger; the demo must then fail")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, ok := scenarios[*name]
	if !ok {
		return fmt.Errorf("there is no scenario %q: use dv, denied or bad-key", *name)
	}
	switch *broken {
	case "", breakDNS, breakGate, breakLedger:
	default:
		return fmt.Errorf("there is no way to break %q: use dns, gate or ledger", *broken)
	}
	if *broken != "" && *name != "dv" {
		return fmt.Errorf("only the scenario dv can be broken")
	}

	// The story is on the screen; what the libraries of the control plane have to say is not part of it.
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())

	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	s := newStage(abort, *broken, out)
	err := s.perform(ctx, chosen, *keep)
	return errors.Join(err, s.stop())
}
