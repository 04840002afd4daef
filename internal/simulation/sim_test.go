// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// A handshake costs half as much without post-quantum keys, and nobody listens.
//go:debug tlsmlkem=0

package simulation

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds    = flag.Int("seeds", 20, "how many seeds are drawn inside the bound")
	first    = flag.Int("first", 1, "the first of them")
	beyond   = flag.Int("outside", 5, "how many seeds are drawn outside the bound")
	lost     = flag.Int("unheard", 5, "how many seeds are drawn in which the answer to the first order is lost")
	depth    = flag.Int("depth", 0, "how many faults are placed exhaustively")
	families = flag.Int("families", 1, "how many seeds are drawn of each family")
	enough   = flag.Int("enough", 25, "after how many failures to stop")
	seed     = flag.Int("seed", 0, "replay this seed")
	family   = flag.String("family", "", "the family of that seed, or the scenario of those faults")
	replayed = flag.String("faults", "", "replay these faults (replica:call:fault,...) in the scenario that -family names")
	output   = flag.String("out", "", "write the totals to this file, as JSON")
)

// totals are what came of all schedules.
type totals struct {
	Schedules  int `json:"schedules"`
	Exhaustive int `json:"exhaustive"`
	// Placed are the same by scenario.
	Placed     map[string]exhausted `json:"placed"`
	Purchases  int                  `json:"purchases"`
	Reissues   int                  `json:"reissues"`
	Renewals   int                  `json:"renewals"`
	Duplicates int                  `json:"duplicates"`
	Lost       int                  `json:"lost"`
	Wrong      int                  `json:"wrong"`
	Held       int                  `json:"held"`
	Unknown    int                  `json:"unknown"`
	Resolved   ways                 `json:"resolved"`
	// Unheard are those of them in whose schedules nothing else kept the list from
	// showing what became of the order.
	Unheard      ways    `json:"unheard"`
	OutsideBound outside `json:"outsideBound"`
	Seconds      float64 `json:"seconds"`

	faults   int
	failures []failure
}

// outside are the totals outside the bound.
type outside struct {
	Schedules  int  `json:"schedules"`
	Purchases  int  `json:"purchases"`
	Duplicates int  `json:"duplicates"`
	Reported   int  `json:"reported"`
	Lost       int  `json:"lost"`
	Wrong      int  `json:"wrong"`
	Held       int  `json:"held"`
	Unknown    int  `json:"unknown"`
	Resolved   ways `json:"resolved"`
}

// exhausted are the schedules of a scenario, and how many faults they have at most.
type exhausted struct {
	Faults    int `json:"faults"`
	Schedules int `json:"schedules"`
}

// place adds schedules of a scenario.
func (t *totals) place(name string, more exhausted) {
	if t.Placed == nil {
		t.Placed = map[string]exhausted{}
	}
	sum := t.Placed[name]
	t.Placed[name] = exhausted{max(sum.Faults, more.Faults), sum.Schedules + more.Schedules}
}

type failure struct {
	plan       plan
	violations []string
}

// replay is the command that plays the plan of a failure again.
func (f failure) replay() string {
	switch {
	case f.plan.seed == 0:
		return fmt.Sprintf("go test ./internal/simulation -run TestReplay -v -family=%s -faults=%q", f.plan.family, strings.Trim(fmt.Sprint(f.plan.faults), "[]"))
	case f.plan.family != "":
		return fmt.Sprintf("go test ./internal/simulation -run TestReplay -v -family=%s -seed=%d", f.plan.family, f.plan.seed)
	default:
		return fmt.Sprintf("go test ./internal/simulation -run TestReplay -v -seed=%d", f.plan.seed)
	}
}

func (t *totals) add(p plan, r result) {
	t.Schedules++
	t.faults += r.hit
	if len(r.violations) > 0 {
		t.failures = append(t.failures, failure{p, r.violations})
	}
	if p.outside {
		o := &t.OutsideBound
		o.Schedules++
		o.Purchases += r.purchases
		o.Duplicates += r.duplicates
		o.Reported += r.reported
		o.Lost += r.lost
		o.Wrong += r.wrong
		o.Held += r.held
		o.Unknown += r.ends.all()
		o.Resolved.add(r.ends)
		return
	}
	if p.seed == 0 {
		t.Exhaustive++
		t.place(p.family, exhausted{len(p.faults), 1})
	}
	t.Purchases += r.purchases
	t.Reissues += r.reissues
	t.Renewals += r.renewals
	t.Duplicates += r.duplicates
	t.Lost += r.lost
	t.Wrong += r.wrong
	t.Held += r.held
	t.Unknown += r.ends.all()
	t.Resolved.add(r.ends)
	if p.family == "unheard" {
		t.Unheard.add(r.ends)
	}
}

