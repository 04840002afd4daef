// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// stepKind says what a step does, which decides what can go wrong with it.
type stepKind int

const (
	apiRead stepKind = iota + 1
	apiWrite
	vendorRead
	// vendorConnect is on the way to an order, of which nothing was sent yet.
	vendorConnect
	// vendorOrder is the order itself.
	vendorOrder
)

// fault is what goes wrong at one step.
type fault int

const (
	none fault = iota
	// crashBefore and crashAfter end the process, before or after the call.
	crashBefore
	crashAfter
	// requestLost and replyLost lose the call or its answer; errorAfter carries the call
	// out and answers with an error of the server.
	requestLost
	replyLost
	errorAfter
	// staleRead stops the caches of the process for a while.
	staleRead
	// leaseLost gives the lease to the other process, whose controllers start.
	leaseLost
	// freezeShort, freezeLease and freezeLong stop the process for less than the write
	// window, for longer than the lease, and for longer than the settle time.
	freezeShort
	freezeLease
	freezeLong
)

var faultNames = map[fault]string{
	crashBefore: "crash-before", crashAfter: "crash-after", requestLost: "request-lost", replyLost: "reply-lost", errorAfter: "error-after",
	staleRead: "stale-read", leaseLost: "lease-lost", freezeShort: "freeze-20s", freezeLease: "freeze-2m", freezeLong: "freeze-50m",
}

func (f fault) String() string { return faultNames[f] }

// possible are the faults that differ from each other at a step of the kind. A crash
// after one step is one before the next, but for a call that changes something, which
// the other process may see in between.
func (k stepKind) possible() []fault {
	all := []fault{crashBefore, staleRead, leaseLost, freezeShort, freezeLease, freezeLong}
	switch k {
	case apiRead, vendorRead:
		return append(all, requestLost)
	case apiWrite:
		return append(all, crashAfter, requestLost, replyLost)
	case vendorOrder:
		return append(all, crashAfter, requestLost, replyLost, errorAfter)
	default:
		return all
	}
}

// placed is a fault at a call of a replica.
type placed struct {
	slot, call int
	fault      fault
}

func (p placed) String() string { return fmt.Sprintf("%d:%d:%s", p.slot, p.call, p.fault) }

// parsePlaced reads what String wrote, for a replay.
func parsePlaced(text string) ([]placed, error) {
	var all []placed
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		fields := strings.SplitN(part, ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q is not replica:call:fault", part)
		}
		slot, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, err
		}
		call, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, err
		}
		p := placed{slot: slot, call: call}
		for f, name := range faultNames {
			if name == fields[2] {
				p.fault = f
			}
		}
		if p.fault == none || slot < 0 || slot > 1 {
			return nil, fmt.Errorf("%q is no fault at a replica", part)
		}
		all = append(all, p)
	}
	return all, nil
}

// ask is a Certificate that somebody wants.
type ask struct {
	namespace, name string
	names           []string
	key             int
	at              time.Duration
}

// actionKind is what people and programs around the controller do.
type actionKind int

const (
	// recreateSameKey and recreateOtherKey delete a request and create it again, which
	// gives it another UID.
	recreateSameKey actionKind = iota + 1
	recreateOtherKey
	// rekey makes another request of the same Certificate, with another key.
	rekey
	// forget deletes a request for good.
	forget
	// deleteOrder deletes the RegfishOrder of a request.
	deleteOrder
	// cancel has the vendor cancel an order that is pending.
	cancel
	// recreateCertificate deletes a Certificate with its requests, and creates it again.
	recreateCertificate
	lastAction = recreateCertificate

	// restore forgets the ledger and the orders, as a backup of an earlier time does.
	restore actionKind = iota + 1
	// console buys the same names with another key, past the controller.
	console
	// otherAccount puts the key of another account into the Secret for some hours.
	otherAccount
	// stranger has the certificate reissued at the console, for another key.
	stranger
)

var actionNames = map[actionKind]string{
	recreateSameKey: "re-create with the same key", recreateOtherKey: "re-create with another key", rekey: "re-key", forget: "delete the request",
	deleteOrder: "delete the order", cancel: "cancel at the vendor", restore: "restore a backup from before the purchases",
	recreateCertificate: "re-create the Certificate", console: "buy at the console", otherAccount: "use the key of another account", stranger: "have it reissued at the console",
}

// action happens when so many steps were made.
type action struct {
	kind actionKind
	step int
	ask  int
}

// plan is everything that a schedule is made of. It follows from the seed.
type plan struct {
	seed uint64
	// family is the kind of schedule that is drawn; empty: any inside the bound.
	family string
	// random says that the steps are drawn, and not made in the order in which they
	// came up.
	random bool
	faults []placed
	// atOrder is what goes wrong with each order, in the order in which they are sent.
	atOrder []fault
	asks    []ask
	actions []action
	// hold is for how long a stale read lasts, and lag how far the caches are behind at
	// most otherwise.
	hold, lag time.Duration
	// stale is the one kind that a stale read concerns; empty: all.
	stale string
	// skew is how wrong the clock of each replica is.
	skew [2]time.Duration
	// down is how long a crashed replica is away; 0: a moment.
	down time.Duration
	// replaced says that a crashed pod is replaced; else its container is started again.
	replaced bool
	// silent says that what is lost is lost without a word, until the client gives up.
	silent bool
	// listLag is how long an order is missing in the vendor's list, late is how late the
	// first order arrives that is sent (0: at once), and issueDelay is how long the
	// authority takes.
	listLag, late, issueDelay time.Duration
	// firstPages is how many lists have the first row only.
	firstPages int
	rewrites   []simulator.Fault
	// person says that somebody decides what is held, and gitOps that a tool puts back
	// what was decided.
	person, gitOps bool
	// outside says that the plan is outside the bound.
	outside bool
	// limit is the issuer's purchase limit (0: the default), days how long what it buys is
	// valid (0: the longest there is), contract what that pays for (0: the same), and day how
	// long a day of these lasts (0: as long as any).
	limit, days, contract int32
	day                   time.Duration
	// renewals are how often each certificate is due and asked for again, and rotates says
	// that this is with another key.
	renewals int
	rotates  bool
	// again is how long after it was handed over a certificate is asked for again (0: when it
	// is due).
	again time.Duration
	// refusesReissue and refusesRenewal are with which status regfish answers them (0: it
	// takes them), and failing how many of the reissues that it took come to nothing.
	refusesReissue, refusesRenewal, failing int
	// notFound is how many reads of a known id are answered with 404, and echo says that
	// the second order is answered with the id of the first and not made.
	notFound int
	echo     bool
}
