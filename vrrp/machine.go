package vrrp

import (
	"net/netip"
	"time"
)

// Bounds of our own rules; those of the RFC follow from intervals.
const (
	releaseAfterAdvert = 200 * time.Millisecond // the new master has the addresses by then
	releaseAfterClaim  = 20 * time.Millisecond  // it has them, and has said so
	releaseSlack       = 300 * time.Millisecond // above the longest skew
	releaseMost        = 5 * time.Second
	tieSlack           = 100 * time.Millisecond
	offerSlack         = 100 * time.Millisecond
	offerBackOff       = 10 * time.Second // doubles up to offerMost
	offerMost          = 5 * time.Minute
	hurryAfter         = 4                       // an advertisement is late by more than this part of its interval
	hurryFor           = 16                      // intervals
	claimSpacing       = 1100 * time.Millisecond // RFC 5227 wants more than 1 s; metallb's figure
	reannounceSpacing  = time.Second
	retryAddresses     = 10 * time.Second // doubles up to retryMost
	retryMost          = 5 * time.Minute
	heldLongEnough     = time.Minute // then failures count from the beginning
)

// Machine is the election of one instance. It is not safe for concurrent use.
// Everything it knows of the world comes with Step; everything it wants is in
// the answer.
type Machine struct {
	cfg      Config
	state    State
	priority uint8 // in use now
	last     TransitionReason
	actions  []Action

	// What the events told.
	begun, stopped, up, ready, fault bool
	groupFault                       bool
	source                           netip.Addr
	delta                            int

	// Init and Fault.
	startAt     Time // end of the start delay
	resumeUntil Time // as master, without an election
	retryAt     Time // end of the pause after the addresses failed
	failures    int
	heldSince   Time

	// Longest skew before reconfigurations that made it shorter, of the group as
	// of the instance: one that has not adopted the new interval, because it is
	// about to preempt, waits that long.
	former      time.Duration
	formerUntil Time

	// Backup.
	masterInterval time.Duration // MAdver: of the master, as adopted
	adopted        bool          // masterInterval is a master's and not our own
	downAt         Time
	downBase       Time // what downAt counts from
	zeroHeard      bool // downAt is a skew after downBase, not a master-down interval
	heardAt        Time // last advertisement with a priority above 0
	lowerAt        Time // last one that lost against us
	lowerInterval  time.Duration
	lowerPriority  uint8
	preemptAt      Time // end of the preempt delay: take over from a lower master
	wants          bool // to take over, and waits for its sync group
	wantDelay      bool // because the preempt delay is over
	suppressed     bool // by EventRelease, until suppressUntil if that is set
	suppressUntil  Time
	dropAt         Time // let go of the addresses, after yielding as master
	unheard        bool // gave mastership up and met nobody: the last word is still to be said

	// Master.
	advertAt     Time
	hurryUntil   Time // advertisements were late: the next ones come sooner
	held         bool // the addresses are on the link
	announce     bool // a round is due as soon as they are
	answeredAt   Time // last answer to a losing advertisement
	zeroAt       Time // last answer to priority 0
	reannounceAt Time // a round that waits for its spacing
	reannounced  Time // last one
	expiryAt     Time // a lost master's addresses are gone by then
	claimAt      Time // answer to a foreign claim
	claimedAt    Time // last one
	offerUntil   Time // priority 0 was sent and somebody may take it
	offeredAt    Time // the last one
	offerAgainAt Time
	offers       int
	tieAt        Time // a tie was lost that the group's first member is to decide
	tieHeard     Time // last time

	// Releasing.
	releaseAt    Time
	releaseUntil Time // its bound
	succeeded    bool // the next master was heard
	successorIs  netip.Addr
}

// NewMachine is a machine in Init that is not ready and has no interface yet.
// StartDelay counts from its first Step.
func NewMachine(c Config) *Machine {
	m := &Machine{cfg: c, masterInterval: c.Interval, last: CauseInterfaceDown, actions: make([]Action, 0, 16)}
	m.priority = m.effective()
	return m
}

