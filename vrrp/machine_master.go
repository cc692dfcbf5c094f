package vrrp

import "net/netip"

// enterMaster: the advertisement goes first, so that an old master lets go;
// then the addresses; they are announced when they are on the link.
func (m *Machine) enterMaster(now Time, r TransitionReason, planned bool) {
	m.leaveMaster() // nothing of an earlier term
	m.unheard = false
	m.masterInterval, m.adopted = m.cfg.Interval, false
	m.advertise(now)
	m.announce = true
	m.do(Action{Kind: ActionHold})
	m.transition(Master, r, planned)
}

// leaveMaster forgets what only a master has.
func (m *Machine) leaveMaster() {
	m.advertAt, m.hurryUntil, m.answeredAt, m.zeroAt, m.expiryAt = 0, 0, 0, 0, 0
	m.reannounceAt, m.reannounced = 0, 0
	m.claimAt, m.claimedAt = 0, 0
	m.tieAt, m.tieHeard = 0, 0
	m.offerUntil, m.offerAgainAt, m.offers = 0, 0, 0
	m.releaseAt, m.succeeded = 0, false
	m.held, m.announce, m.dropAt = false, false, 0
}

// masterHears is RFC 9568 section 6.4.3.
func (m *Machine) masterHears(now Time, a *Advertisement, from netip.Addr) {
	p := a.Priority
	order := compareAddr(from, m.source)
	switch {
	case p != 0 && m.offerUntil != 0 && now.Sub(m.offeredAt) < Skew(m.cfg.Version, p, m.cfg.Interval):
		// Nobody takes an offer within its own skew. This may be the last word
		// of somebody who has just yielded to us and is backup: to let go for
		// it would leave the addresses with nobody until its skew is over. A
		// second master is heard again, and yields or takes it then. Either way
		// there were two.
		m.reannounce(now)
	case p != 0 && m.offerUntil != 0:
		// Whoever took our offer.
		m.offerUntil, m.advertAt = 0, 0
		m.releaseUntil = m.releaseBound(now)
		m.releaseAt = m.releaseUntil
		m.transition(Releasing, CauseOffer, true)
		m.successor(now, a, from)
	case p == 0 && m.offerUntil != 0:
		m.reannounce(now)
	case p == 0:
		// There were two, and one of them gives up before it has heard us.
		m.answerZero(now)
		m.reannounce(now)
	case p == m.priority && order == 0:
		m.count(CountOwnAddress)
	case p == m.priority && order > 0 && m.tieWaits(now, a.Interval):
		// If we stay, there were two: neighbours have to be told.
		m.reannounceAt = now.Add(m.cfg.GroupInterval + tieSlack)
	case p > m.priority || p == m.priority && order > 0:
		r := CauseHigherPriority
		if p == m.priority {
			r = CauseTieBreak
			if m.owner() {
				m.count(CountTwoOwners)
			}
		}
		m.demote(now, a, r)
	default:
		if p == m.priority && m.owner() {
			m.count(CountTwoOwners)
		}
		m.count(CountLowerPriority)
		m.answer(now)
		m.reannounce(now)
	}
}

// demote yields to a better master, with a last word: the winner then knows
// that there were two, and announces again. It carries the winner's interval,
// so that no third node adopts another one from it.
func (m *Machine) demote(now Time, a *Advertisement, r TransitionReason) {
	m.adopt(a)
	m.send(m.priority, m.masterInterval)
	held := m.held
	m.leaveMaster()
	if held {
		// Make before break: the winner's advertisement comes before it has the
		// addresses. It never waits for us to let go.
		m.dropAt = now.Add(releaseAfterAdvert)
	} else {
		m.do(Action{Kind: ActionDrop})
	}
	m.heardAt = now
	m.enterBackup(now, now, r, true)
}

// letGo takes the addresses off that a master who yielded still has, when it is time.
func (m *Machine) letGo(now Time) {
	if due(m.dropAt, now) {
		m.dropAt = 0
		m.do(Action{Kind: ActionDrop})
	}
}

// answer says at once that we are there, at most once in an interval: more
// often than that the next advertisement says it anyway.
func (m *Machine) answer(now Time) {
	if m.answeredAt != 0 && now.Sub(m.answeredAt) < m.cfg.Interval {
		return
	}
	m.answeredAt = now
	m.advertise(now)
}

// answerZero: without an answer the backups of whoever sent priority 0 take
// over within their skew. So it comes at once, or after a part of the least one.
func (m *Machine) answerZero(now Time) {
	least := Skew(m.cfg.Version, OwnerPriority, m.cfg.Interval)
	if m.zeroAt != 0 && now.Sub(m.zeroAt) < least {
		m.advertAt = min(m.advertAt, m.zeroAt.Add(least))
		return
	}
	m.zeroAt, m.answeredAt = now, now
	m.advertise(now)
}

// reannounce starts a round of announcements for neighbours that a second
// master may have misled. Rounds have a spacing; the last cause always gets one.
// During an offer it would be said beside whoever takes it: it waits until
// nobody has.
func (m *Machine) reannounce(now Time) {
	if m.offerUntil != 0 {
		m.reannounceAt = m.offerUntil
		return
	}
	if m.reannounced != 0 && now.Sub(m.reannounced) < reannounceSpacing {
		m.reannounceAt = m.reannounced.Add(reannounceSpacing)
		return
	}
	m.reannounceAt, m.reannounced = 0, now
	m.round()
}

// round announces now, or as soon as the addresses are on the link.
func (m *Machine) round() {
	if !m.held {
		m.announce = true
		return
	}
	m.do(Action{Kind: ActionAnnounce, Full: true})
}

