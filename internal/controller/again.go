// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"hash/fnv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Component is the name under which events are made.
const Component = "regfish-issuer"

// RetryPause is the pause before something is done again that another writer got
// in the way of; the cache has the other's write by then.
const RetryPause = 250 * time.Millisecond

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
		return reconcile.Result{RequeueAfter: RetryPause}, nil
	}
	return reconcile.Result{}, err
}
