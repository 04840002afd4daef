// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
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

func TestFlagsForOrdersThatWaitForAPerson(t *testing.T) {
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	ctx, cancel := context.WithCancel(t.Context())
	output, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--listen=127.0.0.1:0", "--ca-file=" + caFile, "--missing-organization=Stage",
			"--console-url=https://console.example.com", "--order-lifetime=1ns"}, printed, io.Discard)
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
	key, err := regfish.ParseKey([]byte(simulator.DefaultKey))
	if err != nil {
		t.Fatal(err)
	}
	client, err := regfish.New(regfish.Config{Endpoint: strings.TrimSpace(url), Key: key, CABundle: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	result := client.Order(t.Context(), regfish.OrderRequest{
		SKU: "SecureSite", CommonName: "www.example.com", DCVMethod: regfish.DCVMethodCNAME, CSR: signingRequest(t, "www.example.com"),
	}, func() error { return nil })
	cert := result.Certificate
	if result.Outcome != regfish.Accepted || !cert.ActionRequired || cert.CompletionURL != "https://console.example.com/my/certs/"+cert.ID+"/complete" {
		t.Errorf("order is %v: %v, %+v, want one that waits for a person", result.Outcome, result.Err, cert)
	}
	if cert, err := client.Certificate(t.Context(), cert.ID); err != nil || cert.Status != regfish.StatusOrderCancelled {
		t.Errorf("after its lifetime: %s, %v", cert.Status, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func signingRequest(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
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
		"a word for what is missing":      {"--listen=127.0.0.1:0", "--missing-organization=stage"},
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
