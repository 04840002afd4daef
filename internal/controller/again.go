// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Component is the name under which events are made.
const Component = "regfish-issuer"

const (
	// retryPause is the pause before something is done again that another writer got
	// in the way of; the cache has the other's write by then.
	retryPause = 250 * time.Millisecond
	// lastRetryPause is the longest pause of what is in vain again and again.
	lastRetryPause = time.Minute
)

// Spread is a part of within that is as good as drawn and always the same for a name, so
// that many objects do not ask at once and a run can be repeated.
func Spread(name string, within time.Duration) time.Duration {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name)) // it never fails
	return time.Duration(float64(within) * float64(sum.Sum32()) / (1 << 32))
}

// Again maps the error of a write to the result of a reconcile. A conflict, an
// object that exists already or one that is gone only says that the decision was
// made on an older state: it is made again, and is no error to anybody.
func Again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: retryPause}, nil
	}
	return reconcile.Result{}, err
}

// Patient returns r with a pause after Again that doubles for as long as it is in vain.
// A cache that is behind by a minute shows the older state all that time, and what is
// decided on it may ask the vendor before the API server refuses it. Nothing is late for
// that: the write that was in the way wakes the object when the cache has it.
func Patient(r reconcile.Reconciler) reconcile.Reconciler {
	return &patient{Reconciler: r, vain: map[reconcile.Request]int{}}
}

type patient struct {
	reconcile.Reconciler
	mu sync.Mutex
	// vain is how often in a row each object was to be done again.
	vain map[reconcile.Request]int
}

func (p *patient) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	result, err := p.Reconciler.Reconcile(ctx, req)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || result.RequeueAfter != retryPause {
		delete(p.vain, req)
		return result, err
	}
	result.RequeueAfter = min(retryPause<<p.vain[req], lastRetryPause)
	if result.RequeueAfter < lastRetryPause {
		p.vain[req]++
	}
	return result, nil
}
