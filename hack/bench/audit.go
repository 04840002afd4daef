// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// audit is the API server's log of who asked it for what.
type audit struct {
	path   string
	offset int64
}

// asked is a kind of request of the controller, such as "patch regfishorders/status".
type asked struct {
	Verb   string `json:"verb"`
	Object string `json:"object"`
}

func (a asked) String() string { return a.Verb + " " + a.Object }

// write reports whether it changes what is stored. The election's Lease and events are
// looked at apart; reviews of tokens and of permissions are answered and not stored.
func (a asked) write() bool {
	switch a.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return a.Object != "leases" && a.Object != "events" && !strings.HasSuffix(a.Object, "reviews")
	}
	return false
}

// since counts what processes of the controller asked for since it was called last.
func (a *audit) since() (map[asked]int, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	found := map[asked]int{}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, nil // The rest of the line is still to be written.
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		a.offset += int64(len(line))
		var e struct {
			Verb, UserAgent string
			ObjectRef       struct{ Resource, Subresource string }
			ResponseStatus  struct{ Code int }
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if !strings.HasPrefix(e.UserAgent, "regfish-issuer/") {
			continue
		}
		object := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			object += "/" + e.ObjectRef.Subresource
		}
		found[asked{e.Verb, object}]++
	}
}

// writes is how many of them are writes.
func writes(all map[asked]int) int {
	sum := 0
	for a, n := range all {
		if a.write() {
			sum += n
		}
	}
	return sum
}

// verbs is how many of them have the verb.
func verbs(all map[asked]int, verb string) int {
	sum := 0
	for a, n := range all {
		if a.Verb == verb {
			sum += n
		}
	}
	return sum
}
