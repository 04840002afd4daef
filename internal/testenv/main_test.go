// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// dieEnv makes this binary the victim of TestControlPlaneEndsWithItsProcess.
const dieEnv = "TESTENV_DIE"

func TestMain(m *testing.M) {
	opts := testenv.Options{
		CRDPaths:          []string{"internal/testenv/testdata/regfishorder.yaml"},
		ControllerManager: true,
	}
	if os.Getenv(dieEnv) != "" {
		die(opts)
	}
	testenv.Main(m, opts)
}

// die starts a control plane, says where its API server is, and panics in a goroutine, where no deferred call of main
// helps.
func die(opts testenv.Options) {
	plane, err := testenv.Start(opts)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, plane.Config.Host)
	go panic("a test panics")
	select {}
}
