package vrrptest

import (
	"fmt"
	"time"
)

// OpKind is something that a script or a history does to a segment. What
// happens to a process happens to all nodes of its host.
type OpKind uint8

const (
	OpStart   OpKind = iota // start Node's process; with Flag it resumes if it may
	OpCrash                 // kill it; the addresses stay until the kernel removes them
	OpStop                  // stop it in order
	OpStall                 // freeze it for For
	OpLink                  // carrier of Node: Flag
	OpReady                 // its director is ready: Flag
	OpFault                 // something tracked without a delta is bad: Flag
	OpDelta                 // sum of its deltas: N
	OpRelease               // hand over, no preemption for For
	OpClaim                 // a stranger announces the addresses; Node hears it
	OpGone                  // somebody takes the addresses off Node
	OpBroken                // Node cannot put addresses on or renew them: Flag
	OpCut                   // packets from Node to Peer are lost: Flag
	OpGroups                // partition: bit i of N tells on which side node i is
	OpHeal                  // all cuts and partitions end
	OpLoss                  // N percent of all packets are lost
	OpDup                   // N percent arrive twice
	OpDelay                 // packets take up to For, so that they overtake each other
	OpFlood                 // For long, packets that must be rejected arrive at Node
	OpConfig                // reload with priority N (0: as it is) and interval For (0: as it is)
)

var opNames = [...]string{
	"start", "crash", "stop", "stall", "link", "ready", "fault", "delta", "release", "claim", "gone", "broken",
	"cut", "groups", "heal", "loss", "dup", "delay", "flood", "config",
}

// Op at a moment after the beginning.
type Op struct {
	At   time.Duration
	Kind OpKind
	Node int
	Peer int
	N    int
	For  time.Duration
	Flag bool
}

func (o Op) describe(s *Segment) string {
	name := func(i int) string { return s.nodes[i].Name }
	switch o.Kind {
	case OpStart:
		if o.Flag {
			return "start " + name(o.Node) + " again at once"
		}
	case OpStall, OpRelease, OpFlood:
		return fmt.Sprintf("%s %s for %v", opNames[o.Kind], name(o.Node), o.For)
	case OpLink, OpReady, OpFault, OpBroken:
		return fmt.Sprintf("%s %s %t", opNames[o.Kind], name(o.Node), o.Flag)
	case OpDelta:
		return fmt.Sprintf("delta %s %+d", name(o.Node), o.N)
	case OpCut:
		return fmt.Sprintf("cut %s -> %s %t", name(o.Node), name(o.Peer), o.Flag)
	case OpGroups:
		return fmt.Sprintf("groups %0*b", len(s.nodes), o.N)
	case OpLoss, OpDup:
		return fmt.Sprintf("%s %d%%", opNames[o.Kind], o.N)
	case OpDelay:
		return fmt.Sprintf("delay up to %v", o.For)
	case OpConfig:
		return fmt.Sprintf("config %s priority %d interval %v", name(o.Node), o.N, o.For)
	case OpHeal:
		return "heal"
	case OpCrash, OpStop, OpClaim, OpGone:
	}
	return opNames[o.Kind] + " " + name(o.Node)
}

// disturbs tells whether promises made before it are void. Rejected packets,
// duplicates and strangers must not matter.
func (o Op) disturbs() bool {
	switch o.Kind {
	case OpFlood, OpDup, OpClaim:
		return false
	case OpStart, OpCrash, OpStop, OpStall, OpLink, OpReady, OpFault, OpDelta, OpRelease, OpGone, OpBroken,
		OpCut, OpGroups, OpHeal, OpLoss, OpDelay, OpConfig:
	}
	return true
}

// needsProcess: a process that is stalled takes note of it when it wakes.
func (o Op) needsProcess() bool {
	switch o.Kind {
	case OpStart, OpStop, OpStall, OpLink, OpReady, OpFault, OpDelta, OpRelease, OpClaim, OpGone, OpBroken, OpConfig:
		return true
	case OpCrash, OpCut, OpGroups, OpHeal, OpLoss, OpDup, OpDelay, OpFlood:
	}
	return false
}
