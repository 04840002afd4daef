// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// work is three writes, each with a read before it, that go on where an earlier run stopped.
func work(ctx context.Context, c client.Client, namespace string) error {
	for _, name := range []string{"one", "two", "three"} {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err == nil {
			continue
		}
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err := c.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func TestCrashAtEveryWrite(t *testing.T) {
	cases := map[string]struct {
		point  testenv.CrashPoint
		done   int // writes that the API server has seen, less than the number of the crash
		reason string
	}{
		"before the write": {point: testenv.BeforeWrite, done: -1, reason: "the API server must not see it"},
		"after the write":  {point: testenv.AfterWrite, done: 0, reason: "the API server has done it"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				env := testenv.New(t)
				c := testenv.Crash(env.Client, n, tc.point)
				ctx := c.Context(t.Context())
				err := work(ctx, c, env.Namespace)
				list := &corev1.ConfigMapList{}
				if !c.Crashed() {
					if n != 4 || err != nil {
						t.Errorf("run %d was not disturbed, with %v; there are three writes", n, err)
					}
					return
				}
				if !errors.Is(err, testenv.ErrCrashed) {
					t.Errorf("run %d: got %v, want %v", n, err, testenv.ErrCrashed)
				}
				if err := c.List(t.Context(), list); !errors.Is(err, testenv.ErrCrashed) {
					t.Errorf("run %d: a dead process read: %v", n, err)
				}
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, testenv.ErrCrashed) {
					t.Errorf("run %d: context ended with %v", n, cause)
				}
				if got, want := ours(t, env), n+tc.done; got != want {
					t.Errorf("%s: run %d left %d objects, want %d", tc.reason, n, got, want)
				}
				if err := work(t.Context(), env.Client, env.Namespace); err != nil {
					t.Errorf("run %d: the next process: %v", n, err)
				}
			}
		})
	}
}

// ours counts the test's ConfigMaps.
func ours(t *testing.T, env *testenv.Env) int {
	t.Helper()
	list := &corev1.ConfigMapList{}
	if err := env.Client.List(t.Context(), list, client.InNamespace(env.Namespace)); err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

func TestCountTellsVerbKindAndSubresource(t *testing.T) {
	env := testenv.New(t)
	c := testenv.Count(env.Client)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	order := newOrder(env.Namespace, "www-1")
	must(c.Create(ctx, order))
	must(c.Status().Update(ctx, order))
	must(c.Status().Patch(ctx, order, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"state":"Waiting"}}`))))

	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "object"}}
	must(c.Create(ctx, object))
	must(c.Get(ctx, client.ObjectKeyFromObject(object), object))
	must(c.Update(ctx, object))
	must(c.Patch(ctx, object, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"a":"b"}}`))))
	must(c.Apply(ctx, corev1apply.ConfigMap("applied", env.Namespace), client.FieldOwner("test")))
	untyped := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": env.Namespace, "name": "untyped"},
	}}
	must(c.Apply(ctx, client.ApplyConfigurationFromUnstructured(untyped), client.FieldOwner("test")))
	must(c.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(env.Namespace)))
	watch, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(env.Namespace))
	must(err)
	watch.Stop()
	must(c.Delete(ctx, object))
	must(c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(env.Namespace)))

	want := map[testenv.Call]int{
		{Verb: "create", Kind: "RegfishOrder"}:                        1,
		{Verb: "update", Kind: "RegfishOrder", Subresource: "status"}: 1,
		{Verb: "patch", Kind: "RegfishOrder", Subresource: "status"}:  1,
		{Verb: "create", Kind: "ConfigMap"}:                           1,
		{Verb: "get", Kind: "ConfigMap"}:                              1,
		{Verb: "update", Kind: "ConfigMap"}:                           1,
		{Verb: "patch", Kind: "ConfigMap"}:                            1,
		{Verb: "apply", Kind: "ConfigMap"}:                            2,
		{Verb: "list", Kind: "ConfigMap"}:                             1,
		{Verb: "watch", Kind: "ConfigMap"}:                            1,
		{Verb: "delete", Kind: "ConfigMap"}:                           1,
		{Verb: "deletecollection", Kind: "ConfigMap"}:                 1,
	}
	if diff := cmp.Diff(want, c.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := c.Writes("RegfishOrder"); got != 3 {
		t.Errorf("writes to orders: got %d, want 3", got)
	}
	if got := c.Writes(); got != 10 {
		t.Errorf("writes: got %d, want 10", got)
	}
}

func TestClientWithoutWatchIsInterceptedToo(t *testing.T) {
	env := testenv.New(t)
	plain, err := client.New(env.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := testenv.Count(plain)
	if err := work(t.Context(), c, env.Namespace); err != nil {
		t.Fatal(err)
	}
	if got := c.Writes("ConfigMap"); got != 3 {
		t.Errorf("writes: got %d, want 3", got)
	}
	if _, err := c.Watch(t.Context(), &corev1.ConfigMapList{}); err == nil {
		t.Error("a client that cannot watch watched")
	}
}
