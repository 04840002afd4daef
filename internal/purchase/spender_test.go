// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestSpendBuysOnce(t *testing.T) {
	cr := approved(namespace, "www-1", "r1", csr(t, keyA, "www.example.com"))
	w := newWorld(t, readyIssuer(50), cr)
	s := w.spender("one", interceptor.Funcs{})
	for range 5 {
		w.spend(s, cr)
	}
	if got := w.vendor.sent(); got != 1 {
		t.Errorf("%d orders were placed, want 1", got)
	}
	t.Log(describe(w.purchases()))
}
