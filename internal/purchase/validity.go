// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import "time"

// schedule is the longest term that is bought from each day on. It follows the
// CA/Browser Forum's schedule for public certificates (200, 100 and 47 days),
// one day earlier and one day shorter, so that neither a time zone nor a
// back-dated notBefore makes the authority refuse the order.
var schedule = []struct {
	from time.Time
	days int32
}{
	{time.Date(2029, 3, 14, 0, 0, 0, 0, time.UTC), 46},
	{time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC), 99},
	{time.Time{}, 199},
}

// ValidityDays is the term to buy at the given time: what the issuer asks for,
// or the longest there is, and never more than that.
func ValidityDays(asked *int32, now time.Time) int32 {
	var longest int32
	for _, s := range schedule {
		if !now.Before(s.from) {
			longest = s.days
			break
		}
	}
	if asked != nil && *asked < longest {
		return *asked
	}
	return longest
}