// Step takes one event that happened at now and returns what to do, in order.
// now should not go backwards. The slice is valid until the next Step.
func (m *Machine) Step(now Time, e Event) []Action {
	m.actions = m.actions[:0]
	if !m.begun {
		m.begun = true
		m.startAt = now.Add(m.cfg.StartDelay)
		if e.Kind == EventResume {
			m.ready = true
			m.priority = m.effective()
			m.resumeUntil = now.Add(m.cfg.Interval)
		} else {
			m.do(Action{Kind: ActionDrop})
		}
	}
	switch e.Kind {
	case EventTimer:
		m.timer(now)
	case EventInterface:
		m.iface(now, e.Up, e.Source)
	case EventAdvertisement:
		m.advertisement(now, e.Advertisement, e.Source)
	case EventPosture:
		m.posture(now, e)
	case EventAddresses:
		m.addresses(now, e.Addresses)
	case EventStop:
		m.stop(now)
	case EventRelease:
		m.suppressed, m.suppressUntil, m.preemptAt = true, 0, 0
		if e.For > 0 {
			m.suppressUntil = now.Add(e.For)
		}
		if m.state == Master {
			m.release(now, CauseFailover, true)
		}
	case EventClaim:
		m.claim(now)
	case EventReconfigure:
		m.reconfigure(now, *e.Config)
	case EventStalled:
		m.stalled(now)
	case EventGroup:
		m.group(now, e.Fault, e.Group)
	case EventResume:
	}
	return m.actions
}

// Deadline is when the next EventTimer is due; false if nothing is.
func (m *Machine) Deadline() (Time, bool) {
	var d Time
	at := func(t Time) {
		if t != 0 && (d == 0 || t < d) {
			d = t
		}
	}
	switch m.state {
	case Init, Fault:
		if m.stopped || !m.begun {
			break
		}
		at(m.resumeUntil)
		if m.fault {
			break
		}
		at(m.retryAt)
		if m.up && m.source.IsValid() {
			at(m.startAt)
		}
	case Backup:
		if !m.wants {
			at(m.downAt)
			at(m.preemptAt)
		}
		at(m.dropAt)
	case Master:
		at(m.advertAt)
		at(m.offerUntil)
		at(m.offerAgainAt)
		at(m.claimAt)
		at(m.reannounceAt)
		at(m.expiryAt)
	case Releasing:
		at(m.releaseAt)
	}
	return d, d != 0
}

// State now.
func (m *Machine) State() State { return m.state }

// Priority in use now: the effective one, or 1 while not ready.
func (m *Machine) Priority() uint8 { return m.priority }

// Reason of the last transition, or what Init or Fault waits for.
func (m *Machine) Reason() TransitionReason { return m.last }

// Source is the address that advertisements come from; invalid if there is none.
func (m *Machine) Source() netip.Addr { return m.source }

// Stopped tells that an EventStop was carried out to its end.
func (m *Machine) Stopped() bool { return m.stopped && m.state == Init }

// MasterInterval is the master's interval as adopted, the own one if none was heard.
func (m *Machine) MasterInterval() time.Duration { return m.masterInterval }

// MasterDown is the master-down interval with the priority and the master's
// interval of now.
func (m *Machine) MasterDown() time.Duration {
	return MasterDown(m.cfg.Version, m.priority, m.masterInterval)
}

// MasterDownAt is when a backup will take over unless it hears the master.
func (m *Machine) MasterDownAt() (Time, bool) { return m.downAt, m.state == Backup }

// Offering tells that a master has sent priority 0 because the director is
// away, and waits whether somebody takes over.
func (m *Machine) Offering() bool { return m.state == Master && m.offerUntil != 0 }

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) count(c Counter) { m.do(Action{Kind: ActionCount, Counter: c}) }

func (m *Machine) send(priority uint8, interval time.Duration) {
	m.do(Action{Kind: ActionSend, Priority: priority, Interval: interval})
}

// advertise sends an advertisement and plans the next one.
func (m *Machine) advertise(now Time) {
	m.send(m.priority, m.cfg.Interval)
	m.advertAt = now.Add(m.cfg.Interval)
}

func (m *Machine) transition(to State, r TransitionReason, planned bool) {
	if to == Init || to == Fault {
		m.letGo(m.dropAt) // nobody will later
	}
	m.do(Action{Kind: ActionTransition, From: m.state, To: to, Reason: r, Planned: planned})
	m.state, m.last, m.wants = to, r, false
}

func (m *Machine) effective() uint8 {
	if !m.ready {
		return 1
	}
	delta := [1]int{m.delta}
	return EffectivePriority(m.cfg.Priority, delta[:])
}

// owner: we own the addresses and are fit to.
func (m *Machine) owner() bool { return m.priority == OwnerPriority }

