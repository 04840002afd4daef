// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go lets the heap double between two collections of garbage. That is cheap, and no matter
// while the heap is small; with ten thousand orders it is more than all of them take.
const (
	// headroom is by how much the heap may grow in any case, in bytes.
	headroom = 16 << 20
	// leastPercent is by which share it may grow at least: work is not to be slowed down for
	// memory.
	leastPercent = 10
	// settled is how long after the start what only the start needed is given back.
	settled = 20 * time.Second
)

// keepHeapSmall has garbage collected the more often the more is in use, until ctx ends.
// Whoever sets GOGC knows better.
func keepHeapSmall(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live, percent := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, 100
	started, tick := time.After(settled), time.NewTicker(250*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-started:
			debug.FreeOSMemory()
			tick.Reset(10 * time.Second)
		case <-tick.C:
		}
		metrics.Read(live)
		if p := gcPercent(live[0].Value.Uint64()); p < percent*9/10 || p > percent*11/10 {
			debug.SetGCPercent(p)
			percent = p
		}
	}
}

// gcPercent is by which share a heap with so many bytes in use may grow.
func gcPercent(live uint64) int {
	return int(min(100, max(leastPercent, 100*headroom/max(live, 1))))
}
