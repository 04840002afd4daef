// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"iter"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// stores knows where the cache keeps its objects, for those who look at all of a kind: a list
// of the cache copies each, which is 35 MB of ten thousand orders and their purchases at every
// scrape of the metrics.
type stores struct {
	mu    sync.Mutex
	known []store
}

type store struct {
	of       runtime.Object
	informer toolscache.SharedIndexInformer
}

// note has the stores of the cache's informers known.
func (s *stores) note(options *cache.Options) {
	build := options.NewInformer
	options.NewInformer = func(lw toolscache.ListerWatcher, o runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
		informer := build(lw, o, resync, by)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known = append(s.known, store{o, informer})
		return informer
	}
}

// all returns the objects of a kind, and none as long as not all of them are there. They
// belong to the cache.
func all[T runtime.Object](s *stores) iter.Seq[T] {
	return func(yield func(T) bool) {
		s.mu.Lock()
		known := slices.Clone(s.known)
		s.mu.Unlock()
		known = slices.DeleteFunc(known, func(s store) bool { _, is := s.of.(T); return !is })
		if slices.ContainsFunc(known, func(s store) bool { return !s.informer.HasSynced() }) {
			return
		}
		for _, s := range known {
			for _, o := range s.informer.GetStore().List() {
				if !yield(o.(T)) {
					return
				}
			}
		}
	}
}
