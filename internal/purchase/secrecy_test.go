// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regfish/regfish-issuer/internal/regfish"
)

// What a client breaks down with may hold the key, and is neither logged nor recorded.
func TestPanicTellsNoKey(t *testing.T) {
	const canary = "canary-5f1d9c"
	var logged strings.Builder
	logger := funcr.New(func(prefix, args string) { logged.WriteString(prefix + args) }, funcr.Options{Verbosity: 10})
	cr := shopWWW(t)
	w := newWorld(t, readyIssuer(50), cr)
	w.vendor.answer = func(int) regfish.OrderResult { panic("header x-api-key: " + canary) }
	if _, _, err := w.spender("one", none).Spend(log.IntoContext(t.Context(), logger), client.ObjectKeyFromObject(cr), cr.UID); err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(w.only())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), "panic while an order was being placed") {
		t.Errorf("the panic is not logged: %s", logged.String())
	}
	if strings.Contains(logged.String()+string(record), canary) {
		t.Errorf("the key shows in:\n%s\n%s", logged.String(), record)
	}
}
