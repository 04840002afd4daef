// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNothingOfAnOrderIsDeliveredAfterItsTime(t *testing.T) {
	// The server takes the first bytes of an order that is larger than what the
	// kernels hold, lets the time end, and reads on only when Order has returned.
	// Without a reset the kernel would go on to deliver what it holds.
	ctx := &ending{Context: t.Context(), done: make(chan struct{})}
	returned := make(chan struct{})
	server := newBareServer(t, "http/1.1")
	var delivered int64
	var end error
	server.handle = func(conn *tls.Conn) {
		wire := conn.NetConn()
		_, _ = wire.Read(make([]byte, 1))
		ctx.end(context.DeadlineExceeded)
		<-returned
		delivered, end = io.Copy(io.Discard, wire)
	}
	order := orderRequest
	order.CSR = strings.Repeat("x", 16<<20)
	got := server.client(t).Order(ctx, order, yes)
	close(returned)
	server.Close()
	if got.Outcome != Unknown || !errors.Is(got.Err, context.DeadlineExceeded) {
		t.Errorf("outcome is %v: %v, want Unknown", got.Outcome, got.Err)
	}
	if delivered >= int64(len(order.CSR)) || !errors.Is(end, syscall.ECONNRESET) {
		t.Errorf("%d of %d bytes were delivered, then %v; want a reset before the end", delivered, len(order.CSR), end)
	}
}

func TestTheKernelGivesUpAnOrderAtItsDeadline(t *testing.T) {
	server := newBareServer(t, "http/1.1")
	server.handle = func(conn *tls.Conn) { _, _ = io.Copy(io.Discard, conn) }
	client := server.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	conn, err := client.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	if got := userTimeout(t, conn.raw.(*net.TCPConn)); got != 0 {
		t.Fatalf("a new connection has the timeout %v, want the system's default: the test proves nothing", got)
	}
	if err := conn.arm(ctx); err != nil {
		t.Fatal(err)
	}
	deadline, _ := ctx.Deadline()
	if got, left := userTimeout(t, conn.raw.(*net.TCPConn)), time.Until(deadline); got < left-time.Millisecond || got > time.Hour {
		t.Errorf("the kernel gives up after %v, want what is left of an hour", got)
	}
}

// userTimeout reads TCP_USER_TIMEOUT.
func userTimeout(t *testing.T, conn *net.TCPConn) time.Duration {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var milliseconds int
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		milliseconds, optionErr = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18)
	})
	if err := errors.Join(err, optionErr); err != nil {
		t.Fatal(err)
	}
	return time.Duration(milliseconds) * time.Millisecond
}
