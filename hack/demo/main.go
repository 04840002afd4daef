// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// A scenario is one story.
type scenario struct {
	title string
	// calendar lets days pass at once.
	calendar bool
	// noApprover leaves requests for a person to approve or deny.
	noApprover bool
	play       func(context.Context, *stage) error
}

var scenarios = map[string]scenario{
	"dv":       {title: "a Certificate becomes a Secret", play: dv},
	"ov":       {title: "a person has to complete the order at regfish", play: ov},
	"wildcard": {title: "the issuer has no product for a wildcard yet", play: wildcard},
	"rejected": {title: "the certificate authority rejects the order", play: rejected},
	"denied":   {title: "a person denies the request", noApprover: true, play: denied},
	"bad-key":  {title: "regfish does not know the API key", play: badKey},
	"renew":    {title: "a year passes, and what is paid for is used", calendar: true, play: renew},
}

// The parts that can be broken, to show that the demo notices.
const (
	breakDNS    = "dns"    // nobody sets the validation records
	breakGate   = "gate"   // regfish delivers a certificate for another key
	breakLedger = "ledger" // somebody buys the same certificate again
	breakPerson = "person" // nobody completes the order
)

// breaks names the scenario in which a part is broken.
var breaks = map[string]string{
	breakDNS: "dv", breakGate: "dv", breakLedger: "dv", breakPerson: "ov",
}

// names lists the keys of a map for a sentence.
func names[V any](of map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}

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
	name := flags.String("scenario", "", "one of "+names(scenarios)+" (default dv, or the one in which -break breaks something)")
	keep := flags.Bool("keep", false, "leave everything running until Ctrl-C")
	broken := flags.String("break", "", "break one part, of "+names(breaks)+"; the demo must then fail")
	if err := flags.Parse(args); err != nil {
		return err
	}
	of, known := breaks[*broken]
	if *broken != "" && !known {
		return fmt.Errorf("there is no way to break %q, only %s", *broken, names(breaks))
	}
	if *name = cmp.Or(*name, of, "dv"); known && *name != of {
		return fmt.Errorf("%s is broken in the scenario %s, not in %s", *broken, of, *name)
	}
	chosen, ok := scenarios[*name]
	if !ok {
		return fmt.Errorf("there is no scenario %q, only %s", *name, names(scenarios))
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
