// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"cmp"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// WriteWindow is how long after the intent was written the order may still leave, where
// Times names nothing else. A process that was frozen for longer finds its connection
// refusing.
const WriteWindow = 30 * time.Second

// MinSettleTime is that of the zero Times.
const MinSettleTime = 2*WriteWindow + regfish.DefaultOrderTimeout

// Times are how long one order may take. The zero value has the defaults; shorter ones
// are for those who kill this program many times and cannot wait.
type Times struct {
	// WriteWindow is how long after the intent was written the order may still leave.
	WriteWindow time.Duration
	// OrderTimeout is how long an order waits for its answer.
	OrderTimeout time.Duration
}

// Window is the write window.
func (t Times) Window() time.Duration { return cmp.Or(t.WriteWindow, WriteWindow) }

// MinSettleTime is after how long an order of another process is certainly not under way
// any more, and so the least that can be waited for it: it may leave until the write
// window is over, regfish may take as long as it is waited for, and as much as the window
// is left for clocks that differ and processes that are late.
func (t Times) MinSettleTime() time.Duration {
	return 2*t.Window() + cmp.Or(t.OrderTimeout, regfish.DefaultOrderTimeout)
}
