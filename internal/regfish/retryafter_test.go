// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzRetryAfter: whatever a server writes there, the pause is never negative and never
// longer than a day, and each of the two forms means what it says.
func FuzzRetryAfter(f *testing.F) {
	const date = "Wed, 18 Mar 2026 10:00:00 GMT"
	f.Add("120", date, uint32(120))
	f.Add("Wed, 18 Mar 2026 10:05:00 GMT", date, uint32(0))
	f.Add("Wed, 18 Mar 2026 09:00:00 GMT", "", uint32(86400))
	f.Add("-5", "yesterday", uint32(86401))
	f.Add("99999999999999999999", date, uint32(4294967295))
	f.Add("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", uint32(1))
	f.Add(" 5", "Sunday, 06-Nov-94 08:49:37 GMT", uint32(5))
	f.Add("Sun Nov  6 08:49:37 1994", "Sun Nov  6 08:49:36 1994", uint32(5))
	f.Fuzz(func(t *testing.T, value, now string, seconds uint32) {
		got := retryAfter(http.Header{"Retry-After": {value}, "Date": {now}})
		if got < 0 || got > 24*time.Hour {
			t.Errorf("Retry-After %q: a pause of %s", value, got)
		}
		until, notDate := http.ParseTime(value)
		from, noDate := http.ParseTime(now)
		switch {
		case strings.Trim(value, "0123456789") != "" && notDate != nil && got != 0:
			t.Errorf("Retry-After %q is neither form and means %s", value, got)
		case notDate == nil && noDate == nil && !until.After(from) && got != 0:
			t.Errorf("Retry-After %q is over at %q and means %s", value, now, got)
		case notDate == nil && noDate == nil && until.After(from) && got != min(until.Sub(from), 24*time.Hour):
			t.Errorf("Retry-After %q at %q means %s", value, now, got)
		}

		want := min(time.Duration(seconds)*time.Second, 24*time.Hour)
		if got := retryAfter(http.Header{"Retry-After": {strconv.FormatUint(uint64(seconds), 10)}}); got != want {
			t.Errorf("%d seconds mean %s, want %s", seconds, got, want)
		}
		e := &Error{Kind: KindTooMany, RetryAfter: got}
		if RetryAfter(e) != got {
			t.Errorf("the error says %s, want %s", RetryAfter(e), got)
		}
	})
}
