package vrrp

import (
	"net/netip"
	"time"
)

// enterBackup starts to listen (RFC 9568 section 6.4.1, 6.4.3). base is when
// the master was heard last.
func (m *Machine) enterBackup(now, base Time, r TransitionReason, planned bool) {
	m.transition(Backup, r, planned)
	m.zeroHeard, m.preemptAt, m.lowerAt = false, 0, 0
	m.downBase = base
	m.downAt = base.Add(m.MasterDown())
}

// shorten recomputes the down timer after a change of priority. A timer that
// runs is never extended.
func (m *Machine) shorten() {
	d := m.MasterDown()
	if m.zeroHeard {
		d = Skew(m.cfg.Version, m.priority, m.masterInterval)
	}
	m.downAt = min(m.downAt, m.downBase.Add(d))
}

// adopt takes the interval of a master that counts (RFC 9568 section 6.4.2).
func (m *Machine) adopt(a *Advertisement) {
	if m.cfg.Version == V3 {
		m.masterInterval, m.adopted = a.Interval, true
	}
}

// advertisement is a valid one; what was rejected never comes here.
func (m *Machine) advertisement(now Time, a *Advertisement, from netip.Addr) {
	if a.Priority == 0 {
		switch m.state {
		case Backup, Master, Releasing:
			m.count(CountPriorityZero)
		case Init, Fault:
		}
	}
	switch m.state {
	case Backup:
		m.backupHears(now, a, from)
	case Master:
		m.masterHears(now, a, from)
	case Releasing:
		m.successor(now, a, from)
	case Init, Fault:
	}
}

// backupHears is RFC 9568 section 6.4.2.
func (m *Machine) backupHears(now Time, a *Advertisement, from netip.Addr) {
	if a.Priority == 0 {
		// min: a flood of these cannot keep us from taking over.
		m.zeroHeard = true
		m.downBase = now
		m.downAt = min(m.downAt, now.Add(Skew(m.cfg.Version, m.priority, m.masterInterval)))
		return
	}
	if a.Priority < m.priority && m.preempts(now) {
		m.lowerAt, m.lowerInterval, m.lowerPriority = now, a.Interval, a.Priority
		if m.cfg.PreemptDelay <= 0 || m.owner() {
			return // discarded; the down timer runs on
		}
		// While the delay runs the master counts as if preemption were off.
		// The delay starts with the first such advertisement; a down timer
		// that would have run longer without it still has to run out.
		if m.preemptAt == 0 {
			m.preemptAt = max(now.Add(m.cfg.PreemptDelay), m.downAt)
		}
	} else {
		m.preemptAt = 0
	}
	m.adopt(a)
	if p := m.losing(a.Priority, from); m.unheard && p > 0 {
		// We were master beyond a cut and gave up there with nobody to hear it: this
		// one may have been master all the time, and has to announce again.
		m.unheard = false
		m.send(p, m.masterInterval)
	}
	m.heardAt, m.zeroHeard, m.wants = now, false, false
	m.downBase = now
	m.downAt = now.Add(m.MasterDown())
}

// losing is a priority for a last word to which the master from that address
// does not yield: the own one if it can be.
func (m *Machine) losing(master uint8, from netip.Addr) uint8 {
	if m.priority < master || m.priority == master && compareAddr(from, m.source) > 0 {
		return m.priority
	}
	return master - 1
}

// preempts tells whether a master of lower priority is to be replaced.
func (m *Machine) preempts(now Time) bool {
	return m.ready && !m.preemptionSuppressed(now) && (m.owner() || m.cfg.Preempt)
}

func (m *Machine) preemptionSuppressed(now Time) bool {
	if m.suppressed && m.suppressUntil != 0 && now >= m.suppressUntil {
		m.suppressed = false
	}
	return m.suppressed
}

// backupTimer: the down timer has fired (RFC 9568 section 6.4.2).
func (m *Machine) backupTimer(now Time) {
	if m.wants {
		m.letGo(now)
		return
	}
	delayOver := due(m.preemptAt, now)
	if delayOver && (!m.preempts(now) || m.lowerPriority >= m.priority) {
		m.preemptAt, delayOver = 0, false // things have changed since
	}
	if now < m.downAt && !delayOver {
		m.letGo(now)
		return
	}
	if m.cfg.Grouped {
		m.letGo(now)
		m.wants, m.wantDelay = true, delayOver
		return
	}
	m.takeOver(now, delayOver)
}

// takeOver becomes master: because the preempt delay is over, or because
// nobody is heard any more.
func (m *Machine) takeOver(now Time, delayOver bool) {
	switch {
	case delayOver:
		m.enterMaster(now, CausePreempt, true)
	case m.zeroHeard:
		m.enterMaster(now, CausePriorityZero, true)
	case m.lowerAt != 0 && now.Sub(m.lowerAt) <= 3*m.lowerInterval:
		m.enterMaster(now, CausePreempt, true)
	default:
		// The lost one may be cut off and still answer for the addresses,
		// until its kernel removes what nobody renews: announce again then.
		expiry := m.downBase.Add(m.peerLifetime())
		m.enterMaster(now, CauseMasterLost, false)
		if expiry > now {
			m.expiryAt = expiry
		}
	}
}

// peerLifetime bounds how long a peer's addresses outlive its last
// advertisement: the peer's Lifetime with the longest skew, and a second of
// the kernel's own.
func (m *Machine) peerLifetime() time.Duration {
	c := m.cfg
	c.Priority, c.Interval = 1, m.masterInterval
	return c.Lifetime() + time.Second
}
