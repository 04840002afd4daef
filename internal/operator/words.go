// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"hash/maphash"
	"reflect"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// words are strings that objects share, kept in memory once: what is decoded has a copy of
// its own of every name, reason and sentence, and ten thousand orders say much the same.
// There are always as many as have room, and one that comes takes the place of another: what
// is forgotten is only kept twice.
type words struct {
	seed maphash.Seed
	mu   sync.Mutex
	kept [1 << 12]string
}

func newWords() *words { return &words{seed: maphash.MakeSeed()} }

// one returns the string that is kept for s.
func (k *words) one(s string) string {
	slot := &k.kept[maphash.String(k.seed, s)%uint64(len(k.kept))]
	k.mu.Lock()
	defer k.mu.Unlock()
	if *slot != s {
		*slot = s
	}
	return *slot
}

// after returns a transform that lets an object share its strings after transform. What is not
// new to the cache was transformed when it came, and may be read meanwhile.
func (k *words) after(transform toolscache.TransformFunc) toolscache.TransformFunc {
	return func(o any) (any, error) {
		o, err := transform(o)
		if object, ok := o.(client.Object); ok && err == nil {
			k.walk(reflect.ValueOf(object))
		}
		return o, err
	}
}

func (k *words) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			k.walk(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				k.walk(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			k.walk(v.Index(i))
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String || v.Type().Elem().Kind() != reflect.String {
			return
		}
		shared := reflect.MakeMapWithSize(v.Type(), v.Len())
		for iter := v.MapRange(); iter.Next(); {
			shared.SetMapIndex(reflect.ValueOf(k.one(iter.Key().String())).Convert(v.Type().Key()), reflect.ValueOf(k.one(iter.Value().String())).Convert(v.Type().Elem()))
		}
		if v.CanSet() && !v.IsNil() {
			v.Set(shared)
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(k.one(v.String()))
		}
	default:
	}
}