// sum is what all tests of this binary came to; make sim writes it to a file.
var sum struct {
	sync.Mutex
	totals
	begun time.Time
}

// playAll plays the plans on all processors and adds up what came of them. It stops when
// there were many failures.
func playAll(t *testing.T, plans func(yield func(plan) bool), notes ...func(plan, result)) totals {
	t.Helper()
	work := make(chan plan)
	var mu sync.Mutex
	var got totals
	t.Run("plays", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("on a processor", func(t *testing.T) {
				t.Parallel()
				for p := range work {
					r := run(t, p, false, nil)
					mu.Lock()
					got.add(p, r)
					for _, note := range notes {
						note(p, r)
					}
					mu.Unlock()
					if f := (failure{p, r.violations}); len(r.violations) > 0 && testing.Verbose() {
						t.Logf("%s\n\t%s", f.replay(), strings.Join(r.violations, "\n\t"))
					}
				}
			})
		}
		go func() {
			defer close(work)
			for p := range plans {
				mu.Lock()
				failed := len(got.failures)
				mu.Unlock()
				if failed >= *enough {
					return
				}
				work <- p
			}
		}()
	})
	if got.Schedules == 0 {
		t.Error("nothing was played")
	}
	slices.SortFunc(got.failures, func(a, b failure) int {
		return cmp.Or(cmp.Compare(a.plan.seed, b.plan.seed), cmp.Compare(len(a.plan.faults), len(b.plan.faults)), cmp.Compare(fmt.Sprint(a.plan.faults), fmt.Sprint(b.plan.faults)))
	})
	for _, f := range got.failures {
		t.Errorf("%s\n\t%s", f.replay(), strings.Join(f.violations, "\n\t"))
	}
	ends := got.Resolved
	ends.add(got.OutsideBound.Resolved)
	t.Logf("%d schedules, %d faults struck, %d purchases, %d reissues, %d renewals, %d duplicates, %d lost, %d wrong, %d held, unknown outcomes: %+v",
		got.Schedules, got.faults, got.Purchases+got.OutsideBound.Purchases, got.Reissues, got.Renewals, got.Duplicates+got.OutsideBound.Duplicates, got.Lost+got.OutsideBound.Lost, got.Wrong+got.OutsideBound.Wrong, got.Held+got.OutsideBound.Held, ends)
	report(t, got)
	return got
}

// report adds to the totals and writes them.
func report(t *testing.T, got totals) {
	t.Helper()
	sum.Lock()
	defer sum.Unlock()
	s, o := &sum.totals, &sum.OutsideBound
	s.Schedules += got.Schedules
	s.Exhaustive += got.Exhaustive
	for name, p := range got.Placed {
		s.place(name, p)
	}
	s.Purchases += got.Purchases
	s.Reissues += got.Reissues
	s.Renewals += got.Renewals
	s.Duplicates += got.Duplicates
	s.Lost += got.Lost
	s.Wrong += got.Wrong
	s.Held += got.Held
	s.Unknown += got.Unknown
	s.Resolved.add(got.Resolved)
	s.Unheard.add(got.Unheard)
	o.Schedules += got.OutsideBound.Schedules
	o.Purchases += got.OutsideBound.Purchases
	o.Duplicates += got.OutsideBound.Duplicates
	o.Reported += got.OutsideBound.Reported
	o.Lost += got.OutsideBound.Lost
	o.Wrong += got.OutsideBound.Wrong
	o.Held += got.OutsideBound.Held
	o.Unknown += got.OutsideBound.Unknown
	o.Resolved.add(got.OutsideBound.Resolved)
	s.Seconds = time.Since(sum.begun).Round(100 * time.Millisecond).Seconds()
	if *output == "" {
		return
	}
	encoded, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(*output), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*output, append(encoded, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) {
	sum.begun = time.Now()
	// A run makes much garbage and keeps little, so that to collect it rarely costs little.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	os.Exit(m.Run())
}

// scenarios are the runs in which faults are placed one by one, by their names: at the
// calls from the last request on.
var scenarios = map[string]plan{
	"first":    {},
	"rotated":  {renewals: 1, rotates: true, again: 15 * time.Minute},
	"due":      {renewals: 1, rotates: true, again: 80 * time.Minute, days: 1, day: 2 * time.Hour},
	"extended": {renewals: 1, again: 80 * time.Minute, days: 1, contract: 14, day: 2 * time.Hour},
	"failed":   {renewals: 1, rotates: true, again: 15 * time.Minute, failing: 1},
	"refused":  {renewals: 1, rotates: true, again: 15 * time.Minute, refusesReissue: 409, refusesRenewal: 409},
}

// one is the run of a scenario, of one Certificate, with the faults.
func one(name string, faults ...placed) plan {
	p := scenarios[name]
	p.family, p.faults, p.hold = name, faults, time.Minute
	p.asks = []ask{{namespace: "shop", name: "www", names: []string{"www.example.com"}, key: 1}}
	return p
}

// TestExhaustive places faults at every call of the run of each scenario: so many as the
// flag says in that of a first request, and one fewer in the others, but at least one. A
// second fault is placed at the calls that the run makes that has the first.
func TestExhaustive(t *testing.T) {
	for _, name := range slices.Sorted(keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			upTo := *depth
			if name != "first" {
				upTo = min(upTo, max(1, upTo-1))
			}
			runs := map[string]result{}
			note := func(p plan, r result) { runs[fmt.Sprint(p.faults)] = result{record: r.record, asked: r.asked} }
			placements, from, to := [][]placed{nil}, 0, 0
			var ends ways
			for faults := range upTo + 1 {
				ends.add(playAll(t, func(yield func(plan) bool) {
					for _, f := range placements {
						if !yield(one(name, f...)) {
							return
						}
					}
				}, note).Resolved)
				if faults == 0 {
					whole := runs[fmt.Sprint(placements[0])]
					from = whole.asked[len(whole.asked)-1]
					// What comes after the last call that changes anything is looked at again.
					to = 1 + lastChange(whole.record)
					if to-from < 30 {
						t.Fatalf("the run has %d calls after the last request, too few to be one", to-from)
					}
				}
				var further [][]placed
				for _, f := range placements {
					further = append(further, oneMore(f, runs[fmt.Sprint(f)].record, from, to)...)
				}
				placements = further
			}
			ends.withoutPerson(t)
		})
	}
}

