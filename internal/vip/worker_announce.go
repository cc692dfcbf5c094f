package vip

import (
	"slices"
	"time"
)

// announcements adapts the schedule to what is present and sends what is due.
func (w *worker) announcements(p *pass, full, quick bool) {
	live := make([]key, 0, len(w.order))
	for _, k := range w.order {
		if w.have[k].present {
			live = append(live, k)
		}
	}
	if !slices.Equal(live, w.live) {
		w.live = live
		w.sched.resize(w.done.config.Announce, len(live))
	}
	w.fullWish = w.fullWish || full
	// Addresses that came later, by reload or because something had removed
	// them, are announced like all others.
	late := w.sched.active && len(p.added) > 0
	switch {
	case (w.fullWish || late) && len(live) > 0:
		w.sched.start(p.now, w.done.config.Announce, len(live), true)
		w.fullWish = false
		p.added = nil
	case quick && len(live) > 0:
		w.sched.start(p.now, w.done.config.Announce, len(live), false)
	}
	for {
		i, ok := w.sched.take(p.now)
		if !ok {
			return
		}
		w.announce(w.live[i])
	}
}

func (w *worker) announce(k key) {
	in, err := w.neighbourhood(k)
	if err != nil {
		w.h.fails.Add(1)
		return
	}
	n, err := w.h.snd.Announce(in, k.prefix.Addr(), w.done.config.Announce.Opcode)
	if k.prefix.Addr().Is4() {
		w.h.arp.Add(uint64(n))
	} else {
		w.h.na.Add(uint64(n))
	}
	if err != nil {
		w.h.fails.Add(1)
		w.h.log.Debug("announcement not sent", "event", "announce_failed", "address", k.prefix.Addr().String(), "interface", k.iface, "err", err)
	}
}

// prepare for announcements, on all links that are known by now.
func (w *worker) prepare() {
	for _, x := range w.watched {
		if in := x.latest.Load(); in != nil && in.Index != 0 {
			w.h.snd.Prepare(*in)
		}
	}
}

// listenWait is how long the announcement of addresses that have come may take
// before claims are listened for all the same. To begin with that costs as much
// as an announcement, and clients wait for only one of the two.
const listenWait = 50 * time.Millisecond

// listen for claims, when neighbours have been told.
func (w *worker) listen(now time.Time) {
	if w.sched.active || w.listenAt.IsZero() || !now.Before(w.listenAt) {
		w.listenAt = time.Time{}
		w.claims.follow(w.h, w.heard())
	}
}

// neighbourhood is the link to announce an address on, as last heard of it;
// only where the address is known to be on another one it is looked up.
func (w *worker) neighbourhood(k key) (Interface, error) {
	if x := w.watched[k.iface]; x != nil {
		if in := x.latest.Load(); in != nil && in.Index != 0 && in.Index == w.have[k].index {
			return *in, nil
		}
	}
	return w.link(k.iface)
}
