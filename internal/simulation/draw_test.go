// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// draw makes the plan of a seed. The bound of what is drawn without a family, and of
// every family but "outside": what the vendor took stands in its list before the settle
// time is over, an order arrives in the time in which it may leave and be answered or
// well within the settle time, and the ledger is not restored while orders are missing in
// the list.
func draw(n uint64, family string) plan {
	salt := fnv.New64a()
	_, _ = salt.Write([]byte(family))
	r := rand.New(rand.NewPCG(n, salt.Sum64()))
	p := plan{seed: n, family: family, random: true, hold: time.Duration(r.IntN(120)) * time.Second, lag: pick(r, 20*time.Millisecond, time.Second, 20*time.Second)}
	for range 1 + r.IntN(5) {
		p.asks = append(p.asks, drawAsk(r, p.asks))
	}
	p.skew = [2]time.Duration{time.Duration(r.IntN(7200)-3600) * time.Second, time.Duration(r.IntN(7200)-3600) * time.Second}
	if r.IntN(2) == 0 {
		p.skew = [2]time.Duration{}
	}
	p.replaced, p.silent = r.IntN(2) == 0, r.IntN(3) == 0
	p.issueDelay = pick(r, 0, 0, 0, time.Minute)
	if r.IntN(24) == 0 {
		p.issueDelay = time.Hour
	}
	p.rewrites = drawRewrites(r)
	if danger, ok := dangers[family]; ok {
		danger(r, &p)
		return p
	}
	p.faults = drawFaults(r, r.IntN(7), 40*(1+len(p.asks)))
	for range r.IntN(4) {
		p.actions = append(p.actions, action{kind: actionKind(1 + r.IntN(int(lastAction))), step: r.IntN(100 * len(p.asks)), ask: r.IntN(len(p.asks))})
	}
	slices.SortStableFunc(p.actions, func(a, b action) int { return a.step - b.step })
	p.listLag = pick(r, 0, 0, time.Minute, 25*time.Minute)
	if r.IntN(6) == 0 {
		p.firstPages = 1 + r.IntN(4)
	}
	p.late = pick(r, 0, 0, 0, 0, time.Minute, 10*time.Minute)
	if p.late > 0 {
		p.listLag = 0
	}
	if r.IntN(8) == 0 {
		p.notFound = 1 + r.IntN(5)
	}
	p.person, p.gitOps = r.IntN(4) == 0, r.IntN(4) == 0
	drawTerms(r, &p)
	return p
}

// drawFaults draws faults at the calls of both replicas.
func drawFaults(r *rand.Rand, count, calls int) []placed {
	var all []placed
	for range count {
		all = append(all, placed{slot: r.IntN(5) / 4, call: r.IntN(calls), fault: fault(1 + r.IntN(int(freezeLong)))})
	}
	return all
}

// reserves is the call by which the first of three requests takes its slot.
const reserves = 18

// always is more lists than a schedule reads.
const always = 10_000

// unheard are the faults by which the answer to an order is not heard.
var unheard = []fault{replyLost, crashAfter, errorAfter}

