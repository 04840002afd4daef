// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"net"
	"syscall"
	"time"
)

// setUserTimeout makes the kernel reset the connection when sent data has not
// been acknowledged for d, instead of repeating it for a quarter of an hour.
func setUserTimeout(conn *net.TCPConn, d time.Duration) error {
	const tcpUserTimeout = 18 // TCP_USER_TIMEOUT in linux/tcp.h; package syscall lacks it
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	// 0 would mean the system's default.
	milliseconds := max(int(d.Milliseconds()), 1)
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		optionErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, milliseconds)
	})
	if err != nil {
		return err
	}
	return optionErr
}
