// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// counting is a mapper that counts what it is asked, and fails at first.
type counting struct {
	meta.RESTMapper
	asked int
}

func (c *counting) RESTMapping(gk schema.GroupKind, _ ...string) (*meta.RESTMapping, error) {
	if c.asked++; c.asked == 1 {
		return nil, errors.New("the API server does not answer")
	}
	return &meta.RESTMapping{GroupVersionKind: gk.WithVersion("v1alpha1")}, nil
}

// An answer is remembered by what was asked, and a failure is not.
func TestMapperAsksOnce(t *testing.T) {
	c := &counting{}
	m := &mapper{RESTMapper: c}
	gk := schema.GroupKind{Group: v1alpha1.Group, Kind: v1alpha1.KindIssuer}
	if _, err := m.RESTMapping(gk, "v1alpha1"); err == nil {
		t.Fatal("a failure is taken for an answer")
	}
	for range 3 {
		if got, err := m.RESTMapping(gk, "v1alpha1"); err != nil || got.GroupVersionKind.Kind != v1alpha1.KindIssuer {
			t.Fatalf("%v, %v", got, err)
		}
	}
	other := schema.GroupKind{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer}
	if got, err := m.RESTMapping(other, "v1alpha1"); err != nil || got.GroupVersionKind.Kind != v1alpha1.KindClusterIssuer {
		t.Errorf("another kind has the answer %v, %v", got, err)
	}
	if c.asked != 3 {
		t.Errorf("the API server's kinds were gone through %d times, want 3", c.asked)
	}
}