// lastChange is the last call of a run that changes anything.
func lastChange(record []stepKind) int {
	for i, kind := range slices.Backward(record) {
		if kind == apiWrite || kind == vendorOrder {
			return i
		}
	}
	return -1
}

// oneMore are the placements that have one fault more than the one whose run made the
// record, at a later call before the given end.
func oneMore(faults []placed, record []stepKind, from, to int) [][]placed {
	alone := true
	for _, f := range faults {
		from = f.call + 1
		alone = alone && f.fault != leaseLost && f.fault != freezeLease && f.fault != freezeLong
	}
	var all [][]placed
	for call := from; call < min(len(record), to); call++ {
		for _, f := range record[call].possible() {
			if f == crashBefore && alone && call > from {
				// Nobody else was at work, and of a process that ends nothing is left but
				// what it changed: the same as a crash after the call before, or, if that
				// changed nothing, before it.
				continue
			}
			all = append(all, append(slices.Clone(faults), placed{0, call, f}))
		}
	}
	return all
}

// TestRandom plays seeds inside the bound.
func TestRandom(t *testing.T) {
	playAll(t, drawn(*seeds, "")).Resolved.withoutPerson(t)
}

// drawn are the plans of so many seeds of a family.
func drawn(seeds int, family string) func(yield func(plan) bool) {
	return func(yield func(plan) bool) {
		for i := range seeds {
			if !yield(draw(uint64(*first+i), family)) {
				return
			}
		}
	}
}

// TestUnheard plays seeds in which nobody hears what became of the first order, half of
// the time because it did not arrive. What the vendor took stands in its list before the
// settle time is over.
func TestUnheard(t *testing.T) {
	got := playAll(t, drawn(*lost, "unheard"))
	got.Resolved.withoutPerson(t)
	if n := got.Resolved.all(); n < *lost {
		t.Errorf("in %d schedules the answers to %d orders were lost", *lost, n)
	}
}

// TestOutside plays seeds outside the bound.
func TestOutside(t *testing.T) { playAll(t, drawn(*beyond, "outside")) }

// TestReplay plays one schedule and shows it; without a flag it plays one twice, which
// has to come to the same.
func TestReplay(t *testing.T) {
	p := draw(7, "")
	switch {
	case *replayed != "":
		faults, err := parsePlaced(*replayed)
		if err != nil {
			t.Fatal(err)
		}
		p = one(cmp.Or(*family, "first"), faults...)
	case *seed > 0:
		p = draw(uint64(*seed), *family)
	}
	again := run(t, p, *replayed != "" || *seed != 0, os.Stdout)
	if once := run(t, p, false, nil); once.hash != again.hash {
		t.Errorf("the schedule is another one the second time: %d and %d steps", once.steps, again.steps)
	}
	for _, v := range again.violations {
		t.Error(v)
	}
	again.record = nil
	t.Logf("%+v", again)
}

// TestFamilies plays schedules that are drawn around one danger each.
func TestFamilies(t *testing.T) {
	for _, name := range slices.Sorted(keys(dangers)) {
		t.Run(name, func(t *testing.T) {
			playAll(t, drawn(*families, name))
		})
	}
}
