// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestRunServesUntilItIsStopped(t *testing.T) {
	dir := t.TempDir()
	caFile, rootFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "root.pem"), filepath.Join(dir, "keys")
	if err := os.WriteFile(keyFile, []byte("first-key\nsecond-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	output, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--listen=127.0.0.1:0", "--ca-file=" + caFile, "--root-file=" + rootFile, "--key-file=" + keyFile,
			"--issue-delay=1h", "--resolver=127.0.0.1:1", "--hosts=regfish.test,127.0.0.2", "--verbose"}, printed, io.Discard)
		_ = printed.CloseWithError(io.EOF)
		ended <- err
	}()
	url, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("no URL was printed: %v, %v", err, <-ended)
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	if root, err := os.ReadFile(rootFile); err != nil || bytes.Equal(root, ca) || !bytes.HasPrefix(root, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("the root file is %q, %v", root, err)
	}
	for key, want := range map[string]regfish.Kind{"first-key": regfish.KindNone, "second-key": regfish.KindNone, simulator.DefaultKey: regfish.KindUnauthorized} {
		parsed, err := regfish.ParseKey([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		client, err := regfish.New(regfish.Config{Endpoint: strings.TrimSpace(url), Key: parsed, CABundle: ca})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Products(t.Context()); regfish.KindOf(err) != want {
			t.Errorf("key %s: %v, want kind %d", key, err, want)
		}
		client.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestRunRefusesBadFlags(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A context that has ended: whatever is accepted by mistake ends at once.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, args := range map[string][]string{
		"an unknown flag":                 {"--nonsense"},
		"an argument":                     {"--listen=127.0.0.1:0", "serve"},
		"a delay without a unit":          {"--issue-delay=5"},
		"an address that is none":         {"--listen=nowhere"},
		"a key file that is not there":    {"--key-file=" + filepath.Join(dir, "none")},
		"a key file without a key":        {"--key-file=" + empty},
		"a folder that is not there":      {"--listen=127.0.0.1:0", "--ca-file=" + filepath.Join(dir, "none", "ca.pem")},
		"a root folder that is not there": {"--listen=127.0.0.1:0", "--root-file=" + filepath.Join(dir, "none", "root.pem")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(ctx, args, io.Discard, io.Discard); err == nil {
				t.Errorf("%q was accepted", args)
			}
		})
	}
}

func TestHelpNamesTheDefaultKey(t *testing.T) {
	var help bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, io.Discard, &help); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error is %v", err)
	}
	if !strings.Contains(help.String(), simulator.DefaultKey) {
		t.Errorf("help is %s", help.String())
	}
}
