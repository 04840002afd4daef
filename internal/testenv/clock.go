// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"reflect"
	"sync/atomic"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"k8s.io/utils/clock"
)

// Clock goes like a real one and can be set forward, so that a year passes in a test. Its
// timers go by the real time: whoever sets it forward has to make those look who wait.
type Clock struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now is the time of this clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since is the time that has passed on this clock.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Advance sets the clock forward.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// setClock replaces the clock of the controllers that the factory makes. cert-manager has
// no option for it, and its controllers can only be made by the factory.
func setClock(f *controller.ContextFactory, c clock.Clock) {
	base := (*controller.Context)(reflect.ValueOf(f).Elem().FieldByName("ctx").UnsafePointer())
	base.Clock = c
}
