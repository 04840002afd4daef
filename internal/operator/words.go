// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"bytes"
	"hash/maphash"
	"reflect"
	"slices"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// words are strings that objects share, kept in memory once: what is decoded has a copy of
// its own of every name, reason and sentence, and ten thousand orders say much the same. So
// are maps of labels, and the signing requests that a request and its purchase both have.
// There are always as many as have room, and one that comes takes the place of another: what
// is forgotten is only kept twice. What is long is not kept: nobody counts what objects that
// were deleted long ago have left here.
type words struct {
	seed   maphash.Seed
	mu     sync.Mutex
	kept   [1 << 12]string
	labels [1 << 8]reflect.Value
	texts  [1 << 15][]byte
}

// longest is how many bytes a text, or all labels, may have that are shared. A signing request
// with an RSA key of 4096 bits and fifty names has fewer.
const longest = 4 << 10

func newWords() *words { return &words{seed: maphash.MakeSeed()} }

// one returns the string that is kept for s.
func (k *words) one(s string) string {
	if len(s) > longest {
		return s
	}
	slot := &k.kept[maphash.String(k.seed, s)%uint64(len(k.kept))]
	k.mu.Lock()
	defer k.mu.Unlock()
	if *slot != s {
		*slot = s
	}
	return *slot
}

// text returns the bytes that are kept for b.
func (k *words) text(b []byte) []byte {
	if len(b) > longest {
		return slices.Clip(b)
	}
	slot := &k.texts[maphash.Bytes(k.seed, b)%uint64(len(k.texts))]
	k.mu.Lock()
	defer k.mu.Unlock()
	if !bytes.Equal(*slot, b) {
		*slot = slices.Clip(b)
	}
	return *slot
}

// label returns the map that is kept for m, of strings by strings.
func (k *words) label(m reflect.Value) reflect.Value {
	var sum uint64
	size := 0
	for iter := m.MapRange(); iter.Next(); {
		size += iter.Key().Len() + iter.Value().Len()
		sum += maphash.Comparable(k.seed, [2]string{iter.Key().String(), iter.Value().String()})
	}
	slot := &k.labels[sum%uint64(len(k.labels))]
	k.mu.Lock()
	kept := *slot
	k.mu.Unlock()
	if kept.IsValid() && reflect.DeepEqual(kept.Interface(), m.Interface()) {
		return kept
	}
	shared := reflect.MakeMapWithSize(m.Type(), m.Len())
	for iter := m.MapRange(); iter.Next(); {
		shared.SetMapIndex(reflect.ValueOf(k.one(iter.Key().String())).Convert(m.Type().Key()), reflect.ValueOf(k.one(iter.Value().String())).Convert(m.Type().Elem()))
	}
	if size <= longest {
		k.mu.Lock()
		defer k.mu.Unlock()
		*slot = shared
	}
	return shared
}

// after returns a transform that lets an object share what it can after transform. What is not
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
		k.slice(v)
	case reflect.Map:
		if v.CanSet() && v.Len() > 0 && v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String {
			v.Set(k.label(v))
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(k.one(v.String()))
		}
	default:
	}
}

func (k *words) slice(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if v.CanSet() && v.Len() > 0 {
			v.SetBytes(k.text(v.Bytes()))
		}
		return
	}
	if v.CanSet() && v.Cap() > v.Len() {
		// What is decoded has room for more.
		exact := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(exact, v)
		v.Set(exact)
	}
	for i := range v.Len() {
		k.walk(v.Index(i))
	}
}
