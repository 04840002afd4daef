// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// leads returns a check that the lease names this process, by a live read: what
// the election believes may be older than what another process did.
func leads(live client.Reader, namespace, identity string) func(context.Context) error {
	return func(ctx context.Context) error {
		var lease coordinationv1.Lease
		if err := live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, &lease); err != nil {
			return fmt.Errorf("read the lease: %w", err)
		}
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder != identity {
			return errors.New("the lease names another process")
		}
		return nil
	}
}

// lock is the lock of the leader election. It remembers when this process renewed it: a
// leader that fails to do so has to end, and if it hangs instead, somebody else has to end
// it. The manager does not let the election's own check be used for that.
type lock struct {
	resourcelock.Interface
	clock clock.PassiveClock

	mu      sync.Mutex
	renewed time.Time // zero while this process does not lead
}

// Create creates the lease.
func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.note(r, l.Interface.Create(ctx, r))
}

// Update renews the lease, takes it over or gives it up.
func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.note(r, l.Interface.Update(ctx, r))
}

func (l *lock) note(r resourcelock.LeaderElectionRecord, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case r.HolderIdentity == l.Identity():
		l.renewed = l.clock.Now()
	default:
		l.renewed = time.Time{}
	}
	return err
}

// held returns a check that fails for a leader whose lease was not renewed for as long as
// it lasts. A process that waits for the lease is alive.
func (l *lock) held(lasts time.Duration) func(*http.Request) error {
	return func(*http.Request) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if since := l.clock.Since(l.renewed); !l.renewed.IsZero() && since > lasts {
			return fmt.Errorf("this process leads and has not renewed its lease for %s", since.Round(time.Second))
		}
		return nil
	}
}