func due(at, now Time) bool { return at != 0 && at <= now }

func (m *Machine) masterTimer(now Time) {
	if due(m.offerAgainAt, now) {
		m.offerAgainAt = 0
		m.offer(now)
	}
	if due(m.advertAt, now) {
		m.tick(now)
	}
	if due(m.offerUntil, now) {
		// Nobody took it: go on, and offer again later.
		m.offerUntil = 0
		m.offerAgainAt = now.Add(min(offerBackOff<<min(m.offers, 10), offerMost))
		m.offers++
		m.advertise(now)
	}
	if due(m.claimAt, now) {
		m.claimAt, m.claimedAt = 0, now
		if m.held {
			m.do(Action{Kind: ActionAnnounce})
		}
	}
	if due(m.reannounceAt, now) {
		m.reannounce(now)
	}
	if due(m.expiryAt, now) {
		m.expiryAt = 0
		m.round()
	}
}

// tick sends what is due: one advertisement, however many were missed. The
// next one is planned from the moment this one was planned for, so that
// lateness does not add up.
//
// One that comes late, for want of a CPU, may be followed by one that comes
// later yet. For a while the next ones are planned twice as often as backups
// are told, so that a wait of the same length leaves a shorter silence.
func (m *Machine) tick(now Time) {
	planned, every := m.advertAt, m.cfg.Interval
	if now.Sub(planned) > every/hurryAfter {
		m.hurryUntil = now.Add(hurryFor * every)
	}
	m.advertise(now)
	if now.Sub(planned) >= every {
		m.count(CountMissedTick)
	}
	if now < m.hurryUntil {
		every /= 2
	}
	m.advertAt = planned.Add(every)
	if m.advertAt <= now {
		m.advertAt = now.Add(every)
	}
}

// claim: somebody announces our addresses. It is answered only if no better
// advertisement comes within an interval, for then that somebody is right.
func (m *Machine) claim(now Time) {
	switch m.state {
	case Master:
		if m.offerUntil != 0 {
			// Whoever takes the offer advertises. If that is not heard before the
			// offer ends, neighbours were misled all the same.
			m.reannounce(now)
			return
		}
		m.count(CountClaim)
		if m.claimAt == 0 {
			m.claimAt = now.Add(m.cfg.Interval)
			if m.claimedAt != 0 {
				m.claimAt = max(m.claimAt, m.claimedAt.Add(claimSpacing))
			}
		}
	case Releasing:
		// The next master advertises before it announces; without that the
		// claim may be a stranger's.
		if m.succeeded {
			m.releaseAt = min(m.releaseAt, now.Add(releaseAfterClaim))
		}
	case Backup:
		if m.dropAt != 0 { // we have just yielded to that somebody
			m.dropAt = min(m.dropAt, now.Add(releaseAfterClaim))
		}
	case Init, Fault:
	}
}

// offer sends priority 0 while the addresses stay: a backup is silent, and
// nobody can know beforehand that one exists.
func (m *Machine) offer(now Time) {
	m.send(0, m.cfg.Interval)
	m.offerUntil = now.Add(m.longestSkew(now) + offerSlack)
	if m.claimAt != 0 || m.reannounceAt != 0 {
		m.reannounce(now)
	}
	m.advertAt, m.claimAt, m.offeredAt = 0, 0, now
}

// withdrawOffer: the director is back.
func (m *Machine) withdrawOffer(now Time) {
	m.offerUntil, m.offerAgainAt, m.offers = 0, 0, 0
	m.advertise(now)
}

// releaseBound is the longest that addresses stay after priority 0.
func (m *Machine) releaseBound(now Time) Time {
	return now.Add(min(m.longestSkew(now)+releaseSlack, releaseMost))
}

// release hands over in order: priority 0 at once, the addresses stay until
// the next master is there (make before break).
func (m *Machine) release(now Time, r TransitionReason, planned bool) {
	m.send(0, m.cfg.Interval)
	held := m.held
	m.leaveMaster()
	m.held = held
	m.releaseUntil = m.releaseBound(now)
	m.releaseAt = m.releaseUntil
	m.heardAt = now
	m.transition(Releasing, r, planned)
}

// successor was heard while Releasing. One that gives up at once is none.
// Another one, that took over from the first, needs its time too.
func (m *Machine) successor(now Time, a *Advertisement, from netip.Addr) {
	if a.Priority == 0 {
		m.succeeded, m.releaseAt = false, m.releaseUntil
		return
	}
	m.adopt(a)
	m.heardAt = now
	if !m.succeeded || from != m.successorIs {
		m.succeeded, m.successorIs = true, from
		m.releaseAt = min(m.releaseUntil, now.Add(releaseAfterAdvert))
	}
}

// released: the hand-over is complete, or took too long.
func (m *Machine) released(now Time) {
	r := CauseReleased
	if !m.succeeded {
		r = CauseReleaseTimeout
		m.send(0, m.cfg.Interval) // the first one may have been lost
	}
	m.do(Action{Kind: ActionDrop})
	m.leaveMaster()
	switch w := m.waiting(now); w {
	case CauseNone:
		m.enterBackup(now, m.heardAt, r, true)
		m.unheard = r == CauseReleaseTimeout
		// Who hears the second priority 0 goes first.
		m.downAt = max(m.downAt, now.Add(m.longestSkew(now)+offerSlack))
	default:
		if w != CauseStop {
			r = w
		}
		m.transition(stateFor(w), r, true)
	}
}
