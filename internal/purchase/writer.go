// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=get,namespace=regfish-issuer

// writer returns who may still be sending an order of p; empty if nobody can be. A
// process that was stopped between the intent and the order may go on at any time, and
// its order comes after every list that lacked it. known is for how long this process
// has been looking.
func (r *Resolver) writer(ctx context.Context, p *v1alpha1.RegfishPurchase, known time.Duration) (string, error) {
	for i := range p.Spec.Attempts {
		// Whoever recorded an outcome is not sending any more.
		if a := &p.Spec.Attempts[i]; a.Outcome == nil && unresolved(*a) {
			who, err := r.alive(ctx, a.Writer, a.Time.Time, known)
			if err != nil || who != "" {
				return who, err
			}
		}
	}
	return "", nil
}

// alive returns the process that wrote an intent at that time, as people know it; empty if
// it is gone.
func (r *Resolver) alive(ctx context.Context, w v1alpha1.Writer, since time.Time, known time.Duration) (string, error) {
	self := r.Spender.Writer
	if w.PodUID != "" && w.PodUID == self.PodUID {
		// This process, which does not work on it, or an earlier one of its pod.
		return "", nil
	}
	var pod corev1.Pod
	if w.PodUID != "" && w.PodName != "" {
		switch err := r.Spender.Live.Get(ctx, client.ObjectKey{Namespace: w.PodNamespace, Name: w.PodName}, &pod); {
		case err == nil && pod.UID == w.PodUID && startedIn(&pod, since):
			// The process that sent it, or the one that took its place at once.
		case err == nil && pod.UID == w.PodUID && !restarted(&pod, since):
			return fmt.Sprintf("pod %s/%s", w.PodNamespace, w.PodName), nil
		case err == nil, apierrors.IsNotFound(err):
			return "", nil
		case !apierrors.IsForbidden(err):
			return "", fmt.Errorf("read the pod that sent the order: %w", err)
		}
	}
	// There is no pod, none that may be read, or no telling which process it runs: only
	// time tells.
	if known >= 2*r.SettleTime {
		return "", nil
	}
	return fmt.Sprintf("process %s", w.StartNonce), nil
}

// startedIn reports whether a container of the pod began to run in the second of that
// time. A start has no smaller unit, so it may have been before or after.
func startedIn(pod *corev1.Pod, then time.Time) bool {
	return pod.Status.Phase == corev1.PodRunning && slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Running != nil && c.State.Running.StartedAt.Truncate(time.Second).Equal(then.Truncate(time.Second))
	})
}

// restarted reports whether no container of the pod has been running since then. The
// two times are of one machine's clock, on which the containers run.
func restarted(pod *corev1.Pod, then time.Time) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return true
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running != nil && !c.State.Running.StartedAt.After(then) {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0
}
