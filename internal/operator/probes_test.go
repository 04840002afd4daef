// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/regfish/regfish-issuer/internal/operator"
)

// TestProbes: the kubelet is told that the process lives, and that its cache is filled,
// also while it does not lead.
func TestProbes(t *testing.T) {
	w := newWorld(t)
	leading := func(o *operator.Options) { o.LeaderElection = true }
	w.run(leading)
	w.issuersReady()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	w.run(leading, func(o *operator.Options) { o.ProbeAddress = address })
	for _, path := range []string{"/healthz", "/readyz"} {
		w.eventually(path+" of the process that waits for the lease", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s", resp.Status)
			}
			return nil
		})
	}
}
