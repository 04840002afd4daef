// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command regfish-simulator serves a stand-in for the regfish API. It sells
// nothing that costs anything, and nothing that anybody trusts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// patience bounds how long requests under way are waited for at the end.
const patience = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "regfish-simulator:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints the URL when it listens.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("regfish-simulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		listen     = flags.String("listen", "127.0.0.1:8443", "`address` to serve HTTPS on")
		keyFile    = flags.String("key-file", "", "`file` with one API key a line, each an account of its own (default: the key "+simulator.DefaultKey+")")
		issueDelay = flags.Duration("issue-delay", 0, "`time` from the validation of an order to its certificate")
		caFile     = flags.String("ca-file", "", "`file` to write the CA of the HTTPS server to, for an issuer's caBundle")
		rootFile   = flags.String("root-file", "", "`file` to write the root of the sold certificates to")
		lifetime   = flags.Duration("order-lifetime", 0, "`time` after which an order that is not completed and validated is cancelled (default: never)")
		missing    = flags.String("missing-organization", string(simulator.Refuse409), "`answer` to an OV order without a usable organization: "+string(simulator.Refuse409)+" or "+string(simulator.Stage))
		console    = flags.String("console-url", "", "`URL` at which people reach the pages of orders that wait for them (default: as the API was reached)")
		resolver   = flags.String("resolver", "", "`host:port` of a DNS server that is asked for validation records, beside the simulator's own")
		hosts      = flags.String("hosts", "", "comma-separated `names` and addresses of the server beside localhost")
		verbose    = flags.Bool("verbose", false, "log every request")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	options := simulator.Options{
		IssueDelay:          *issueDelay,
		OrderLifetime:       *lifetime,
		MissingOrganization: simulator.MissingOrganization(*missing),
		ConsoleURL:          *console,
		Log:                 slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}
	if *hosts != "" {
		options.Hosts = strings.Split(*hosts, ",")
	}
	if *resolver != "" {
		options.Resolver = simulator.DNS(*resolver)
	}
	if *keyFile != "" {
		keys, err := os.ReadFile(*keyFile)
		if err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		if options.Keys = strings.Fields(string(keys)); len(options.Keys) == 0 {
			return errors.New("the key file has no key")
		}
	}
	server, err := simulator.New(options)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{*caFile: server.ServerCA(), *rootFile: server.Root()} {
		if name == "" {
			continue
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	url, err := server.Listen(*listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, url)
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return server.Close() // somebody holds on to a connection
	}
	return nil
}
