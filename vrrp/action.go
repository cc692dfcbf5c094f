package vrrp

import (
	"fmt"
	"time"
)

// ActionKind says what the caller has to do, and which fields of an Action count.
type ActionKind uint8

const (
	// ActionSend: send an advertisement with Priority and Interval now. All
	// else in it comes from the configuration. Interval is the own one, except
	// in a last word (see Machine).
	ActionSend ActionKind = iota
	// ActionTransition: the state went From, To for Reason; Planned for an
	// orderly change.
	ActionTransition
	// ActionHold: have the addresses on the link and keep them there. Answered
	// by EventAddresses, also if nothing had to be done.
	ActionHold
	// ActionDrop: take the addresses off the link.
	ActionDrop
	// ActionAnnounce: announce the addresses: a whole round if Full (one that
	// is under way starts anew), else one frame for each address.
	ActionAnnounce
	// ActionCount: add one to Counter.
	ActionCount
)

var actionNames = [...]string{"send", "transition", "hold", "drop", "announce", "count"}

func (k ActionKind) String() string {
	if int(k) < len(actionNames) {
		return actionNames[k]
	}
	return "unknown"
}

// Counter is something worth counting that the machine alone can see.
type Counter uint8

const (
	// CountLowerPriority: a losing advertisement heard as master; a second master was active.
	CountLowerPriority Counter = iota
	// CountPriorityZero: somebody said that he stops.
	CountPriorityZero
	// CountOwnAddress: our priority from our own address: a duplicate address or a loop.
	CountOwnAddress
	// CountTwoOwners: 255 heard while 255, a configuration error.
	CountTwoOwners
	// CountClaim: a foreign claim of our addresses heard as master.
	CountClaim
	// CountMissedTick: advertisements that were skipped because their time had passed.
	CountMissedTick
)

// Counters lists all counters, in order.
var Counters = []Counter{
	CountLowerPriority, CountPriorityZero, CountOwnAddress, CountTwoOwners, CountClaim, CountMissedTick,
}

var counterNames = [...]string{
	"lower-priority", "priority-zero-received", "tie-own-address", "two-owners", "foreign-claim", "missed-tick",
}

func (c Counter) String() string {
	if int(c) < len(counterNames) {
		return counterNames[c]
	}
	return "unknown"
}

// TransitionReason tells why the state changed, or what Init and Fault wait
// for; a closed set.
type TransitionReason uint8

const (
	CauseNone           TransitionReason = iota
	CauseStart                           // interface and source are there
	CauseOwner                           // owner of the addresses
	CauseResume                          // the speaker was restarted as master
	CauseMasterLost                      // no advertisement for the master-down interval
	CausePriorityZero                    // the master said that it stops
	CausePreempt                         // the master has a lower priority
	CauseHigherPriority                  // heard as master
	CauseTieBreak                        // equal priority from a higher address heard as master
	CauseInterfaceDown                   // own interface absent, down or without carrier
	CauseNoSource                        // no address to send from
	CauseStartDelay                      // start_delay runs
	CauseTrack                           // something tracked without a delta is bad
	CauseAddresses                       // the addresses could not be put on or renewed
	CauseStop                            // told to stop
	CauseFailover                        // told to hand over
	CauseOffer                           // the director was away and somebody took the offer
	CauseReleased                        // hand-over complete
	CauseReleaseTimeout                  // nobody took over in time
	CauseGroup                           // another instance of the sync group
)

var causeNames = [...]string{
	"none", "start", "owner", "resume", "master-lost", "priority-zero", "preempt", "higher-priority", "tie-break",
	"interface-down", "no-source", "start-delay", "track", "addresses", "stop", "failover", "offer", "released", "release-timeout", "group",
}

func (r TransitionReason) String() string {
	if int(r) < len(causeNames) {
		return causeNames[r]
	}
	return "unknown"
}

// Action is one thing to do, in the order of the slice. A value: its outcome,
// where it matters, comes back as an Event.
type Action struct {
	Kind     ActionKind
	Priority uint8
	Interval time.Duration
	From, To State
	Reason   TransitionReason
	Planned  bool
	Full     bool
	Counter  Counter
}

func (a Action) String() string {
	switch a.Kind {
	case ActionSend:
		return fmt.Sprintf("send %d", a.Priority)
	case ActionTransition:
		if a.Planned {
			return fmt.Sprintf("%v -> %v (%v, planned)", a.From, a.To, a.Reason)
		}
		return fmt.Sprintf("%v -> %v (%v)", a.From, a.To, a.Reason)
	case ActionAnnounce:
		if a.Full {
			return "announce round"
		}
		return "announce once"
	case ActionCount:
		return "count " + a.Counter.String()
	case ActionHold, ActionDrop:
	}
	return a.Kind.String()
}
