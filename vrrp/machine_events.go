package vrrp

// posture: what the rest of the program means for the instance.
func (m *Machine) posture(now Time, e Event) {
	wasReady := m.ready
	before := m.priority
	m.ready, m.delta, m.fault = e.Ready, e.Delta, e.Fault
	m.priority = m.effective()
	switch m.state {
	case Init, Fault:
		m.settle(now)
	case Backup:
		switch {
		case m.fault:
			m.transition(Fault, CauseTrack, false)
		case m.owner() && before != OwnerPriority && !m.preemptionSuppressed(now):
			m.own(now)
		case before == OwnerPriority && !m.owner():
			m.disown(now)
		default:
			m.shorten()
		}
	case Master:
		switch {
		case m.fault:
			m.release(now, CauseTrack, true)
		case wasReady && !m.ready:
			m.offer(now)
		case m.ready && !wasReady:
			m.withdrawOffer(now)
		case m.offerUntil == 0 && m.priority != before:
			m.advertise(now)
		}
	case Releasing:
	}
}

func (m *Machine) addresses(now Time, o AddressOutcome) {
	switch o {
	case AddressesHeld:
		if m.state != Master {
			return
		}
		if !m.held {
			m.held, m.heldSince = true, now
		}
		if m.announce {
			m.announce = false
			m.do(Action{Kind: ActionAnnounce, Full: true})
		}
	case AddressesGone:
		if m.state == Master {
			m.held, m.announce = false, true
			m.do(Action{Kind: ActionHold})
		}
	case AddressesFailed:
		if m.state != Master && m.state != Releasing {
			return
		}
		if m.held && now.Sub(m.heldSince) > heldLongEnough {
			m.failures = 0
		}
		m.retryAt = now.Add(min(retryAddresses<<min(m.failures, 10), retryMost))
		m.failures++
		if m.state == Master && m.held {
			m.release(now, CauseAddresses, false)
			return
		}
		if m.state == Master {
			m.send(0, m.cfg.Interval)
		}
		m.do(Action{Kind: ActionDrop})
		m.leaveMaster()
		w := m.waiting(now)
		m.transition(stateFor(w), w, false)
	}
}

func (m *Machine) stop(now Time) {
	m.stopped = true
	switch m.state {
	case Init:
		m.last = CauseStop
		if m.resumeUntil != 0 {
			m.resumeUntil = 0
			m.do(Action{Kind: ActionDrop})
		}
	case Backup, Fault:
		m.transition(Init, CauseStop, true)
	case Master:
		m.release(now, CauseStop, true)
	case Releasing:
	}
}

func (m *Machine) reconfigure(now Time, c Config) {
	before := m.priority
	if c.Preempt != m.cfg.Preempt || c.PreemptDelay != m.cfg.PreemptDelay {
		m.preemptAt = 0
	}
	longest := m.longestSkew(now)
	if c.longestSkew() < longest {
		m.former = longest
		m.formerUntil = max(m.formerUntil, now.Add(4*m.cfg.longestSkew()))
	}
	m.cfg = c
	m.priority = m.effective()
	m.wants = m.wants && c.Grouped
	m.groupFault = m.groupFault && c.Grouped
	if !m.adopted {
		m.masterInterval = c.Interval
	}
	switch m.state {
	case Backup:
		if m.owner() && before != OwnerPriority && !m.preemptionSuppressed(now) {
			m.own(now)
			return
		}
		if before == OwnerPriority && !m.owner() {
			m.disown(now)
			return
		}
		m.shorten()
	case Master:
		// RFC 9568 is silent about it: stay master, hold the new list, announce.
		if m.offerUntil == 0 {
			m.advertise(now)
		}
		m.announce = true
		m.do(Action{Kind: ActionHold})
	case Init, Fault:
		if m.last == CauseGroup && !c.Grouped {
			m.settle(now)
		}
	case Releasing:
	}
}

// stalled: packets that would have told us something may still wait, or were
// lost while we were away. A backup gives the master one more interval; a
// master says that it is there as soon as what waited was read, and only a
// better advertisement makes it yield.
func (m *Machine) stalled(now Time) {
	switch m.state {
	case Backup:
		m.downAt = max(m.downAt, now.Add(m.masterInterval))
		m.wants = false
	case Master:
		if m.offerUntil == 0 {
			m.advertAt = min(m.advertAt, now) // it counts as late
		}
	case Init, Fault, Releasing:
	}
}