// longestSkew is an upper bound of everybody's skew under us; of a group's it
// takes over as one.
func (m *Machine) longestSkew(now Time) time.Duration {
	d := m.cfg.longestSkew()
	if now < m.formerUntil {
		d = max(d, m.former)
	}
	return d
}

func (c *Config) longestSkew() time.Duration {
	if c.Version == V2 {
		return max(time.Second, c.GroupSkew)
	}
	return max(c.Interval, c.GroupSkew)
}

// waiting tells what keeps the instance from taking part; CauseNone if nothing does.
func (m *Machine) waiting(now Time) TransitionReason {
	switch {
	case m.stopped:
		return CauseStop
	case m.fault:
		return CauseTrack
	case now < m.retryAt:
		return CauseAddresses
	case !m.up:
		return CauseInterfaceDown
	case !m.source.IsValid():
		return CauseNoSource
	case now < m.startAt && m.resumeUntil == 0:
		return CauseStartDelay
	case m.groupFault:
		return CauseGroup
	}
	return CauseNone
}

// settle moves an instance that holds nothing to where it belongs: Init,
// Fault, or into the election (RFC 9568 section 6.4.1).
func (m *Machine) settle(now Time) {
	if m.resumeUntil != 0 && now >= m.resumeUntil {
		// Too late: somebody may have missed us.
		m.resumeUntil = 0
		m.do(Action{Kind: ActionDrop})
	}
	w := m.waiting(now)
	if now >= m.retryAt {
		m.retryAt = 0
	}
	if now >= m.startAt {
		m.startAt = 0
	}
	to := Init
	switch w {
	case CauseNone:
		m.start(now)
		return
	case CauseGroup:
		to = m.state // at the start nothing was at fault
	case CauseTrack, CauseAddresses:
		to = Fault
	}
	if m.state != to {
		m.transition(to, w, false)
	}
	m.last = w
}

func (m *Machine) start(now Time) {
	m.retryAt, m.startAt = 0, 0
	switch {
	case m.resumeUntil != 0:
		m.resumeUntil = 0
		m.enterMaster(now, CauseResume, true)
	case m.owner() && !m.preemptionSuppressed(now) && !m.cfg.Grouped:
		m.enterMaster(now, CauseOwner, true)
	default:
		m.masterInterval, m.adopted = m.cfg.Interval, false
		m.enterBackup(now, now, CauseStart, false)
		if m.owner() && !m.preemptionSuppressed(now) {
			m.own(now)
		}
	}
}

// own has a backup that became the owner take over; in a sync group as soon as
// the others want to.
func (m *Machine) own(now Time) {
	if m.cfg.Grouped {
		m.downAt = now
		return
	}
	m.enterMaster(now, CauseOwner, true)
}

// disown has a backup that is owner no more wait for a master as any other; in
// a sync group it may have waited for the others only.
func (m *Machine) disown(now Time) {
	if !m.cfg.Grouped {
		m.shorten()
		return
	}
	m.wants = false
	m.downBase, m.downAt = now, now.Add(m.MasterDown())
}

func (m *Machine) timer(now Time) {
	switch m.state {
	case Init, Fault:
		m.settle(now)
	case Backup:
		m.backupTimer(now)
	case Master:
		m.masterTimer(now)
	case Releasing:
		if m.releaseAt <= now {
			m.released(now)
		}
	}
}

func (m *Machine) iface(now Time, up bool, source netip.Addr) {
	moved := source.IsValid() && m.source.IsValid() && source != m.source
	if up && !m.up {
		m.retryAt, m.failures = 0, 0 // a new link is a new chance
	}
	m.up, m.source = up, source
	usable := up && source.IsValid()
	switch m.state {
	case Init, Fault:
		m.settle(now)
	case Backup:
		if !usable {
			m.transition(Init, m.waiting(now), false)
		}
	case Master, Releasing:
		switch {
		case !usable:
			// Own link down: the addresses go at once, nobody would hear priority 0.
			m.do(Action{Kind: ActionDrop})
			m.leaveMaster()
			w := m.waiting(now)
			m.transition(stateFor(w), w, m.stopped)
		case moved && m.state == Master && m.offerUntil == 0:
			m.advertise(now) // peers compare our new address
		}
	}
}

// stateFor is where an instance waits.
func stateFor(w TransitionReason) State {
	if w == CauseTrack || w == CauseAddresses || w == CauseGroup {
		return Fault
	}
	return Init
}
