// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrCrashed is what every call of a crashed client returns.
var ErrCrashed = errors.New("the process has crashed")

// A CrashPoint says on which side of a write a process crashes.
type CrashPoint int

const (
	// BeforeWrite crashes before the API server sees the write.
	BeforeWrite CrashPoint = iota + 1
	// AfterWrite crashes after the API server did the write and before the process learns of it.
	AfterWrite
)

// A CrashingClient is the client of a process that crashes at a chosen write. From then on all its calls fail, reads too:
// a dead process does nothing. What it did before stays.
type CrashingClient struct {
	client.WithWatch
	crashed chan struct{}
}

// Crash returns a client that does what c does and crashes at its nth write, counted from 1 over all kinds. To crash at
// every boundary of some work, do it anew for n = 1, 2, 3 ... until a run ends with Crashed false: that run had fewer
// than n writes and was not disturbed.
func Crash(c client.Client, n int, point CrashPoint) *CrashingClient {
	crashing := &CrashingClient{crashed: make(chan struct{})}
	var writes atomic.Int64
	crashing.WithWatch = intercept(c, func(call Call, do func() error) error {
		if crashing.Crashed() {
			return ErrCrashed
		}
		if !call.Write() {
			return do()
		}
		switch write := writes.Add(1); {
		case write < int64(n):
			return do()
		case write > int64(n): // It raced with the crash.
			return ErrCrashed
		}
		defer close(crashing.crashed)
		if point == AfterWrite {
			_ = do() // Nobody is left to learn whether it succeeded.
		}
		return ErrCrashed
	})
	return crashing
}

// Crashed reports whether the crash has happened.
func (c *CrashingClient) Crashed() bool {
	select {
	case <-c.crashed:
		return true
	default:
		return false
	}
}

// Context returns a context that ends with the process, with ErrCrashed as its cause. Work that retries a write until it
// is durable needs it: without it such work would go on for ever.
func (c *CrashingClient) Context(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		select {
		case <-c.crashed:
			cancel(ErrCrashed)
		case <-parent.Done():
			cancel(context.Cause(parent))
		}
	}()
	return ctx
}
