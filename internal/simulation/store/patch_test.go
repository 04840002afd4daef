// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/operator"
)

// kinds are those that the simulation writes.
var kinds = []client.Object{
	&v1alpha1.RegfishPurchase{}, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishClusterIssuer{}, &v1alpha1.RegfishIssuer{},
	&cmapi.CertificateRequest{}, &cmapi.Certificate{}, &corev1.Secret{}, &coordinationv1.Lease{},
}

// What is stored without JSON is what JSON would have made of it, to the last empty slice.
func TestAsDecoded(t *testing.T) {
	s := New(operator.Scheme())
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		for _, kind := range kinds {
			object := made(random, kind)
			encoded, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			gvk, err := s.resource(object)
			if err != nil {
				t.Fatal(err)
			}
			want, err := s.decode(gvk, encoded)
			if err != nil {
				t.Fatal(err)
			}
			asDecoded(object)
			if !reflect.DeepEqual(want, object) {
				t.Fatalf("%s:\n%s", gvk.Kind, cmp.Diff(want, object))
			}
		}
	}
}

// A patch made from what is stored does without JSON what it does with it.
func TestPatchedWithoutJSON(t *testing.T) {
	s := New(operator.Scheme())
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		for _, kind := range kinds {
			old, object := made(random, kind), made(random, kind)
			asDecoded(old)
			old.SetResourceVersion("7")
			object.SetResourceVersion("7")
			gvk, err := s.resource(object)
			if err != nil {
				t.Fatal(err)
			}
			for name, patch := range map[string]client.Patch{
				"plain": client.MergeFrom(old), "locked": client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}),
			} {
				if from, _ := madeFrom(patch); from == nil {
					t.Fatal("the field of the patch has another name, and every patch goes through JSON")
				}
				got, err := s.patched(gvk, old, object, patch)
				if err != nil {
					t.Fatal(err)
				}
				data, err := patch.Data(object)
				if err != nil {
					t.Fatal(err)
				}
				want, err := s.patched(gvk, old, object, client.RawPatch(patch.Type(), data))
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(want, got) {
					t.Fatalf("%s, %s:\n%s", gvk.Kind, name, cmp.Diff(want, got))
				}
			}
		}
	}
}

// made is an object of the kind with what was drawn in it.
func made(random *rand.Rand, kind client.Object) client.Object {
	object := reflect.New(reflect.TypeOf(kind).Elem())
	fill := object.Elem()
	for i := range fill.NumField() {
		if name := fill.Type().Field(i).Name; name != "TypeMeta" {
			drawn(random, fill.Field(i))
		}
	}
	o := object.Interface().(client.Object)
	// Raw JSON, which is copied as it is, and nothing here writes.
	o.SetManagedFields(nil)
	if c, ok := o.(*cmapi.CertificateRequest); ok {
		// A map of lists, which the API server sets.
		c.Spec.Extra = nil
	}
	return o
}

func drawn(random *rand.Rand, v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *metav1.Time:
		if random.IntN(2) == 0 {
			at.Time = time.Unix(random.Int64N(2_000_000_000), random.Int64N(1_000_000_000))
		}
		return
	case *metav1.MicroTime:
		if random.IntN(2) == 0 {
			at.Time = time.Unix(random.Int64N(2_000_000_000), random.Int64N(1_000_000_000))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "a", "b"}[random.IntN(3)])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(random.Int64N(3))
	case reflect.Pointer:
		if random.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			drawn(random, v.Elem())
		}
	case reflect.Slice:
		if n := random.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range n - 1 {
				drawn(random, v.Index(i))
			}
		}
	case reflect.Map:
		if n := random.IntN(3); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n - 1 {
				value := reflect.New(v.Type().Elem()).Elem()
				if drawn(random, value); value.Kind() == reflect.Slice && value.IsNil() {
					// A patch cannot say so: to it, null takes the key away.
					continue
				}
				v.SetMapIndex(reflect.ValueOf("k").Convert(v.Type().Key()), value)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				drawn(random, v.Field(i))
			}
		}
	case reflect.Uint8:
		v.SetUint(uint64(random.IntN(256)))
	default:
	}
}
