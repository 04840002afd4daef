// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"maps"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A CountingClient counts its calls, failed ones too: the API server has to answer those as well.
type CountingClient struct {
	client.WithWatch
	mu    sync.Mutex
	calls map[Call]int
}

// Count returns a client that does what c does and counts.
func Count(c client.Client) *CountingClient {
	counting := &CountingClient{calls: map[Call]int{}}
	counting.WithWatch = intercept(c, func(call Call, do func() error) error {
		counting.mu.Lock()
		counting.calls[call]++
		counting.mu.Unlock()
		return do()
	})
	return counting
}

// Calls returns how often each call was made so far.
func (c *CountingClient) Calls() map[Call]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Writes returns the number of writes so far to objects of these kinds and their subresources; without kinds, of all.
func (c *CountingClient) Writes(kinds ...string) int {
	writes := 0
	for call, n := range c.Calls() {
		if call.Write() && (len(kinds) == 0 || slices.Contains(kinds, call.Kind)) {
			writes += n
		}
	}
	return writes
}
