// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package regfish

import (
	"net"
	"time"
)

// setUserTimeout does nothing: only Linux has TCP_USER_TIMEOUT. Elsewhere a
// process that is stopped right after it wrote an order cannot keep the kernel
// from delivering it late.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
