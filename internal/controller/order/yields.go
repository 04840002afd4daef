// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// patience is how long an order leaves free slots of the purchase limit to those before
// it. One that cannot take its slot, for a reason of its own, must not keep all others
// from theirs.
const patience = 5 * time.Minute

// yields remembers since when an order leaves free slots to others. What is lost in a
// restart is waited for anew.
type yields struct {
	mu    sync.Mutex
	since map[types.NamespacedName]yielding
}

type yielding struct {
	uid   types.UID
	begin time.Time
}

// over reports whether the order has left free slots to others for long enough.
func (y *yields) over(name types.NamespacedName, uid types.UID, now time.Time) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if was, ok := y.since[name]; ok && was.uid == uid {
		return now.Sub(was.begin) >= patience
	}
	if y.since == nil {
		y.since = map[types.NamespacedName]yielding{}
	}
	y.since[name] = yielding{uid, now}
	return false
}

func (y *yields) forget(name types.NamespacedName) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.since, name)
}