// dangers are the families: what each is drawn around.
var dangers = map[string]func(*rand.Rand, *plan){
	// unheard: the answer to the first order is lost, or the order, and the list shows what
	// the vendor took before the settle time is over.
	"unheard": func(r *rand.Rand, p *plan) {
		p.atOrder, p.listLag = []fault{pick(r, requestLost, replyLost)}, time.Duration(r.Int64N(int64(25*time.Minute)))
		p.faults = drawFaults(r, r.IntN(3), 40*(1+len(p.asks)))
	},
	// lag: the answer to the first order is lost, and the order is missing in the list for
	// almost as long as it may be.
	"lag": func(r *rand.Rand, p *plan) {
		p.atOrder, p.listLag = []fault{pick(r, unheard...), pick(r, none, none, pick(r, unheard...))}, 25*time.Minute
		p.faults = drawFaults(r, r.IntN(3), 80)
	},
	// lost: the first order never arrives, and the two replicas try again.
	"lost": func(r *rand.Rand, p *plan) {
		p.asks, p.atOrder = p.asks[:1], []fault{pick(r, requestLost, crashBefore), pick(r, none, requestLost)}
		for range 3 {
			p.faults = append(p.faults, placed{r.IntN(2), 25 + r.IntN(60), pick(r, leaseLost, freezeLease, freezeShort, staleRead)})
		}
	},
	// skew: another replica, whose clock is ahead, looks for an order that the list lacks.
	"skew": func(_ *rand.Rand, p *plan) {
		p.asks, p.atOrder, p.listLag = p.asks[:1], []fault{crashAfter}, 25*time.Minute
		p.skew, p.down = [2]time.Duration{0, 3 * time.Hour}, 5*time.Minute
	},
	// limit: more is asked for than the limit allows, while leadership changes.
	"limit": func(r *rand.Rand, p *plan) {
		p.asks, p.limit = nil, int32(1+r.IntN(3))
		for i := range 5 {
			p.asks = append(p.asks, ask{namespace: "team-0", name: fmt.Sprintf("cert-%d", i), names: []string{fmt.Sprintf("host-%d.example.com", i)}, key: i + 1})
		}
		if p.random = r.IntN(2) == 0; p.random {
			for range 4 {
				p.faults = append(p.faults, placed{r.IntN(2), 10 + r.IntN(50), pick(r, leaseLost, leaseLost, freezeLease, crashAfter)})
			}
			return
		}
		// One stops with the use of the limit in its hands, the other buys up to the limit,
		// and then more is asked for.
		p.asks[3].at, p.asks[4].at = 3*time.Minute, 3*time.Minute
		stop := reserves + pick(r, 0, 0, r.IntN(8))
		p.faults = []placed{{0, stop - 1 - r.IntN(3), leaseLost}, {0, stop, freezeShort}}
	},
	// restore: the ledger is restored from before the purchases.
	"restore": func(r *rand.Rand, p *plan) {
		p.asks = p.asks[:1]
		p.actions = []action{{kind: restore, step: 45 + r.IntN(30)}}
	},
	// rewritten: the answer is lost, and the list shows the order in other words.
	"rewritten": func(r *rand.Rand, p *plan) {
		p.asks, p.atOrder, p.rewrites = p.asks[:1], []fault{pick(r, unheard...)}, nil
		for _, kind := range []simulator.FaultKind{simulator.FaultProductSpelling, simulator.FaultCommonNameRepeated} {
			for _, e := range []simulator.Endpoint{simulator.EndpointOrder, simulator.EndpointGet, simulator.EndpointList} {
				p.rewrites = append(p.rewrites, simulator.Fault{Endpoint: e, Kind: kind, Times: -1})
			}
		}
		p.rewrites = append(p.rewrites, simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultApexAdded, Times: -1})
	},
	// cut: the answer is lost, and the list ends after its first row.
	"cut": func(r *rand.Rand, p *plan) {
		p.asks = nil
		for i := range 3 {
			p.asks = append(p.asks, ask{namespace: "team-0", name: fmt.Sprintf("cert-%d", i), names: []string{fmt.Sprintf("host-%d.example.com", i)}, key: i + 1, at: time.Duration(i) * time.Minute})
		}
		p.atOrder, p.firstPages = []fault{pick(r, unheard...)}, pick(r, 20, always)
	},
	// foreign: the answer is lost, and the Secret has the key of another account.
	"foreign": func(r *rand.Rand, p *plan) {
		p.asks, p.atOrder = p.asks[:1], []fault{pick(r, unheard...)}
		p.actions = []action{{kind: otherAccount, step: 30 + r.IntN(30)}}
	},
	// console: the order is lost, and somebody buys the same names at the console.
	"console": func(r *rand.Rand, p *plan) {
		p.asks, p.atOrder, p.rewrites = p.asks[:1], []fault{pick(r, requestLost, replyLost)}, nil
		p.actions = []action{{kind: console, step: 40 + r.IntN(20)}}
		if p.atOrder[0] == replyLost {
			p.listLag = 20 * time.Minute
		}
	},
	// renewal: what was bought for a key is due, and the same key is asked for again.
	"renewal": func(_ *rand.Rand, p *plan) {
		p.asks, p.days, p.day, p.renewals, p.again, p.issueDelay = p.asks[:1], 1, 2*time.Hour, 1, 80*time.Minute, 0
	},
	"reissue":  reissued,
	"fallback": fallenBack,
	"year":     aYear,
	// delivery: what is delivered is not what was ordered, for a while or for good.
	"delivery": func(r *rand.Rand, p *plan) {
		for range 1 + r.IntN(3) {
			kind := pick(r, simulator.FaultWrongKey, simulator.FaultWrongNames, simulator.FaultForeignName, simulator.FaultOldCertificate, simulator.FaultExpired,
				simulator.FaultCALeaf, simulator.FaultSelfSigned, simulator.FaultBrokenChain, simulator.FaultTruncated, simulator.FaultNotReady)
			times := pick(r, 1, 3, -1)
			if kind == simulator.FaultNotReady {
				// What is never ready is waited for without end.
				times = 3
			}
			p.rewrites = append(p.rewrites, simulator.Fault{Endpoint: simulator.EndpointDownload, Kind: kind, Times: times})
		}
	},
	// unknown: a known id is answered with 404 for a while.
	"unknown": func(r *rand.Rand, p *plan) {
		p.notFound = 3 + r.IntN(10)
	},
	// echo: the vendor answers an order with the id of another one.
	"echo": func(_ *rand.Rand, p *plan) {
		p.asks = []ask{
			{namespace: "team-0", name: "cert-0", names: []string{"host-0.example.com"}, key: 1},
			{namespace: "team-1", name: "cert-1", names: []string{"host-0.example.com"}, key: 2, at: time.Hour},
		}
		p.echo = true
	},
	// gone: a request goes while the caches still show it, in the middle of a purchase.
	"gone": func(r *rand.Rand, p *plan) {
		p.random, p.asks, p.hold, p.stale = false, p.asks[:1], 10*time.Minute, "CertificateRequest"
		p.asks[0].at = 0
		p.faults = []placed{{0, 5, staleRead}}
		p.actions = []action{{kind: pick(r, forget, recreateOtherKey), step: 9 + r.IntN(6)}}
	},
	// outside: at least one of the things on which the bound is built does not hold.
	"outside": func(r *rand.Rand, p *plan) {
		p.outside = true
		switch r.IntN(3) {
		case 0:
			p.listLag = pick(r, 45*time.Minute, 2*time.Hour)
		case 1:
			p.late = pick(r, 50*time.Minute, 3*time.Hour)
		default:
			p.late, p.listLag = 40*time.Minute, time.Hour
		}
		p.atOrder = []fault{pick(r, none, pick(r, unheard...)), pick(r, none, pick(r, unheard...))}
		p.faults = drawFaults(r, r.IntN(5), 40*(1+len(p.asks)))
	},
	// errors: the same, and the vendor makes every order and says that it failed.
	"errors": func(r *rand.Rand, p *plan) {
		p.outside, p.random = true, false
		p.asks, p.listLag = p.asks[:1], pick(r, 45*time.Minute, 2*time.Hour, 5*time.Hour)
		p.atOrder = []fault{errorAfter, errorAfter, errorAfter, errorAfter, errorAfter}
	},
}

