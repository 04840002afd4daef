// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// A Call is what a client asks of the API server. Kind is that of the object, also where a list of it is read, and
// Subresource is empty for the object itself.
type Call struct {
	Verb, Kind, Subresource string
}

// Write reports whether the call changes something.
func (c Call) Write() bool {
	return c.Verb != "get" && c.Verb != "list" && c.Verb != "watch"
}

// intercept returns a client that passes every call through around, which decides whether to do it.
func intercept(c client.Client, around func(call Call, do func() error) error) client.WithWatch {
	watching, ok := c.(client.WithWatch)
	if !ok {
		watching = unwatchable{c}
	}
	pass := func(verb string, obj any, subresource string, do func() error) error {
		return around(Call{Verb: verb, Kind: kindOf(c, obj), Subresource: subresource}, do)
	}
	return interceptor.NewClient(watching, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return pass("get", obj, "", func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return pass("list", list, "", func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return pass("create", obj, "", func() error { return c.Create(ctx, obj, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return pass("delete", obj, "", func() error { return c.Delete(ctx, obj, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteAllOfOption) error {
			return pass("deletecollection", obj, "", func() error { return c.DeleteAllOf(ctx, obj, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return pass("update", obj, "", func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return pass("patch", obj, "", func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return pass("apply", obj, "", func() error { return c.Apply(ctx, obj, opts...) })
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (w watch.Interface, err error) {
			err = pass("watch", list, "", func() error { w, err = c.Watch(ctx, list, opts...); return err })
			return w, err
		},
		SubResourceGet: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceGetOption) error {
			return pass("get", obj, name, func() error { return c.SubResource(name).Get(ctx, obj, sub, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, name string, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
			return pass("create", obj, name, func() error { return c.SubResource(name).Create(ctx, obj, sub, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return pass("update", obj, name, func() error { return c.SubResource(name).Update(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return pass("patch", obj, name, func() error { return c.SubResource(name).Patch(ctx, obj, patch, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, name string, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return pass("apply", obj, name, func() error { return c.SubResource(name).Apply(ctx, obj, opts...) })
		},
	})
}

// unwatchable lets a manager's client, which cannot watch, be intercepted too.
type unwatchable struct{ client.Client }

func (unwatchable) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return nil, errors.New("this client cannot watch")
}

func kindOf(c client.Client, obj any) string {
	switch o := obj.(type) {
	case runtime.Object: // An apply configuration made from an unstructured object is one as well.
		if gvk, err := c.GroupVersionKindFor(o); err == nil {
			return strings.TrimSuffix(gvk.Kind, "List")
		}
	case interface{ GetKind() *string }: // A generated apply configuration.
		if kind := o.GetKind(); kind != nil {
			return *kind
		}
	}
	return fmt.Sprintf("%T", obj)
}
