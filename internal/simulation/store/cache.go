// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cache is what one process knows of the store: for every kind that it watches all
// changes up to some point, and each kind up to a point of its own.
type Cache struct {
	// The methods that the controllers do not use are not there.
	cache.Cache
	store *Store

	mu    sync.Mutex
	kinds map[string]*informer
}

var (
	_ cache.Cache         = (*Cache)(nil)
	_ client.FieldIndexer = (*Cache)(nil)
)

// NewCache returns a cache that watches nothing yet.
func NewCache(s *Store) *Cache { return &Cache{store: s, kinds: map[string]*informer{}} }

// informer watches one kind.
type informer struct {
	cache.Informer
	objects  map[types.NamespacedName]client.Object
	position int
	indexes  map[string]client.IndexerFunc
	handlers []toolscache.ResourceEventHandler
}

// informer returns the informer for the kind of object. What exists when it begins to
// watch it knows at once. The caller holds mu.
func (c *Cache) informer(kind string) *informer {
	if i, ok := c.kinds[kind]; ok {
		return i
	}
	i := &informer{objects: map[types.NamespacedName]client.Object{}, indexes: map[string]client.IndexerFunc{}}
	for {
		event, ok := c.store.event(kind, i.position)
		if !ok {
			break
		}
		i.apply(event)
	}
	c.kinds[kind] = i
	return i
}

func (i *informer) apply(e Event) {
	i.position++
	if e.New == nil {
		delete(i.objects, client.ObjectKeyFromObject(e.Old))
		return
	}
	i.objects[client.ObjectKeyFromObject(e.New)] = e.New
}

// IndexField lets a kind be listed by a field.
func (c *Cache) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	gvk, err := c.store.resource(object)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.informer(gvk.Kind).indexes[field] = values
	return nil
}

// GetInformer begins to watch a kind.
func (c *Cache) GetInformer(_ context.Context, object client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	gvk, err := c.store.resource(object)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.informer(gvk.Kind)
	return &registrar{c: c, kind: gvk.Kind}, nil
}

// WaitForCacheSync returns true: what is watched is known up to some point.
func (c *Cache) WaitForCacheSync(context.Context) bool { return true }

// registrar adds handlers to an informer.
type registrar struct {
	cache.Informer
	c    *Cache
	kind string
}

func (r *registrar) AddEventHandlerWithOptions(handler toolscache.ResourceEventHandler, _ toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	r.c.mu.Lock()
	i := r.c.informer(r.kind)
	i.handlers = append(i.handlers, handler)
	objects := i.sorted()
	r.c.mu.Unlock()
	for _, object := range objects {
		handler.OnAdd(object, true)
	}
	return registration{}, nil
}

func (i *informer) sorted() []client.Object {
	var objects []client.Object
	for _, object := range i.objects {
		objects = append(objects, object)
	}
	slices.SortFunc(objects, func(a, b client.Object) int {
		return slices.Compare([]string{a.GetNamespace(), a.GetName()}, []string{b.GetNamespace(), b.GetName()})
	})
	return objects
}

type registration struct{}

func (registration) HasSynced() bool { return true }

func (registration) HasSyncedChecker() toolscache.DoneChecker { return synced{} }

type synced struct{}

func (synced) Name() string { return "store" }

func (synced) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// Watched are the kinds that the cache watches, in order.
func (c *Cache) Watched() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(keysOf(c.kinds))
}

// Next is the next change of a kind that the cache does not know yet.
func (c *Cache) Next(kind string) (Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.event(kind, c.kinds[kind].position)
}

// Deliver tells the cache of the next change of a kind, and whoever handles it.
func (c *Cache) Deliver(kind string) {
	c.mu.Lock()
	i := c.kinds[kind]
	event, ok := c.store.event(kind, i.position)
	if !ok {
		c.mu.Unlock()
		return
	}
	i.apply(event)
	handlers := slices.Clone(i.handlers)
	c.mu.Unlock()
	for _, handler := range handlers {
		switch {
		case event.Old == nil:
			handler.OnAdd(event.New, false)
		case event.New == nil:
			handler.OnDelete(event.Old)
		default:
			handler.OnUpdate(event.Old, event.New)
		}
	}
}

// Get reads an object as the cache knows it.
func (c *Cache) Get(_ context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	i, gvk, err := c.watching(into)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := i.objects[key]
	if !ok {
		return apierrors.NewNotFound(groupResource(gvk), key.Name)
	}
	var o client.GetOptions
	if o.ApplyOptions(opts); o.UnsafeDisableDeepCopy != nil && *o.UnsafeDisableDeepCopy {
		reflect.ValueOf(into).Elem().Set(reflect.ValueOf(found).Elem())
		return nil
	}
	copyInto(found, into)
	return nil
}

// List reads objects as the cache knows them.
func (c *Cache) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	i, _, err := c.watching(into)
	if err != nil {
		return err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	return fill(into, i.objects, o, func(field string) (client.IndexerFunc, error) {
		if values, ok := i.indexes[field]; ok {
			return values, nil
		}
		return nil, fmt.Errorf("there is no index of the field %s", field)
	})
}

// watching is the informer for an object or a list. To read what nobody watches is an
// error, as it is in the controller.
func (c *Cache) watching(o runtime.Object) (*informer, schema.GroupVersionKind, error) {
	gvk, err := c.store.resource(o)
	if err != nil {
		return nil, gvk, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.kinds[gvk.Kind]
	if !ok {
		return nil, gvk, fmt.Errorf("%s is not watched", gvk.Kind)
	}
	return i, gvk, nil
}
