package speaker

import (
	"net/netip"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// Sizes of arrays that are indexed by enumerations of package vrrp; a test
// holds them above what there is.
const (
	maxReasons  = 32
	maxStates   = 8
	maxCounters = 16
)

// counters of one instance, kept by the loop.
type counters struct {
	sent, received         uint64
	zeroSent, zeroReceived uint64
	sendErrors, mismatch   uint64
	messageOnly            uint64
	drops                  [maxReasons]uint64  // by vrrp.Reason
	entered                [maxStates]uint64   // by vrrp.State
	counted                [maxCounters]uint64 // by vrrp.Counter
}

// record is what the loop copies of an instance for Status: plain values, so
// that copying takes no time and no memory of the loop's.
type record struct {
	in             *instance
	state          vrrp.State
	reason         vrrp.TransitionReason
	since          time.Time
	priority       uint8
	source         netip.Addr
	heard          time.Duration
	masterSource   netip.Addr
	masterPriority uint8
	masterDownAt   time.Duration // 0 for none
	tracks         []track
	counters
	// Of the specification, which the loop may replace meanwhile.
	spec vrrp.Instance
}

// copyTo appends a record of each instance to buf.
func (l *loop) copyTo(buf []record) []record {
	for _, in := range l.instances {
		if len(buf) == cap(buf) {
			break // came since the space was made; the next Status has it
		}
		buf = append(buf, record{})
		in.copyTo(&buf[len(buf)-1])
	}
	return buf
}

// status turns a record into what goes over the link. at is the loop's clock
// and wall the wall clock of the same moment.
func (r *record) status(at time.Duration, wall time.Time) link.InstanceStatus {
	c := &r.spec.Config
	s := link.InstanceStatus{
		Name: r.spec.Name, Interface: r.spec.Interface, VRID: c.VRID, Version: c.Version, Family: c.Family, Mode: c.Mode,
		State: r.state, Reason: r.reason.String(), Since: r.since, Priority: r.priority, ConfiguredPriority: c.Priority,
		Interval: c.Interval, Source: r.source, MasterSource: r.masterSource, MasterPriority: r.masterPriority,
		Sent: r.sent, Received: r.received, LowerPriority: r.counted[vrrp.CountLowerPriority], ZeroSent: r.zeroSent, ZeroReceived: r.zeroReceived,
		Addresses: r.in.holder.Present(), Transitions: map[string]uint64{}, Dropped: map[string]uint64{}, TrackUp: map[string]bool{},
	}
	if r.heard != 0 {
		s.LastHeard = wall.Add(r.heard - at)
	}
	if r.masterDownAt != 0 {
		s.MasterDownIn = max(r.masterDownAt-at, 0)
	}
	s.ForeignClaims = r.counted[vrrp.CountClaim]
	s.AddressMismatch, s.MessageOnly = r.mismatch, r.messageOnly
	for i := range r.tracks {
		s.TrackUp[r.tracks[i].Name] = r.tracks[i].up
	}
	var failed uint64
	s.AnnouncedARP, s.AnnouncedNA, failed = r.in.holder.Announced()
	s.SendErrors = r.sendErrors + failed
	for _, st := range vrrp.States {
		s.Transitions[st.String()] = r.entered[st]
	}
	for _, reason := range vrrp.Reasons {
		if label := reason.Label(); label != "" {
			s.Dropped[label] += r.drops[reason]
		}
	}
	return s
}
