// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patched is what a merge patch makes of old. Half of the time of a schedule went into
// JSON, so it is left out where the patch was made from what is stored: then what it
// makes is the object that it was made of, as it comes out of JSON.
func (s *Store) patched(gvk schema.GroupVersionKind, old, object client.Object, patch client.Patch) (client.Object, error) {
	from, locked := madeFrom(patch)
	switch {
	case from == nil:
	case locked && from.GetResourceVersion() != old.GetResourceVersion():
		return nil, conflict(gvk, old)
	case reflect.DeepEqual(from, old):
		changed := object.DeepCopyObject().(client.Object)
		if locked {
			changed.SetResourceVersion(from.GetResourceVersion())
		}
		asDecoded(changed)
		return changed, nil
	}
	data, err := patch.Data(object)
	if err != nil {
		return nil, err
	}
	encoded, err := merged(old, data)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return s.decode(gvk, encoded)
}

// madeFrom is the object that client.MergeFrom was given, and whether the patch names its
// version. Nil if the patch was made in another way.
func madeFrom(patch client.Patch) (client.Object, bool) {
	v := reflect.ValueOf(patch)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, false
	}
	from, opts := v.Elem().FieldByName("from"), v.Elem().FieldByName("opts")
	if !from.IsValid() || !opts.IsValid() {
		return nil, false
	}
	// The field is not exported, and there is no other way to it.
	object, _ := reflect.NewAt(from.Type(), unsafe.Pointer(from.UnsafeAddr())).Elem().Interface().(client.Object) //nolint:gosec // reads a field; nothing of it leaves this function
	return object, opts.FieldByName("OptimisticLock").Bool()
}

// merged is the object in JSON with a merge patch (RFC 7396) applied.
func merged(old client.Object, patch []byte) ([]byte, error) {
	encoded, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var into, from map[string]any
	for _, doc := range []struct {
		data []byte
		out  *map[string]any
	}{{encoded, &into}, {patch, &from}} {
		d := json.NewDecoder(bytes.NewReader(doc.data))
		d.UseNumber()
		if err := d.Decode(doc.out); err != nil {
			return nil, err
		}
	}
	merge(into, from)
	return json.Marshal(into)
}

func merge(into, patch map[string]any) {
	for k, v := range patch {
		change, nested := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case nested:
			inner, ok := into[k].(map[string]any)
			if !ok {
				inner = map[string]any{}
				into[k] = inner
			}
			merge(inner, change)
		default:
			into[k] = v
		}
	}
}

// asDecoded makes of an object what JSON makes of it on the way to the server: times lose
// what JSON does not have, and what is empty is left out.
func asDecoded(object client.Object) {
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	settle(reflect.ValueOf(object).Elem())
}

func settle(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		settle(v.Elem())
		if t, ok := v.Interface().(interface{ IsZero() bool }); ok && t.IsZero() {
			// It is written as null.
			v.SetZero()
		}
	case reflect.Slice:
		if loses(v.Type().Elem()) {
			for i := range v.Len() {
				settle(v.Index(i))
			}
		}
	case reflect.Struct:
		switch t := v.Addr().Interface().(type) {
		case *metav1.Time:
			t.Time = shortened(t.Time, time.Second)
			return
		case *metav1.MicroTime:
			t.Time = shortened(t.Time, time.Microsecond)
			return
		}
		for _, f := range fieldsOf(v.Type()) {
			field := v.Field(f.index)
			if f.omitted && field.Len() == 0 {
				field.SetZero()
				continue
			}
			settle(field)
		}
	default:
		// The values of maps are strings and bytes, here.
	}
}

func shortened(t time.Time, to time.Duration) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Truncate(to).Local()
}

// lossy is a field of a struct that may lose something in JSON.
type lossy struct {
	index int
	// omitted says that it is left out if it is empty.
	omitted bool
}

var fields sync.Map // of []lossy, by reflect.Type

func fieldsOf(t reflect.Type) []lossy {
	if known, ok := fields.Load(t); ok {
		return known.([]lossy)
	}
	var found []lossy
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || !loses(f.Type) {
			continue
		}
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		found = append(found, lossy{i, strings.Contains(options, "omitempty") && (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map)})
	}
	fields.Store(t, found)
	return found
}

// loses reports whether a value of the type may lose something in JSON.
func loses(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Struct:
		return true
	case reflect.Pointer:
		return loses(t.Elem())
	default:
		return false
	}
}
