// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"testing"
	"time"
)

func TestValidityDays(t *testing.T) {
	asked := func(n int32) *int32 { return &n }
	zone := time.FixedZone("far east", 14*60*60)
	for name, tt := range map[string]struct {
		reason string
		asked  *int32
		now    time.Time
		want   int32
	}{
		"the longest term today":                        {"nobody asked for less", nil, noon, 199},
		"a second before 100 days become the most":      {"the day counts, not the week before it", nil, time.Date(2027, 3, 13, 23, 59, 59, 0, time.UTC), 199},
		"when 100 days become the most, a day early":    {"an authority a time zone ahead must not refuse it", nil, time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC), 99},
		"the same moment told in another time zone":     {"a moment is a moment", nil, time.Date(2027, 3, 14, 14, 0, 0, 0, zone), 99},
		"the second before it told in another zone":     {"the date there is one day ahead", nil, time.Date(2027, 3, 14, 13, 59, 59, 0, zone), 199},
		"a second before 47 days become the most":       {"the day counts", nil, time.Date(2029, 3, 13, 23, 59, 59, 0, time.UTC), 99},
		"when 47 days become the most, a day early":     {"an authority a time zone ahead must not refuse it", nil, time.Date(2029, 3, 14, 0, 0, 0, 0, time.UTC), 46},
		"long after the last step":                      {"no further step is known", nil, time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), 46},
		"a shorter term that was asked for":             {"the issuer decides", asked(30), noon, 30},
		"a day":                                         {"the issuer decides", asked(1), time.Date(2029, 3, 14, 0, 0, 0, 0, time.UTC), 1},
		"a longer term than there is, clamped":          {"the authority would refuse it", asked(199), time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC), 99},
		"exactly the longest term":                      {"it is allowed", asked(99), time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC), 99},
		"the longest term before the program was made":  {"a clock that is wrong must not buy more", nil, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 199},
		"the longest term when there is no time at all": {"the zero time is before every step", nil, time.Time{}, 199},
	} {
		if got := ValidityDays(tt.asked, tt.now); got != tt.want {
			t.Errorf("%s: %d days, want %d: %s", name, got, tt.want, tt.reason)
		}
	}
}
