// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"os"
	"testing"
)

func TestOne(t *testing.T) {
	p := plan{asks: []ask{{namespace: "shop", name: "www", names: []string{"www.example.com"}, key: 1}}}
	r := run(t, p, true, os.Stdout)
	t.Logf("%+v", r)
}
