// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command pause does nothing until it is told to end. It holds a pod's namespaces on the
// node of hack/cluster.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
