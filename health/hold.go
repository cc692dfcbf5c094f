package health

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// A held connection is an idle one that stands beside a check's probes while
// the server is up. Its end says nothing for certain (a server may close what
// idles), but it is the first sign of a crash: it makes the next probe due at
// once, and if that fails the remaining ones follow back to back.
//
//	up, probe passed ──connect──▶ held ──end──▶ hint: probe now
//	      ▲                        │ 3 ends and no failed probe
//	      └── after a pause ◀──────┤
//	                               ▼
//	                              off
//
// Once held it costs nothing until it ends: no timer, no allocation.

// HoldStatus tells of the connection that is held beside a check's probes.
type HoldStatus struct {
	Held   bool   // there is one
	Off    bool   // the server kept closing it without failing: given up
	Closes uint64 // ends that the server made, each a probe at once
}

// holding is the engine's side of it.
type holding struct {
	cn     *conn // nil: none
	up     bool  // connected
	off    bool
	closes uint64
	// vain ends in a row without a failed probe.
	vain      int
	since     int64 // connected
	notBefore int64 // the next attempt
	pause     int64 // between attempts
	pool      *pool // nil before the first
	to        sockaddr
	hintedAt  int64 // from outside; to come if it was put off
}

const (
	maxVain      = 3
	minHoldPause = int64(1e9)
	maxHoldPause = int64(60e9)
	// maxUnread octets that a server may send unasked at one time.
	maxUnread = 64 << 10
)

// Looks at the batch while a hint is followed up (see engine).
const (
	rushLook = 200_000
	rushTime = 50_000_000
	// A probe that passed after a hint is made again some times, furtherLook
	// apart: for 5 ms after the end of a connection, when the process at the
	// other end may still be dying, and less after an event of the path, which
	// may concern thousands.
	furtherLook          = 400_000
	looksEnded, looksWay = 12, 3
)

func (h *holding) status() HoldStatus {
	if h == nil {
		return HoldStatus{}
	}
	return HoldStatus{Held: h.up, Off: h.off, Closes: h.closes}
}

// hold sees to the held connection of c after a result.
func (e *engine) hold(c *check, now int64) {
	h := c.hold
	if c.last != nil && c.last.Reason != ReasonInternal {
		// The server fails: what ended was no closing in vain, whatever came before.
		h.vain, h.pause = 0, 0
		h.notBefore = min(h.notBefore, now+minHoldPause)
	}
	switch {
	case c.verdict.State != Up:
		e.letGo(c)
	case c.last == nil && h.cn == nil && !h.off && now >= h.notBefore:
		h.pause = min(max(2*h.pause, minHoldPause), maxHoldPause)
		h.notBefore = now + h.pause
		e.takeHold(c)
	}
}

// takeHold connects. If that cannot even begin, a later result tries again.
func (e *engine) takeHold(c *check) {
	h := c.hold
	if h.pool == nil {
		key := poolKey{held: true, urgent: true, device: c.spec.Interface, mark: c.spec.Mark}
		var source sockaddr
		var err error
		if h.to, key.family, err = newSockaddr(c.spec.Target); err != nil {
			h.off = true
			return
		}
		if c.spec.Source.IsValid() {
			var family int
			if source, family, err = newSockaddr(netip.AddrPortFrom(c.spec.Source, 0)); err != nil || family != key.family {
				h.off = true
				return
			}
			key.source, key.hasSource = c.spec.Source.Unmap(), true
		}
		if h.pool = e.pools[key]; h.pool == nil {
			h.pool = &pool{key: key, source: source}
			e.pools[key] = h.pool
		}
	}
	cn, f := e.connIn(h.pool)
	if f != nil {
		return
	}
	if errno := connect(cn.fd, &h.to); errno != 0 && errno != unix.EINPROGRESS {
		e.discard(cn)
		return
	}
	cn.held, h.cn, h.up = c, cn, false
}

// letGo closes what is held.
func (e *engine) letGo(c *check) {
	if h := c.hold; h != nil && h.cn != nil {
		e.discard(h.cn)
		h.cn, h.up = nil, false
	}
}

// heldEvent looks at a held connection.
func (e *engine) heldEvent(cn *conn, events uint32, now int64) {
	c := cn.held
	h := c.hold
	ended := events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0
	if !h.up {
		switch {
		case ended: // whether the server is there is for probes to tell
			e.letGo(c)
			return
		case events&unix.EPOLLOUT != 0:
			h.up, h.since = true, now
		}
	}
	for unread := 0; !ended && events&unix.EPOLLIN != 0; {
		n, errno := read(cn.fd, e.buf)
		switch unread += n; {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
		case errno != 0 || n == 0:
			ended = true
		case unread > maxUnread: // it is not made for this
			e.letGo(c)
			h.off = true
			return
		}
	}
	if !ended {
		return
	}
	if now-h.since > maxHoldPause {
		h.pause = 0
	}
	e.letGo(c)
	h.closes++
	if h.vain++; h.vain >= maxVain {
		h.off = true
	}
	h.notBefore = max(h.notBefore, now+minHoldPause)
	e.rush = now + rushTime
	e.hinted = append(e.hinted, c)
}

func (e *engine) hints() []*check {
	out := e.hinted
	e.hinted = e.hinted[:0]
	return out
}

// hint makes a probe of c due at the given instant, if none is before it, and if
// it fails the ones that are missing for a verdict follow back to back. If it
// passes, a few more look again. A probe under way may have begun before
// whatever the hint is about: another one follows it.
func (b *book) hint(c *check, at int64, looks int32) {
	switch c.stage {
	case idle:
		if c.verdict.State == Up {
			c.rush, c.looks = int32(c.spec.fall()), looks
			if at < c.at {
				c.plan = at
				b.place(c, at)
			}
		}
	case running, overdue:
		c.again, c.looks = true, max(c.looks, looks)
	case gone:
	}
}

// hurry puts the next probe of c at now if a hint is being followed up.
func (b *book) hurry(c *check, f *Failure, now int64) {
	switch {
	case c.verdict.State != Up:
		c.rush, c.looks, c.again = 0, 0, false
		return
	case c.again:
		c.again, c.rush = false, int32(c.spec.fall())
	case f == nil && c.looks > 0 && c.rush > 0:
		// A process that dies closes its sockets one by one, and the listening one may be the last.
		now += furtherLook
		c.looks--
	case f == nil || c.rush == 0:
		c.rush, c.looks = 0, 0
		return
	default:
		if c.rush--; c.rush == 0 {
			return
		}
	}
	c.plan = now
	b.place(c, now)
}

// Hint tells that something has happened to the path to some servers (a
// neighbour, route or link event): checks with a held connection whose target
// matches probe at once, or minHintPause after the hint before.
func (s *Scheduler) Hint(match func(netip.Addr) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()
	for _, c := range s.book.checks {
		// One that is put off stands for all that come until then.
		if c.hold != nil && c.hold.hintedAt <= now && match(c.spec.Target.Addr()) {
			c.hold.hintedAt = max(now, c.hold.hintedAt+minHintPause)
			s.book.hint(c, c.hold.hintedAt, looksWay)
		}
	}
	if s.driver != nil {
		s.driver.wake()
	}
}

// minHintPause between two hints from outside for one check. A path often ends
// in several events, of which the last one matters: it is put off, not forgotten.
const minHintPause = int64(100e6)
