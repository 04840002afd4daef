// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"net/http"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// mapper remembers the answers of another one. Each read of a namespaced kind from the cache
// asks for its scope, and to go through all groups of the API server for that took a fifth of
// all memory that was allocated. The kinds here stay as they are while a process lives.
type mapper struct {
	meta.RESTMapper
	known sync.Map // *meta.RESTMapping by kind
}

// kind is what is asked for.
type kind struct {
	schema.GroupKind
	versions string
}

func newMapper(c *rest.Config, h *http.Client) (meta.RESTMapper, error) {
	asked, err := apiutil.NewDynamicRESTMapper(c, h)
	if err != nil {
		return nil, err
	}
	return &mapper{RESTMapper: asked}, nil
}

// RESTMapping is that of the other mapper; what it does not know is asked for again.
func (m *mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	k := kind{gk, strings.Join(versions, ",")}
	if known, ok := m.known.Load(k); ok {
		return known.(*meta.RESTMapping), nil
	}
	mapping, err := m.RESTMapper.RESTMapping(gk, versions...)
	if err == nil {
		m.known.Store(k, mapping)
	}
	return mapping, err
}
