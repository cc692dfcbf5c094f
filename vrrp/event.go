package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// EventKind says what happened, and which fields of an Event count.
type EventKind uint8

const (
	// EventTimer: the deadline has passed. Before it the caller drains its
	// sockets, so that a packet that came in time beats the timer.
	EventTimer EventKind = iota
	// EventInterface: the state of the own interface. Up: it exists, is up and
	// has a carrier. Source: the address to send from, invalid if there is none.
	EventInterface
	// EventAdvertisement: a packet that Parse and Validate let pass, from Source.
	EventAdvertisement
	// EventPosture: what the rest of the program means for this instance.
	// Ready, Delta (sum of all tracking deltas) and Fault (something without a
	// delta is bad). Until the first one the instance is not ready.
	EventPosture
	// EventAddresses: how the addresses are, as an answer to ActionHold or by
	// themselves; see AddressOutcome.
	EventAddresses
	// EventStop: leave in order. Stopped tells when it is done.
	EventStop
	// EventRelease: hand over in order and do not preempt for For (0: until
	// the next restart).
	EventRelease
	// EventClaim: somebody else announced one of our addresses (gratuitous ARP
	// or unsolicited neighbour advertisement).
	EventClaim
	// EventReconfigure: Config replaces the configuration. VRID, version,
	// family and mode stay what they are: others would be another instance.
	EventReconfigure
	// EventStalled: the caller could not run for longer than MasterDown. Then
	// come all packets that waited in the sockets, then EventTimer.
	EventStalled
	// EventResume must be the first event if it comes at all: this is a
	// restarted speaker whose predecessor was master so recently that nobody
	// can have missed it, and the addresses are still on the link. It counts as
	// ready until EventPosture says otherwise. Without it the first step takes
	// stale addresses off.
	EventResume
	// EventGroup: the decision on the sync group. Fault: another member cannot
	// take part. Group: what to do.
	EventGroup
)

var eventNames = [...]string{
	"timer", "interface", "advertisement", "posture", "addresses", "stop", "release", "claim", "reconfigure", "stalled", "resume", "group",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// AddressOutcome is what the worker that keeps the addresses has to tell.
type AddressOutcome uint8

const (
	// AddressesHeld: all are on the link; the answer to each ActionHold.
	AddressesHeld AddressOutcome = iota
	// AddressesFailed: they could not be put on the link, or not be renewed in time.
	AddressesFailed
	// AddressesGone: somebody took one off; the machine asks to hold them again.
	AddressesGone
)

func (o AddressOutcome) String() string {
	switch o {
	case AddressesHeld:
		return "held"
	case AddressesFailed:
		return "failed"
	case AddressesGone:
		return "gone"
	}
	return "unknown"
}

// Event is one thing that happened. Fields that the kind does not name are ignored.
type Event struct {
	Kind          EventKind
	Advertisement *Advertisement // not kept
	Source        netip.Addr
	Up            bool
	Ready         bool
	Fault         bool
	Delta         int
	Group         GroupOrder
	Addresses     AddressOutcome
	For           time.Duration
	Config        *Config // copied; its lists are kept and must not change
}

func (e Event) String() string {
	switch e.Kind {
	case EventInterface:
		if !e.Up {
			return "interface down"
		}
		return fmt.Sprintf("interface up, source %v", e.Source)
	case EventAdvertisement:
		return fmt.Sprintf("advertisement %d from %v every %v", e.Advertisement.Priority, e.Source, e.Advertisement.Interval)
	case EventPosture:
		return fmt.Sprintf("posture ready=%t delta=%d fault=%t", e.Ready, e.Delta, e.Fault)
	case EventAddresses:
		return "addresses " + e.Addresses.String()
	case EventRelease:
		return fmt.Sprintf("release for %v", e.For)
	case EventReconfigure:
		return fmt.Sprintf("reconfigure priority=%d interval=%v", e.Config.Priority, e.Config.Interval)
	case EventGroup:
		return fmt.Sprintf("group fault=%t order=%d", e.Fault, e.Group)
	case EventTimer, EventStop, EventClaim, EventStalled, EventResume:
	}
	return e.Kind.String()
}
