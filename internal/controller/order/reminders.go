// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package order

import (
	"sync"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

const day = 24 * time.Hour

// handover is how long it may take until another process takes over: Kubernetes replaces a
// pod whose node is lost after about six minutes. What was put off until less than that before
// this process came is told again: the process before may not have lived to tell it, and
// nobody would be told for a day.
const handover = 10 * time.Minute

// patience is for how long nobody is told of a wait, because automation may end it.
func (r *Reconciler) patience(reason string) time.Duration {
	if reason == v1alpha1.ReasonAwaitingDNS {
		return r.DNSPatience
	}
	return 0
}

// remind makes the events of every wait in which somebody has to act that were put off, and
// once more when a day has passed. It returns when it has to be called next; zero if there is
// no such wait.
func (r *Reconciler) remind(o *v1alpha1.RegfishOrder, cr *cmapi.CertificateRequest, now time.Time) time.Duration {
	var soonest time.Duration
	name := client.ObjectKeyFromObject(o)
	for _, a := range announced {
		c := meta.FindStatusCondition(o.Status.Conditions, a.kind)
		if !a.wait || c == nil || c.Status != a.status || (a.reason != "" && c.Reason != a.reason) {
			continue
		}
		next, known := r.reminders.next(name, o.UID, a.kind)
		if !known {
			// It was told by an earlier process, or put off. Whole days after the wait was told
			// of first keep many restarts from making many events.
			first := r.patience(a.reason)
			next = c.LastTransitionTime.Add(first)
			if waited := now.Sub(next); waited >= handover || (waited >= 0 && first == 0) {
				next = now.Add(day - waited%day)
			}
			r.reminders.set(name, o.UID, a.kind, next)
		}
		if !now.Before(next) {
			r.event(o, cr, c, true)
			next = now.Add(day)
			r.reminders.set(name, o.UID, a.kind, next)
		}
		if left := next.Sub(now); soonest == 0 || left < soonest {
			soonest = left
		}
	}
	return soonest
}

// reminders remembers when each wait of each order is told again. There may be tens of
// thousands.
type reminders struct {
	mu sync.Mutex
	at map[wait]reminder
}

// wait is the condition of an order that somebody is told of.
type wait struct {
	order types.NamespacedName
	kind  string
}

type reminder struct {
	uid  types.UID
	next time.Time
}

func (r *reminders) next(name types.NamespacedName, uid types.UID, kind string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.at[wait{name, kind}]
	return known.next, ok && known.uid == uid
}

func (r *reminders) set(name types.NamespacedName, uid types.UID, kind string, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[wait]reminder{}
	}
	r.at[wait{name, kind}] = reminder{uid, next}
}

func (r *reminders) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range announced {
		delete(r.at, wait{name, a.kind})
	}
}
