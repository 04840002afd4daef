// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command etcd is the etcd server, built from the version pinned in go.mod.
// The etcd release has its own main package in a module that replaces half of
// its dependencies with local folders, so it cannot be required from here.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
