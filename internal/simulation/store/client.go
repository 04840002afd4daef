// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Call is one call of a client.
type Call struct {
	// Verb is get, list, create, patch or delete.
	Verb string
	// Kind of the object.
	Kind string
	// Key is namespace/name; empty for a list.
	Key string
	// Status says that the status alone is written.
	Status bool
}

// Writes reports whether the call changes something.
func (c Call) Writes() bool { return c.Verb != "get" && c.Verb != "list" }

// String is the call in one line.
func (c Call) String() string {
	if c.Status {
		return fmt.Sprintf("%s %s/status %s", c.Verb, c.Kind, c.Key)
	}
	return fmt.Sprintf("%s %s %s", c.Verb, c.Kind, c.Key)
}

// Gate carries out a call of a client, or does not. It may also do it and return an
// error.
type Gate func(ctx context.Context, call Call, do func() error) error

// Client is a client of the store whose calls go through a gate. Reads of a client with
// a cache do not: they stay in its process.
type Client struct {
	// The methods that the controllers do not use are not there.
	client.Client
	Store *Store
	Gate  Gate
	Cache *Cache
}

var _ client.Client = (*Client)(nil)

// Scheme returns the scheme of the store.
func (c *Client) Scheme() *runtime.Scheme { return c.Store.scheme }

// RESTMapper maps nothing.
func (c *Client) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

func (c *Client) through(ctx context.Context, verb string, object runtime.Object, status bool, do func() error) error {
	gvk, err := c.Store.resource(object)
	if err != nil {
		return err
	}
	call := Call{Verb: verb, Kind: gvk.Kind, Status: status}
	if o, ok := object.(client.Object); ok {
		call.Key = client.ObjectKeyFromObject(o).String()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.Gate(ctx, call, do)
}

// Get reads an object.
func (c *Client) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if c.Cache != nil {
		return c.Cache.Get(ctx, key, object, opts...)
	}
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	return c.through(ctx, "get", object, false, func() error { return c.Store.Get(key, object) })
}

// List reads objects.
func (c *Client) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if c.Cache != nil {
		return c.Cache.List(ctx, list, opts...)
	}
	return c.through(ctx, "list", list, false, func() error { return c.Store.List(list, opts...) })
}

// Create creates an object.
func (c *Client) Create(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
	return c.through(ctx, "create", object, false, func() error { return c.Store.Create(object) })
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, object client.Object, opts ...client.DeleteOption) error {
	return c.through(ctx, "delete", object, false, func() error { return c.Store.Delete(object, opts...) })
}

// Patch changes an object.
func (c *Client) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.through(ctx, "patch", object, false, func() error { return c.Store.Patch(object, patch, false) })
}

// Status writes the status of objects.
func (c *Client) Status() client.SubResourceWriter { return &statusWriter{c: c} }

type statusWriter struct {
	client.SubResourceWriter
	c *Client
}

func (w *statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return w.c.through(ctx, "patch", object, true, func() error { return w.c.Store.Patch(object, patch, true) })
}
