// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// result is what kill.json has.
type result struct {
	Date    string `json:"date"`
	Version string `json:"version"`
	Seed    uint64 `json:"seed"`
	Rounds  int    `json:"rounds"`

	Kills       int `json:"kills"`       // processes that were killed
	KillsInPost int `json:"killsInPost"` // rounds in which the leader was killed while an order was being sent
	Stops       int `json:"stops"`       // processes that were stopped past their lease
	StopsInPost int `json:"stopsInPost"` // rounds in which the leader was stopped while an order was being sent
	LeasesLost  int `json:"leasesLost"`  // processes that ended because they lost the lease

	Requests  int `json:"requests"`
	SameNames int `json:"sameNames"` // of them, for the names of an earlier one
	MadeAgain int `json:"madeAgain"` // requests that were deleted and made again with their key
	Issued    int `json:"issued"`
	Failed    int `json:"failed"`
	Waiting   int `json:"waiting"` // for a person, or until a pause is over

	Billed      int `json:"billed"`      // orders that the vendor bills
	RepliesLost int `json:"repliesLost"` // of them, those whose answer nobody got
	Attempts    int `json:"attempts"`    // orders that were recorded as to be sent
	Unknown     int `json:"unknown"`     // of them, those of which nobody knew what became of them
	Adopted     int `json:"adopted"`     // of those, found in the account and proved
	NotFound    int `json:"notFound"`    // of those, found to be nowhere
	Held        int `json:"held"`        // purchases that a person decides on

	Duplicates int `json:"duplicates"` // orders for a key that was bought for before
	Lost       int `json:"lost"`       // orders that no record has and no person is told of
	Wrong      int `json:"wrong"`      // published certificates that are not for their request

	RestSeconds float64 `json:"restSeconds"` // from the last round until everything was at rest
	Seconds     float64 `json:"seconds"`

	began time.Time
}

// write writes the results, as data and as a page.
func (r *ring) write() error {
	res := &r.result
	res.Requests = len(r.requests)
	res.Date, res.Seconds = res.began.UTC().Format(time.DateOnly), time.Since(res.began).Seconds()
	data, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	for name, text := range map[string]string{"kill.json": string(data) + "\n", "kill.md": res.page()} {
		if err := os.WriteFile(filepath.Join(r.out, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	fmt.Printf("\n%d rounds in %.0f s: %d processes killed (%d rounds in mid-POST), %d stopped past the lease (%d in mid-POST); %d orders billed, %d answers lost; bought twice %d, lost %d, wrong %d, held %d\n",
		res.Rounds, res.Seconds, res.Kills, res.KillsInPost, res.Stops, res.StopsInPost, res.Billed, res.RepliesLost, res.Duplicates, res.Lost, res.Wrong, res.Held)
	return nil
}

// page is the run as people read it.
func (res *result) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Real kills, %s\n\nWhat `make kill ROUNDS=%d` found, as it wrote it: two replicas of %s on a real API server,\nkilled or stopped past their lease, with a simulator as the vendor. The seed was %d.\n\n", res.Date, res.Rounds, res.Version, res.Seed)
	fmt.Fprintf(&b, "| What | Count |\n| --- | --- |\n")
	for _, row := range []struct {
		what  string
		count int
	}{
		{"Processes killed (SIGKILL)", res.Kills},
		{"Rounds in which the leader was killed while an order was being sent", res.KillsInPost},
		{"Processes stopped past their lease (SIGSTOP, SIGCONT)", res.Stops},
		{"Rounds in which the leader was stopped while an order was being sent", res.StopsInPost},
		{"Processes that ended because they lost the lease", res.LeasesLost},
		{"Requests", res.Requests},
		{"Requests for the names of an earlier one, with another key", res.SameNames},
		{"Requests deleted and made again with the same key", res.MadeAgain},
		{"Requests issued", res.Issued},
		{"Requests failed", res.Failed},
		{"Requests that wait for a person, or until the pause after a third attempt is over", res.Waiting},
		{"Orders recorded before they were to be sent", res.Attempts},
		{"Orders that the vendor bills", res.Billed},
		{"Orders billed whose answer nobody got", res.RepliesLost},
		{"Orders of which the ledger did not know what became of them", res.Unknown},
		{"Of these, found in the account and proved by the key", res.Adopted},
		{"Of these, found not to have been placed", res.NotFound},
		{"Purchases held for a person", res.Held},
		{"**Bought twice**", res.Duplicates},
		{"**Lost**", res.Lost},
		{"**Wrong certificates published**", res.Wrong},
	} {
		fmt.Fprintf(&b, "| %s | %d |\n", row.what, row.count)
	}
	fmt.Fprintf(&b, "\nThe rounds took %.0f seconds, and %.0f seconds later everything was at rest.\n", res.Seconds-res.RestSeconds, res.RestSeconds)
	return b.String()
}