func drawAsk(r *rand.Rand, before []ask) ask {
	n := len(before)
	a := ask{
		namespace: fmt.Sprintf("team-%d", r.IntN(2)), name: fmt.Sprintf("cert-%d", n), names: []string{fmt.Sprintf("host-%d.example.com", n)}, key: n + 1,
		at: pick(r, 0, 0, time.Duration(r.IntN(60))*time.Millisecond, time.Duration(r.IntN(3600))*time.Second),
	}
	if n > 0 && r.IntN(3) > 0 {
		a.names = before[r.IntN(n)].names
		switch r.IntN(4) {
		case 0:
			a.names = []string{"www." + strings.TrimPrefix(a.names[0], "www.")}
		case 1:
			a.names = []string{a.names[0], "more." + a.names[0]}
		}
	}
	return a
}

func drawRewrites(r *rand.Rand) []simulator.Fault {
	var all []simulator.Fault
	for _, kind := range []simulator.FaultKind{simulator.FaultProductSpelling, simulator.FaultCommonNameRepeated, simulator.FaultNoTrailingDots, simulator.FaultNoPendingReason} {
		if r.IntN(4) == 0 {
			for _, e := range []simulator.Endpoint{simulator.EndpointOrder, simulator.EndpointGet, simulator.EndpointList} {
				all = append(all, simulator.Fault{Endpoint: e, Kind: kind, Times: -1})
			}
		}
	}
	if r.IntN(4) == 0 {
		all = append(all, simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultApexAdded, Times: -1})
	}
	return all
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
