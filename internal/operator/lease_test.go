// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"
)

// answering is a lock whose writes are answered with an error, or nil.
type answering struct {
	resourcelock.Interface
	err error
}

func (a *answering) Identity() string { return "me" }
func (a *answering) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return a.err
}
func (a *answering) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	return a.err
}

// TestLivenessIncludesTheLease: a leader that cannot renew its lease ends by itself; one that
// hangs instead is told from one that lives. No real part can be made to hang like that.
func TestLivenessIncludesTheLease(t *testing.T) {
	const lasts = time.Minute
	mine, nobody := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}, resourcelock.LeaderElectionRecord{}
	unanswered := errors.New("no answer")
	type step struct {
		write *resourcelock.LeaderElectionRecord // nil: only time passes
		err   error
		later time.Duration
	}
	tests := []struct {
		name, reason string
		steps        []step
		dead         bool
	}{
		{"it never led", "whoever waits for the lease is alive", []step{{nil, nil, time.Hour}}, false},
		{"it renews", "all is well", []step{{&mine, nil, lasts}, {&mine, nil, lasts}}, false},
		{"its renewals are not answered", "it should have ended, and holds what it no longer has", []step{{&mine, nil, 0}, {&mine, unanswered, lasts + time.Second}}, true},
		{"it does not try any more", "a deadlock renews nothing", []step{{&mine, nil, lasts + time.Second}}, true},
		{"it gave the lease up", "it stops, and may take its time for an order in flight", []step{{&mine, nil, 0}, {&nobody, nil, time.Hour}}, false},
		{"it could not give the lease up", "nobody may lead until the lease is over", []step{{&mine, nil, 0}, {&nobody, unanswered, lasts + time.Second}}, true},
		{"it could not get the lease", "it does not lead", []step{{&mine, unanswered, time.Hour}}, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			clock, inner := clocktesting.NewFakePassiveClock(time.Now()), &answering{}
			l := &lock{Interface: inner, clock: clock}
			for i, s := range tc.steps {
				if inner.err = s.err; s.write != nil {
					write := l.Update
					if i == 0 {
						write = l.Create
					}
					if err := write(t.Context(), *s.write); !errors.Is(err, s.err) {
						t.Errorf("write %d: %v", i, err)
					}
				}
				clock.SetTime(clock.Now().Add(s.later))
			}
			if err := l.held(lasts)(nil); (err != nil) != tc.dead {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}
